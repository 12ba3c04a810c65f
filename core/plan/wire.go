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
		if n.ID == errorsID {
			r.report(n, "", CodeReserved, "`errors` is the reserved stream of refused records, no node can have that id", "choose another id")
		}
		if first, twice := r.byID[n.ID]; twice {
			r.report(n, "", CodeDuplicate, fmt.Sprintf("the id `%s` is taken by a %s in line %d", n.ID, first.Kind, first.At.Line),
				"sources, processors and sinks share one name space: choose another id")
		} else {
			r.byID[n.ID] = n
		}
	}
	start := config.Pos{File: r.plan.Pipeline.File, Line: 1, Col: 1}
	if len(sources) == 0 {
		r.diags = append(r.diags, config.Diagnostic{Severity: config.SeverityError, Code: CodeNoSource, At: start, Path: "sources",
			Message: "the pipeline has no source", Help: "add one under `sources:`"})
	}
	if len(sinks) == 0 {
		r.diags = append(r.diags, config.Diagnostic{Severity: config.SeverityError, Code: CodeNoSink, At: start, Path: "sinks",
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
	for _, n := range sources {
		if len(n.From) > 0 {
			r.report(n, "from", CodeSourceOption, "a source reads from outside, it has no `from`", "remove `from`")
		}
		if n.Queue.Asked {
			r.report(n, "queue", CodeSourceOption, "no queue stands in front of a source", "put `queue` on the node that reads it")
		}
	}
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
		at := ref.At
		if at == (config.Pos{}) {
			at = n.Pos(path)
		}
		say := func(code, message, help string) { r.reportAt(n, path, at, code, message, help) }
		if ref.Node == errorsID {
			switch {
			case ref.Port != "":
				say(CodeUnknownPort, "`errors` has no outputs of its own", "write `from: errors`")
			case n.Kind != sdk.KindSink:
				say(CodeErrorsReader, "only a sink can read `errors`", "let a sink read it: what happens to a refused record ends there")
			case len(n.From) > 1:
				say(CodeErrorsReader, "a sink that reads `errors` reads nothing else", "give the stream `errors` a sink of its own")
			}
			continue
		}
		from := r.byID[ref.Node]
		if from == nil {
			say(CodeUnknownNode, fmt.Sprintf("there is no node `%s`", ref.Node), r.suggestNode(n, ref.Node))
			continue
		}
		if from.Kind == sdk.KindSink {
			say(CodeReadsSink, fmt.Sprintf("`%s` is a sink: it hands on nothing", from.ID), "read what the sink reads")
			continue
		}
		port := 0
		if ref.Port != "" && from.known() {
			names := r.ports(from)
			if port = slices.Index(names, ref.Port); port < 0 {
				help := "its outputs are " + quoteList(names)
				if s := suggest(ref.Port, names); s != "" {
					help = fmt.Sprintf("did you mean `%s.%s`?", from.ID, s)
				}
				say(CodeUnknownPort, fmt.Sprintf("`%s` has no output `%s`", from.ID, ref.Port), help)
				continue
			}
		}
		if slices.ContainsFunc(n.Inputs, func(e *Edge) bool { return e.From == from && e.Port == port }) {
			say(CodeReadTwice, fmt.Sprintf("`%s` is read twice: its records would come twice", ref.Node), "remove one of the two")
			continue
		}
		r.connect(from, port, n, i)
	}
}

func (r *resolver) connect(from *Node, port int, to *Node, ref int) {
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
	return n.Kind == sdk.KindSink && len(n.From) == 1 && n.From[0].Node == errorsID && n.From[0].Port == ""
}

// wireErrors connects the sink n to every node that may refuse a record and sends it there. Sources refuse nothing; a sink that
// reads the stream never feeds it.
func (r *resolver) wireErrors(n *Node) {
	for _, from := range r.plan.Nodes {
		if from.Kind != sdk.KindSource && from.OnError == config.DeadLetter && !readsErrors(from) {
			r.connect(from, ErrorsPort, n, 0)
		}
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

// circles reports one circle for each group of nodes that read each other, of nodes that could not be sorted.
func (r *resolver) circles(left []*Node) {
	for {
		// Nodes behind a circle are not in one: drop what nobody left reads, until nothing changes.
		for n := -1; n != len(left); {
			n = len(left)
			left = slices.DeleteFunc(left, func(n *Node) bool {
				return !slices.ContainsFunc(left, func(o *Node) bool {
					return slices.ContainsFunc(o.Inputs, func(e *Edge) bool { return e.From == n })
				})
			})
		}
		if len(left) == 0 {
			return
		}
		seen := map[*Node]int{}
		var walk []*Edge // against the stream: each edge's From is the next one's To
		n := left[0]
		for {
			if at, again := seen[n]; again {
				walk = walk[at:]
				break
			}
			seen[n] = len(walk)
			i := slices.IndexFunc(n.Inputs, func(e *Edge) bool { return slices.Contains(left, e.From) })
			if i < 0 { // the circle it was behind is reported already
				break
			}
			walk = append(walk, n.Inputs[i])
			n = n.Inputs[i].From
		}
		if len(walk) == 0 || walk[len(walk)-1].From != walk[0].To {
			left = slices.DeleteFunc(left, func(n *Node) bool { _, in := seen[n]; return in })
			continue
		}
		r.circle(walk)
		left = slices.DeleteFunc(left, func(n *Node) bool {
			return slices.ContainsFunc(walk, func(e *Edge) bool { return e.To == n })
		})
	}
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
	r.report(e.To, fmt.Sprintf("from[%d]", max(0, r.ref[e])), CodeCycle,
		"records would go round in a circle: "+strings.Join(ids, " -> "), "let one of them read from another node")
}

// reach reports nodes that no record comes to, and nodes whose records come to no sink.
func (r *resolver) reach() {
	before := len(r.diags)
	from, to := map[*Node]bool{}, map[*Node]bool{}
	for _, n := range r.plan.Nodes {
		from[n] = n.Kind == sdk.KindSource || slices.ContainsFunc(n.Inputs, func(e *Edge) bool { return from[e.From] })
		if from[n] {
			continue
		}
		if readsErrors(n) {
			r.report(n, "from[0]", CodeUnreached, fmt.Sprintf("nothing comes to `%s`: no node sends refused records to `errors`", n.ID),
				"remove the sink, or an `on_error` that says otherwise")
		} else {
			r.report(n, "", CodeUnreached, fmt.Sprintf("no record can reach `%s`", n.ID), "let it read from something that a source leads to")
		}
	}
	for _, n := range slices.Backward(r.plan.Nodes) {
		to[n] = n.Kind == sdk.KindSink
		for e := range n.outs() {
			to[n] = to[n] || to[e.To]
		}
		if !to[n] {
			r.report(n, "", CodeDeadEnd, fmt.Sprintf("nothing reads `%s`: its records would be lost", n.ID),
				"let a sink read it, `discard` if they are not wanted, or remove it")
		}
	}
	r.wired = len(r.diags) == before
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
