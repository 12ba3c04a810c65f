package expr

import (
	"fmt"
	"math/bits"
	"strings"

	"github.com/weirflow/weir/sdk"
)

// Program is a compiled condition. It is used by one goroutine; [Program.Clone] makes another for a second one.
type Program struct {
	schema *sdk.Schema // that of the batches: one equal to what was compiled against
	root   node
	match  bitmap
}

// bitmap has a bit for each row of a batch.
type bitmap [sdk.MaxRows / 64]uint64

// node evaluates a part of a condition.
type node interface {
	// eval sets in out the bits of those rows of in for which the part holds. Bitmaps have words words; out may be in.
	eval(b *sdk.Batch, words int, in, out *bitmap)
	// cost is about ns/row: what is cheap is evaluated first.
	cost() float64
	// clone is the same part with state of its own.
	clone() node
	// explain says how the part is evaluated.
	explain(e *explanation)
}

// Select appends to rows, which is usually rows[:0] of the call before, the numbers of the rows of b for which the condition
// holds, in ascending order; if b has a selection, of the rows that it names.
//
// It does not allocate once rows has the capacity and each value of a name column has been met, unless the program needs the
// virtual machine (see [Program.Kernels]).
func (p *Program) Select(b *sdk.Batch, rows []uint16) []uint16 {
	if s := b.Schema(); s != p.schema {
		if !s.Equal(p.schema) {
			panic(fmt.Sprintf("expr: a program for %v met a batch of %v", p.schema, s))
		}
		p.schema = s
	}
	n := b.Len()
	words := (n + 63) / 64
	if words == 0 {
		return rows
	}
	m := &p.match
	if sel := b.Selection(); sel != nil {
		m.set(sel, words)
	} else {
		for i := range m[:words] {
			m[i] = ^uint64(0)
		}
		if tail := n & 63; tail != 0 {
			m[words-1] = 1<<tail - 1
		}
	}
	p.root.eval(b, words, m, m)
	return m.appendRows(rows, n)
}

// set makes the bits of rows, which are ascending, the only ones of the first words words. A word is put together in a register:
// a store and a load for each row wait for each other.
func (m *bitmap) set(rows []uint16, words int) {
	clear(m[:words])
	at, w := 0, uint64(0)
	for _, r := range rows {
		if i := int(r >> 6); i != at {
			m[at], at, w = w, i, 0
		}
		w |= 1 << (r & 63)
	}
	m[at] = w
}

// appendRows appends the numbers of the bits that are set among the first n.
func (m *bitmap) appendRows(rows []uint16, n int) []uint16 {
	k := len(rows)
	if cap(rows)-k < n+64 { // words are written whole
		rows = append(make([]uint16, 0, k+n+64), rows...)
	}
	rows = rows[:cap(rows)]
	for i, w := range m[:(n+63)/64] {
		at := uint16(i * 64)
		switch c := bits.OnesCount64(w); {
		case c == 0:
		case c == 64:
			out := (*[64]uint16)(rows[k:])
			for j := range out {
				out[j] = at + uint16(j)
			}
			k += 64
		case c < 12:
			for ; w != 0; w &= w - 1 {
				rows[k] = at + uint16(bits.TrailingZeros64(w))
				k++
			}
		default: // without branches
			out := (*[64]uint16)(rows[k:])
			d := 0
			for j := range uint16(64) {
				out[d&63] = at + j
				d += int(w & 1)
				w >>= 1
			}
			k += c
		}
	}
	return rows[:k]
}

// Clone is the same condition for another goroutine: what was compiled is shared, what is written while it runs is not.
func (p *Program) Clone() *Program {
	return &Program{schema: p.schema, root: p.root.clone()}
}

// Kernels says whether the whole condition is evaluated by kernels, without the virtual machine.
func (p *Program) Kernels() bool {
	var e explanation
	p.root.explain(&e)
	return !e.machine
}

// Explain says for each comparison how it is evaluated, one a line, in the order of evaluation.
func (p *Program) Explain() string {
	var e explanation
	p.root.explain(&e)
	return strings.Join(e.lines, "\n")
}

type explanation struct {
	lines   []string
	machine bool
}

func (e *explanation) add(how, written string) {
	e.lines = append(e.lines, fmt.Sprintf("%s: %s", how, written))
}
