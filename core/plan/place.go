package plan

import (
	"bytes"
	"unicode/utf8"

	"github.com/weirflow/weir/core/config"
)

// inside is the place of the byte offset of a scalar's text, given the place where the scalar begins. Quotes, escapes and the
// indentation of block scalars stand in the file and not in the text; where interpolation has made other text of it, the
// scalar's begin is all that can be said.
func inside(p *config.Pipeline, at config.Pos, offset int) config.Pos {
	text := textAt(p, at)
	if len(text) == 0 || bytes.Contains(text, []byte("${")) {
		return at
	}
	switch q := text[0]; q {
	case '|', '>':
		return insideBlock(bytes.Split(p.Text, []byte{'\n'}), at, offset)
	case '"', '\'':
		return config.Pos{File: at.File, Line: at.Line, Col: at.Col + 1 + quoted(text[1:], q, offset)}
	}
	return config.Pos{File: at.File, Line: at.Line, Col: at.Col + chars(text, offset)}
}

// textAt is the rest of the line at a place in the pipeline's file.
func textAt(p *config.Pipeline, at config.Pos) []byte {
	lines := bytes.Split(p.Text, []byte{'\n'})
	if at.File != p.File || at.Line < 1 || at.Line > len(lines) {
		return nil
	}
	return afterChars(lines[at.Line-1], at.Col-1)
}

// insideBlock walks a literal or folded scalar: a line break is one byte of its text in both.
func insideBlock(lines [][]byte, at config.Pos, offset int) config.Pos {
	indent := -1
	for i := at.Line; i < len(lines); i++ { // the line after the indicator
		line := lines[i]
		blank := len(bytes.TrimLeft(line, " ")) == 0
		if indent < 0 && !blank {
			indent = len(line) - len(bytes.TrimLeft(line, " "))
		}
		if bytes.Contains(line, []byte("${")) {
			return at
		}
		body := line[min(max(indent, 0), len(line)):]
		if offset <= len(body) && !blank {
			return config.Pos{File: at.File, Line: i + 1, Col: indent + 1 + chars(body, offset)}
		}
		offset -= len(body) + 1
	}
	return at
}

// quoted counts the characters of a quoted scalar that stand for its first offset bytes.
func quoted(text []byte, quote byte, offset int) int {
	n, i := 0, 0
	for offset > 0 && i < len(text) {
		_, size := utf8.DecodeRune(text[i:])
		if i+1 < len(text) && (quote == '"' && text[i] == '\\' || quote == '\'' && text[i] == '\'' && text[i+1] == '\'') {
			i, n, size = i+1, n+1, 1
		}
		i, n, offset = i+size, n+1, offset-size
	}
	return n
}

// chars is the number of characters in the first offset bytes of text, or of all of it and one more a missing byte.
func chars(text []byte, offset int) int {
	if offset <= len(text) {
		return utf8.RuneCount(text[:offset])
	}
	return utf8.RuneCount(text) + offset - len(text)
}

// afterChars is line without its first n characters.
func afterChars(line []byte, n int) []byte {
	for ; n > 0 && len(line) > 0; n-- {
		_, size := utf8.DecodeRune(line)
		line = line[size:]
	}
	return line
}
