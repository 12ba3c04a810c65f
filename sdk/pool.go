package sdk

import (
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow/memory"
)

// Pool hands out batches and takes them back whole: their columns stay attached, so a batch in a steady stream costs no
// allocation and no work per column. Safe for any number of goroutines.
type Pool struct {
	mem     memory.Allocator
	loans   loans
	acks    ackPool
	mu      sync.Mutex
	shelves map[shelfKey]*shelf
	shells  freeList[*Batch]
	views   freeList[*Batch] // shells that have memory for a selection
	inUse   atomic.Int64
	held    atomic.Int64
}

// InUse is the number of batches handed out and not yet given back, those that share another's columns included: 0 when all
// that came of a run has been released.
func (p *Pool) InUse() int64 { return p.inUse.Load() }

// Held is the memory, in bytes, of the batches handed out and not yet given back, open ones among them: the capacity of their buffers,
// and what was lent to them.
func (p *Pool) Held() int64 { return p.held.Load() }

type shelfKey struct {
	schema *Schema
	size   int
}

// shelf holds the free batches of one schema and size.
type shelf struct {
	mu sync.Mutex
	freeList[*Batch]
}

// shelfWindow is how many batches come back before what is kept is reckoned anew.
const shelfWindow = 4096

// NewPool makes a pool that takes its memory from mem; nil means Go's heap. An allocator that has a method Returned(buf []byte) is
// told of the buffers of columns that were added to a shared batch, when they come back and may be overwritten: a test finds by it
// who still reads them.
func NewPool(mem memory.Allocator) *Pool {
	if mem == nil {
		mem = heap{}
	}
	p := &Pool{mem: mem, shelves: map[shelfKey]*shelf{}, loans: loans{mem: mem}}
	if m, ok := mem.(interface{ Returned(buf []byte) }); ok {
		p.loans.returned = m.Returned
	}
	return p
}

// heap allocates aligned memory that the garbage collector takes back.
type heap struct{}

func (heap) Allocate(n int) []byte {
	if n == 0 {
		return nil
	}
	m := make([]uint64, (n+7)/8)
	return unsafe.Slice((*byte)(unsafe.Pointer(&m[0])), n)
}
func (h heap) Reallocate(n int, b []byte) []byte {
	if n <= cap(b) {
		return b[:n]
	}
	m := h.Allocate(n)
	copy(m, b)
	return m
}
func (heap) Free([]byte) {}

// SizeClass is the size of the smallest class that holds rows: 256, 1,024 or MaxRows.
func SizeClass(rows int) int {
	switch {
	case rows <= 256:
		return 256
	case rows <= 1024:
		return 1024
	}
	return MaxRows
}

// Get returns an empty batch of schema s with room for at least rows rows (at most MaxRows), with one holder: the caller.
func (p *Pool) Get(s *Schema, rows int) *Batch {
	p.inUse.Add(1)
	size := SizeClass(rows)
	k := shelfKey{s, size}
	p.mu.Lock()
	sh := p.shelves[k]
	if sh == nil {
		sh = &shelf{}
		p.shelves[k] = sh
	}
	p.mu.Unlock()
	sh.mu.Lock()
	b, ok := sh.take()
	sh.mu.Unlock()
	if !ok {
		b = &Batch{schema: s, cols: make([]column, len(s.fields)), size: size, pool: p, home: sh}
	}
	b.refs.Store(1)
	p.held.Add(int64(b.mem))
	return b
}

// shell returns a batch without columns of its own, for sharing another's.
func (p *Pool) shell() *Batch { return p.take(&p.shells) }

// view is a shell that is to have a selection.
func (p *Pool) view() *Batch { return p.take(&p.views) }

func (p *Pool) take(from *freeList[*Batch]) *Batch {
	p.inUse.Add(1)
	p.mu.Lock()
	b, ok := from.take()
	p.mu.Unlock()
	if !ok {
		b = &Batch{pool: p, shelled: from}
	}
	b.refs.Store(1)
	return b
}

const maxArena = 4 << 20

func (p *Pool) put(b *Batch) {
	p.inUse.Add(-1)
	p.held.Add(-int64(b.mem))
	b.mem -= b.extra
	b.rows, b.high, b.rng, b.views, b.extra = 0, 0, Range{}, false, 0
	if b.ack != nil {
		panic("sdk: batch released for the last time before Done")
	}
	b.done, b.child = false, false
	if c := b.charge; c != nil {
		b.charge = nil
		defer c.Uncharge(b.due)
	}
	if b.home == nil { // a batch that shared another's columns
		base := b.base
		b.base, b.sel = nil, nil
		if b.borrows {
			p.loans.giveBack(b)
			clear(b.outgrown)
			b.arena, b.outgrown, b.borrows = nil, b.outgrown[:0], false
		}
		clear(b.cols)
		b.schema, b.mem = nil, 0
		p.mu.Lock()
		b.shelled.give(b, shelfWindow, func(*Batch) {})
		p.mu.Unlock()
		if base != nil {
			base.Release()
		}
		return
	}
	b.mem -= b.stale
	b.arena, b.stale = b.arena[:0], 0
	if cap(b.arena) > maxArena {
		b.mem -= cap(b.arena)
		b.arena = nil
	}
	for i := range b.cols {
		c := &b.cols[i]
		if c.vals != nil {
			clear(c.vals[:min(c.watermark, len(c.vals))])
		}
		c.watermark, c.dict = 0, nil
	}
	sh := b.home
	sh.mu.Lock()
	sh.give(b, shelfWindow, p.free)
	sh.mu.Unlock()
}

// free gives back the buffers of a batch that had columns of its own.
func (p *Pool) free(b *Batch) {
	for i, f := range b.schema.fields {
		if c := &b.cols[i]; c.data != nil {
			p.mem.Free(unsafe.Slice((*byte)(c.data), (b.size*f.Type.Width()+63)&^63))
		}
	}
}
