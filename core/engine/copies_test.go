package engine

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirflow/weir/sdk"
)

// copier is a sink that keeps 8 bytes of its own for each record, and says so; it is done with a block at once, and keeps the copies until it
// is closed. One that lies says nothing of what it keeps in its specification.
func copier(name string, fuses, lies bool) (sdk.Plugin, *copierSink) {
	s := &copierSink{}
	p := sdk.Plugin{
		Spec: sdk.Spec{Kind: sdk.KindSink, Type: name, Doc: "copies", Fuses: fuses, Copies: func(any) sdk.Size { return copierMost }},
		Sink: func(*sdk.Env, any) (sdk.Sink, error) { return s, nil },
	}
	if lies {
		p.Spec.Copies = nil
	}
	return p, s
}

const copierMost = 1 << 20

type copierSink struct{ atWrite func(rows int64) }

func (s *copierSink) Open(context.Context, *sdk.Schema) (sdk.Writer, error) {
	return &copierWriter{s: s}, nil
}
func (*copierSink) Close(context.Context) error { return nil }

type copierWriter struct {
	s    *copierSink
	rows atomic.Int64
}

func (w *copierWriter) Write(_ context.Context, b *sdk.Block, done func(error)) error {
	if w.s.atWrite != nil {
		w.s.atWrite(w.rows.Load())
	}
	w.rows.Add(int64(b.Rows))
	done(nil)
	return nil
}
func (w *copierWriter) Flush(context.Context) error { return nil }
func (w *copierWriter) Held() int64                 { return 8 * w.rows.Load() }
func (w *copierWriter) Close(context.Context) error { return nil }

// Guarantees: what sinks copy is in the account of the pipeline's memory and of their node while they are open, by each lane, with and
// without a queue, and what they may copy beside it; nothing of it is left when they are closed.
func TestCopiesOfSinksAreCounted(t *testing.T) {
	for _, fuses := range []bool{false, true} {
		const batches = 5
		p, s := copier("copier", fuses, false)
		var r *Run
		seen := 0
		s.atWrite = func(rows int64) {
			seen++
			m := r.Memory()
			node := int64(0)
			for _, n := range r.Report().Nodes {
				node += n.Copies
			}
			if m.Copies != 8*rows || node != m.Copies || m.Most != copierMost {
				t.Errorf("fused %v: after %d records the run says %d bytes of %d are copied, the node %d, want %d of %d", fuses, rows, m.Copies, m.Most, node, 8*rows, copierMost)
			}
		}
		r = running(t, newStores(), `
sources:
  in: {type: count, with: {rows: 40960, batch: 8192}}
sinks:
  out: {type: copier`+map[bool]string{false: ", batch: {rows: 8192}"}[fuses]+`}
`, p)
		if rep := ends(t, r); rep.Delivered != batches*8192 || seen != batches {
			t.Errorf("fused %v: %d records were delivered in %d writes", fuses, rep.Delivered, seen)
		}
		if m := r.Memory(); m.Copies != 0 || m.Most != 0 || m.Held != 0 {
			t.Errorf("fused %v: when the run is over there are %+v", fuses, m)
		}
	}
}

// Guarantees: copies that a sink does not own up to hold readers up as batches do; those that it does own up to do not.
func TestCopiesBeyondWhatASinkSaysCountAsBatches(t *testing.T) {
	for _, lies := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p, _ := copier("copier", false, lies)
			r := running(t, newStores(), `
sources:
  in: {type: count, with: {rows: 81920, batch: 8192}}
sinks:
  out: {type: copier, batch: {rows: 8192}}
`, p)
			r.budget.Store(4 * 8192 * 8) // four blocks' copies
			begun := time.Now()
			if rep := ends(t, r); rep.Delivered != 81920 {
				t.Errorf("%d records were delivered", rep.Delivered)
			}
			// Nothing can be let go of here, so readers go on after some ticks.
			if took := time.Since(begun); (took >= overTicks*tickEvery) != lies {
				t.Errorf("a sink that lies: %v, and the run took %v", lies, took)
			}
		})
	}
}
