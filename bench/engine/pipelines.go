package main

import (
	"cmp"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/weirflow/weir/bench/lab"
)

//go:embed *.yaml
var files embed.FS

// measured is what `weir bench -o json` says.
type measured struct {
	Rate   float64 `json:"records_per_second"`
	CPU    float64 `json:"cpu_ns_per_record"`
	Allocs float64 `json:"allocs_per_batch"`
	Nodes  []struct {
		ID  string  `json:"id"`
		CPU float64 `json:"cpu_ns_per_record"`
	} `json:"nodes"`
}

// share of the engine in the CPU time.
func (m *measured) share() float64 { return m.part("engine") }

func (m *measured) part(id string) float64 {
	for _, n := range m.Nodes {
		if n.ID == id && m.CPU > 0 {
			return n.CPU / m.CPU
		}
	}
	return 0
}

// decode is the share of the node of that name.
func (m *measured) decode() float64 { return m.part("decode") }

// cores that it had.
func (m *measured) cores() float64 { return m.CPU * m.Rate / 1e9 }

// rig is a pipeline and the number of lanes behind a queue, 0: fused.
type rig struct {
	name, file string
	lanes      int
	traffic    lab.Case
	runs       []*measured
}

// piped is what a rig costs.
type piped struct {
	Pipeline string  `json:"pipeline"`
	Traffic  string  `json:"traffic"`
	Lanes    int     `json:"lanes"` // behind a queue; 0: fused
	CPU      float64 `json:"cpu_ns_per_record"`
	Median   float64 `json:"cpu_ns_per_record_median"`
	Decode   float64 `json:"decode_cpu_ns_per_record"`
	Rate     float64 `json:"records_per_second"`
	Engine   float64 `json:"engine_percent"`
	Allocs   float64 `json:"allocs_per_batch"`
}

func (r *rig) piped() piped {
	return piped{r.name, r.traffic.Name, r.lanes, r.cost(), r.median(func(m *measured) float64 { return m.CPU }), r.decode(), r.rate(), r.share(),
		r.median(func(m *measured) float64 { return m.Allocs })}
}

func (r *rig) best(f func(*measured) float64) float64 {
	best := f(r.runs[0])
	for _, m := range r.runs[1:] {
		best = min(best, f(m))
	}
	return best
}

func (r *rig) median(f func(*measured) float64) float64 {
	var v []float64
	for _, m := range r.runs {
		v = append(v, f(m))
	}
	slices.Sort(v)
	return v[len(v)/2]
}

func (r *rig) cost() float64 { return r.best(func(m *measured) float64 { return m.CPU }) }
func (r *rig) rate() float64 { return -r.best(func(m *measured) float64 { return -m.Rate }) }

// cores that the fastest run had.
func (r *rig) cores() float64 {
	return slices.MaxFunc(r.runs, func(a, b *measured) int { return cmp.Compare(a.Rate, b.Rate) }).cores()
}

// share is the median: of a difference the best would be the luckiest.
func (r *rig) share() float64 { return 100 * r.median((*measured).share) }

// decode is what the node of that name costs: its share, of which the median is taken, of the best.
func (r *rig) decode() float64 { return r.cost() * r.median((*measured).decode) }

// beside is what a record costs in CPU time beside what it costs in another rig: the median over the rounds. A machine that has no two
// cores to give can still be asked it.
func (r *rig) beside(o *rig) float64 {
	var v []float64
	for i, m := range r.runs {
		v = append(v, m.CPU/o.runs[i].CPU)
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// pipelines runs the rigs by turns.
func pipelines(o options) ([]*rig, []lab.Goal, error) {
	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(dir, files); err != nil {
		return nil, nil, err
	}
	twenty, queued := &rig{name: "20 columns, fused", file: "twenty"}, &rig{name: "20 columns, a queue before decode, one lane", file: "twenty", lanes: 1}
	behind, fiveBehind := &rig{name: "20 columns, a queue behind decode", file: "twenty_queue"}, &rig{name: "5 columns, a queue behind decode", file: "five_queue"}
	five, fiveQueued := &rig{name: "5 columns, fused", file: "five"}, &rig{name: "5 columns, a queue before decode, one lane", file: "five", lanes: 1}
	whole, filter := &rig{name: fmt.Sprintf("default set (%d columns), fused", len(lab.DefaultSet)), file: "default"}, &rig{name: "20 columns and a filter, fused", file: "filter"}
	two := &rig{name: "20 columns, a queue before decode, two lanes", file: "twenty", lanes: 2}
	rigs := []*rig{twenty, behind, queued, two, five, fiveBehind, fiveQueued, whole, filter}
	for _, r := range rigs {
		r.traffic = lab.Cases[0]
	}
	decoders := []*rig{twenty}
	for _, c := range lab.Cases[1:] {
		decoders = append(decoders, &rig{name: "20 columns, fused", file: "twenty", traffic: c})
	}
	rigs = append(rigs, decoders[1:]...)
	for range o.rounds {
		for _, r := range rigs {
			m, err := r.run(o, dir)
			if err != nil {
				return nil, nil, fmt.Errorf("%s, %s: %w", r.name, r.traffic.Name, err)
			}
			r.runs = append(r.runs, m)
		}
	}
	lines := [][]string{{"pipeline", "traffic", "CPU ns/record", "(median)", "of it decode", "M records/s", "engine's share (median)", "allocations a batch"}}
	for _, r := range rigs {
		p := r.piped()
		lines = append(lines, []string{p.Pipeline, p.Traffic, fmt.Sprintf("%.1f", p.CPU), fmt.Sprintf("(%.1f)", p.Median), fmt.Sprintf("%.1f", p.Decode),
			fmt.Sprintf("%.1f", p.Rate/1e6), fmt.Sprintf("%.1f %%", p.Engine), fmt.Sprintf("%.2f", p.Allocs)})
	}
	var goals []lab.Goal
	for _, r := range decoders {
		for i, bound := range bounds[r.traffic.Name] {
			g := lab.Goal{What: r.traffic.Name + ", decode, 20 columns", Bound: bound, Figure: r.decode(), Unit: "ns/record"}
			if i > 0 {
				g.What += ", stretch"
			} else {
				g.Elsewhere = elsewhere[r.traffic.Name]
			}
			goals = append(goals, g)
		}
	}
	return rigs, append(goals,
		lab.Goal{What: "engine's share, fused, 20 columns", Bound: 5, Figure: twenty.share(), Unit: "%"},
		lab.Goal{What: "engine's share, fused, 5 columns", Bound: 5, Figure: five.share(), Unit: "%"},
		lab.Goal{What: "engine's share with a queue, 20 columns", Bound: 15, Figure: behind.share(), Unit: "%"},
		lab.Goal{What: "engine's share with a queue, 5 columns", Bound: 15, Figure: fiveBehind.share(), Unit: "%"},
		lab.Goal{What: "the same before decode, 20 columns", Bound: 15, Figure: queued.share(), Unit: "%"},
		lab.Goal{What: "the same before decode, 5 columns", Bound: 15, Figure: fiveQueued.share(), Unit: "%"},
		lab.Goal{What: "5 columns as fast as the default set", Bound: 2.5, Figure: whole.cost() / five.cost(), Unit: "times", Least: true},
		lab.Goal{What: "CPU time of a record, two lanes beside one", Bound: 1 / 0.9, Figure: two.beside(queued), Unit: "times"},
		lab.Lanes("two lanes as fast as one, by the clock, 20 columns", 1.8, queued.rate(), two.rate(), two.cores()),
	), lab.Table(o.form.Text, lines)
}

// bounds of what decode costs at 20 columns, in CPU ns a record: the goal, and how far it would be good to come.
var bounds = map[string][]float64{"v9 x 24": {35, 20}, "v9 x 2": {80}, "IPFIX": {35, 20}, "IPFIX x 2": {80}, "v5 x 30": {20, 12}, "sFlow": {100, 75}}

// elsewhere are figures of the fastest parser library that was met, measured on another machine: bench/README.md says which.
var elsewhere = map[string]string{"v9 x 24": "netflow_parser: 658", "IPFIX": "netflow_parser: 535", "v5 x 30": "netflow_parser, into structures: 10.3"}

func (r *rig) run(o options, dir string) (*measured, error) {
	input := fmt.Sprintf("generate:%v,exporters=%d,records=%d", r.traffic.Protocol, lab.Exporters, r.traffic.Records)
	cmd := exec.Command(o.weir, "bench", filepath.Join(dir, r.file+".yaml"), "--input", input, "--lanes", strconv.Itoa(r.lanes), "--for", (3 * o.each).String(), "-o", "json")
	out, err := cmd.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return nil, err
	}
	m := new(measured)
	if err := json.Unmarshal(out, m); err != nil {
		return nil, err
	}
	if m.Rate <= 0 || m.CPU <= 0 {
		return nil, fmt.Errorf("no figures: %s", out)
	}
	return m, nil
}
