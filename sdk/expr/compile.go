package expr

import (
	"cmp"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/checker"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"

	"github.com/weirflow/weir/sdk"
)

// Limits of an expression.
const (
	MaxText  = 64 << 10 // bytes
	MaxNodes = 4096     // of the syntax tree
)

// Codes of problems, as `weir explain` knows them.
const (
	codeColumn     = "E401" // no such column
	codeExpression = "E403" // anything else
)

// Kind is the kind of value an expression must have.
type Kind uint8

// Bool is a condition.
const Bool Kind = 1

// Compile checks text against schema and compiles it. The error is [sdk.Problems]; their offsets lie inside text. The program
// evaluates batches of schema, or of one equal to it.
func Compile(text sdk.Expr, schema *sdk.Schema, want Kind) (*Program, error) {
	if want != Bool {
		panic(fmt.Sprintf("expr: no expressions of kind %d", want))
	}
	return compile(string(text), schema, kernels)
}

// Columns lists the columns that text reads, sorted, without a schema to check them against. The error is [sdk.Problems].
func Columns(text sdk.Expr) ([]string, error) {
	c := newCompiler(string(text), nil)
	tree := c.parse()
	if tree == nil {
		return nil, c.problems
	}
	c.resolve(&tree.Node)
	if len(c.problems) > 0 {
		return nil, c.sorted()
	}
	return slices.Sorted(maps.Keys(c.columns)), nil
}

// mode says what may be evaluated by what: the other two are what the first is tested against.
type mode int

const (
	kernels  mode = iota
	leavesVM      // each comparison by the virtual machine, row by row
	wholeVM       // the whole expression
)

type compilation struct {
	text     string
	schema   *sdk.Schema // nil: names are not checked
	cfg      *conf.Config
	source   file.Source
	columns  map[string]bool
	problems sdk.Problems
	env      *envType
	mode     mode
}

func newCompiler(text string, schema *sdk.Schema) *compilation {
	c := &compilation{text: text, schema: schema, cfg: conf.CreateNew(), columns: map[string]bool{}}
	c.cfg.MaxNodes = MaxNodes
	c.cfg.Disabled["now"] = true
	delete(c.cfg.Builtins, "now")
	addFunctions(c.cfg)
	return c
}

func compile(text string, schema *sdk.Schema, m mode) (*Program, error) {
	c := newCompiler(text, schema)
	c.mode = m
	tree := c.parse()
	if tree == nil {
		return nil, c.problems
	}
	c.resolve(&tree.Node)
	if len(c.problems) > 0 {
		return nil, c.sorted()
	}
	c.env = newEnvType(schema, c.columns)
	c.cfg.WithEnv(c.env.zero())
	root := c.condition(tree.Node)
	if len(c.problems) > 0 {
		return nil, c.sorted()
	}
	return &Program{schema: schema, root: root}, nil
}

// parse returns nil after a problem.
func (c *compilation) parse() *parser.Tree {
	if len(c.text) > MaxText {
		c.problem(0, fmt.Sprintf("the expression is longer than %d KiB", MaxText>>10), "split it over several filters")
		return nil
	}
	if !utf8.ValidString(c.text) {
		c.problem(0, "the expression is not valid UTF-8", "save the file as UTF-8")
		return nil
	}
	tree, err := parser.ParseWithConfig(c.text, c.cfg)
	if err != nil {
		c.fault(err, 0)
		return nil
	}
	c.source = tree.Source
	return tree
}

// condition builds the evaluation of a boolean expression: its skeleton of and, or and not, and the comparisons in between.
// Each comparison is checked by itself, so that several faults are found.
func (c *compilation) condition(n ast.Node) node {
	if c.mode != wholeVM {
		switch x := n.(type) {
		case *ast.BoolNode:
			return constNode{x.Value, x.String()}
		case *ast.UnaryNode:
			if x.Operator == "not" || x.Operator == "!" {
				return newNot(c.condition(x.Node))
			}
		case *ast.BinaryNode:
			switch x.Operator {
			case "and", "&&":
				return newAnd(c.chain(n, "and", "&&", nil))
			case "or", "||":
				return newOr(c.chain(n, "or", "||", nil))
			}
		}
	}
	return c.leaf(n)
}

// chain is a and b and c ..., in whatever order they are bracketed, as a list.
func (c *compilation) chain(n ast.Node, op, sign string, parts []node) []node {
	if x, ok := n.(*ast.BinaryNode); ok && (x.Operator == op || x.Operator == sign) {
		return c.chain(x.Right, op, sign, c.chain(x.Left, op, sign, parts))
	}
	return append(parts, c.condition(n))
}

func (c *compilation) leaf(n ast.Node) node {
	written, at := n.String(), n.Location().From
	found := len(c.problems)
	c.literals(&n)
	if len(c.problems) > found {
		return nil
	}
	// A literal may have made a `not` (!= of an address): it belongs to the skeleton.
	if u, ok := n.(*ast.UnaryNode); ok && u.Operator == "not" && c.mode != wholeVM {
		return newNot(c.checked(u.Node, at, written))
	}
	return c.checked(n, at, written)
}

func (c *compilation) checked(n ast.Node, at int, written string) node {
	if _, err := checker.Check(&parser.Tree{Node: n, Source: c.source}, c.cfg); err != nil {
		c.fault(err, at)
		return nil
	}
	if n.Type().Kind() != reflect.Bool {
		c.problem(c.offset(at), fmt.Sprintf("%s is not a condition: it is %s", quoted(written), goType(n.Type().String())),
			"compare it with something, as in `bytes > 1000`")
		return nil
	}
	if c.mode == kernels {
		if x := c.lower(n, written); x != nil {
			return x
		}
	}
	x, err := c.machine(n, written)
	if err != nil {
		c.fault(err, at)
		return nil
	}
	return x
}

func (c *compilation) problem(offset int, message, help string) {
	c.problems = append(c.problems, &sdk.Problem{Offset: min(max(offset, 0), len(c.text)), Code: codeExpression, Message: message, Help: help})
}

// offset of a rune in bytes: expr-lang counts runes.
func (c *compilation) offset(rune int) int {
	for i := range c.text {
		if rune == 0 {
			return i
		}
		rune--
	}
	return len(c.text)
}

func (c *compilation) sorted() sdk.Problems {
	slices.SortStableFunc(c.problems, func(a, b *sdk.Problem) int { return a.Offset - b.Offset })
	return c.problems
}

// resolve finds the columns an expression reads, and what is wrong with its names.
func (c *compilation) resolve(n *ast.Node) {
	v := &names{c: c, callees: map[*ast.IdentifierNode]bool{}}
	ast.Walk(n, &callees{v})
	ast.Walk(n, v)
	if v.unsupported {
		// What `let` declares is not a column: say only the first thing.
		c.problems = slices.DeleteFunc(c.problems, func(p *sdk.Problem) bool { return p.Code == codeColumn })
	}
}

// callees notes which identifiers are names of functions.
type callees struct{ names *names }

func (v *callees) Visit(n *ast.Node) {
	if call, ok := (*n).(*ast.CallNode); ok {
		if id, ok := call.Callee.(*ast.IdentifierNode); ok {
			v.names.callees[id] = true
		}
	}
}

type names struct {
	c           *compilation
	callees     map[*ast.IdentifierNode]bool
	unsupported bool
}

func (v *names) Visit(n *ast.Node) {
	c := v.c
	switch x := (*n).(type) {
	case *ast.IdentifierNode:
		switch {
		case x.Value == "$env":
			c.problem(c.at(x), "`$env` cannot be used", "name the column itself")
		case v.callees[x]:
			v.function(x)
		case c.schema != nil && c.schema.Index(x.Value) < 0:
			c.problem(c.at(x), fmt.Sprintf("no column %s", quoted(x.Value)), cmp.Or(didYouMean(x.Value, c.schema.Names()), "`weir inspect schema` lists the columns"))
			c.problems[len(c.problems)-1].Code = codeColumn
		default:
			c.columns[x.Value] = true
		}
	case *ast.VariableDeclaratorNode, *ast.SequenceNode:
		v.unsupported = true
		c.problem(c.offset((*n).Location().From), "`let` and `;` cannot be used", "write one condition")
	}
}

func (v *names) function(x *ast.IdentifierNode) {
	if _, ok := v.c.cfg.Functions[x.Value]; ok && x.Value[0] != hidden {
		return
	}
	at := v.c.at(x)
	if x.Value == "now" {
		v.c.problem(at, "now() cannot be used: a condition must give the same answer at every reading", "compare with a time such as \"2026-01-01T00:00:00Z\"")
		return
	}
	if v.c.schema != nil && v.c.schema.Index(x.Value) >= 0 {
		v.c.problem(at, fmt.Sprintf("%s is a column, not a function", quoted(x.Value)), "write it without ( ) after it")
		return
	}
	v.c.problem(at, fmt.Sprintf("no function %s", quoted(x.Value)),
		cmp.Or(didYouMean(x.Value, append(slices.Clone(builtin.Names), fnPrivate)), "there are private, len, lower, any, all, count, bitand, duration and others"))
}
