package engine

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/sdk"
)

// complaint is what is said of a sink whose store takes nothing for a while: one line for a try, though all its lanes and blocks
// try, and one when it takes again. As the pauses between tries grow, up to retry.max, the lines get fewer. And what is said of
// records that it will never take.
type complaint struct {
	node *plan.Node
	on   atomic.Bool // something was said: the way of what is stored looks no further

	mu     sync.Mutex
	since  time.Time     // of the first failure
	until  time.Time     // before this, another failure belongs to the try that was told
	pause  time.Duration // the longest so far
	untold int           // failures since the last line

	refusals map[string]*refusal // by code, a constant of the sink
}

// refusal is what is said of records that a sink refuses under one code: the first time at once, then less and less often with how
// many there were, and at the end of the run what is still untold.
type refusal struct {
	until         time.Time // before this nothing is said
	pause         time.Duration
	untold, total uint64 // records
	err           error  // the last one
}

// Pauses between two lines about refusals under one code: the first, and the longest that doubling makes of it.
const (
	refusalPause = 10 * time.Second
	refusalMost  = 10 * time.Minute
)

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
		args = append(args, "drain_timeout", r.plan.Pipeline.DrainTimeout)
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

// refused says that the sink did not take n records and never will. A run that fails for it says so itself.
func (c *complaint) refused(r *Run, n uint64, err error) {
	if n == 0 || c.node.OnError == config.Fail {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	code := sdk.CodeOf(err)
	x := c.refusals[code]
	if x == nil {
		if c.refusals == nil {
			c.refusals = map[string]*refusal{}
		}
		x = &refusal{pause: refusalPause}
		c.refusals[code] = x
	}
	x.untold, x.total, x.err = x.untold+n, x.total+n, err
	now := time.Now()
	if now.Before(x.until) {
		return
	}
	c.tell(r, x)
	x.until = now.Add(x.pause)
	x.pause = min(2*x.pause, refusalMost)
}

// tell writes the line. Called with mu held.
func (c *complaint) tell(r *Run, x *refusal) {
	what := "the sink refuses records: they go to `errors`"
	switch {
	case c.node.OnError == config.Drop:
		what = "the sink refuses records: they are dropped, as on_error says"
	case len(c.node.Errors) == 0:
		what = "the sink refuses records: they are dropped, for nobody reads `errors`"
	}
	r.log.Warn(what, "node", c.node.ID, "records", x.untold, "in_all", x.total, "error", x.err)
	x.untold = 0
}

// ended says what was refused since the last line.
func (c *complaint) ended(r *Run) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, code := range slices.Sorted(maps.Keys(c.refusals)) {
		if x := c.refusals[code]; x.untold > 0 {
			c.tell(r, x)
		}
	}
}
