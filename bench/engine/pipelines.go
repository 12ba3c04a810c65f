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
func (m *measured) share() float64 {
	for _, n := range m.Nodes {
		if n.ID == "engine" && m.CPU > 0 {
			return n.CPU / m.CPU
		}
	}
	return 0
}

// cores that it had.
func (m *measured) cores() float64 { return m.CPU * m.Rate / 1e9 }

// rig is a pipeline and the number of lanes behind a queue, 0: fused.
type rig struct {
	name, file string
	lanes      int
	runs       []*measured
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
func pipelines(o options) ([]lab.Goal, error) {
	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.CopyFS(dir, files); err != nil {
		return nil, err
	}
	twenty, queued := &rig{name: "20 columns, fused", file: "twenty"}, &rig{name: "20 columns, a queue before decode, one lane", file: "twenty", lanes: 1}
	behind, fiveBehind := &rig{name: "20 columns, a queue behind decode", file: "twenty_queue"}, &rig{name: "5 columns, a queue behind decode", file: "five_queue"}
	five, fiveQueued := &rig{name: "5 columns, fused", file: "five"}, &rig{name: "5 columns, a queue before decode, one lane", file: "five", lanes: 1}
	whole, filter := &rig{name: fmt.Sprintf("default set (%d columns), fused", len(lab.DefaultSet)), file: "default"}, &rig{name: "20 columns and a filter, fused", file: "filter"}
	two := &rig{name: "20 columns, a queue before decode, two lanes", file: "twenty", lanes: 2}
	rigs := []*rig{twenty, behind, queued, two, five, fiveBehind, fiveQueued, whole, filter}
	for range o.rounds {
		for _, r := range rigs {
			m, err := r.run(o, dir)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", r.name, err)
			}
			r.runs = append(r.runs, m)
		}
	}
	lines := [][]string{{"pipeline", "CPU ns/record", "(median)", "M records/s", "engine's share (median)", "allocations a batch"}}
	for _, r := range rigs {
		lines = append(lines, []string{r.name, fmt.Sprintf("%.1f", r.cost()), fmt.Sprintf("(%.1f)", r.median(func(m *measured) float64 { return m.CPU })),
			fmt.Sprintf("%.1f", r.rate()/1e6), fmt.Sprintf("%.1f %%", r.share()), fmt.Sprintf("%.2f", r.median(func(m *measured) float64 { return m.Allocs }))})
	}
	return []lab.Goal{
		{What: "engine's share, fused, 20 columns", Bound: 5, Figure: twenty.share(), Unit: "%"},
		{What: "engine's share, fused, 5 columns", Bound: 5, Figure: five.share(), Unit: "%"},
		{What: "engine's share with a queue, 20 columns", Bound: 15, Figure: behind.share(), Unit: "%"},
		{What: "engine's share with a queue, 5 columns", Bound: 15, Figure: fiveBehind.share(), Unit: "%"},
		{What: "the same before decode, 20 columns", Bound: 15, Figure: queued.share(), Unit: "%"},
		{What: "the same before decode, 5 columns", Bound: 15, Figure: fiveQueued.share(), Unit: "%"},
		{What: "5 columns as fast as the default set", Bound: 2.5, Figure: whole.cost() / five.cost(), Unit: "times", Least: true},
		{What: "CPU time of a record, two lanes beside one", Bound: 1 / 0.9, Figure: two.beside(queued), Unit: "times"},
		lab.Lanes("two lanes as fast as one, by the clock, 20 columns", 1.8, queued.rate(), two.rate(), two.cores()),
	}, lab.Table(os.Stdout, lines)
}

func (r *rig) run(o options, dir string) (*measured, error) {
	input := fmt.Sprintf("generate:v9,exporters=%d,records=24", lab.Exporters)
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
