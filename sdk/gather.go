package sdk

import "unsafe"

// Gather copies chosen rows of batches of one schema to the end of batches of another, column by column and by name: how
// filters, coalescing and fan-in write. Columns that the source lacks stay zero.
//
// It is made once for a pair of schemas and used by one goroutine.
type Gather struct {
	src, dst *Schema
	from     []int // for each column of dst, the one of src or -1
	dicts    []*Dict
	remap    []uint16
}

// NewGather makes a Gather from src to dst. Columns of one name must have one type.
func NewGather(src, dst *Schema) *Gather {
	g := &Gather{src: src, dst: dst, from: make([]int, dst.Len()), dicts: make([]*Dict, dst.Len())}
	for i, f := range dst.Fields() {
		g.from[i] = src.Index(f.Name)
		if j := g.from[i]; j >= 0 && src.Field(j).Type != f.Type {
			panic("sdk: gather of column " + f.Name + " between two types")
		}
	}
	return g
}

// Append copies rows rows of src to the end of dst; if rows is nil, the first n records: all rows from 0 on, or of a batch with a
// selection those it names. It returns how many fitted. Variable-length values are copied into dst's own memory. Append does not
// Derive. It panics if dst has a selection.
func (g *Gather) Append(dst, src *Batch, rows []uint16, n int) int {
	if dst.sel != nil {
		panic("sdk: rows appended to a batch with a selection")
	}
	if rows == nil && src.sel != nil {
		rows = src.sel[:n:len(src.sel)]
	}
	if rows != nil {
		n = len(rows)
	}
	n = min(n, dst.Room())
	if n == 0 {
		return 0
	}
	if rows != nil {
		rows = rows[:n]
	}
	at := dst.rows
	for i, j := range g.from {
		if j < 0 || src.cols[j].watermark == 0 {
			continue
		}
		switch f := &g.dst.fields[i]; f.Type {
		case Bytes, Text, Uint32s:
			for k := range n {
				r := k
				if rows != nil {
					r = int(rows[k])
				}
				dst.SetBytes(i, at+k, src.cols[j].vals[r])
			}
		case Name:
			out := Claim[uint16](dst, i, at, n)
			copyRows(out, Values[uint16](src, j), rows)
			g.names(dst, i, at, out, src.cols[j].dict)
		default:
			switch f.Type.Width() {
			case 1:
				copyRows(Claim[uint8](dst, i, at, n), Values[uint8](src, j), rows)
			case 2:
				copyRows(Claim[uint16](dst, i, at, n), Values[uint16](src, j), rows)
			case 4:
				copyRows(Claim[uint32](dst, i, at, n), Values[uint32](src, j), rows)
			case 8:
				copyRows(Claim[uint64](dst, i, at, n), Values[uint64](src, j), rows)
			case 16:
				copyRows(Claim[[2]uint64](dst, i, at, n), Values[[2]uint64](src, j), rows)
			}
		}
	}
	dst.rows += n
	return n
}

// names makes the indices just copied to column i point into the destination's dictionary.
func (g *Gather) names(dst *Batch, i, at int, out []uint16, from *Dict) {
	d := dst.cols[i].dict
	if d == nil || d == from {
		if d == nil && at == 0 {
			dst.cols[i].dict = from
			return
		}
		if d == from {
			return
		}
	}
	// Two dictionaries meet in one batch: give the batch one of ours that holds both.
	own := g.dicts[i]
	if own == nil {
		own = NewDict()
		g.dicts[i] = own
	}
	if d != own {
		whole := unsafe.Slice((*uint16)(dst.cols[i].data), at)
		if own = g.translate(own, d, whole); own == nil {
			own = NewDict()
			own = g.translate(own, d, whole)
		}
	}
	if next := g.translate(own, from, out); next != nil {
		own = next
	} else {
		// Ours is full: start another from what this batch holds.
		fresh := NewDict()
		whole := unsafe.Slice((*uint16)(dst.cols[i].data), at)
		fresh = g.translate(fresh, own, whole)
		own = g.translate(fresh, from, out)
	}
	g.dicts[i], dst.cols[i].dict = own, own
}

// translate rewrites indices of from into indices of to; nil if to cannot hold them (nothing is changed then). A batch has at
// most MaxRows different strings, so an empty dictionary always can.
func (g *Gather) translate(to, from *Dict, idx []uint16) *Dict {
	vals := from.Values()
	if len(g.remap) < len(vals) {
		g.remap = make([]uint16, len(vals))
	}
	m := g.remap[:len(vals)]
	clear(m)
	for _, x := range idx {
		if x != 0 && m[x] == 0 {
			n, ok := to.Intern(vals[x])
			if !ok {
				return nil
			}
			m[x] = n
		}
	}
	for k, x := range idx {
		idx[k] = m[x]
	}
	return to
}

func copyRows[T any](dst, src []T, rows []uint16) {
	if rows == nil {
		copy(dst, src)
		return
	}
	dst = dst[:len(rows)]
	for i, r := range rows {
		dst[i] = src[r]
	}
}
