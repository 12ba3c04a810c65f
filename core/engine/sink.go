package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirflow/weir/core/ledger"
	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/core/queue"
	"github.com/weirflow/weir/sdk"
)

// sinkLane is one writer of one sink behind its queue: it gathers batches into blocks, has them written, retries, and settles.
// One goroutine; what a sink answers from elsewhere comes in through completed.
type sinkLane struct {
	run_  *Run
	st    *stage
	node  *plan.Node
	lane  *lane // pushes refused records to `errors`
	id    int
	sink  sdk.Sink
	w     sdk.Writer
	wFor  *sdk.Schema
	acct  *ledger.Sink
	own   writerCopies
	waker queue.Waker
	keyed int // index among the plan's keyed sinks, -1
	errs  []*target
	watch *watch

	segs    map[*segment]*block // open blocks of segments
	plain   *block              // the open block of what has no segment
	ready   []*block            // closed, in the order in which they are to be written
	writing map[*block]struct{}
	copies  atomic.Int32 // of those being written, the ones whose data the sink has copied: they hold nothing of ours
	marks   map[*segment]int
	number  uint64 // of blocks without a segment

	// Of a writer that is a Noter: one segment's note is said at a time, for the next depends on where the last block went.
	notes  []noteDue
	noting *block // its note is said and it is not settled

	flushAsked atomic.Bool
	flushing   chan error // answer of a Flush under way
	closed     bool       // the writer is

	// A write's context ends with the run, or when its time is over; it is made anew only after that has happened.
	ctx    context.Context
	cancel context.CancelFunc
	limit  *time.Timer

	endedAt time.Time // when nothing more was to come

	free []*block // for use again

	mu        sync.Mutex
	completed []completion
	handled   []completion // the other half of the double buffer
}

// noteDue is a closed block whose note is still to be said, before its segment is prepared.
type noteDue struct {
	seg *segment
	b   *block
}

type completion struct {
	b   *block
	err error
}

func newSinkLane(r *Run, st *stage, id int) (*sinkLane, error) {
	n := st.plan.Head()
	acct := r.ledger.Node(n.ID, n.Kind)
	k := &sinkLane{run_: r, st: st, node: n, id: id, acct: acct.Sink(), keyed: -1, watch: r.watch(n.ID),
		segs: map[*segment]*block{}, writing: map[*block]struct{}{}, marks: map[*segment]int{}, wFor: n.In}
	if i, ok := r.keyed[n]; ok {
		k.keyed = i
	}
	k.lane = &lane{st: st, id: id, alarm: newAlarm()}
	k.waker = k.lane.waker
	k.lane.chain.Store(&chain{lane: k.lane})
	for _, e := range n.Errors {
		k.errs = append(k.errs, r.target(e, nil, sdk.Errors))
	}
	if st.sinkObj == nil {
		s, err := n.Plugin.Sink(r.env(n, id, &acct.Lane().Books), n.Config)
		if err != nil {
			return nil, err
		}
		st.sinkObj = s
	}
	k.sink = st.sinkObj
	w, err := k.sink.Open(r.ctx, n.In)
	if err != nil {
		return nil, err
	}
	k.w = w
	k.own = r.copies.opened(n, k.acct)
	k.limit = time.AfterFunc(time.Hour, func() { k.timeUp() })
	k.limit.Stop()
	return k, nil
}

// run is the life of the sink's lane.
func (k *sinkLane) run() {
	r := k.run_
	k.lane.work()
	defer k.lane.rest()
	k.lane.nextTick = time.Now().Add(tickEvery)
	ended := false
	for n := 0; !r.aborted(); n++ {
		k.complete()
		k.writeReady()
		it, ok, end := k.st.q.Pop(k.id, k.waker)
		if ok {
			k.take(it)
			if n%16 != 0 {
				continue
			}
		}
		now := time.Now()
		if k.plain != nil && (end || k.st.q.Full() || k.flushAsked.Load() || now.Sub(k.plain.opened) >= k.node.Batch.Age) {
			k.close(k.plain)
			k.plain = nil
			continue
		}
		if ok {
			continue
		}
		if !now.Before(k.lane.nextTick) {
			k.lane.nextTick = now.Add(tickEvery)
			k.dropGone()
			k.countCopies()
		}
		if end && !ended {
			ended, k.endedAt = true, now
			k.dropOpenSegments()
		}
		if ended || k.flushAsked.Load() {
			k.flush()
			if ended && len(k.ready) == 0 && len(k.writing) == 0 && k.flushing == nil && !k.hasCompleted() {
				break
			}
		}
		if ended && !k.node.Required && now.Sub(k.endedAt) >= r.plan.Pipeline.DrainTimeout {
			k.abandon() // nobody waits for what an optional sink never takes
			break
		}
		k.lane.wait(k.patience(now))
	}
	if r.aborted() {
		k.abandon()
	}
	k.limit.Stop()
	k.timeUp()
	for _, f := range k.st.feeds {
		f.q.CloseProducer()
	}
}

// patience is how long the lane may sleep before something is due by the clock.
func (k *sinkLane) patience(now time.Time) time.Duration {
	d := time.Second
	if k.plain != nil {
		d = min(d, k.node.Batch.Age-now.Sub(k.plain.opened))
	}
	for _, b := range k.ready {
		if !b.notBefore.IsZero() {
			d = min(d, b.notBefore.Sub(now))
		}
	}
	return max(d, time.Millisecond)
}

// askFlush asks the sink to make durable what it has: a partition waits to be closed.
func (k *sinkLane) askFlush() {
	if k.node.Required && !k.flushAsked.Swap(true) {
		k.waker.Wake()
	}
}

// flushAgain is about how soon a flush that failed is tried again.
const flushAgain = time.Second

// flush has the writer make durable what it took, once nothing else is being written.
func (k *sinkLane) flush() {
	if k.flushing == nil {
		if len(k.ready) > 0 && k.writable(k.ready[0]) {
			return
		}
		if len(k.writing) == 0 {
			k.flushAsked.Store(false)
			return
		}
		k.flushing = make(chan error, 1)
		done := k.flushing
		w := k.w
		k.run_.goWork("flush of "+k.node.ID, func() {
			ctx, cancel := context.WithTimeout(k.run_.ctx, writeDeadline)
			defer cancel()
			done <- w.Flush(ctx)
			k.waker.Wake()
		})
		return
	}
	select {
	case err := <-k.flushing:
		k.flushing = nil
		k.flushAsked.Store(false)
		if err != nil && !k.run_.aborted() {
			k.st.complaint(k.node).failed(k.run_, "sink could not flush, trying again", flushAgain, err)
		}
	default:
	}
}

// take puts a batch into its block, or handles a mark.
func (k *sinkLane) take(it queue.Item) {
	r := k.run_
	if m, ok := it.Control.(*mark); ok {
		k.takeMark(m)
		return
	}
	b := it.Batch
	n := b.Rows()
	r.queued[it.Edge].Add(-int64(n))
	r.edges[it.Edge].In.Add(uint64(n))
	k.acct.In.Add(uint64(n))
	k.acct.InFlight.Add(int64(n))
	if p := b.Range().Partition; p != nil && k.keyed >= 0 {
		ps := r.part(p)
		if ps == nil {
			k.st.q.Forget(p)
			k.dropBatch(b, sdk.ReasonReturned)
			return
		}
		ps.mu.Lock()
		seg := ps.at(b.Range().First)
		gone := seg == nil || seg.returned || ps.fenced
		skip := seg != nil && seg.skip
		ps.mu.Unlock()
		switch {
		case gone:
			k.dropBatch(b, sdk.ReasonReturned)
		case skip:
			k.dropBatch(b, sdk.ReasonStoredBefore)
		default:
			blk := k.segs[seg]
			if blk == nil {
				blk = k.newBlock(b.Schema())
				blk.seg = seg
				k.segs[seg] = blk
			}
			blk.add(b)
			if r.opt.rules.closeFull && blk.Rows >= k.node.Batch.Rows {
				delete(k.segs, seg)
				k.close(blk)
			}
		}
		return
	}
	if k.plain != nil && k.plain.schema != b.Schema() {
		k.close(k.plain)
		k.plain = nil
	}
	if k.plain == nil {
		k.plain = k.newBlock(b.Schema())
		k.plain.opened = time.Now()
	}
	k.plain.add(b)
	if k.plain.Rows >= k.node.Batch.Rows || k.plain.bytes+int64(b.Held()) > int64(k.node.BlockBytes) { // another like this would be too much
		k.close(k.plain)
		k.plain = nil
	}
}

// takeMark closes the block of a segment when the mark has come over every edge that the partition can reach the sink by.
func (k *sinkLane) takeMark(m *mark) {
	seg := m.seg
	k.marks[seg]++
	if k.marks[seg] < k.st.marksOf(m) && !k.run_.opt.rules.firstMark {
		return
	}
	delete(k.marks, seg)
	blk := k.segs[seg]
	delete(k.segs, seg)
	if blk == nil {
		k.note(seg, nil)
		seg.sinkDone(k.keyed)
		return
	}
	k.close(blk)
}

// close ends a block: it has its key and waits to be written.
func (k *sinkLane) close(b *block) {
	if k.node.Plugin.Spec.HonoursKeys {
		b.Key = b.key()
	}
	if b.seg != nil {
		b.Range = sdk.Range{Partition: b.seg.ps.part, First: b.seg.first, Last: b.seg.last}
		k.note(b.seg, b)
	}
	k.ready = append(k.ready, b)
}

// note has a sink that needs it say what its store must be told to know the block again, before the segment is prepared: in order,
// each when the block before it is settled. A segment of which nothing came here (b nil) needs none.
func (k *sinkLane) note(seg *segment, b *block) {
	if _, ok := k.w.(sdk.Noter); !ok {
		return
	}
	ps := seg.ps
	ps.mu.Lock()
	planned := seg.planned
	if planned && b != nil {
		b.Note = seg.notes[k.node.ID]
	}
	ps.mu.Unlock()
	switch {
	case planned:
	case b == nil:
		seg.noted(k.node.ID, nil)
	default:
		k.notes = append(k.notes, noteDue{seg, b})
		k.nextNote()
	}
}

// nextNote says the next note, if no block waits that has one.
func (k *sinkLane) nextNote() {
	for (k.noting == nil || k.run_.opt.rules.noNoteTurn) && len(k.notes) > 0 {
		due := k.notes[0]
		k.notes = k.notes[1:]
		note, err := k.w.(sdk.Noter).Note(&due.b.Block)
		if err == nil && len(note) > sdk.MaxNote {
			err = fmt.Errorf("it has %d bytes, at most %d fit", len(note), sdk.MaxNote)
		}
		if err != nil {
			k.run_.fail(nodeErr(k.node, fmt.Errorf("note of block %s: %w", due.b.Key, err)))
			return
		}
		due.b.Note, k.noting = note, due.b
		due.seg.noted(k.node.ID, note)
	}
}

// noteSettled lets the next note be said when a block is settled.
func (k *sinkLane) noteSettled(b *block) {
	if k.noting == b {
		k.noting = nil
	}
	k.notes = slices.DeleteFunc(k.notes, func(d noteDue) bool { return d.b == b })
	k.nextNote()
}

// dropGone drops the open blocks of partitions that are gone: their marks may never come.
func (k *sinkLane) dropGone() {
	for seg, b := range k.segs {
		ps := seg.ps
		ps.mu.Lock()
		gone := ps.fenced
		ps.mu.Unlock()
		if gone {
			delete(k.segs, seg)
			k.dropBlock(b, sdk.ReasonReturned)
		}
	}
	for seg := range k.marks {
		if k.run_.part(seg.ps.part) != seg.ps {
			delete(k.marks, seg)
			k.st.q.Forget(seg.ps.part)
		}
	}
}

// dropOpenSegments drops the blocks of segments that no mark will end any more.
func (k *sinkLane) dropOpenSegments() {
	for seg, b := range k.segs {
		delete(k.segs, seg)
		k.dropBlock(b, sdk.ReasonReturned)
	}
}

// countCopies asks what the writer holds, unless another goroutine has it flush.
func (k *sinkLane) countCopies() {
	if k.flushing == nil {
		k.own.set(k.w.Held())
	}
}

// closeWriter ends the writer, unless an abort has.
func (k *sinkLane) closeWriter(ctx context.Context) {
	if k.w == nil || k.closed {
		return
	}
	if err := k.w.Close(ctx); err != nil {
		k.run_.log.Warn("writer did not close cleanly", "node", k.node.ID, "error", err)
	}
	k.own.closed()
}
