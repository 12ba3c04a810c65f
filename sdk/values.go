package sdk

import "unsafe"

// What is in the columns of a batch, and how it gets there.

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

// copyFixed gives a sharing batch a column of its own.
func (b *Batch) copyFixed(col int) {
	c := &b.cols[col]
	w := b.schema.fields[col].Type.Width()
	buf := b.newColumn(w)
	copy(buf, unsafe.Slice((*byte)(c.data), b.size*w)[:b.rows*w])
	c.data, c.own = unsafe.Pointer(unsafe.SliceData(buf)), true
}
