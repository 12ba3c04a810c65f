package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/sdk"
)

// MaxKeyed is the most keyed sinks of a pipeline: each has a bit in sdk.End.Sinks.
const MaxKeyed = 64

// fillSink sets what a sink's configuration leaves open.
func fillSink(n *config.Node) {
	if n.Batch.Rows == 0 {
		n.Batch.Rows = 100_000
		if n.Plugin != nil && n.Plugin.Spec.Fuses {
			n.Batch.Rows = 1 // every batch, as without a queue: it waits for nothing, so larger blocks save nothing
		}
	}
	if n.Batch.Bytes == 0 {
		n.Batch.Bytes = 64 << 20
	}
	if n.Batch.Age == 0 {
		n.Batch.Age = time.Second
	}
	if n.InFlight == 0 {
		n.InFlight = 4
	}
	if n.Retry.Initial == 0 {
		n.Retry.Initial = config.DefaultRetryInitial
	}
	if n.Retry.Max == 0 {
		n.Retry.Max = max(config.DefaultRetryMax, n.Retry.Initial)
	}
}

// paths says by which kinds of way records of committing sources come to a node.
type paths struct {
	ranged map[*Node]bool // with their range
	mixed  map[*Node]bool // without: a node before it does not keep ranges
}

func (r *resolver) committingPaths() paths {
	p := paths{ranged: r.behindCommitting(), mixed: map[*Node]bool{}}
	for _, n := range r.plan.Nodes {
		p.mixed[n] = slices.ContainsFunc(n.Inputs, func(e *Edge) bool {
			return e.Port != ErrorsPort && (p.mixed[e.From] || p.ranged[e.From] && !e.From.keeps())
		})
	}
	return p
}

// keys finds the keyed sinks and the edges that lead marks of cuts to them.
func (r *resolver) keys() {
	p := r.committingPaths()
	chosen := r.chosenByLife(p)
	for _, n := range r.plan.Nodes {
		if n.Kind != sdk.KindSink || !n.Required || !n.spec().HonoursKeys || readsErrors(n) || !p.ranged[n] {
			continue
		}
		switch {
		case p.mixed[n]:
			r.limit("`%s` honours keys, but some of its records come through a node that does not keep their ranges: it gets no keys and stores at least once", n.ID)
		case chosen[n] != nil:
			r.limit("`%s` honours keys, but `%s` may choose another sink for a record in another life: keys carry the life, at least once, never lost", n.ID, chosen[n].ID)
		default:
			n.Keyed = true
			r.plan.Keyed = append(r.plan.Keyed, n)
		}
	}
	slices.SortFunc(r.plan.Keyed, func(a, b *Node) int { return strings.Compare(a.ID, b.ID) })
	if len(r.plan.Keyed) > MaxKeyed {
		r.report(r.plan.Keyed[MaxKeyed], "", config.CodeManyKeyed, fmt.Sprintf("the pipeline has %d sinks that store under keys, a saved position has room for %d", len(r.plan.Keyed), MaxKeyed),
			"split it into two pipelines")
	}
	leads := map[*Node]bool{}
	for _, n := range slices.Backward(r.plan.Nodes) {
		leads[n] = n.Keyed
		for e := range n.outs() {
			e.Marks = p.ranged[n] && n.keeps() && leads[e.To]
			leads[n] = leads[n] || n.keeps() && leads[e.To]
		}
	}
	for _, n := range r.plan.Nodes {
		if n.Kind == sdk.KindSource && n.spec().Commits && !n.Required {
			r.limit("no required sink reads `%s`: its positions are committed as they are read", n.ID)
		}
	}
	for _, n := range r.plan.Keyed {
		r.limit("`%s` stores once as long as its store remembers keys longer than the longest absence", n.ID)
		r.limit("`%s` closes at most %d blocks a second for their age: with more than %d partitions, blocks get older than %s",
			n.ID, agedCuts, int(agedCuts*n.Batch.Age.Seconds()), n.Batch.Age)
	}
}

// agedCuts is the most cuts a second that are made for a block's age, for each sink.
const agedCuts = 10

// chosenByLife holds the required sinks to which a record may or may not come, as a node that is not deterministic decides: in
// another life the record may go to another sink, which has stored its block already.
func (r *resolver) chosenByLife(p paths) map[*Node]*Node {
	reach := map[*Node]map[*Node]bool{} // required sinks
	for _, n := range slices.Backward(r.plan.Nodes) {
		reach[n] = map[*Node]bool{}
		if n.Kind == sdk.KindSink && n.Required {
			reach[n][n] = true
		}
		for e := range n.outs() {
			for s := range reach[e.To] {
				reach[n][s] = true
			}
		}
	}
	chosen := map[*Node]*Node{}
	for _, n := range r.plan.Nodes {
		if n.Kind != sdk.KindProcessor || n.spec().Deterministic || !p.ranged[n] {
			continue
		}
		ports := 0 // that lead to a required sink
		from := map[*Node]int{}
		for _, port := range n.Outputs {
			here := map[*Node]bool{}
			for _, e := range port {
				for s := range reach[e.To] {
					here[s] = true
				}
			}
			if len(here) > 0 {
				ports++
			}
			for s := range here {
				from[s]++
			}
		}
		for s, k := range from {
			if k < ports {
				chosen[s] = n
			}
		}
	}
	return chosen
}

func (r *resolver) limit(format string, args ...any) {
	r.plan.Limits = append(r.plan.Limits, fmt.Sprintf(format, args...))
}

// promises says for each sink what it can count on.
func (r *resolver) promises() {
	sources := map[*Node][]*Node{}
	for _, n := range r.plan.Nodes {
		if n.Kind == sdk.KindSource {
			sources[n] = []*Node{n}
		}
		for _, e := range n.Inputs {
			for _, s := range sources[e.From] {
				if !slices.Contains(sources[n], s) {
					sources[n] = append(sources[n], s)
				}
			}
		}
	}
	p := r.committingPaths()
	for _, n := range r.plan.Nodes {
		if n.Kind == sdk.KindSink {
			n.Promise = promise(n, sources[n], p)
		}
		if q := n.Stage.Queue; q != nil && n.Required && n == n.Stage.Head() && (q.WhenFull == config.DropOldest || q.WhenFull == config.DropNewest) {
			r.limit("the queue in front of `%s` may drop records that a required sink would get (%s): they are counted as dropped{overflow}", n.ID, q.WhenFull)
		}
	}
}

// promise of one sink that records of sources come to: the sentences of its sources, each once. Where they differ, each names its
// sources.
func promise(n *Node, sources []*Node, p paths) string {
	if !n.Required {
		return "best effort: nobody waits for it (ack: optional), what its queue drops is counted"
	}
	var said []string
	from := map[string][]string{}
	for _, s := range sources {
		says := ""
		switch _, endless := lanesOf(s); {
		case s.spec().Commits && readsErrors(n):
			says = "at least once: positions are committed after their dead letters are stored"
		case s.spec().Commits && n.Keyed:
			says = "effectively once: blocks are cut at saved positions and written under keys, so that a block written again is stored once"
		case s.spec().Commits && p.mixed[n]:
			says = "at least once: positions are committed after every required sink has stored; what was open at a crash is counted again"
		case s.spec().Commits:
			says = "at least once: positions are committed after every required sink has stored"
		case s.spec().Slowable && !endless:
			says = "each file and block exactly once a run"
		case s.spec().Slowable:
			says = "once while Weir runs: the source waits when it must; what is in flight at a crash is lost"
		default:
			says = "at most once until a record is in the queue: what is lost before is counted"
		}
		if !slices.Contains(said, says) {
			said = append(said, says)
		}
		from[says] = append(from[says], s.ID)
	}
	if len(said) > 1 {
		for i, says := range said {
			said[i] = "from " + quoteList(from[says]) + ": " + says
		}
	}
	return strings.Join(said, "; ")
}
