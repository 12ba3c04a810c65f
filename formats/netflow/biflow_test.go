package netflow_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/formats/netflow"
)

// side is one row of a biflow.
type side struct {
	Src, Dst         byte // last byte of the address
	SrcPort, DstPort uint16
	Bytes, Out       uint64
	Flags            uint16
	Dir              uint8
}

var sides = formatstest.Columns("src_addr", "dst_addr", "src_port", "dst_port", "bytes", "out_bytes", "tcp_flags", "biflow_direction")

func sidesOf(t *formatstest.Table) (rows []side) {
	src, dst := formatstest.Column[[16]byte](t, "src_addr"), formatstest.Column[[16]byte](t, "dst_addr")
	sp, dp := formatstest.Column[uint16](t, "src_port"), formatstest.Column[uint16](t, "dst_port")
	bytes, out := formatstest.Column[uint64](t, "bytes"), formatstest.Column[uint64](t, "out_bytes")
	flags, dir := formatstest.Column[uint16](t, "tcp_flags"), formatstest.Column[uint8](t, "biflow_direction")
	for i := range src {
		rows = append(rows, side{src[i][15], dst[i][15], sp[i], dp[i], bytes[i], out[i], flags[i], dir[i]})
	}
	return rows
}

// The other direction of a record is a row of its own with the ends exchanged and its own counters, if it has any: RFC 5103 in
// templates of fixed and of variable length, and Cisco's initiator and responder in NetFlow v9.
func TestBiflow(t *testing.T) {
	const re = 29305
	ends := [][3]uint32{{8, 4, 0}, {12, 4, 0}, {7, 2, 0}, {11, 2, 0}, {1, 4, 0}, {1, 4, re}, {6, 2, 0}, {6, 2, re}}
	record := func(bytes, reverse uint32) []byte {
		return append(append([]byte{10, 0, 0, 1, 10, 0, 0, 2, 0, 1, 0, 2}, u32s(bytes, reverse)...), 0, 2, 0, 0x12)
	}
	fixed := msg10(1, 1, set(2, tmplE(256, ends...)), set(256, record(100, 7), record(50, 0), record(0, 9)))
	name := append([][3]uint32{{82, 0xffff, 0}}, ends...)
	var v []byte
	for _, r := range [][]byte{record(100, 7), record(50, 0), record(0, 9)} {
		v = append(append(append(v, 2), "e0"...), r...)
	}
	variable := msg10(1, 1, set(2, tmplE(257, name...)), set(257, v))
	nsel := msg9(1, 1, set(0, tmpl(256, 8, 4, 12, 4, 7, 2, 11, 2, 231, 4, 232, 4, 6, 2)), set(256,
		[]byte{10, 0, 0, 1, 10, 0, 0, 2, 0, 1, 0, 2}, u32s(100, 7), []byte{0, 2}, []byte{10, 0, 0, 1, 10, 0, 0, 2, 0, 1, 0, 2}, u32s(50, 0), []byte{0, 2}))
	rows := []side{{1, 2, 1, 2, 100, 0, 2, 1}, {1, 2, 1, 2, 50, 0, 2, 1}, {1, 2, 1, 2, 0, 0, 2, 1}, {2, 1, 2, 1, 7, 0, 0x12, 2}, {2, 1, 2, 1, 9, 0, 0x12, 2}}
	columns := []side{{1, 2, 1, 2, 100, 7, 2, 0}, {1, 2, 1, 2, 50, 0, 2, 0}, {1, 2, 1, 2, 0, 9, 2, 0}}
	for _, c := range []struct {
		name    string
		payload []byte
		b       netflow.Biflow
		want    []side
	}{
		{"fixed", fixed, netflow.BiflowRows, rows},
		{"variable", variable, netflow.BiflowRows, rows},
		{"fixed, columns", fixed, netflow.BiflowColumns, columns},
		{"variable, columns", variable, netflow.BiflowColumns, columns},
		{"nsel", nsel, netflow.BiflowRows, []side{{1, 2, 1, 2, 100, 0, 2, 1}, {1, 2, 1, 2, 50, 0, 2, 1}, {2, 1, 2, 1, 7, 0, 0, 2}}},
		{"nsel, columns", nsel, netflow.BiflowColumns, []side{{1, 2, 1, 2, 100, 7, 2, 0}, {1, 2, 1, 2, 50, 0, 2, 0}}},
	} {
		tab := formatstest.NewTable(sides)
		d := newDecoder(tab, netflow.Options{Biflow: c.b})
		feedAll(d, c.payload)
		if diff := cmp.Diff(c.want, sidesOf(tab)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if int(d.Tally.Records) != len(c.want) || d.Tally.Bytes() != uint64(len(c.payload)) {
			t.Errorf("%s: %d records, %d bytes of %d", c.name, d.Tally.Records, d.Tally.Bytes(), len(c.payload))
		}
	}
}

// Reverse rows that fill batches to their edge are all there.
func TestBiflowAcrossBatches(t *testing.T) {
	tab := formatstest.NewTable(formatstest.Columns("src_port", "bytes"))
	tab.Size = 7
	d := newDecoder(tab, netflow.Options{})
	var records []byte
	for i := range 40 {
		records = append(append(records, u16s(uint16(i), uint16(1000+i))...), u32s(1, uint32(i%3))...)
	}
	feedAll(d, msg10(1, 1, set(2, tmplE(256, [3]uint32{7, 2, 0}, [3]uint32{11, 2, 0}, [3]uint32{1, 4, 0}, [3]uint32{1, 4, 29305})), set(256, records)))
	got := map[uint16]uint64{}
	for i, p := range formatstest.Column[uint16](tab, "src_port") {
		got[p] += formatstest.Column[uint64](tab, "bytes")[i]
	}
	want := map[uint16]uint64{}
	for i := range uint16(40) {
		want[i] = 1
		if i%3 != 0 {
			want[1000+i] = uint64(i % 3)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("bytes by port (-want +got):\n%s", diff)
	}
}

// NetFlow v1 and v7 need no template.
func TestOldVersions(t *testing.T) {
	record := func(rest ...byte) []byte {
		b := append([]byte{10, 0, 0, 1, 10, 0, 0, 2, 10, 0, 0, 3, 0, 4, 0, 5}, u32s(6, 700, uptimeMs-2000, uptimeMs-1000)...)
		return append(append(b, 0, 8, 0, 9), rest...)
	}
	head := func(version uint16, rest ...uint32) []byte {
		return append(u16s(version, 2), u32s(append([]uint32{uptimeMs, exportedAt, 0}, rest...)...)...)
	}
	one := record(0, 0, 17, 1, 0x12, 0, 0, 0, 0, 0, 0, 0)
	v1 := append(append(head(1), one...), one...)
	seven := record(0, 0x12, 17, 1, 0, 20, 0, 30, 24, 16, 0, 0, 9, 9, 9, 9)
	v7 := append(append(head(7, 1, 0), seven...), seven...)
	tab := formatstest.NewTable(formatstest.Columns("format", "bytes", "packets", "src_port", "dst_port", "protocol", "tos", "tcp_flags", "in_if", "out_if", "src_as", "src_mask", "flow_start", "etype"))
	d := newDecoder(tab, netflow.Options{})
	for _, r := range feedAll(d, v1, v7) {
		if r.Why != netflow.None || r.Rows != 2 {
			t.Errorf("%+v", r)
		}
	}
	check := func(name string, want, got any) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	check("format", []string{"netflow1", "netflow1", "netflow7", "netflow7"}, formatstest.Names(tab, "format"))
	check("bytes", []uint64{700, 700, 700, 700}, formatstest.Column[uint64](tab, "bytes"))
	check("packets", []uint64{6, 6, 6, 6}, formatstest.Column[uint64](tab, "packets"))
	check("dst_port", []uint16{9, 9, 9, 9}, formatstest.Column[uint16](tab, "dst_port"))
	check("protocol", []uint8{17, 17, 17, 17}, formatstest.Column[uint8](tab, "protocol"))
	check("tos", []uint8{1, 1, 1, 1}, formatstest.Column[uint8](tab, "tos"))
	check("tcp_flags", []uint16{0x12, 0x12, 0x12, 0x12}, formatstest.Column[uint16](tab, "tcp_flags"))
	check("out_if", []uint32{5, 5, 5, 5}, formatstest.Column[uint32](tab, "out_if"))
	check("src_as", []uint32{0, 0, 20, 20}, formatstest.Column[uint32](tab, "src_as"))
	check("etype", []uint16{0x800, 0x800, 0x800, 0x800}, formatstest.Column[uint16](tab, "etype"))
	check("flow_start", int64(exportedAt-2)*1e9, formatstest.Column[int64](tab, "flow_start")[0])
	if d.Tally.Bytes() != uint64(len(v1)+len(v7)) {
		t.Errorf("%d bytes of %d", d.Tally.Bytes(), len(v1)+len(v7))
	}
	for _, p := range [][]byte{v1[:15], v1[:60], v7[:23], v7[:100]} {
		if r := feedAll(d, p)[0]; r.Why == netflow.None {
			t.Errorf("%d bytes are taken for a datagram", len(p))
		}
	}
}

// The reverse of an address has the length that its exporter likes; what is behind the payload is never looked at.
func TestReverseAddressOfAnyLength(t *testing.T) {
	const re = 29305
	for _, length := range []uint32{0, 2, 15, 0xffff} {
		tail := map[uint32]int{0xffff: 1}[length] // a value of variable length, of no bytes
		if length != 0xffff {
			tail = int(length)
		}
		p := msg10(1, 1, set(2, tmplE(256, [3]uint32{27, 16, 0}, [3]uint32{28, 16, 0}, [3]uint32{1, 4, 0}, [3]uint32{1, 4, re}, [3]uint32{8, length, re})),
			set(256, make([]byte, 32), u32s(1, 2), make([]byte, tail)))
		for _, behind := range []byte{0, 0xee} {
			whole := append(p[:len(p):len(p)], bytes.Repeat([]byte{behind}, 32)...)
			tab := formatstest.NewTable(formatstest.Columns("bytes", "etype"))
			feedAll(newDecoder(tab, netflow.Options{}), whole[:len(p)])
			if diff := cmp.Diff([]uint16{0x86dd, 0x86dd}, formatstest.Column[uint16](tab, "etype")); diff != "" {
				t.Errorf("etype with %d bytes before %#x (-want +got):\n%s", length, behind, diff)
			}
		}
	}
}
