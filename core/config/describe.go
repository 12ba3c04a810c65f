package config

import (
	"encoding"
	"fmt"
	"io"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"github.com/weirflow/weir/sdk"
)

// Description is all about a plugin that a reader wants to know, taken from its specification. It is what `inspect plugins` and the
// reference print; its JSON form is stable.
type Description struct {
	Kind    sdk.Kind     `json:"kind"`
	Type    string       `json:"type"`
	Doc     string       `json:"doc"`
	Long    string       `json:"long,omitempty"`
	Options []Option     `json:"options"`
	Outputs []string     `json:"outputs,omitempty"` // with default options
	Reasons []sdk.Reason `json:"reasons,omitempty"` // why it drops records
	Losses  []sdk.Reason `json:"losses,omitempty"`  // how it counts what was lost before it
	Traits  []string     `json:"traits,omitempty"`  // "commits", "keeps ranges", ...
}

// Option is one option of a plugin.
type Option struct {
	Name     string   `json:"name"`
	Type     string   `json:"type"` // text, integer, number, boolean, size, duration, expression, address, prefix, options, any; list of, map of
	Doc      string   `json:"doc,omitempty"`
	Default  any      `json:"default,omitempty"` // as written in a file; nil: none
	Example  string   `json:"example,omitempty"`
	Enum     []string `json:"enum,omitempty"`
	Required bool     `json:"required,omitempty"`
	Options  []Option `json:"options,omitempty"` // of the struct that it is, or is a list or map of
}

// Describe is a pure function of the specification: the same for built-in plugins and for strangers'.
func Describe(spec *sdk.Spec) Description {
	d := Description{Kind: spec.Kind, Type: spec.Type, Doc: spec.Doc, Long: spec.Long, Reasons: spec.Reasons, Losses: spec.Losses, Options: []Option{}}
	var cfg any
	if spec.Config != nil {
		cfg = spec.Config()
		d.Options = append(d.Options, options(reflect.ValueOf(cfg).Elem(), 0)...)
	}
	d.Outputs = spec.PortNames(cfg)
	for _, t := range []struct {
		has  bool
		name string
	}{
		{spec.Commits, "commits its positions"}, {spec.Slowable, "can be slowed"}, {spec.KeepsRange, "keeps ranges"},
		{spec.Deterministic, "is deterministic"}, {spec.Parks, "may hold records"}, {spec.HonoursKeys, "stores a block once"},
		{spec.Ordered, "wants order"}, {spec.Fuses, "needs no queue"}, {spec.Selections, "reads selections"}, {spec.Linux, "Linux only"},
	} {
		if t.has {
			d.Traits = append(d.Traits, t.name)
		}
	}
	return d
}

// maxNested bounds the description of types that contain themselves.
const maxNested = 8

func options(v reflect.Value, depth int) []Option {
	if depth > maxNested {
		return nil
	}
	var out []Option
	for _, f := range fieldsOf(v.Type()) {
		fv := v.FieldByIndex(f.index)
		o := Option{Name: f.name, Type: typeName(f.typ), Doc: f.doc, Example: f.example, Enum: f.enum, Required: f.required}
		switch sub, direct := structOf(f.typ); {
		case sub == nil:
			o.Default = plainValue(fv)
		case direct && fv.Kind() == reflect.Struct:
			o.Options = options(fv, depth+1)
		default:
			o.Options = options(reflect.New(sub).Elem(), depth+1)
		}
		out = append(out, o)
	}
	return out
}

// structOf is the struct whose options nest under a type: the type itself (direct), or what it is a pointer to, list or map of.
func structOf(t reflect.Type) (s reflect.Type, direct bool) {
	direct = true
	for {
		switch {
		case readsText(t):
			return nil, false
		case t.Kind() == reflect.Struct:
			return t, direct
		case t.Kind() == reflect.Pointer:
			t = t.Elem()
		case t.Kind() == reflect.Slice || t.Kind() == reflect.Map:
			t, direct = t.Elem(), false
		default:
			return nil, false
		}
	}
}

func typeName(t reflect.Type) string {
	switch t {
	case durationType:
		return "duration"
	case sizeType:
		return "size"
	case exprType:
		return "expression"
	case reflect.TypeFor[netip.Addr]():
		return "address"
	case reflect.TypeFor[netip.Prefix]():
		return "prefix"
	}
	if readsText(t) {
		return "text"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return typeName(t.Elem())
	case reflect.Slice:
		return "list of " + typeName(t.Elem())
	case reflect.Map:
		return "map of " + typeName(t.Elem())
	case reflect.Struct:
		return "options"
	case reflect.Bool:
		return "boolean"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.String:
		return "text"
	case reflect.Interface:
		return "any"
	}
	return "integer"
}

// plainValue is a default as a file would have it, nil for a zero value other than false.
func plainValue(v reflect.Value) any {
	if v.Kind() == reflect.Bool {
		return v.Bool()
	}
	if v.IsZero() {
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		return plainValue(v.Elem())
	case reflect.Slice:
		if v.Len() == 0 {
			return nil
		}
		out := make([]any, v.Len())
		for i := range out {
			if out[i] = plainValue(v.Index(i)); out[i] == nil {
				out[i] = v.Index(i).Interface()
			}
		}
		return out
	}
	if v.Type() == durationType {
		return shown(v)
	}
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		if text, err := m.MarshalText(); err == nil {
			return string(text)
		}
	}
	if s, ok := v.Interface().(fmt.Stringer); ok && readsText(v.Type()) {
		return s.String()
	}
	return v.Interface()
}

// shown is a value as text: durations without parts that are zero ("1h", not "1h0m0s").
func shown(v reflect.Value) string {
	if d, ok := v.Interface().(time.Duration); ok {
		s := d.String()
		if t, ok := strings.CutSuffix(s, "m0s"); ok {
			s = t + "m"
		}
		if t, ok := strings.CutSuffix(s, "h0m"); ok {
			s = t + "h"
		}
		return s
	}
	return fmt.Sprint(v.Interface())
}

// Text writes the description for a terminal.
func (d *Description) Text(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %s\n", d.Kind, d.Type, d.Doc)
	if d.Long != "" {
		b.WriteString("\n" + strings.TrimSpace(d.Long) + "\n")
	}
	if len(d.Traits) > 0 {
		b.WriteString("\n" + strings.Join(d.Traits, ", ") + "\n")
	}
	if len(d.Outputs) > 1 {
		b.WriteString("\noutputs: " + strings.Join(d.Outputs, ", ") + "\n")
	}
	if len(d.Options) > 0 {
		b.WriteString("\noptions, under `with:`\n")
		optionText(&b, d.Options, "  ")
	}
	for _, of := range []struct {
		title   string
		reasons []sdk.Reason
	}{{"drops records for", d.Reasons}, {"counts as lost before Weir", d.Losses}} {
		if len(of.reasons) > 0 {
			b.WriteString("\n" + of.title + "\n")
		}
		for _, r := range of.reasons {
			b.WriteString("  " + string(r) + "\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func optionText(b *strings.Builder, list []Option, indent string) {
	for _, o := range list {
		fmt.Fprintf(b, "%s%s (%s", indent, o.Name, o.Type)
		if o.Required {
			b.WriteString(", required")
		}
		if o.Default != nil {
			fmt.Fprintf(b, ", default %v", o.Default)
		}
		b.WriteString(")\n")
		for _, line := range []string{o.Doc, strings.Join(o.Enum, " | "), example(o.Example)} {
			if line != "" {
				b.WriteString(indent + "    " + line + "\n")
			}
		}
		optionText(b, o.Options, indent+"    ")
	}
}

func example(text string) string {
	if text == "" {
		return ""
	}
	return "example: " + text
}
