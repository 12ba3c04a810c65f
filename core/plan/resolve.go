package plan

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/sdk"
)

// Options of Resolve.
type Options struct {
	// CPUs is the most lanes that bounded work grows to; 0: as many as Go uses.
	CPUs int
	// Old is the plan that runs now, if there is one: schemas equal to its schemas are the same pointers, so that nodes which
	// stay understand batches of nodes which are new.
	Old *Plan
	// Found is what package config has said of the pipeline: nodes whose type or options are at fault are not asked for their
	// schemas, for they would only say the same again.
	Found []config.Diagnostic
}

// Resolve checks a pipeline as a whole and lays it out. The plan is nil if one of the diagnostics is an error; all that can be
// known at once is said at once, in the order of the file. The pipeline is not changed.
//
// The pipeline is as package config has read it: ids are there, and differ. Nodes whose plugin or configuration is not known
// have been reported by it: what depends on them is passed over in silence.
func Resolve(p *config.Pipeline, opts Options) (*Plan, []config.Diagnostic) {
	if opts.CPUs <= 0 {
		opts.CPUs = runtime.GOMAXPROCS(0)
	}
	r := &resolver{
		plan:    &Plan{Pipeline: p},
		opts:    opts,
		byID:    map[string]*Node{},
		ref:     map[*Edge]int{},
		strange: map[*Node]bool{},
		schemas: newInterner(opts.Old),
	}
	r.nodes()
	r.wire()
	r.order()
	if r.forward() && r.wired && !r.unknown {
		r.unread()
		r.push()
		r.backward()
	}
	if r.wired && !r.unknown {
		r.require()
		r.stages()
		r.queues()
		r.parks()
		r.keys()
		r.promises()
	}
	if r.failed() || r.unknown {
		r.plan = nil
	} else {
		r.number()
	}
	out := config.Diagnostics{List: r.diags}
	out.Sort()
	return r.plan, out.List
}

// maxEdges bounds what a short file can ask for: the default wiring makes as many connections as sources times sinks.
const maxEdges = 20_000

// resolver is one run of Resolve.
type resolver struct {
	plan    *Plan
	opts    Options
	diags   []config.Diagnostic
	byID    map[string]*Node
	edges   int            // made so far
	ref     map[*Edge]int  // the entry of `from:` that made the edge; -1: the default wiring
	wired   bool           // names and edges are sound
	strange map[*Node]bool // its options are at fault
	unknown bool           // some node's plugin or configuration is not known
	schemas *interner
}

func (r *resolver) failed() bool {
	return slices.ContainsFunc(r.diags, func(d config.Diagnostic) bool { return d.Severity == config.SeverityError })
}

// report says something about the option at path below n.
func (r *resolver) report(n *Node, path, code, message, help string) {
	d := config.Diagnostic{Severity: config.SeverityError, Code: code, Path: n.Path(path), Message: message, Help: help}
	if path == "" {
		d.At = n.At
		d.End = config.Pos{File: n.At.File, Line: n.At.Line, Col: n.At.Col + len(n.ID)}
	} else {
		d.At, d.End = n.Place(path, 0)
	}
	r.diags = append(r.diags, d)
}

// nodes makes the plan's nodes in the file's order. Each has a copy of its configuration's node: defaults are filled in there.
func (r *resolver) nodes() {
	for _, c := range r.plan.Pipeline.Nodes {
		own := *c
		n := &Node{Node: &own}
		r.strange[n] = r.opts.faulty(c)
		if r.knows(n) && n.Kind != sdk.KindSink && len(n.spec().PortNames(n.Config)) == 0 {
			r.report(n, "with", config.CodeSchema, fmt.Sprintf("`%s` has no outputs", n.ID), "name one in its options")
			r.strange[n] = true
		}
		if !r.knows(n) {
			r.unknown = true
		}
		if n.Kind != sdk.KindSink {
			n.Outputs = make([][]*Edge, len(r.ports(n)))
		}
		if n.Kind != sdk.KindSource && n.OnError == "" {
			n.OnError = config.DeadLetter
		}
		if n.Kind == sdk.KindSink {
			fillSink(n.Node)
			n.BlockBytes = n.Batch.Bytes
		}
		r.plan.Nodes = append(r.plan.Nodes, n)
	}
}

// ports are the names of a node's outputs; of a node that is not known, one without a name.
func (r *resolver) ports(n *Node) []string {
	if !r.knows(n) && n.Kind != sdk.KindSink {
		return []string{""}
	}
	if n.Kind == sdk.KindSink {
		return nil
	}
	return n.Plugin.Spec.PortNames(n.Config)
}

// knows says whether the node's plugin is there and its configuration sound.
func (r *resolver) knows(n *Node) bool {
	return n.Plugin != nil && (n.Config != nil || n.Plugin.Spec.Config == nil) && !r.strange[n]
}

// faulty says whether package config has found fault with what a node's schemas depend on.
func (o *Options) faulty(n *config.Node) bool {
	own := n.Path("with")
	return slices.ContainsFunc(o.Found, func(d config.Diagnostic) bool {
		rest, with := strings.CutPrefix(d.Path, own)
		return d.Severity == config.SeverityError && (d.Path == n.Path("type") || with && (rest == "" || rest[0] == '.' || rest[0] == '['))
	})
}

// spec of a known node.
func (n *Node) spec() *sdk.Spec { return &n.Plugin.Spec }

// number gives nodes, edges and stages their final indices.
func (r *resolver) number() {
	r.plan.Edges = nil
	for i, n := range r.plan.Nodes {
		n.Index = i
		for _, e := range n.Inputs {
			e.Index = len(r.plan.Edges)
			r.plan.Edges = append(r.plan.Edges, e)
		}
	}
	for i, s := range r.plan.Stages {
		s.Index = i
	}
}
