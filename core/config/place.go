package config

import (
	"strings"
	"unicode/utf8"
)

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

type style uint8

const (
	plain style = iota
	tagged
	single
	double
	block  // |
	folded // >
)

// end is the place after a scalar, for underlining; of a block scalar that of its header; of a list or map, no place.
func (v *value) end() Pos {
	if v == nil || v.kind != scalar {
		return Pos{}
	}
	switch v.style {
	case block, folded:
		return after(v.at, v.literal, 0)
	case plain, tagged:
		return v.locate(len(v.raw))
	}
	end := v.locate(len(v.raw))
	end.Col++ // the closing quote
	return end
}

// place is where byte off of the text, after interpolation, stands in the file. What was put in stands where its ${...} does.
func (v *value) place(off int) Pos {
	off = min(max(off, 0), len(v.text))
	for i := len(v.pieces) - 1; i >= 0; i-- {
		if p := v.pieces[i]; off >= p.text {
			if p.copied {
				return v.locate(p.raw + off - p.text)
			}
			return v.locate(p.raw)
		}
	}
	return v.locate(off)
}

// locate is where byte off of the text, before interpolation, stands in the file: the text and its source are read side by side.
// Where YAML folds lines, a run of white space in one stands for a run in the other.
func (v *value) locate(off int) Pos {
	if v.kind != scalar {
		return v.at
	}
	off = min(max(off, 0), len(v.raw))
	src, s := v.src.text, v.src.offset(v.at)
	switch v.style {
	case block:
		return v.inBlock(off)
	case folded:
		for s = lineEnd(src, s) + 1; s < len(src) && isBlank(src[s]); s++ {
		}
	case single, double:
		s++
	}
	for i := 0; i < off && s < len(src); {
		c := v.raw[i]
		if v.style == double && src[s] == '\\' {
			n, eaten := escape(src[s:])
			s += n
			if eaten {
				_, w := utf8.DecodeRuneInString(v.raw[i:])
				i += w
			}
			continue
		}
		if v.style == single && strings.HasPrefix(src[s:], "''") {
			s, i = s+2, i+1
			continue
		}
		if isBlank(c) && isBlank(src[s]) {
			j := s
			for j < len(src) && isBlank(src[j]) {
				j++
			}
			if strings.Contains(src[s:j], "\n") {
				k := i
				for k < len(v.raw) && isBlank(v.raw[k]) {
					k++
				}
				if off < k {
					break
				}
				s, i = j, k
				continue
			}
		}
		_, w := utf8.DecodeRuneInString(v.raw[i:])
		_, n := utf8.DecodeRuneInString(src[s:])
		i, s = i+w, s+n
	}
	for v.style == double && strings.HasPrefix(src[min(s, len(src)):], "\\\n") {
		n, _ := escape(src[s:])
		s += n
	}
	return v.forward(min(s, len(src)))
}

// forward is the place of byte s of the source, at or after the value's own.
func (v *value) forward(s int) Pos {
	start := v.src.offset(v.at)
	if s <= start {
		return v.at
	}
	p := v.at
	part := v.src.text[start:s]
	if n := strings.Count(part, "\n"); n > 0 {
		p.Line += n
		p.Col = 1
		part = part[strings.LastIndexByte(part, '\n')+1:]
	}
	p.Col += utf8.RuneCountInString(part)
	return p
}

// inBlock is locate for `|`: lines stand one below the other, all indented alike.
func (v *value) inBlock(off int) Pos {
	before := v.raw[:off]
	row := strings.Count(before, "\n")
	line := v.at.Line + 1 + row
	if line > len(v.src.lines) {
		line = len(v.src.lines)
	}
	text := v.raw[strings.LastIndexByte(before, '\n')+1:]
	col := utf8.RuneCountInString(text[:off-(strings.LastIndexByte(before, '\n')+1)])
	text, _, _ = strings.Cut(text, "\n")
	start := v.src.lines[line-1]
	full := v.src.text[start:lineEnd(v.src.text, start)]
	return Pos{File: v.at.File, Line: line, Col: max(len(full)-len(text), 0) + col + 1}
}

func lineEnd(s string, at int) int {
	if at >= len(s) {
		return len(s)
	}
	if i := strings.IndexByte(s[at:], '\n'); i >= 0 {
		return at + i
	}
	return len(s)
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' }

// escape is the length of the escape s begins with in double quotes, and whether it stands for a character (a line end that is
// escaped does not).
func escape(s string) (n int, character bool) {
	if len(s) < 2 {
		return len(s), true
	}
	switch s[1] {
	case 'x':
		n = 4
	case 'u':
		n = 6
	case 'U':
		n = 10
	case '\n':
		for n = 2; n < len(s) && isBlank(s[n]); n++ {
		}
		return n, false
	default:
		n = 2
	}
	return min(n, len(s)), true
}
