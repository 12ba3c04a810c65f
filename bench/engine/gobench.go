package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/weirflow/weir/bench/lab"
)

// hot are the packages whose benchmarks are run.
var hot = []string{"./formats/netflow", "./formats/sflow", "./processors/decode", "./processors/filter", "./sdk", "./sdk/expr", "./core/engine",
	"./sinks/stdout", "./sources/udp"}

// results are the least of each benchmark's figures: by package and name, then by unit.
type results map[string]map[string]float64

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
	r, readErr := read(io.TeeReader(pipe, io.MultiWriter(os.Stdout, f)))
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("go test: %w", err)
	}
	if readErr != nil {
		return nil, readErr
	}
	return r, f.Close()
}

// read reads the output of go test -bench.
func read(in io.Reader) (results, error) {
	r := results{}
	pkg := ""
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		switch {
		case len(fields) == 2 && fields[0] == "pkg:":
			_, pkg, _ = strings.Cut(fields[1], "/weir/")
		case len(fields) >= 4 && strings.HasPrefix(fields[0], "Benchmark"):
			name := strings.TrimPrefix(fields[0], "Benchmark")
			if i := strings.LastIndexByte(name, '-'); i > 0 { // the number of CPUs
				if _, err := strconv.Atoi(name[i+1:]); err == nil {
					name = name[:i]
				}
			}
			name = pkg + " " + name
			if r[name] == nil {
				r[name] = map[string]float64{}
			}
			for i := 2; i+1 < len(fields); i += 2 {
				v, err := strconv.ParseFloat(fields[i], 64)
				if err != nil {
					return nil, fmt.Errorf("go test says %q: %w", lines.Text(), err)
				}
				if least, ok := r[name][fields[i+1]]; !ok || v < least {
					r[name][fields[i+1]] = v
				}
			}
		}
	}
	return r, lines.Err()
}

// bookkeeping are the goals of the engine's own work: a batch through a chain, and what a queue adds to that.
func bookkeeping(r results) []lab.Goal {
	const unit = "cpu-ns/batch"
	us := func(what string, bound float64, name, without string) lab.Goal {
		g := lab.Goal{What: what, Bound: bound, Unit: "us/batch"}
		v, ok := r["core/engine "+name][unit]
		if without != "" && ok {
			var less float64
			less, ok = r["core/engine "+without][unit]
			v -= less
		}
		if g.Figure = max(v, 0) / 1000; !ok {
			g.Why = "no benchmark says it"
		}
		return g
	}
	return []lab.Goal{
		us("bookkeeping of a batch, fused", 0.5, "Bookkeeping/fused", ""),
		us("hand-over, woken each time", 15, "HandOver/woken_each_time", "HandOver/the_same_without_a_queue"),
		us("hand-over, under load", 5, "HandOver/under_load", "HandOver/load_without_a_queue"),
	}
}
