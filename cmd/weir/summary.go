package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/weirflow/weir/core/ledger"
	"github.com/weirflow/weir/sdk"
)

// writeLedger writes a pipeline's ledger for a person: a line a node.
func writeLedger(w io.Writer, r *ledger.Report) error {
	t := newTable("node", "kind", ">in", ">out", ">filtered", ">dropped", ">refused", "notes")
	queues := map[string]map[string]uint64{} // drops in front of a node
	for _, e := range r.Edges {
		to := e.To
		if to == "" {
			to = e.From
		}
		for reason, n := range e.Dropped {
			if queues[to] == nil {
				queues[to] = map[string]uint64{}
			}
			queues[to][reason] += n
		}
	}
	for i := range r.Nodes {
		n := &r.Nodes[i]
		t.add(n.ID, string(n.Kind), number(n.In), number(n.Out), blank(n.Filtered), blank(total(n.Dropped)+total(queues[n.ID])), blank(n.DeadLettered),
			notes(n, queues[n.ID]))
	}
	return t.write(w, "  ")
}

// notes is what does not have a column.
func notes(n *ledger.NodeReport, queue map[string]uint64) string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	for _, reason := range slices.Sorted(maps.Keys(n.Dropped)) {
		if k := n.Dropped[reason]; k > 0 {
			add("%s %s", reason, number(k))
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(queue)) {
		if k := queue[reason]; k > 0 {
			add("%s in the queue before it %s", reason, number(k))
		}
	}
	for _, x := range []struct {
		n    uint64
		what string
	}{{uint64(max(n.Held, 0)), "held"}, {uint64(max(n.Open, 0)), "in open batches"}, {uint64(max(n.InHand, 0)), "in hand"},
		{uint64(max(n.InFlight, 0)), "in flight"}, {n.Failed, "failed"}, {n.ErrorsMade, "parts refused"}} {
		if x.n > 0 {
			add("%s %s", number(x.n), x.what)
		}
	}
	if n.Retries > 0 {
		add("written again %s", times(n.Retries))
	}
	for _, reason := range slices.Sorted(maps.Keys(n.Lost)) {
		if k := n.Lost[reason]; k > 0 {
			add("lost before Weir: %s %s", reason, number(k))
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(n.Noted)) {
		if k := n.Noted[reason]; k > 0 {
			add("noted: %s %s", reason, number(k))
		}
	}
	return strings.Join(out, ", ")
}

func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return number(n) + " times"
}

func total(m map[string]uint64) (n uint64) {
	for _, k := range m {
		n += k
	}
	return n
}

// verdict says that the ledger balances, or which equations do not hold.
func verdict(r *ledger.Report) string {
	if !r.Balanced {
		return "NOT balanced: " + strings.Join(r.Unbalanced, "; ")
	}
	parts := []string{counted(r.Received, "record") + " received"}
	for _, x := range []struct {
		n    uint64
		what string
	}{{r.Consumed, "consumed"}, {r.Produced, "produced"}, {r.Copied, "copied"}, {r.Filtered, "filtered"}, {total(r.Dropped), "dropped"},
		{r.DeadLettered, "refused"}, {uint64(max(r.Held, 0)), "held"}, {uint64(max(r.InFlight, 0)), "in flight"}, {r.Failed, "failed"}} {
		if x.n > 0 {
			parts = append(parts, number(x.n)+" "+x.what)
		}
	}
	return "balanced: " + strings.Join(append(parts, number(r.Delivered)+" delivered"), ", ")
}

// writeSummary is the end of a run, for a person.
func writeSummary(w io.Writer, runs []*pipelineRun) error {
	for _, r := range runs {
		rep := r.Report()
		how := "ran"
		if r.failure() != nil {
			how = "failed after"
		}
		fmt.Fprintf(w, "\n%s %s %s\n", rep.Name, how, rounded(r.took()))
		if err := writeLedger(w, &rep); err != nil {
			return err
		}
		if n := rep.Dropped[string(sdk.ReasonUnread)]; n > 0 {
			fmt.Fprintf(w, "  refused, and nobody reads `errors`: %s; a sink with `from: errors` shows them, and why\n", counted(n, "record"))
		}
		if err := r.failure(); err != nil {
			fmt.Fprintf(w, "  error: %s\n", r.redacted(err))
		}
		if _, err := fmt.Fprintf(w, "  %s\n", verdict(&rep)); err != nil {
			return err
		}
	}
	return nil
}

// summaryJSON is the same in one line, the last of standard error.
func summaryJSON(w io.Writer, runs []*pipelineRun) error {
	type pipeline struct {
		ledger.Report
		Seconds float64 `json:"seconds"`
		Error   string  `json:"error,omitempty"`
	}
	out := struct {
		Pipelines []pipeline `json:"pipelines"`
	}{[]pipeline{}}
	for _, r := range runs {
		p := pipeline{Report: r.Report(), Seconds: r.took().Seconds()}
		if err := r.failure(); err != nil {
			p.Error = r.redacted(err)
		}
		out.Pipelines = append(out.Pipelines, p)
	}
	line, err := json.Marshal(out)
	if err != nil {
		return err
	}
	_, err = w.Write(append(line, '\n'))
	return err
}

func rounded(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// progressOf is what sources have taken and sinks delivered so far, of which a rate is made, what was dropped, and what was lost before Weir.
func progressOf(r *ledger.Report) (in, out, dropped, lost uint64) {
	for i := range r.Nodes {
		n := &r.Nodes[i]
		if n.Kind == sdk.KindSource {
			in += n.In
		}
		lost += total(n.Lost)
	}
	return in, r.Delivered, total(r.Dropped), lost
}
