package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"pgregory.net/rapid"
)

// Guarantees: the help of every command, and all that is told of a plugin or a code, fits a terminal of 100 columns.
func TestHelpFits(t *testing.T) {
	lines := func(args ...string) {
		var out, errs bytes.Buffer
		if code := execute(args, &out, &errs); code != 0 {
			t.Fatalf("weir %s: exit %d: %s", strings.Join(args, " "), code, errs.String())
		}
		for line := range strings.Lines(out.String()) {
			if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > proseWidth {
				t.Errorf("weir %s: a line of %d columns: %s", strings.Join(args, " "), n, line)
			}
		}
	}
	a := &app{plugins: builtIn()}
	commands := 0
	var walk func(c *cobra.Command, path ...string)
	walk = func(c *cobra.Command, path ...string) {
		commands++
		lines(append(append([]string{}, path...), "--help")...)
		for _, sub := range c.Commands() {
			walk(sub, append(append([]string{}, path...), sub.Name())...)
		}
	}
	walk(a.root())
	if commands < 20 {
		t.Errorf("%d commands were looked at", commands)
	}
	lines("inspect", "plugins")
	for _, p := range a.plugins.All() {
		lines("inspect", "plugins", p.Spec.Type)
	}
	lines("explain")
	lines("explain", "E401")
}

func TestWrap(t *testing.T) {
	const text = "Says what\nit does, in a\nparagraph.\n\nSecond:\n  - one two three four\n    code: {a: 1, b: 2, c: 3}\n"
	for _, c := range []struct {
		indented lines
		want     string
	}{
		{asTheyAre, "Says what it\ndoes, in a\nparagraph.\n\nSecond:\n  - one two three four\n    code: {a: 1, b: 2, c: 3}\n"},
		{broken, "Says what it\ndoes, in a\nparagraph.\n\nSecond:\n  - one two\n  three four\n    code:\n    {a: 1,\n    b: 2, c:\n    3}\n"},
	} {
		if d := cmp.Diff(c.want, wrap(text, 12, c.indented)); d != "" {
			t.Errorf("indented lines broken: %v (-want +got):\n%s", c.indented, d)
		}
	}
}

// Guarantees: wrapping loses no word and changes no order; a line is too wide only where it is a single word; and what is wrapped stays
// as it is when it is wrapped again.
func TestWrapKeepsWords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`([a-zé.:]{1,30}[ \n]{1,2})*`).Draw(t, "text")
		columns := rapid.IntRange(1, 60).Draw(t, "columns")
		got := wrap(text, columns, broken)
		if d := cmp.Diff(strings.Fields(text), strings.Fields(got)); d != "" {
			t.Fatal(d)
		}
		for line := range strings.Lines(got) {
			line = strings.TrimRight(line, "\n")
			if utf8.RuneCountInString(line) > columns && len(strings.Fields(line)) > 1 {
				t.Fatalf("%q is wider than %d", line, columns)
			}
		}
		if d := cmp.Diff(got, wrap(got, columns, broken)); d != "" {
			t.Fatal(d)
		}
	})
}
