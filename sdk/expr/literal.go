package expr

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/conf"

	exprlang "github.com/expr-lang/expr"

	"github.com/weirflow/weir/sdk"
)

// Functions that literals become. Their names cannot be written in an expression.
const (
	hidden    = '\x00'
	fnAddrIn  = "\x00addr_in"
	fnMACIn   = "\x00mac_in"
	fnPrivate = "private"
)

func addFunctions(cfg *conf.Config) {
	for _, f := range []exprlang.Option{
		exprlang.Function(fnAddrIn, func(p ...any) (any, error) { return p[1].(*addrSet).contains(p[0].(addr).As16()), nil }, new(func(addr, *addrSet) bool)),
		exprlang.Function(fnMACIn, func(p ...any) (any, error) { return slices.Contains(p[1].([]uint64), p[0].(mac).bits), nil }, new(func(mac, []uint64) bool)),
		exprlang.Function(fnPrivate, func(p ...any) (any, error) { return privateNets.contains(p[0].(addr).As16()), nil }, new(func(addr) bool)),
	} {
		f(cfg)
	}
}

// literals replaces what is written as a string beside a column of addresses, times or protocols by its value, and reports
// what cannot be.
func (c *compilation) literals(n *ast.Node) { ast.Walk(n, (*literals)(c)) }

type literals compilation

func (v *literals) Visit(n *ast.Node) {
	c := (*compilation)(v)
	switch x := (*n).(type) {
	case *ast.CallNode:
		id, ok := x.Callee.(*ast.IdentifierNode)
		if ok && id.Value == fnPrivate && len(x.Arguments) == 1 && c.isColumn(x.Arguments[0], sdk.Addr) {
			ast.Patch(n, call(fnAddrIn, x.Arguments[0], privateNets))
		}
	case *ast.BuiltinNode:
		c.constant(x)
	case *ast.UnaryNode:
		unsignedZero(n)
	case *ast.BinaryNode:
		unsignedZero(n)
		c.pattern(x)
		left, right := x.Left, x.Right
		if _, ok := c.column(left); !ok && x.Operator != "in" {
			left, right = right, left // "10.0.0.1" == src_addr
		}
		f, ok := c.column(left)
		if !ok {
			return
		}
		switch {
		case f.Type == sdk.Addr:
			c.address(n, x, f, left, right)
		case f.Type == sdk.MAC:
			c.mac(n, x, f, left, right)
		case f.Type == sdk.Timestamp:
			c.time(x, f)
		case f.Name == "protocol" && f.Type != sdk.Name && f.Type != sdk.Text:
			c.protocol(x)
		}
	}
}

// unsignedZero makes a constant part that comes to -0, as 0.0 / -2.0 does, 0. The virtual machine keeps one of the two for both,
// whichever comes first in the expression, so that x / (0.0 / -2.0) had the sign of an infinity from another comparison.
func unsignedZero(n *ast.Node) {
	if v, isFloat, ok := constantFloat(*n); ok && isFloat && v == 0 && math.Signbit(v) {
		ast.Patch(n, &ast.FloatNode{})
	}
}

// constantFloat is the value of arithmetic over constants, and whether it is a float: integers divide to one.
func constantFloat(n ast.Node) (v float64, isFloat, ok bool) {
	switch x := n.(type) {
	case *ast.FloatNode:
		return x.Value, true, true
	case *ast.IntegerNode:
		return float64(x.Value), false, true
	case *ast.UnaryNode:
		v, isFloat, ok = constantFloat(x.Node)
		return -v, isFloat, ok && x.Operator == "-"
	case *ast.BinaryNode:
		l, f1, ok1 := constantFloat(x.Left)
		r, f2, ok2 := constantFloat(x.Right)
		if !ok1 || !ok2 {
			return 0, false, false
		}
		switch x.Operator {
		case "+":
			return l + r, f1 || f2, true
		case "-":
			return l - r, f1 || f2, true
		case "*":
			return l * r, f1 || f2, true
		case "/":
			return l / r, true, true
		}
	}
	return 0, false, false
}

func call(fn string, column ast.Node, set any) ast.Node {
	k := &ast.ConstantNode{Value: set}
	k.SetLocation(column.Location())
	id := &ast.IdentifierNode{Value: fn}
	id.SetLocation(column.Location())
	return &ast.CallNode{Callee: id, Arguments: []ast.Node{column, k}}
}

// column is the field that n names.
func (c *compilation) column(n ast.Node) (sdk.Field, bool) {
	if id, ok := n.(*ast.IdentifierNode); ok {
		if i := c.schema.Index(id.Value); i >= 0 {
			return c.schema.Field(i), true
		}
	}
	return sdk.Field{}, false
}

func (c *compilation) isColumn(n ast.Node, t sdk.Type) bool {
	f, ok := c.column(n)
	return ok && f.Type == t
}

// at is the byte offset of n.
func (c *compilation) at(n ast.Node) int { return c.offset(n.Location().From) }

// pattern checks the regular expression of a `matches`.
func (c *compilation) pattern(x *ast.BinaryNode) {
	if x.Operator != "matches" {
		return
	}
	s, ok := x.Right.(*ast.StringNode)
	if !ok {
		c.problem(c.at(x.Right), "the pattern of `matches` must be written out as a string", "to compare two columns use `contains`, `startsWith` or `endsWith`")
		return
	}
	if _, err := regexp.Compile(s.Value); err != nil {
		why := "it cannot be read"
		if e, ok := errors.AsType[*syntax.Error](err); ok {
			why = string(e.Code)
		}
		c.problem(c.at(s), fmt.Sprintf("%s is not a regular expression: %s", quoted(s.Value), why), "the syntax is Go's: https://pkg.go.dev/regexp/syntax")
	}
}

// constant checks what is asked of a duration, date or time zone that is written out: at run time it would fail for every row.
func (c *compilation) constant(x *ast.BuiltinNode) {
	help := map[string]string{"duration": "write duration(\"1h30m\"), with ns, us, ms, s, m or h", "date": "write date(\"2026-01-01\") or date(\"2026-01-01T00:00:00Z\")",
		"timezone": "write a name such as timezone(\"Europe/Berlin\")"}[x.Name]
	if help == "" || len(x.Arguments) == 0 {
		return
	}
	var args []any
	for _, a := range x.Arguments {
		s, ok := a.(*ast.StringNode)
		if !ok {
			return
		}
		args = append(args, s.Value)
	}
	if _, err := builtin.Builtins[builtin.Index[x.Name]].Func(args...); err != nil {
		c.problem(c.at(x.Arguments[0]), fmt.Sprintf("%s is not a %s", cited(args[0].(string)), strings.Replace(x.Name, "timezone", "time zone", 1)), help)
	}
}

// literalStrings is one string literal or a list of them.
func literalStrings(n ast.Node) ([]*ast.StringNode, bool) {
	switch x := n.(type) {
	case *ast.StringNode:
		return []*ast.StringNode{x}, true
	case *ast.ArrayNode:
		var out []*ast.StringNode
		for _, e := range x.Nodes {
			s, ok := e.(*ast.StringNode)
			if !ok {
				return nil, false
			}
			out = append(out, s)
		}
		return out, true
	}
	return nil, false
}

func (c *compilation) address(n *ast.Node, x *ast.BinaryNode, f sdk.Field, left, right ast.Node) {
	equal := x.Operator == "==" || x.Operator == "!="
	if equal && c.isColumn(right, sdk.Addr) {
		return
	}
	list, ok := literalStrings(right)
	if _, one := right.(*ast.StringNode); !ok || !(x.Operator == "in" || equal && one) {
		c.problem(c.at(x), fmt.Sprintf("%s is an address: it goes with == and != an address or `in` networks", quoted(f.Name)),
			fmt.Sprintf("%s in [\"10.0.0.0/8\", \"2001:db8::/32\"]", f.Name))
		return
	}
	var set addrSet
	for _, s := range list {
		p, err := parseNet(s.Value)
		switch {
		case err != nil:
			c.problem(c.at(s), fmt.Sprintf("%s is not an IP address or network", cited(s.Value)), "write 10.0.0.1, 10.0.0.0/8, 2001:db8::1 or 2001:db8::/32")
		case equal && !p.single:
			c.problem(c.at(s), fmt.Sprintf("%s is a network, not an address", cited(s.Value)), fmt.Sprintf("%s in %q", f.Name, s.Value))
		default:
			set.add(p)
		}
	}
	set.seal()
	var y ast.Node = call(fnAddrIn, left, &set)
	y.SetLocation(x.Location())
	if x.Operator == "!=" {
		y = &ast.UnaryNode{Operator: "not", Node: y}
	}
	ast.Patch(n, y)
}

func (c *compilation) mac(n *ast.Node, x *ast.BinaryNode, f sdk.Field, left, right ast.Node) {
	equal := x.Operator == "==" || x.Operator == "!="
	if equal && c.isColumn(right, sdk.MAC) {
		return
	}
	list, ok := literalStrings(right)
	_, one := right.(*ast.StringNode)
	if !ok || one != equal || !(equal || x.Operator == "in") {
		c.problem(c.at(x), fmt.Sprintf("%s is a MAC address: it goes with ==, != and `in [...]`", quoted(f.Name)),
			fmt.Sprintf("%s == \"00:11:22:33:44:55\"", f.Name))
		return
	}
	set := []uint64{}
	for _, s := range list {
		m, err := net.ParseMAC(s.Value)
		if err != nil || len(m) != 6 {
			c.problem(c.at(s), fmt.Sprintf("%s is not a MAC address", cited(s.Value)), "write 00:11:22:33:44:55")
			continue
		}
		set = append(set, uint64(m[0])<<40|uint64(m[1])<<32|uint64(m[2])<<24|uint64(m[3])<<16|uint64(m[4])<<8|uint64(m[5]))
	}
	var y ast.Node = call(fnMACIn, left, set)
	y.SetLocation(x.Location())
	if x.Operator == "!=" {
		y = &ast.UnaryNode{Operator: "not", Node: y}
	}
	ast.Patch(n, y)
}

// Times that an int64 of nanoseconds can hold.
var minTime, maxTime = time.Unix(0, -1<<63).UTC(), time.Unix(0, 1<<63-1).UTC()

func (c *compilation) time(x *ast.BinaryNode, f sdk.Field) {
	side := &x.Right
	s, ok := x.Right.(*ast.StringNode)
	if !ok {
		side = &x.Left
		if s, ok = x.Left.(*ast.StringNode); !ok {
			return
		}
	}
	if !isComparison(x.Operator) {
		c.problem(c.at(x), fmt.Sprintf("%s is a time: it goes with == != < <= > >=", quoted(f.Name)), fmt.Sprintf("%s > \"2026-01-01T00:00:00Z\"", f.Name))
		return
	}
	t, err := time.Parse(time.RFC3339Nano, s.Value)
	if err != nil {
		t, err = time.Parse(time.DateOnly, s.Value)
	}
	if err != nil || t.Before(minTime) || t.After(maxTime) {
		c.problem(c.at(s), fmt.Sprintf("%s is not a time between 1678 and 2262", cited(s.Value)), "write 2026-01-01T00:00:00Z (RFC 3339) or 2026-01-01")
		return
	}
	ast.Patch(side, &ast.ConstantNode{Value: t.UTC()})
}

// protocols are the IANA assigned protocol numbers that people write by name.
var protocols = map[string]int{"icmp": 1, "igmp": 2, "ipip": 4, "tcp": 6, "udp": 17, "ipv6": 41, "gre": 47, "esp": 50, "ah": 51,
	"icmp6": 58, "ospf": 89, "pim": 103, "vrrp": 112, "l2tp": 115, "sctp": 132}

func (c *compilation) protocol(x *ast.BinaryNode) {
	if x.Operator != "==" && x.Operator != "!=" && x.Operator != "in" {
		return
	}
	replace := func(n *ast.Node) {
		s, ok := (*n).(*ast.StringNode)
		if !ok {
			return
		}
		p, ok := protocols[strings.ToLower(s.Value)]
		if !ok {
			var known []string
			for name := range protocols {
				known = append(known, name)
			}
			c.problem(c.at(s), fmt.Sprintf("no protocol %s", cited(s.Value)), cmp.Or(didYouMean(s.Value, known), "write its number"))
			return
		}
		ast.Patch(n, &ast.IntegerNode{Value: p})
	}
	replace(&x.Left)
	replace(&x.Right)
	if a, ok := x.Right.(*ast.ArrayNode); ok {
		for i := range a.Nodes {
			replace(&a.Nodes[i])
		}
	}
}
