package lab

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"text/tabwriter"
)

// Table writes lines of cells as aligned columns.
func Table(w io.Writer, lines [][]string) error {
	most := 0
	for _, l := range lines {
		most = max(most, len(l))
	}
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, l := range lines { // a short line would end the columns that it does not have
		fmt.Fprintln(t, strings.Join(l, "\t")+strings.Repeat("\t", most-len(l)))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
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

// Lanes is the goal that two lanes are bound times as fast as one, from the rates (records/s) of both and the cores that two had. On a
// machine that had not two cores to give there is no figure.
func Lanes(what string, bound, one, two, cores float64) Goal {
	g := Goal{What: what, Bound: bound, Unit: "times", Least: true}
	switch {
	case one <= 0 || two <= 0:
		g.Why = "no records a second"
	case two/one < bound && cores < 1.9:
		g.Why = fmt.Sprintf("two lanes had %.2f cores: others were at work here", cores)
	default:
		g.Figure = two / one
	}
	return g
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
