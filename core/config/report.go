package config

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// MaxDiagnostics is how many diagnostics a list holds. A file with more faults than this has one fault that matters.
const MaxDiagnostics = 200

// Add appends d. Its severity is that of its code if it has none. Beyond MaxDiagnostics only the first error is still taken, so
// that Failed stays true to what was found.
func (d *Diagnostics) Add(one Diagnostic) {
	if one.Severity == "" {
		one.Severity = SeverityError
		if c, ok := Lookup(one.Code); ok {
			one.Severity = c.Severity
		}
	}
	one.Path, one.Message, one.Help = bounded(one.Path), bounded(one.Message), bounded(one.Help)
	if len(d.List) >= MaxDiagnostics && (one.Severity != SeverityError || d.Failed()) {
		return
	}
	d.List = append(d.List, one)
}

// Bounds of what a diagnostic shows: a word, and the whole of a message. Whoever looks for a fault has the file.
const (
	maxShownWord = 200
	maxShown     = 2000
)

// bounded leaves out the middle of words that no screen has room for, such as a key of 100,000 letters.
func bounded(s string) string {
	if len(s) <= maxShownWord {
		return s
	}
	var b strings.Builder
	for i, word := range strings.Split(s, " ") {
		if i > 0 {
			b.WriteByte(' ')
		}
		if len(word) > maxShownWord {
			word = strings.ToValidUTF8(word[:maxShownWord/2], "") + "..." + strings.ToValidUTF8(word[len(word)-maxShownWord/4:], "")
		}
		b.WriteString(word)
		if b.Len() > maxShown {
			return strings.ToValidUTF8(b.String()[:maxShown], "") + "..."
		}
	}
	return b.String()
}

// Merge appends what o holds.
func (d *Diagnostics) Merge(o *Diagnostics) {
	if o == nil {
		return
	}
	for _, one := range o.List {
		d.Add(one)
	}
	for name, text := range o.Texts {
		if o.Arguments[name] {
			d.argument(name, text)
			continue
		}
		d.text(name, text)
	}
}

// text remembers the text of a file for the excerpts.
func (d *Diagnostics) text(name string, text []byte) {
	if d.Texts == nil {
		d.Texts = map[string][]byte{}
	}
	d.Texts[name] = text
}

// Sort orders the list by place, and removes what was said twice and what only follows: where an option is missing or unreadable (E2),
// nothing is said of its columns and expressions (E4); where something under `sources` or `sinks` cannot be read, not that there is
// none. Load and Parse do it before they return; do it again after Merge.
func (d *Diagnostics) Sort() {
	told, sections := map[string]bool{}, map[string]bool{}
	for i := range d.List {
		one := &d.List[i]
		if one.Path != "" && strings.HasPrefix(one.Code, "E2") {
			told[one.At.File+"\n"+one.Path] = true
		}
		if one.Code != CodeNoSource && one.Code != CodeNoSink && one.Severity == SeverityError {
			section, _, _ := strings.Cut(one.Path, ".")
			sections[one.At.File+"\n"+section] = true
		}
	}
	d.List = slices.DeleteFunc(d.List, func(one Diagnostic) bool {
		where := one.At.File + "\n" + one.Path
		return strings.HasPrefix(one.Code, "E4") && told[where] || (one.Code == CodeNoSource || one.Code == CodeNoSink) && sections[where]
	})
	d.clamp()
	slices.SortStableFunc(d.List, func(a, b Diagnostic) int {
		return cmp.Or(strings.Compare(a.At.File, b.At.File), cmp.Compare(a.At.Line, b.At.Line), cmp.Compare(a.At.Col, b.At.Col),
			strings.Compare(string(a.Severity), string(b.Severity)), strings.Compare(a.Code, b.Code), strings.Compare(a.Path, b.Path),
			strings.Compare(a.Message, b.Message))
	})
	d.List = slices.Compact(d.List)
}

// clamp keeps every place within its text: the YAML lexer sometimes counts past the end of a line, and an excerpt cannot show what is not
// there.
func (d *Diagnostics) clamp() {
	lines := map[string][]string{}
	for i := range d.List {
		one := &d.List[i]
		text, ok := d.Texts[one.At.File]
		if !ok || one.At.Line < 1 {
			continue
		}
		in, ok := lines[one.At.File]
		if !ok {
			in = strings.Split(string(text), "\n")
			lines[one.At.File] = in
		}
		one.At = within(one.At, in)
		if one.End.Line < 1 {
			continue
		}
		if one.End = within(one.End, in); one.End.Line < one.At.Line || one.End.Line == one.At.Line && one.End.Col < one.At.Col {
			one.End = Pos{}
		}
	}
}

// within is p, or the end of its line, or of the text.
func within(p Pos, lines []string) Pos {
	if p.Line > len(lines) {
		p.Line, p.Col = len(lines), math.MaxInt
	}
	p.Col = min(max(p.Col, 1), utf8.RuneCountInString(lines[p.Line-1])+1)
	return p
}

// Count is how many errors and warnings there are.
func (d *Diagnostics) Count() (errors, warnings int) {
	for i := range d.List {
		if d.List[i].Severity == SeverityError {
			errors++
		} else {
			warnings++
		}
	}
	return errors, warnings
}

// argument keeps the value of a flag or an environment variable for excerpts.
func (d *Diagnostics) argument(name string, text []byte) {
	d.text(name, text)
	if d.Arguments == nil {
		d.Arguments = map[string]bool{}
	}
	d.Arguments[name] = true
}
