package engine

import (
	"time"

	"github.com/weirflow/weir/sdk"
)

// Times is where the time of a run went, for a measurement: kept only if Options.Timed asks for it.
type Times struct {
	Nodes  []NodeTime    // in the plan's order
	Active time.Duration // of all lanes together: the time for which they did not wait
}

// NodeTime is one node's part, over all lanes.
type NodeTime struct {
	ID      string
	Busy    time.Duration // wall time in the node's own code; of a source, with what it waits in Read
	Batches uint64        // given out at its ports
}

// epoch is what clock readings count from: time.Since of it reads the monotonic clock and nothing else.
var epoch = time.Now()

// watch times the calls into one node by one lane. A nil watch is off: it reads no clock.
type watch struct {
	node    string
	busy    sdk.Gauge // ns
	batches sdk.Count
	_       [64]byte
}

func (w *watch) start() time.Duration {
	if w == nil {
		return 0
	}
	return time.Since(epoch)
}

func (w *watch) stop(from time.Duration) {
	if w != nil {
		w.busy.Add(int64(time.Since(epoch) - from))
	}
}

func (w *watch) gaveOut() {
	if w != nil {
		w.batches.Add(1)
	}
}

// shift times one lane: from its first step, without what it waits.
type shift struct {
	began  time.Duration
	waited sdk.Gauge // ns; the wait that goes on now is not in it
	ended  sdk.Gauge // ns since the epoch, 0: not yet
	_      [64]byte
}

// watch makes the watch of a node in a lane, nil if times are not asked for.
func (r *Run) watch(node string) *watch {
	if !r.opt.Timed {
		return nil
	}
	w := &watch{node: node}
	r.timesMu.Lock()
	r.watches = append(r.watches, w)
	r.timesMu.Unlock()
	return w
}

// work begins a lane's shift.
func (l *lane) work() {
	r := l.run()
	if !r.opt.Timed {
		return
	}
	l.shift = &shift{began: time.Since(epoch)}
	r.timesMu.Lock()
	r.shifts = append(r.shifts, l.shift)
	r.timesMu.Unlock()
}

// rest ends it, and the lane's alarm.
func (l *lane) rest() {
	l.off()
	if l.shift != nil {
		l.shift.ended.Set(int64(time.Since(epoch)))
	}
}

// Times reads them; without Options.Timed all are zero.
func (r *Run) Times() Times {
	r.timesMu.Lock()
	defer r.timesMu.Unlock()
	now := int64(time.Since(epoch))
	var t Times
	at := map[string]int{}
	for i, n := range r.plan.Nodes {
		t.Nodes = append(t.Nodes, NodeTime{ID: n.ID})
		at[n.ID] = i
	}
	for _, w := range r.watches {
		n := &t.Nodes[at[w.node]]
		n.Busy += time.Duration(w.busy.Load())
		n.Batches += w.batches.Load()
	}
	for _, s := range r.shifts {
		end := s.ended.Load()
		if end == 0 {
			end = now
		}
		t.Active += time.Duration(end - int64(s.began) - s.waited.Load())
	}
	return t
}
