package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// block is one fenced block of a page. Its info string is the language, which is all that a renderer looks at, and words for the
// test that runs it:
//
//	yaml                 a whole pipeline, which `weir validate` must find fine
//	yaml fragment        a part of one: what is missing is put around it
//	yaml settings        process settings
//	yaml ... wrong=E401  validate must give this code
//	yaml ... file=X.yaml kept under this name for the commands of the page
//	yaml skip            looked at by nobody
//	console              commands after `$ `, each with what it prints; see [matches]
//	console loose        numbers and times may differ, and spaces
//	console exit=78      the last command ends with this code
//	console skip         run by nobody: it needs a router, root or the network
type block struct {
	line   int    // of the opening fence
	indent string // before it
	lang   string
	words  []string
	text   string
}

func (b *block) has(word string) bool { return slices.Contains(b.words, word) }

// value of name=value; empty if it is not there.
func (b *block) value(name string) string {
	for _, w := range b.words {
		if v, ok := strings.CutPrefix(w, name+"="); ok {
			return v
		}
	}
	return ""
}

// known are the words that a block may have, by language; every other one is a slip that would let an example go untested.
var known = map[string]*regexp.Regexp{
	"yaml":    regexp.MustCompile(`^(fragment|settings|skip|wrong=[EW]\d+|file=[a-z0-9_-]+\.yaml)$`),
	"console": regexp.MustCompile(`^(loose|skip|exit=\d+)$`),
}

// blocks finds the fenced blocks of a page.
func blocks(page string) (list []block, err error) {
	var open *block
	for i, line := range strings.Split(page, "\n") {
		fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		if open != nil && !isFence {
			line = strings.TrimPrefix(line, open.indent) // a block within a list
		}
		switch {
		case isFence && open == nil:
			words := strings.Fields(fence)
			open = &block{line: i + 1, indent: line[:len(line)-len(strings.TrimLeft(line, " "))]}
			if len(words) > 0 {
				open.lang, open.words = words[0], words[1:]
			}
			for _, w := range open.words {
				if re := known[open.lang]; re == nil || !re.MatchString(w) {
					return nil, fmt.Errorf("line %d: a block of %s cannot be %q", i+1, open.lang, w)
				}
			}
		case isFence:
			list = append(list, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		}
	}
	if open != nil {
		return nil, fmt.Errorf("line %d: the block does not end", open.line)
	}
	return list, nil
}

// The parts that a fragment lacks.
var parts = []struct{ section, text string }{
	{"sources", "sources:\n  netflow: { type: udp, with: { listen: \"127.0.0.1:2055\" } }\n"},
	{"processors", "processors:\n  - { id: decode, type: decode }\n"},
	{"sinks", "sinks:\n  out: { type: discard }\n"},
}

// whole makes a pipeline of a fragment.
func whole(fragment string) string {
	for _, p := range parts {
		if !strings.HasPrefix(fragment, p.section+":") && !strings.Contains(fragment, "\n"+p.section+":") {
			fragment += p.text
		}
	}
	return fragment
}

// command is one command of a console block and what the page says that it prints.
type command struct {
	line       string
	background bool // it ends with &
	want       []string
}

// commands takes a console block apart. A line that ends with \ goes on in the next.
func commands(text string) (list []command) {
	more := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \n")
		first, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case more:
			c := &list[len(list)-1]
			c.line += "\n" + line
		case isCommand:
			list = append(list, command{line: first})
		case len(list) > 0:
			c := &list[len(list)-1]
			c.want = append(c.want, line)
			continue
		default:
			continue
		}
		more = strings.HasSuffix(line, `\`)
	}
	for i := range list {
		c := &list[i]
		if rest, ok := strings.CutSuffix(c.line, " &"); ok {
			c.line, c.background = rest, true
		}
		for len(c.want) > 0 && c.want[len(c.want)-1] == "" {
			c.want = c.want[:len(c.want)-1]
		}
	}
	return list
}

var (
	numbers = regexp.MustCompile(`\d[\d.,:]*`)
	spaces  = regexp.MustCompile(`\s+`)
	units   = regexp.MustCompile(`#(ms|µs|s|m#s|k|M|G|MiB|KiB)\b`)
)

// blur makes lines alike that differ in numbers, times and the width of columns.
func blur(s string) string {
	s = numbers.ReplaceAllString(s, "#")
	s = units.ReplaceAllString(s, "#")
	return strings.TrimSpace(spaces.ReplaceAllString(s, " "))
}

// matches compares what a command printed with what the page says, line by line. A line `...` stands for any number of lines. With
// loose, lines are compared as [blur] leaves them. It returns the first line that is not there, in order.
func matches(got, want []string, loose bool) (missing string, ok bool) {
	same := func(a, b string) bool {
		if loose {
			return blur(a) == blur(b)
		}
		return strings.TrimRight(a, " ") == strings.TrimRight(b, " ")
	}
	at, gap := 0, false
	for _, w := range want {
		if strings.TrimSpace(w) == "..." {
			gap = true
			continue
		}
		for gap && at < len(got) && !same(got[at], w) {
			at++
		}
		if at == len(got) || !same(got[at], w) {
			return w, false
		}
		at, gap = at+1, false
	}
	if at < len(got) && !gap {
		return "(nothing) where it prints " + strconv.Quote(got[at]), false
	}
	return "", true
}
