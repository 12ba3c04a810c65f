package decode

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/weirflow/weir/formats/elements"
	"github.com/weirflow/weir/formats/netflow"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
)

// Field declares a column of one more information element. Written as text alone it is the element's name.
type Field struct {
	Name string `yaml:"name" doc:"name of an element that the registry has (weir inspect elements), or of the one that pen and id describe" example:"cisco.username"`
	PEN  uint32 `yaml:"pen" doc:"enterprise number of an element that the registry lacks; 0: IANA's, or none"`
	ID   uint16 `yaml:"id" doc:"number of an element that the registry lacks; above 32767: a NetFlow v9 field type"`
	Type string `yaml:"type" doc:"data type of the element (RFC 7012; uint32 is unsigned32): unsigned32, string, ...; text: a string with many different values" example:"text"`
	As   string `yaml:"as" doc:"name of the column; else the element's name in snake_case"`
}

// UnmarshalText takes the name of an element.
func (f *Field) UnmarshalText(text []byte) error {
	*f = Field{Name: strings.TrimSpace(string(text))}
	return nil
}

// text is the type of strings that a dictionary does not suit.
const text = "text"

// maxFields bounds the declared columns.
const maxFields = 256

var columnName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// declared is a field that has been understood.
type declared struct {
	column sdk.Field
	source netflow.Column
	table  bool // the column is of the table of flow columns, which knows how to fill it
}

// resolve finds out what a field means.
func (f *Field) resolve() (d declared, p *sdk.Problem) {
	var e elements.Element
	if f.ID == 0 && f.PEN == 0 {
		var ok bool
		if f.Name == "" {
			return d, &sdk.Problem{Message: "a field needs the name of an element", Help: "write applicationName, or describe the element by pen, id, name and type"}
		}
		if e, ok = elements.ByName(f.Name); !ok {
			p := &sdk.Problem{Path: "name", Message: fmt.Sprintf("there is no information element %q", f.Name), Help: "`weir inspect elements` lists them; one that it lacks is described by pen, id, name and type"}
			if near := elements.Near(f.Name); near != "" {
				p.Help = fmt.Sprintf("did you mean %s?", near)
			}
			return d, p
		}
	} else {
		known, ok := elements.Lookup(f.PEN, f.ID)
		if !ok && f.PEN == 0 {
			known, ok = elements.V9(f.ID)
		}
		switch {
		case f.ID == 0:
			return d, &sdk.Problem{Path: "id", Message: "an element that is described needs its id", Help: "ids begin at 1"}
		case f.ID > 32767 && f.PEN != 0 && !ok:
			return d, &sdk.Problem{Path: "id", Message: fmt.Sprintf("%d is above 32767, the largest id of an enterprise's element", f.ID), Help: "a NetFlow v9 field type above it is written without pen"}
		case ok:
			e = known
			if f.Name != "" {
				e.Name = f.Name
			}
		case f.Name == "":
			return d, &sdk.Problem{Path: "name", Message: fmt.Sprintf("element %d/%d is not in the registry: it needs a name", f.PEN, f.ID), Help: "name and type say what it is"}
		case f.Type == "":
			return d, &sdk.Problem{Path: "type", Message: fmt.Sprintf("element %d/%d is not in the registry: it needs a type", f.PEN, f.ID), Help: "types are " + strings.Join(elements.Types(), ", ")}
		default:
			e = elements.Element{PEN: f.PEN, ID: f.ID, Name: f.Name}
		}
	}
	if f.Type != "" && f.Type != text {
		t, ok := typeOf(f.Type)
		if !ok {
			help := "types are text, " + strings.Join(elements.Types(), ", ")
			if near := nearType(f.Type); near != "" {
				help = fmt.Sprintf("did you mean %s? ", near) + help
			}
			return d, &sdk.Problem{Path: "type", Message: fmt.Sprintf("%q is no data type", f.Type), Help: help}
		}
		e.Type = t
	}
	if e.Type == 0 {
		e.Type = elements.String
	}
	ty, enc := e.Type.Column()
	if f.Type == text {
		if enc != flow.String && enc != flow.Octets && ty != sdk.Text {
			return d, &sdk.Problem{Path: "type", Message: fmt.Sprintf("%s is of type %s, which cannot be text", e, e.Type), Help: "leave `type` out"}
		}
		if ty = sdk.Text; enc == flow.Octets {
			enc = flow.String
		}
	}
	name, path := f.As, "as"
	if name == "" {
		name, path = e.Column(), "name"
	}
	if !columnName.MatchString(name) {
		return d, &sdk.Problem{Path: path, Message: fmt.Sprintf("%q is no name for a column", name), Help: "columns are named in lower case with digits and underscores, and begin with a letter; `as` names one"}
	}
	d.column = sdk.Field{Name: name, Type: ty, Unit: e.Unit, Doc: fmt.Sprintf("information element %s (%d/%d)", e, e.PEN, e.ID)}
	d.source = netflow.Column{Name: name, PEN: e.PEN, ID: e.ID, V9: e.V9, Enc: enc}
	if i := flow.Index(name); i >= 0 {
		c := flow.Columns[i]
		if flow.Carries(e.PEN, e.ID) != name || f.Type != "" && c.Type != ty {
			return d, &sdk.Problem{Path: path, Message: fmt.Sprintf("%s is a column of every flow already", name), Help: "give this one another name with `as`"}
		}
		d.table, d.column = true, c.Field
	}
	d.column.Extra = false
	return d, nil
}

// plainTypes are the names that types of columns have, and most programs, for data types of RFC 7012. Those that could be several
// (address, timestamp) are not among them.
var plainTypes = map[string]string{"uint8": "unsigned8", "uint16": "unsigned16", "uint32": "unsigned32", "uint64": "unsigned64",
	"int8": "signed8", "int16": "signed16", "int32": "signed32", "int64": "signed64", "mac": "macAddress", "bool": "boolean"}

// typeOf finds a data type by its name in RFC 7012, or as columns are called.
func typeOf(name string) (elements.Type, bool) {
	if rfc, ok := plainTypes[name]; ok {
		name = rfc
	}
	return elements.TypeOf(name)
}

// nearTypes are what others call data types for which this has several.
var nearTypes = map[string]string{"address": "ipv4Address or ipv6Address", "ip": "ipv4Address or ipv6Address", "ipv4": "ipv4Address", "ipv6": "ipv6Address",
	"timestamp": "dateTimeMilliseconds", "datetime": "dateTimeMilliseconds", "bytes": "octetArray", "name": "string",
	"int": "signed32", "uint": "unsigned32", "float": "float64", "double": "float64"}

// nearType is what somebody meant who wrote a name that no type has; empty if there is no saying.
func nearType(name string) string {
	folded := strings.ToLower(name)
	if near, ok := nearTypes[folded]; ok {
		return near
	}
	for _, t := range elements.Types() {
		if strings.EqualFold(t, name) {
			return t
		}
	}
	if _, ok := plainTypes[folded]; ok {
		return folded
	}
	return ""
}

// fields understands all declared fields.
func (c *Config) fields() (ds []declared, ps sdk.Problems) {
	if len(c.Fields) > maxFields {
		return nil, sdk.Problems{{Path: "fields", Message: fmt.Sprintf("%d fields are more than %d", len(c.Fields), maxFields)}}
	}
	for i := range c.Fields {
		d, p := c.Fields[i].resolve()
		at := fmt.Sprintf("fields[%d]", i)
		if p == nil {
			if j := slices.IndexFunc(ds, func(x declared) bool { return x.column.Name == d.column.Name }); j >= 0 {
				p = &sdk.Problem{Message: fmt.Sprintf("column %s is declared twice", d.column.Name), Help: "give one of them another name with `as`"}
			}
		}
		if p != nil {
			if c.Fields[i] == (Field{Name: c.Fields[i].Name}) { // written as text: there is no option below it
				p.Path = ""
			}
			if p.Path != "" {
				at += "." + p.Path
			}
			p.Path = at
			ps = append(ps, p)
			continue
		}
		ds = append(ds, d)
	}
	return ds, ps
}

// schema is what decode gives out: the flow columns, then the declared ones.
func (c *Config) schema() (*sdk.Schema, error) {
	ds, ps := c.fields()
	if err := ps.Err(); err != nil {
		return nil, err
	}
	if len(ds) == 0 {
		return flow.Schema, nil
	}
	out := slices.Clone(flow.Schema.Fields())
	for _, d := range ds {
		if d.table {
			out[flow.Index(d.column.Name)].Extra = false
		} else {
			out = append(out, d.column)
		}
	}
	return sdk.NewSchema(out...), nil
}

// sources are the declared columns that the table does not have.
func (c *Config) sources() (cs []netflow.Column) {
	ds, _ := c.fields() // Validate has told what is wrong
	for _, d := range ds {
		if !d.table {
			cs = append(cs, d.source)
		}
	}
	return cs
}
