package config

import (
	"fmt"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

type kind uint8

const (
	null kind = iota
	scalar
	list
	mapping
)

func (k kind) String() string { return [...]string{"nothing", "a value", "a list", "a map"}[k] }

// value is one value of the file. An alias is the very value it stands for.
type value struct {
	kind  kind
	text  string // of a scalar, after interpolation
	raw   string // of a scalar, as YAML reads it
	style style
	at    Pos
	src   *source
	keys  []key
	items []*value

	filled  bool     // interpolation was done
	broken  bool     // it could not be done, and why has been said
	pieces  []piece  // where parts of text came from, if something was put in
	put     []secret // what was put in
	weight  int      // values in it, aliases followed
	literal string   // of a block scalar: its header
	expr    bool     // it is an expression: what is wrong with it is a word in it
}

type key struct {
	name string
	at   Pos
	end  Pos
	word *value // instead of end: a scalar whose end it is, found only when it is asked for
	v    *value
}

func (k *key) ends() Pos {
	if k.word != nil {
		return k.word.end()
	}
	return k.end
}

// get is the value under name of a map, nil if there is none.
func (v *value) get(name string) *key {
	if v == nil {
		return nil
	}
	for i := range v.keys {
		if v.keys[i].name == name {
			return &v.keys[i]
		}
	}
	return nil
}

// first is the place of the first token of n: a block map's own token is the colon after its first key.
func (r *reading) first(n ast.Node) Pos {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return r.first(n.Values[0])
		}
	case *ast.MappingValueNode:
		return r.token(n.Key.GetToken())
	case *ast.LiteralNode:
		return r.token(n.Start)
	}
	return r.token(n.GetToken())
}

// value converts a node. empty is the place of a value that is not there: its key's.
func (r *reading) value(n ast.Node, depth int, empty Pos) *value {
	if depth > MaxDepth {
		r.say(CodeTooDeep, r.first(n), Pos{}, r.here(), "", "lists and maps are nested deeper than %d", MaxDepth)
		return nil
	}
	if r.budget--; r.budget < 0 {
		r.tooMuch(r.first(n))
		return nil
	}
	v := &value{at: r.first(n), src: r.src, weight: 1}
	switch n := n.(type) {
	case *ast.MappingNode:
		v.kind = mapping
		return r.entries(v, n.Values, depth)
	case *ast.MappingValueNode:
		v.kind = mapping
		return r.entries(v, []*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		v.kind = list
		for i, item := range n.Values {
			empty := v.at
			if i < len(n.Entries) && n.Entries[i].Start != nil {
				empty = r.token(n.Entries[i].Start)
			}
			r.trail = append(r.trail, step{index: i})
			one := r.value(item, depth+1, empty)
			r.trail = r.trail[:len(r.trail)-1]
			if one == nil {
				return nil
			}
			v.items = append(v.items, one)
			v.weight += one.weight
		}
		return v
	case *ast.AnchorNode:
		name := n.Name.GetToken().Value
		r.anchors[name] = nil
		one := r.value(n.Value, depth, empty)
		r.anchors[name] = one
		return one
	case *ast.AliasNode:
		return r.alias(n, v)
	case *ast.TagNode:
		switch tag := n.Start.Value; tag {
		case "!!str", "!!int", "!!float", "!!bool", "!!null", "!!map", "!!seq", "!":
			if n.Value == nil {
				return v
			}
			one := r.value(n.Value, depth, empty)
			if one != nil && one.kind == scalar && one.style == plain {
				for i := r.src.offset(one.at); i < len(r.src.text) && isBlank(r.src.text[i]); i++ { // the parser counts one too few
					one.at.Col++
				}
				if tag == "!!str" || tag == "!" {
					one.style = tagged
				}
			}
			return one
		default:
			r.say(CodeSyntax, v.at, Pos{}, r.here(), "leave the tag out", "tag %s means nothing here", tag)
			return unknown(v)
		}
	case *ast.NullNode:
		if n.Token.Type == token.ImplicitNullType || empty.Line > 0 && n.Token.Value == "" {
			v.at = empty
		}
		return v
	case *ast.LiteralNode:
		v.kind, v.raw, v.style, v.literal = scalar, n.Value.Value, block, n.Start.Value
		if n.Start.Type == token.FoldedType {
			v.style = folded
		}
	case *ast.StringNode:
		v.kind, v.raw = scalar, n.Value
		switch n.Token.Type {
		case token.SingleQuoteType:
			v.style = single
		case token.DoubleQuoteType:
			v.style = double
		}
	default:
		sn, ok := n.(ast.ScalarNode)
		if !ok {
			r.say(CodeSyntax, v.at, Pos{}, r.here(), "", "this is not YAML that a pipeline can use")
			return nil
		}
		v.kind, v.raw = scalar, sn.GetToken().Value
	}
	v.text = v.raw
	return v
}

// step is one key or index on the way to the value that is being converted.
type step struct {
	name  string
	index int
}

// here is the path of that value.
func (r *reading) here() string {
	path := ""
	for _, s := range r.trail {
		if s.name == "" {
			path = fmt.Sprintf("%s[%d]", path, s.index)
		} else {
			path = join(path, s.name)
		}
	}
	return path
}

func (r *reading) tooMuch(at Pos) {
	r.say(CodeTooMuch, at, Pos{}, r.here(), "aliases of aliases multiply", "the file holds more than %d values", MaxValues)
}

// unknown makes v a value of which nothing more is said: why it is not known has been.
func unknown(v *value) *value {
	v.kind, v.style, v.broken, v.filled = scalar, tagged, true, true
	return v
}

func (r *reading) alias(n *ast.AliasNode, place *value) *value {
	name, at := n.Value.GetToken().Value, place.at
	v, known := r.anchors[name]
	switch {
	case !known:
		names := make([]string, 0, len(r.anchors))
		for a := range r.anchors {
			names = append(names, a)
		}
		help := "mark a value before this place with &" + name
		if near := Nearest(name, names); near != "" {
			help = "did you mean `*" + near + "`?"
		}
		r.say(CodeAlias, at, after(at, name, 1), r.here(), help, "*%s stands for nothing: there is no &%s before it", name, name)
		return unknown(place)
	case v == nil:
		r.say(CodeAlias, at, after(at, name, 1), r.here(), "", "*%s stands for a value that contains it", name)
		return unknown(place)
	}
	if r.budget -= v.weight; r.budget < 0 {
		r.tooMuch(at)
		return nil
	}
	return v
}

// after is the place n characters after the end of a word that begins at at.
func after(at Pos, word string, n int) Pos {
	at.Col += utf8.RuneCountInString(word) + n
	return at
}

func (r *reading) entries(v *value, entries []*ast.MappingValueNode, depth int) *value {
	seen := make(map[string]Pos, len(entries))
	var merged []*value
	for _, e := range entries {
		if r.full() {
			return nil
		}
		k, ok := r.key(e.Key)
		if !ok {
			return nil
		}
		r.trail = append(r.trail, step{name: k.name})
		child := r.value(e.Value, depth+1, k.at)
		r.trail = r.trail[:len(r.trail)-1]
		if child == nil {
			return nil
		}
		v.weight += child.weight
		if _, merge := e.Key.(*ast.MergeKeyNode); merge {
			from := []*value{child}
			if child.kind == list {
				from = child.items
			}
			for _, m := range from {
				if m.broken {
					continue
				}
				if m.kind != mapping {
					r.say(CodeAlias, k.at, k.end, r.here(), "write `<<: *name` of a map", "the merge key `<<` needs a map")
					return nil
				}
				merged = append(merged, m)
			}
			continue
		}
		if first, twice := seen[k.name]; twice {
			r.say(CodeDuplicateKey, k.at, k.end, join(r.here(), k.name), "remove one of them", "key `%s` stands on line %d already", k.name, first.Line)
			continue
		}
		seen[k.name], k.v = k.at, child
		v.keys = append(v.keys, k)
	}
	for _, m := range merged { // what is written here wins, then the first that is merged
		for _, k := range m.keys {
			if _, has := seen[k.name]; !has {
				seen[k.name] = k.at
				v.keys = append(v.keys, k)
			}
		}
	}
	return v
}

func (r *reading) key(n ast.MapKeyNode) (key, bool) {
	var node ast.Node = n
	if mk, ok := n.(*ast.MappingKeyNode); ok && mk.Value != nil {
		node = mk.Value
	}
	at := r.token(node.GetToken())
	switch node := node.(type) {
	case *ast.StringNode:
		k := key{name: node.Value, at: at}
		k.end = after(at, node.Value, 0)
		if t := node.Token.Type; t == token.SingleQuoteType || t == token.DoubleQuoteType {
			k.end.Col += 2
		}
		return k, true
	case *ast.MergeKeyNode:
		return key{name: "<<", at: at, end: after(at, "<<", 0)}, true
	case ast.ScalarNode:
		text := node.GetToken().Value
		if _, isNull := node.(*ast.NullNode); !isNull {
			return key{name: text, at: at, end: after(at, text, 0)}, true
		}
	}
	r.say(CodeSyntax, at, Pos{}, r.here(), "write the key as a word", "a key must be text")
	return key{}, false
}
