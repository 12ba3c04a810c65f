// Command peers compares what decoding costs: Weir's decoder, the floor of this machine, and GoFlow2's decoder as a library, on the
// same datagrams, in one run, by turns. See bench/README.md.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/weirflow/weir/bench/lab"
	"github.com/weirflow/weir/formats/emulate"
)

// figures are all that it measured; with -o json it prints them.
type figures struct {
	Host    lab.Host   `json:"host"`
	GoFlow2 string     `json:"goflow2"` // its version
	Figures []figure   `json:"figures"`
	Goals   []lab.Goal `json:"goals"`
}

type figure struct {
	Traffic   string  `json:"traffic"`
	Contender string  `json:"contender"`
	Makes     string  `json:"makes"`
	CPU       float64 `json:"cpu_ns_per_record"`
	Median    float64 `json:"cpu_ns_per_record_median"`
	Allocs    float64 `json:"allocs_per_record"`
	Failed    string  `json:"failed,omitempty"` // why there are no figures
}

// bounds are how many times as much the peer's decoder alone is to cost.
var bounds = map[string]float64{"v9 x 24": 30, "IPFIX": 30, "v5 x 30": 15, "sFlow": 9}

func main() {
	form := lab.NewOutput(flag.CommandLine)
	rounds := flag.Int("rounds", 9, "rounds; a figure is the best of them, with the median beside it")
	each := flag.Duration("each", 200*time.Millisecond, "time of a contender in a round")
	flag.Parse()
	if err := run(form, *rounds, *each); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(form *lab.Output, rounds int, each time.Duration) error {
	runtime.GOMAXPROCS(1) // garbage is collected on the same core, not beside it
	all := figures{Host: lab.Here(), GoFlow2: version("github.com/netsampler/goflow2/v2")}
	fmt.Fprintf(form.Text, "%s\ngoflow2 %s; %d exporters, a ring of %d datagrams; CPU ns a record of the whole process, best of %d rounds of %v (median)\n\n",
		all.Host, all.GoFlow2, lab.Exporters, lab.Datagrams, rounds, each)
	lines := [][]string{{"traffic", "contender", "makes", "ns/record", "(median)", "allocs/record", "x weir 20", "x floor"}}
	for _, c := range lab.Cases {
		ring, err := c.Ring(lab.Base)
		if err != nil {
			return err
		}
		cs, err := contenders(c, ring)
		if err != nil {
			return err
		}
		fs, err := lab.Compare(ring, cs, rounds, each)
		if err != nil {
			return err
		}
		lines = append(lines, rows(c, fs)...)
		for _, f := range fs {
			x := figure{Traffic: c.Name, Contender: f.Name, Makes: f.What, CPU: f.Best, Median: f.Median, Allocs: f.Allocs}
			if f.Err != nil {
				x.Failed = f.Err.Error()
			}
			all.Figures = append(all.Figures, x)
		}
		if bound := bounds[c.Name]; bound > 0 {
			all.Goals = append(all.Goals, goal(c, bound, fs))
		}
	}
	if err := lab.Table(form.Text, lines); err != nil {
		return err
	}
	fmt.Fprintln(form.Text)
	if err := lab.Goals(form.Text, all.Goals); err != nil {
		return err
	}
	return form.End(os.Stdout, all)
}

// goal is that the peer's decoder alone costs bound times as much as Weir's with 20 columns.
func goal(c lab.Case, bound float64, fs []lab.Figure) lab.Goal {
	g := lab.Goal{What: c.Name + ": goflow2's decode beside weir's, 20 columns", Bound: bound, Least: true, Unit: "times"}
	peer := fs[slices.IndexFunc(fs, func(f lab.Figure) bool { return f.Name == peerDecodes })]
	switch {
	case fs[0].Err != nil:
		g.Why = "not decoded: " + fs[0].Err.Error()
	case peer.Err != nil:
		g.Why = "goflow2 does not decode it: " + peer.Err.Error()
	default:
		g.Figure = peer.Best / fs[0].Best
		g.What += fmt.Sprintf(" (%.1f and %.1f ns)", peer.Best, fs[0].Best)
	}
	return g
}

// contenders of a case: Weir with 20 columns first.
func contenders(c lab.Case, ring *emulate.Ring) ([]*lab.Contender, error) {
	var cs []*lab.Contender
	for _, w := range []struct {
		what    string
		columns []string
	}{{"20 columns", lab.Columns20}, {"5 columns", lab.Columns5}, {fmt.Sprintf("%d columns, the default set", len(lab.DefaultSet)), lab.DefaultSet}} {
		n, err := lab.NewWeir(ring, w.what, w.columns)
		if err != nil {
			return nil, err
		}
		cs = append(cs, n)
	}
	if f := lab.NewFloor(c, ring); f != nil {
		cs = append(cs, f)
	}
	cs = append(cs, newDecoder(ring))
	for _, p := range []struct {
		name, what, format string
		chunk              int
	}{{"goflow2 decode + produce", "protobuf structures", "", 128}, {"goflow2 + bin", "protobuf bytes", "bin", 64}, {"goflow2 + json", "JSON lines", "json", 8}} {
		n, err := newPipe(ring, p.name, p.what, p.format, p.chunk)
		if err != nil {
			return nil, err
		}
		cs = append(cs, n)
	}
	return cs, nil
}

func rows(c lab.Case, fs []lab.Figure) (lines [][]string) {
	var floor float64
	for _, f := range fs {
		if f.Name == "floor" {
			floor = f.Best
		}
	}
	traffic := c.Name
	for _, f := range fs {
		line := []string{traffic, f.Name, f.What}
		traffic = ""
		if f.Err != nil {
			lines = append(lines, append(line, "not decoded: "+f.Err.Error()))
			continue
		}
		line = append(line, fmt.Sprintf("%.1f", f.Best), fmt.Sprintf("(%.1f)", f.Median), fmt.Sprintf("%.3g", f.Allocs), ratio(f.Best, fs[0].Best), ratio(f.Best, floor))
		lines = append(lines, line)
	}
	return lines
}

func ratio(a, b float64) string {
	if b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", a/b)
}

// version of a module that this program was built with.
func version(path string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == path {
				return strings.TrimPrefix(m.Version, "v")
			}
		}
	}
	return "of unknown version"
}
