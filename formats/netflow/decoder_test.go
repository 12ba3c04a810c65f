package netflow_test

import (
	"cmp"
	"slices"
	"testing"
	"time"
	"unsafe"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/emulate"
	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/formats/netflow"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
)

// newDecoder makes a decoder into a table, with a store of its own.
func newDecoder(t *formatstest.Table, opt netflow.Options) *netflow.Decoder {
	return netflow.NewDecoder(netflow.NewStore(netflow.DefaultLimits), t.Out, opt, t)
}

// Each protocol, families and samplers mixed: what an emulated network of exporters put into its datagrams is what comes out,
// each set's records in order, and every byte is accounted for.
func TestDecodesWhatExportersSent(t *testing.T) {
	for _, p := range []emulate.Protocol{emulate.NetFlowV5, emulate.NetFlowV9, emulate.IPFIX} {
		t.Run(p.String(), func(t *testing.T) {
			o := emulate.Options{Mix: emulate.Mix{{Protocol: p, Weight: 1}}, Exporters: 20, Domains: 2, Sampling: 100, Base: formatstest.Base, TemplateInterval: time.Second}
			if p != emulate.NetFlowV5 {
				o.IPv6, o.Samplers = 0.3, 3
			}
			e, err := emulate.New(o)
			if err != nil {
				t.Fatal(err)
			}
			tab := formatstest.NewTable(flow.Schema)
			d := newDecoder(tab, netflow.Options{Window: 24 * time.Hour})
			var want []record
			at, bytes := formatstest.Base.UnixNano(), uint64(0)
			for range 500 {
				b, dg := e.Append(nil, at, 0)
				// b is kept by the group that looks into it, until Run.
				r := d.Decode(&netflow.Datagram{Payload: b, Addr: dg.Exporter, Port: dg.Port, Received: dg.Sent})
				if r.Why != netflow.None || r.Bad != netflow.None || len(r.Unknown) > 0 || r.Rows != dg.Records || !r.Used {
					t.Fatalf("datagram of %v at %v: %+v, want %d rows", dg.Protocol, dg.Domain, r, dg.Records)
				}
				bytes += uint64(len(b))
				for _, f := range e.Flows() {
					want = append(want, sent(&dg, &f))
				}
				at += 1e6
			}
			d.Run()
			if got := decoded(tab); !slices.Equal(bySet(want), bySet(got)) {
				t.Errorf("flows differ (-sent +decoded):\n%.4000s", gocmp.Diff(want, got))
			}
			if d.Tally.Bytes() != bytes {
				t.Errorf("%d bytes accounted for of %d: %+v", d.Tally.Bytes(), bytes, d.Tally)
			}
			if d.Tally.Clamped != 0 || d.Tally.SamplingUnknown != 0 || d.Tally.NamesFull != 0 {
				t.Errorf("clamped, unsampled or unnamed: %+v", d.Tally)
			}
			for _, r := range netflow.Reasons() {
				if n := d.Tally.Rejected[r]; n != 0 {
					t.Errorf("%d bytes rejected: %v", n, r)
				}
			}
		})
	}
}

// record is a flow with its datagram, as sent or as decoded.
type record struct {
	Src, Dst, NextHop, Exporter                          [16]byte
	SrcPort, DstPort, EType, TCPFlags, Port              uint16
	Protocol, TOS, SrcMask, DstMask, Direction           uint8
	InIf, OutIf, SrcAS, DstAS, Domain, Sampler, Sequence uint32
	Bytes, Packets, Rate                                 uint64
	Start, End, Received, Exported                       int64
	Format                                               string
}

func sent(d *emulate.Datagram, f *emulate.Flow) record {
	etype, mapped := uint16(0x86dd), [12]byte{10: 0xff, 11: 0xff}
	if [12]byte(f.Src[:12]) == mapped {
		etype = 0x0800
	}
	return record{
		Src: f.Src, Dst: f.Dst, NextHop: f.NextHop, Exporter: d.Exporter,
		SrcPort: f.SrcPort, DstPort: f.DstPort, EType: etype, TCPFlags: uint16(f.TCPFlags), Port: d.Port,
		Protocol: f.Protocol, TOS: f.TOS, SrcMask: f.SrcMask, DstMask: f.DstMask, Direction: f.Direction,
		InIf: f.InIf, OutIf: f.OutIf, SrcAS: f.SrcAS, DstAS: f.DstAS, Domain: d.Domain, Sampler: uint32(f.Sampler), Sequence: d.Sequence,
		Bytes: f.Bytes, Packets: f.Packets, Rate: uint64(f.SamplingRate),
		Start: f.Start, End: f.End, Received: d.Sent, Exported: d.Exported,
		Format: map[emulate.Protocol]string{emulate.NetFlowV5: "netflow5", emulate.NetFlowV9: "netflow9", emulate.IPFIX: "ipfix"}[d.Protocol],
	}
}

func decoded(t *formatstest.Table) (rs []record) {
	addr := func(n string) [][16]byte { return formatstest.Column[[16]byte](t, n) }
	u8 := func(n string) []uint8 { return formatstest.Column[uint8](t, n) }
	u16 := func(n string) []uint16 { return formatstest.Column[uint16](t, n) }
	u32 := func(n string) []uint32 { return formatstest.Column[uint32](t, n) }
	u64 := func(n string) []uint64 { return formatstest.Column[uint64](t, n) }
	i64 := func(n string) []int64 { return formatstest.Column[int64](t, n) }
	src, dst, next, exp := addr("src_addr"), addr("dst_addr"), addr("next_hop"), addr("exporter_addr")
	sport, dport, etype, flags, port := u16("src_port"), u16("dst_port"), u16("etype"), u16("tcp_flags"), u16("exporter_port")
	proto, tos, smask, dmask, dir := u8("protocol"), u8("tos"), u8("src_mask"), u8("dst_mask"), u8("direction")
	in, out, sas, das, dom, sampler, seq := u32("in_if"), u32("out_if"), u32("src_as"), u32("dst_as"), u32("observation_domain"), u32("sampler_id"), u32("sequence")
	bytes, packets, rate := u64("bytes"), u64("packets"), u64("sampling_rate")
	start, end, received, exported, format := i64("flow_start"), i64("flow_end"), i64("received"), i64("exported"), formatstest.Names(t, "format")
	for i := range src {
		rs = append(rs, record{src[i], dst[i], next[i], exp[i], sport[i], dport[i], etype[i], flags[i], port[i], proto[i], tos[i], smask[i], dmask[i], dir[i],
			in[i], out[i], sas[i], das[i], dom[i], sampler[i], seq[i], bytes[i], packets[i], rate[i], start[i], end[i], received[i], exported[i], format[i]})
	}
	return rs
}

// bySet brings together the records of one set: their order is kept, that of sets of different templates is not.
func bySet(rs []record) []record {
	slices.SortStableFunc(rs, func(a, b record) int {
		return cmp.Or(slices.Compare(a.Exporter[:], b.Exporter[:]), cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Sequence, b.Sequence), cmp.Compare(a.EType, b.EType))
	})
	return rs
}

// ring is datagrams built beforehand, fed to a decoder in batches as a source would.
type ring struct {
	*formatstest.Ring
	g netflow.Datagram
}

func newRing(tb testing.TB, o emulate.Options, n int) *ring {
	tb.Helper()
	return &ring{Ring: formatstest.NewRing(tb, o, n)}
}

// feed decodes n datagrams and runs the group, as for one batch of a source.
func (r *ring) feed(d *netflow.Decoder, n int) (records int) {
	for range n {
		payload, dg := r.Next()
		r.g = netflow.Datagram{Payload: payload, Addr: dg.Exporter, Port: dg.Port, Received: dg.Sent}
		records += d.Decode(&r.g).Rows
	}
	d.Run()
	return records
}

// What the benchmarks decode: the 20 columns that the emulated exporters fill in v9, and 5 of them.
var (
	columns20 = formatstest.Columns("received", "flow_start", "flow_end", "sampling_rate", "exporter_addr", "observation_domain", "src_addr", "dst_addr", "src_port", "dst_port",
		"protocol", "etype", "tcp_flags", "bytes", "packets", "in_if", "out_if", "src_as", "dst_as", "next_hop")
	columns5   = formatstest.Columns("src_addr", "dst_addr", "protocol", "bytes", "packets")
	defaultSet = flow.Schema.Select(func(f sdk.Field) bool { return !f.Extra })
)

func BenchmarkDecode(b *testing.B) {
	for _, c := range []struct {
		name string
		out  *sdk.Schema
		o    emulate.Options
	}{
		{"v9-20cols-24rec", columns20, emulate.Options{Exporters: 50}},
		{"v9-20cols-24rec-samplers", columns20, emulate.Options{Exporters: 50, Samplers: 3, Sampling: 10}},
		{"v9-20cols-24rec-v6", columns20, emulate.Options{Exporters: 50, IPv6: 0.3, Payload: 4000}},
		{"v9-20cols-2rec", columns20, emulate.Options{Exporters: 50, Records: 2}},
		{"v9-5cols-24rec", columns5, emulate.Options{Exporters: 50}},
		{"v9-default-24rec", defaultSet, emulate.Options{Exporters: 50}},
		{"v9-all-24rec", flow.Schema, emulate.Options{Exporters: 50}},
		{"ipfix-20cols-24rec", columns20, emulate.Options{Exporters: 50, Mix: emulate.Mix{{Protocol: emulate.IPFIX, Weight: 1}}}},
		{"v5-20cols-30rec", columns20, emulate.Options{Exporters: 50, Records: 30, Mix: emulate.Mix{{Protocol: emulate.NetFlowV5, Weight: 1}}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := newRing(b, c.o, 4096)
			tab := formatstest.NewTable(c.out)
			tab.Keep = false
			d := newDecoder(tab, netflow.Options{Window: 24 * time.Hour})
			r.feed(d, len(r.Payloads))
			b.ReportAllocs()
			b.ResetTimer()
			records := 0
			for b.Loop() {
				records += r.feed(d, 512)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(records), "ns/record")
			b.ReportMetric(float64(records)/float64(b.N), "records/op")
		})
	}
	b.Run("floor-v9-18cols", benchmarkFloor)
}

// benchmarkFloor is what the work costs at the least on this machine: the same datagrams, offsets fixed in code, numbers alone,
// into as many narrow columns as the records have fields; no templates, no times, no constants, no batches.
func benchmarkFloor(b *testing.B) {
	const head, rec = 24, 55 // of v9 and its first set; of emulated IPv4 records
	r := newRing(b, emulate.Options{Exporters: 50}, 4096)
	var u8 [9][sdk.MaxRows]uint8
	var u16 [2][sdk.MaxRows]uint16
	var u32 [11][sdk.MaxRows]uint32
	off8 := []int{8, 9, 10, 31, 32, 33, 34}
	off16 := []int{11, 13}
	off32 := []int{0, 4, 15, 19, 23, 27, 35, 39, 43, 47, 51}
	n, records, at := 0, 0, 0
	b.ResetTimer()
	for b.Loop() {
		for range 512 {
			m := r.Datagrams[at].Records
			p := r.Payloads[at]
			if at++; at == len(r.Payloads) {
				at = 0
			}
			if m == 0 {
				continue
			}
			set := p[head:]
			if n+m > sdk.MaxRows {
				n = 0
			}
			for i, o := range off8 {
				dst := u8[i][n : n+m]
				for j := 0; j < len(dst) && o < len(set); j, o = j+1, o+rec {
					dst[j] = set[o]
				}
			}
			for i, o := range off16 {
				dst := u16[i][n : n+m]
				for j := 0; j < len(dst) && o+2 <= len(set); j, o = j+1, o+rec {
					dst[j] = uint16(set[o])<<8 | uint16(set[o+1])
				}
			}
			for i, o := range off32 {
				dst := u32[i][n : n+m]
				for j := 0; j < len(dst) && o+4 <= len(set); j, o = j+1, o+rec {
					dst[j] = *(*uint32)(unsafe.Pointer(&set[o]))
				}
			}
			n += m
			records += m
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(records), "ns/record")
}

// A batch in a steady stream costs no allocation, whatever the protocol.
func TestSteadyStreamAllocatesNothing(t *testing.T) {
	for _, p := range []emulate.Protocol{emulate.NetFlowV5, emulate.NetFlowV9, emulate.IPFIX} {
		r := newRing(t, emulate.Options{Exporters: 50, Mix: emulate.Mix{{Protocol: p, Weight: 1}}}, 1024)
		tab := formatstest.NewTable(flow.Schema)
		tab.Keep = false
		d := newDecoder(tab, netflow.Options{Window: 24 * time.Hour})
		r.feed(d, 4*len(r.Payloads))
		if n := testing.AllocsPerRun(50, func() { r.feed(d, 512) }); n > 0 {
			t.Errorf("%v: %v allocations for 512 datagrams, want 0", p, n)
		}
	}
}
