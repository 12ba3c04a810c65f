package engine

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirflow/weir/core/ledger"
	"github.com/weirflow/weir/sdk"
)

// ends waits for a run to end by itself and checks that its ledger balances.
func ends(t testing.TB, r *Run) ledger.Report {
	t.Helper()
	r.Start()
	select {
	case <-r.Done():
	case <-time.After(30 * time.Second):
		t.Fatalf("the run does not end: %+v", r.Report())
	}
	if err := r.Wait(); err != nil {
		t.Fatal(err)
	}
	return balanced(t, r)
}

func balanced(t testing.TB, r *Run) ledger.Report {
	t.Helper()
	rep := r.Report()
	if !rep.Balanced {
		t.Fatalf("the ledger does not balance: %v", rep.Unbalanced)
	}
	for id, q := range r.QueueStats() {
		if q.Batches != 0 || q.Bytes != 0 {
			t.Errorf("queue before %s still has %d batches, %d bytes held", id, q.Batches, q.Bytes)
		}
		if q.MostBytes > q.Limit+q.Forced {
			t.Errorf("queue before %s held %d bytes, limit %d", id, q.MostBytes, q.Limit)
		}
	}
	return rep
}

func TestEveryRecordArrivesOnce(t *testing.T) {
	for name, sink := range map[string]string{
		"queued": "type: mem", "fused": "type: memfused",
		"slow and late": "{type: mem, with: {delay: 1ms, late: 3ms}}", "copies": "{type: mem, with: {copies: true, late: 2ms}}",
		"failing": "{type: mem, with: {fail: 3}, retry: {initial: 1ms, max: 2ms}}",
	} {
		t.Run(name, func(t *testing.T) {
			s := newStores()
			rep := ends(t, running(t, s, `
sources:
  in: {type: count, with: {rows: 5000, batch: 70, readers: 3, ends: true, views: true}}
processors:
  - {id: w, type: work, with: {hold: true}}
sinks:
  out: `+sinkText(sink)+`
`))
			if rep.Delivered != 15000 || len(s.rows["mem"]) != 15000 {
				t.Fatalf("delivered %d, stored %d", rep.Delivered, len(s.rows["mem"]))
			}
			seen := map[uint64]bool{}
			for _, n := range s.rows["mem"] {
				if seen[n] {
					t.Fatalf("%d twice", n)
				}
				seen[n] = true
			}
		})
	}
}

func sinkText(s string) string {
	if s[0] == '{' {
		return s
	}
	return "{" + s + "}"
}

// nodeDropped is what a sink refused, dropped or dead-lettered.
func nodeDropped(rep ledger.Report, id string) (n uint64) {
	for _, x := range rep.Nodes {
		if x.ID == id {
			n += x.DeadLettered
			for _, k := range x.Dropped {
				n += k
			}
		}
	}
	return n
}

// discardErrors reads the stream of refused records.
var discardErrors = sdk.Plugin{
	Spec: sdk.Spec{Kind: sdk.KindSink, Type: "discarderrors", Doc: "reads errors", Config: func() any { return &struct{}{} }},
	Sink: func(*sdk.Env, any) (sdk.Sink, error) { return readErrors{}, nil },
}

type readErrors struct{}

func (readErrors) Open(context.Context, *sdk.Schema) (sdk.Writer, error) { return readErrors{}, nil }
func (readErrors) Flush(context.Context) error                           { return nil }
func (readErrors) Held() int64                                           { return 0 }
func (readErrors) Close(context.Context) error                           { return nil }
func (readErrors) Write(_ context.Context, b *sdk.Block, done func(error)) error {
	done(nil)
	return nil
}

// A sink that has its own copy and answers late (a file) is given as much as comes: what it has not answered holds nothing of
// ours, so in_flight does not stop it.
func TestCopiedBlocksAreNotInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStores()
		from := time.Now()
		rep := ends(t, running(t, s, `
sources:
  in: {type: count, with: {rows: 20000, batch: 100}}
sinks:
  out: {type: mem, in_flight: 2, batch: {rows: 100, age: 10ms}, with: {copies: true, late: 1s}}
`))
		if rep.Delivered != 20000 {
			t.Errorf("delivered %d", rep.Delivered)
		}
		if took := time.Since(from); took > 3*time.Second {
			t.Errorf("200 blocks answered after 1 s each took %v", took)
		}
	})
}
