package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRead(t *testing.T) {
	const text = `goos: linux
pkg: github.com/weirflow/weir/core/engine
cpu: AMD EPYC
BenchmarkBookkeeping/fused-2         	   42696	       872.8 ns/op	         0.0004918 allocs/batch	       367.0 cpu-ns/batch
BenchmarkBookkeeping/fused-2         	   42696	       800.0 ns/op	         0.0005 allocs/batch	       401.5 cpu-ns/batch
BenchmarkHandOver/under_load-2         	       1	1487951 ns/op	     22154 cpu-ns/batch	      5420 cpu-ns/hand-over
BenchmarkHandOver/under_load-2         	       1	1487900 ns/op	     22100 cpu-ns/batch	      4020 cpu-ns/hand-over
BenchmarkHandOver/under_load-2         	       1	1487960 ns/op	     22160 cpu-ns/batch	      5100 cpu-ns/hand-over
BenchmarkHandOver/woken_each_time-2    	       1	 788384404 ns/op	    202415 cpu-ns/batch	     35500 cpu-ns/hand-over
BenchmarkBareWake/awake_and_yields-2              	       1	 740621081 ns/op	     32000 cpu-ns/wake
PASS
ok  	github.com/weirflow/weir/core/engine	3.7s
pkg: github.com/weirflow/weir/formats/sflow
BenchmarkDecode/20cols   	      80	    279001 ns/op	        91.94 ns/record
    time=2026-01-01T00:00:00Z level=INFO msg=receiving
pkg: github.com/weirflow/weir/sdk
BenchmarkArrow-2        	     219	   1113470 ns/op	       135.9 ns/record	         3.45 allocs/column
`
	var said strings.Builder
	got, err := read(strings.NewReader(text), &said)
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "pkg:") || strings.HasPrefix(line, "Benchmark") {
			told = append(told, line)
		}
	}
	if d := cmp.Diff(strings.Join(told, ""), said.String()); d != "" {
		t.Errorf("(-want +got): %s", d)
	}
	want := results{
		"core/engine Bookkeeping/fused":         {"ns/op": {872.8, 800}, "allocs/batch": {0.0004918, 0.0005}, "cpu-ns/batch": {367, 401.5}},
		"core/engine HandOver/under_load":       {"ns/op": {1487951, 1487900, 1487960}, "cpu-ns/batch": {22154, 22100, 22160}, "cpu-ns/hand-over": {5420, 4020, 5100}},
		"core/engine HandOver/woken_each_time":  {"ns/op": {788384404}, "cpu-ns/batch": {202415}, "cpu-ns/hand-over": {35500}},
		"core/engine BareWake/awake_and_yields": {"ns/op": {740621081}, "cpu-ns/wake": {32000}},
		"formats/sflow Decode/20cols":           {"ns/op": {279001}, "ns/record": {91.94}},
		"sdk Arrow":                             {"ns/op": {1113470}, "ns/record": {135.9}, "allocs/column": {3.45}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got): %s", d)
	}
	var verdicts []string
	for _, g := range bookkeeping(got) {
		verdicts = append(verdicts, fmt.Sprintf("%v %s", g.Figure, g.Verdict()))
	}
	if d := cmp.Diff([]string{"0.367 PASS", "35.5 short", "3.5 PASS", "5.1 short", "0.0005 PASS", "3.45 PASS"}, verdicts); d != "" {
		t.Errorf("(-want +got): %s", d)
	}
}
