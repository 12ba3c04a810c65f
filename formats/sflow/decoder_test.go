package sflow_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/emulate"
	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/formats/sflow"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
)

// What an emulated network of exporters put into its datagrams is what comes out, row by row in order, whatever the size of the
// batches; and every byte is accounted for.
func TestDecodesWhatExportersSent(t *testing.T) {
	for _, size := range []int{1, 256, sdk.MaxRows} {
		e, err := emulate.New(emulate.Options{Mix: emulate.Mix{{Protocol: emulate.SFlow, Weight: 1}}, Exporters: 20, Domains: 2, Sampling: 100, IPv6: 0.3, Base: formatstest.Base,
			TemplateInterval: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		tab := formatstest.NewTable(flow.Schema)
		tab.Size = size
		d := sflow.NewDecoder(tab.Out, sflow.Options{}, tab)
		var want []emulate.Flow
		var datagrams []emulate.Datagram // of each flow
		at, bytes := formatstest.Base.UnixNano(), uint64(0)
		for range 300 {
			b, dg := e.Append(nil, at, 0)
			r := d.Decode(&sflow.Datagram{Payload: b, Addr: sender, Port: dg.Port, Received: dg.Sent})
			if (r != sflow.Result{Used: true, Rows: dg.Records}) {
				t.Fatalf("%+v, want %d rows", r, dg.Records)
			}
			bytes += uint64(len(b))
			for _, f := range e.Flows() {
				want = append(want, f)
				datagrams = append(datagrams, dg)
			}
			at += 1e6
			if size != 1 || dg.Records%2 == 0 {
				d.Run()
			}
		}
		d.Run()
		if d.Tally.Bytes() != bytes || d.Tally.Records != uint64(len(want)) || len(want) < 1000 {
			t.Errorf("%d bytes and %d records accounted for of %d and %d", d.Tally.Bytes(), d.Tally.Records, bytes, len(want))
		}
		type row struct {
			Src, Dst, NextHop, Exporter                            netip.Addr
			SrcPort, DstPort, Etype, Flags, VLAN, DstVLAN, Port    uint16
			Protocol, TOS, SrcMask, DstMask, TTL, Direction        uint8
			In, Out, Domain, Sequence, Length                      uint32
			Bytes, Packets, Rate, SrcMAC, DstMAC                   uint64
			Start, End, Received, Exported                         int64
			Format                                                 string
			SrcAS, ICMPType, Status, Tunnel, Labels, CustomerVLANs int
		}
		var got, truth []row
		for i, f := range want {
			dg := datagrams[i]
			r := row{Src: netip.AddrFrom16(f.Src), Dst: netip.AddrFrom16(f.Dst), NextHop: netip.AddrFrom16(f.NextHop), Exporter: netip.AddrFrom16(dg.Exporter),
				SrcPort: f.SrcPort, DstPort: f.DstPort, Etype: 0x0800, Flags: uint16(f.TCPFlags), VLAN: f.VLAN, DstVLAN: f.VLAN, Port: dg.Port,
				Protocol: f.Protocol, TOS: f.TOS, SrcMask: f.SrcMask, DstMask: f.DstMask, TTL: f.TTL, In: f.InIf, Out: f.OutIf, Domain: dg.Domain, Sequence: dg.Sequence,
				Length: uint32(f.PacketLength), Bytes: f.Bytes, Packets: 1, Rate: uint64(f.SamplingRate), SrcMAC: f.SrcMAC, DstMAC: f.DstMAC,
				Start: f.Start, End: f.End, Received: dg.Sent, Exported: dg.Sent, Format: "sflow"}
			if !r.Src.Is4In6() {
				r.Etype = 0x86dd
			}
			truth = append(truth, r)
		}
		addr := func(name string) []netip.Addr {
			var as []netip.Addr
			for _, a := range formatstest.Column[[16]byte](tab, name) {
				as = append(as, netip.AddrFrom16(a))
			}
			return as
		}
		srcs, dsts, hops, agents := addr("src_addr"), addr("dst_addr"), addr("next_hop"), addr("exporter_addr")
		u16 := map[string][]uint16{}
		for _, n := range []string{"src_port", "dst_port", "etype", "tcp_flags", "src_vlan", "dst_vlan", "exporter_port", "customer_vlan"} {
			u16[n] = formatstest.Column[uint16](tab, n)
		}
		u8 := map[string][]uint8{}
		for _, n := range []string{"protocol", "tos", "src_mask", "dst_mask", "ttl", "direction", "icmp_type", "forwarding_status"} {
			u8[n] = formatstest.Column[uint8](tab, n)
		}
		u32 := map[string][]uint32{}
		for _, n := range []string{"in_if", "out_if", "observation_domain", "sequence", "packet_length", "src_as"} {
			u32[n] = formatstest.Column[uint32](tab, n)
		}
		u64 := map[string][]uint64{}
		for _, n := range []string{"bytes", "packets", "sampling_rate", "src_mac", "dst_mac"} {
			u64[n] = formatstest.Column[uint64](tab, n)
		}
		i64 := map[string][]int64{}
		for _, n := range []string{"flow_start", "flow_end", "received", "exported"} {
			i64[n] = formatstest.Column[int64](tab, n)
		}
		var formats []string
		for _, b := range tab.Batches() {
			idx, dict := b.Names(flow.Index("format"))
			for _, i := range idx {
				formats = append(formats, dict.Values()[i])
			}
		}
		for i := range srcs {
			got = append(got, row{Src: srcs[i], Dst: dsts[i], NextHop: hops[i], Exporter: agents[i],
				SrcPort: u16["src_port"][i], DstPort: u16["dst_port"][i], Etype: u16["etype"][i], Flags: u16["tcp_flags"][i], VLAN: u16["src_vlan"][i], DstVLAN: u16["dst_vlan"][i],
				Port: u16["exporter_port"][i], CustomerVLANs: int(u16["customer_vlan"][i]),
				Protocol: u8["protocol"][i], TOS: u8["tos"][i], SrcMask: u8["src_mask"][i], DstMask: u8["dst_mask"][i], TTL: u8["ttl"][i], Direction: u8["direction"][i],
				ICMPType: int(u8["icmp_type"][i]), Status: int(u8["forwarding_status"][i]),
				In: u32["in_if"][i], Out: u32["out_if"][i], Domain: u32["observation_domain"][i], Sequence: u32["sequence"][i], Length: u32["packet_length"][i], SrcAS: int(u32["src_as"][i]),
				Bytes: u64["bytes"][i], Packets: u64["packets"][i], Rate: u64["sampling_rate"][i], SrcMAC: u64["src_mac"][i], DstMAC: u64["dst_mac"][i],
				Start: i64["flow_start"][i], End: i64["flow_end"][i], Received: i64["received"][i], Exported: i64["exported"][i], Format: formats[i]})
		}
		if diff := cmp.Diff(truth, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Fatalf("batches of %d (-sent +decoded):\n%.3000s", size, diff)
		}
	}
}

// ring is datagrams built beforehand, fed to a decoder in batches as a source would.
type ring struct {
	*formatstest.Ring
	g sflow.Datagram
}

func newRing(tb testing.TB, o emulate.Options, n int) *ring {
	tb.Helper()
	o.Mix = emulate.Mix{{Protocol: emulate.SFlow, Weight: 1}}
	return &ring{Ring: formatstest.NewRing(tb, o, n)}
}

// feed decodes n datagrams and runs, as for one batch of a source.
func (r *ring) feed(d *sflow.Decoder, n int) (records int) {
	for range n {
		payload, dg := r.Next()
		r.g = sflow.Datagram{Payload: payload, Addr: dg.Exporter, Port: dg.Port, Received: dg.Sent}
		records += d.Decode(&r.g).Rows
	}
	d.Run()
	return records
}

// What the benchmarks decode.
var (
	columns20 = formatstest.Columns("received", "flow_start", "flow_end", "sampling_rate", "exporter_addr", "observation_domain", "src_addr", "dst_addr", "src_port", "dst_port",
		"protocol", "etype", "tcp_flags", "bytes", "packets", "in_if", "out_if", "src_mask", "dst_mask", "next_hop")
	columns5   = formatstest.Columns("src_addr", "dst_addr", "protocol", "bytes", "packets")
	columns3   = formatstest.Columns("exporter_addr", "in_if", "bytes") // nothing of the frame
	defaultSet = flow.Schema.Select(func(f sdk.Field) bool { return !f.Extra })
)

func BenchmarkDecode(b *testing.B) {
	for _, c := range []struct {
		name string
		out  *sdk.Schema
		o    emulate.Options
	}{
		{"20cols", columns20, emulate.Options{Exporters: 50, Records: 6}},
		{"20cols-IPv6", columns20, emulate.Options{Exporters: 50, Records: 6, IPv6: 1}},
		{"5cols", columns5, emulate.Options{Exporters: 50, Records: 6}},
		{"3cols", columns3, emulate.Options{Exporters: 50, Records: 6}},
		{"default", defaultSet, emulate.Options{Exporters: 50, Records: 6}},
		{"all", flow.Schema, emulate.Options{Exporters: 50, Records: 6}},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := newRing(b, c.o, 4096)
			tab := formatstest.NewTable(c.out)
			tab.Keep = false
			d := sflow.NewDecoder(c.out, sflow.Options{}, tab)
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
}

// A batch in a steady stream costs no allocation.
func TestSteadyStreamAllocatesNothing(t *testing.T) {
	r := newRing(t, emulate.Options{Exporters: 50, IPv6: 0.3}, 1024)
	out := flow.Schema.Select(func(f sdk.Field) bool { return f.Name != "frame" }) // its bytes are the batch's own, and grow with it
	tab := formatstest.NewTable(out)
	tab.Keep = false
	d := sflow.NewDecoder(out, sflow.Options{}, tab)
	r.feed(d, 4*len(r.Payloads))
	if n := testing.AllocsPerRun(50, func() { r.feed(d, 512) }); n > 0 {
		t.Errorf("%v allocations for 512 datagrams, want 0", n)
	}
}
