package lab

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
)

// Output is the flag -o of a benchmark: as what it tells its figures.
type Output struct {
	Text io.Writer // the tables, as they come; with -o json they go nowhere
	json bool
}

// NewOutput adds the flag to those of the program.
func NewOutput(f *flag.FlagSet) *Output {
	o := &Output{Text: os.Stdout}
	f.Func("o", "text, or json: one object with all figures, at the end (default text)", func(s string) error {
		switch s {
		case "text":
			o.json, o.Text = false, os.Stdout
		case "json":
			o.json, o.Text = true, io.Discard
		default:
			return fmt.Errorf("%q is neither text nor json", s)
		}
		return nil
	})
	return o
}

// End writes figures to w if JSON was asked for.
func (o *Output) End(w io.Writer, figures any) error {
	if !o.json {
		return nil
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(figures)
}

// Host is where figures come from, and what else went on there when they were begun: shared machines need to be told apart from quiet ones.
type Host struct {
	Cores int    `json:"cores"`
	Model string `json:"model"`
	OS    string `json:"os"`
	Go    string `json:"go"`
	Load  string `json:"load,omitempty"` // of 1, 5 and 15 minutes; empty where the system does not tell
}

// Here is this machine, now.
func Here() Host {
	return Host{Cores: runtime.NumCPU(), Model: model(), OS: runtime.GOOS, Go: runtime.Version(), Load: load()}
}

func (h Host) String() string {
	s := fmt.Sprintf("%d x %s, %s, %s", h.Cores, h.Model, h.OS, h.Go)
	if h.Load != "" {
		s += ", load " + h.Load
	}
	return s
}

// model of the processor.
func model() string {
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				return strings.TrimSpace(value)
			}
		}
	}
	return runtime.GOARCH
}

func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}
