// Command engine measures what Weir itself is made of, without a network: decoding beside the floor of this machine, whole pipelines
// by `weir bench`, and the Go benchmarks of the hot paths, whose output goes to a file that benchstat reads. It ends with the goals,
// each as PASS or short. See bench/README.md.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/weirflow/weir/bench/lab"
	"github.com/weirflow/weir/formats/emulate"
)

type options struct {
	weir   string
	root   string
	rounds int
	each   time.Duration
	count  int
	time   time.Duration
	out    string
}

func main() {
	var o options
	flag.StringVar(&o.weir, "weir", "bin/weir", "weir")
	flag.StringVar(&o.root, "root", ".", "the module's directory")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds, in which all that is compared takes its turn")
	flag.DurationVar(&o.each, "each", 300*time.Millisecond, "time of a decoder in a round; a pipeline has three times as much")
	flag.IntVar(&o.count, "count", 3, "times that each Go benchmark runs; 0: none")
	flag.DurationVar(&o.time, "benchtime", 200*time.Millisecond, "how long a Go benchmark runs each time")
	flag.StringVar(&o.out, "out", "bin/bench.txt", "where the output of the Go benchmarks goes, for benchstat")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "engine:", err)
		os.Exit(1)
	}
}

func run(o options) (err error) {
	if o.weir, err = filepath.Abs(o.weir); err != nil {
		return err
	}
	fmt.Printf("%s\n\ndecoding, in one process, without a pipeline: CPU ns a record, best of %d rounds of %v (median)\n\n", lab.Machine(), o.rounds, o.each)
	goals, err := decoding(o)
	if err != nil {
		return err
	}
	fmt.Printf("\npipelines, by `weir bench`: v9 of %d exporters, 24 records a datagram; best of %d runs of %v\n\n", lab.Exporters, o.rounds, 3*o.each)
	more, err := pipelines(o)
	if err != nil {
		return err
	}
	goals = append(goals, more...)
	if o.count > 0 {
		fmt.Printf("\nGo benchmarks of the hot paths, to %s as well: benchstat OLD NEW compares two of them\n\n", o.out)
		results, err := gobench(o)
		if err != nil {
			return err
		}
		goals = append(goals, bookkeeping(results)...)
	}
	fmt.Println()
	return lab.Goals(os.Stdout, goals)
}

// decoding compares Weir's decoder with the floor, case by case.
func decoding(o options) ([]lab.Goal, error) {
	lines := [][]string{{"traffic", "weir, 20 columns", "", "floor", "", "times the floor", "allocations a record"}}
	var goals []lab.Goal
	for _, c := range lab.Cases {
		ring, err := c.Ring(lab.Base)
		if err != nil {
			return nil, err
		}
		w, err := lab.NewWeir(ring, "20 columns", lab.Columns20)
		if err != nil {
			return nil, err
		}
		cs := []*lab.Contender{w}
		if f := lab.NewFloor(c, ring); f != nil {
			cs = append(cs, f)
		}
		fs, err := lab.Compare(ring, cs, o.rounds, o.each)
		if err != nil {
			return nil, err
		}
		f := fs[0]
		why := ""
		if f.Err != nil {
			why = "not decoded: " + f.Err.Error()
			lines = append(lines, []string{c.Name, why})
		} else {
			line := []string{c.Name, fmt.Sprintf("%.1f", f.Best), fmt.Sprintf("(%.1f)", f.Median), "-", "", "-", fmt.Sprintf("%.2g", f.Allocs)}
			if len(fs) > 1 {
				line[3], line[4], line[5] = fmt.Sprintf("%.1f", fs[1].Best), fmt.Sprintf("(%.1f)", fs[1].Median), fmt.Sprintf("%.2f", f.Best/fs[1].Best)
			}
			lines = append(lines, line)
		}
		add := func(what string, bound, figure float64, unit string) {
			goals = append(goals, lab.Goal{What: what, Bound: bound, Figure: figure, Unit: unit, Why: why})
		}
		switch {
		case c.Protocol == emulate.NetFlowV5:
			add("v5, 20 columns", 40, f.Best, "ns/record")
		case c.Protocol == emulate.SFlow:
			add("sFlow, 20 columns", 120, f.Best, "ns/record")
		case c.Protocol == emulate.NetFlowV9 && c.Records == 2:
			add("v9 x 2, 20 columns", 150, f.Best, "ns/record")
		case c.Protocol == emulate.NetFlowV9:
			add("v9 x 24, 20 columns", 50, f.Best, "ns/record")
			add("v9 x 24, 20 columns, stretch", 35, f.Best, "ns/record")
			add("v9 x 24, 20 columns, beside the floor", 2.5, f.Best/fs[1].Best, "times")
		}
	}
	return goals, lab.Table(os.Stdout, lines)
}
