package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// drawn is a random pipeline and what each of its sinks must get.
type drawn struct {
	text     string
	want     map[string][]uint64 // by required sink: the numbers, sorted
	stop     time.Duration       // the run is stopped so late; 0: it ends by itself
	optional map[string]bool
}

type drawnRow struct {
	n uint64
	v uint32
}

// drawPipeline draws a graph: fan-in, fan-out, named outputs, filters that copy and filters that select, in front of nodes that read
// selections and nodes that do not, drops, refusals, products, optional branches, queues, slow and failing sinks.
func drawPipeline(t *rapid.T) drawn {
	d := drawn{want: map[string][]uint64{}, optional: map[string]bool{}}
	var b strings.Builder
	rows := map[string][]drawnRow{} // by output
	var outs []string
	read := map[string]bool{} // nodes of which some output is read
	b.WriteString("drain_timeout: 20s\nsources:\n")
	for i := range rapid.IntRange(1, 2).Draw(t, "sources") {
		id := fmt.Sprintf("s%d", i)
		n, readers := rapid.IntRange(1, 3000).Draw(t, "rows"), rapid.IntRange(1, 4).Draw(t, "readers")
		refuse := rapid.SampledFrom([]int{0, 0, 5}).Draw(t, "source drops")
		fmt.Fprintf(&b, "  %s: {type: count, with: {rows: %d, batch: %d, readers: %d, ends: %v, views: %v, refuse: %d}}\n", id, n,
			rapid.IntRange(1, 900).Draw(t, "batch"), readers, rapid.Bool().Draw(t, "ends"), rapid.Bool().Draw(t, "views"), refuse)
		for r := range readers {
			for k := range n {
				if refuse > 0 && k%refuse == 0 {
					continue
				}
				rows[id] = append(rows[id], drawnRow{uint64(r)<<32 | uint64(k), uint32(k % 97)})
			}
		}
		outs = append(outs, id)
	}
	from := func() (text string, in []drawnRow) {
		k := rapid.IntRange(1, min(3, len(outs))).Draw(t, "inputs")
		ids := slices.Clone(rapid.Permutation(outs).Draw(t, "from")[:k])
		for _, id := range ids {
			node, _, _ := strings.Cut(id, ".")
			read[node] = true
		}
		for _, id := range ids {
			in = append(in, rows[id]...)
		}
		return "[" + strings.Join(ids, ", ") + "]", in
	}
	n := rapid.IntRange(0, 4).Draw(t, "processors")
	if n > 0 {
		b.WriteString("processors:\n")
	}
	for i := range n {
		id := fmt.Sprintf("p%d", i)
		text, in := from()
		keep, drop, refuse := rapid.IntRange(0, 4).Draw(t, "keep"), rapid.IntRange(0, 9).Draw(t, "drop"), rapid.SampledFrom([]int{0, 0, 11}).Draw(t, "refuse")
		twice, hold, split := rapid.IntRange(0, 3).Draw(t, "twice") == 0, rapid.Bool().Draw(t, "hold"), rapid.IntRange(0, 3).Draw(t, "split") == 0
		if len(in) > 40_000 {
			twice = false
		}
		queue := ""
		if rapid.IntRange(0, 3).Draw(t, "queued") == 0 {
			queue = ", queue: {batches: 64}"
		}
		typ := rapid.SampledFrom([]string{"work", "sieve", "sieve"}).Draw(t, "reads selections")
		fmt.Fprintf(&b, "  - {id: %s, type: %s, from: %s, with: {keep: %d, drop: %d, refuse: %d, twice: %v, hold: %v, split: %v, select: %v}%s}\n", id, typ, text, keep, drop, refuse, twice,
			hold, split, rapid.Bool().Draw(t, "selects"), queue)
		ports := []string{id}
		if split {
			ports = []string{id + ".a", id + ".b"}
		}
		for _, r := range in {
			if (refuse > 0 && r.v%uint32(refuse) == 2) || (drop > 0 && r.v%uint32(drop) == 1) || (keep > 0 && r.v%uint32(keep) != 0) {
				continue
			}
			o := ports[int(r.n)%len(ports)]
			rows[o] = append(rows[o], r)
			if twice {
				rows[o] = append(rows[o], r)
			}
		}
		outs = append(outs, ports...)
	}
	b.WriteString("sinks:\n")
	sinks := rapid.IntRange(1, 4).Draw(t, "sinks")
	for i := range sinks {
		id := fmt.Sprintf("k%d", i)
		text, in := from()
		optional := i > 0 && rapid.IntRange(0, 3).Draw(t, "optional") == 0
		typ := rapid.SampledFrom([]string{"mem", "mem", "memfused", "memsieve"}).Draw(t, "type")
		fmt.Fprintf(&b, "  %s: {type: %s, from: %s, batch: {rows: %d, age: 50ms}, retry: {initial: 1ms, max: 5ms}, in_flight: %d, with: {name: %s, delay: %dms, late: %dms, fail: %d, copies: %v, refuse: %d}",
			id, typ, text, rapid.IntRange(1, 3000).Draw(t, "block"), rapid.IntRange(1, 4).Draw(t, "in flight"), id, rapid.IntRange(0, 4).Draw(t, "delay"),
			rapid.IntRange(0, 9).Draw(t, "late"), rapid.SampledFrom([]int{0, 2, 5}).Draw(t, "fail"), rapid.Bool().Draw(t, "copies"), rapid.SampledFrom([]int{0, 0, 50}).Draw(t, "bad rows"))
		if optional {
			b.WriteString(", ack: optional")
			d.optional[id] = true
		}
		b.WriteString("}\n")
		for _, r := range in {
			d.want[id] = append(d.want[id], r.n)
		}
		slices.Sort(d.want[id])
	}
	var rest []string // a node that nobody reads is an error
	for _, id := range outs {
		if node, _, _ := strings.Cut(id, "."); !read[node] {
			read[node] = true
			rest = append(rest, id)
			for _, r := range rows[id] {
				d.want["rest"] = append(d.want["rest"], r.n)
			}
		}
	}
	if len(rest) > 0 {
		slices.Sort(d.want["rest"])
		fmt.Fprintf(&b, "  rest: {type: memfused, from: [%s], with: {name: rest}}\n", strings.Join(rest, ", "))
	}
	if rapid.Bool().Draw(t, "errors read") {
		b.WriteString("  dead: {type: discarderrors, from: errors}\n")
	}
	if rapid.IntRange(0, 3).Draw(t, "stopped") == 0 {
		d.stop = time.Duration(rapid.IntRange(1, 30).Draw(t, "after ms")) * time.Millisecond
	}
	d.text = b.String()
	return d
}

// The ledger is exact and every record arrives, whatever the graph, the sizes and the weather.
func TestLedgerBalancesOverRandomGraphs(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := drawPipeline(rt)
		fault := ""
		synctest.Test(t, func(t *testing.T) { fault = runDrawn(t, d) })
		if fault != "" {
			rt.Fatalf("%s\n%s", fault, d.text)
		}
	})
}

func runDrawn(t *testing.T, d drawn) string {
	s := newStores()
	r := running(t, s, d.text, discardErrors)
	r.Start()
	if d.stop > 0 {
		time.Sleep(d.stop)
		r.Stop()
	}
	select {
	case <-r.Done():
	case <-time.After(time.Hour):
		rep := r.Report()
		r.fail(errEnded)
		<-r.Done()
		return fmt.Sprintf("the run does not end: %+v", rep)
	}
	if err := r.Wait(); err != nil {
		return fmt.Sprint("failed: ", err)
	}
	rep := r.Report()
	if !rep.Balanced || rep.InTransit != 0 || rep.InFlight != 0 || rep.Held != 0 {
		return fmt.Sprintf("unbalanced: %v, in transit %d, in flight %d, held %d", rep.Unbalanced, rep.InTransit, rep.InFlight, rep.Held)
	}
	for id, q := range r.QueueStats() {
		if q.Batches != 0 || q.Bytes != 0 {
			return fmt.Sprintf("queue before %s still holds %d bytes", id, q.Bytes)
		}
		if q.MostBytes > q.Limit {
			return fmt.Sprintf("queue before %s held %d bytes, limit %d", id, q.MostBytes, q.Limit)
		}
	}
	delivered := map[string]uint64{}
	for _, n := range rep.Nodes {
		delivered[n.ID] = n.Delivered
	}
	for id, want := range d.want {
		got := slices.Clone(s.rows[id])
		slices.Sort(got)
		if uint64(len(got)) != delivered[id] {
			return fmt.Sprintf("sink %s stored %d, the ledger says %d", id, len(got), delivered[id])
		}
		if d.stop > 0 || d.optional[id] || strings.Contains(d.text, "ack: optional") {
			continue // less may have come; the ledger says what became of the rest
		}
		if bad := nodeDropped(rep, id); uint64(len(got))+bad != uint64(len(want)) {
			return fmt.Sprintf("sink %s: %s", id, cmp.Diff(len(want), len(got)))
		} else if bad == 0 && !slices.Equal(got, want) {
			return fmt.Sprintf("sink %s stored other records", id)
		}
	}
	return ""
}
