package netflow_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/formats/netflow"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
)

var listColumns = sdk.NewSchema(sdk.Field{Name: "bytes", Type: sdk.Uint64}, sdk.Field{Name: "basic_list", Type: sdk.Text},
	sdk.Field{Name: "sub_template_list", Type: sdk.Text}, sdk.Field{Name: "sub_template_multi_list", Type: sdk.Text})

var listFields = []netflow.Column{{Name: "basic_list", ID: 291, Enc: flow.BasicList}, {Name: "sub_template_list", ID: 292, Enc: flow.SubTemplateList},
	{Name: "sub_template_multi_list", ID: 293, Enc: flow.SubTemplateMultiList}}

// variable is a value behind its length.
func variable(parts ...[]byte) (b []byte) {
	for _, p := range parts {
		b = append(b, p...)
	}
	return append(append([]byte{255}, u16s(uint16(len(b)))...), b...)
}

// Lists are JSON where a column asks for them; elsewhere they are passed over, and what is behind them is right.
func TestStructuredData(t *testing.T) {
	basic := variable([]byte{3}, u16s(7, 2), u16s(80, 443))
	names := variable([]byte{4}, u16s(82, 0xffff), []byte{2, 'e', '0', 1, '"'})
	sub := variable([]byte{3}, u16s(300), []byte{10, 0, 0, 1}, u32s(5), []byte{10, 0, 0, 2}, u32s(6))
	multi := variable([]byte{255}, u16s(300, 12), []byte{10, 0, 0, 3}, u32s(7), u16s(999, 6), []byte{1, 2})
	p := msg10(1, 1, set(2, tmpl(300, 8, 4, 1, 4), tmpl(256, 291, 0xffff, 292, 0xffff, 293, 0xffff, 1, 4)),
		set(256, basic, sub, multi, u32s(11), names, variable([]byte{9}), variable(), u32s(12)))
	tab := formatstest.NewTable(listColumns)
	d := newDecoder(tab, netflow.Options{Fields: listFields})
	feedAll(d, p)
	for name, want := range map[string][]string{
		"basic_list":              {`{"semantic":"allOf","element":"sourceTransportPort","values":[80,443]}`, `{"semantic":"ordered","element":"interfaceName","values":["e0","\""]}`},
		"sub_template_list":       {`{"semantic":"allOf","template":300,"records":[{"sourceIPv4Address":"10.0.0.1","octetDeltaCount":5},{"sourceIPv4Address":"10.0.0.2","octetDeltaCount":6}]}`, "null"},
		"sub_template_multi_list": {`{"semantic":"undefined","lists":[{"template":300,"records":[{"sourceIPv4Address":"10.0.0.3","octetDeltaCount":7}]},{"template":999,"bytes":"0102"}]}`, "null"},
	} {
		if diff := cmp.Diff(want, texts(tab, name)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	plain := formatstest.NewTable(formatstest.Columns("bytes"))
	feedAll(newDecoder(plain, netflow.Options{}), p)
	for _, x := range []*formatstest.Table{tab, plain} {
		if diff := cmp.Diff([]uint64{11, 12}, formatstest.Column[uint64](x, "bytes")); diff != "" {
			t.Errorf("bytes (-want +got):\n%s", diff)
		}
	}
}

// The template of a list's records may come behind other data in the same message.
func TestStructuredDataByALaterTemplate(t *testing.T) {
	list := []byte{4, 3, 1, 44, 17}
	tab := formatstest.NewTable(listColumns)
	feedAll(newDecoder(tab, netflow.Options{Fields: listFields}), msg10(1, 1, set(2, tmpl(256, 292, 0xffff)), set(256, list), set(2, tmpl(300, 4, 1)), set(256, list)))
	want := []string{`{"semantic":"allOf","template":300,"bytes":"11"}`, `{"semantic":"allOf","template":300,"records":[{"protocolIdentifier":17}]}`}
	if diff := cmp.Diff(want, texts(tab, "sub_template_list")); diff != "" {
		t.Errorf("lists (-want +got):\n%s", diff)
	}
}

// Records of fields of no bytes cost their names alone: what a datagram can make of them is bounded by its own length.
func TestStructuredDataOfNoBytes(t *testing.T) {
	fields := []uint16{4, 1}
	for range 1000 {
		fields = append(fields, 500, 0)
	}
	p := msg10(1, 1, set(2, tmpl(300, fields...), tmpl(256, 292, 0xffff)), set(256, bytes.Repeat([]byte{4, 3, 1, 44, 17}, 1000)))
	tab := formatstest.NewTable(listColumns)
	feedAll(newDecoder(tab, netflow.Options{Fields: listFields}), p)
	size := 0
	for _, s := range texts(tab, "sub_template_list") {
		if size += len(s); !json.Valid([]byte(s)) || !strings.HasPrefix(s, `{"semantic":"allOf","template":300,"records":[{"protocolIdentifier":17,`) {
			t.Fatalf("%.200q", s)
		}
	}
	if most := 100 * len(p); tab.Rows() != 1000 || size > most {
		t.Errorf("%d rows with %d bytes of a datagram of %d bytes", tab.Rows(), size, len(p))
	}
}

// Whatever a list says, its text is JSON of bounded size.
func FuzzStructuredData(f *testing.F) {
	deep := []byte{3, 0x01, 0x23, 0xff, 0xff}
	for range 20 {
		deep = append([]byte{3, 0x01, 0x23, 0xff, 0xff, byte(len(deep))}, deep...)
	}
	f.Add(deep)
	f.Add([]byte{3, 0, 7, 0, 0, 1, 2, 3})
	f.Add([]byte{3, 1, 0, 10, 0, 0, 1, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 20000 {
			return
		}
		tab := formatstest.NewTable(listColumns)
		d := newDecoder(tab, netflow.Options{Fields: listFields})
		feedAll(d, msg10(1, 1, set(2, tmpl(256, 291, 0xffff, 292, 0xffff, 293, 0xffff, 1, 4)), set(256, variable(b), variable(b), variable(b), u32s(1))))
		for _, c := range []string{"basic_list", "sub_template_list", "sub_template_multi_list"} {
			for _, s := range texts(tab, c) {
				if !json.Valid([]byte(s)) || len(s) > 200<<10 {
					t.Errorf("%s: %d bytes, valid %v: %.100q", c, len(s), json.Valid([]byte(s)), s)
				}
			}
		}
	})
}
