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
	"github.com/weirflow/weir/sdk"
)

type options struct {
	weir   string
	root   string
	rounds int
	each   time.Duration
	count  int
	time   time.Duration
	out    string
	form   *lab.Output
}

// figures are all that it measured; with -o json it prints them.
type figures struct {
	Host         lab.Host   `json:"host"`
	Decoding     []decoded  `json:"decoding"`
	Pipelines    []piped    `json:"pipelines"`
	GoBenchmarks results    `json:"go_benchmarks,omitempty"` // by package and name, then by unit: each run's
	Goals        []lab.Goal `json:"goals"`
}

// decoded is a case of decoding in one process, without a pipeline: CPU ns a record.
type decoded struct {
	Traffic     string   `json:"traffic"`
	Weir        float64  `json:"cpu_ns_per_record"`
	Median      float64  `json:"cpu_ns_per_record_median"`
	Floor       *float64 `json:"floor_cpu_ns_per_record"` // null: of this protocol there is none
	FloorMedian *float64 `json:"floor_cpu_ns_per_record_median"`
	Allocs      float64  `json:"allocs_per_record"`
	Failed      string   `json:"failed,omitempty"` // why there are no figures
}

func main() {
	o := options{form: lab.NewOutput(flag.CommandLine)}
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
	f := figures{Host: lab.Here()}
	w := o.form.Text
	fmt.Fprintf(w, "%s\n\ndecoding, in one process, without a pipeline: CPU ns a record, best of %d rounds of %v (median)\n\n", f.Host, o.rounds, o.each)
	if f.Decoding, err = decoding(o); err != nil {
		return err
	}
	f.Goals = decodingGoals(f.Decoding)
	fmt.Fprintf(w, "\npipelines, by `weir bench`: %d exporters; best of %d runs of %v\n\n", lab.Exporters, o.rounds, 3*o.each)
	rigs, goals, err := pipelines(o)
	if err != nil {
		return err
	}
	for _, r := range rigs {
		f.Pipelines = append(f.Pipelines, r.piped())
	}
	f.Goals = append(goals, f.Goals...)
	if o.count > 0 {
		fmt.Fprintf(w, "\nGo benchmarks of the hot paths, to %s as well: benchstat OLD NEW compares two of them\n\n", o.out)
		if f.GoBenchmarks, err = gobench(o); err != nil {
			return err
		}
		f.Goals = append(f.Goals, bookkeeping(f.GoBenchmarks)...)
	}
	fmt.Fprintln(w)
	if err := lab.Goals(w, f.Goals); err != nil {
		return err
	}
	return o.form.End(os.Stdout, f)
}

// decoding compares Weir's decoder with the floor, case by case.
func decoding(o options) (list []decoded, err error) {
	lines := [][]string{{"traffic", "weir, 20 columns", "", "floor", "", "times the floor", "allocations a record"}}
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
		d := decoded{Traffic: c.Name, Weir: fs[0].Best, Median: fs[0].Median, Allocs: fs[0].Allocs}
		if fs[0].Err != nil {
			d.Failed = fs[0].Err.Error()
			lines = append(lines, []string{c.Name, "not decoded: " + d.Failed})
		} else {
			line := []string{c.Name, fmt.Sprintf("%.1f", d.Weir), fmt.Sprintf("(%.1f)", d.Median), "-", "", "-", fmt.Sprintf("%.2g", d.Allocs)}
			if len(fs) > 1 {
				d.Floor, d.FloorMedian = &fs[1].Best, &fs[1].Median
				line[3], line[4], line[5] = fmt.Sprintf("%.1f", *d.Floor), fmt.Sprintf("(%.1f)", *d.FloorMedian), fmt.Sprintf("%.2f", d.Weir / *d.Floor)
			}
			lines = append(lines, line)
		}
		list = append(list, d)
	}
	return list, lab.Table(o.form.Text, lines)
}

// decodingGoals are what a decoder alone is asked: how near it comes to the floor, and that no batch makes garbage. The most of all cases
// counts; less than a tenth of an allocation a batch is what the process does beside.
func decodingGoals(list []decoded) []lab.Goal {
	floor := lab.Goal{What: "v9 x 24, 20 columns, beside the floor", Bound: 2.5, Unit: "times", Why: "no floor"}
	garbage := lab.Goal{What: "allocations of a batch that is decoded, the most of all traffic", Bound: 0.1, Unit: "a batch"}
	for _, d := range list {
		if d.Failed != "" {
			garbage.Why = d.Traffic + " is not decoded: " + d.Failed
			continue
		}
		garbage.Figure = max(garbage.Figure, d.Allocs*sdk.MaxRows)
		if d.Traffic == lab.Cases[0].Name && d.Floor != nil {
			floor.Figure, floor.Why = d.Weir / *d.Floor, ""
		}
	}
	return []lab.Goal{floor, garbage}
}
