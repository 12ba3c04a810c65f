package plan

import (
	"fmt"
	"slices"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/sdk"
)

// Conditional is implemented by the configuration of a processor that does nothing but keep the records for which its condition
// holds. Such a node directly behind a source that can apply the condition itself is not run.
type Conditional interface {
	Condition() sdk.Expr
}

// push moves filters into the sources directly in front of them: only where the filter is all that reads the source, reads
// nothing else, and has no wishes of its own about lanes and queue.
func (r *resolver) push() {
	for _, src := range slices.Clone(r.plan.Nodes) { // filters leave the list
		if src.Kind != sdk.KindSource || src.spec().Push == nil {
			continue
		}
		for r.pushOne(src) {
		}
	}
}

func (r *resolver) pushOne(src *Node) bool {
	if len(src.Outputs) != 1 || len(src.Outputs[0]) != 1 {
		return false
	}
	f := src.Outputs[0][0].To
	if f.Kind != sdk.KindProcessor || len(f.Inputs) != 1 || len(f.Outputs) != 1 || f.Lanes != 0 || f.Queue.Asked ||
		f.OnError == config.Fail || !f.FullOut[0].Equal(src.FullOut[0]) {
		return false
	}
	if slices.ContainsFunc(f.Errors, func(e *Edge) bool { return len(e.To.Inputs) == 1 }) {
		return false // a sink on `errors` would be left without anything to read
	}
	c, ok := f.Config.(Conditional)
	if !ok {
		return false
	}
	when := c.Condition()
	if when == "" {
		return false
	}
	pushed, ok := src.spec().Push(src.Config, when)
	if !ok {
		return false
	}
	src.Config = pushed
	src.Outputs[0] = f.Outputs[0]
	for _, e := range src.Outputs[0] {
		e.From = src // the readers' inputs are these same edges
	}
	f.Outputs[0] = nil
	r.remove(f)
	r.plan.Pushed = append(r.plan.Pushed, Pushed{Filter: f.ID, Source: src.ID, When: when})
	return true
}

// pushed are the filters that have gone into sources, as sentences without secrets.
func (p *Plan) pushed() []string {
	lines := []string{}
	for _, f := range p.Pushed {
		lines = append(lines, p.Pipeline.Redact(fmt.Sprintf("`%s` is applied by the source `%s`: %s", f.Filter, f.Source, f.When)))
	}
	return lines
}
