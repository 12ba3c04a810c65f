package sdk

import (
	"sync"
	"sync/atomic"
)

// Outcome of one batch; of several, the worst counts. Only Failed keeps a source from committing.
type Outcome uint32

const (
	Delivered Outcome = iota
	Dropped
	DeadLettered
	Failed
)

func (o Outcome) String() string {
	switch o {
	case Delivered:
		return "delivered"
	case Dropped:
		return "dropped"
	case DeadLettered:
		return "dead_lettered"
	case Failed:
		return "failed"
	}
	return "outcome(?)"
}

// Settler hears once of a source's batch, when all that came of it is settled. It may be called by any goroutine and must
// not block.
type Settler interface {
	Settled(r Range, worst Outcome)
}

// ack is the promise of one batch: it is settled when its owner has said Done and all that was derived of it is settled.
type ack struct {
	left    atomic.Int64 // the owner's share and children not yet settled
	worst   atomic.Uint32
	parents []*ack
	root    Settler
	rng     Range
	pool    *ackPool
}

func (a *ack) done(o Outcome) {
	for w := a.worst.Load(); uint32(o) > w && !a.worst.CompareAndSwap(w, uint32(o)); w = a.worst.Load() {
	}
	switch n := a.left.Add(-1); {
	case n < 0:
		panic("sdk: batch settled twice")
	case n > 0:
		return
	}
	worst := Outcome(a.worst.Load())
	for _, p := range a.parents {
		p.done(worst)
	}
	if a.root != nil {
		a.root.Settled(a.rng, worst)
	}
	a.pool.put(a)
}

// ackPool recycles promises: they outlive their batches' data and are met on every batch.
type ackPool struct {
	mu   sync.Mutex
	free []*ack
}

func (p *ackPool) get() *ack {
	p.mu.Lock()
	var a *ack
	if n := len(p.free); n > 0 {
		a, p.free = p.free[n-1], p.free[:n-1]
	}
	p.mu.Unlock()
	if a == nil {
		a = &ack{pool: p}
	}
	a.left.Store(1)
	return a
}

func (p *ackPool) put(a *ack) {
	clear(a.parents)
	a.parents, a.root, a.rng = a.parents[:0], nil, Range{}
	a.worst.Store(0)
	p.mu.Lock()
	if len(p.free) < maxFreeAcks {
		p.free = append(p.free, a)
	}
	p.mu.Unlock()
}

const maxFreeAcks = 1 << 14

// Root makes b a source's batch that came from r. Who is told when all that came of it is settled is core's to say, by Track.
func (b *Batch) Root(r Range) { b.rng = r }

// Track attaches a promise to a source's batch: s hears once, when all that came of b is settled. Core calls it, before
// anything is derived.
func (b *Batch) Track(s Settler) {
	if b.ack != nil {
		panic("sdk: Track of a batch that has a promise already")
	}
	b.ack = b.pool.acks.get()
	b.ack.root, b.ack.rng = s, b.rng
}

// Tracked says whether anybody waits for the batch to be settled.
func (b *Batch) Tracked() bool { return b.ack != nil }

// Derive says that b comes of parents: split, filter, fan-out (one parent, several children), coalescing (several parents,
// one child), decode and aggregate (several of both). Call it before Done of any parent; for a parent named twice in a row
// the second call does nothing, so a coalescing loop may call it for each piece.
func (b *Batch) Derive(parents ...*Batch) {
	for _, p := range parents {
		b.derive(p)
	}
}

func (b *Batch) derive(p *Batch) {
	if !b.child {
		b.child, b.rng = true, p.rng
	} else if b.rng.Partition != nil {
		b.rng.hull(p.rng)
	}
	if p.ack == nil {
		return
	}
	if b.ack == nil {
		b.ack = b.pool.acks.get()
	}
	// A parent held here cannot be recycled, so an equal pointer is the same promise.
	if n := len(b.ack.parents); n > 0 && b.ack.parents[n-1] == p.ack {
		return
	}
	p.ack.left.Add(1)
	b.ack.parents = append(b.ack.parents, p.ack)
}

// Done settles the owner's share of the promise. A second call panics.
func (b *Batch) Done(o Outcome) {
	if b.done {
		panic("sdk: batch settled twice")
	}
	b.done = true
	if a := b.ack; a != nil {
		b.ack = nil
		a.done(o)
	}
}

// Promise is a batch's promise taken apart from its data: a sink that has its own copy releases the batch at once and settles
// later.
type Promise struct{ a *ack }

// TakePromise moves the promise out of the batch, whose Done must not be called any more.
func (b *Batch) TakePromise() Promise {
	if b.done {
		panic("sdk: batch settled twice")
	}
	p := Promise{b.ack}
	b.done, b.ack = true, nil
	return p
}

// Done settles the promise: exactly once.
func (p Promise) Done(o Outcome) {
	if p.a != nil {
		p.a.done(o)
	}
}
