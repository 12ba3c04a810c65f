package engine

import (
	"cmp"
	"slices"

	"github.com/weirflow/weir/sdk"
)

// NodeAnswer is what one node tells about a topic: its source, or an object that its instances share.
type NodeAnswer struct {
	Node   string `json:"node"`
	Answer any    `json:"answer,omitempty"`
	Error  string `json:"error,omitempty"`
}

// Inspect asks all that can tell about a topic, in the order of the nodes; those that have nothing to tell are left out. It may be
// called at any time by any goroutine; of a run that has ended nobody tells anything.
func (r *Run) Inspect(topic string) (out []NodeAnswer) {
	ask := func(node string, what any) {
		i, ok := what.(sdk.Inspector)
		if !ok {
			return
		}
		a := NodeAnswer{Node: node}
		var err error
		if a.Answer, err = i.Inspect(topic); err != nil {
			a.Answer, a.Error = nil, err.Error()
		}
		if err != nil || a.Answer != nil {
			out = append(out, a)
		}
	}
	r.looking.RLock()
	defer r.looking.RUnlock() // nothing is closed while it answers
	if r.closed {
		return nil
	}
	for _, s := range r.sources {
		ask(s.node.ID, s.src)
	}
	for _, h := range r.opt.Share.look(r) {
		ask(h.node, h.o.obj)
		if err := h.Close(); err != nil {
			r.log.Warn("a shared object did not close cleanly", "node", h.node, "error", err)
		}
	}
	at := func(node string) int {
		for i, n := range r.plan.Nodes {
			if n.ID == node {
				return i
			}
		}
		return len(r.plan.Nodes)
	}
	slices.SortStableFunc(out, func(a, b NodeAnswer) int { return cmp.Compare(at(a.Node), at(b.Node)) })
	return out
}

// look takes one more hold of each open object that a run holds, so that it stays open as long as somebody looks.
func (s *Shared) look(r *Run) (out []*hold) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, o := range s.by {
		if !o.opened.Load() {
			continue
		}
		for h := range o.holds {
			if h.run == r {
				look := &hold{s: s, key: key, o: o, node: h.node}
				o.holds[look] = struct{}{}
				out = append(out, look)
				break
			}
		}
	}
	slices.SortFunc(out, func(a, b *hold) int { return cmp.Compare(a.key, b.key) })
	return out
}
