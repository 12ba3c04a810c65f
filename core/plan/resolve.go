package plan

import (
	"cmp"
	"runtime"
	"slices"

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
}

// Resolve checks a pipeline as a whole and lays it out. The plan is nil if one of the diagnostics is an error; all that can be
// known at once is said at once, in the order of the file. The pipeline is not changed.
//
// Nodes whose Plugin or Config is nil have been reported by package config: what depends on them is passed over in silence.
func Resolve(p *config.Pipeline, opts Options) (*Plan, []config.Diagnostic) {
	if opts.CPUs <= 0 {
		opts.CPUs = runtime.GOMAXPROCS(0)
	}
	r := &resolver{
		plan:    &Plan{Pipeline: p},
		opts:    opts,
		byID:    map[string]*Node{},
		ref:     map[*Edge]int{},
		schemas: newInterner(opts.Old),
	}
	r.nodes()
	r.wire()
	r.order()
	if r.wired {
		r.reach()
	}
	if r.forward() && r.wired && !r.unknown {
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
	slices.SortStableFunc(r.diags, func(a, b config.Diagnostic) int {
		return cmp.Or(cmp.Compare(a.At.File, b.At.File), cmp.Compare(a.At.Line, b.At.Line), cmp.Compare(a.At.Col, b.At.Col))
	})
	return r.plan, r.diags
}

// resolver is one run of Resolve.
type resolver struct {
	plan    *Plan
	opts    Options
	diags   []config.Diagnostic
	byID    map[string]*Node
	ref     map[*Edge]int // the entry of `from:` that made the edge; -1: the default wiring
	wired   bool          // names and edges are sound
	unknown bool          // some node's plugin or configuration is not known
	schemas *interner
}

func (r *resolver) failed() bool {
	return slices.ContainsFunc(r.diags, func(d config.Diagnostic) bool { return d.Severity == config.SeverityError })
}

// report says something about the option at path below n.
func (r *resolver) report(n *Node, path, code, message, help string) {
	r.reportAt(n, path, n.Pos(path), code, message, help)
}

func (r *resolver) reportAt(n *Node, path string, at config.Pos, code, message, help string) {
	full := string(n.Kind) + "s." + n.ID
	if path != "" {
		full += "." + path
	}
	r.diags = append(r.diags, config.Diagnostic{
		Severity: config.SeverityError, Code: code, At: at, Path: full, Message: message, Help: help,
	})
}

// nodes makes the plan's nodes in the file's order. Each has a copy of its configuration's node: defaults are filled in there.
func (r *resolver) nodes() {
	for _, c := range r.plan.Pipeline.Nodes {
		own := *c
		n := &Node{Node: &own}
		if n.Plugin == nil || n.Config == nil {
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
		}
		r.plan.Nodes = append(r.plan.Nodes, n)
	}
}

// ports are the names of a node's outputs; of a node that is not known, one without a name.
func (r *resolver) ports(n *Node) []string {
	if n.Plugin == nil || n.Config == nil {
		if n.Kind == sdk.KindSink {
			return nil
		}
		return []string{""}
	}
	return n.Plugin.Spec.PortNames(n.Config)
}

// known says whether the node's plugin and configuration are there.
func (n *Node) known() bool { return n.Plugin != nil && n.Config != nil }

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
