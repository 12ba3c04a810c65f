package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weirflow/weir/core/ledger"
	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/sdk"
)

// fusedSink is a sink that never waits for anything outside, run by the lane in front of it: each batch is a block.
type fusedSink struct {
	in   *instance
	w    sdk.Writer
	acct *ledger.Sink
	own  writerCopies

	// Reused for every batch, so that nothing is allocated.
	block    sdk.Block
	one      [1]*sdk.Batch
	answered bool
	err      error
	done     func(error)
}

// fusedSink opens the lane's writer of a sink.
func (s *stage) fusedSink(n *plan.Node, in *instance) (*fusedSink, error) {
	s.mu.Lock()
	sink := s.fusedSinks[n]
	s.mu.Unlock()
	if sink == nil {
		var err error
		if sink, err = n.Plugin.Sink(s.run.env(n, in.lane.id, &in.acct.Books), n.Config); err != nil {
			return nil, err
		}
		s.mu.Lock()
		if s.fusedSinks == nil {
			s.fusedSinks = map[*plan.Node]sdk.Sink{}
		}
		s.fusedSinks[n] = sink
		s.mu.Unlock()
	}
	w, err := sink.Open(s.run.ctx, n.In)
	if err != nil {
		return nil, err
	}
	f := &fusedSink{in: in, w: w, acct: s.run.ledger.Node(n.ID, n.Kind).Sink()}
	f.own = s.run.copies.opened(n, f.acct)
	f.done = func(err error) { f.answered, f.err = true, err }
	return f, nil
}

func (f *fusedSink) write(b *sdk.Batch) {
	r := f.in.lane.run()
	n := uint64(b.Rows())
	f.acct.In.Add(n)
	backoff := time.Duration(0)
	for attempt := 1; ; attempt++ {
		f.one[0] = b
		f.block = sdk.Block{Batches: f.one[:], Rows: b.Rows(), Range: b.Range()}
		f.answered, f.err = false, nil
		from := f.in.watch.start()
		err := f.w.Write(r.ctx, &f.block, f.done)
		f.in.watch.stop(from)
		f.own.set(f.w.Held())
		if err != nil {
			f.answered, f.err = true, err
		}
		if !f.answered {
			f.err = &sdk.Error{Class: sdk.Fatal, Code: "no_answer", Err: errors.New("a sink that says it never waits did not answer before Write returned")}
		}
		if f.err == nil {
			f.acct.Delivered.Add(n)
			b.Done(sdk.Delivered)
			b.Release()
			if attempt > 1 {
				f.in.lane.st.complaint(f.in.node).over(r)
			}
			return
		}
		switch sdk.ClassOf(f.err) {
		case sdk.Transient:
			if r.aborted() {
				f.acct.Drop(sdk.ReasonStopped, n)
				b.Done(sdk.Failed)
				b.Release()
				return
			}
			if f.in.node.Retry.Attempts > 0 && attempt >= f.in.node.Retry.Attempts {
				f.refuse(b, exhausted(f.err))
				return
			}
			f.acct.Retries.Add(1)
			backoff = pause(f.in.node, backoff)
			f.in.lane.st.complaint(f.in.node).failed(r, "batch was not stored, trying again", backoff, f.err)
			f.pause(backoff)
		case sdk.Permanent:
			f.refuse(b, f.err)
			return
		default:
			f.acct.Failed.Add(n)
			b.Done(sdk.Failed)
			b.Release()
			f.in.failed(f.err)
			return
		}
	}
}

// pause is the whole pause before the next try, whoever wakes the lane meanwhile: what it was woken for is looked at afterwards.
func (f *fusedSink) pause(d time.Duration) {
	l := f.in.lane
	for end := time.Now().Add(d); d > 0 && !l.run().aborted(); d = time.Until(end) {
		l.wait(d)
	}
	l.waker.Wake()
}

// refuse drops or dead-letters the batch; a fused sink does not write the rest again, it has said which rows it took.
func (f *fusedSink) refuse(b *sdk.Batch, err error) {
	rows := []int(nil)
	if e, ok := errors.AsType[*sdk.Error](err); ok {
		rows = e.Rows
	}
	if rows == nil {
		rows = make([]int, b.Rows())
		for i := range rows {
			rows[i] = i
		}
	}
	f.acct.Delivered.Add(uint64(b.Rows() - len(rows)))
	sel := b.Selection()
	for _, row := range rows { // of the block: with a selection, its entries
		if sel != nil {
			row = int(sel[row])
		}
		fault := sdk.Fault{Code: sdk.CodeOf(err), Message: err.Error(), Received: receivedOf(b, row), Format: "arrow"}
		if len(f.in.errs) > 0 {
			fault.Payload = f.in.lane.run().rowIPC(b, row)
		}
		f.in.out.Error(b, fault)
	}
	f.in.lane.st.complaint(f.in.node).refused(f.in.lane.run(), uint64(len(rows)), err)
	f.in.take()
	b.Done(sdk.DeadLettered)
	b.Release()
}

func (f *fusedSink) close(ctx context.Context) {
	r := f.in.lane.run()
	if err := f.w.Flush(ctx); err != nil {
		r.log.Warn("sink could not flush", "node", f.in.node.ID, "error", err)
	}
	if err := f.w.Close(ctx); err != nil {
		r.log.Warn("writer did not close cleanly", "node", f.in.node.ID, "error", fmt.Sprint(err))
	}
	f.own.closed()
}
