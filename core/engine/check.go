package engine

import (
	"context"

	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/sdk"
)

// Check asks the real servers of all sources and sinks that can (sdk.Checker), sources first. Every error is one node's. It is for
// a run that is not started.
func (r *Run) Check(ctx context.Context) []error {
	var errs []error
	ask := func(n *plan.Node, x any) {
		if c, ok := x.(sdk.Checker); ok {
			if err := c.Check(ctx); err != nil {
				errs = append(errs, nodeErr(n, err))
			}
		}
	}
	for _, s := range r.sources {
		ask(s.node, s.src)
	}
	for _, st := range r.stages {
		for _, n := range st.plan.Nodes {
			if n.Kind != sdk.KindSink {
				continue
			}
			if s, ok := st.fusedSinks[n]; ok {
				ask(n, s)
			} else {
				ask(n, st.sinkObj)
			}
		}
	}
	return errs
}

// Discard closes what New made of a run that is not to be started.
func (r *Run) Discard() {
	r.abort(errEnded)
	r.closeBuilt()
	close(r.done)
}
