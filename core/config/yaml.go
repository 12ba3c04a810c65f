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

// reading is one file being read: what is said of it, and what it still may cost.
type reading struct {
	d       *Diagnostics
	opts    *Options
	src     *source
	anchors map[string]*value // nil while the anchor's own value is being read
	trail   []step
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
		r.say(CodeTooLarge, nowhere, Pos{}, "", "put long tables into files of their own", "the file has more than %d bytes", MaxFileBytes)
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
	{"invalid header option", "put a text with | or > in quotes, or on the lines below `key: |`"},
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

// flowWithAddress is a line with the IPv6 address of a port without quotes, whose bracket begins a list.
var flowWithAddress = regexp.MustCompile(`[:=,\[{\s-]\s*\[[0-9a-fA-F.]*:[0-9a-zA-Z:.%]*\]:[0-9]`)

func (r *reading) syntax(err error) {
	at, message := Pos{File: r.src.name}, "the text cannot be read as YAML"
	var se *yaml.SyntaxError
	if errors.As(err, &se) {
		message = strings.ReplaceAll(se.Message, "character '\t'", "a tab") // which would not be seen
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
	if line := r.line(at.Line); flowWithAddress.MatchString(" " + line) { // an override's begins with it
		help = `an IPv6 address needs quotes, for brackets are a list: "[::]:2055"; on a command line those of the shell too: --set 'sources.in.with.listen="[::]:2055"'`
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
