package engine

import (
	"time"

	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/sdk"
)

// A pipeline's memory is bounded as a whole, beside each of its queues: by what its queues may hold, and for each lane four batches and an
// open one of every output (DESIGN 6), behind a source that commits an open one of every partition. While batches hold more than that, its
// readers are not read. What is counted is the memory of batches that have not been released, wherever they are: in queues, in blocks,
// in a processor that holds them, open.

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
}

// Memory reads it.
func (r *Run) Memory() Memory { return Memory{r.pool.Held(), r.budget.Load()} }

// overBudget says whether the lane must not read now. What is still held where nothing is queued, and after ticks have gone by, is held by
// processors that may need newer input to let older go: then they are given it.
func (l *lane) overBudget() bool {
	r := l.run()
	if r.pool.Held() <= r.budget.Load() {
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
