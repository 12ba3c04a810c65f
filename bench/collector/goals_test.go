//go:build linux

package main

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/bench/lab"
)

func verdicts(gs []lab.Goal) (list []string) {
	for _, g := range gs {
		list = append(list, g.Verdict()+" "+lab.Number(g.Figure)+" "+g.Why)
	}
	return list
}

// A ratio to a peer is told where both have a rate without loss and the peer one with; what -only left out is not asked for.
func TestRatiosToPeers(t *testing.T) {
	at := func(collector, does, traffic string, flows float64, least bool, why string) reading {
		r := reading{Collector: collector, Does: does, Traffic: traffic, AtLeast: least, Why: why}
		if flows > 0 {
			r.Lossless = &tried{Flows: flows, Datagrams: flows / 1e6}
		}
		return r
	}
	table := &table{readings: []reading{
		at("weir", decodes, "v5 x 30", 30e6, true, ""), at("weir", decodes, "v9 x 24", 17e6, false, ""), at("weir", decodes, "IPFIX", 4e6, true, ""), at("weir", decodes, "sFlow", 3e6, false, ""), at("weir", writes, "v9 x 24", 2e6, false, ""),
		at("nfcapd", "to a file", "v5 x 30", 5e6, false, ""), at("nfcapd", "to a file", "v9 x 24", 10e6, false, ""), at("nfcapd", "to a file", "IPFIX", 4e6, false, ""), at("sfcapd", "to a file", "sFlow", 0, false, "sfcapd is not here"),
		at("goflow2", produces("bin"), "v9 x 24", 0.1e6, true, ""), at("goflow2", produces("json"), "v9 x 24", 0, false, ""),
	}}
	want := []string{"PASS 6 ", "short 1.7 ", "not measured 1 no more than 4 datagrams/s was sent, and nothing lost", "not measured 0 sfcapd is not here", "not measured 0 goflow2 lost nothing at any rate that was tried", "not measured 0 no rate was without loss"}
	if d := cmp.Diff(want, verdicts(table.beside())); d != "" {
		t.Errorf("(-want +got): %s", d)
	}
}

// The worker that is farthest from its share counts; a stalled one must have had something, and only balance by packets is judged.
func TestGoalsOfWorkers(t *testing.T) {
	b := &bench{countDatagrams: true}
	at := func(w received, sent_, counted uint64, others time.Duration) *found {
		told, err := json.Marshal(w)
		if err != nil {
			t.Fatal(err)
		}
		return &found{next: &step{told: told, sent: sent{Datagrams: sent_}, counted: counted, others: others, took: time.Second}}
	}
	even, refused := received{Workers: []uint64{98, 102, 100, 100}, Balance: "packet"}, received{Workers: []uint64{400, 0, 0, 0}, Balance: "kernel's hash", Why: "it needs CAP_BPF"}
	var got []string
	for _, f := range []*found{at(even, 400, 400, 0), at(refused, 400, 400, 0)} {
		got = append(got, verdicts(goalsBalance(b, f))...)
	}
	idle := received{Workers: []uint64{0, 200, 100, 100}, Balance: "packet"}
	for _, f := range []*found{at(even, 400, 400, 0), at(even, 410, 400, 0), at(even, 410, 400, time.Second), at(idle, 400, 400, 0)} {
		got = append(got, verdicts(goalsStalled(b, f))...)
	}
	want := []string{"PASS 2 ", "not measured 300 4 workers are balanced by the kernel's hash: it needs CAP_BPF",
		"PASS 0 ", "short 10 ", "not measured 10 10 were lost while others had 1s of its core", "not measured 0 the worker that stalled was sent nothing"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got): %s", d)
	}
}

// A rate that only the sender bounds is no figure of a collector that falls short.
func TestGoalBeyondTheSender(t *testing.T) {
	flows := func(s *step) float64 { return s.flows() }
	at := func(rate uint64, next *step) *found {
		return &found{best: &step{sent: sent{Records: rate, Seconds: 1}}, next: next}
	}
	got := verdicts([]lab.Goal{goal(at(400, nil), "", "flows/s", 500, true, flows), goal(at(400, &step{}), "", "flows/s", 500, true, flows), goal(at(600, nil), "", "flows/s", 500, true, flows), goal(&found{}, "", "", 1, true, flows)})
	want := []string{"not measured 400 no more than 400 flows/s was sent, and nothing lost", "short 400 ", "PASS 600 ", "not measured 0 no rate was without loss"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got): %s", d)
	}
}
