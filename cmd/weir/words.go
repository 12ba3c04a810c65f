package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Columns that prose has: what reads well, and less where the terminal has less.
const (
	proseWidth = 100
	leastWidth = 40 // below it each line would be a word or two, and the terminal's own wrapping does no worse
)

// width is how wide text for w should be.
func width(w io.Writer) int {
	if o, ok := w.(*output); ok {
		w = o.w
	}
	if f, ok := w.(*os.File); ok {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil && columns > 0 {
			return max(leastWidth, min(columns, proseWidth))
		}
	}
	return proseWidth
}

// lines says what becomes of those that are indented.
type lines bool

const (
	asTheyAre lines = false
	broken    lines = true
)

// wrap breaks lines that are wider than columns between words. What follows has the indentation of its line, so that lists and what
// belongs to an option stay under each other, or is an example that is left as it is. Lines of a paragraph that are not indented are
// one text to begin with.
func wrap(text string, columns int, indented lines) string {
	var b strings.Builder
	var open []string // words of a paragraph that is not written yet
	flush := func() {
		fill(&b, "", open, columns)
		open = nil
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \n")
		indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
		switch {
		case line == "" || indent != "":
			flush()
			if indented == asTheyAre || utf8.RuneCountInString(line) <= columns {
				b.WriteString(line + "\n")
			} else {
				fill(&b, indent, strings.Fields(line), columns)
			}
		default:
			open = append(open, strings.Fields(line)...)
		}
	}
	flush()
	return b.String()
}

// fill writes words in lines of at most columns, each behind indent; a longer word has a line of its own.
func fill(b *strings.Builder, indent string, words []string, columns int) {
	at := 0
	for _, w := range words {
		n := utf8.RuneCountInString(w)
		switch {
		case at > 0 && at+1+n <= columns:
			b.WriteString(" " + w)
			at += 1 + n
			continue
		case at > 0:
			b.WriteString("\n")
		}
		b.WriteString(indent + w)
		at = utf8.RuneCountInString(indent) + n
	}
	if len(words) > 0 {
		b.WriteString("\n")
	}
}

// help is what --help says of a command, in lines that fit.
func (a *app) help(cmd *cobra.Command) {
	long := cmd.Long
	if long == "" {
		long = cmd.Short
	}
	fmt.Fprintf(a.out, "%s\n", wrap(long, width(a.out), asTheyAre))
	a.usage(cmd)
}

// usage is how a command is called.
func (a *app) usage(cmd *cobra.Command) {
	columns := width(a.out)
	var b strings.Builder
	b.WriteString("Usage:\n")
	if cmd.Runnable() {
		b.WriteString("  " + cmd.UseLine() + "\n")
	}
	if cmd.HasAvailableSubCommands() {
		b.WriteString("  " + cmd.CommandPath() + " [command]\n")
	}
	if cmd.HasExample() {
		b.WriteString("\nExamples:\n" + cmd.Example + "\n")
	}
	if cmd.HasAvailableSubCommands() {
		b.WriteString("\nAvailable Commands:\n")
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() || c.Name() == "help" {
				fmt.Fprintf(&b, "  %-*s %s\n", cmd.NamePadding(), c.Name(), c.Short)
			}
		}
	}
	if cmd.HasAvailableLocalFlags() {
		b.WriteString("\nFlags:\n")
		for line := range strings.Lines(cmd.LocalFlags().FlagUsagesWrapped(columns)) {
			b.WriteString(strings.TrimRight(line, " \n") + "\n")
		}
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\nUse \"%s [command] --help\" for more information about a command.\n", cmd.CommandPath())
	}
	fmt.Fprint(a.out, b.String())
}
