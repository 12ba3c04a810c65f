package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/core/ledger"
	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/core/queue"
	"github.com/weirflow/weir/sdk"
)

// writeDeadline bounds one Write: a plan older than the store's window must not be written.
const writeDeadline = time.Minute

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

	flushAsked atomic.Bool
	flushing   chan error // answer of a Flush under way

	// A write's context ends with the run, or when its time is over; it is made anew only after that has happened.
	ctx    context.Context
	cancel context.CancelFunc
	limit  *time.Timer

	free []*block // for use again

	mu        sync.Mutex
	completed []completion
	handled   []completion // the other half of the double buffer
}

type completion struct {
	b   *block
	err error
}

func newSinkLane(r *Run, st *stage, id int) (*sinkLane, error) {
	n := st.plan.Head()
	acct := r.ledger.Node(n.ID, n.Kind)
	k := &sinkLane{run_: r, st: st, node: n, id: id, acct: acct.Sink(), waker: queue.NewWaker(), keyed: -1, watch: r.watch(n.ID),
		segs: map[*segment]*block{}, writing: map[*block]struct{}{}, marks: map[*segment]int{}, wFor: n.In}
	if i, ok := r.keyed[n]; ok {
		k.keyed = i
	}
	k.lane = &lane{st: st, id: id, waker: k.waker, timer: time.NewTimer(time.Hour)}
	k.lane.timer.Stop()
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
		if end && !ended {
			ended = true
			k.dropOpenSegments()
		}
		if ended || k.flushAsked.Load() {
			k.flush()
			if ended && len(k.ready) == 0 && len(k.writing) == 0 && k.flushing == nil && !k.hasCompleted() {
				break
			}
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
			k.run_.log.Warn("sink could not flush", "node", k.node.ID, "error", err)
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
	if k.plain.Rows >= k.node.Batch.Rows || (k.node.Batch.Bytes > 0 && k.plain.bytes >= int64(k.node.Batch.Bytes)) {
		k.close(k.plain)
		k.plain = nil
	}
}

// takeMark closes the block of a segment when the mark has come over every edge that the partition can reach the sink by.
func (k *sinkLane) takeMark(m *mark) {
	seg := m.seg
	k.marks[seg]++
	if k.marks[seg] < k.st.expects[seg.ps.src] {
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

// note asks a sink that needs it what its store must be told to know the block again, before the segment is prepared.
func (k *sinkLane) note(seg *segment, b *block) {
	noter, ok := k.w.(sdk.Noter)
	if !ok {
		return
	}
	ps := seg.ps
	ps.mu.Lock()
	planned := seg.planned
	if planned && b != nil {
		b.Note = seg.notes[k.node.ID]
	}
	ps.mu.Unlock()
	if planned {
		return
	}
	var note []byte
	if b != nil {
		var err error
		if note, err = noter.Note(&b.Block); err != nil {
			k.run_.fail(nodeErr(k.node, fmt.Errorf("note of block %s: %w", b.Key, err)))
			return
		}
		if len(note) > sdk.MaxNote {
			k.run_.fail(nodeErr(k.node, fmt.Errorf("note of block %s has %d bytes, at most %d fit", b.Key, len(note), sdk.MaxNote)))
			return
		}
		b.Note = note
	}
	ps.mu.Lock()
	if note != nil {
		if seg.notes == nil {
			seg.notes = map[string][]byte{}
		}
		seg.notes[k.node.ID] = note
	}
	if seg.wantNotes--; seg.wantNotes == 0 {
		ps.news = urgent
	}
	ps.mu.Unlock()
	ps.src.saver.waker.Wake()
}

// writable says whether the block may be written now: its segment is prepared.
func (k *sinkLane) writable(b *block) bool {
	if b.seg == nil || k.run_.opt.rules.noPrepare {
		return true
	}
	b.seg.ps.mu.Lock()
	defer b.seg.ps.mu.Unlock()
	return b.seg.prepared
}

// writeReady has blocks written, in order, as many at a time as allowed.
func (k *sinkLane) writeReady() {
	now := time.Now()
	for i := 0; i < len(k.ready); {
		b := k.ready[i]
		if b.seg != nil {
			ps := b.seg.ps
			ps.mu.Lock()
			gone := b.seg.returned || ps.fenced
			ps.mu.Unlock()
			if gone {
				k.ready = slices.Delete(k.ready, i, i+1)
				k.dropBlock(b, sdk.ReasonReturned)
				continue
			}
		}
		if len(k.writing)-int(k.copies.Load()) >= max(1, k.node.InFlight) || k.flushing != nil || b.notBefore.After(now) {
			return
		}
		if !k.writable(b) {
			i++
			continue
		}
		k.ready = slices.Delete(k.ready, i, i+1)
		k.write(b)
	}
}

func (k *sinkLane) write(b *block) {
	if b.schema != k.wFor {
		if !k.reopen(b.schema) {
			k.ready = slices.Insert(k.ready, 0, b)
			return
		}
	}
	if b.Rows == 0 { // every row was refused
		k.settled(b)
		return
	}
	k.writing[b] = struct{}{}
	k.acct.Blocks.Add(1)
	b.answered.Store(false)
	ctx := k.writeContext()
	k.limit.Reset(writeDeadline)
	if k.run_.opt.rules.inParts {
		k.writeInParts(ctx, b, b.done)
	} else {
		from := k.watch.start()
		err := k.w.Write(ctx, &b.Block, b.done)
		k.watch.stop(from)
		if err != nil {
			b.done(err)
		}
	}
	k.limit.Stop()
}

// writeContext is the context of the next write.
func (k *sinkLane) writeContext() context.Context {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ctx == nil {
		k.ctx, k.cancel = context.WithCancel(k.run_.ctx)
	}
	return k.ctx
}

// timeUp ends the context of the write under way.
func (k *sinkLane) timeUp() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cancel != nil {
		k.cancel()
	}
	k.ctx, k.cancel = nil, nil
}

// answer takes the sink's answer for a block, from any goroutine.
func (k *sinkLane) answer(b *block, err error) {
	if b.answered.Swap(true) {
		k.run_.log.Error("sink answered twice for one block", "node", k.node.ID, "key", b.Key)
		return
	}
	k.mu.Lock()
	k.completed = append(k.completed, completion{b, err})
	k.mu.Unlock()
	k.waker.Wake()
}

// reopen opens a writer for another schema, when the old one has nothing under way.
func (k *sinkLane) reopen(s *sdk.Schema) bool {
	if len(k.writing) > 0 {
		k.flushAsked.Store(true)
		return false
	}
	if err := k.w.Close(k.run_.ctx); err != nil {
		k.run_.log.Warn("writer did not close cleanly", "node", k.node.ID, "error", err)
	}
	w, err := k.sink.Open(k.run_.ctx, s)
	if err != nil {
		k.run_.fail(nodeErr(k.node, err))
		return false
	}
	k.w, k.wFor = w, s
	return true
}

func (k *sinkLane) hasCompleted() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.completed) > 0
}

// complete handles the answers that have come.
func (k *sinkLane) complete() {
	k.mu.Lock()
	done := k.completed
	k.completed, k.handled = k.handled[:0], done
	k.mu.Unlock()
	for _, c := range done {
		k.written(c.b)
		if c.err == nil {
			k.settled(c.b)
			continue
		}
		k.failed(c.b, c.err)
	}
	clear(done)
}

// written takes a block out of those being written.
func (k *sinkLane) written(b *block) {
	delete(k.writing, b)
	k.mu.Lock()
	if b.isCopied {
		k.copies.Add(-1)
	}
	k.mu.Unlock()
}

// failed decides what becomes of a block that was not stored.
func (k *sinkLane) failed(b *block, err error) {
	if k.run_.aborted() {
		k.dropBlock(b, sdk.ReasonStopped)
		return
	}
	class := sdk.ClassOf(err)
	b.attempts++
	if class == sdk.Transient && k.node.Retry.Attempts > 0 && b.attempts >= k.node.Retry.Attempts {
		class = sdk.Permanent
		err = &sdk.Error{Class: sdk.Permanent, Code: "retries_exhausted", Err: err}
	}
	switch {
	case class == sdk.Fatal || b.isCopied:
		k.failBlock(b)
		k.run_.fail(nodeErr(k.node, err))
	case class == sdk.Transient:
		k.acct.Retries.Add(1)
		b.backoff = min(max(2*b.backoff, k.node.Retry.Initial, time.Millisecond), max(k.node.Retry.Max, time.Millisecond))
		b.notBefore = time.Now().Add(b.backoff)
		k.run_.log.Warn("block was not stored, trying again", "node", k.node.ID, "key", b.Key, "after", b.backoff, "error", err)
		k.ready = slices.Insert(k.ready, 0, b)
	default:
		k.refuse(b, err)
		b.notBefore = time.Time{}
		k.ready = slices.Insert(k.ready, 0, b)
	}
}

// refuse takes the rows at fault out of the block: they go to `errors`, or where on_error says. The rest is written again under
// the same key.
func (k *sinkLane) refuse(b *block, err error) {
	var rows []int
	if e, ok := errors.AsType[*sdk.Error](err); ok {
		rows = e.Rows
	}
	bad := b.without(rows)
	for _, x := range bad {
		n := uint64(len(x.rows))
		k.acct.InFlight.Add(-int64(n))
		switch {
		case k.node.OnError == config.Fail:
			k.acct.Failed.Add(n)
			x.b.Done(sdk.Failed)
			k.run_.fail(nodeErr(k.node, fmt.Errorf("%d records were refused and on_error is fail: %w", n, err)))
		case k.node.OnError == config.Drop:
			k.acct.Drop(sdk.ReasonOnError, n)
			x.b.Done(sdk.Dropped)
		case len(k.errs) == 0:
			k.acct.Drop(sdk.ReasonUnread, n)
			x.b.Done(sdk.Dropped)
		default:
			k.acct.DeadLettered.Add(n)
			k.sendRefused(b, x, err)
			x.b.Done(sdk.DeadLettered)
		}
		x.b.Release()
	}
	k.lane.push()
	k.lane.kick()
	k.waker.Wake() // waiting for room may have taken the wake of an answer
}

// sendRefused sends rows to `errors`, as Arrow IPC of one row each.
func (k *sinkLane) sendRefused(b *block, x refused, err error) {
	var e *sdk.Batch
	flush := func() {
		if e == nil {
			return
		}
		e.Seal()
		for _, t := range k.errs {
			k.lane.send(t, e.Share(nil, t.edge.Tracked))
		}
		e.Done(sdk.DeadLettered)
		e.Release()
		e = nil
	}
	for _, row := range x.rows {
		if e == nil {
			e = k.run_.pool.Get(sdk.Errors, 256)
			for _, c := range []int{sdk.ErrorsNode, sdk.ErrorsCode, sdk.ErrorsFormat} {
				e.SetDict(c, sdk.NewDict())
			}
			if b.seg != nil {
				e.Track(b.awaitDead())
			}
			e.Derive(x.b)
		}
		payload, format := k.run_.rowIPC(x.b, row), "arrow"
		appendFault(e, k.node.ID, sdk.Fault{Code: sdk.CodeOf(err), Message: err.Error(), Received: receivedOf(x.b, row), Format: format, Payload: payload})
		if e.Room() == 0 {
			flush()
			k.lane.push()
		}
	}
	flush()
}

// receivedOf is the row's column `received`, 0 if it has none.
func receivedOf(b *sdk.Batch, row int) int64 {
	i := b.Schema().Index("received")
	if i < 0 || b.Schema().Field(i).Type != sdk.Timestamp {
		return 0
	}
	return sdk.Values[int64](b, i)[row]
}

// abandon settles everything that is left after an abort as dropped.
func (k *sinkLane) abandon() {
	deadline := time.Now().Add(k.run_.opt.KillGrace)
	k.st.q.Empty(k.id, k.waker, k.run_.opt.KillGrace, k.lane.dropItem)
	if k.plain != nil {
		k.dropBlock(k.plain, sdk.ReasonStopped)
		k.plain = nil
	}
	for seg, b := range k.segs {
		delete(k.segs, seg)
		k.dropBlock(b, sdk.ReasonStopped)
	}
	for _, b := range k.ready {
		k.dropBlock(b, sdk.ReasonStopped)
	}
	k.ready = nil
	for len(k.writing) > 0 && time.Now().Before(deadline) {
		k.mu.Lock()
		done := k.completed
		k.completed = nil
		k.mu.Unlock()
		for _, c := range done {
			k.written(c.b)
			if c.err == nil {
				k.settled(c.b)
			} else {
				k.dropBlock(c.b, sdk.ReasonStopped)
			}
		}
		if len(k.writing) > 0 {
			t := time.NewTimer(5 * time.Millisecond)
			select {
			case <-k.waker:
			case <-t.C:
			}
			t.Stop()
		}
	}
	for b := range k.writing {
		// The sink may still look into the data: it is not given back.
		b.leak = true
		k.dropBlock(b, sdk.ReasonStopped)
	}
}

// dropOpenSegments drops the blocks of segments that no mark will end any more.
func (k *sinkLane) dropOpenSegments() {
	for seg, b := range k.segs {
		delete(k.segs, seg)
		k.dropBlock(b, sdk.ReasonReturned)
	}
}

// close ends the writer; closeSink the sink, when all lanes are closed.
func (k *sinkLane) closeWriter(ctx context.Context) {
	if k.w == nil {
		return
	}
	if err := k.w.Close(ctx); err != nil {
		k.run_.log.Warn("writer did not close cleanly", "node", k.node.ID, "error", err)
	}
}
