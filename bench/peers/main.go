// Command peers compares what decoding costs: Weir's decoder, the floor of this machine, and GoFlow2's decoder as a library, on the
// same datagrams, in one run, by turns. See bench/README.md.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/weirflow/weir/bench/lab"
	"github.com/weirflow/weir/formats/emulate"
)

func main() {
	rounds := flag.Int("rounds", 5, "rounds; a figure is the best of them, with the median beside it")
	each := flag.Duration("each", 200*time.Millisecond, "time of a contender in a round")
	flag.Parse()
	if err := run(*rounds, *each); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(rounds int, each time.Duration) error {
	runtime.GOMAXPROCS(1) // garbage is collected on the same core, not beside it
	fmt.Printf("%s\ngoflow2 %s; %d exporters, a ring of %d datagrams; CPU ns a record of the whole process, best of %d rounds of %v (median)\n\n",
		lab.Machine(), version("github.com/netsampler/goflow2/v2"), lab.Exporters, lab.Datagrams, rounds, each)
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
	}
	return lab.Table(os.Stdout, lines)
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
