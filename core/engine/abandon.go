package engine

// What becomes of what a sink has when the run is aborted, or an optional one has not taken it in time.

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/weirflow/weir/core/queue"
	"github.com/weirflow/weir/sdk"
)

// abandon drops what the sink has not taken. What it has taken, as the records of a file that is not complete, it may still make
// durable within KillGrace; the rest is dropped too. Either way the ledger says what is so: a writer that is closed stores nothing more.
func (k *sinkLane) abandon() {
	r := k.run_
	k.notes, k.noting = nil, nil // nothing will be prepared
	records := 0
	drop := func(b *block) {
		records += b.Rows
		k.dropBlock(b, sdk.ReasonStopped)
	}
	k.st.q.Empty(k.id, k.waker, r.opt.KillGrace, func(it queue.Item) {
		if it.Batch != nil {
			records += it.Batch.Rows()
		}
		k.lane.dropItem(it)
	})
	if k.plain != nil {
		drop(k.plain)
		k.plain = nil
	}
	for seg, b := range k.segs {
		delete(k.segs, seg)
		drop(b)
	}
	for _, b := range k.ready {
		drop(b)
	}
	k.ready = nil
	k.lastAnswers(drop)
	for b := range k.writing {
		// The sink may still look into the data: it is not given back.
		b.leak = true
		drop(b)
	}
	if records > 0 {
		r.log.Warn("the sink did not take what was left: dropped, and counted as stopped", "node", k.node.ID, "records", records)
	}
}

// overGrace is how much longer than its context a Flush or Close may take, for what cannot be broken off.
const overGrace = time.Second

// lastAnswers waits for the answers to what is being written, no longer than KillGrace, and closes the writer. A sink that hangs for
// longer than its context is left behind: it must not keep the process.
func (k *sinkLane) lastAnswers(drop func(*block)) {
	if len(k.writing) == 0 {
		return
	}
	r := k.run_
	k.closed = true
	closed := make(chan struct{})
	go k.flushAndClose(closed)
	t := time.NewTimer(r.opt.KillGrace + overGrace)
	defer t.Stop()
	for over := false; !over; {
		select {
		case <-k.waker:
		case <-closed:
			over = true
		case <-t.C:
			over = true
			r.log.Warn("the sink hangs: its writer is left behind", "node", k.node.ID, "after", r.opt.KillGrace+overGrace)
		}
		k.mu.Lock()
		done := k.completed
		k.completed = nil
		k.mu.Unlock()
		for _, c := range done {
			k.written(c.b)
			if c.err == nil {
				k.settled(c.b)
			} else {
				drop(c.b)
			}
		}
	}
}

// flushAndClose has KillGrace for both. A Flush that outlives that is ended by Close.
func (k *sinkLane) flushAndClose(closed chan<- struct{}) {
	defer close(closed)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(k.run_.ctx), k.run_.opt.KillGrace)
	defer cancel()
	flushed := make(chan struct{})
	go func() {
		defer close(flushed)
		if k.flushing != nil {
			<-k.flushing // the abort has cut it short
		}
		k.guarded(func() error { return k.w.Flush(ctx) }) // what it could not do Close says
	}()
	select {
	case <-flushed:
	case <-ctx.Done():
	}
	if err := k.guarded(func() error { return k.w.Close(ctx) }); err != nil {
		k.run_.log.Warn("writer did not close cleanly", "node", k.node.ID, "error", err)
	}
}

// guarded makes a panic of the sink an error: nobody else would catch it here.
func (k *sinkLane) guarded(f func() error) (err error) {
	defer func() {
		if x := recover(); x != nil {
			err = fmt.Errorf("panic: %v\n%s", x, debug.Stack())
		}
	}()
	return f()
}
