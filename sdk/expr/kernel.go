package expr

import (
	"math/bits"

	"github.com/weirflow/weir/sdk"
)

// Kernels over one column of fixed width. They make 64 bits at a time, without branches, and skip words that are already empty.

type unsigned interface {
	~uint8 | ~uint16 | ~uint32 | ~uint64
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// span is the values v with v-first <= width: signed columns too, since subtraction wraps.
type span[T unsigned] struct{ first, width T }

func (s span[T]) has(v T) bool { return v-s.first <= s.width }

// word tests 64 values. Eight results meet in a byte first: 0.5 ns/row, a shift by a running number 0.8.
func (s span[T]) word(c *[64]T) (w uint64) {
	for i := 0; i < 64; i += 8 {
		p := (*[8]T)(c[i : i+8])
		x := bit(p[0]-s.first <= s.width) | bit(p[1]-s.first <= s.width)<<1 | bit(p[2]-s.first <= s.width)<<2 | bit(p[3]-s.first <= s.width)<<3 |
			bit(p[4]-s.first <= s.width)<<4 | bit(p[5]-s.first <= s.width)<<5 | bit(p[6]-s.first <= s.width)<<6 | bit(p[7]-s.first <= s.width)<<7
		w = w>>8 | x<<56
	}
	return w
}

// few is how many rows of a word are tested one by one rather than all 64.
const few = 8

// maxSpans is how many ranges are tested one after another; more are searched.
const maxSpans = 6

// rangeKernel: a column of integers in one of some ranges; every comparison with a constant is one.
type rangeKernel[T unsigned] struct {
	col     int
	spans   []span[T] // ascending, not touching; at most maxSpans
	written string
}

func (n *rangeKernel[T]) eval(b *sdk.Batch, words int, in, out *bitmap) {
	v := sdk.Values[T](b, n.col)
	for i, m := range in[:words] {
		if m == 0 {
			out[i] = 0
			continue
		}
		at := i * 64
		var w uint64
		if bits.OnesCount64(m) <= few {
			for r := m; r != 0; r &= r - 1 {
				j := bits.TrailingZeros64(r)
				x := v[at+j]
				for _, s := range n.spans {
					w |= bit(s.has(x)) << j
				}
			}
		} else if at+64 <= len(v) {
			c := (*[64]T)(v[at:])
			for _, s := range n.spans {
				w |= s.word(c)
			}
		} else {
			var c [64]T
			copy(c[:], v[at:])
			for _, s := range n.spans {
				w |= s.word(&c)
			}
		}
		out[i] = m & w
	}
}
func (n *rangeKernel[T]) cost() float64          { return 0.6 * float64(len(n.spans)) }
func (n *rangeKernel[T]) clone() node            { return n }
func (n *rangeKernel[T]) explain(e *explanation) { e.add("kernel", n.written) }

// searchKernel: a column of integers in one of many ranges.
type searchKernel[T unsigned] struct {
	col     int
	bias    T         // makes the order of a signed column that of an unsigned one
	spans   []span[T] // biased, ascending, not touching
	written string
}

func (n *searchKernel[T]) has(x T) bool {
	x += n.bias
	lo, hi := 0, len(n.spans)
	for lo < hi {
		if mid := int(uint(lo+hi) >> 1); n.spans[mid].first+n.spans[mid].width < x {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo < len(n.spans) && n.spans[lo].has(x)
}

func (n *searchKernel[T]) eval(b *sdk.Batch, words int, in, out *bitmap) {
	v := sdk.Values[T](b, n.col)
	for i, m := range in[:words] {
		var w uint64
		for r := m; r != 0; r &= r - 1 {
			j := bits.TrailingZeros64(r)
			w |= bit(n.has(v[i*64+j])) << j
		}
		out[i] = w
	}
}
func (n *searchKernel[T]) cost() float64          { return 10 }
func (n *searchKernel[T]) clone() node            { return n }
func (n *searchKernel[T]) explain(e *explanation) { e.add("kernel", n.written) }

// addrKernel: a column of addresses in a set.
type addrKernel struct {
	col     int
	set     *addrSet
	written string
}

func (n *addrKernel) eval(b *sdk.Batch, words int, in, out *bitmap) {
	if len(n.set.masks) == 0 {
		n.search(b, words, in, out)
		return
	}
	v := sdk.Values[[2]uint64](b, n.col)
	for i, m := range in[:words] {
		if m == 0 {
			out[i] = 0
			continue
		}
		var w uint64
		c := v[i*64 : min(i*64+64, len(v))]
		for _, k := range n.set.masks {
			for j := range c {
				w |= bit((c[j][0]&k.m0^k.k0)|(c[j][1]&k.m1^k.k1) == 0) << (j & 63)
			}
		}
		out[i] = m & w
	}
}

func (n *addrKernel) search(b *sdk.Batch, words int, in, out *bitmap) {
	v := sdk.Values[[16]byte](b, n.col)
	for i, m := range in[:words] {
		var w uint64
		for r := m; r != 0; r &= r - 1 {
			j := bits.TrailingZeros64(r)
			w |= bit(n.set.has(toU128(v[i*64+j]))) << j
		}
		out[i] = w
	}
}
func (n *addrKernel) cost() float64 {
	if k := len(n.set.masks); k > 0 {
		return float64(k)
	}
	return 12
}
func (n *addrKernel) clone() node            { return n }
func (n *addrKernel) explain(e *explanation) { e.add("kernel", n.written) }

// pairKernel: two columns of addresses that are equal.
type pairKernel struct {
	left, right int
	written     string
}

func (n *pairKernel) eval(b *sdk.Batch, words int, in, out *bitmap) {
	x, y := sdk.Values[[2]uint64](b, n.left), sdk.Values[[2]uint64](b, n.right)
	for i, m := range in[:words] {
		var w uint64
		for r := m; r != 0; r &= r - 1 {
			j := bits.TrailingZeros64(r)
			w |= bit(x[i*64+j] == y[i*64+j]) << j
		}
		out[i] = w
	}
}
func (n *pairKernel) cost() float64          { return 2 }
func (n *pairKernel) clone() node            { return n }
func (n *pairKernel) explain(e *explanation) { e.add("kernel", n.written) }
