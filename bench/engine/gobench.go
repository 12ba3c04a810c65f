package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/weirflow/weir/bench/lab"
)

// hot are the packages whose benchmarks are run.
var hot = []string{"./formats/netflow", "./formats/sflow", "./processors/decode", "./processors/filter", "./sdk", "./sdk/expr", "./core/engine",
	"./sinks/stdout", "./sources/udp"}

// results are the figures of each benchmark's runs: by package and name, then by unit.
type results map[string]map[string][]float64

// gobench runs the benchmarks; their output goes to the terminal and to the file.
func gobench(o options) (results, error) {
	if err := os.MkdirAll(filepath.Dir(o.out), 0o755); err != nil {
		return nil, err
	}
	f, err := os.Create(o.out)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	args := []string{"test", "-run", "^$", "-bench", ".", "-benchmem", "-p", "1", "-count", strconv.Itoa(o.count), "-benchtime", o.time.String()}
	cmd := exec.Command("go", append(args, hot...)...)
	cmd.Dir, cmd.Stderr = o.root, os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r, readErr := read(io.TeeReader(pipe, f), o.form.Text)
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("go test: %w", err)
	}
	if readErr != nil {
		return nil, readErr
	}
	return r, f.Close()
}

// read reads the output of go test -bench. What says something of a benchmark goes on to out, what they log does not.
func read(in io.Reader, out io.Writer) (results, error) {
	r := results{}
	pkg := ""
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) == 2 && fields[0] == "pkg:":
			fmt.Fprintln(out, lines.Text())
			_, pkg, _ = strings.Cut(fields[1], "/weir/")
		case len(fields) >= 4 && strings.HasPrefix(fields[0], "Benchmark"):
			fmt.Fprintln(out, lines.Text())
			name := strings.TrimPrefix(fields[0], "Benchmark")
			if i := strings.LastIndexByte(name, '-'); i > 0 { // the number of CPUs
				if _, err := strconv.Atoi(name[i+1:]); err == nil {
					name = name[:i]
				}
			}
			name = pkg + " " + name
			if r[name] == nil {
				r[name] = map[string][]float64{}
			}
			for i := 2; i+1 < len(fields); i += 2 {
				v, err := strconv.ParseFloat(fields[i], 64)
				if err != nil {
					return nil, fmt.Errorf("go test says %q: %w", lines.Text(), err)
				}
				r[name][fields[i+1]] = append(r[name][fields[i+1]], v)
			}
		}
	}
	return r, lines.Err()
}

// bookkeeping are the goals of the engine's own work: a batch through a chain, the best of the runs, and what a queue adds to that, the
// median: of a difference the best would be the luckiest.
func bookkeeping(r results) []lab.Goal {
	goal := func(g lab.Goal, name, unit string, of func([]float64) float64) lab.Goal {
		if v := r[name][unit]; len(v) > 0 {
			g.Figure = of(v)
		} else {
			g.Why = "no benchmark says it"
		}
		return g
	}
	us := func(what string, bound float64, name, unit string, of func([]float64) float64) lab.Goal {
		g := goal(lab.Goal{What: what, Bound: bound, Unit: "us/batch"}, "core/engine "+name, unit, of)
		g.Figure /= 1000
		return g
	}
	median := func(v []float64) float64 {
		v = slices.Sorted(slices.Values(v))
		return v[len(v)/2]
	}
	// What the least that Go has costs, a channel, in the same rhythm: more than the goal where it wakes a processor that sleeps.
	woken := us("hand-over, woken each time", 15, "HandOver/woken_each_time", "cpu-ns/hand-over", median)
	engines := us("the same beyond a channel's", 5, "BareWake/awake_and_yields", "cpu-ns/wake", median)
	if engines.Why == "" {
		engines.Why = woken.Why
		engines.What = fmt.Sprintf("%s (%.1f us)", engines.What, engines.Figure)
		engines.Figure = woken.Figure - engines.Figure
	}
	return []lab.Goal{
		us("bookkeeping of a batch, fused", 0.5, "Bookkeeping/fused", "cpu-ns/batch", slices.Min),
		woken, engines,
		us("hand-over, under load", 5, "HandOver/under_load", "cpu-ns/hand-over", median),
		goal(lab.Goal{What: "allocations of a batch inside the engine", Bound: 0.1, Unit: "a batch"}, "core/engine Bookkeeping/fused", "allocs/batch", slices.Max),
		goal(lab.Goal{What: "allocations of a batch wrapped in Arrow's objects", Bound: 5, Unit: "a column"}, "sdk Arrow", "allocs/column", slices.Max),
	}
}
