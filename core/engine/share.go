package engine

import (
	"context"
	"hash/fnv"
	"io"
	"sync"
	"sync/atomic"

	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/sdk"
)

type closer = io.Closer

// Shared holds the objects that outlive lanes and generations: one for each key, counted.
type Shared struct {
	mu sync.Mutex
	by map[string]*sharedObject
}

// NewShared makes an empty one; a process has one.
func NewShared() *Shared { return &Shared{by: map[string]*sharedObject{}} }

type sharedObject struct {
	opening sync.Mutex
	obj     io.Closer
	opened  atomic.Bool // obj is there
	holds   map[*hold]struct{}
}

type hold struct {
	s    *Shared
	key  string
	o    *sharedObject
	run  *Run   // nil: of somebody who only looks
	node string // of the run
}

func (h *hold) Object() io.Closer { return h.o.obj }

// Close gives up the hold; the last one closes the object.
func (h *hold) Close() error {
	h.s.mu.Lock()
	if _, ok := h.o.holds[h]; !ok {
		h.s.mu.Unlock()
		return nil
	}
	delete(h.o.holds, h)
	last := len(h.o.holds) == 0
	if last && h.s.by[h.key] == h.o {
		delete(h.s.by, h.key)
	}
	h.s.mu.Unlock()
	if last && h.o.obj != nil {
		return h.o.obj.Close()
	}
	return nil
}

func (s *Shared) get(ctx context.Context, key string, r *Run, node string, open func(context.Context) (io.Closer, error)) (sdk.Shared, error) {
	s.mu.Lock()
	o := s.by[key]
	if o == nil {
		o = &sharedObject{holds: map[*hold]struct{}{}}
		s.by[key] = o
	}
	h := &hold{s: s, key: key, o: o, run: r, node: node}
	o.holds[h] = struct{}{}
	s.mu.Unlock()
	o.opening.Lock() // of this object only: opening may take long
	defer o.opening.Unlock()
	if o.obj == nil {
		obj, err := open(ctx)
		if err != nil {
			h.Close()
			return nil, err
		}
		o.obj = obj
		o.opened.Store(true)
	}
	return h, nil
}

// release gives up what a run still holds when it has ended: a plugin that forgot does not keep a socket for ever.
func (s *Shared) release(r *Run) {
	s.mu.Lock()
	var mine []*hold
	for _, o := range s.by {
		for h := range o.holds {
			if h.run == r {
				mine = append(mine, h)
			}
		}
	}
	s.mu.Unlock()
	for _, h := range mine {
		h.Close()
	}
}

// hashIDs names a set of keyed sinks: what they have stored means nothing to another set.
func hashIDs(nodes []*plan.Node) uint64 {
	h := fnv.New64a()
	for _, n := range nodes {
		io.WriteString(h, n.ID)
		h.Write([]byte{0})
	}
	return h.Sum64()
}
