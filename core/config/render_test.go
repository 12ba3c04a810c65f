package config

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func render(t *testing.T, d *Diagnostics, f Format) string {
	t.Helper()
	var b strings.Builder
	if err := Render(&b, d, f); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var twoFaults = &Diagnostics{
	List: []Diagnostic{
		{SeverityError, CodeUnknownKey, Pos{"a.yaml", 2, 3}, Pos{"a.yaml", 2, 7}, "sinks.out.nmae", "unknown key `nmae`", "did you mean `name`?"},
		{Severity: SeverityWarning, Code: CodeUnread, At: Pos{File: "b, c.yaml"}, Message: "50% unread:\nall"},
	},
	Texts: map[string][]byte{"a.yaml": []byte("sinks:\n\t\tnmae: \x1b[31m\n")},
}

func TestRender(t *testing.T) {
	for _, c := range []struct {
		format Format
		want   string
	}{
		{FormatText, "a.yaml:2:3: error[E201]: sinks.out.nmae: unknown key `nmae`\n    1 | sinks:\n    2 | \t\tnmae: \ufffd[31m\n      | \t\t^^^^\n" +
			"   = did you mean `name`?\nb, c.yaml: warning[W310]: 50% unread: all\n\n1 error, 1 warning; `weir explain E201` tells more\n"},
		{FormatGitHub, "::error file=a.yaml,line=2,col=3,endColumn=7,title=E201 unknown key::sinks.out.nmae: unknown key `nmae`%0Adid you mean `name`?\n" +
			"::warning file=b%2C c.yaml,title=W310 nobody reads an output::50%25 unread:%0Aall\n"},
	} {
		if diff := cmp.Diff(c.want, render(t, twoFaults, c.format)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.format, diff)
		}
	}
	var got struct {
		Errors, Warnings int
		Diagnostics      []map[string]any
	}
	if err := json.Unmarshal([]byte(render(t, twoFaults, FormatJSON)), &got); err != nil {
		t.Fatal(err)
	}
	want := []map[string]any{
		{"severity": "error", "code": "E201", "file": "a.yaml", "line": 2., "col": 3., "end_line": 2., "end_col": 7., "path": "sinks.out.nmae",
			"message": "unknown key `nmae`", "help": "did you mean `name`?"},
		{"severity": "warning", "code": "W310", "file": "b, c.yaml", "message": "50% unread:\nall"},
	}
	if diff := cmp.Diff(want, got.Diagnostics); diff != "" || got.Errors != 1 || got.Warnings != 1 {
		t.Errorf("json: %d errors, %d warnings (-want +got):\n%s", got.Errors, got.Warnings, diff)
	}
	if err := Render(&strings.Builder{}, twoFaults, "xml"); err == nil {
		t.Error("xml is a format")
	}
	for f, want := range map[Format]string{FormatText: "", FormatGitHub: "", FormatJSON: "{\n  \"errors\": 0,\n  \"warnings\": 0,\n  \"diagnostics\": []\n}\n"} {
		if got := render(t, &Diagnostics{}, f); got != want {
			t.Errorf("nothing in %s is %q", f, got)
		}
	}
}

// Colours are there when asked for, and taking them out gives the plain text.
func TestRenderColor(t *testing.T) {
	colored := render(t, twoFaults, FormatColor)
	plain := render(t, twoFaults, FormatText)
	if strings.Contains(plain, "\x1b") || !strings.Contains(colored, "\x1b[1;31merror[E201]:\x1b[0m") {
		t.Errorf("colours: %q", colored)
	}
	var b strings.Builder
	for i, part := range strings.Split(colored, "\x1b[") {
		if i > 0 {
			_, part, _ = strings.Cut(part, "m")
		}
		b.WriteString(part)
	}
	if b.String() != plain {
		t.Errorf("without its colours, it is\n%s", b.String())
	}
}

// A long line is shown around the caret, which stands under the same character.
func TestRenderLongLine(t *testing.T) {
	for _, at := range []int{0, 10, 150, 5000, 9990, 9999} {
		line := []rune(strings.Repeat("é", 10_000))
		line[at] = 'X'
		d := &Diagnostics{List: []Diagnostic{{SeverityError, CodeBadValue, Pos{"f", 1, at + 1}, Pos{"f", 1, 20_000}, "", "m", ""}}, Texts: map[string][]byte{"f": []byte(string(line))}}
		rows := strings.Split(render(t, d, FormatText), "\n")
		shown, carets := []rune(rows[1]), []rune(rows[2])
		x := strings.IndexRune(string(carets), '^')
		if shown[x] != 'X' || len(shown) > maxExcerpt+20 || len(carets) > maxExcerpt+20 {
			t.Errorf("at %d:\n%s\n%s", at, string(shown), string(carets))
		}
	}
}

func TestDiagnosticsAreBoundedAndSorted(t *testing.T) {
	d := &Diagnostics{}
	for i := range 2 * MaxDiagnostics {
		d.Add(Diagnostic{Code: CodeUnread, At: Pos{"f", 2*MaxDiagnostics - i, 1}})
	}
	if len(d.List) != MaxDiagnostics || d.Failed() {
		t.Errorf("%d warnings, failed %v", len(d.List), d.Failed())
	}
	d.Add(Diagnostic{Code: CodeCycle, At: Pos{"f", 1, 1}})
	d.Add(Diagnostic{Code: CodeCycle, At: Pos{"f", 1, 1}})
	if !d.Failed() || len(d.List) != MaxDiagnostics+1 {
		t.Error("an error was lost behind warnings")
	}
	d.Sort()
	if d.List[0].Code != CodeCycle {
		t.Errorf("first is %+v", d.List[0])
	}
	d.List = append(d.List, d.List[0])
	d.Sort()
	if len(d.List) != MaxDiagnostics+1 {
		t.Error("said twice")
	}
}

// What follows from a fault that was told is not told besides.
func TestSortRemovesWhatFollows(t *testing.T) {
	d := &Diagnostics{}
	d.Add(Diagnostic{Code: CodeExpression, Path: "a.with.when"})
	d.Add(Diagnostic{Code: CodeMissing, Path: "a.with.when"})
	d.Add(Diagnostic{Code: CodeExpression, Path: "b.with.when"})
	d.Add(Diagnostic{Code: CodeExpression, Path: "a.with.when", At: Pos{File: "other.yaml"}})
	d.Add(Diagnostic{Code: CodeUnknownType, Path: "sources.in.type"})
	d.Add(Diagnostic{Code: CodeNoSource, Path: "sources"})
	d.Add(Diagnostic{Code: CodeNoSink, Path: "sinks"})
	d.Sort()
	var got []string
	for _, one := range d.List {
		got = append(got, one.Code+one.Path)
	}
	if diff := cmp.Diff([]string{"E203a.with.when", "E206sources.in.type", "E305sinks", "E403b.with.when", "E403a.with.when"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A place that a parser counted past the end of its line, or of its file, is moved to the end.
func TestPlacesStayWithinTheirText(t *testing.T) {
	d := &Diagnostics{}
	d.text("f.yaml", []byte("ab\nçd"))
	at := func(line, col int) Pos { return Pos{File: "f.yaml", Line: line, Col: col} }
	for _, one := range []Diagnostic{
		{Code: CodeSyntax, At: at(1, 9), End: at(1, 12)}, {Code: CodeSyntax, At: at(2, 2), End: at(2, 1)}, {Code: CodeSyntax, At: at(7, 1), Message: "far"}, {Code: CodeSyntax, At: Pos{File: "f.yaml"}},
	} {
		d.Add(one)
	}
	d.Sort()
	var got [][2]Pos
	for _, one := range d.List {
		got = append(got, [2]Pos{one.At, one.End})
	}
	want := [][2]Pos{{{File: "f.yaml"}, {}}, {at(1, 3), at(1, 3)}, {at(2, 2), {}}, {at(2, 3), {}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A key of 100,000 letters is a fault like any other: path, message and help stay readable, in every form.
func TestOverlongNamesAreCut(t *testing.T) {
	key := strings.Repeat("é", 50_000)
	text := "sources:\n  in: { type: udp, with: { " + key + ": 1 } }\n  " + key + ": { type: udp }\n  b: *" + key + "\nsinks:\n  out: { type: stdout, from: [" + key + "], queue: { bytes: " + key +
		", when_full: " + key + " }, with: { format: \"${param:" + key + "}\" } }\n" + key + ": 1\n"
	for _, text := range []string{text, strings.Replace(text, "  b: *"+key+"\n", "", 1)} {
		_, d := Parse("f.yaml", []byte(text), testOptions())
		if len(d.List) == 0 {
			t.Fatal("nothing was found")
		}
		for _, form := range []Format{FormatText, FormatJSON, FormatGitHub} {
			var b strings.Builder
			if err := Render(&b, d, form); err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(b.String()) {
				if len(line) > 1200 || !utf8.ValidString(line) {
					t.Errorf("%s: a line of %d bytes: %.150s", form, len(line), line)
				}
			}
			if !strings.Contains(b.String(), "ééé...") {
				t.Errorf("%s: it does not say that something was left out", form)
			}
		}
	}
	if got := bounded(strings.Repeat("word ", 1000)); len(got) != maxShown+3 {
		t.Errorf("%d bytes are shown of many words", len(got))
	}
	if short := "as it is " + strings.Repeat("x", maxShownWord); bounded(short) != short {
		t.Error("what is not too long was cut")
	}
}
