package netflow_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/emulate"
	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/formats/netflow"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
)

func texts(t *formatstest.Table, name string) (vs []string) {
	for _, b := range t.Batches() {
		for _, v := range b.Bytes(t.Out.Index(name)) {
			vs = append(vs, string(v))
		}
	}
	return vs
}

// tmplE is an IPFIX definition with enterprise numbers: fields are id, length, enterprise.
func tmplE(id uint16, fields ...[3]uint32) []byte {
	b := u16s(id, uint16(len(fields)))
	for _, f := range fields {
		if f[2] != 0 {
			b = be.AppendUint32(append(b, u16s(uint16(f[0])|0x8000, uint16(f[1]))...), f[2])
		} else {
			b = append(b, u16s(uint16(f[0]), uint16(f[1]))...)
		}
	}
	return b
}

// Declared columns of every kind are filled by enterprise and id in IPFIX, and by the vendor's field type in NetFlow v9.
func TestDeclaredColumns(t *testing.T) {
	out := sdk.NewSchema(sdk.Field{Name: "bytes", Type: sdk.Uint64}, sdk.Field{Name: "acl", Type: sdk.Bytes}, sdk.Field{Name: "who", Type: sdk.Name},
		sdk.Field{Name: "url", Type: sdk.Text}, sdk.Field{Name: "temperature", Type: sdk.Int64}, sdk.Field{Name: "load", Type: sdk.Float64},
		sdk.Field{Name: "on", Type: sdk.Uint8}, sdk.Field{Name: "peer", Type: sdk.Addr})
	fields := []netflow.Column{{Name: "acl", PEN: 9, ID: 232, V9: 33000, Enc: flow.Octets}, {Name: "who", PEN: 9, ID: 7232, V9: 40000, Enc: flow.String},
		{Name: "url", PEN: 5951, ID: 129, Enc: flow.String}, {Name: "temperature", PEN: 4711, ID: 1, Enc: flow.Signed}, {Name: "load", PEN: 4711, ID: 2, Enc: flow.Float},
		{Name: "on", PEN: 4711, ID: 3, Enc: flow.Boolean}, {Name: "peer", PEN: 4711, ID: 4, Enc: flow.IPv4}}
	tab := formatstest.NewTable(out)
	d := newDecoder(tab, netflow.Options{Fields: fields})
	var load [8]byte
	be.PutUint64(load[:], math.Float64bits(0.25))
	feedAll(d,
		msg10(1, 1, set(2, tmplE(256, [3]uint32{1, 4, 0}, [3]uint32{232, 2, 9}, [3]uint32{7232, 0xffff, 9}, [3]uint32{129, 0xffff, 5951}, [3]uint32{1, 3, 4711}, [3]uint32{2, 8, 4711}, [3]uint32{3, 1, 4711}, [3]uint32{4, 4, 4711})),
			set(256, u32s(7), []byte{1, 2}, []byte{3}, []byte("ann"), []byte{4}, []byte("/a\xffb"), []byte{0xff, 0xff, 0xfe}, load[:], []byte{1}, []byte{10, 0, 0, 1})),
		msg9(1, 1, set(0, tmpl(256, 33000, 3, 40000, 5, 1, 4)), set(256, []byte{9, 8, 7}, []byte("bob\x00\x00"), u32s(8))),
		// The wrong length for an address: the column stays zero, and the rest of the record is good.
		msg10(2, 1, set(2, tmplE(256, [3]uint32{4, 5, 4711}, [3]uint32{1, 4, 0}, [3]uint32{2, 4, 4711}, [3]uint32{3, 1, 4711})), set(256, []byte{1, 2, 3, 4, 5}, u32s(9, math.Float32bits(1.5)), []byte{2})))
	check := func(name string, want, got any) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	check("bytes", []uint64{7, 8, 9}, formatstest.Column[uint64](tab, "bytes"))
	check("acl", []string{"\x01\x02", "\x09\x08\x07", ""}, texts(tab, "acl"))
	check("who", []string{"ann", "bob", ""}, formatstest.Names(tab, "who"))
	check("url", []string{"/a\uFFFDb", "", ""}, texts(tab, "url"))
	check("temperature", []int64{-2, 0, 0}, formatstest.Column[int64](tab, "temperature"))
	check("load", []float64{0.25, 0, 1.5}, formatstest.Column[float64](tab, "load"))
	check("on", []uint8{1, 0, 0}, formatstest.Column[uint8](tab, "on"))
	check("peer", [][16]byte{{10: 0xff, 11: 0xff, 12: 10, 15: 1}, {}, {}}, formatstest.Column[[16]byte](tab, "peer"))
}

// A declared column costs what a column of the table costs.
func BenchmarkDeclaredColumn(b *testing.B) {
	for _, c := range []struct {
		name   string
		fields []netflow.Column
	}{{"20cols", nil}, {"20cols+1declared", []netflow.Column{{Name: "mine", ID: 2, Enc: flow.Unsigned}}}} {
		b.Run(c.name, func(b *testing.B) {
			fs := columns20.Fields()
			if c.fields != nil {
				fs = append(fs[:len(fs):len(fs)], sdk.Field{Name: "mine", Type: sdk.Uint32})
			}
			r, tab := newRing(b, emulate.Options{Exporters: 50}, 4096), formatstest.NewTable(sdk.NewSchema(fs...))
			tab.Keep = false
			d := newDecoder(tab, netflow.Options{Fields: c.fields})
			r.feed(d, len(r.Payloads))
			b.ReportAllocs()
			b.ResetTimer()
			records := 0
			for b.Loop() {
				records += r.feed(d, 512)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(records), "ns/record")
		})
	}
}
