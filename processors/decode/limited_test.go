package decode

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weirflow/weir/formats/emulate"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/sdktest"
)

// What a limit in front of two lanes dropped of exporters whose numbers count datagrams is not told as lost, to the datagram, and what
// the network lost is; wherever the drops, the losses and what passes meet.
func TestLossBehindALimit(t *testing.T) {
	c := laneOf(t, nil, sdktest.WithIn(withThinning), sdktest.WithOut(ports))
	lanes := []*catch{c, laneOf(t, nil, sdktest.WithIn(withThinning), sdktest.WithOut(ports), sdktest.WithSharesOf(c.env))}
	lanes[1].clock = c.clock
	e, err := emulate.New(emulate.Options{Mix: emulate.Mix{{Protocol: emulate.NetFlowV9, Weight: 2}, {Protocol: emulate.SFlow, Weight: 3}},
		Exporters: 5, Domains: 4, Base: base, Records: 7, Loss: 0.05})
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	owed := map[[16]byte]uint32{}
	lost, dropped := uint64(0), uint64(0)
	at := base.UnixNano()
	for n := range 300 {
		x := lanes[r.IntN(2)]
		b := x.env.NewBatch(withThinning, 256)
		for range 100 {
			p, d := e.Append(nil, at, 0)
			at += 1e6
			lost += uint64(d.Lost)
			if n >= 30 && n < 250 && d.Exporter[15]&1 == 0 && r.IntN(10) < 7 {
				owed[d.Exporter]++
				dropped++
				continue
			}
			row(b, p, d.Exporter, d.Port, d.Sent)
			sdk.Claim[uint32](b, sdk.DatagramReceived+1, b.Rows()-1, 1)[0] = owed[d.Exporter] + 1
			owed[d.Exporter] = 0
		}
		b.Seal()
		x.in += uint64(b.Rows())
		if err := x.proc.Process(b, x); err != nil {
			t.Fatal(err)
		}
		x.balance()
		x.tick(100 * time.Millisecond)
	}
	for range 30 {
		c.tick(100 * time.Millisecond)
	}
	if lost < 100 || dropped < 1000 {
		t.Fatalf("%d lost and %d dropped", lost, dropped)
	}
	told := map[sdk.Reason]uint64{}
	for _, x := range lanes {
		x.env.Books.Losses(func(r sdk.Reason, n uint64) { told[r] += n })
	}
	c.want("lost", map[sdk.Reason]uint64{lostDatagrams: lost}, told)
	c.want("limited", dropped, c.noted()[noteLimitedDatagrams]+lanes[1].noted()[noteLimitedDatagrams])
	var sums Exporter
	for _, topic := range []sdk.Inspector{c.proc.(*decode).told, agents{c.proc.(*decode).sflow.agents}} {
		answer, err := topic.Inspect(sdk.TopicExporters)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range answer.(*Exporters).Exporters {
			sums.LostDatagrams += x.LostDatagrams
			sums.LimitedDatagrams += x.LimitedDatagrams
		}
	}
	c.want("by exporter", Exporter{LostDatagrams: lost, LimitedDatagrams: dropped}, sums)
}

// Flows that are missing where datagrams were dropped are no loss, unless those could not have held so many; nor do datagrams
// that cannot be read, or that nobody wants, hide what was dropped in front of them.
func TestFlowsBehindALimit(t *testing.T) {
	flows := func(n uint32, records int) []byte { // v5
		p := make([]byte, 24+48*records)
		p[1], p[3] = 5, byte(records)
		be.PutUint32(p[8:], uint32(base.Unix()))
		be.PutUint32(p[16:], n)
		return p
	}
	c := laneOf(t, func(c *Config) { c.Protocols = []string{"netflow5", "sflow"} }, sdktest.WithIn(withThinning), sdktest.WithOut(ports))
	give := func(weight uint32, p []byte) {
		b := c.env.NewBatch(withThinning, 1)
		row(b, p, router, 2055, base.UnixNano())
		sdk.Claim[uint32](b, sdk.DatagramReceived+1, 0, 1)[0] = weight
		b.Seal()
		c.in++
		if err := c.proc.Process(b, c); err != nil {
			t.Fatal(err)
		}
		c.balance()
	}
	give(0, flows(0, 30))
	give(4, flows(30+80, 30)) // 3 were dropped, 80 flows are missing
	for range 30 {
		c.tick(100 * time.Millisecond)
	}
	give(2, []byte("neither"))
	give(2, v9(template(256)))
	give(1, flows(140+70, 30)) // 2 were dropped, in front of others
	for range 30 {
		c.tick(100 * time.Millisecond)
	}
	told := map[sdk.Reason]uint64{}
	c.env.Books.Losses(func(r sdk.Reason, n uint64) { told[r] = n })
	c.want("lost", map[sdk.Reason]uint64{lostFlows: 10}, told)
	c.want("limited", uint64(80+60), c.noted()[noteLimitedFlows])
}
