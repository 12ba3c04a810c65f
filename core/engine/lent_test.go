package engine

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirflow/weir/sdk"
)

// lender is a source with a few slabs, each of which one batch of one row looks into. One that is given back is overwritten at once.
type lender struct {
	env      *sdk.Env
	used     int // of a slab's bytes
	left     int
	home     chan *lentSlab
	accepted bool
	closed   atomic.Bool
	lent     atomic.Int64 // slabs that are out
	most     int64
}

const (
	lentSlabs = 4
	lentBytes = 1 << 10
)

type lentSlab struct {
	of  *lender
	mem [lentBytes]byte
}

func (s *lentSlab) Freed(*sdk.Batch) {
	clear(s.mem[:])
	s.of.lent.Add(-1)
	s.of.home <- s
}

func (l *lender) Accept(context.Context) (sdk.Reader, error) {
	if l.accepted {
		return nil, io.EOF
	}
	l.accepted = true
	return l, nil
}
func (l *lender) Partition() *sdk.Partition   { return nil }
func (l *lender) Ready() <-chan struct{}      { return nil }
func (l *lender) Stop(context.Context) error  { return nil }
func (l *lender) Close(context.Context) error { l.closed.Store(true); return nil }
func (l *lender) Read(_ context.Context, wait time.Duration) (*sdk.Batch, error) {
	if l.left == 0 {
		return nil, io.EOF
	}
	var s *lentSlab
	select {
	case s = <-l.home:
	case <-time.After(wait):
		return nil, nil
	}
	l.left--
	l.most = max(l.most, l.lent.Add(1))
	for i := range s.mem[:l.used] {
		s.mem[i] = 'x'
	}
	b := l.env.NewBatch(l.env.Out[0], 1)
	b.SetView(0, 0, s.mem[:l.used])
	b.SetRows(1)
	b.Seal()
	b.Lend(lentBytes, s)
	l.env.Books.Received.Add(1)
	return b, nil
}

// inside says whether a value lies in one of the slabs, and whether it is what was written.
type inside struct {
	values, lent, wrong atomic.Int64
	closed              atomic.Int64 // looked at after the reader was closed
}

var lentSchema = sdk.NewSchema(sdk.Field{Name: "payload", Type: sdk.Bytes})

// Memory that a source lent passes a queue as it is when the batch uses half of it and a processor stands behind, and is intact until the
// batch is released, also when the reader has been closed. Elsewhere it is copied, and given back at once.
func TestLentMemoryPassesAQueue(t *testing.T) {
	const batches = 100
	for _, c := range []struct {
		name, pipeline string
		used           int
		kept           bool
	}{
		{"half of it is used", "processors:\n  - {id: look, type: look, queue: {batches: 64}}\nsinks:\n  out: {type: fused}", lentBytes / 2, true},
		{"less is used", "processors:\n  - {id: look, type: look, queue: {batches: 64}}\nsinks:\n  out: {type: fused}", lentBytes/2 - 1, false},
		{"the queue drops", "processors:\n  - {id: look, type: look, queue: {batches: 1000, when_full: drop_newest}}\nsinks:\n  out: {type: fused}", lentBytes, false},
		{"two read it, of which one is a sink", "processors:\n  - {id: look, type: look, queue: {batches: 64}}\nsinks:\n  out: {type: fused}\n  copy: {type: queued, from: in}", lentBytes, true},
		{"a sink stands behind", "sinks:\n  out: {type: looks}", lentBytes, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var l *lender
			var seen inside
			look := func(b *sdk.Batch) {
				if l.closed.Load() {
					seen.closed.Add(1)
				}
				for _, v := range b.Bytes(0) {
					seen.values.Add(1)
					if len(v) != c.used || v[0] != 'x' || v[len(v)-1] != 'x' {
						seen.wrong.Add(1)
					}
					if used, held := b.Lent(); held > 0 {
						seen.lent.Add(1)
						if used != c.used || held != lentBytes || b.Held() < lentBytes {
							t.Errorf("%d of %d bytes lent, %d held", used, held, b.Held())
						}
					}
				}
			}
			source := sdk.Plugin{
				Spec: sdk.Spec{Kind: sdk.KindSource, Type: "lender", Doc: "lends memory", Config: func() any { return &struct{}{} },
					Output: func(any, *sdk.Schema) ([]*sdk.Schema, error) { return []*sdk.Schema{lentSchema}, nil },
					Lanes:  func(any) (int, bool) { return 1, true }},
				Source: func(env *sdk.Env, _ any) (sdk.Source, error) {
					l = &lender{env: env, used: c.used, left: batches, home: make(chan *lentSlab, lentSlabs)}
					for range lentSlabs {
						l.home <- &lentSlab{of: l}
					}
					return l, nil
				},
			}
			processor := sdk.Plugin{
				Spec: sdk.Spec{Kind: sdk.KindProcessor, Type: "look", Doc: "looks where values lie", Config: func() any { return &struct{}{} }, Reasons: []sdk.Reason{"looked"},
					Output: func(_ any, in *sdk.Schema) ([]*sdk.Schema, error) { return []*sdk.Schema{in}, nil }},
				Processor: func(env *sdk.Env, _ any) (sdk.Processor, error) { return looker{env: env, look: look}, nil },
			}
			sink := sdk.Plugin{
				Spec: sdk.Spec{Kind: sdk.KindSink, Type: "looks", Doc: "looks where values lie", Config: func() any { return &struct{}{} }},
				Sink: func(*sdk.Env, any) (sdk.Sink, error) { return lookWriter{look: look}, nil },
			}
			r := running(t, newStores(), fmt.Sprintf("sources:\n  in: {type: lender}\n%s\n", c.pipeline), source, processor, sink, nullPlugin(true), nullPlugin(false))
			ends(t, r)
			if n := seen.wrong.Load(); n > 0 || seen.values.Load() != batches {
				t.Errorf("of %d values %d were not what was written", seen.values.Load(), n)
			}
			want := int64(0)
			if c.kept {
				want = batches
			}
			if got := seen.lent.Load(); got != want {
				t.Errorf("%d of %d values lay in lent memory, want %d", got, batches, want)
			}
			if c.kept && seen.closed.Load() == 0 {
				t.Error("nothing was looked at after the reader was closed: the test does not show that it may be")
			}
			if n := l.lent.Load(); n != 0 {
				t.Errorf("%d slabs were not given back", n)
			}
			if !c.kept && l.most > 1 {
				t.Errorf("%d slabs were out at a time, though each is copied", l.most)
			}
			if n := r.pool.InUse(); n != 0 {
				t.Errorf("%d batches are still held", n)
			}
		})
	}
}

// looker is a processor that looks and drops, slower than the source.
type looker struct {
	sdk.Stateless
	env  *sdk.Env
	look func(*sdk.Batch)
}

func (p looker) Process(b *sdk.Batch, _ sdk.Out) error {
	time.Sleep(100 * time.Microsecond)
	p.look(b)
	p.env.Books.Drop("looked", uint64(b.Rows()))
	b.Done(sdk.Delivered)
	b.Release()
	return nil
}

type lookWriter struct{ look func(*sdk.Batch) }

func (w lookWriter) Open(context.Context, *sdk.Schema) (sdk.Writer, error) { return w, nil }
func (lookWriter) Flush(context.Context) error                             { return nil }
func (lookWriter) Held() int64                                             { return 0 }
func (lookWriter) Close(context.Context) error                             { return nil }
func (w lookWriter) Write(_ context.Context, b *sdk.Block, done func(error)) error {
	for _, x := range b.Batches {
		w.look(x)
	}
	done(nil)
	return nil
}
