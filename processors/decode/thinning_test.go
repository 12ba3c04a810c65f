package decode

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/emulate"
	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
	"github.com/weirflow/weir/sdk/sdktest"
)

// withThinning is a datagram's schema with what it stands for.
var withThinning = sdk.NewSchema(append(slices.Clone(sdk.Datagram.Fields()), sdk.Field{Name: thinning, Type: sdk.Uint32, Extra: true})...)

// Whatever the protocol, and wherever batches, partitions and waiting for templates cut: the rate of a flow is what the exporter says times
// what its datagram stands for, and nothing else of it changes.
func TestWhatADatagramStandsFor(t *testing.T) {
	k := &keep{laneOf(t, func(c *Config) { c.OverrideSamplingRate = Rates{everybody: 10} }, sdktest.WithIn(withThinning), sdktest.WithOut(flow.Schema)), map[string][]sent{}}
	e, err := emulate.New(emulate.Options{Mix: emulate.Mix{{Protocol: emulate.NetFlowV5, Weight: 1}, {Protocol: emulate.NetFlowV9, Weight: 2}, {Protocol: emulate.IPFIX, Weight: 1}, {Protocol: emulate.SFlow, Weight: 3}},
		Exporters: 20, Base: base, IPv6: 0.3, Sampling: 10, Records: 7})
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	formats := map[emulate.Protocol]string{emulate.NetFlowV5: "netflow5", emulate.NetFlowV9: "netflow9", emulate.IPFIX: "ipfix", emulate.SFlow: "sflow"}
	parts := []*sdk.Partition{nil, {Name: "a"}, {Name: "b"}}
	want := map[string][]sent{}
	at, weight := base.UnixNano(), uint32(0)
	type late struct {
		payload []byte
		d       emulate.Datagram
	}
	var templates []late // come a batch late
	waited := false
	for n := range 30 {
		b := k.env.NewBatch(withThinning, 256)
		for _, x := range templates {
			row(b, x.payload, x.d.Exporter, x.d.Port, x.d.Sent)
		}
		templates = templates[:0]
		for range 100 {
			p, d := e.Append(nil, at, 0)
			at += 1e6
			if n < 3 && d.Records == 0 {
				templates = append(templates, late{p, d})
				continue
			}
			row(b, p, d.Exporter, d.Port, d.Sent)
			if r.IntN(3) == 0 {
				weight = uint32(r.IntN(5)) // 0 is 1
			}
			if weight > 0 {
				sdk.Claim[uint32](b, sdk.DatagramReceived+1, b.Rows()-1, 1)[0] = weight
			}
			for _, f := range e.Flows() {
				name := formats[d.Protocol]
				want[name] = append(want[name], sent{netip.AddrFrom16(d.Exporter), netip.AddrFrom16(f.Src), netip.AddrFrom16(f.Dst), f.SrcPort, f.DstPort, f.Protocol,
					f.Bytes, f.Packets, uint64(f.SamplingRate) * uint64(max(weight, 1)), f.InIf, f.OutIf, f.Start})
			}
		}
		b.Seal()
		b.Root(sdk.Range{Partition: parts[n%len(parts)]})
		k.in += uint64(b.Rows())
		if err := k.proc.Process(b, k); err != nil {
			t.Fatal(err)
		}
		k.balance()
		waited = waited || k.env.Books.Held.Load() > 0
	}
	for more := true; more; {
		if more, err = k.proc.Drain(sdk.InputEnded, true, k); err != nil {
			t.Fatal(err)
		}
	}
	k.balance()
	if !waited {
		t.Error("nothing waited for its template")
	}
	for _, f := range formats {
		slices.SortFunc(want[f], compare)
		slices.SortFunc(k.flows[f], compare)
		if diff := cmp.Diff(want[f], k.flows[f], cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s (-sent +decoded):\n%.2000s", f, diff)
		}
	}
}

// A rate that would be more than its column holds becomes the column's largest; who does not want the rate has nothing changed.
func TestThinningAtItsLimits(t *testing.T) {
	huge := v9(define(256, 7, 2, 34, 8), formatstest.Set(256, formatstest.Uint16s(7), formatstest.Uint32s(math.MaxUint32, 0)))
	for _, x := range []struct {
		out  *sdk.Schema
		want []uint64
	}{{columns("src_port", "sampling_rate"), []uint64{math.MaxUint64}}, {ports, nil}} {
		c := laneOf(t, nil, sdktest.WithIn(withThinning), sdktest.WithOut(x.out))
		b := c.env.NewBatch(withThinning, 1)
		row(b, huge, router, 2055, base.UnixNano())
		sdk.Claim[uint32](b, sdk.DatagramReceived+1, 0, 1)[0] = math.MaxUint32
		b.Seal()
		c.in++
		if err := c.proc.Process(b, c); err != nil {
			t.Fatal(err)
		}
		c.tick(100 * time.Millisecond)
		c.want("rates", x.want, c.rates)
		c.want("ports", []uint16{7}, c.ports)
	}
}
