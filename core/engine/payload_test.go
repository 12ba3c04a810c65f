package engine

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/weirflow/weir/sdk"
)

// refusingPlugin is mem, run by the lane in front of it, that refuses rows there too.
var refusingPlugin = func() sdk.Plugin {
	p := newStores().plugin("refusing", true, false)
	p.Spec.Type = "refusing"
	p.Sink = func(_ *sdk.Env, cfg any) (sdk.Sink, error) {
		return refusing{every: uint64(cfg.(*memConfig).Refuse)}, nil
	}
	return p
}()

type refusing struct {
	readErrors
	every uint64
}

func (s refusing) Open(context.Context, *sdk.Schema) (sdk.Writer, error) { return s, nil }
func (s refusing) Write(_ context.Context, b *sdk.Block, done func(error)) error {
	var bad []int
	for i, n := range sdk.Values[uint64](b.Batches[0], b.Batches[0].Schema().Index("n")) {
		if n%s.every == 3 {
			bad = append(bad, i)
		}
	}
	if len(bad) > 0 {
		return &sdk.Error{Class: sdk.Permanent, Code: "bad_row", Rows: bad, Err: errors.New("a bad row")}
	}
	done(nil)
	return nil
}

// A dead letter of a sink carries the row that was refused, whichever lane runs the sink.
func TestADeadLetterCarriesItsRow(t *testing.T) {
	for _, sink := range []string{"mem", "refusing"} {
		got := &letters{}
		ends(t, running(t, newStores(), `
sources:
  in: {type: count, with: {rows: 40, batch: 10}}
sinks:
  out: {type: `+sink+`, with: {refuse: 4}}
  dead: {type: letters, from: errors}
`, got.plugin(), refusingPlugin))
		if len(got.payloads) == 0 {
			t.Errorf("%s: nothing was refused", sink)
		}
		seen := map[uint64]bool{}
		for _, p := range got.payloads {
			r, err := ipc.NewReader(bytes.NewReader(p))
			if err != nil {
				t.Fatalf("%s: a payload of %d bytes: %v", sink, len(p), err)
			}
			rec, err := r.Read()
			if err != nil || rec.NumRows() != 1 {
				t.Fatalf("%s: %v, %v", sink, rec, err)
			}
			seen[rec.Column(0).(*array.Uint64).Value(0)] = true
			r.Release()
		}
		if len(seen) != len(got.payloads) {
			t.Errorf("%s: %d letters carry %d different rows", sink, len(got.payloads), len(seen))
		}
	}
}

// What a lane could not push when the run is given up is not in transit any more: the count of what is queued comes to nothing.
func TestNothingIsQueuedAfterAnAbort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := running(t, newStores(), `
sources:
  in: {type: count, with: {rows: 100000, batch: 10}}
sinks:
  out: {type: mem, queue: {batches: 2}, batch: {rows: 10, age: 10ms}, with: {delay: 1h}}
`)
		r.Start()
		time.Sleep(time.Second)
		r.fail(errEnded)
		<-r.Done()
		balanced(t, r)
		for i := range r.queued {
			if n := r.queued[i].Load(); n != 0 {
				t.Errorf("%d rows are still counted as queued on edge %d", n, i)
			}
		}
		if dropped := r.Report().Dropped[string(sdk.ReasonStopped)]; dropped < 10 {
			t.Errorf("%d records were dropped: no lane was waiting for room", dropped)
		}
	})
}
