package engine

import (
	"sync/atomic"
	"time"

	"github.com/weirflow/weir/core/ledger"
	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/sdk"
)

// A pipeline's memory is bounded as a whole, beside each of its queues: by what its queues may hold, and for each lane four batches and an
// open one of every output (DESIGN 6), behind a source that commits an open one of every partition. While batches hold more than that, its
// readers are not read. What is counted is the memory of batches that have not been released, wherever they are: in queues, in blocks,
// in a processor that holds them, open. What sinks copy for themselves is bounded by them, each writer by what its plugin's
// specification says; should they hold more than that, it counts as what batches hold does.

// workBatches is how many batches of each output a lane may have at work, beside the open one.
const workBatches = 4

// overTicks is how many ticks processors have to give out what they hold, before a lane whose queues are empty reads all the same.
const overTicks = 2

// overPause is how long a lane waits before it looks again whether it may read.
const overPause = 5 * time.Millisecond

// Memory of a run, in bytes.
type Memory struct {
	Held   int64 // by batches that are not released
	Budget int64 // above it readers are not read
	Copies int64 // by sinks, of their own
	Most   int64 // that copies may take
}

// Memory reads it.
func (r *Run) Memory() Memory {
	return Memory{r.pool.Held(), r.budget.Load(), r.copies.held.Load(), r.copies.most.Load()}
}

// copies are the memory of what all writers hold of their own.
type copies struct {
	held atomic.Int64
	most atomic.Int64 // by what the specifications of those that are open say
}

// tooMany is by how much they are more than that.
func (c *copies) tooMany() int64 { return max(0, c.held.Load()-c.most.Load()) }

// writerCopies is one writer's part. It is used by the goroutine that calls the writer.
type writerCopies struct {
	of         *copies
	acct       *ledger.Sink
	held, most int64
}

// opened counts what the writer of a sink may hold.
func (c *copies) opened(n *plan.Node, acct *ledger.Sink) writerCopies {
	w := writerCopies{of: c, acct: acct, most: int64(n.Copies())}
	c.most.Add(w.most)
	return w
}

// set says what the writer holds now.
func (w *writerCopies) set(n int64) {
	if n != w.held {
		w.of.held.Add(n - w.held)
		w.acct.Copies.Add(n - w.held)
		w.held = n
	}
}

// closed takes the writer's part away.
func (w *writerCopies) closed() {
	w.set(0)
	w.of.most.Add(-w.most)
	w.most = 0
}

// overBudget says whether the lane must not read now. What is still held where nothing is queued, and after ticks have gone by, is held by
// processors that may need newer input to let older go: then they are given it.
func (l *lane) overBudget() bool {
	r := l.run()
	if r.pool.Held()+r.copies.tooMany() <= r.budget.Load() {
		l.overSince = time.Time{}
		return false
	}
	if l.overSince.IsZero() {
		l.overSince = time.Now()
	}
	return time.Since(l.overSince) < overTicks*tickEvery || r.queuesHold()
}

func (r *Run) queuesHold() bool {
	for _, st := range r.stages {
		if st.q != nil && st.q.Stats().Bytes > 0 {
			return true
		}
	}
	return false
}

// laneBudget is what one lane of a stage may have at work and open.
func laneBudget(s *plan.Stage) (n int64) {
	for _, node := range s.Nodes {
		for _, out := range node.Out {
			n += (workBatches + 1) * batchBytes(out)
		}
	}
	return n
}

// partitionBudget is what a partition of a source that commits may have open: a batch of each output that keeps its range.
func (s *sourceRun) partitionBudget() (n int64) {
	for _, st := range s.run.stages {
		for _, node := range st.plan.Nodes {
			if node.Kind == sdk.KindProcessor && st.marks[node] {
				for _, out := range node.Out {
					n += batchBytes(out)
				}
			}
		}
	}
	return n
}

// batchBytes is the memory of a full batch. Values of variable length, which no schema tells, are taken to be as much again as the rest
// or 1 MiB, whichever is more.
func batchBytes(s *sdk.Schema) int64 {
	n := int64(sdk.MaxRows) * int64(s.RowBytes())
	for _, f := range s.Fields() {
		if f.Type.Width() == 0 {
			return n + max(n, 1<<20)
		}
	}
	return n
}
