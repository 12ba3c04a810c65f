package ledger

import (
	"encoding/json"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/sdk"
)

// chained is a source, a processor and a sink with one record of each fate, and what waits in the queue.
func chained(queued *atomic.Int64) (*Ledger, map[string]*Lane, *Sink, []*Edge) {
	l := New()
	lanes := map[string]*Lane{"in": l.Node("in", sdk.KindSource).Lane(), "p": l.Node("p", sdk.KindProcessor).Lane()}
	sink := l.Node("out", sdk.KindSink).Sink()
	return l, lanes, sink, []*Edge{l.Edge("in", "", "p", nil), l.Edge("p", "a", "out", queued.Load)}
}

// settle counts 20 records that were received: every account has something in it, and all of them agree.
func settle(lanes map[string]*Lane, sink *Sink, edges []*Edge, queued *atomic.Int64) {
	in, p := lanes["in"], lanes["p"]
	in.Books.Received.Add(20)
	in.Books.Drop("short", 1)
	in.Books.InHand.Set(1)
	in.Books.Lost("kernel", 4)
	in.In.Add(18)
	edges[0].Out.Add(18)
	edges[0].In.Add(18)
	p.In.Add(18)
	p.Books.Forwarded.Add(9)
	p.Books.Filtered.Add(2)
	p.Drop(sdk.ReasonUnread, 1)
	p.DeadLettered.Add(1)
	p.Books.Consumed.Add(3)
	p.Books.Held.Set(2)
	p.Books.Produced.Add(2)
	p.Books.Open.Set(1)
	p.Outs.Add(10)
	edges[1].Out.Add(10)
	edges[1].Drop(sdk.ReasonOverflow, 1)
	queued.Store(2)
	edges[1].In.Add(7)
	sink.In.Add(7)
	sink.Delivered.Add(3)
	sink.Drop(sdk.ReasonStoredBefore, 1)
	sink.DeadLettered.Add(1)
	sink.Failed.Add(1)
	sink.InFlight.Add(1)
	sink.Blocks.Add(2)
	sink.Retries.Add(1)
}

func TestALedgerAtRestBalances(t *testing.T) {
	var queued atomic.Int64
	l, lanes, sink, edges := chained(&queued)
	settle(lanes, sink, edges, &queued)
	if r := l.Report("x"); !r.Balanced || r.InTransit != 0 {
		t.Fatalf("%v, in transit %d", r.Unbalanced, r.InTransit)
	}
}

// A fault in any account is found, and said as a sentence that names the place.
func TestAnUnbalancedAccountIsSaid(t *testing.T) {
	for name, c := range map[string]struct {
		change func(map[string]*Lane, *Sink, []*Edge)
		want   string
	}{
		"a source lost one": {func(l map[string]*Lane, _ *Sink, _ []*Edge) { l["in"].Books.Received.Add(1) },
			"source in: received 21, but handed out 18 + filtered 0 + dropped 1 + in hand 1"},
		"a node forwards one too many": {func(l map[string]*Lane, _ *Sink, _ []*Edge) { l["p"].Books.Filtered.Add(1) },
			"node p: in 18 + restored 0, but forwarded 9 + filtered 3 + dropped 1 + dead-lettered 1 + failed 0 + consumed 3 + held 2"},
		"a node gave out one too few": {func(l map[string]*Lane, _ *Sink, _ []*Edge) { l["p"].Books.Produced.Add(1) },
			"node p: out 10 + open 1, but forwarded 9 + copied 0 + produced 3"},
		"an edge lost one": {func(_ map[string]*Lane, _ *Sink, e []*Edge) { e[1].Out.Add(1) },
			"edge p to out: out 11, but in 7 + queued 2 + dropped 1"},
		"an edge made one": {func(_ map[string]*Lane, _ *Sink, e []*Edge) { e[0].In.Add(1) },
			"edge in to p: out 18, but in 19 + queued 0 + dropped 0"},
		"a sink delivered one twice": {func(_ map[string]*Lane, s *Sink, _ []*Edge) { s.Delivered.Add(1) },
			"sink out: in 7, but delivered 4 + dropped 1 + dead-lettered 1 + failed 1 + in flight 1"},
	} {
		t.Run(name, func(t *testing.T) {
			var queued atomic.Int64
			l, lanes, sink, edges := chained(&queued)
			settle(lanes, sink, edges, &queued)
			c.change(lanes, sink, edges)
			r := l.Report("x")
			if d := cmp.Diff([]string{c.want}, r.Unbalanced); d != "" || r.Balanced {
				t.Errorf("balanced %v\n%s", r.Balanced, d)
			}
		})
	}
}

// What moves while the ledger is read shows as in transit, never as less than nothing, and never as a record too many.
func TestAReadingOfMovingCountersIsNeverNegative(t *testing.T) {
	var queued atomic.Int64
	l, lanes, sink, edges := chained(&queued)
	var stop atomic.Bool
	var work sync.WaitGroup
	work.Go(func() { // the lane of the source and the processor
		for !stop.Load() {
			lanes["in"].Books.Received.Add(8)
			lanes["in"].In.Add(8)
			edges[0].Out.Add(8)
			edges[0].In.Add(8)
			lanes["p"].In.Add(8)
			lanes["p"].Books.Forwarded.Add(8)
			lanes["p"].Outs.Add(8)
			edges[1].Out.Add(8)
			queued.Add(8)
		}
	})
	work.Go(func() { // the sink's lane
		for !stop.Load() {
			if queued.Load() < 8 {
				continue
			}
			queued.Add(-8)
			edges[1].In.Add(8)
			sink.In.Add(8)
			sink.InFlight.Add(8)
			sink.Delivered.Add(8)
			sink.InFlight.Add(-8)
		}
	})
	for range 20_000 {
		r := l.Report("x")
		if r.InTransit < 0 {
			t.Errorf("in transit %d", r.InTransit)
		}
		for _, e := range r.Edges {
			if e.InTransit < 0 || e.Queued < 0 {
				t.Fatalf("edge %+v", e)
			}
		}
		if r.Delivered > r.Received {
			t.Fatalf("delivered %d of %d", r.Delivered, r.Received)
		}
	}
	stop.Store(true)
	work.Wait()
	if r := l.Report("x"); !r.Balanced || r.InTransit != 0 {
		t.Errorf("at rest: %v, in transit %d", r.Unbalanced, r.InTransit)
	}
}

// The names of the fields are what scripts and dashboards read.
func TestTheReportsFieldsAreNamed(t *testing.T) {
	var queued atomic.Int64
	l, lanes, sink, edges := chained(&queued)
	settle(lanes, sink, edges, &queued)
	l.Node("p", sdk.KindProcessor).lanes[0].Books.Restored.Add(1)
	got, err := json.MarshalIndent(l.Report("flows"), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/report.json"
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(golden, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.TrimSpace(string(want)), string(got)); d != "" {
		t.Error(d)
	}
}
