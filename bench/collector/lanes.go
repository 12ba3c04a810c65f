//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/weirflow/weir/bench/lab"
)

// twoLanes compares two lanes with one, fed from memory: a sender would take a part of a core from them.
func (b *bench) twoLanes(bin string) (*lanes, error) {
	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	var cores []int
	for i := range runtime.NumCPU() {
		cores = append(cores, i)
	}
	var best [2]float64
	var had float64 // cores, of the fastest run of two
	for range 5 {   // short ones: on a shared machine one of them may have both cores
		for i := range best {
			cmd, err := weir(bin, "", "", "json.yaml", 1).command(1, dir)
			if err != nil {
				return nil, err
			}
			var out, problems bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &problems
			cmd.Args = []string{bin, "bench", filepath.Join(dir, "json.yaml"), "--input", "generate:v9,exporters=50,records=24", "--lanes", strconv.Itoa(i + 1), "--for", (b.step / 2).String(), "-o", "json"}
			if err := begin(cmd, cores, b.nice); err != nil {
				return nil, err
			}
			if err := cmd.Wait(); err != nil {
				return nil, fmt.Errorf("weir bench: %w: %s", err, problems.Bytes())
			}
			var m struct {
				Rate float64 `json:"records_per_second"`
				CPU  float64 `json:"cpu_ns_per_record"`
			}
			if err := json.Unmarshal(out.Bytes(), &m); err != nil {
				return nil, err
			}
			if m.Rate > best[i] {
				best[i] = m.Rate
				if i == 1 {
					had = m.Rate * m.CPU / 1e9
				}
			}
		}
	}
	return &lanes{best[0], best[1], had}, nil
}

// lanes are the rates of one and of two, in records a second, and the cores that two had.
type lanes struct {
	One   float64 `json:"one_records_per_second"`
	Two   float64 `json:"two_records_per_second"`
	Cores float64 `json:"two_cores"`
}

func (l *lanes) goal() lab.Goal {
	what := fmt.Sprintf("JSON lines from memory, two lanes beside one (%.3g M and %.3g M flows/s; two had %.2f cores)", l.Two/1e6, l.One/1e6, l.Cores)
	return lab.Lanes(what, 1.7, l.One, l.Two, l.Cores)
}
