package engine

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirflow/weir/core/plan"
)

// complaint is what is said of a sink whose store takes nothing for a while: one line for a try, though all its lanes and blocks
// try, and one when it takes again. As the pauses between tries grow, up to retry.max, the lines get fewer.
type complaint struct {
	node *plan.Node
	on   atomic.Bool // something was said: the way of what is stored looks no further

	mu     sync.Mutex
	since  time.Time     // of the first failure
	until  time.Time     // before this, another failure belongs to the try that was told
	pause  time.Duration // the longest so far
	untold int           // failures since the last line
}

// complaint of a sink of the stage, shared by its lanes.
func (s *stage) complaint(n *plan.Node) *complaint {
	if c, ok := s.complaints.Load(n); ok {
		return c.(*complaint)
	}
	c, _ := s.complaints.LoadOrStore(n, &complaint{node: n})
	return c.(*complaint)
}

// failed says that something did not work and is tried again after a pause.
func (c *complaint) failed(r *Run, what string, after time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.untold++
	if now.Before(c.until) {
		return
	}
	if c.since.IsZero() {
		c.since = now
	}
	c.pause = max(c.pause, after)
	c.until = now.Add(c.pause)
	args := []any{"node", c.node.ID, "after", after, "failures", c.untold, "error", err}
	if r.stopping.Load() {
		what += " until drain_timeout is over"
		args = append(args, "drain_timeout", r.drainTime())
	}
	c.untold = 0
	c.on.Store(true)
	r.log.Warn(what, args...)
}

// over says that the store takes again.
func (c *complaint) over(r *Run) {
	if !c.on.Load() || !c.on.CompareAndSwap(true, false) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	r.log.Info("stores again", "node", c.node.ID, "after", time.Since(c.since).Round(time.Millisecond))
	c.since, c.until, c.pause, c.untold = time.Time{}, time.Time{}, 0, 0
}
