package config

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// checkParse is the property of every text: no panic; a pipeline that is usable, or an error; places within the file; bounded lists; and no
// value that was put in is shown.
func checkParse(t *testing.T, text []byte, set string) {
	defer time.AfterFunc(time.Minute, func() { panic(fmt.Sprintf("not done after a minute: %q %q", text, set)) }).Stop()
	opts := testOptions()
	if set != "" {
		opts.Set = []string{set}
	}
	p, d := Parse("f.yaml", text, opts)
	if len(d.List) > MaxDiagnostics+1 {
		t.Fatalf("%d diagnostics", len(d.List))
	}
	if p == nil && !d.Failed() {
		t.Fatal("no pipeline and no error")
	}
	for i, one := range d.List {
		c, ok := Lookup(one.Code)
		if !ok || one.Message == "" || c.Severity != one.Severity {
			t.Fatalf("diagnostic %+v", one)
		}
		if strings.Contains(one.Message+one.Help, "hunter2") {
			t.Fatalf("a secret is shown: %+v", one)
		}
		if len(one.Path) > maxShown+3 || len(one.Message) > maxShown+3 || len(one.Help) > maxShown+3 {
			t.Fatalf("too long to be read: %.200s %.200s %.200s", one.Path, one.Message, one.Help)
		}
		src, has := d.Texts[one.At.File]
		if one.At.Line == 0 {
			continue
		}
		if !has {
			t.Fatalf("no text for %+v", one)
		}
		lines := strings.Split(string(src), "\n")
		if one.At.Line > len(lines) || one.At.Col < 1 || one.At.Col > utf8.RuneCountInString(lines[one.At.Line-1])+1 {
			t.Fatalf("%+v stands outside of its file", one)
		}
		if one.End.Line != 0 && (one.End.Line < one.At.Line || one.End.Line == one.At.Line && one.End.Col < one.At.Col) {
			t.Fatalf("%+v ends at %v", one, one.End)
		}
		if i > 0 && one.At.File == d.List[i-1].At.File && one.At.Line < d.List[i-1].At.Line {
			t.Fatalf("not sorted: %+v after %+v", one, d.List[i-1])
		}
	}
	for _, f := range []Format{FormatText, FormatColor, FormatJSON, FormatGitHub} {
		if err := Render(io.Discard, d, f); err != nil {
			t.Fatal(err)
		}
	}
	if p == nil || d.Failed() {
		return
	}
	seen := map[string]bool{}
	for _, n := range p.Nodes {
		if n.Plugin == nil || n.Plugin.Spec.Type != n.Type || n.Plugin.Spec.Config != nil && n.Config == nil || n.ID == "" || seen[n.ID] || n.OnError == "" ||
			n.Retry.Initial <= 0 || n.Retry.Max < n.Retry.Initial || n.Lanes < 0 || n.At.Line == 0 {
			t.Fatalf("not usable: %+v", n)
		}
		seen[n.ID] = true
		for path := range n.Positions {
			if at := n.Pos(path); at.Line < 1 || at.Col < 1 {
				t.Fatalf("%s stands at %v", path, at)
			}
		}
		for path, v := range n.scalars {
			for off := 0; off <= len(v.text); off += 1 + len(v.text)/8 {
				if at, _ := n.Place(path, off); at.Line < 1 || at.Col < 1 {
					t.Fatalf("byte %d of %s stands at %v", off, path, at)
				}
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(wholeFile), "")
	for _, c := range Codes {
		f.Add([]byte(c.Wrong), "sinks.out.type=discard")
	}
	files, _ := filepath.Glob("testdata/*.yaml")
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil {
			f.Add(text, "")
		}
	}
	for _, s := range []string{"a: |\n\n  x", "a: >2\n   x", "? a\n: b", "{a, b: }", "- &a - *a", "a: \"\\\n\"", "\ufeffa: 1\r\nb: 2\r", "a: !!map", "<<: *a", "a: &a\nb: *a"} {
		f.Add([]byte(s), "sources.a.with.x[0].y=[{ \"$${\": ${env:PORT} }]")
	}
	f.Fuzz(func(t *testing.T, text []byte, set string) { checkParse(t, text, set) })
}

// Hostile files cost no more than a few seconds on a busy machine, and say what is wrong with them.
func TestHostileFilesAreBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("parses large files")
	}
	const size = 768 << 10 // what is fast enough for every day; at MaxFileBytes the slowest takes about two seconds
	fill := func(s string) string { return strings.Repeat(s, size/len(s)) }
	numbered := func(format string) string {
		var b strings.Builder
		for i := 0; b.Len() < size; i++ {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	indented := func(head string) string {
		var b strings.Builder
		for i := 0; b.Len()+i+len(head) < size; i++ {
			b.WriteString(strings.Repeat(" ", i) + head + "\n")
		}
		return b.String()
	}
	for _, c := range []struct{ name, text, code string }{
		{"open brackets", fill("["), CodeTooMuch},
		{"open braces", fill("{a: "), CodeTooMuch},
		{"dashes", fill("- "), CodeTooMuch},
		{"question marks", fill("? "), CodeTooMuch},
		{"colons", fill(": "), CodeTooMuch},
		{"anchors", fill("&a "), CodeTooMuch},
		{"anchors on lines", fill("&a\n"), CodeTooMuch},
		{"tags", fill("!a "), CodeTooMuch},
		{"tags on lines", fill("!a\n"), CodeTooMuch},
		{"indented keys", indented("a:"), CodeTooDeep},
		{"indented items", indented("-"), CodeTooDeep},
		{"keys", numbered("k%d: 1\n"), CodeTooMuch},
		{"keys of a node", "sources:\n" + numbered("  k%d: 1\n"), CodeTooMuch},
		{"keys in braces", "{" + numbered("k%d: 1, "), CodeTooMuch},
		{"keys in quotes", numbered("\"k%d\": 1\n"), CodeTooMuch},
		{"items", strings.Repeat("- a\n", MaxValues+1), CodeTooMuch},
		{"items in brackets", "[" + fill("a,") + "]", CodeTooMuch},
		{"merges", "a: &a {b: 1}\nc:\n" + fill("  <<: *a\n"), CodeTooMuch},
		{"documents", strings.Repeat("---\na: 1\n", 50_000), CodeSeveralDocs},
		{"document ends", fill("a: 1\n...\n"), CodeSeveralDocs},
		{"empty documents", strings.Repeat("---\n", 100_000), CodeSeveralDocs},
		{"empty ends", fill("...\n"), CodeEmpty},
		{"nested brackets", strings.Repeat("[", 100_000), CodeTooDeep},
		{"nested dashes", strings.Repeat("- ", 100_000), CodeTooDeep},
		{"nested braces", strings.Repeat("{a: ", 100_000), CodeTooDeep},
		{"question marks in a row", strings.Repeat("? ", 100_000), CodeTooDeep},
		{"colons in a row", strings.Repeat(": ", 100_000), CodeTooDeep},
		{"anchors in a row", strings.Repeat("&a ", 100_000), CodeTooDeep},
		{"tags in a row", strings.Repeat("!a\n", 100_000), CodeTooDeep},
		{"two documents", "a: 1\n---\na: 1\n", CodeSeveralDocs},
		{"faults on one line", "sources: {" + numbered("k%d: x, ")[:50_000] + "k: x}", CodeWrongType},
		{"options on one line", "sources: { a: { type: udp, with: { listen: [" + strings.Repeat("'x',", 50_000) + "] } } }", CodeWrongType},
		{"columns on one line", "sinks: { a: { type: stdout, with: { columns: [" + strings.Repeat("'x',", 50_000) + "] } } }", ""},
		{"nodes on one line", "processors: [" + strings.Repeat("{ id: x, type: filter, from: a, with: { when: 'x' } },", 5_000) + "]", CodeDuplicateID},
		{"one string", "doc: \"" + fill("x") + "\"", ""},
		{"one long plain", "doc:\n" + fill("  x\n"), ""},
		{"one block", "doc: |\n" + fill("  x\n"), ""},
		{"escapes", "doc: \"" + fill("\\x41") + "\"", ""},
		{"interpolations", "doc: x\nsources: \"" + fill("${env:PORT} ") + "\"", CodeWrongType},
		{"open interpolations", "sources: \"" + fill("${") + "\"", CodeInterpolation},
		{"bad interpolations", "sources: \"" + fill("${x}") + "\"", CodeInterpolation},
		{"comments", fill("# x\n"), CodeEmpty},
		{"spaces", "doc: x\n" + fill(" "), ""},
		{"line ends", "doc: x\n" + fill("\n"), ""},
		{"quotes", "doc: " + strings.Repeat("'' ", 100_000), CodeSyntax},
		{"unknown keys", "sources:\n" + fill("  a: {}\n"), CodeTooMuch},
		{"aliases", "a: &a [" + strings.Repeat("x,", 150_000) + "]\nb: [*a, *a]\n", CodeTooMuch},
	} {
		t.Run(c.name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			_, d := Parse("f.yaml", []byte(c.text), testOptions())
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			t.Logf("%v, %d MiB", took, (after.TotalAlloc-before.TotalAlloc)>>20)
			if took > 30*time.Second {
				t.Errorf("took %v", took)
			}
			got := ""
			if len(d.List) > 0 {
				got = d.List[0].Code
				for _, one := range d.List {
					if one.Code == c.code {
						got = c.code
					}
				}
			}
			if got != c.code {
				t.Errorf("%d diagnostics, first %s, wanted %q", len(d.List), got, c.code)
			}
			start = time.Now()
			if err := Render(io.Discard, d, FormatText); err != nil || time.Since(start) > 30*time.Second {
				t.Errorf("rendering took %v, %v", time.Since(start), err)
			}
		})
	}
}
