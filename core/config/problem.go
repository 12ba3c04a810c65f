package config

import (
	"errors"
	"unicode"
	"unicode/utf8"

	"github.com/weirflow/weir/sdk"
)

// Path is the full path of an option of the node, as messages and --set write it: "sinks.clickhouse.with.address". With an empty
// sub it is the node's own.
func (n *Node) Path(sub string) string { return fullPath(n.path, sub) }

// Place is where byte offset of the text of an option stands in the file, and the end of what to underline: in an expression the
// word at offset, else the whole value. path is below the node: "with.rules[2].when". Where the file has no such option, it is the
// nearest thing above it that has a place.
func (n *Node) Place(path string, offset int) (at, end Pos) {
	v := n.scalars[path]
	switch {
	case v == nil:
		return n.Pos(path), Pos{}
	case offset <= 0 && !v.expr:
		return v.at, v.end()
	}
	at = v.place(offset)
	stop := min(max(offset, 0), len(v.text))
	for stop < len(v.text) {
		c, w := utf8.DecodeRuneInString(v.text[stop:])
		if c != '_' && !unicode.IsLetter(c) && !unicode.IsDigit(c) {
			break
		}
		stop += w
	}
	if stop > offset {
		if end = v.place(stop); end.Line != at.Line {
			end = Pos{}
		}
	}
	return at, end
}

// Diagnose gives an error of the node's plugin its place: [sdk.Problem] and [sdk.Problems] with the place of each, anything else
// at `with`. code is for problems that bring none. Values that came from ${...} are taken out of the messages.
func (n *Node) Diagnose(code string, err error) []Diagnostic {
	var list []Diagnostic
	for _, p := range problems(err) {
		path := "with"
		if p.Path != "" {
			path = fullPath("with", p.Path)
		}
		d := Diagnostic{Code: code, Path: n.Path(path), Message: p.Message, Help: p.Help}
		if p.Path == "" {
			d.Path = n.Path("")
		}
		if p.Code != "" {
			d.Code = p.Code
		}
		d.At, d.End = n.Place(path, p.Offset)
		if _, has := n.Positions["with"]; p.Path == "" && !has {
			d.At, d.End = n.Place("type", 0)
		}
		var own []secret
		if v := n.scalars[path]; v != nil {
			own = v.put
		}
		d.Message, d.Help = redact(d.Message, own, n.all()), redact(d.Help, own, n.all())
		d.Severity = SeverityError
		if c, ok := Lookup(d.Code); ok {
			d.Severity = c.Severity
		}
		list = append(list, d)
	}
	return list
}

func (n *Node) all() []secret {
	if n.secrets == nil {
		return nil
	}
	return *n.secrets
}

// problems takes an error apart.
func problems(err error) []*sdk.Problem {
	if err == nil {
		return nil
	}
	if ps, ok := errors.AsType[sdk.Problems](err); ok {
		return ps
	}
	if p, ok := errors.AsType[*sdk.Problem](err); ok {
		return []*sdk.Problem{p}
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok { // errors.Join
		var list []*sdk.Problem
		for _, one := range many.Unwrap() {
			list = append(list, problems(one)...)
		}
		return list
	}
	return []*sdk.Problem{{Message: err.Error()}}
}

// Redact takes values that came from ${...} out of a text that may hold parts of the configuration, such as an error of a plugin.
func (p *Pipeline) Redact(text string) string {
	if p.secrets == nil {
		return text
	}
	return redact(text, nil, *p.secrets)
}
