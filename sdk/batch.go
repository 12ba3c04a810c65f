package sdk

import (
	"fmt"
	"sync/atomic"
	"unsafe"
)

// MaxRows is the most rows a batch holds: 8,192 rows of 20 columns are about 1 MiB, what a core's second-level cache likes.
const MaxRows = 8192

// Batch is rows in Arrow's memory layout, one typed slice a column: the only thing that moves through a pipeline.
//
// A batch has two lives and two calls. Its data lives from [Pool.Get] to the last [Batch.Release]. Its promise lives until
// [Batch.Done], said exactly once by whoever owns the batch; the source hears when all that came of its batch is settled.
//
// Building: claim columns row by row ([Claim], [Batch.SetBytes], [Gather]), set the row count, Seal. Each column has a
// watermark of rows written; gaps are zeroed at the next claim or at Seal; a column never claimed is the shared zero column
// and costs nothing. After Seal, or once sent, a batch is immutable unless its one holder has the only reference.
type Batch struct {
	schema *Schema
	cols   []column
	rows   int // values of a column
	high   int // no column's watermark is above it
	size   int // most rows: MaxRows or a smaller class
	rng    Range
	ack    *ack
	done   bool
	child  bool // something was derived into it
	refs   atomic.Int32

	base  *Batch   // columns are shared with it: it is held as long as this one
	sel   []uint16 // the rows that are its records; nil: all
	list  []uint16 // its own memory for sel, kept when it is recycled
	views bool     // some variable-length values look into memory that is not the batch's own
	arena []byte   // its own memory for variable-length values
	stale int      // bytes of arenas before this one, which values look into; of a batch with a home
	// outgrown are those arenas of a batch that shares another's columns: lent to it, as the columns that it claims are.
	outgrown [][]byte
	borrows  bool // anything was lent to it
	extra    int  // bytes held beside the columns: slabs looked into
	mem      int  // bytes of all its buffers, with extra: what the pool counts while the batch is out
	onFree   Freer
	charge   Charger
	due      int // what charge is told when the data goes

	pool *Pool
	home *shelf // nil: a batch that shares another's columns, and
	// shelled, where it goes when it is released
	shelled *freeList[*Batch]
}

// column is one typed slice. Rows above the watermark are zero once sealed.
type column struct {
	data      unsafe.Pointer // fixed-width values; nil until first claimed by this batch object, or shared
	vals      [][]byte       // variable-length values
	watermark int
	dict      *Dict // Name columns
	own       bool  // data and vals are this batch's, not its base's
}

// Freer is told when a batch whose values look into its memory has been released.
type Freer interface{ Freed(b *Batch) }

// Charger keeps account of memory that batches hold: a queue, from the push of a batch until its last release.
type Charger interface{ Uncharge(bytes int) }

// Charge makes c the one that is told when the batch's data has gone; whoever was charged before is told now. Core calls it.
func (b *Batch) Charge(c Charger, bytes int) {
	if b.charge != nil {
		b.charge.Uncharge(b.due)
	}
	b.charge, b.due = c, bytes
}

// TakeCharge lets nobody be told, and returns what would have been. Core calls it.
func (b *Batch) TakeCharge() int {
	n := b.due
	b.charge, b.due = nil, 0
	return n
}

// Schema of the batch.
func (b *Batch) Schema() *Schema { return b.schema }

// Rows is the number of records in the batch: with a selection as many as it names.
func (b *Batch) Rows() int {
	if b.sel != nil {
		return len(b.sel)
	}
	return b.rows
}

// Len is the length of the columns: the number of values that [Values], [Batch.Bytes] and [Batch.Names] return. It is Rows, but for
// a batch with a selection, whose columns are those of the batch it was derived of.
func (b *Batch) Len() int { return b.rows }

// Size is the most rows the batch can hold.
func (b *Batch) Size() int { return b.size }

// Room is how many rows can still be written.
func (b *Batch) Room() int { return b.size - b.rows }

// Range is where the records came from; the hull of the parents' ranges for a derived batch.
func (b *Batch) Range() Range { return b.rng }

// SetRows sets the row count. Columns written beyond it are cut off; columns written less far are zero up to it. It panics on a
// batch with a selection, and on one that shares another's columns if that changes the count.
func (b *Batch) SetRows(n int) {
	if n < 0 || n > b.size {
		panic(fmt.Sprintf("sdk: %d rows in a batch of %d", n, b.size))
	}
	if b.sel != nil {
		panic("sdk: SetRows of a batch with a selection: derive a batch of the rows that are to be left with Select")
	}
	if b.base != nil && n != b.rows {
		panic("sdk: SetRows of a batch that shares another's columns: derive a batch of the rows that are to be left with Select")
	}
	if n < b.high {
		b.cut(n)
	}
	b.rows = n
}

// cut lowers the watermarks to n: else rows that are added later would show what was written beyond n in columns that they do
// not claim.
//
//go:noinline
func (b *Batch) cut(n int) {
	for i := range b.cols {
		if c := &b.cols[i]; c.watermark > n {
			if c.vals != nil {
				clear(c.vals[n:c.watermark])
			}
			c.watermark = n
		}
	}
	b.high = n
}

// Held is the memory the batch holds, in bytes: the capacity of its buffers, not the rows used, with what it looks into.
func (b *Batch) Held() int {
	h := b.mem + 256
	if b.base != nil {
		h += b.base.Held()
	}
	return h
}

// grow counts n bytes more that the batch holds.
func (b *Batch) grow(n int) {
	b.mem += n
	b.pool.held.Add(int64(n))
}

// IsShared says whether the batch's columns are another's (Share).
func (b *Batch) IsShared() bool { return b.base != nil }

// Seal ends the building: every touched column is zero up to Rows. A batch must be sealed before it is sent.
func (b *Batch) Seal() {
	for i := range b.cols {
		c := &b.cols[i]
		if c.watermark == 0 || c.watermark >= b.rows {
			continue
		}
		if c.vals != nil {
			clear(c.vals[c.watermark:b.rows])
		} else {
			b.zero(i, c.watermark, b.rows)
		}
		c.watermark = b.rows
	}
}

// Retain adds a holder of the data.
func (b *Batch) Retain() { b.refs.Add(1) }

// Unique says whether the caller is the only holder, and may change the data in place.
func (b *Batch) Unique() bool { return b.refs.Load() == 1 && b.base == nil }

// Release gives up one holder's hold on the data; the last one's recycles the batch whole.
func (b *Batch) Release() {
	switch n := b.refs.Add(-1); {
	case n > 0:
		return
	case n < 0:
		panic("sdk: batch released twice")
	}
	if f := b.onFree; f != nil {
		b.onFree = nil
		f.Freed(b)
	}
	b.pool.put(b)
}

// Share derives a batch of the same records that shares b's columns: for a second reader with its own promise. With tracked false
// the new batch has none: nobody waits for an optional branch. schema, if not nil, chooses which columns (by name) it has; columns
// that b lacks or has as zero columns may be claimed, and their memory comes from the pool and goes back there with the last Release; to
// write the others panics. A selection of b is the new batch's too.
func (b *Batch) Share(schema *Schema, tracked bool) *Batch {
	if schema == nil {
		schema = b.schema
	}
	s := b.share(b.pool.shell(), schema, tracked)
	s.sel = b.sel // which is held
	return s
}

func (b *Batch) share(s *Batch, schema *Schema, tracked bool) *Batch {
	if cap(s.cols) < len(schema.fields) {
		s.cols = make([]column, len(schema.fields))
	}
	s.schema, s.cols = schema, s.cols[:len(schema.fields)]
	s.size, s.rows, s.high, s.views = b.size, b.rows, b.high, b.views
	for i, f := range schema.fields {
		j := i
		if schema != b.schema {
			j = b.schema.Index(f.Name)
		}
		// Of a zero column nothing is shared: what the sharer claims there must not be the base's buffer.
		if s.cols[i] = (column{}); j >= 0 && b.cols[j].watermark > 0 {
			s.cols[i] = b.cols[j]
			s.cols[i].own = false
		}
	}
	b.Retain()
	s.base = b
	s.child = true
	if tracked {
		s.rng = b.rng // an optional branch has no part in cuts, so its batches have no range
	}
	if tracked && b.ack != nil {
		s.ack = b.pool.acks.get()
		b.ack.left.Add(1)
		s.ack.parents = append(s.ack.parents, b.ack)
	}
	return s
}
