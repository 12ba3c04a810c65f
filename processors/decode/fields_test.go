package decode

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/elements"
	"github.com/weirflow/weir/formats/netflow"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
)

// A field becomes a column of its element's type, which is in the default set because somebody declared it.
func TestFieldsBecomeColumns(t *testing.T) {
	c := Plugin.Spec.Config().(*Config)
	c.Fields = []Field{{Name: "cisco.ingressAclId"}, {Name: "applicationName"}, {Name: "httpReqHost", Type: "text", As: "host"}, {PEN: 4711, ID: 1, Name: "fanSpeed", Type: "unsigned32"},
		{ID: 45003, Name: "app_group", Type: "string"}, {Name: "cert.httpHost", As: "cert_host"}}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	out, err := Plugin.Spec.Output(c, sdk.Datagram)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]sdk.Type{}
	for _, f := range out[0].Fields() {
		if i := flow.Index(f.Name); i < 0 || f.Extra != flow.Columns[i].Extra {
			got[f.Name] = f.Type
			if f.Extra {
				t.Errorf("declared column %s is left out where it is not named", f.Name)
			}
		}
	}
	want := map[string]sdk.Type{"ingress_acl_id": sdk.Bytes, "application_name": sdk.Name, "host": sdk.Text, "fan_speed": sdk.Uint32, "app_group": sdk.Name, "cert_host": sdk.Name}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
	sources := []netflow.Column{{Name: "ingress_acl_id", PEN: 9, ID: 232, V9: 33000, Enc: flow.Octets}, {Name: "host", PEN: 5951, ID: 142, Enc: flow.String},
		{Name: "fan_speed", PEN: 4711, ID: 1, Enc: flow.Unsigned}, {Name: "app_group", PEN: 9, ID: 12235, V9: 45003, Enc: flow.String}, {Name: "cert_host", PEN: 6871, ID: 117, Enc: flow.String}}
	if diff := cmp.Diff(sources, c.sources()); diff != "" {
		t.Errorf("sources (-want +got):\n%s", diff)
	}
}

// A data type may be called as in RFC 7012 or as columns and programs call it.
func TestTypesByTheirPlainNames(t *testing.T) {
	for plain, rfc := range plainTypes {
		of := func(name string) declared {
			d, p := (&Field{PEN: 4711, ID: 1, Name: "a", Type: name}).resolve()
			if p != nil {
				t.Fatalf("type %s: %v", name, p)
			}
			return d
		}
		if diff := cmp.Diff(of(rfc).column, of(plain).column); diff != "" {
			t.Errorf("%s (-%s +%s):\n%s", plain, rfc, plain, diff)
		}
		if a, b := of(rfc).source.Enc, of(plain).source.Enc; a != b {
			t.Errorf("%s is encoded as %v, %s as %v", rfc, a, plain, b)
		}
	}
	d, p := (&Field{PEN: 4711, ID: 1, Name: "a", Type: "uint32"}).resolve()
	if p != nil || d.column.Type != sdk.Uint32 {
		t.Errorf("uint32 makes a column of %v, %v", d.column.Type, p)
	}
}

// What is wrong with a field is said where it stands, and with what was meant.
func TestFieldsThatCannotBe(t *testing.T) {
	types := "types are text, " + strings.Join(elements.Types(), ", ")
	for _, c := range []struct {
		f          Field
		path, help string
	}{
		{Field{Name: "aplicationName"}, "fields[0]", "did you mean applicationName?"},
		{Field{Name: "zzzzzzzzzzzz"}, "fields[0]", "`weir inspect elements` lists them; one that it lacks is described by pen, id, name and type"},
		{Field{}, "fields[0]", "write applicationName, or describe the element by pen, id, name and type"},
		{Field{PEN: 4711, ID: 1, Name: "a"}, "fields[0].type", ""},
		{Field{PEN: 4711, ID: 1, Type: "string"}, "fields[0].name", "name and type say what it is"},
		{Field{PEN: 4711, Name: "a", Type: "string"}, "fields[0].id", "ids begin at 1"},
		{Field{PEN: 4711, ID: 40000, Name: "a", Type: "string"}, "fields[0].id", "a NetFlow v9 field type above it is written without pen"},
		{Field{PEN: 4711, ID: 1, Name: "a", Type: "uint33"}, "fields[0].type", ""},
		{Field{PEN: 4711, ID: 1, Name: "a", Type: "Uint32"}, "fields[0].type", "did you mean uint32? " + types},
		{Field{PEN: 4711, ID: 1, Name: "a", Type: "Unsigned32"}, "fields[0].type", "did you mean unsigned32? " + types},
		{Field{PEN: 4711, ID: 1, Name: "a", Type: "address"}, "fields[0].type", "did you mean ipv4Address or ipv6Address? " + types},
		{Field{Name: "octetDeltaCount", Type: "text"}, "fields[0].type", "leave `type` out"},
		{Field{ID: 10, Name: "input", Type: "text"}, "fields[0].type", "leave `type` out"},
		{Field{ID: 8, Name: "source", Type: "text"}, "fields[0].type", "leave `type` out"},
		{Field{Name: "octetDeltaCount", As: "bytes2 "}, "fields[0].as", ""},
		{Field{Name: "flowEndReason", As: "bytes"}, "fields[0].as", "give this one another name with `as`"},
	} {
		cfg := Plugin.Spec.Config().(*Config)
		cfg.Fields = []Field{c.f}
		ps, _ := cfg.Validate().(sdk.Problems)
		if len(ps) != 1 || ps[0].Path != c.path || c.help != "" && ps[0].Help != c.help {
			t.Errorf("%+v: %v", c.f, ps)
			for _, p := range ps {
				t.Logf("%s: %s (%s)", p.Path, p.Message, p.Help)
			}
		}
	}
	cfg := Plugin.Spec.Config().(*Config)
	cfg.Fields = []Field{{Name: "flowDurationMilliseconds"}, {Name: "flowDurationMilliseconds"}}
	if ps, _ := cfg.Validate().(sdk.Problems); len(ps) != 1 || ps[0].Path != "fields[1]" {
		t.Errorf("a field twice: %v", ps)
	}
}
