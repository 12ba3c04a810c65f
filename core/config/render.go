package config

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Format of rendered diagnostics.
type Format string

const (
	FormatText   Format = "text"   // for people: first line as compilers write it, excerpt, help
	FormatColor  Format = "color"  // the same with ANSI colours; for terminals that were asked
	FormatJSON   Format = "json"   // one object: errors, warnings, diagnostics
	FormatGitHub Format = "github" // workflow commands that annotate a pull request
)

// Render writes diagnostics. Nothing is written in text if there are none. What comes out of a file is stripped of control
// characters, so that no file can steer the terminal.
func Render(w io.Writer, d *Diagnostics, format Format) error {
	switch format {
	case FormatText, FormatColor, "":
		return renderText(w, d, format == FormatColor)
	case FormatJSON:
		return renderJSON(w, d)
	case FormatGitHub:
		return renderGitHub(w, d)
	}
	return fmt.Errorf("no format %q of diagnostics: text, json or github", format)
}

type paint struct{ on bool }

func (p paint) in(color, s string) string {
	if !p.on || s == "" {
		return s
	}
	return "\x1b[" + color + "m" + s + "\x1b[0m"
}

func renderText(w io.Writer, d *Diagnostics, color bool) error {
	if len(d.List) == 0 {
		return nil
	}
	p := paint{color}
	var b strings.Builder
	lines := map[string][]string{}
	for i := range d.List {
		one := &d.List[i]
		tone := "1;31"
		if one.Severity == SeverityWarning {
			tone = "1;33"
		}
		if where := d.place(one.At); where != "" {
			b.WriteString(p.in("1", where+":") + " ")
		}
		b.WriteString(p.in(tone, fmt.Sprintf("%s[%s]:", one.Severity, one.Code)) + " ")
		if one.Path != "" {
			b.WriteString(clean(one.Path) + ": ")
		}
		b.WriteString(clean(one.Message) + "\n")
		all, ok := lines[one.At.File]
		if !ok {
			if text, has := d.Texts[one.At.File]; has {
				all = strings.Split(string(text), "\n")
			}
			lines[one.At.File] = all
		}
		excerpt(&b, p, tone, one, all, d.Arguments[one.At.File])
		if one.Help != "" {
			b.WriteString("   = " + p.in("36", clean(one.Help)) + "\n")
		}
	}
	errs, warns := d.Count()
	b.WriteString("\n" + count(errs, "error"))
	if warns > 0 {
		b.WriteString(", " + count(warns, "warning"))
	}
	fmt.Fprintf(&b, "; `weir explain %s` tells more\n", d.List[0].Code)
	_, err := io.WriteString(w, b.String())
	return err
}

func count(n int, what string) string {
	switch n {
	case 0:
		return "no " + what + "s"
	case 1:
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// place is file:line:col, as far as it is known; of what is no file its name.
func (d *Diagnostics) place(at Pos) string {
	switch {
	case at.Line > 0 && !d.Arguments[at.File]:
		return fmt.Sprintf("%s:%d:%d", clean(at.File), at.Line, at.Col)
	default:
		return clean(at.File)
	}
}

// maxExcerpt is the most characters of a line that are shown; of a longer one, the part around the caret.
const maxExcerpt = 160

func excerpt(b *strings.Builder, p paint, tone string, one *Diagnostic, lines []string, unnumbered bool) {
	n := one.At.Line
	if n < 1 || n > len(lines) {
		return
	}
	if n > 1 && strings.TrimSpace(lines[n-2]) != "" {
		before, _, _ := window([]rune(sanitize(lines[n-2])), 0)
		fmt.Fprintf(b, "%s%s\n", p.in("2", fmt.Sprintf("%5d | ", n-1)), string(before))
	}
	line := []rune(sanitize(lines[n-1]))
	from := min(max(one.At.Col-1, 0), len(line))
	to := from + 1
	if one.End.Line == n && one.End.Col > one.At.Col {
		to = min(one.End.Col-1, max(len(line), from+1))
	} else if one.End.Line > n {
		to = max(len(line), from+1)
	}
	shown, cut, dots := window(line, from)
	number := fmt.Sprintf("%5d | ", n)
	if unnumbered {
		number = "      | "
	}
	fmt.Fprintf(b, "%s%s\n", p.in("2", number), string(shown))
	from, to = from-cut+dots, min(to-cut+dots, max(len(shown), from-cut+dots+1))
	pad := make([]rune, from)
	for i := range pad {
		pad[i] = ' '
		if i < len(shown) && shown[i] == '\t' {
			pad[i] = '\t'
		}
	}
	fmt.Fprintf(b, "%s%s%s\n", p.in("2", "      | "), string(pad), p.in(tone, strings.Repeat("^", max(to-from, 1))))
}

// window is the part of a line that is shown, how many runes were cut off before it and how many stand for them.
func window(line []rune, at int) (shown []rune, cut, dots int) {
	if len(line) <= maxExcerpt {
		return line, 0, 0
	}
	cut = min(max(at-maxExcerpt/2, 0), len(line)-maxExcerpt)
	shown = line[cut : cut+maxExcerpt]
	if cut > 0 {
		shown, dots = append([]rune("..."), shown...), 3
	}
	if cut+maxExcerpt < len(line) {
		shown = append(shown[:len(shown):len(shown)], []rune("...")...)
	}
	return shown, cut, dots
}

// sanitize keeps the number of characters and replaces those that would steer a terminal.
func sanitize(s string) string {
	if !utf8.ValidString(s) {
		s = string([]rune(s)) // each bad byte becomes one replacement character
	}
	return strings.Map(func(r rune) rune {
		if r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029') {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// clean is sanitize for one-line texts: line ends and tabs become spaces.
func clean(s string) string {
	return sanitize(strings.NewReplacer("\r\n", " ", "\n", " ", "\t", " ").Replace(s))
}

// MarshalJSON writes a diagnostic flat: its place as file, line and col, left out as far as it is not known.
func (d Diagnostic) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Severity Severity `json:"severity"`
		Code     string   `json:"code"`
		File     string   `json:"file,omitempty"`
		Line     int      `json:"line,omitempty"`
		Col      int      `json:"col,omitempty"`
		EndLine  int      `json:"end_line,omitempty"`
		EndCol   int      `json:"end_col,omitempty"`
		Path     string   `json:"path,omitempty"`
		Message  string   `json:"message"`
		Help     string   `json:"help,omitempty"`
	}{d.Severity, d.Code, d.At.File, d.At.Line, d.At.Col, d.End.Line, d.End.Col, d.Path, d.Message, d.Help})
}

func renderJSON(w io.Writer, d *Diagnostics) error {
	out := struct {
		Errors      int          `json:"errors"`
		Warnings    int          `json:"warnings"`
		Diagnostics []Diagnostic `json:"diagnostics"`
	}{Diagnostics: d.List}
	if out.Diagnostics == nil {
		out.Diagnostics = []Diagnostic{}
	}
	out.Errors, out.Warnings = d.Count()
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(out)
}

// renderGitHub writes workflow commands: `::error file=,line=,col=,endColumn=,title=::message`. Values are escaped as the runner
// unescapes them.
func renderGitHub(w io.Writer, d *Diagnostics) error {
	data := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	prop := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	for _, o := range d.List {
		var props []string
		inFile := o.At.File != "" && !d.Arguments[o.At.File]
		if inFile {
			props = append(props, "file="+prop.Replace(o.At.File))
		}
		if o.At.Line > 0 && inFile {
			props = append(props, fmt.Sprintf("line=%d,col=%d", o.At.Line, o.At.Col))
			if o.End.Line == o.At.Line && o.End.Col > o.At.Col {
				props = append(props, fmt.Sprintf("endColumn=%d", o.End.Col))
			}
		}
		title := o.Code
		if c, ok := Lookup(o.Code); ok {
			title += " " + c.Title
		}
		props = append(props, "title="+prop.Replace(title))
		msg := o.Message
		if o.Path != "" {
			msg = o.Path + ": " + msg
		}
		if !inFile && o.At.File != "" {
			msg = o.At.File + ": " + msg
		}
		if o.Help != "" {
			msg += "\n" + o.Help
		}
		if _, err := fmt.Fprintf(w, "::%s %s::%s\n", o.Severity, strings.Join(props, ","), data.Replace(msg)); err != nil {
			return err
		}
	}
	return nil
}
