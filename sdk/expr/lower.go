package expr

import (
	"math"
	"reflect"
	"regexp"
	"slices"
	"time"

	"github.com/expr-lang/expr/ast"

	"github.com/weirflow/weir/sdk"
)

var (
	intType   = reflect.TypeFor[int]()
	floatType = reflect.TypeFor[float64]()
	timeType  = reflect.TypeFor[time.Time]()
)

// lower finds the kernel for a checked comparison; nil if there is none.
func (c *compilation) lower(n ast.Node, written string) node {
	switch x := n.(type) {
	case *ast.BoolNode:
		return constNode{x.Value, written}
	case *ast.CallNode:
		return c.lowerCall(x, written)
	case *ast.BinaryNode:
		switch x.Operator {
		case "==", "!=", "<", "<=", ">", ">=":
			return c.lowerComparison(x, written)
		case "in":
			return c.lowerIn(x, written)
		case "contains", "startsWith", "endsWith", "matches":
			if k, ok := x.Right.(*ast.StringNode); ok {
				return c.stringKernel(x.Left, x.Operator, k.Value, written)
			}
		}
	}
	return nil
}

func (c *compilation) lowerCall(x *ast.CallNode, written string) node {
	id, ok := x.Callee.(*ast.IdentifierNode)
	if !ok || len(x.Arguments) != 2 {
		return nil
	}
	k, ok := x.Arguments[1].(*ast.ConstantNode)
	if !ok {
		return nil
	}
	switch id.Value {
	case fnAddrIn:
		return &addrKernel{col: c.index(x.Arguments[0]), set: k.Value.(*addrSet), written: written}
	case fnMACIn:
		var rs []intRange
		for _, m := range k.Value.([]uint64) {
			rs = append(rs, intRange{int64(m), int64(m)})
		}
		return c.integers(x.Arguments[0], rs, written)
	}
	return nil
}

// index is the position of the column that n names, -1 if it names none.
func (c *compilation) index(n ast.Node) int {
	if id, ok := n.(*ast.IdentifierNode); ok {
		return c.schema.Index(id.Value)
	}
	return -1
}

var mirrored = map[string]string{"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}

func isComparison(op string) bool { return mirrored[op] != "" }

func (c *compilation) lowerComparison(x *ast.BinaryNode, written string) node {
	l, r, op := x.Left, x.Right, x.Operator
	if c.index(l) < 0 && c.index(r) >= 0 {
		l, r, op = r, l, mirrored[op]
	}
	if f, ok := c.column(l); ok {
		switch f.Type {
		case sdk.Addr:
			return negated(op == "!=", &pairKernel{left: c.index(l), right: c.index(r), written: written})
		case sdk.MAC:
			a, b := intVec[uint64]{col: c.index(l)}, intVec[uint64]{col: c.index(r)}
			return &cmpNode[int64]{op: op, l: a, r: b, written: written}
		case sdk.Name, sdk.Text:
			if k, ok := r.(*ast.StringNode); ok && (op == "==" || op == "!=") {
				return negated(op == "!=", c.stringKernel(l, "==", k.Value, written))
			}
			return nil
		}
		if k, ok := intConst(r); ok && (l.Type() == intType || l.Type() == timeType) {
			return c.compareConst(l, op, k, written)
		}
	}
	if a, ok := c.ints(l); ok {
		if b, ok := c.ints(r); ok {
			return &cmpNode[int64]{op: op, l: a, r: b, written: written}
		}
	}
	if a, ok := c.floats(l); ok {
		if b, ok := c.floats(r); ok {
			return &cmpNode[float64]{op: op, l: a, r: b, written: written}
		}
	}
	return nil
}

func negated(not bool, x node) node {
	if not {
		return newNot(x)
	}
	return x
}

// compareConst is a comparison of a column of integers with a constant.
func (c *compilation) compareConst(l ast.Node, op string, k int64, written string) node {
	r := intRange{math.MinInt64, math.MaxInt64}
	switch op {
	case "==":
		r = intRange{k, k}
	case "!=":
		return negated(true, c.integers(l, []intRange{{k, k}}, written))
	case "<", ">=":
		r.last = k - 1
		if k == math.MinInt64 {
			return constNode{op == ">=", written}
		}
		return negated(op == ">=", c.integers(l, []intRange{r}, written))
	case "<=":
		r.last = k
	case ">":
		r.last = k
		return negated(true, c.integers(l, []intRange{r}, written))
	}
	return c.integers(l, []intRange{r}, written)
}

func (c *compilation) lowerIn(x *ast.BinaryNode, written string) node {
	if f, ok := c.column(x.Right); ok && f.Type == sdk.Uint32s {
		if k, ok := intConst(x.Left); ok {
			if k < 0 || k > math.MaxUint32 {
				return constNode{false, written}
			}
			return &listKernel{col: c.index(x.Right), k: uint32(k), written: written}
		}
		return nil
	}
	f, ok := c.column(x.Left)
	if !ok {
		return nil
	}
	if b, ok := x.Right.(*ast.BinaryNode); ok && b.Operator == ".." && x.Left.Type() == intType {
		lo, ok1 := intConst(b.Left)
		hi, ok2 := intConst(b.Right)
		if !ok1 || !ok2 {
			return nil
		}
		return c.integers(x.Left, []intRange{{lo, hi}}, written)
	}
	list, ok := x.Right.(*ast.ArrayNode)
	if !ok {
		return nil
	}
	if f.Type == sdk.Name || f.Type == sdk.Text {
		return c.stringSet(x.Left, list, written)
	}
	if x.Left.Type() != intType {
		return nil
	}
	var rs []intRange
	for _, e := range list.Nodes {
		k, ok := intConst(e)
		if !ok {
			return nil
		}
		rs = append(rs, intRange{k, k})
	}
	return c.integers(x.Left, rs, written)
}

func (c *compilation) stringSet(column ast.Node, list *ast.ArrayNode, written string) node {
	t := &stringTest{op: "in", set: map[string]bool{}}
	for _, e := range list.Nodes {
		s, ok := e.(*ast.StringNode)
		if !ok {
			return nil
		}
		t.set[s.Value] = true
	}
	return c.testColumn(column, t, written)
}

// stringKernel is nil unless l is a column of strings.
func (c *compilation) stringKernel(l ast.Node, op, k, written string) node {
	t := &stringTest{op: op, k: k}
	if op == "matches" {
		re, err := regexp.Compile(k)
		if err != nil {
			return nil // reported where literals are
		}
		t.re = re
	}
	return c.testColumn(l, t, written)
}

func (c *compilation) testColumn(column ast.Node, t *stringTest, written string) node {
	switch f, _ := c.column(column); f.Type {
	case sdk.Name:
		return &tableNode{col: c.index(column), typ: sdk.Name, test: t, how: "kernel, once per value of " + f.Name, written: written, price: 1}
	case sdk.Text:
		return &textKernel{col: c.index(column), test: t, written: written}
	}
	return nil
}

// intRange is first..last inclusive; empty if last < first.
type intRange struct{ first, last int64 }

// integers is "the column of integers is in one of the ranges".
func (c *compilation) integers(column ast.Node, rs []intRange, written string) node {
	f, _ := c.column(column)
	col := c.index(column)
	switch f.Type {
	case sdk.Uint8:
		return spans[uint8](col, clip(rs, 0, math.MaxUint8), 0, written)
	case sdk.Uint16:
		return spans[uint16](col, clip(rs, 0, math.MaxUint16), 0, written)
	case sdk.Uint32:
		return spans[uint32](col, clip(rs, 0, math.MaxUint32), 0, written)
	case sdk.Uint64, sdk.MAC:
		return spans[uint64](col, clip(rs, 0, math.MaxInt64), 0, written)
	case sdk.Int64, sdk.Timestamp:
		return spans[uint64](col, clip(rs, math.MinInt64, math.MaxInt64), 1<<63, written)
	}
	return nil
}

// clip cuts ranges to what the column can hold, sorts them and joins those that touch.
func clip(rs []intRange, lowest, highest int64) []intRange {
	var in []intRange
	for _, r := range rs {
		r.first, r.last = max(r.first, lowest), min(r.last, highest)
		if r.first <= r.last {
			in = append(in, r)
		}
	}
	slices.SortFunc(in, func(a, b intRange) int {
		if a.first < b.first {
			return -1
		}
		return 1
	})
	out := in[:0]
	for _, r := range in {
		if n := len(out); n > 0 && (out[n-1].last == math.MaxInt64 || r.first <= out[n-1].last+1) {
			out[n-1].last = max(out[n-1].last, r.last)
			continue
		}
		out = append(out, r)
	}
	return out
}

func spans[T unsigned](col int, rs []intRange, bias T, written string) node {
	if len(rs) == 0 {
		return constNode{false, written}
	}
	var ss []span[T]
	for _, r := range rs {
		s := span[T]{T(r.first), T(r.last - r.first)}
		// The largest integer stands for all uint64 above it.
		if r.last == math.MaxInt64 && bias == 0 {
			s.width = ^T(0) - s.first
		}
		ss = append(ss, s)
	}
	if len(ss) <= maxSpans {
		return &rangeKernel[T]{col: col, spans: ss, written: written}
	}
	for i := range ss {
		ss[i].first += bias
	}
	return &searchKernel[T]{col: col, bias: bias, spans: ss, written: written}
}

// intConst is the value of a constant integer, time (ns since the epoch) or duration (ns).
func intConst(n ast.Node) (int64, bool) {
	switch x := n.(type) {
	case *ast.IntegerNode:
		return int64(x.Value), true
	case *ast.ConstantNode:
		if t, ok := x.Value.(time.Time); ok {
			return t.UnixNano(), true
		}
	case *ast.UnaryNode:
		k, ok := intConst(x.Node)
		if ok && x.Operator == "-" {
			return -k, true
		}
		return k, ok && x.Operator == "+"
	case *ast.BuiltinNode:
		if x.Name == "duration" && len(x.Arguments) == 1 {
			if s, ok := x.Arguments[0].(*ast.StringNode); ok {
				if d, err := time.ParseDuration(s.Value); err == nil {
					return int64(d), true
				}
			}
		}
	case *ast.BinaryNode:
		l, ok1 := intConst(x.Left)
		r, ok2 := intConst(x.Right)
		if !ok1 || !ok2 || x.Left.Type() != intType || x.Right.Type() != intType {
			return 0, false
		}
		switch x.Operator {
		case "+":
			return l + r, true
		case "-":
			return l - r, true
		case "*":
			return l * r, true
		}
	}
	return 0, false
}

// ints is n as a vector of integers; times and durations are in ns.
func (c *compilation) ints(n ast.Node) (vec[int64], bool) {
	if k, ok := intConst(n); ok {
		return constVec[int64]{k}, true
	}
	switch x := n.(type) {
	case *ast.IdentifierNode:
		return c.intColumn(x)
	case *ast.BinaryNode:
		return c.intMath(x.Operator, x.Left, x.Right)
	case *ast.BuiltinNode:
		switch {
		case len(x.Arguments) == 2 && (x.Name == "bitand" || x.Name == "bitor" || x.Name == "bitxor"):
			return c.intMath(x.Name, x.Arguments[0], x.Arguments[1])
		case x.Name == "len" && len(x.Arguments) == 1:
			switch f, _ := c.column(x.Arguments[0]); f.Type {
			case sdk.Bytes:
				return lenVec{c.index(x.Arguments[0]), 1}, true
			case sdk.Uint32s:
				return lenVec{c.index(x.Arguments[0]), 4}, true
			}
		}
	}
	return nil, false
}

func (c *compilation) intColumn(x *ast.IdentifierNode) (vec[int64], bool) {
	col := c.index(x)
	switch f, _ := c.column(x); f.Type {
	case sdk.Uint8:
		return intVec[uint8]{col: col}, true
	case sdk.Uint16:
		return intVec[uint16]{col: col}, true
	case sdk.Uint32:
		return intVec[uint32]{col: col}, true
	case sdk.Uint64:
		return intVec[uint64]{col: col, clamp: true}, true
	case sdk.Int64, sdk.Timestamp:
		return intVec[uint64]{col: col}, true
	}
	return nil, false
}

func (c *compilation) intMath(op string, left, right ast.Node) (vec[int64], bool) {
	l, ok1 := c.ints(left)
	r, ok2 := c.ints(right)
	if !ok1 || !ok2 {
		return nil, false
	}
	var apply func(l, r *[64]int64)
	switch lt, rt := left.Type(), right.Type(); {
	case lt == timeType && rt == timeType && op == "-":
		apply = timeDiff
	case lt != intType || rt != intType:
		return nil, false
	case op == "%":
		if k, ok := intConst(right); !ok || k == 0 {
			return nil, false
		}
		apply = mod
	default:
		apply = map[string]func(l, r *[64]int64){"+": add[int64], "-": sub[int64], "*": mul[int64], "bitand": bitAnd, "bitor": bitOr, "bitxor": bitXor}[op]
	}
	if apply == nil {
		return nil, false
	}
	return &mathVec[int64]{l: l, r: r, apply: apply}, true
}

// floats is n as a vector of floats, integers converted.
func (c *compilation) floats(n ast.Node) (vec[float64], bool) {
	if n.Type() == intType {
		x, ok := c.ints(n)
		return &toFloat{x: x}, ok
	}
	if n.Type() != floatType {
		return nil, false
	}
	switch x := n.(type) {
	case *ast.FloatNode:
		return constVec[float64]{x.Value}, true
	case *ast.UnaryNode:
		if k, ok := x.Node.(*ast.FloatNode); ok && x.Operator == "-" {
			return constVec[float64]{-k.Value}, true
		}
	case *ast.IdentifierNode:
		return floatVec{c.index(x)}, true
	case *ast.BinaryNode:
		apply := map[string]func(l, r *[64]float64){"+": add[float64], "-": sub[float64], "*": mul[float64], "/": div}[x.Operator]
		l, ok1 := c.floats(x.Left)
		r, ok2 := c.floats(x.Right)
		if apply != nil && ok1 && ok2 {
			return &mathVec[float64]{l: l, r: r, apply: apply}, true
		}
	}
	return nil, false
}
