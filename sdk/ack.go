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
