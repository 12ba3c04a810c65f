package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirflow/weir/core/ledger"
	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/core/queue"
	"github.com/weirflow/weir/sdk"
)

// Options of a run.
type Options struct {
	Log    *slog.Logger
	Dir    string    // state directory; nodes get DIR/pipeline/node
	Pool   *sdk.Pool // of this run alone: what it has handed out is the run's memory; nil: one of its own
	Share  *Shared   // nil: one of its own
	BootID string    // in the keys of blocks without segments; of this start of the process
	CPUs   int       // lanes of a committing source; 0: 1
	Cuts   int       // cuts by age a second; 0: 10
	// Idle is how long news of a partition wait for a Prepare to be joined with before they are saved alone; 0: 500 ms.
	Idle time.Duration
	// KillGrace is how long, after an abort or when the drain's time is over, sinks may still make durable what they have taken; 0: 5 s.
	KillGrace time.Duration
	// Timed has the run keep Times: two readings of the monotonic clock a call into a node.
	Timed bool

	rules rules
}

const tickEvery = 100 * time.Millisecond

// Run is one pipeline from start to end.
type Run struct {
	plan   *plan.Plan
	opt    Options
	log    *slog.Logger
	pool   *sdk.Pool
	budget atomic.Int64 // bytes; of what is there now
	copies copies
	ledger *ledger.Ledger

	ctx      context.Context // ends when the run is aborted
	abort    context.CancelCauseFunc
	stopping atomic.Bool
	stopOnce sync.Once

	stages  []*stage
	sources []*sourceRun
	sinks   []*sinkLane
	edges   []*ledger.Edge // by plan.Edge.Index
	queued  []atomic.Int64 // rows sent over the edge and not yet taken, likewise
	keyed   map[*plan.Node]int
	sinksBy uint64 // hash of the keyed sinks' ids

	partsMu sync.RWMutex
	parts   map[*sdk.Partition]*partState

	grantMu  sync.Mutex
	nextCuts []time.Time // by keyed sink: when it may have the next cut by age; under grantMu

	timesMu sync.Mutex // of a run that is Timed
	watches []*watch
	shifts  []*shift

	looking sync.RWMutex // held by who inspects the sources
	closed  bool         // what build made; under looking

	work  goroutines // every goroutine of the run
	done  chan struct{}
	errMu sync.Mutex
	err   error

	nowhere map[string]*ledger.Edge // ports that nobody reads and that were written all the same; under errMu
}

// goroutines counts them; when the last has ended, none begins any more.
type goroutines struct {
	mu    sync.Mutex
	n     int
	ended bool
	idle  chan struct{}
}

func (w *goroutines) begin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return false
	}
	w.n++
	return true
}

func (w *goroutines) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n--; w.n == 0 {
		w.ended = true
		close(w.idle)
	}
}

// Start runs it.
func (r *Run) Start() {
	r.work.begin()
	defer r.work.end()
	for _, s := range r.sinks {
		r.goWork("sink "+s.node.ID, s.run)
	}
	for _, st := range r.stages {
		if st.q != nil && st.plan.Head().Kind != sdk.KindSink {
			for _, l := range st.lanes {
				r.goWork("lane of "+st.plan.Head().ID, l.runQueue)
			}
		}
	}
	for _, s := range r.sources {
		s.start()
	}
	go func() {
		<-r.work.idle
		r.abort(errEnded)
		r.closeBuilt()
		close(r.done)
	}()
}

var errEnded = errors.New("the run has ended")

// goWork runs f as one of the run's goroutines. A panic in it fails the run, not the process.
func (r *Run) goWork(what string, f func()) {
	if !r.work.begin() {
		return // the run has ended
	}
	go func() {
		defer r.work.end()
		defer func() {
			if x := recover(); x != nil {
				r.fail(fmt.Errorf("%s: panic: %v\n%s", what, x, debug.Stack()))
			}
		}()
		f()
	}()
}

// fail ends the run with an error: the first one counts.
func (r *Run) fail(err error) {
	if errors.Is(err, context.Canceled) && r.ctx.Err() != nil {
		return
	}
	r.errMu.Lock()
	if r.err == nil {
		r.err = err
	}
	r.errMu.Unlock()
	r.stopping.Store(true)
	r.abort(err)
	r.wakeAll()
}

func (r *Run) aborted() bool { return r.ctx.Err() != nil }

// Stop drains: sources stop, queues empty, sinks flush, positions are saved. When the time is over what is left is dropped as
// `stopped` and the run ends all the same; of 0 it is over at once. It returns at once.
func (r *Run) Stop() {
	r.stopOnce.Do(func() {
		timeout := r.plan.Pipeline.DrainTimeout
		over := func() {
			if !r.aborted() {
				r.log.Warn("drain_timeout is over: what is not settled is dropped, and counted as stopped", "drain_timeout", timeout)
			}
			r.Abort(fmt.Errorf("drain_timeout of %v is over", timeout))
		}
		if timeout == 0 {
			over()
			return
		}
		r.stopping.Store(true)
		r.goWork("stop", func() {
			ctx, cancel := context.WithTimeout(r.ctx, timeout)
			defer cancel()
			for _, s := range r.sources {
				if err := s.src.Stop(ctx); err != nil && !r.aborted() {
					r.log.Warn("source did not stop cleanly", "node", s.node.ID, "error", err)
				}
			}
			r.wakeAll()
		})
		go func() {
			t := time.NewTimer(timeout)
			defer t.Stop()
			select {
			case <-t.C:
				over()
			case <-r.done:
			}
		}()
	})
}

// Abort ends the run now: what is not settled is dropped as `stopped`, or behind a source that commits read again by the next
// owner. The cause is not a failure of the run. It returns at once.
func (r *Run) Abort(cause error) {
	r.stopping.Store(true)
	r.abort(cause)
	r.wakeAll()
}

// Done is closed when the run has ended.
func (r *Run) Done() <-chan struct{} { return r.done }

// Wait waits for the end and returns why it failed, nil if it did not.
func (r *Run) Wait() error {
	<-r.done
	r.errMu.Lock()
	defer r.errMu.Unlock()
	return r.err
}

// Report reads the ledger.
func (r *Run) Report() ledger.Report { return r.ledger.Report(r.plan.Pipeline.Name) }

// QueueStats reads the queues, by the id of the node behind each.
func (r *Run) QueueStats() map[string]queue.Stats {
	m := map[string]queue.Stats{}
	for _, st := range r.stages {
		if st.q != nil {
			m[st.plan.Head().ID] = st.q.Stats()
		}
	}
	return m
}

// Plan the run runs.
func (r *Run) Plan() *plan.Plan { return r.plan }

func (r *Run) wakeAll() {
	for _, st := range r.stages {
		st.mu.Lock()
		for _, l := range st.lanes {
			l.waker.Wake()
		}
		st.mu.Unlock()
	}
	for _, s := range r.sinks {
		s.waker.Wake()
	}
	for _, s := range r.sources {
		if s.saver != nil {
			s.saver.waker.Wake()
		}
	}
}

// part finds the state of a committing source's partition, nil when it is gone.
func (r *Run) part(p *sdk.Partition) *partState {
	r.partsMu.RLock()
	ps := r.parts[p]
	r.partsMu.RUnlock()
	return ps
}

// overflow settles and counts what a full queue dropped.
func (r *Run) overflow(it queue.Item) {
	r.edges[it.Edge].Drop(sdk.ReasonOverflow, uint64(it.Batch.Rows()))
	r.queued[it.Edge].Add(-int64(it.Batch.Rows()))
	it.Batch.Done(sdk.Dropped)
	it.Batch.Release()
}
