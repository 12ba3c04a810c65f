package main

import (
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
BenchmarkHandOver/under_load-2       	     840	     27107 ns/op	     27204 cpu-ns/batch
PASS
ok  	github.com/weirflow/weir/core/engine	3.7s
pkg: github.com/weirflow/weir/formats/sflow
BenchmarkDecode/20cols   	      80	    279001 ns/op	        91.94 ns/record
`
	got, err := read(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	want := results{
		"core/engine Bookkeeping/fused":   {"ns/op": 800, "allocs/batch": 0.0004918, "cpu-ns/batch": 367},
		"core/engine HandOver/under_load": {"ns/op": 27107, "cpu-ns/batch": 27204},
		"formats/sflow Decode/20cols":     {"ns/op": 279001, "ns/record": 91.94},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got): %s", d)
	}
	var verdicts []string
	for _, g := range bookkeeping(got) {
		verdicts = append(verdicts, g.Verdict())
	}
	if d := cmp.Diff([]string{"PASS", "not measured", "not measured"}, verdicts); d != "" {
		t.Errorf("(-want +got): %s", d)
	}
}
