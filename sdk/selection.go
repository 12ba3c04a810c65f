package sdk

import "fmt"

// A batch with a selection is a view: its columns are another's, and a list says which rows of them are its records. A processor that
// keeps some rows gives out such a view instead of copies; who reads it in the same stage goes over the list. Nothing else ever meets
// one: core gathers before a queue, and in front of every plugin whose Spec does not declare Selections.
//
// A row's number is that of the columns, always: in Selection, in the list given to Select, in [Gather.Append]. What is said of a
// whole batch is said of its records: [Batch.Rows] counts them, Arrow wraps a copy of them, Append without a list takes them.

// Selection lists the rows of the columns that are the batch's records, ascending; nil: all of them, as in most batches. The list
// lives as long as the batch and must not be changed.
func (b *Batch) Selection() []uint16 { return b.sel }

// Select derives a batch whose records are rows of b: ascending numbers of rows of its columns, and if b has a selection itself, of
// those. No rows, nil too, is an empty batch. The columns are shared and b is held; rows is copied, into memory that is used again, so
// a call allocates nothing. The new batch has b's range and its own part of b's promise; b is settled and released as after
// [Batch.Share].
func (b *Batch) Select(rows []uint16) *Batch {
	if n := len(rows); n > b.Rows() || n > 0 && int(rows[n-1]) >= b.rows {
		panic(fmt.Sprintf("sdk: a selection of %d rows up to row %d, of a batch of %d", n, rows[n-1], b.Rows()))
	}
	s := b.share(b.pool.view(), b.schema, true)
	s.keepSelection(rows)
	return s
}

// keepSelection makes a copy of rows the selection.
func (b *Batch) keepSelection(rows []uint16) {
	if len(b.list) < len(rows) || b.list == nil {
		b.list = make([]uint16, SizeClass(len(rows)))
	}
	b.grow(2 * len(b.list))
	b.sel = b.list[:len(rows)]
	copy(b.sel, rows)
	if !ascend(rows) {
		panic("sdk: a selection whose rows are not in ascending order, or one of them twice")
	}
}

// ascend says whether each row is above the one before it. Eight at a time, without a branch.
func ascend(rows []uint16) bool {
	all := -1 // its sign stays as long as every difference is negative
	last := -1
	for ; len(rows) >= 8; rows = rows[8:] {
		p := (*[8]uint16)(rows)
		a, b := last-int(p[0]), int(p[0])-int(p[1])
		c, d := int(p[1])-int(p[2]), int(p[2])-int(p[3])
		e, f := int(p[3])-int(p[4]), int(p[4])-int(p[5])
		g, h := int(p[5])-int(p[6]), int(p[6])-int(p[7])
		all &= (a & b) & (c & d) & ((e & f) & (g & h))
		last = int(p[7])
	}
	for _, r := range rows {
		all &= last - int(r)
		last = int(r)
	}
	return all < 0
}

// gathered is a batch without a selection, of the selected records alone, with no promise.
func (b *Batch) gathered() *Batch {
	c := b.pool.Get(b.schema, len(b.sel))
	NewGather(b.schema, b.schema).Append(c, b, nil, len(b.sel))
	c.Seal()
	return c
}
