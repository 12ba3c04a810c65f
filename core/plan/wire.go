package plan

import (
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/sdk"
)

// errorsID is the name of the reserved stream of refused records.
const errorsID = "errors"

// wire resolves names into edges. The default wiring is the file's order: the first processor reads every source, each later
// one the processor before it, a sink the last processor.
func (r *resolver) wire() {
	before := len(r.diags)
	var sources, processors, sinks []*Node
	for _, n := range r.plan.Nodes {
		switch n.Kind {
		case sdk.KindSource:
			sources = append(sources, n)
		case sdk.KindProcessor:
			processors = append(processors, n)
		case sdk.KindSink:
			sinks = append(sinks, n)
		}
		r.byID[n.ID] = n
	}
	start := config.Pos{File: r.plan.Pipeline.File, Line: 1, Col: 1}
	if len(sources) == 0 {
		r.diags = append(r.diags, config.Diagnostic{Severity: config.SeverityError, Code: config.CodeNoSource, At: start, Path: "sources",
			Message: "the pipeline has no source", Help: "add one under `sources:`"})
	}
	if len(sinks) == 0 {
		r.diags = append(r.diags, config.Diagnostic{Severity: config.SeverityError, Code: config.CodeNoSink, At: start, Path: "sinks",
			Message: "the pipeline has no sink", Help: "add one under `sinks:`, for example `out: { type: stdout }`"})
	}

	last := sources // what a node reads that says nothing
	for _, n := range processors {
		r.inputs(n, last)
		last = []*Node{n}
	}
	for _, n := range sinks {
		r.inputs(n, last)
	}
	for _, n := range sinks {
		if readsErrors(n) {
			r.wireErrors(n)
		}
	}
	r.wired = len(r.diags) == before
}

// inputs connects n to what its `from:` names, or else to the defaults.
func (r *resolver) inputs(n *Node, defaults []*Node) {
	if len(n.From) == 0 {
		for _, d := range defaults {
			r.connect(d, 0, n, -1)
		}
		return
	}
	for i, ref := range n.From {
		path := fmt.Sprintf("from[%d]", i)
		say := func(code, message, help string) { r.report(n, path, code, message, help) }
		if ref.Node == errorsID {
			switch {
			case n.Kind != sdk.KindSink:
				say(config.CodeErrorsElsewhere, "only a sink can read `errors`", "let a sink read it: what happens to a refused record ends there")
			case len(n.From) > 1:
				say(config.CodeErrorsElsewhere, "a sink that reads `errors` reads nothing else", "give the stream `errors` a sink of its own")
			}
			continue
		}
		from := r.byID[ref.Node]
		if from == nil {
			say(config.CodeUnknownNode, fmt.Sprintf("there is no node `%s`", ref.Node), r.suggestNode(n, ref.Node))
			continue
		}
		if from.Kind == sdk.KindSink {
			say(config.CodeFromSink, fmt.Sprintf("`%s` is a sink: it hands on nothing", from.ID), "read what the sink reads")
			continue
		}
		port := 0
		if ref.Port != "" && r.knows(from) {
			names := slices.Clone(r.ports(from))
			if port = slices.Index(names, ref.Port); port < 0 {
				for i := range names {
					names[i] = from.ID + "." + names[i]
				}
				say(config.CodeUnknownOutput, fmt.Sprintf("`%s` has no output `%s`", from.ID, ref.Port),
					didYouMean(from.ID+"."+ref.Port, names, "its outputs are"))
				continue
			}
		}
		if slices.ContainsFunc(n.Inputs, func(e *Edge) bool { return e.From == from && e.Port == port }) {
			say(config.CodeReadTwice, fmt.Sprintf("`%s` is read twice: its records would come twice", ref.Node), "remove one of the two")
			continue
		}
		r.connect(from, port, n, i)
	}
}

func (r *resolver) connect(from *Node, port int, to *Node, ref int) {
	if r.edges++; r.edges > maxEdges {
		if r.edges == maxEdges+1 {
			r.report(to, "", config.CodeTooManyEdges, fmt.Sprintf("the pipeline has more than %d connections: sinks without `from:` read every source where there is no processor, and so on", maxEdges),
				"say `from:`, or split the pipeline")
		}
		return
	}
	e := &Edge{From: from, Port: port, To: to}
	r.ref[e] = ref
	to.Inputs = append(to.Inputs, e)
	if port == ErrorsPort {
		from.Errors = append(from.Errors, e)
	} else {
		from.Outputs[port] = append(from.Outputs[port], e)
	}
}

// readsErrors says whether n is a sink on the reserved stream.
func readsErrors(n *Node) bool {
	return n.Kind == sdk.KindSink && len(n.From) == 1 && n.From[0].Node == errorsID
}

// wireErrors connects the sink n to every node that may refuse a record and sends it there. Sources refuse nothing; a sink that
// reads the stream never feeds it.
func (r *resolver) wireErrors(n *Node) {
	for _, from := range r.plan.Nodes {
		if from.Kind != sdk.KindSource && from.OnError == config.DeadLetter && !readsErrors(from) {
			r.connect(from, ErrorsPort, n, 0)
		}
	}
	r.heard(n)
}

// heard reports a sink on `errors` that nothing comes to. To every other node something does: it reads a source, or a node of
// which that is true.
func (r *resolver) heard(n *Node) {
	if len(n.Inputs) == 0 {
		r.report(n, "from[0]", config.CodeUnreached, fmt.Sprintf("nothing comes to `%s`: no node that runs sends refused records to `errors`", n.ID),
			"remove the sink, or the `on_error` that says otherwise")
	}
}

// order sorts the nodes so that each comes after all it reads from, else as the file has them, and reports circles.
func (r *resolver) order() {
	var sorted []*Node
	left := slices.Clone(r.plan.Nodes)
	placed := map[*Node]bool{}
	ready := func(n *Node) bool {
		return !slices.ContainsFunc(n.Inputs, func(e *Edge) bool { return !placed[e.From] })
	}
	for {
		i := slices.IndexFunc(left, ready)
		if i < 0 {
			break
		}
		placed[left[i]] = true
		sorted = append(sorted, left[i])
		left = slices.Delete(left, i, i+1)
	}
	if len(left) > 0 {
		r.wired = false
		r.circles(left)
	}
	r.plan.Nodes = sorted
}

// circles reports the circles among nodes that could not be sorted; of those that share a node, one.
func (r *resolver) circles(unsorted []*Node) {
	left := map[*Node]bool{}
	for _, n := range unsorted {
		left[n] = true
	}
	read := func(n *Node) int { // the input by which n is behind another one that is left, or -1
		return slices.IndexFunc(n.Inputs, func(e *Edge) bool { return left[e.From] })
	}
	for {
		// What is in a circle reads something and is read: drop the rest until nothing changes.
		for before := -1; before != len(left); {
			before = len(left)
			for _, n := range unsorted {
				if left[n] && (read(n) < 0 || !feeds(n, left)) {
					delete(left, n)
				}
			}
		}
		start := slices.IndexFunc(unsorted, func(n *Node) bool { return left[n] })
		if start < 0 {
			return
		}
		// Go against the stream until a node comes again: each edge's From is the next one's To.
		seen := map[*Node]int{}
		var walk []*Edge
		n := unsorted[start]
		for again := false; !again; _, again = seen[n] {
			seen[n] = len(walk)
			e := n.Inputs[read(n)]
			walk, n = append(walk, e), e.From
		}
		walk = walk[seen[n]:]
		r.circle(walk)
		for _, e := range walk {
			delete(left, e.To)
		}
	}
}

// feeds says whether one of nodes reads n.
func feeds(n *Node, nodes map[*Node]bool) bool {
	for e := range n.outs() {
		if nodes[e.To] {
			return true
		}
	}
	return false
}

func (r *resolver) circle(walk []*Edge) {
	// The place is a `from:` that somebody wrote: the default wiring alone makes no circle.
	at := max(0, slices.IndexFunc(walk, func(e *Edge) bool { return r.ref[e] >= 0 }))
	walk = append(slices.Clone(walk[at:]), walk[:at]...)
	e := walk[0]
	ids := []string{e.To.ID}
	for i := len(walk) - 1; i >= 0; i-- {
		ids = append(ids, walk[i].To.ID)
	}
	r.report(e.To, fmt.Sprintf("from[%d]", max(0, r.ref[e])), config.CodeCycle,
		"records would go round in a circle: "+strings.Join(ids, " -> "), "let one of them read from another node")
}

// unread takes nodes out of the plan whose records come to no sink: they are not run, and a warning says so.
func (r *resolver) unread() {
	useful := map[*Node]bool{}
	for _, n := range slices.Backward(r.plan.Nodes) {
		useful[n] = n.Kind == sdk.KindSink
		for e := range n.outs() {
			useful[n] = useful[n] || useful[e.To]
		}
	}
	for _, n := range slices.Clone(r.plan.Nodes) {
		if useful[n] {
			continue
		}
		r.report(n, "", config.CodeUnread, fmt.Sprintf("no sink reads what comes of `%s`: it is not run", n.ID), "let a sink read it, or remove it")
		r.diags[len(r.diags)-1].Severity = config.SeverityWarning
		r.remove(n)
	}
	for _, n := range r.plan.Nodes {
		if readsErrors(n) {
			r.heard(n)
		}
	}
	r.wired = !r.failed()
}

// remove takes n and its edges out of the plan.
func (r *resolver) remove(n *Node) {
	gone := func(e *Edge) bool { return e.From == n || e.To == n }
	r.plan.Nodes = slices.DeleteFunc(r.plan.Nodes, func(o *Node) bool { return o == n })
	for _, o := range r.plan.Nodes {
		o.Inputs, o.Errors = slices.DeleteFunc(o.Inputs, gone), slices.DeleteFunc(o.Errors, gone)
		for port := range o.Outputs {
			o.Outputs[port] = slices.DeleteFunc(o.Outputs[port], gone)
		}
	}
}

// outs yields the edges of all ports, `errors` apart.
func (n *Node) outs() iter.Seq[*Edge] {
	return func(yield func(*Edge) bool) {
		for _, port := range n.Outputs {
			for _, e := range port {
				if !yield(e) {
					return
				}
			}
		}
	}
}
