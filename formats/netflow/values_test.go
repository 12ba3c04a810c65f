package netflow_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/formats/netflow"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
)

// one decodes one record of a template in an IPFIX message and returns the table.
func one(t *testing.T, out *sdk.Schema, fields []uint16, record []byte) *formatstest.Table {
	t.Helper()
	tab := formatstest.NewTable(out)
	d := newDecoder(tab, netflow.Options{})
	rs := feedAll(d, msg10(1, 0, set(2, tmpl(256, fields...))), msg10(1, 1, set(256, record)))
	if rs[0].Bad != netflow.None || rs[1].Bad != netflow.None || rs[1].Rows != 1 {
		t.Fatalf("fields %v: %+v", fields, rs)
	}
	return tab
}

// Numbers of every length go into columns of every width: right if they fit, else the column's largest.
func TestReducedSizeNumbers(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, c := range []struct {
		column string
		id     uint16
		most   uint64
		get    func(*formatstest.Table) uint64
	}{
		{"protocol", 4, math.MaxUint8, func(t *formatstest.Table) uint64 { return uint64(formatstest.Column[uint8](t, "protocol")[0]) }},
		{"tcp_flags", 6, math.MaxUint16, func(t *formatstest.Table) uint64 { return uint64(formatstest.Column[uint16](t, "tcp_flags")[0]) }},
		{"src_as", 16, math.MaxUint32, func(t *formatstest.Table) uint64 { return uint64(formatstest.Column[uint32](t, "src_as")[0]) }},
		{"bytes", 1, math.MaxUint64, func(t *formatstest.Table) uint64 { return formatstest.Column[uint64](t, "bytes")[0] }},
	} {
		for n := uint16(1); n <= 8; n++ {
			for range 20 {
				var b [8]byte
				v := r.Uint64() >> r.IntN(64)
				v &= math.MaxUint64 >> (64 - 8*n)
				binary.BigEndian.PutUint64(b[:], v)
				tab := one(t, formatstest.Columns(c.column), []uint16{c.id, n}, b[8-n:])
				if got := c.get(tab); got != min(v, c.most) {
					t.Errorf("%s of %d bytes: %d became %d", c.column, n, v, got)
				}
			}
		}
	}
}

// All encodings of time, at times that are awkward: before and after the wraps of their counters.
func TestTimes(t *testing.T) {
	at := func(s string) int64 {
		x, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return x.UnixNano()
	}
	// ntp writes a time as an exporter does: the fraction cut to 32 bits.
	ntp := func(ns int64, mask uint32) (b []byte) {
		s := ns/1e9 + 2208988800
		frac := new(big.Int).Lsh(big.NewInt(ns%1e9), 32)
		frac.Div(frac, big.NewInt(1e9))
		b = be.AppendUint32(b, uint32(s))
		return be.AppendUint32(b, uint32(frac.Uint64())&^mask)
	}
	for _, c := range []struct {
		name   string
		id     uint16
		record []byte
		want   int64
	}{
		{"seconds", 150, u32s(1_700_000_000), at("2023-11-14T22:13:20Z")},
		{"seconds past 2038", 150, u32s(math.MaxUint32), at("2106-02-07T06:28:15Z")},
		{"milliseconds", 152, be.AppendUint64(nil, 1_700_000_000_123), at("2023-11-14T22:13:20.123Z")},
		{"milliseconds past all", 152, be.AppendUint64(nil, math.MaxUint64), math.MaxInt64 - math.MaxInt64%1_000_000},
		{"microseconds", 154, ntp(at("2023-11-14T22:13:20.123457Z"), 0x7ff), at("2023-11-14T22:13:20.123457Z")},
		{"microseconds, .999999", 154, ntp(at("2023-11-14T22:13:20.999999Z"), 0x7ff), at("2023-11-14T22:13:20.999999Z")},
		{"microseconds, pmacct's", 154, be.AppendUint64(be.AppendUint64(nil, 1_700_000_000), 123_457), at("2023-11-14T22:13:20.123457Z")},
		{"microseconds, pmacct's, past all", 154, be.AppendUint64(be.AppendUint64(nil, math.MaxUint64), math.MaxUint64), math.MaxInt64/1_000_000_000*1_000_000_000 - 1000},
		{"nanoseconds", 156, ntp(at("2023-11-14T22:13:20.123456789Z"), 0), at("2023-11-14T22:13:20.123456789Z")},
		{"nanoseconds past 2036", 156, ntp(at("2040-01-01T00:00:00.000000001Z"), 0), at("2040-01-01T00:00:00.000000001Z")},
		{"NTP zero", 156, make([]byte, 8), 0},
		{"delta microseconds", 158, u32s(1_500_000), (exportedAt*1000 - 1500) * 1e6},
		{"observed, seconds", 322, u32s(1_700_000_000), at("2023-11-14T22:13:20Z")},
		{"observed, milliseconds", 323, be.AppendUint64(nil, 1_700_000_000_123), at("2023-11-14T22:13:20.123Z")},
		{"observed, microseconds", 324, ntp(at("2023-11-14T22:13:20.123457Z"), 0x7ff), at("2023-11-14T22:13:20.123457Z")},
		{"observed, nanoseconds", 325, ntp(at("2023-11-14T22:13:20.123456789Z"), 0), at("2023-11-14T22:13:20.123456789Z")},
		{"uptime without a start time", 22, u32s(5), 0},
	} {
		tab := one(t, formatstest.Columns("flow_start"), []uint16{c.id, uint16(len(c.record))}, c.record)
		if got := formatstest.Column[int64](tab, "flow_start")[0]; got != c.want {
			t.Errorf("%s: %v, want %v", c.name, time.Unix(0, got).UTC(), time.Unix(0, c.want).UTC())
		}
	}
}

// Uptimes of v9 around the wrap of their 32 bits, and of IPFIX with the exporter's start told in options.
func TestUptimes(t *testing.T) {
	v9 := func(uptime uint32, sets ...[]byte) []byte {
		b := msg9(0, 1, sets...)
		binary.BigEndian.PutUint32(b[4:], uptime)
		return b
	}
	for _, c := range []struct{ uptime, first uint32 }{
		{uptimeMs, uptimeMs - 1000}, {500, math.MaxUint32 - 499}, {500, 500}, {math.MaxUint32, 0}, {1000, 1250},
	} {
		tab := formatstest.NewTable(formatstest.Columns("flow_start"))
		feedAll(newDecoder(tab, netflow.Options{}), v9(c.uptime, set(0, tmpl(256, 22, 4)), set(256, u32s(c.first))))
		want := exportedAt*int64(1e9) + int64(int32(c.first-c.uptime))*1e6
		if got := formatstest.Column[int64](tab, "flow_start"); len(got) != 1 || got[0] != want {
			t.Errorf("uptime %d, first %d: %v, want %v", c.uptime, c.first, got, want)
		}
	}
	tab := formatstest.NewTable(formatstest.Columns("flow_start"))
	const start = (exportedAt - 50*86400) * 1000 // 50 days up: the counter has wrapped
	init := msg10(1, 0, set(3, u16s(300, 2, 1, 149, 4, 160, 8)), set(300, u32s(1), be.AppendUint64(nil, start)))
	first := int64(exportedAt*1000 - 2500)
	feedAll(newDecoder(tab, netflow.Options{}), init, msg10(1, 1, set(2, tmpl(256, 22, 4)), set(256, u32s(uint32(first-start)))))
	if got := formatstest.Column[int64](tab, "flow_start"); len(got) != 1 || got[0] != first*1e6 {
		t.Errorf("IPFIX uptime: %v, want %v", got, first*1e6)
	}
}

// Times outside the window move to its edge; zero, which is "not known", stays.
func TestTimeWindow(t *testing.T) {
	tab := formatstest.NewTable(formatstest.Columns("flow_start", "flow_end", "exported", "received"))
	d := newDecoder(tab, netflow.Options{Window: time.Hour})
	feedAll(d, msg10(1, 0, set(2, tmpl(256, 152, 8, 153, 8))))
	var records []byte
	for _, ms := range []uint64{0, 1, exportedAt * 1000, math.MaxUint64} {
		records = be.AppendUint64(records, ms)
		records = be.AppendUint64(records, exportedAt*1000+uint64(ms%7))
	}
	const received = exportedAt * int64(1e9)
	d.Decode(&netflow.Datagram{Payload: msg10(1, 1, set(256, records)), Addr: exporter, Received: received})
	d.Run()
	if diff := cmp.Diff([]int64{0, received - 3600e9, received, received + 3600e9}, formatstest.Column[int64](tab, "flow_start")); diff != "" {
		t.Errorf("flow_start (-want +got):\n%s", diff)
	}
	if d.Tally.Clamped != 2 {
		t.Errorf("%d clamped, want 2", d.Tally.Clamped)
	}
}

// Addresses of both families in one template: the one that is not zero counts, and says what the packets were.
func TestBothFamiliesInOneTemplate(t *testing.T) {
	v6 := [16]byte{0x20, 1, 0xd, 0xb8, 15: 9}
	tab := formatstest.NewTable(formatstest.Columns("src_addr", "etype"))
	d := newDecoder(tab, netflow.Options{})
	feedAll(d, msg9(1, 1, set(0, tmpl(256, 27, 16, 8, 4)), set(256, make([]byte, 16), []byte{10, 0, 0, 7}, v6[:], make([]byte, 4), make([]byte, 20))))
	mapped := func(b ...byte) (a [16]byte) { a[10], a[11] = 0xff, 0xff; copy(a[12:], b); return a }
	if diff := cmp.Diff([][16]byte{mapped(10, 0, 0, 7), v6, mapped(0, 0, 0, 0)}, formatstest.Column[[16]byte](tab, "src_addr")); diff != "" {
		t.Errorf("src_addr (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]uint16{0x800, 0x86dd, 0}, formatstest.Column[uint16](tab, "etype")); diff != "" {
		t.Errorf("etype (-want +got):\n%s", diff)
	}
}

// Of several elements for one column the first counts, where it is not zero; of one element named twice, the last.
func TestPreference(t *testing.T) {
	tab := formatstest.NewTable(formatstest.Columns("bytes", "packets", "out_bytes"))
	feedAll(newDecoder(tab, netflow.Options{}), msg9(1, 1, set(0, tmpl(256, 23, 4, 1, 4, 2, 4, 2, 4)), set(256, u32s(5, 7, 1, 2), u32s(5, 0, 1, 2))))
	if diff := cmp.Diff([]uint64{7, 5}, formatstest.Column[uint64](tab, "bytes")); diff != "" {
		t.Errorf("bytes (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]uint64{2, 2}, formatstest.Column[uint64](tab, "packets")); diff != "" {
		t.Errorf("packets (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]uint64{5, 5}, formatstest.Column[uint64](tab, "out_bytes")); diff != "" {
		t.Errorf("out_bytes (-want +got):\n%s", diff)
	}
}

// Every way in which exporters tell a sampling rate.
func TestSampling(t *testing.T) {
	data := tmpl(256, 1, 4)
	named := tmpl(256, 1, 4, 48, 1)
	for _, c := range []struct {
		name    string
		options []byte // fields of the options template behind its scope
		values  []byte
		data    []byte
		record  []byte
		want    uint64
	}{
		{"34", u16s(34, 4, 35, 1), append(u32s(100), 2), data, u32s(1), 100},
		{"50 by its only sampler", u16s(48, 1, 49, 1, 50, 4), append([]byte{3, 2}, u32s(200)...), data, u32s(1), 200},
		{"50 by sampler id", u16s(48, 1, 50, 4), append(append([]byte{3}, u32s(200)...), append([]byte{4}, u32s(300)...)...), named, append(u32s(1), 4), 300},
		{"50 by another's id", u16s(48, 1, 50, 4), append([]byte{3}, u32s(200)...), named, append(u32s(1), 4), 1},
		{"50 by another's id, two that agree", u16s(48, 1, 50, 4), append(append([]byte{3}, u32s(200)...), append([]byte{4}, u32s(200)...)...), named, append(u32s(1), 5), 1},
		{"50 by id 0, which has no sampler", u16s(48, 1, 50, 4), append([]byte{3}, u32s(200)...), named, append(u32s(1), 0), 200},
		{"34 without a name, a record with one", u16s(34, 4, 35, 1), append(u32s(100), 2), named, append(u32s(1), 4), 100},
		{"two samplers and none named", u16s(48, 1, 50, 4), append(append([]byte{3}, u32s(200)...), append([]byte{4}, u32s(300)...)...), data, u32s(1), 1},
		{"305 and 306", u16s(304, 1, 305, 4, 306, 4), append([]byte{1}, u32s(1, 99)...), data, u32s(1), 100},
		{"305 of 10", u16s(305, 4, 306, 4), u32s(10, 990), data, u32s(1), 100},
		{"305 alone", u16s(305, 4), u32s(512), data, u32s(1), 512},
		{"309 and 310", u16s(309, 4, 310, 4), u32s(2, 128), data, u32s(1), 64},
		{"in the record", u16s(34, 4), u32s(100), tmpl(256, 1, 4, 34, 4), u32s(1, 7), 7},
		{"zero in the record", u16s(34, 4), u32s(100), tmpl(256, 1, 4, 34, 4), u32s(1, 0), 100},
		{"nobody told", u16s(36, 2), u16s(1), data, u32s(1), 1},
	} {
		tab := formatstest.NewTable(formatstest.Columns("sampling_rate"))
		d := newDecoder(tab, netflow.Options{})
		feedAll(d, msg9(1, 1, set(0, c.data), set(1, u16s(300, 4, uint16(len(c.options)), 1, 0), c.options), set(300, c.values), set(256, c.record)))
		if got := formatstest.Column[uint64](tab, "sampling_rate"); len(got) != 1 || got[0] != c.want {
			t.Errorf("%s: %v, want %d", c.name, got, c.want)
		}
		if unknown := d.Tally.SamplingUnknown; (unknown == 1) != (c.want == 1) {
			t.Errorf("%s: %d records of unknown rate", c.name, unknown)
		}
	}
	// A domain that has told nothing gets what the exporter's other domains told, but never the rate of another sampler.
	sampler := func(domain uint32, id byte, rate uint32) []byte {
		return msg9(domain, 1, set(1, u16s(300, 4, 8, 1, 0, 48, 1, 50, 4)), set(300, []byte{id}, u32s(rate)))
	}
	for _, c := range []struct {
		name string
		told [][]byte
		data []byte
		id   []byte
		want uint64
	}{
		{"its sampler, of another domain", [][]byte{sampler(2, 3, 200)}, named, []byte{3}, 200},
		{"its sampler, of two domains", [][]byte{sampler(2, 3, 200), sampler(3, 3, 200), sampler(3, 4, 300)}, named, []byte{3}, 200},
		{"its sampler, of two domains that do not agree", [][]byte{sampler(2, 3, 200), sampler(3, 3, 300)}, named, []byte{3}, 1},
		{"another sampler, of another domain", [][]byte{sampler(2, 3, 200)}, named, []byte{4}, 1},
		{"another sampler, of two domains", [][]byte{sampler(2, 3, 200), sampler(3, 4, 200)}, named, []byte{5}, 1},
		{"none, two domains agree", [][]byte{sampler(2, 3, 200), sampler(3, 4, 200)}, data, nil, 200},
		{"none, two domains do not agree", [][]byte{sampler(2, 3, 200), sampler(3, 4, 300)}, data, nil, 1},
		{"its own domain first", [][]byte{sampler(1, 4, 300), sampler(2, 3, 200)}, named, []byte{3}, 1},
	} {
		tab := formatstest.NewTable(formatstest.Columns("sampling_rate"))
		d := newDecoder(tab, netflow.Options{})
		feedAll(d, append(c.told, msg9(1, 1, set(0, c.data), set(256, u32s(1), c.id)))...)
		if got := formatstest.Column[uint64](tab, "sampling_rate"); len(got) != 1 || got[0] != c.want || (d.Tally.SamplingUnknown == 1) != (c.want == 1) {
			t.Errorf("%s: %v, %d unknown, want %d", c.name, got, d.Tally.SamplingUnknown, c.want)
		}
	}
	// The mode is in the top bits of a v5 header.
	tab := formatstest.NewTable(formatstest.Columns("sampling_rate", "flow_start"))
	v5 := append(append(u16s(5, 1), u32s(1_000_000, exportedAt, 0, 7)...), append([]byte{0, 0}, append(u16s(0x4064), make([]byte, 48)...)...)...)
	be.PutUint32(v5[24+24:], 990_000)
	feedAll(newDecoder(tab, netflow.Options{}), v5)
	if got := formatstest.Column[uint64](tab, "sampling_rate"); len(got) != 1 || got[0] != 100 {
		t.Errorf("v5: %v, want 100", got)
	}
	if got := formatstest.Column[int64](tab, "flow_start"); len(got) != 1 || got[0] != (exportedAt-10)*1e9 {
		t.Errorf("v5: first packet at %v, want 10 s before the export", got)
	}
}

// Strings, label stacks and frames, of fixed and of variable length, between numbers whose place moves with them.
func TestVariableLength(t *testing.T) {
	out := formatstest.Columns("src_port", "dst_port", "application_name", "mpls_labels", "frame", "src_mac", "icmp_type", "icmp_code")
	tab := formatstest.NewTable(out)
	d := newDecoder(tab, netflow.Options{})
	label := func(v uint32, last bool) []byte {
		v <<= 4
		if last {
			v |= 1
		}
		return []byte{byte(v >> 16), byte(v >> 8), byte(v)}
	}
	var want struct {
		src, dst []uint16
		name     []string
		labels   [][]uint32
		frame    []string
		mac      []uint64
		icmp     [][2]uint8
	}
	var records []byte
	for i := range 300 {
		name, frame := fmt.Sprintf("app-%d", i%50), string(make([]byte, i%290))
		records = be.AppendUint16(records, uint16(i))
		records = append(append(records, byte(len(name))), name...)
		records = append(append(records, label(uint32(i+16), false)...), label(uint32(i), i%2 == 0)...)
		records = append(records, label(77, true)...)
		records = append(be.AppendUint16(append(records, 255), uint16(len(frame))), frame...)
		records = append(records, 2, 0, 0, 0, 0, byte(i), 3, byte(i))
		records = be.AppendUint16(records, uint16(i+1))
		want.src, want.dst, want.name, want.frame = append(want.src, uint16(i)), append(want.dst, uint16(i+1)), append(want.name, name), append(want.frame, frame)
		ls := []uint32{uint32(i + 16), uint32(i), 77}
		if i%2 == 0 {
			ls = ls[:2]
		}
		want.labels, want.mac, want.icmp = append(want.labels, ls), append(want.mac, 2<<40|uint64(byte(i))), append(want.icmp, [2]uint8{3, byte(i)})
	}
	rs := feedAll(d, msg10(1, 0, set(2, tmpl(256, 7, 2, 96, 0xffff, 70, 3, 71, 3, 72, 3, 315, 0xffff, 56, 6, 32, 2, 11, 2))), msg10(1, 1, set(256, records)))
	if rs[1].Rows != 300 || rs[1].Bad != netflow.None {
		t.Fatalf("%+v", rs)
	}
	b := tab.Batches()[0]
	got := want
	got.src, got.dst, got.name, got.mac = formatstest.Column[uint16](tab, "src_port"), formatstest.Column[uint16](tab, "dst_port"), formatstest.Names(tab, "application_name"), formatstest.Column[uint64](tab, "src_mac")
	got.frame, got.labels, got.icmp = nil, nil, nil
	for i := range 300 {
		got.frame = append(got.frame, string(b.Bytes(out.Index("frame"))[i]))
		var ls []uint32
		for v := b.Bytes(out.Index("mpls_labels"))[i]; len(v) > 0; v = v[4:] {
			ls = append(ls, binary.LittleEndian.Uint32(v))
		}
		got.labels = append(got.labels, ls)
		got.icmp = append(got.icmp, [2]uint8{formatstest.Column[uint8](tab, "icmp_type")[i], formatstest.Column[uint8](tab, "icmp_code")[i]})
	}
	if diff := cmp.Diff(fmt.Sprintf("%+v", want), fmt.Sprintf("%+v", got)); diff != "" {
		t.Errorf("(-want +got):\n%.3000s", diff)
	}
}

// Exporters without elements for ICMP's type and code put them into the destination port.
func TestICMPInDestinationPort(t *testing.T) {
	tab := formatstest.NewTable(formatstest.Columns("icmp_type", "icmp_code", "dst_port"))
	records := []byte{1, 8, 0, 6, 8, 1, 58, 129, 3}
	feedAll(newDecoder(tab, netflow.Options{}), msg9(1, 1, set(0, tmpl(256, 4, 1, 11, 2)), set(256, records)))
	feedAll(newDecoder(tab, netflow.Options{}), msg10(1, 1, set(2, tmpl(256, 96, 0xffff, 4, 1, 96, 0xffff, 11, 2)), set(256, []byte{1, 'a', 1, 0, 3, 4})))
	if diff := cmp.Diff([]uint8{8, 0, 129, 3}, formatstest.Column[uint8](tab, "icmp_type")); diff != "" {
		t.Errorf("type (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]uint8{0, 0, 3, 4}, formatstest.Column[uint8](tab, "icmp_code")); diff != "" {
		t.Errorf("code (-want +got):\n%s", diff)
	}
}

// Random templates, records and needed columns: the plan's columns are those of a reader that goes through each record field by
// field.
func TestPlansAgreeWithPlainReading(t *testing.T) {
	type col struct {
		name string
		ids  []uint16 // of one element each: no preference in play
		lens []uint16
	}
	all := []col{
		{"bytes", []uint16{1}, []uint16{1, 2, 3, 4, 5, 6, 7, 8}}, {"packets", []uint16{2}, []uint16{4, 8, 3}}, {"protocol", []uint16{4}, []uint16{1, 2}},
		{"src_port", []uint16{7}, []uint16{1, 2, 4}}, {"dst_port", []uint16{11}, []uint16{2}}, {"in_if", []uint16{10}, []uint16{1, 2, 4, 8}}, {"src_as", []uint16{16}, []uint16{2, 4}},
		{"flow_label", []uint16{31}, []uint16{3, 4}}, {"src_vlan", []uint16{58}, []uint16{2}}, {"ttl", []uint16{192}, []uint16{1}}, {"flow_id", []uint16{148}, []uint16{8, 4}},
	}
	r := rand.New(rand.NewPCG(3, 4))
	for round := range 150 {
		var fs []uint16
		vars := 0
		for range 1 + r.IntN(15) {
			switch r.IntN(8) {
			case 0: // unknown, fixed
				fs = append(fs, 999, uint16(r.IntN(10)))
			case 1: // unknown or not, variable
				fs = append(fs, []uint16{998, 96}[r.IntN(2)], 0xffff)
				vars++
			default:
				c := all[r.IntN(len(all))]
				fs = append(fs, c.ids[0], c.lens[r.IntN(len(c.lens))])
			}
		}
		fs = append(fs, 4, 1)
		// Columns that are needed.
		var needed []string
		for _, c := range all {
			if r.IntN(3) > 0 {
				needed = append(needed, c.name)
			}
		}
		needed = append(needed, "dst_as", "application_name")
		out := formatstest.Columns(needed...)
		// Records, and what is in them.
		want := make(map[string][]uint64)
		var wantName []string
		tab := formatstest.NewTable(out)
		tab.Size = []int{256, 1024, sdk.MaxRows}[r.IntN(3)]
		d := newDecoder(tab, netflow.Options{})
		feedAll(d, msg10(1, 0, set(2, tmpl(256, fs...))))
		rows := 0
		for range 1 + r.IntN(4) {
			var records []byte
			for range r.IntN(200) {
				vals, name := map[uint16]uint64{}, ""
				for i := 0; i < len(fs); i += 2 {
					id, n := fs[i], int(fs[i+1])
					if fs[i+1] == 0xffff {
						n = r.IntN(20)
						if r.IntN(3) == 0 {
							records = be.AppendUint16(append(records, 255), uint16(n))
						} else {
							records = append(records, byte(n))
						}
					}
					v := uint64(0)
					start := len(records)
					for range n {
						x := byte('a' + r.IntN(26))
						if r.IntN(2) == 0 && id != 96 {
							x = byte(r.IntN(3))
						}
						records = append(records, x)
						v = v<<8 | uint64(x)
					}
					vals[id] = v
					if id == 96 {
						name = string(records[start:])
					}
				}
				for _, c := range all {
					f := flow.Columns[flow.Index(c.name)]
					most := uint64(math.MaxUint64) >> (64 - 8*f.Type.Width())
					want[c.name] = append(want[c.name], min(vals[c.ids[0]], most))
				}
				wantName = append(wantName, name)
				rows++
			}
			d.Decode(&netflow.Datagram{Payload: msg10(1, 1, set(256, records)), Addr: exporter})
			if r.IntN(2) == 0 {
				d.Run()
			}
		}
		d.Run()
		if tab.Rows() != rows {
			t.Fatalf("round %d: %d rows of %d, template %v (%d variable)", round, tab.Rows(), rows, fs, vars)
		}
		for _, name := range needed {
			var got []uint64
			switch f := flow.Columns[flow.Index(name)]; f.Type.Width() {
			case 1:
				got = widen(formatstest.Column[uint8](tab, name))
			case 2:
				got = widen(formatstest.Column[uint16](tab, name))
			case 4:
				got = widen(formatstest.Column[uint32](tab, name))
			case 8:
				got = formatstest.Column[uint64](tab, name)
			}
			switch name {
			case "application_name":
				if diff := cmp.Diff(wantName, formatstest.Names(tab, name)); diff != "" {
					t.Fatalf("round %d, template %v: names (-plain +plan):\n%s", round, fs, diff)
				}
			case "dst_as": // in no template
				for _, v := range got {
					if v != 0 {
						t.Fatalf("round %d: a column that no element fills holds %d", round, v)
					}
				}
			default:
				if diff := cmp.Diff(want[name], got); diff != "" {
					t.Fatalf("round %d, template %v: %s (-plain +plan):\n%s", round, fs, name, diff)
				}
			}
		}
	}
}

func widen[T uint8 | uint16 | uint32](vs []T) (out []uint64) {
	for _, v := range vs {
		out = append(out, uint64(v))
	}
	return out
}
