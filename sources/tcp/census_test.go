package tcp

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weirflow/weir/sdk"
)

// What came of an exporter is told by its address, whole messages and what was dropped, and still is when its connections have ended.
func TestExportersAreTold(t *testing.T) {
	x := start(t, defaults(), true)
	told := func() *Exporters {
		a, err := x.src.Inspect(sdk.TopicExporters)
		if err != nil {
			t.Fatal(err)
		}
		return a.(*Exporters)
	}
	if d := cmp.Diff(&Exporters{Exporters: []Exporter{}, Capacity: mostExporters}, told()); d != "" {
		t.Errorf("of nobody (-want +got):\n%s", d)
	}
	one, two := x.dial(), x.dial()
	x.send(one, message(1, 100), message(2, 50)[:20])
	x.send(two, message(1, 1000), message(2, 3000), []byte("GET / HTTP/1.1"))
	x.until("all messages are there", func() bool { return x.got() == 3 })
	x.until("what is no IPFIX has ended its connection", func() bool { return told().Exporters[0].Connections == 1 })
	want := &Exporters{Capacity: mostExporters, Exporters: []Exporter{{Addr: "127.0.0.1", Connections: 1, Messages: 3, Bytes: 4100,
		Dropped: map[sdk.Reason]uint64{ReasonBadFraming: 1}}}}
	got := told()
	if d := cmp.Diff(want, got, cmpopts.IgnoreFields(Exporter{}, "First", "Last")); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if e := got.Exporters[0]; e.First.IsZero() || e.Last.Before(e.First) {
		t.Errorf("first seen %v, last %v", e.First, e.Last)
	}
	one.Close()
	want.Exporters[0].Connections, want.Exporters[0].Dropped[ReasonTruncated] = 0, 1
	x.until("the other has gone", func() bool { return told().Exporters[0].Connections == 0 })
	if d := cmp.Diff(want, told(), cmpopts.IgnoreFields(Exporter{}, "First", "Last")); d != "" {
		t.Errorf("after the end (-want +got):\n%s", d)
	}
	x.end()
}

// However many addresses connect, so many are told apart; the place of one that has gone and was silent longest goes to the next, none of
// a connected one does, and nothing that was counted is forgotten.
func TestCensusIsBounded(t *testing.T) {
	c, at := newCensus(2), time.Unix(1_790_000_000, 0)
	addr := func(i byte) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, i}) }
	visit := func(i byte, stays bool) *exporter {
		at = at.Add(time.Second)
		e := c.enter(addr(i), at)
		e.sent(1, 10, at.UnixNano())
		if !stays {
			c.leave(e)
		}
		return e
	}
	visit(1, true)
	visit(2, false)
	visit(3, true)  // in the place of 2
	visit(4, false) // there is none
	visit(1, false)
	one := func(a byte, connections int, messages uint64, first, last int64) Exporter {
		e := Exporter{Addr: addr(a).String(), Connections: connections, Messages: messages, Bytes: 10 * messages,
			First: time.Unix(1_790_000_000+first, 0).UTC(), Last: time.Unix(1_790_000_000+last, 0).UTC()}
		if a == 0 {
			e.Addr = ""
		}
		return e
	}
	want := &Exporters{Exporters: []Exporter{one(1, 1, 2, 1, 5), one(3, 1, 1, 3, 3)}, Others: []Exporter{one(0, 0, 2, 2, 4)}, Capacity: 2}
	if d := cmp.Diff(want, c.report()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
