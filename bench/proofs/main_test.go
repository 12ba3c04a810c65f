package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/bench/lab"
)

// Parts count instead of the test that has them; what fails outside of them is a case too; a skip is told with its reason.
func TestOutcome(t *testing.T) {
	type result struct {
		Cases, Failed int
		Skipped       string
	}
	for name, c := range map[string]struct {
		out  string
		want result
	}{
		"parts": {`{"Action":"pass","Test":"TestA/one"}{"Action":"fail","Test":"TestA/two"}{"Action":"fail","Test":"TestA"}{"Action":"pass","Test":"TestB"}{"Action":"fail"}`,
			result{Cases: 3, Failed: 1}},
		"all well":           {`{"Action":"pass","Test":"TestA/one"}{"Action":"pass","Test":"TestA"}{"Action":"pass"}`, result{Cases: 1}},
		"outside of parts":   {`{"Action":"pass","Test":"TestA/one"}{"Action":"fail","Test":"TestA"}{"Action":"fail"}`, result{Cases: 2, Failed: 1}},
		"it does not build":  {`{"Action":"fail"}`, result{Cases: 1, Failed: 1}},
		"skipped":            {`{"Action":"output","Test":"TestA","Output":"    a_test.go:38: the test data is not here\n"}{"Action":"skip","Test":"TestA"}{"Action":"pass"}`, result{Skipped: "the test data is not here"}},
		"one of two skipped": {`{"Action":"skip","Test":"TestA"}{"Action":"pass","Test":"TestB"}{"Action":"pass"}`, result{Cases: 1}},
	} {
		es, err := read([]byte(c.out))
		if err != nil {
			t.Fatal(err)
		}
		var got result
		got.Cases, got.Failed, got.Skipped = es.outcome()
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%s (-want +got): %s", name, d)
		}
	}
}

// The test of trickling partitions still tells what the goals are about.
func TestTricklingIsRead(t *testing.T) {
	p := program{root: "../.."}
	for _, x := range p.proofs() {
		if x.what != "100 trickling partitions into a keyed sink" {
			continue
		}
		o, es, err := p.test(proof{what: x.what, args: append([]string{x.args[0], "-short"}, x.args[1:]...)})
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range trickling(o, es) {
			if g.Verdict() == "not measured" || g.Figure <= 0 {
				t.Errorf("%s: %s %s", g.What, lab.Number(g.Figure), g.Why)
			}
		}
		return
	}
	t.Error("no such proof")
}
