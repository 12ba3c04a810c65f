package decode

import (
	order "cmp"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/emulate"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
	"github.com/weirflow/weir/sdk/sdktest"
)

// sent is what of a flow all protocols tell.
type sent struct {
	Exporter, Src, Dst netip.Addr
	SrcPort, DstPort   uint16
	Protocol           uint8
	Bytes, Packets     uint64
	Rate               uint64
	In, Out            uint32
	Start              int64
}

// keep is catch, and keeps the flows by format.
type keep struct {
	*catch
	flows map[string][]sent
}

func (k *keep) Emit(port int, b *sdk.Batch) {
	u16 := func(n string) []uint16 { return sdk.Values[uint16](b, flow.Index(n)) }
	u32 := func(n string) []uint32 { return sdk.Values[uint32](b, flow.Index(n)) }
	u64 := func(n string) []uint64 { return sdk.Values[uint64](b, flow.Index(n)) }
	addr := func(n string, i int) netip.Addr {
		return netip.AddrFrom16(sdk.Values[[16]byte](b, flow.Index(n))[i])
	}
	formats, names := b.Names(flow.Index("format"))
	for i := range b.Rows() {
		f := names.Values()[formats[i]]
		k.flows[f] = append(k.flows[f], sent{addr("exporter_addr", i), addr("src_addr", i), addr("dst_addr", i), u16("src_port")[i], u16("dst_port")[i],
			sdk.Values[uint8](b, flow.Index("protocol"))[i], u64("bytes")[i], u64("packets")[i], u64("sampling_rate")[i], u32("in_if")[i], u32("out_if")[i],
			sdk.Values[int64](b, flow.Index("flow_start"))[i]})
	}
	k.catch.Emit(port, b)
}

// All protocols at once through one lane: each flow that an exporter sent comes out once, samples in their order, and the books
// balance.
func TestAllProtocolsTogether(t *testing.T) {
	k := &keep{lane(t, nil, flow.Schema), map[string][]sent{}}
	e, err := emulate.New(emulate.Options{Mix: emulate.Mix{{Protocol: emulate.NetFlowV5, Weight: 1}, {Protocol: emulate.NetFlowV9, Weight: 2}, {Protocol: emulate.IPFIX, Weight: 1}, {Protocol: emulate.SFlow, Weight: 3}},
		Exporters: 20, Base: base, IPv6: 0.3, Sampling: 10, Records: 7})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]sent{}
	formats := map[emulate.Protocol]string{emulate.NetFlowV5: "netflow5", emulate.NetFlowV9: "netflow9", emulate.IPFIX: "ipfix", emulate.SFlow: "sflow"}
	at := base.UnixNano()
	for range 20 {
		b := k.env.NewBatch(sdk.Datagram, 100)
		for range 100 {
			p, d := e.Append(nil, at, 0)
			row(b, p, d.Exporter, d.Port, d.Sent)
			at += 1e6
			for _, f := range e.Flows() {
				name := formats[d.Protocol]
				want[name] = append(want[name], sent{netip.AddrFrom16(d.Exporter), netip.AddrFrom16(f.Src), netip.AddrFrom16(f.Dst), f.SrcPort, f.DstPort, f.Protocol,
					f.Bytes, f.Packets, uint64(f.SamplingRate), f.InIf, f.OutIf, f.Start})
			}
		}
		b.Seal()
		k.in += uint64(b.Rows())
		if err := k.proc.Process(b, k); err != nil {
			t.Fatal(err)
		}
		k.balance()
	}
	if _, err := k.proc.Drain(sdk.InputEnded, true, k); err != nil {
		t.Fatal(err)
	}
	k.balance()
	if len(want["sflow"]) < 2500 {
		t.Fatalf("%d sFlow samples sent, want 2500 at least", len(want["sflow"]))
	}
	for _, f := range formats {
		if f != "sflow" { // sets of one template are decoded together
			slices.SortFunc(want[f], compare)
			slices.SortFunc(k.flows[f], compare)
		}
		if diff := cmp.Diff(want[f], k.flows[f], cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s (-sent +decoded):\n%.2000s", f, diff)
		}
	}
}

func compare(a, b sent) int {
	return order.Or(a.Exporter.Compare(b.Exporter), order.Compare(a.Start, b.Start), a.Src.Compare(b.Src), a.Dst.Compare(b.Dst), order.Compare(a.SrcPort, b.SrcPort), order.Compare(a.Bytes, b.Bytes))
}

// sample is an sFlow datagram with one flow sample, of an IPv4 record.
func sample() []byte {
	var b []byte
	for _, v := range []uint32{5, 1, 0x0a000001, 0, 1, 1000, 1,
		1, 72, 1, 7, 100, 1000, 0, 7, 8, 1,
		3, 32, 1000, 6, 0x0a010001, 0x0a020002, 1000, 443, 24, 40} {
		b = be.AppendUint32(b, v)
	}
	return b
}

// What becomes of sFlow datagrams: used, refused whole or in part, or dropped because nobody wants them.
func TestSamples(t *testing.T) {
	cut := append(sample(), 0, 0, 0, 1)
	cut[27] = 2 // samples, of which the second has four bytes
	c := lane(t, nil, ports)
	c.give(none, sample(), cut, cut[:20], append([]byte{0, 0, 0, 5, 0, 0, 0, 9}, sample()...), []byte{0, 0, 0, 4, 0, 0, 0, 1}, v9(template(256)), v9(data(256, 7)))
	c.tick(100 * time.Millisecond)
	c.want("flows", []uint16{7, 1000, 1000}, c.ports)
	c.want("faults", []string{"unknown_version", "sample_count part", "short_header", "agent_address"}, c.faults)
	c.want("settled", []string{"no range delivered"}, c.settled)

	c = lane(t, func(c *Config) { c.Protocols = []string{"netflow9"} }, ports)
	c.give(none, sample(), v9(template(256)), v9(data(256, 7)))
	c.tick(100 * time.Millisecond)
	c.want("flows", []uint16{7}, c.ports)
	c.want("dropped", map[sdk.Reason]uint64{reasonNotSelected: 1}, c.dropped())

	c = lane(t, func(c *Config) { c.Protocols = []string{"sflow"} }, ports)
	c.give(none, sample(), v9(template(256)), v9(data(256, 7)))
	c.tick(100 * time.Millisecond)
	c.want("flows", []uint16{1000}, c.ports)
	c.want("dropped", map[sdk.Reason]uint64{reasonNotSelected: 2}, c.dropped())
}

// Gaps in the numbers of an agent's datagrams are losses before Weir, also of a capture made long ago.
func TestLostSamples(t *testing.T) {
	c := lane(t, nil, ports)
	c.clock.Advance(1000 * time.Hour)
	for _, n := range []byte{1, 2, 6, 7} {
		p := sample()
		p[19] = n
		b := c.env.NewBatch(sdk.Datagram, 1)
		row(b, p, router, 6343, base.UnixNano())
		b.Seal()
		c.in++
		if err := c.proc.Process(b, c); err != nil {
			t.Fatal(err)
		}
		c.tick(300 * time.Millisecond)
	}
	c.tick(2 * time.Second)
	c.tick(2 * time.Second)
	lost := map[sdk.Reason]uint64{}
	c.env.Books.Losses(func(r sdk.Reason, n uint64) { lost[r] = n })
	c.want("lost", map[sdk.Reason]uint64{lostDatagrams: 3}, lost)
}

// A tunnel's name that is none is refused with those that are.
func TestDecapsulateIsValidated(t *testing.T) {
	c := Plugin.Spec.Config().(*Config)
	c.Decapsulate = []string{"gre", "teredo"}
	ps, ok := c.Validate().(sdk.Problems)
	if !ok || len(ps) != 1 || ps[0].Path != "decapsulate[1]" {
		t.Errorf("%v", ps)
	}
}

// samplesTraffic is what sFlow agents send, with NetFlow and damage among it.
func samplesTraffic(r *rand.Rand, b *sdk.Batch) {
	e, err := emulate.New(emulate.Options{Mix: emulate.Mix{{Protocol: emulate.SFlow, Weight: 5}, {Protocol: emulate.NetFlowV5, Weight: 1}}, Exporters: 6, Seed: r.Uint64(), Base: base, Records: 5, IPv6: 0.4})
	if err != nil {
		panic(err)
	}
	for i := range 10 + r.IntN(50) {
		p, d := e.Append(nil, base.UnixNano()+int64(i)*1e6, 0)
		switch r.IntN(10) {
		case 0:
			p = p[:r.IntN(len(p))]
		case 1:
			p[r.IntN(len(p))] ^= byte(1 << r.IntN(8))
		}
		row(b, p, d.Exporter, d.Port, d.Sent)
	}
}

func TestConformanceOfSamples(t *testing.T) {
	inner := Plugin.Spec.Config().(*Config)
	inner.Decapsulate = []string{"gre", "ipip", "vxlan", "geneve", "gtpu", "srv6", "eompls"}
	sdktest.Processor(t, Plugin,
		sdktest.ProcessorCase{Name: "samples", Config: inner, In: sdk.Datagram, Input: samplesTraffic, Check: func(t testing.TB, out map[int]sdktest.Rows, _ []string) {
			if n, c := len(out[portFlows]), len(out[portCounters]); n < 200 || c < 30 {
				t.Errorf("%d flows and %d counters samples, want 200 and 30 at least", n, c)
			}
		}})
}

// counters is an sFlow datagram with counters of n interfaces.
func counters(n int) []byte {
	b := be.AppendUint32(nil, 5)
	for _, v := range []uint32{1, 0x0a000001, 0, 1, 1000, uint32(n)} {
		b = be.AppendUint32(b, v)
	}
	for i := range uint32(n) {
		for _, v := range []uint32{2, 12 + 8 + 88, 1, i + 1, 1, 1, 88, i + 1} {
			b = be.AppendUint32(b, v)
		}
		b = append(b, make([]byte, 84)...)
	}
	return b
}

// Counters samples are rows of their own output; what nobody reads is not made, and a datagram is consumed all the same.
func TestCountersSamples(t *testing.T) {
	some := func(s *sdk.Schema, names ...string) *sdk.Schema {
		return s.Select(func(f sdk.Field) bool { return slices.Contains(names, f.Name) })
	}
	index := some(flow.CountersSchema, "if_index")
	feed := func(o ...sdktest.Option) *catch {
		c := laneOf(t, nil, o...)
		c.give(none, sample(), counters(3), v9(template(256)), v9(data(256, 7)), counters(1))
		c.tick(100 * time.Millisecond)
		return c
	}
	consumed := func(c *catch) uint64 { return c.env.Books.Consumed.Load() }

	c := feed(sdktest.WithOut(ports, index))
	c.want("flows", []uint16{7, 1000}, c.ports)
	c.want("counters", []uint32{1, 2, 3, 1}, c.counts)
	c.want("consumed", uint64(5), consumed(c))

	c = feed(sdktest.WithOut(ports, index), sdktest.WithUnread(portCounters))
	c.want("flows, counters unread", []uint16{7, 1000}, c.ports)
	c.want("counters unread", []uint32(nil), c.counts)
	c.want("consumed", uint64(5), consumed(c))

	c = feed(sdktest.WithOut(some(flow.Schema), index), sdktest.WithUnread(portFlows))
	c.want("flows unread", uint64(4), c.out)
	c.want("counters, flows unread", []uint32{1, 2, 3, 1}, c.counts)
	c.want("consumed", uint64(3), consumed(c))
	c.want("dropped", map[sdk.Reason]uint64{reasonNotSelected: 2}, c.dropped())

	c = feed(sdktest.WithOut(ports, some(flow.CountersSchema)))
	c.want("rows without columns", uint64(6), c.out)
}

// A batch of sFlow in a steady stream costs no allocation, whichever outputs are read.
func TestSteadySamplesAllocateNothing(t *testing.T) {
	out := flow.Schema.Select(func(f sdk.Field) bool { return f.Name != "frame" }) // its bytes are the batch's own, and grow with it
	for name, o := range map[string][]sdktest.Option{
		"flows":    {sdktest.WithOut(out)},
		"both":     {sdktest.WithOut(out, flow.CountersSchema)},
		"counters": {sdktest.WithOut(out, flow.CountersSchema), sdktest.WithUnread(portFlows)},
	} {
		change := func(c *Config) { c.DefaultSamplingRate = Rates{"198.18.0.0/15": 10} }
		r := newReplay(t, laneOf(t, change, o...), emulate.Options{Exporters: 50, Mix: emulate.Mix{{Protocol: emulate.SFlow, Weight: 1}}, TemplateInterval: time.Millisecond}, 2048, 512)
		for range 8 * len(r.batches) {
			r.next()
		}
		if n := r.allocations(); n > 0 {
			t.Errorf("%s: %v allocations for a batch of 512 datagrams, want 0", name, n)
		}
	}
}

// A batch of counters samples is given out when it is full, and then grows no further.
func TestManyCounters(t *testing.T) {
	c := laneOf(t, nil, sdktest.WithOut(ports, flow.CountersSchema))
	for range 30 {
		c.give(none, slices.Repeat([][]byte{counters(10)}, 30)...)
	}
	c.tick(100 * time.Millisecond)
	c.want("rows", 9000, len(c.counts))
	c.want("sizes", []int{sdk.MaxRows, 1024}, c.sizes)
}

// Bits turned by the way change values, never the accounts.
func TestDamageIsAccountedFor(t *testing.T) {
	k := &keep{lane(t, nil, flow.Schema), map[string][]sent{}}
	r := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		b := k.env.NewBatch(sdk.Datagram, 256)
		samplesTraffic(r, b)
		b.Seal()
		k.in += uint64(b.Rows())
		if err := k.proc.Process(b, k); err != nil {
			t.Fatal(err)
		}
		k.balance()
	}
	if k.refused == 0 || len(k.faults) == int(k.refused) {
		t.Errorf("%d datagrams refused, %d faults: want both whole datagrams and parts", k.refused, len(k.faults))
	}
}
