//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/weirflow/weir/bench/lab"
)

func goal(f *found, what, unit string, bound float64, least bool, figure func(*step) float64) lab.Goal {
	g := lab.Goal{What: what, Unit: unit, Bound: bound, Least: least}
	if f.best == nil {
		g.Why = "no rate was without loss"
		return g
	}
	if g.Figure = figure(f.best); least && f.next == nil && g.Figure < bound {
		g.Why = fmt.Sprintf("no more than %s %s was sent, and nothing lost", lab.Number(g.Figure), unit)
	}
	return g
}

// elsewhere adds what a collector that cannot be had here was measured at on another machine: bench/README.md says which.
func elsewhere(g lab.Goal, figure string) lab.Goal {
	g.Elsewhere = figure
	return g
}

func goalsV5(b *bench, f *found) []lab.Goal {
	return []lab.Goal{goal(f, "v5 x 30, decoded, one core", "datagrams/s", 500_000, true, func(s *step) float64 { return s.sent.Rate })}
}

func goalsV9(b *bench, f *found) []lab.Goal {
	return []lab.Goal{
		elsewhere(goal(f, "v9 x 24, decoded, one core", "M flows/s", 5, true, func(s *step) float64 { return s.flows() / 1e6 }), "IPFIXcol2: 4.0"),
		elsewhere(goal(f, "v9 x 24, decoded, receive included", "us/flow", 0.18, false, b.perFlow), "IPFIXcol2: 0.21 to 0.28"),
	}
}

func goalsJSON(b *bench, f *found) []lab.Goal {
	return []lab.Goal{elsewhere(goal(f, "JSON lines of 20 columns, receive and decode included", "us/flow", 0.45, false, b.perFlow), "IPFIXcol2: 0.82 to 0.97, formatted 1.6")}
}

func goalsFour(b *bench, f *found) []lab.Goal {
	return []lab.Goal{goal(f, "four workers receive, per 250,000 datagrams/s", "of a core", 0.45, false, func(s *step) float64 { return s.cpu.Seconds() / float64(s.sent.Datagrams) * 250_000 })}
}

// workers is what the child process `collector receive` said.
func workers(f *found) (w received, st *step, why string) {
	if st = f.best; st == nil {
		st = f.next
	}
	if err := json.Unmarshal(st.told, &w); err != nil {
		return w, st, err.Error()
	}
	if w.Balance != "packet" || len(w.Workers) != 4 {
		return w, st, fmt.Sprintf("%d workers are balanced by the %s: %s", len(w.Workers), w.Balance, w.Why)
	}
	return w, st, ""
}

// goalsBalance: how far from its share the worker is that is farthest.
func goalsBalance(_ *bench, f *found) []lab.Goal {
	g := lab.Goal{What: "one 5-tuple over four workers: the farthest from a quarter", Bound: 3, Unit: "%"}
	w, _, why := workers(f)
	g.Why = why
	all := 0.0
	for _, n := range w.Workers {
		all += float64(n)
	}
	for _, n := range w.Workers {
		g.Figure = max(g.Figure, 100*math.Abs(float64(n)*float64(len(w.Workers))/max(all, 1)-1))
	}
	return []lab.Goal{g}
}

// goalsStalled: what is lost beside a worker that does not read, and did get some until its buffer was deep.
func goalsStalled(b *bench, f *found) []lab.Goal {
	g := lab.Goal{What: "one of four workers stalled: datagrams lost", Unit: "datagrams"}
	w, st, why := workers(f)
	g.Figure, g.Why = float64(b.want(st)-min(st.counted, b.want(st))), why
	switch {
	case g.Why != "":
	case g.Figure > 0 && st.disturbed():
		g.Why = fmt.Sprintf("%.0f were lost while others had %v of its core", g.Figure, st.others)
	case w.Workers[0] == 0:
		g.Why = "the worker that stalled was sent nothing"
	default:
		g.What += fmt.Sprintf(" (it held %d of %d)", w.Workers[0], st.sent.Datagrams)
	}
	return []lab.Goal{g}
}

// beside are the goals that compare Weir with a peer, on the same traffic from the same sender in this run: flows a second without loss.
func (t *table) beside() (goals []lab.Goal) {
	for _, x := range []struct {
		does, peer, peerDoes, traffic string
		bound                         float64
	}{
		{decodes, "nfcapd", "", "v5 x 30", 2}, {decodes, "nfcapd", "", "v9 x 24", 2}, {decodes, "nfcapd", "", "IPFIX", 2}, {decodes, "sfcapd", "", "sFlow", 2},
		{decodes, "goflow2", produces("bin"), "v5 x 30", 40}, {decodes, "goflow2", produces("bin"), "v9 x 24", 40}, {decodes, "goflow2", produces("bin"), "sFlow", 40},
		{writes, "goflow2", produces("json"), "v9 x 24", 40},
	} {
		ours, theirs := t.reading("weir", x.does, x.traffic), t.reading(x.peer, x.peerDoes, x.traffic)
		if ours == nil || theirs == nil {
			continue // -only left one of them out
		}
		g := lab.Goal{What: fmt.Sprintf("%s, %s: lossless rate beside %s's", x.traffic, x.does, x.peer), Bound: x.bound, Unit: "times", Least: true}
		switch {
		case ours.Why != "":
			g.Why = "weir: " + ours.Why
		case theirs.Why != "":
			g.Why = theirs.Why
		case ours.Lossless == nil || theirs.Lossless == nil:
			g.Why = "no rate was without loss"
		case theirs.AtLeast:
			g.Why = fmt.Sprintf("%s lost nothing at any rate that was tried", x.peer)
		default:
			if g.Figure = ours.Lossless.Flows / theirs.Lossless.Flows; ours.AtLeast && g.Figure < x.bound {
				g.Why = fmt.Sprintf("no more than %s datagrams/s was sent, and nothing lost", lab.Number(ours.Lossless.Datagrams))
			}
		}
		goals = append(goals, g)
	}
	return goals
}

// reading of a collector, by what it does unless that is empty; nil: none.
func (t *table) reading(collector, does, traffic string) *reading {
	for i := range t.readings {
		if r := &t.readings[i]; r.Collector == collector && (does == "" || r.Does == does) && r.Traffic == traffic {
			return r
		}
	}
	return nil
}
