package sdk

// Values that look into memory of others, and what it takes to keep them.

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
