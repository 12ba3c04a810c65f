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
	acks    ackPool
	mu      sync.Mutex
	shelves map[shelfKey]*shelf
	shells  []*Batch
	views   []*Batch // shells that have memory for a selection
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
	mu   sync.Mutex
	free []*Batch
	// As many are kept as were out at a time lately: a queue that fills and empties costs no allocation, and what a burst needed
	// goes after a while.
	out, peak, keep int
	puts            int
}

// shelfWindow is how many batches come back before what is kept is reckoned anew.
const shelfWindow = 4096

// NewPool makes a pool that takes its memory from mem; nil means Go's heap.
func NewPool(mem memory.Allocator) *Pool {
	if mem == nil {
		mem = heap{}
	}
	return &Pool{mem: mem, shelves: map[shelfKey]*shelf{}}
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
		sh = &shelf{keep: 8}
		p.shelves[k] = sh
	}
	p.mu.Unlock()
	sh.mu.Lock()
	sh.out++
	if sh.out > sh.peak {
		sh.peak = sh.out
		sh.keep = max(sh.keep, sh.peak)
	}
	var b *Batch
	if n := len(sh.free); n > 0 {
		b, sh.free = sh.free[n-1], sh.free[:n-1]
	}
	sh.mu.Unlock()
	if b == nil {
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

func (p *Pool) take(from *[]*Batch) (b *Batch) {
	p.inUse.Add(1)
	p.mu.Lock()
	if n := len(*from); n > 0 {
		b, *from = (*from)[n-1], (*from)[:n-1]
	}
	p.mu.Unlock()
	if b == nil {
		b = &Batch{pool: p}
	}
	b.refs.Store(1)
	return b
}

// maxShells is how many of either kind are kept.
const maxShells = 256

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
	b.arena = b.arena[:0]
	if cap(b.arena) > maxArena {
		b.mem -= cap(b.arena)
		b.arena = nil
	}
	if b.home == nil { // a batch that shared another's columns
		base := b.base
		b.base, b.sel = nil, nil
		p.free(b)
		clear(b.cols)
		b.schema, b.arena, b.mem = nil, nil, 0
		keep := &p.shells
		if b.list != nil {
			keep = &p.views
		}
		p.mu.Lock()
		if len(*keep) < maxShells {
			*keep = append(*keep, b)
		}
		p.mu.Unlock()
		if base != nil {
			base.Release()
		}
		return
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
	sh.out--
	if sh.puts++; sh.puts == shelfWindow {
		sh.keep, sh.peak, sh.puts = max(8, sh.peak), sh.out, 0
		for len(sh.free) > sh.keep {
			n := len(sh.free) - 1
			p.free(sh.free[n])
			sh.free[n], sh.free = nil, sh.free[:n]
		}
	}
	if len(sh.free) < sh.keep {
		sh.free = append(sh.free, b)
		sh.mu.Unlock()
		return
	}
	sh.mu.Unlock()
	p.free(b)
}

// free gives back the buffers that are b's own.
func (p *Pool) free(b *Batch) {
	if b.mem == 0 {
		return
	}
	for i, f := range b.schema.fields {
		if c := &b.cols[i]; c.own && c.data != nil {
			p.mem.Free(unsafe.Slice((*byte)(c.data), (b.size*f.Type.Width()+63)&^63))
		}
	}
}
