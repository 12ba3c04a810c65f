package engine

// What becomes of rows that a store will never take.

import (
	"errors"
	"fmt"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/sdk"
)

// refuse takes the rows at fault out of the block: they go to `errors`, or where on_error says. The rest is written again under
// the same key.
func (k *sinkLane) refuse(b *block, err error) {
	var rows []int
	if e, ok := errors.AsType[*sdk.Error](err); ok {
		rows = e.Rows
	}
	bad, all := b.without(rows), uint64(0)
	for _, x := range bad {
		n := uint64(len(x.rows))
		all += n
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
	k.st.complaint(k.node).refused(k.run_, all, err)
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
			k.lane.send(t, e.Share(nil, t.edge.Tracked && !k.run_.opt.rules.looseLetters))
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
			if b.seg != nil && !k.run_.opt.rules.noDeadWait {
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
