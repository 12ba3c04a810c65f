package expr

import (
	"encoding/binary"
	"math/bits"
	"regexp"
	"strings"
	"unsafe"

	"github.com/weirflow/weir/sdk"
)

// test answers for one value of a column.
type test interface {
	str(s string) bool
	num(v uint64) bool
	cloneTest() test
}

// stringTest is a comparison of a string with a constant.
type stringTest struct {
	op  string
	k   string
	set map[string]bool
	re  *regexp.Regexp
}

func (t *stringTest) str(s string) bool {
	switch t.op {
	case "==":
		return s == t.k
	case "contains":
		return strings.Contains(s, t.k)
	case "startsWith":
		return strings.HasPrefix(s, t.k)
	case "endsWith":
		return strings.HasSuffix(s, t.k)
	case "in":
		return t.set[s]
	}
	return t.re.MatchString(s)
}
func (t *stringTest) num(uint64) bool { panic("expr: a string test of a number") }
func (t *stringTest) cloneTest() test { return t }

// tableNode answers once for each distinct value of a name column or an integer column of 8 or 16 bits.
type tableNode struct {
	col     int
	typ     sdk.Type
	test    test
	how     string
	written string
	machine bool
	price   float64

	numbers []uint8 // by value
	names   []nameTable
	next    int // the table that makes room
}

// nameTable holds answers by the index of one dictionary.
type nameTable struct {
	dict    *sdk.Dict
	answers []uint8
}

// Answers in a table: known is set when the value has been asked about.
const (
	yes   = 1
	known = 2
)

// maxDicts is how many dictionaries' answers are kept: lanes in front of a queue bring one each.
const maxDicts = 32

func (n *tableNode) eval(b *sdk.Batch, words int, in, out *bitmap) {
	switch n.typ {
	case sdk.Name:
		idx, dict := b.Names(n.col)
		values := dict.Values()
		tab := n.table(dict, len(values))
		lookup(idx, tab, words, in, out, func(i uint16) uint8 { return answer(n.test.str(values[i])) })
	case sdk.Uint8:
		if n.numbers == nil {
			n.numbers = make([]uint8, 1<<8)
		}
		lookup(sdk.Values[uint8](b, n.col), n.numbers, words, in, out, func(i uint8) uint8 { return answer(n.test.num(uint64(i))) })
	default:
		if n.numbers == nil {
			n.numbers = make([]uint8, 1<<16)
		}
		lookup(sdk.Values[uint16](b, n.col), n.numbers, words, in, out, func(i uint16) uint8 { return answer(n.test.num(uint64(i))) })
	}
}

func answer(b bool) uint8 {
	if b {
		return known | yes
	}
	return known
}

// table finds the answers for the dictionary, with room for all its values.
func (n *tableNode) table(d *sdk.Dict, values int) []uint8 {
	at := -1
	for i := range n.names {
		if n.names[i].dict == d {
			at = i
			break
		}
	}
	switch {
	case at >= 0:
	case len(n.names) < maxDicts:
		at = len(n.names)
		n.names = append(n.names, nameTable{dict: d})
	default:
		at, n.next = n.next, (n.next+1)%maxDicts
		n.names[at].dict = d
		clear(n.names[at].answers)
	}
	t := &n.names[at]
	if len(t.answers) < values {
		size := min(1<<bits.Len(uint(values-1)|63), sdk.MaxNames)
		t.answers = append(make([]uint8, 0, size), t.answers...)[:size]
	}
	return t.answers
}

// lookup answers from tab; ask is called for values whose answer is not known yet.
func lookup[T uint8 | uint16](v []T, tab []uint8, words int, in, out *bitmap, ask func(T) uint8) {
	for i, m := range in[:words] {
		if m == 0 {
			out[i] = 0
			continue
		}
		c := v[i*64 : min(i*64+64, len(v))]
		w, all := uint64(0), uint8(known)
		for j, x := range c {
			t := tab[x]
			w |= uint64(t&yes) << (j & 63)
			all &= t
		}
		if all&known == 0 {
			w = 0
			for r := m; r != 0; r &= r - 1 {
				j := bits.TrailingZeros64(r)
				if tab[c[j]] == 0 {
					tab[c[j]] = ask(c[j])
				}
				w |= uint64(tab[c[j]]&yes) << j
			}
		}
		out[i] = m & w
	}
}

func (n *tableNode) cost() float64 { return n.price }
func (n *tableNode) clone() node {
	return &tableNode{col: n.col, typ: n.typ, test: n.test.cloneTest(), how: n.how, written: n.written, machine: n.machine, price: n.price}
}
func (n *tableNode) explain(e *explanation) {
	e.machine = e.machine || n.machine
	e.add(n.how, n.written)
}

// textKernel: a comparison of a text column with a constant, row by row.
type textKernel struct {
	col     int
	test    *stringTest
	written string
}

func (n *textKernel) eval(b *sdk.Batch, words int, in, out *bitmap) {
	v := b.Bytes(n.col)
	for i, m := range in[:words] {
		var w uint64
		for r := m; r != 0; r &= r - 1 {
			j := bits.TrailingZeros64(r)
			w |= bit(n.test.str(view(v[i*64+j]))) << j
		}
		out[i] = w
	}
}
func (n *textKernel) cost() float64 {
	if n.test.re != nil {
		return 300
	}
	return 15
}
func (n *textKernel) clone() node            { return n }
func (n *textKernel) explain(e *explanation) { e.add("kernel", n.written) }

// view is b as a string, without a copy: valid as long as b is.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// listKernel: a number in a column of lists.
type listKernel struct {
	col     int
	k       uint32
	written string
}

func (n *listKernel) eval(b *sdk.Batch, words int, in, out *bitmap) {
	v := b.Bytes(n.col)
	for i, m := range in[:words] {
		var w uint64
		for r := m; r != 0; r &= r - 1 {
			j := bits.TrailingZeros64(r)
			list := v[i*64+j]
			for ; len(list) >= 4; list = list[4:] {
				if binary.LittleEndian.Uint32(list) == n.k {
					w |= 1 << j
					break
				}
			}
		}
		out[i] = w
	}
}
func (n *listKernel) cost() float64          { return 10 }
func (n *listKernel) clone() node            { return n }
func (n *listKernel) explain(e *explanation) { e.add("kernel", n.written) }
