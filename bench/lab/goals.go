package lab

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
)

// Goal is a figure that this project wants of itself.
type Goal struct {
	What      string
	Figure    float64 // measured
	Bound     float64
	Least     bool // the bound is the least, not the most
	Unit      string
	Why       string // not empty: not measured, for this reason
	Elsewhere string // what a peer that cannot be had here was measured at on another machine
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

func (g Goal) sign() string {
	if g.Least {
		return ">="
	}
	return "<="
}

// MarshalJSON gives the goal with its verdict; what was not measured is null.
func (g Goal) MarshalJSON() ([]byte, error) {
	var measured *float64
	if g.Why == "" {
		measured = &g.Figure
	}
	return json.Marshal(struct {
		Goal      string   `json:"goal"`
		Bound     float64  `json:"bound"`
		Least     bool     `json:"bound_is_least"` // else the most
		Unit      string   `json:"unit"`
		Measured  *float64 `json:"measured"`
		Verdict   string   `json:"verdict"`
		Why       string   `json:"why,omitempty"`
		Elsewhere string   `json:"elsewhere,omitempty"`
	}{g.What, g.Bound, g.Least, g.Unit, measured, g.Verdict(), g.Why, g.Elsewhere})
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

// Goals writes one line a goal, with a column for what is elsewhere if any has that. A goal that is missed is a figure to work on, not
// a failure.
func Goals(w io.Writer, gs []Goal) error {
	elsewhere := slices.ContainsFunc(gs, func(g Goal) bool { return g.Elsewhere != "" })
	lines := [][]string{{"goal", "bound", "measured", ""}}
	if elsewhere {
		lines[0] = append(lines[0], "elsewhere")
	}
	for _, g := range gs {
		measured := Number(g.Figure) + " " + g.Unit
		if g.Why != "" {
			measured = g.Why
		}
		line := []string{g.What, g.sign() + " " + Number(g.Bound) + " " + g.Unit, measured, g.Verdict()}
		if elsewhere {
			line = append(line, g.Elsewhere)
		}
		lines = append(lines, line)
	}
	return Table(w, lines)
}

// Number with four digits that count, or all of a larger one's, without an exponent.
func Number(x float64) string {
	if math.Abs(x) >= 1000 {
		return strconv.FormatFloat(x, 'f', 0, 64)
	}
	return fmt.Sprintf("%.4g", x)
}
