package expr

import (
	"math"

	"github.com/weirflow/weir/sdk"
)

// Arithmetic and comparisons of columns with each other: 64 rows at a time, through buffers that stay in the first-level cache.

// vec gives the values of rows at..at+64 (fewer at the end of a batch: the rest is undefined).
type vec[T numeric] interface {
	load(b *sdk.Batch, at int, dst *[64]T)
	cloneVec() vec[T]
}

type numeric interface{ ~int64 | ~float64 }

type constVec[T numeric] struct{ k T }

func (v constVec[T]) load(_ *sdk.Batch, _ int, dst *[64]T) {
	for i := range dst {
		dst[i] = v.k
	}
}
func (v constVec[T]) cloneVec() vec[T] { return v }

// intVec is a column of integers; uint64 above 2^63-1 is 2^63-1.
type intVec[T unsigned] struct {
	col   int
	clamp bool
}

func (v intVec[T]) load(b *sdk.Batch, at int, dst *[64]int64) {
	c := sdk.Values[T](b, v.col)[at:]
	c = c[:min(64, len(c))]
	if v.clamp {
		for i, x := range c {
			dst[i] = int64(min(uint64(x), math.MaxInt64))
		}
		return
	}
	for i, x := range c {
		dst[i] = int64(x)
	}
}
func (v intVec[T]) cloneVec() vec[int64] { return v }

// lenVec is the number of elements of a column of lists or bytes.
type lenVec struct{ col, width int }

func (v lenVec) load(b *sdk.Batch, at int, dst *[64]int64) {
	c := b.Bytes(v.col)[at:]
	for i, x := range c[:min(64, len(c))] {
		dst[i] = int64(len(x) / v.width)
	}
}
func (v lenVec) cloneVec() vec[int64] { return v }

type floatVec struct{ col int }

func (v floatVec) load(b *sdk.Batch, at int, dst *[64]float64) {
	copy(dst[:], sdk.Values[float64](b, v.col)[at:])
}
func (v floatVec) cloneVec() vec[float64] { return v }

// toFloat is a vector of integers as floats.
type toFloat struct {
	x   vec[int64]
	tmp [64]int64
}

func (v *toFloat) load(b *sdk.Batch, at int, dst *[64]float64) {
	v.x.load(b, at, &v.tmp)
	for i, x := range v.tmp {
		dst[i] = float64(x)
	}
}
func (v *toFloat) cloneVec() vec[float64] { return &toFloat{x: v.x.cloneVec()} }

// mathVec applies an operator to two vectors.
type mathVec[T numeric] struct {
	l, r  vec[T]
	apply func(l, r *[64]T) // into l
	tmp   [64]T
}

func (v *mathVec[T]) load(b *sdk.Batch, at int, dst *[64]T) {
	v.l.load(b, at, dst)
	v.r.load(b, at, &v.tmp)
	v.apply(dst, &v.tmp)
}
func (v *mathVec[T]) cloneVec() vec[T] {
	return &mathVec[T]{l: v.l.cloneVec(), r: v.r.cloneVec(), apply: v.apply}
}

func add[T numeric](l, r *[64]T) {
	for i := range l {
		l[i] += r[i]
	}
}

func sub[T numeric](l, r *[64]T) {
	for i := range l {
		l[i] -= r[i]
	}
}

func mul[T numeric](l, r *[64]T) {
	for i := range l {
		l[i] *= r[i]
	}
}

func div(l, r *[64]float64) {
	for i := range l {
		l[i] /= r[i]
	}
}

// mod is for a divisor that is a constant other than 0.
func mod(l, r *[64]int64) {
	for i := range l {
		if r[i] != 0 {
			l[i] %= r[i]
		}
	}
}

func bitAnd(l, r *[64]int64) {
	for i := range l {
		l[i] &= r[i]
	}
}

func bitOr(l, r *[64]int64) {
	for i := range l {
		l[i] |= r[i]
	}
}

func bitXor(l, r *[64]int64) {
	for i := range l {
		l[i] ^= r[i]
	}
}

// timeDiff is the duration between two times, the longest there is where it does not fit, as time.Time.Sub has it.
func timeDiff(l, r *[64]int64) {
	for i := range l {
		d := l[i] - r[i]
		if (l[i] < r[i]) != (d < 0) {
			d = math.MaxInt64
			if l[i] < r[i] {
				d = math.MinInt64
			}
		}
		l[i] = d
	}
}

// cmpNode compares two vectors.
type cmpNode[T numeric] struct {
	op      string
	l, r    vec[T]
	a, b    [64]T
	written string
}

func (n *cmpNode[T]) eval(b *sdk.Batch, words int, in, out *bitmap) {
	for i, m := range in[:words] {
		if m == 0 {
			out[i] = 0
			continue
		}
		n.l.load(b, i*64, &n.a)
		n.r.load(b, i*64, &n.b)
		out[i] = m & n.word()
	}
}

func (n *cmpNode[T]) word() (w uint64) {
	x, y := &n.a, &n.b
	switch n.op {
	case "==":
		for j := range x {
			w |= bit(x[j] == y[j]) << (j & 63)
		}
	case "!=":
		for j := range x {
			w |= bit(x[j] != y[j]) << (j & 63)
		}
	case "<":
		for j := range x {
			w |= bit(x[j] < y[j]) << (j & 63)
		}
	case "<=":
		for j := range x {
			w |= bit(x[j] <= y[j]) << (j & 63)
		}
	case ">":
		for j := range x {
			w |= bit(x[j] > y[j]) << (j & 63)
		}
	case ">=":
		for j := range x {
			w |= bit(x[j] >= y[j]) << (j & 63)
		}
	}
	return w
}
func (n *cmpNode[T]) cost() float64 { return 5 }
func (n *cmpNode[T]) clone() node {
	return &cmpNode[T]{op: n.op, l: n.l.cloneVec(), r: n.r.cloneVec(), written: n.written}
}
func (n *cmpNode[T]) explain(e *explanation) { e.add("kernel", n.written) }
