package config

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// constants of codes.go, read from its text: a code without a story would be one that `weir explain` does not know.
func TestEveryCodeHasAStory(t *testing.T) {
	text, err := os.ReadFile("codes.go")
	if err != nil {
		t.Fatal(err)
	}
	constants := regexp.MustCompile(`(?m)^\tCode\w+ += "([EW]\d{3})"`).FindAllStringSubmatch(string(text), -1)
	if len(constants) != len(Codes) {
		t.Errorf("%d constants, %d stories", len(constants), len(Codes))
	}
	last := ""
	for _, c := range Codes {
		if c.Title == "" || c.Story == "" || c.Wrong == "" || c.Mend == "" || c.Wrong == c.Mend {
			t.Errorf("%s: title, story, a wrong example and its mend are needed", c.Code)
		}
		if want := map[byte]Severity{'E': SeverityError, 'W': SeverityWarning}[c.Code[0]]; c.Severity != want {
			t.Errorf("%s is a %s", c.Code, c.Severity)
		}
		if number := c.Code[1:]; number <= last {
			t.Errorf("%s is not in order", c.Code)
		} else {
			last = number
		}
	}
	for _, c := range constants {
		text, ok := Explain(strings.ToLower(c[1]))
		if !ok || !strings.Contains(text, c[1]) || !strings.Contains(text, "\nRight:\n") {
			t.Errorf("Explain(%q) = %q, %v", c[1], text, ok)
		}
	}
	if _, ok := Explain("E999"); ok {
		t.Error("E999 is explained")
	}
}

// Each wrong example gives its code and no other error, and each mend gives no error at all.
func TestWrongExamplesAreWrongAndMendsAreRight(t *testing.T) {
	parse := func(text string, set ...string) *Diagnostics {
		opts := testOptions()
		opts.Set = set
		p, d := Parse("collect.yaml", []byte(text), opts)
		if p == nil && !d.Failed() {
			t.Fatalf("no pipeline and no error of %q", text)
		}
		return d
	}
	const minimal = "sources:\n  in: { type: udp }\nsinks:\n  clickhouse: { type: stdout }\n"
	special := map[string]func(text string) *Diagnostics{ // those whose example is a command or another file
		CodeUnreadable: func(text string) *Diagnostics {
			name := filepath.Join(t.TempDir(), "collect.yaml")
			if err := os.WriteFile(name, []byte(minimal), 0o600); err != nil {
				t.Fatal(err)
			}
			_, d := Load(filepath.Join(filepath.Dir(name), filepath.Base(strings.TrimPrefix(text, "weir validate "))), testOptions())
			return d
		},
		CodeTooLarge: func(text string) *Diagnostics {
			if strings.Contains(text, "a-list-of") {
				return parse(minimal + strings.Repeat("#\n", MaxFileBytes/2))
			}
			return parse(minimal)
		},
		CodeOverride: func(text string) *Diagnostics {
			_, set, _ := strings.Cut(text, "--set ")
			return parse(minimal, set)
		},
		CodeUnknownSetting: func(text string) *Diagnostics {
			_, d := LoadSettings(SettingsOptions{File: "weir.yaml", Text: []byte(text), Env: []string{}})
			return d
		},
	}
	special[CodeManyKeyed] = func(string) *Diagnostics { return parse(minimal) } // its file would fill a page
	special[CodeTooManyEdges] = special[CodeManyKeyed]
	special[CodeBadSetting] = special[CodeUnknownSetting]
	for _, c := range Codes {
		read := special[c.Code]
		if read == nil {
			read = func(text string) *Diagnostics { return parse(text) }
		}
		d := read(c.Wrong)
		if c.ByPlan {
			if d.Failed() {
				t.Errorf("%s: the wrong example is wrong before the plan: %+v", c.Code, d.List)
			}
		} else if len(d.List) != 1 || d.List[0].Code != c.Code {
			t.Errorf("%s: the wrong example gives %+v", c.Code, d.List)
		}
		if d = read(c.Mend); len(d.List) > 0 {
			t.Errorf("%s: the mend gives %+v", c.Code, d.List)
		}
	}
}
