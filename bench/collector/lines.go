//go:build linux

package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/weirflow/weir/bench/lab"
)

// What collectors do, where goals ask for it.
const (
	decodes = "decode, discard"
	writes  = "decode, JSON lines to /dev/null"
)

// measure measures all collectors.
func (t *table) measure(bin, peer string) {
	for _, x := range []struct {
		traffic string
		first   float64
		goals   func(*bench, *found) []lab.Goal
	}{{"v5 x 30", 400_000, goalsV5}, {"v9 x 24", 300_000, goalsV9}, {"IPFIX", 250_000, nil}, {"sFlow", 150_000, nil}} {
		t.add(line{s: weir(bin, decodes, "20", "discard.yaml", 1), traffic: x.traffic, first: x.first, goals: x.goals})
	}
	t.add(line{s: weir(bin, writes, "20", "json.yaml", 1), traffic: "v9 x 24", first: 80_000, goals: goalsJSON})
	t.add(line{s: weir(bin, "receive, four workers", "-", "receive.yaml", 4), traffic: "v9 x 24", first: 250_000, fixed: true, offload: "mmsg", goals: goalsFour})
	t.add(line{s: receivers(t.b.self, "four workers, one 5-tuple", 0), traffic: "v9 x 24", first: 250_000, fixed: true, one: true, offload: "mmsg", goals: goalsBalance})
	t.add(line{s: receivers(t.b.self, "one of four workers stalled, one 5-tuple", 1), traffic: "v9 x 24", first: 250_000, fixed: true, one: true, offload: "mmsg", goals: goalsStalled})
	t.add(line{s: nfcapd("nfcapd", "Debian: nfdump"), traffic: "v5 x 30", first: 160_000, steps: 6})
	t.add(line{s: nfcapd("nfcapd", "Debian: nfdump"), traffic: "v9 x 24", first: 80_000, steps: 6})
	t.add(line{s: nfcapd("nfcapd", "Debian: nfdump"), traffic: "IPFIX", first: 80_000, steps: 6})
	t.add(line{s: nfcapd("sfcapd", "Debian: nfdump-sflow"), traffic: "sFlow", first: 60_000, steps: 6})
	t.add(line{s: pmacct("nfacctd"), traffic: "v9 x 24", first: 40_000, steps: 4})
	t.add(line{s: pmacct("sfacctd"), traffic: "sFlow", first: 20_000, steps: 4})
	t.add(line{s: goflow2(peer, "json"), traffic: "v9 x 24", first: 500, steps: 5})
	t.add(line{s: goflow2(peer, "bin"), traffic: "v5 x 30", first: 6_000, steps: 5})
	t.add(line{s: goflow2(peer, "bin"), traffic: "v9 x 24", first: 4_000, steps: 5})
	t.add(line{s: goflow2(peer, "bin"), traffic: "sFlow", first: 5_000, steps: 5})
}

// line is one line of the table to come.
type line struct {
	s       *subject
	traffic string
	first   float64 // datagrams a second to begin with
	fixed   bool    // try that rate only
	one     bool    // all exporters send from one socket
	steps   int     // most rates tried; 0: as all
	offload string
	goals   func(*bench, *found) []lab.Goal
}

type table struct {
	b        *bench
	only     string
	lines    [][]string
	readings []reading
	goals    []lab.Goal
	notes    []string
	err      error
}

// reading is what a line says, for programs.
type reading struct {
	Collector string `json:"collector"`
	Version   string `json:"version,omitempty"`
	Does      string `json:"does"`
	Columns   string `json:"columns"`
	Traffic   string `json:"traffic"`
	Buffer    string `json:"socket_buffer"`
	Lossless  *tried `json:"lossless"`          // the highest rate without loss; null: there was none
	AtLeast   bool   `json:"lossless_at_least"` // no rate was too much
	Lossy     *tried `json:"lossy"`             // the lowest with
	Why       string `json:"not_measured,omitempty"`

	name  string
	found *found
}

// tried is a rate.
type tried struct {
	Datagrams float64 `json:"datagrams_per_second"`
	Flows     float64 `json:"flows_per_second"`
	CPU       float64 `json:"cpu_us_per_flow"`
	Cores     float64 `json:"cores"`
	Lost      float64 `json:"lost"` // share of what was sent
	Offload   string  `json:"offload"`
	Sender    float64 `json:"sender_cores"`
	Softirq   string  `json:"softirq"`
	Others    float64 `json:"others_cores"` // that others had of the collector's core
	Resident  int64   `json:"resident_bytes"`
}

func (b *bench) tried(s *step) *tried {
	if s == nil {
		return nil
	}
	return &tried{s.sent.Rate, s.flows(), b.perFlow(s), s.cpu.Seconds() / s.sent.Seconds, b.lost(s), s.sent.Offload, s.sent.core(), s.softirq,
		s.others.Seconds() / s.took.Seconds(), s.resident}
}

// add measures a line. The first error ends it all: a collector that does not run has no figures.
func (t *table) add(l line) {
	if t.lines == nil {
		t.lines = [][]string{{"collector", "does", "columns", "traffic", "datagrams/s", "flows/s", "us/flow", "core used", "next rate: lost",
			"offload x datagrams a call", "sender", "softirq", "collector", "socket buffer"}}
	}
	r := reading{Collector: l.s.name, Version: version(l.s), Does: l.s.does, Columns: l.s.columns, Traffic: l.traffic, Buffer: l.s.buffer}
	r.name = strings.TrimSpace(r.Collector + " " + r.Version)
	if t.err != nil || !strings.Contains(r.name+" "+l.s.does+" "+l.traffic, t.only) {
		return
	}
	cells := []string{r.name, l.s.does, l.s.columns, l.traffic}
	defer func() {
		t.lines, t.readings = append(t.lines, cells), append(t.readings, r)
	}()
	if r.Why = l.s.missing(); r.Why != "" {
		cells = append(cells, "missing")
		t.notes = append(t.notes, "missing: "+r.Why)
		return
	}
	b := *t.b
	b.countDatagrams, b.fixed, b.one = l.s.columns == "-", l.fixed, l.one
	if l.offload != "" {
		b.offload = l.offload
	}
	if l.steps > 0 {
		b.steps = min(b.steps, l.steps)
	}
	f, err := b.search(func(rate float64) (*step, error) { return b.try(l.s, l.traffic, rate) }, l.first, b.step+l.s.ready+l.s.settle+2*time.Second)
	if err != nil {
		r.Why = err.Error()
		t.notes = append(t.notes, fmt.Sprintf("%s, %s, %s: not measured: %v", r.name, l.s.does, l.traffic, err))
		cells = append(cells, "not measured, see below")
		return
	}
	if f.best == nil && f.next == nil {
		r.Why = "the time was over"
		cells = append(cells, "left out: "+r.Why)
		return
	}
	r.found, r.Lossless, r.Lossy, r.AtLeast = f, b.tried(f.best), b.tried(f.next), f.best != nil && f.next == nil
	cells = append(cells, b.cells(f, l.s.buffer)...)
	if l.goals != nil {
		t.goals = append(t.goals, l.goals(&b, f)...)
	}
}

// cells of what was found.
func (b *bench) cells(f *found, buffer string) []string {
	st := f.best
	if st == nil {
		st = f.next
	}
	with := []string{next(b, f), st.sent.Offload, fmt.Sprintf("core %d (had %.0f %%)", b.sendCore, 100*st.sent.core()), st.softirq,
		fmt.Sprintf("core %d (others %.0f %%)", b.cores[0], 100*st.others.Seconds()/st.took.Seconds()), buffer}
	if f.best == nil {
		return append([]string{"none without loss", "", "", ""}, with...)
	}
	least := ""
	if f.next == nil {
		least = ">= " // no rate was too much: the sender was at its limit, or disturbed, or there was one rate
	}
	return append([]string{fmt.Sprintf("%s%.0f", least, st.sent.Rate), fmt.Sprintf("%s%.3g M", least, st.flows()/1e6), fmt.Sprintf("%.3f", b.perFlow(st)),
		fmt.Sprintf("%.2f", st.cpu.Seconds()/st.sent.Seconds)}, with...)
}

func next(b *bench, f *found) string {
	if f.next == nil {
		return "-"
	}
	return fmt.Sprintf("%.0f/s: %.2g %%", f.next.sent.Rate, 100*b.lost(f.next))
}

// perFlow is the cost in us.
func (b *bench) perFlow(s *step) float64 { return s.cpu.Seconds() * 1e6 / float64(s.sent.Records) }
