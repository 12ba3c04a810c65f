package engine

// How a sink's blocks are written: when, how often, and what becomes of the answers.

import (
	"context"
	"slices"
	"time"

	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/sdk"
)

// writeDeadline bounds one Write: a plan older than the store's window must not be written.
const writeDeadline = time.Minute

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
	if !k.run_.opt.rules.noDeadline {
		k.limit.Reset(k.writeTime())
	}
	if k.run_.opt.rules.keyEachTry && b.seg == nil {
		b.Key = b.key()
	}
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
	k.countCopies()
}

// writeTime bounds the next Write. Once nothing more comes, nobody waits for an optional sink longer than drain_timeout.
func (k *sinkLane) writeTime() time.Duration {
	if k.node.Required || k.endedAt.IsZero() {
		return writeDeadline
	}
	return max(min(writeDeadline, k.run_.plan.Pipeline.DrainTimeout-time.Since(k.endedAt)), time.Millisecond)
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
	if len(done) > 0 {
		k.countCopies()
	}
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

// pause is how long a sink waits before it tries again: the first time retry.initial, then twice as long each time, up to retry.max.
func pause(n *plan.Node, before time.Duration) time.Duration {
	return min(max(2*before, n.Retry.Initial, time.Millisecond), max(n.Retry.Max, time.Millisecond))
}

// exhausted makes of the last try's error the one with which the records are refused.
func exhausted(err error) error {
	return &sdk.Error{Class: sdk.Permanent, Code: "retries_exhausted", Err: err}
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
		err = exhausted(err)
	}
	switch {
	case class == sdk.Fatal || b.isCopied:
		k.failBlock(b)
		k.run_.fail(nodeErr(k.node, err))
	case class == sdk.Transient:
		k.acct.Retries.Add(1)
		b.backoff = pause(k.node, b.backoff)
		b.notBefore = time.Now().Add(b.backoff)
		k.st.complaint(k.node).failed(k.run_, "block was not stored, trying again", b.backoff, err)
		k.ready = slices.Insert(k.ready, 0, b)
	default:
		k.refuse(b, err)
		b.notBefore = time.Time{}
		k.ready = slices.Insert(k.ready, 0, b)
	}
}
