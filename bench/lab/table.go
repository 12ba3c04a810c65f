package lab

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
)

// Table writes lines of cells as aligned columns.
func Table(w io.Writer, lines [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, l := range lines {
		fmt.Fprintln(t, strings.TrimRight(strings.Join(l, "\t"), "\t"))
	}
	return t.Flush()
}

// Goal is a figure that this project wants of itself.
type Goal struct {
	What   string
	Figure float64 // measured
	Bound  float64
	Least  bool // the bound is the least, not the most
	Unit   string
	Why    string // not empty: not measured, for this reason
}

// Verdict of a goal: PASS, short, or not measured.
func (g Goal) Verdict() string {
	switch {
	case g.Why != "":
		return "not measured"
	case g.Least && g.Figure >= g.Bound, !g.Least && g.Figure <= g.Bound:
		return "PASS"
	}
	return "short"
}

// Goals writes one line a goal. A goal that is missed is a figure to work on, not a failure.
func Goals(w io.Writer, gs []Goal) error {
	lines := [][]string{{"goal", "bound", "measured", ""}}
	for _, g := range gs {
		sign, measured := "<=", fmt.Sprintf("%.4g %s", g.Figure, g.Unit)
		if g.Least {
			sign = ">="
		}
		if g.Why != "" {
			measured = g.Why
		}
		lines = append(lines, []string{g.What, fmt.Sprintf("%s %.4g %s", sign, g.Bound, g.Unit), measured, g.Verdict()})
	}
	return Table(w, lines)
}

// Machine says where figures come from, and what else went on there: shared machines need to be told apart from quiet ones.
func Machine() string {
	model := runtime.GOARCH
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	s := fmt.Sprintf("%d x %s, %s, %s", runtime.NumCPU(), model, runtime.GOOS, runtime.Version())
	if text, err := os.ReadFile("/proc/loadavg"); err == nil {
		s += ", load " + strings.Join(strings.Fields(string(text))[:3], " ")
	}
	return s
}
