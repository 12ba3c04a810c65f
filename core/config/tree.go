package config

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// What a file may hold. The limits are far above any pipeline written by hand, and keep a hostile file from costing more
// than a second or some tens of MiB.
const (
	MaxFileBytes = 4 << 20
	MaxDepth     = 64      // lists and maps within each other
	MaxValues    = 200_000 // aliases followed
	MaxKeys      = 10_000  // of one map; the YAML parser's time is quadratic in them
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

// source is one text: a file, or the value of a --set.
type source struct {
	name  string
	text  string
	lines []int // byte offset of each line's start
	base  int   // columns before the text: the path of a --set
	last  Pos   // of the last offset asked for, so that reading along a long line is not quadratic
	at    int   // that offset
}

func newSource(name, text string) *source {
	s := &source{name: name, text: text, lines: []int{0}}
	for i := 0; i < len(text); i++ {
		if text[i] == '\n' {
			s.lines = append(s.lines, i+1)
		}
	}
	return s
}

func (s *source) pos(line, col int) Pos {
	p := Pos{File: s.name, Line: line, Col: col}
	if line == 1 {
		p.Col += s.base
	}
	return p
}

// offset is the byte at which p stands.
func (s *source) offset(p Pos) int {
	if p.Line < 1 || p.Line > len(s.lines) {
		return len(s.text)
	}
	i, col := s.lines[p.Line-1], p.Col
	if p.Line == 1 {
		col -= s.base
	}
	if s.last.Line == p.Line && s.last.Col <= p.Col {
		i, col = s.at, p.Col-s.last.Col+1
	}
	for ; col > 1 && i < len(s.text) && s.text[i] != '\n'; col-- {
		_, n := utf8.DecodeRuneInString(s.text[i:])
		i += n
	}
	if col <= 1 {
		s.last, s.at = p, i
	}
	return i
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

// reading is one file being read: what is said of it, and what it still may cost.
type reading struct {
	d       *Diagnostics
	opts    *Options
	src     *source
	anchors map[string]*value // nil while the anchor's own value is being read
	params  map[string]string
	budget  int // values that may still come
	put     int // bytes put in by interpolation
	secrets []secret
	hidden  map[secret]bool // what is among secrets
}

// full says that enough is known to be wrong: finding the places of more would only cost time.
func (r *reading) full() bool { return len(r.d.List) >= MaxDiagnostics }

func (r *reading) say(code string, at, end Pos, path, help, format string, args ...any) {
	r.d.Add(Diagnostic{Code: code, At: at, End: end, Path: path, Message: fmt.Sprintf(format, args...), Help: help})
}

// parse reads YAML. Nil: nothing can be made of it, and why has been said. CRLF is read as LF, so that lines are counted as editors
// do.
func (r *reading) parse(name string, text []byte) *value {
	nowhere := Pos{File: name}
	if len(text) > MaxFileBytes {
		r.say(CodeTooLarge, nowhere, Pos{}, "", "put long tables into files of their own", "the file has %d bytes, more than %d", len(text), MaxFileBytes)
		return nil
	}
	text = bytes.ReplaceAll(bytes.TrimPrefix(text, []byte("\ufeff")), []byte("\r\n"), []byte("\n"))
	r.d.text(name, text)
	r.src = newSource(name, string(text))
	if !r.encoding() {
		return nil
	}
	if strings.TrimSpace(r.src.text) == "" {
		r.say(CodeEmpty, nowhere, Pos{}, "", "a pipeline has `sources:` and `sinks:`", "the file is empty")
		return nil
	}
	return r.tree()
}

// encoding refuses what is not text.
func (r *reading) encoding() bool {
	line, col := 1, 1
	for i, c := range r.src.text {
		switch {
		case c == '\n':
			line, col = line+1, 0
		case c == utf8.RuneError && !strings.HasPrefix(r.src.text[i:], "\ufffd"):
			r.say(CodeEncoding, r.src.pos(line, col), Pos{}, "", "save the file as UTF-8", "byte 0x%02x is not UTF-8", r.src.text[i])
			return false
		case c < ' ' && c != '\t' || c == 0x7f || c >= 0x80 && c < 0xa0 && c != 0x85 || c == 0xfeff:
			r.say(CodeEncoding, r.src.pos(line, col), Pos{}, "", "in double quotes it can be written as an escape", "control character U+%04X in the file", c)
			return false
		}
		col++
	}
	return true
}

// tree parses r.src.
func (r *reading) tree() *value {
	if n := structural(r.src.text); n > MaxValues {
		r.tooMuch(Pos{File: r.src.name})
		return nil
	}
	tokens := lexer.Tokenize(r.src.text)
	if !r.sane(tokens) {
		return nil
	}
	f, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey()) // all duplicates are found below, with their places
	if err != nil {
		r.syntax(err)
		return nil
	}
	var body ast.Node
	for _, doc := range f.Docs { // there is one at most, and perhaps one with directives alone
		if doc.Body != nil {
			body = doc.Body
		}
	}
	if body == nil {
		r.say(CodeEmpty, Pos{File: r.src.name}, Pos{}, "", "a pipeline has `sources:` and `sinks:`", "the file is empty")
		return nil
	}
	r.anchors = map[string]*value{}
	return r.value(body, 0, Pos{})
}

// structural is about how many lists, maps and values a text may hold, so that the lexer need not make a token of each before there
// are found to be too many: a token takes 300 bytes.
func structural(text string) (n int) {
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '[', ',':
			n++
		case '{':
			if i == 0 || text[i-1] != '$' {
				n++
			}
		case ':', '-', '?':
			if i+1 == len(text) || isBlank(text[i+1]) {
				n++
			}
		case '&', '*', '!', '"', '\'':
			if i == 0 || isBlank(text[i-1]) {
				n++
			}
		}
	}
	return n
}

// sane bounds what the parser is given: its recursion follows nesting, its time is quadratic in the keys of one map, in the
// depth of `- - - -` and in the number of documents.
func (r *reading) sane(tokens token.Tokens) bool {
	run, line := 0, 0
	begun, ended := false, false // the document
	var opened []int             // keys of the open flow collections
	columns := map[int]int{}     // keys of the open block maps, by column
	key := 0                     // column of the last scalar
	tooDeep := func(t *token.Token) bool {
		r.say(CodeTooDeep, r.token(t), Pos{}, "", "", "lists and maps are nested deeper than %d", MaxDepth)
		return false
	}
	for _, t := range tokens {
		if t.Type == token.CommentType {
			continue
		}
		if t.Position.Line != line {
			line = t.Position.Line
			if len(opened) == 0 {
				for c := range columns {
					if c > t.Position.Column {
						delete(columns, c)
					}
				}
			}
			if t.Type == token.SequenceEntryType || t.Type == token.MappingValueType {
				run = 0
			}
		}
		if ended && t.Type != token.DocumentEndType {
			r.say(CodeSeveralDocs, r.token(t), Pos{}, "", "put each into a file of its own", "a second document begins here")
			return false
		}
		switch t.Type {
		case token.DocumentEndType:
			ended = true
		case token.DocumentHeaderType:
			if begun {
				r.say(CodeSeveralDocs, r.token(t), Pos{}, "", "put each into a file of its own", "a second document begins here")
				return false
			}
		case token.SequenceStartType, token.MappingStartType:
			opened = append(opened, 0)
			if len(opened) > MaxDepth {
				return tooDeep(t)
			}
			run = 0
		case token.SequenceEndType, token.MappingEndType:
			opened = opened[:max(len(opened)-1, 0)]
			run = 0
		case token.SequenceEntryType, token.MappingKeyType, token.AnchorType, token.TagType, token.MappingValueType:
			if run++; run > MaxDepth {
				return tooDeep(t)
			}
			if t.Type != token.MappingValueType {
				break
			}
			n := 0
			if len(opened) > 0 {
				opened[len(opened)-1]++
				n = opened[len(opened)-1]
			} else {
				columns[key]++
				n = columns[key]
			}
			if n > MaxKeys {
				r.say(CodeTooMuch, r.token(t), Pos{}, "", "put long tables into files of their own", "a map has more than %d keys", MaxKeys)
				return false
			}
		default:
			if t.Prev == nil || t.Prev.Type != token.AnchorType {
				run = 0
			}
			key = t.Position.Column
		}
		begun = begun || t.Type != token.DirectiveType
	}
	return true
}

func (r *reading) token(t *token.Token) Pos {
	if t == nil || t.Position == nil {
		return Pos{File: r.src.name}
	}
	return r.src.pos(max(t.Position.Line, 1), max(t.Position.Column, 1))
}

// mends says for messages of the YAML parser what is usually wrong.
var mends = []struct{ part, help string }{
	{"tab character", "indent with spaces"},
	{"cannot start any token", "indent with spaces, not tabs"},
	{"mapping value is not allowed", "put a text with `: ` in quotes, or indent the next line like its neighbours"},
	{"could not find end character", "close the quote"},
	{"must be specified", "close the bracket; within brackets, values are separated by commas"},
	{"end token", "close the bracket"},
	{"reserved character", "put the text in quotes"},
	{"block sequence entries are not allowed", "begin a list on a line of its own, or write it as [a, b]"},
	{"value is not allowed in this context", "is the line indented like its neighbours?"},
	{"unexpected key name", "is the line indented like its neighbours?"},
}

// flowWithPlainPut is a line with ${...} without quotes within brackets.
var flowWithPlainPut = regexp.MustCompile(`[\[{].*[:,\[{]\s*\$\{`)

func (r *reading) syntax(err error) {
	at, message := Pos{File: r.src.name}, "the text cannot be read as YAML"
	var se *yaml.SyntaxError
	if errors.As(err, &se) {
		message = se.Message
		at = r.token(se.Token)
	}
	help := ""
	for _, m := range mends {
		if strings.Contains(message, m.part) {
			help = m.help
			break
		}
	}
	if line := r.line(at.Line); flowWithPlainPut.MatchString(line) {
		help = "within { } and [ ], a ${...} needs quotes: \"${env:NAME}\""
	}
	r.say(CodeSyntax, at, Pos{}, "", help, "this is not YAML: %s", message)
}

// line is the text of a line of the file.
func (r *reading) line(n int) string {
	if n < 1 || n > len(r.src.lines) {
		return ""
	}
	start := r.src.lines[n-1]
	return r.src.text[start:lineEnd(r.src.text, start)]
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
		r.say(CodeTooDeep, r.first(n), Pos{}, "", "", "lists and maps are nested deeper than %d", MaxDepth)
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
			one := r.value(item, depth+1, empty)
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
		return r.alias(n, v.at)
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
			r.say(CodeSyntax, v.at, Pos{}, "", "leave the tag out", "tag %s means nothing here", tag)
			return nil
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
			r.say(CodeSyntax, v.at, Pos{}, "", "", "this is not YAML that a pipeline can use")
			return nil
		}
		v.kind, v.raw = scalar, sn.GetToken().Value
	}
	v.text = v.raw
	return v
}

func (r *reading) tooMuch(at Pos) {
	r.say(CodeTooMuch, at, Pos{}, "", "aliases of aliases multiply", "the file holds more than %d values", MaxValues)
}

func (r *reading) alias(n *ast.AliasNode, at Pos) *value {
	name := n.Value.GetToken().Value
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
		r.say(CodeAlias, at, after(at, name, 1), "", help, "*%s stands for nothing: there is no &%s before it", name, name)
		return nil
	case v == nil:
		r.say(CodeAlias, at, after(at, name, 1), "", "", "*%s stands for a value that contains it", name)
		return nil
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
		child := r.value(e.Value, depth+1, k.at)
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
				if m.kind != mapping {
					r.say(CodeAlias, k.at, k.end, "", "write `<<: *name` of a map", "the merge key `<<` needs a map")
					return nil
				}
				merged = append(merged, m)
			}
			continue
		}
		if first, twice := seen[k.name]; twice {
			r.say(CodeDuplicateKey, k.at, k.end, "", "remove one of them", "key `%s` stands on line %d already", k.name, first.Line)
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
	r.say(CodeSyntax, at, Pos{}, "", "write the key as a word", "a key must be text")
	return key{}, false
}
