package delivery

import (
	"context"
	"io"
	"sync/atomic"
	"time"

	"github.com/weirflow/weir/sdk"
)

// reader reads one life of a partition.
type reader struct {
	s     *source
	part  uint32
	p     *sdk.Partition
	gone  chan struct{} // p.Gone, closed under s.mu
	lost  bool          // under s.mu
	ready chan struct{}

	revoked flag
	stopped flag
	over    error // what ended it, of the goroutine that reads

	planned sdk.Position
	ends    []int64 // that no batch may cross, ascending
	next    int64
}

// flag is set once and read by another goroutine.
type flag struct{ v atomic.Bool }

func (f *flag) set()      { f.v.Store(true) }
func (f *flag) get() bool { return f.v.Load() }

func newReader(s *source, part uint32, p *sdk.Partition, gone chan struct{}, planned sdk.Position) *reader {
	r := &reader{s: s, part: part, p: p, gone: gone, ready: make(chan struct{}, 1), planned: planned, next: planned.Next}
	if s.cfg.Straddle {
		return r
	}
	if planned.Stored >= planned.Next {
		r.ends = append(r.ends, planned.Stored)
	}
	for _, e := range planned.Ends {
		if e.Last >= planned.Next && e.Last > planned.Stored {
			r.ends = append(r.ends, e.Last)
		}
	}
	return r
}

// lose closes Gone; the caller holds s.mu.
func (r *reader) lose() {
	if !r.lost {
		r.lost = true
		close(r.gone)
		signal(r.ready)
	}
}

func (r *reader) Partition() *sdk.Partition { return r.p }
func (r *reader) Planned() sdk.Position     { return r.planned }
func (r *reader) Ready() <-chan struct{}    { return r.ready }

func (r *reader) Read(ctx context.Context, wait time.Duration) (*sdk.Batch, error) {
	deadline := time.Now().Add(wait)
	for {
		if r.over == nil && (r.revoked.get() || r.stopped.get() || r.p.IsGone()) {
			r.over = sdk.ErrRevoked
		}
		if r.over != nil {
			return nil, r.over
		}
		for len(r.ends) > 0 && r.next > r.ends[0] {
			r.ends = r.ends[1:]
		}
		upto := int64(-1)
		if len(r.ends) > 0 {
			upto = r.ends[0]
		}
		f, err := r.s.broker.Fetch(ctx, r.part, r.next, upto, min(r.s.cfg.Rows, sdk.MaxRows))
		switch {
		case err != nil:
			return nil, err
		case f.N > 0:
			return r.batch(f), nil
		case upto >= 0 && r.s.world.Position(f.First) > upto:
			r.next = upto + 1 // the end lies in a gap
			continue
		case f.Ended && r.s.world.Bounded:
			r.over = io.EOF
			return nil, io.EOF
		}
		left := time.Until(deadline)
		if left <= 0 {
			return nil, nil
		}
		t := time.NewTimer(min(left, 10*time.Millisecond))
		select {
		case <-ctx.Done():
			t.Stop()
			return nil, ctx.Err()
		case <-t.C:
		}
	}
}

// batch builds what was fetched.
func (r *reader) batch(f Fetched) *sdk.Batch {
	b := r.s.env.NewBatch(r.s.env.Out[0], f.N)
	s, world := b.Schema(), r.s.world
	parts, numbers, positions, payload := s.Index("partition"), s.Index("number"), s.Index("position"), s.Index("payload")
	for i := range f.N {
		x := Record{r.part, f.First + uint64(i)}
		if parts >= 0 {
			sdk.Claim[uint32](b, parts, i, 1)[0] = x.Partition
		}
		if numbers >= 0 {
			sdk.Claim[uint64](b, numbers, i, 1)[0] = x.Number
		}
		if positions >= 0 {
			sdk.Claim[int64](b, positions, i, 1)[0] = world.Position(x.Number)
		}
		if payload >= 0 {
			b.SetBytes(payload, i, x.Payload())
		}
	}
	b.SetRows(f.N)
	b.Seal()
	last := world.Position(f.First + uint64(f.N) - 1)
	b.Root(sdk.Range{Partition: r.p, First: world.Position(f.First), Last: last})
	r.next = last + 1
	r.s.env.Books.Received.Add(uint64(f.N))
	return b
}

// Close gives the life up. What was not committed of it is read again in the next one.
func (r *reader) Close(ctx context.Context) error {
	r.s.mu.Lock()
	mine := r.s.readers[r.part] == r
	if mine {
		delete(r.s.readers, r.part)
		r.lose() // nothing more may be saved for it
	}
	r.s.mu.Unlock()
	if !mine {
		return nil
	}
	return r.s.release(ctx, r.part, r.p.Life)
}
