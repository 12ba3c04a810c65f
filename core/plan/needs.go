package plan

import (
	"slices"

	"github.com/weirflow/weir/sdk"
)

// backward prunes columns from the sinks up: what leaves a port is what its readers need of it, what comes in is what the node
// needs to make what leaves it. A node comes after all it reads from, so one pass against the order is enough.
func (r *resolver) backward() {
	for _, n := range slices.Backward(r.plan.Nodes) {
		wanted := r.prunePorts(n)
		if n.Kind != sdk.KindSource {
			need := needs(n, wanted)
			n.In = r.schemas.of(n.FullIn.Select(func(f sdk.Field) bool { return need[f.Name] }))
			for _, e := range n.Inputs {
				have := portSchema(e)
				e.Schema = r.schemas.of(n.In.Select(func(f sdk.Field) bool { return have.Index(f.Name) >= 0 }))
			}
		}
	}
}

// prunePorts sets n.Out, and returns the columns wanted at each port in the order of the full schema.
func (r *resolver) prunePorts(n *Node) [][]string {
	var wanted [][]string
	for port, full := range n.FullOut {
		s := full.Select(func(f sdk.Field) bool {
			return slices.ContainsFunc(n.Outputs[port], func(e *Edge) bool { return e.Schema.Index(f.Name) >= 0 })
		})
		wanted = append(wanted, s.Names())
		n.Out = append(n.Out, s)
	}
	if n.Kind == sdk.KindSource {
		// What a source reads has a fixed form (a datagram), so it stays whole, unless the source says of which columns it
		// can leave some out.
		var made []string
		if f := n.spec().Needs; f != nil {
			made = f(n.Config, nil, wanted)
		}
		if made == nil {
			copy(n.Out, n.FullOut)
		} else {
			for port, full := range n.FullOut {
				n.Out[port] = full.Select(func(f sdk.Field) bool {
					return n.Out[port].Index(f.Name) >= 0 || slices.Contains(made, f.Name)
				})
			}
		}
	}
	for port, s := range n.Out {
		n.Out[port] = r.schemas.of(s)
	}
	return wanted
}

// needs is the set of input columns that n needs when wanted is wanted at its ports.
func needs(n *Node, wanted [][]string) map[string]bool {
	need := map[string]bool{}
	spec := n.spec()
	var named []string
	if spec.Needs != nil {
		named = spec.Needs(n.Config, n.FullIn, wanted)
	}
	for _, name := range named {
		need[name] = true
	}
	if named == nil {
		// It says nothing: all that exists without being named.
		for _, f := range n.FullIn.Fields() {
			need[f.Name] = !f.Extra
		}
	}
	if named == nil || spec.Output == nil {
		// What is wanted of it passes through it.
		for _, port := range wanted {
			for _, name := range port {
				need[name] = true
			}
		}
	}
	return need
}
