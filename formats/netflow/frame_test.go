package netflow_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/formats/netflow"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
)

// frame is a UDP packet over IPv4 over Ethernet with a VLAN tag.
func frame(srcPort, dstPort uint16) []byte {
	b := []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x81, 0, 0, 42, 8, 0,
		0x45, 9, 0, 100, 0, 7, 0, 0, 63, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2}
	return append(append(b, u16s(srcPort, dstPort)...), 0, 80, 0, 0)
}

// A packet's bytes fill the columns that the record lacks, and those alone: in IPFIX with a section of variable length, in NetFlow v9
// with one of fixed length.
func TestPacketSections(t *testing.T) {
	out := formatstest.Columns("src_addr", "dst_addr", "src_port", "dst_port", "protocol", "etype", "bytes", "packets", "ttl", "tos", "src_vlan", "src_mac", "mpls_labels", "tunnel_type", "in_if")
	tab := formatstest.NewTable(out)
	d := newDecoder(tab, netflow.Options{})
	var records []byte
	for i := range uint16(70) { // more than are dissected at a time
		f := frame(i, 53)
		records = append(append(append(records, 0, 0, 0, 9), byte(len(f))), f...)
	}
	fixed := append(append([]byte{1, 2}, u32s(77)...), frame(5, 6)...)
	feedAll(d, msg10(1, 1, set(2, tmpl(256, 10, 4, 315, 0xffff)), set(256, records)),
		msg9(1, 1, set(0, tmpl(256, 7, 2, 1, 4, 104, uint16(len(frame(0, 0))))), set(256, fixed)))
	check := func(name string, want, got any) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	ports := formatstest.Column[uint16](tab, "src_port")
	for i, p := range ports {
		if want := uint16(i); i < 70 && p != want || i == 70 && p != 0x102 { // the last record tells its port itself
			t.Errorf("row %d: src_port %d", i, p)
		}
	}
	last := func(name string) any {
		i := out.Index(name)
		switch out.Field(i).Type {
		case sdk.Uint8:
			v := formatstest.Column[uint8](tab, name)
			return []uint8{v[0], v[70]}
		case sdk.Uint16:
			v := formatstest.Column[uint16](tab, name)
			return []uint16{v[0], v[70]}
		case sdk.Uint32:
			v := formatstest.Column[uint32](tab, name)
			return []uint32{v[0], v[70]}
		}
		v := formatstest.Column[uint64](tab, name)
		return []uint64{v[0], v[70]}
	}
	check("dst_port", []uint16{53, 6}, last("dst_port"))
	check("protocol", []uint8{17, 17}, last("protocol"))
	check("etype", []uint16{0x800, 0x800}, last("etype"))
	check("bytes", []uint64{100, 77}, last("bytes"))
	check("packets", []uint64{1, 1}, last("packets"))
	check("ttl", []uint8{63, 63}, last("ttl"))
	check("tos", []uint8{9, 9}, last("tos"))
	check("src_vlan", []uint16{42, 42}, last("src_vlan"))
	check("src_mac", []uint64{0x020000000001, 0x020000000001}, last("src_mac"))
	check("in_if", []uint32{9, 0}, last("in_if"))
	check("src_addr", [16]byte{10: 0xff, 11: 0xff, 12: 10, 15: 1}, formatstest.Column[[16]byte](tab, "src_addr")[70])
	check("tunnel_type", "", formatstest.Names(tab, "tunnel_type")[0])
	if d.Tally.Records != 71 {
		t.Errorf("%d records", d.Tally.Records)
	}
}

// A frame that is not of Ethernet is not taken for one, and is counted: by the type beside it, wherever in the record that stands.
func TestFramesOfOtherKinds(t *testing.T) {
	f := frame(7, 53)
	section := append([]byte{byte(len(f))}, f...)
	for _, c := range []struct {
		name   string
		fields []uint16
		record func(kind uint16) []byte
	}{
		{"before", []uint16{408, 2, 315, 0xffff}, func(kind uint16) []byte { return append(u16s(kind), section...) }},
		{"behind", []uint16{315, 0xffff, 408, 2}, func(kind uint16) []byte { return append(append([]byte{}, section...), u16s(kind)...) }},
		{"fixed, in one byte", []uint16{408, 1, 315, uint16(len(f))}, func(kind uint16) []byte { return append([]byte{byte(kind)}, f...) }},
	} {
		tab := formatstest.NewTable(formatstest.Columns("src_port", "src_mac", "frame"))
		d := newDecoder(tab, netflow.Options{})
		var records []byte
		for _, kind := range []uint16{1, 2, 1, 0, 3} { // Ethernet, 802.11, none, both
			records = append(records, c.record(kind)...)
		}
		feedAll(d, msg10(1, 1, set(2, tmpl(256, c.fields...)), set(256, records)))
		if diff := cmp.Diff([]uint16{7, 0, 7, 0, 0}, formatstest.Column[uint16](tab, "src_port")); diff != "" {
			t.Errorf("%s: src_port (-want +got):\n%s", c.name, diff)
		}
		if macs := formatstest.Column[uint64](tab, "src_mac"); macs[0] == 0 || macs[1] != 0 {
			t.Errorf("%s: src_mac %x", c.name, macs)
		}
		if n := len(tab.Batches()[0].Bytes(2)[1]); n != len(f) {
			t.Errorf("%s: the frame of 802.11 has %d bytes in its column, want %d", c.name, n, len(f))
		}
		if d.Tally.NotEthernet != 3 || d.Tally.Records != 5 {
			t.Errorf("%s: %d of %d records are not of Ethernet, want 3 of 5", c.name, d.Tally.NotEthernet, d.Tally.Records)
		}
	}
}

// Whatever is for a packet, nothing breaks and every byte is accounted for.
func FuzzPacketSection(f *testing.F) {
	f.Add(frame(1, 2))
	f.Add([]byte{0x45})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1000 {
			return
		}
		tab := formatstest.NewTable(flow.Schema)
		d := newDecoder(tab, netflow.Options{Decapsulate: 0xff})
		p := msg10(1, 1, set(2, tmpl(256, 315, 0xffff)), set(256, append(append([]byte{255}, u16s(uint16(len(b)))...), b...)))
		if feedAll(d, p); d.Tally.Bytes() != uint64(len(p)) || tab.Rows() > 1 {
			t.Errorf("%d rows, %d bytes of %d", tab.Rows(), d.Tally.Bytes(), len(p))
		}
	})
}
