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

// Fixed is the type of a value in a column of fixed width.
type Fixed interface {
	~uint8 | ~uint16 | ~uint32 | ~uint64 | ~int64 | ~float64 | ~[16]byte | ~[2]uint64
}

// zeros is the column nobody wrote, for every type of fixed width.
var zeros [MaxRows]([2]uint64)

var zeroValues [MaxRows][]byte

// Values returns column col as a slice of Len values, of which a selection names those that count. T must have the width of the column's type. The slice must not be
// changed and lives as long as the batch.
func Values[T Fixed](b *Batch, col int) []T {
	c := &b.cols[col]
	if c.watermark == 0 {
		return unsafe.Slice((*T)(unsafe.Pointer(&zeros)), MaxRows)[:b.rows]
	}
	return unsafe.Slice((*T)(c.data), b.rows)
}

// Claim makes rows at..at+n of column col writable and returns them; the rows between the watermark and at are zeroed. T must
// have the width of the column's type. What the slice holds before it is written is undefined.
func Claim[T Fixed](b *Batch, col, at, n int) []T {
	return unsafe.Slice((*T)(b.Claim(col, at, n)), at+n)[at:]
}

// Claim is [Claim] without a type: the address of row 0 of the column. For decoders whose loop is over columns.
func (b *Batch) Claim(col, at, n int) unsafe.Pointer {
	c := &b.cols[col]
	if !c.own {
		b.attach(col)
	}
	if c.watermark != at {
		b.zero(col, c.watermark, at)
	}
	c.watermark = at + n
	b.high = max(b.high, at+n)
	return c.data
}

//go:noinline
func (b *Batch) attach(col int) {
	b.mustBeFree(col)
	w := b.schema.fields[col].Type.Width()
	if w == 0 {
		panic("sdk: Claim of variable-length column " + b.schema.fields[col].Name)
	}
	buf := b.newColumn(w)
	if b.sel != nil {
		clear(buf) // who writes the selected rows alone leaves zeros in the others, which kernels go over
	}
	b.cols[col].data, b.cols[col].own = unsafe.Pointer(unsafe.SliceData(buf)), true
}

// mustBeFree panics if the column is another batch's: who else reads it would see what is written.
func (b *Batch) mustBeFree(col int) {
	if c := &b.cols[col]; c.data != nil || c.vals != nil {
		panic("sdk: column " + b.schema.fields[col].Name + " is shared with the batch that this one came of, and cannot be written: add a column, or copy the rows with Gather")
	}
}

// newColumn is memory for a column of width w: the batch's own, which it keeps when it is recycled, or if it shares another's columns
// lent to it.
func (b *Batch) newColumn(w int) (buf []byte) {
	if b.home != nil {
		buf = b.pool.mem.Allocate((b.size*w + 63) &^ 63)
	} else {
		buf, b.borrows = b.pool.loans.take(b.size*w), true
	}
	b.grow(len(buf))
	return buf
}

// newValues is memory for the values of a column of variable length, all of them nil.
func (b *Batch) newValues() (vals [][]byte) {
	if b.home != nil {
		vals = make([][]byte, b.size)
	} else {
		vals, b.borrows = b.pool.loans.takeValues(b.size), true
	}
	b.grow(len(vals) * headerBytes)
	return vals
}

//go:noinline
func (b *Batch) zero(col, from, to int) {
	if from >= to {
		return
	}
	w := b.schema.fields[col].Type.Width()
	clear(unsafe.Slice((*byte)(b.cols[col].data), b.size*w)[from*w : to*w])
}

// IsZero says whether nobody has written the column: every row is its zero.
func (b *Batch) IsZero(col int) bool { return b.cols[col].watermark == 0 }

// Bytes returns a column of variable length as Len values. Nothing of it may be changed; a value is valid as long as the
// batch, and if Views, only until the call that was given the batch returns, unless Own is called.
func (b *Batch) Bytes(col int) [][]byte {
	c := &b.cols[col]
	if c.watermark == 0 {
		return zeroValues[:b.rows]
	}
	return c.vals[:b.rows]
}

// SetView writes a value of a variable-length column without copying it: it looks into memory that is not the batch's.
func (b *Batch) SetView(col, row int, v []byte) {
	b.views = true
	b.setVal(col, row, v)
}

// SetBytes writes a value of a variable-length column, copied into the batch's own memory.
func (b *Batch) SetBytes(col, row int, v []byte) { b.setVal(col, row, b.keep(v)) }

func (b *Batch) setVal(col, row int, v []byte) {
	c := &b.cols[col]
	if !c.own {
		b.mustBeFree(col)
		c.vals, c.own = b.newValues(), true
	}
	if c.watermark < row {
		clear(c.vals[c.watermark:row])
	}
	c.vals[row] = v
	c.watermark = max(c.watermark, row+1)
	b.high = max(b.high, row+1)
}

// headerBytes is the memory of one value of variable length, beside what it looks into: a slice.
const headerBytes = 24

// newArena is memory for n bytes of values. What was written to the arena before lives on there.
func (b *Batch) newArena(n int) {
	if b.home == nil {
		if b.arena != nil {
			b.outgrown = append(b.outgrown, b.arena)
		}
		b.arena, b.borrows = b.pool.loans.take(n)[:0], true
		b.grow(cap(b.arena))
		return
	}
	if len(b.arena) > 0 {
		b.stale += cap(b.arena)
	} else {
		b.grow(-cap(b.arena))
	}
	b.grow(n)
	b.arena = make([]byte, 0, n)
}

// keep copies v to the end of the arena. If there is no room another one is begun, and values look into both.
func (b *Batch) keep(v []byte) []byte {
	if len(v) == 0 {
		return nil
	}
	if cap(b.arena)-len(b.arena) < len(v) {
		b.newArena(max(2*cap(b.arena), len(v), 4096))
	}
	at := len(b.arena)
	b.arena = append(b.arena, v...)
	return b.arena[at : at+len(v) : at+len(v)]
}

// Names returns a Name column: Len indices and the dictionary they point into.
func (b *Batch) Names(col int) ([]uint16, *Dict) {
	return Values[uint16](b, col), b.cols[col].dict
}

// SetDict says which dictionary the indices of a Name column point into. Say it once a batch, with the first claim.
func (b *Batch) SetDict(col int, d *Dict) { b.cols[col].dict = d }

// Dict of a Name column, nil if none was set (every row is the empty string then).
func (b *Batch) Dict(col int) *Dict { return b.cols[col].dict }

// Views says whether values look into memory that is lent for the call only.
func (b *Batch) Views() bool { return b.views }

// Lend says that values look into memory of held bytes, and who (nil: nobody) is told when the batch has been released, or has copied
// them (Own). Until then nobody else writes there, also after the reader's Close: a queue may hold the batch as it is.
func (b *Batch) Lend(held int, f Freer) {
	b.grow(held - b.extra)
	b.views, b.extra, b.onFree = true, held, f
}

// Lent says how much of the memory that was lent, to this batch or to the one whose columns it shares, its values use, and how much that
// is, in bytes; 0, 0 if nothing was lent. Core asks it before a queue.
func (b *Batch) Lent() (used, held int) {
	for x := b; x != nil; x = x.base {
		held += x.extra
	}
	if held == 0 {
		return 0, 0
	}
	for i := range b.cols {
		used += b.valueBytes(i)
	}
	return used, held
}

// valueBytes is how many bytes the values of a column of variable length take, those of the selected rows.
func (b *Batch) valueBytes(col int) (n int) {
	c := &b.cols[col]
	vals := c.vals[:min(c.watermark, len(c.vals))]
	if b.sel == nil {
		for _, v := range vals {
			n += len(v)
		}
		return n
	}
	for _, r := range b.sel {
		if int(r) < len(vals) {
			n += len(vals[r])
		}
	}
	return n
}

// IsShared says whether the batch's columns are another's (Share).
func (b *Batch) IsShared() bool { return b.base != nil }

// Own copies what the batch looks into, once, so that it may be kept past the call. Only its one holder may call it. A selection
// stays, and with it the numbers of the rows; values of rows that are not selected are not copied, and are gone.
func (b *Batch) Own() {
	if !b.views {
		return
	}
	n := 0
	for i := range b.cols {
		n += b.valueBytes(i)
	}
	if cap(b.arena)-len(b.arena) < n {
		b.newArena(n)
	}
	for i := range b.cols {
		c := &b.cols[i]
		if c.vals == nil {
			if b.base != nil && c.watermark > 0 && !c.own {
				b.copyFixed(i)
			}
			continue
		}
		b.ownValues(c)
	}
	b.grow(-b.extra)
	b.views, b.extra = false, 0
	if f := b.onFree; f != nil {
		b.onFree = nil
		f.Freed(b)
	}
	if base := b.base; base != nil {
		if b.sel != nil && b.list == nil {
			b.keepSelection(b.sel) // it was the base's list
		}
		b.base = nil
		base.Release()
	}
}

// ownValues copies a column's values into the batch's memory.
func (b *Batch) ownValues(c *column) {
	was := c.vals[:min(c.watermark, b.rows)]
	if !c.own { // the slice of values is the base's, and others may read it
		c.vals, c.own = b.newValues(), true
	}
	if b.sel == nil {
		for j, v := range was {
			c.vals[j] = b.keep(v)
		}
		return
	}
	next := 0
	for _, r := range b.sel {
		if int(r) >= len(was) {
			break
		}
		clear(c.vals[next:r])
		c.vals[r] = b.keep(was[r])
		next = int(r) + 1
	}
	clear(c.vals[next:len(was)])
}

// copyFixed gives a sharing batch a column of its own.
func (b *Batch) copyFixed(col int) {
	c := &b.cols[col]
	w := b.schema.fields[col].Type.Width()
	buf := b.newColumn(w)
	copy(buf, unsafe.Slice((*byte)(c.data), b.size*w)[:b.rows*w])
	c.data, c.own = unsafe.Pointer(unsafe.SliceData(buf)), true
}

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
