package expr

import (
	"slices"

	"github.com/weirflow/weir/sdk"
)

// The skeleton of a condition: and, or, not, true, false.

// constNode is a part that holds for every row or for none.
type constNode struct {
	holds   bool
	written string
}

func (n constNode) eval(_ *sdk.Batch, words int, in, out *bitmap) {
	if !n.holds {
		clear(out[:words])
	} else if in != out {
		copy(out[:words], in[:words])
	}
}
func (constNode) cost() float64 { return 0 }
func (n constNode) clone() node { return n }
func (n constNode) explain(e *explanation) {
	if n.holds {
		e.add("always true", n.written)
	} else {
		e.add("never true", n.written)
	}
}

// andNode narrows: each part is evaluated for the rows that the parts before it have left.
type andNode struct{ parts []node }

func newAnd(parts []node) node {
	if slices.Contains(parts, nil) { // a problem was found
		return nil
	}
	slices.SortStableFunc(parts, byCost)
	return &andNode{parts: parts}
}

func byCost(a, b node) int {
	switch x, y := a.cost(), b.cost(); {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

func (n *andNode) eval(b *sdk.Batch, words int, in, out *bitmap) {
	for _, x := range n.parts {
		x.eval(b, words, in, out)
		in = out
	}
}
func (n *andNode) cost() float64 { return total(n.parts) }
func (n *andNode) clone() node   { return &andNode{parts: cloned(n.parts)} }
func (n *andNode) explain(e *explanation) {
	for _, x := range n.parts {
		x.explain(e)
	}
}

// orNode evaluates each part for the rows that the parts before it have not found.
type orNode struct {
	parts             []node
	left, found, some bitmap
}

func newOr(parts []node) node {
	if slices.Contains(parts, nil) { // a problem was found
		return nil
	}
	slices.SortStableFunc(parts, byCost)
	return &orNode{parts: parts}
}

func (n *orNode) eval(b *sdk.Batch, words int, in, out *bitmap) {
	copy(n.left[:words], in[:words])
	clear(n.found[:words])
	for _, x := range n.parts {
		x.eval(b, words, &n.left, &n.some)
		for i, w := range n.some[:words] {
			n.found[i] |= w
			n.left[i] &^= w
		}
	}
	copy(out[:words], n.found[:words])
}
func (n *orNode) cost() float64 { return total(n.parts) }
func (n *orNode) clone() node   { return &orNode{parts: cloned(n.parts)} }
func (n *orNode) explain(e *explanation) {
	for _, x := range n.parts {
		x.explain(e)
	}
}

// newNot is not x; nil if x is.
func newNot(x node) node {
	switch x := x.(type) {
	case nil:
		return nil
	case constNode:
		return constNode{!x.holds, x.written}
	}
	return &notNode{x: x}
}

type notNode struct {
	x     node
	holds bitmap
}

func (n *notNode) eval(b *sdk.Batch, words int, in, out *bitmap) {
	n.x.eval(b, words, in, &n.holds)
	for i, w := range in[:words] {
		out[i] = w &^ n.holds[i]
	}
}
func (n *notNode) cost() float64          { return n.x.cost() }
func (n *notNode) clone() node            { return &notNode{x: n.x.clone()} }
func (n *notNode) explain(e *explanation) { n.x.explain(e) }

func total(parts []node) (c float64) {
	for _, x := range parts {
		c += x.cost()
	}
	return c
}

func cloned(parts []node) []node {
	out := make([]node, len(parts))
	for i, x := range parts {
		out[i] = x.clone()
	}
	return out
}
