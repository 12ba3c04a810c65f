package engine

import (
	"bytes"
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/weirflow/weir/sdk"
)

// block is a sink's unit of writing, retry and idempotency, with its state.
type block struct {
	sdk.Block
	k      *sinkLane
	seg    *segment // nil: what has no segment
	schema *sdk.Schema
	bytes  int64
	opened time.Time
	hull   sdk.Range

	attempts  int
	backoff   time.Duration
	notBefore time.Time

	answered atomic.Bool
	done     func(error) // made once, for every write of the block
	onCopied func()

	isCopied bool // the sink has its own copy: the batches are gone, their promises are kept
	promises []sdk.Promise
	leak     bool
	dead     *deadWait // of the rows that were refused
}

// newBlock takes a block from those that are done with.
func (k *sinkLane) newBlock(s *sdk.Schema) *block {
	var b *block
	if n := len(k.free); n > 0 {
		b, k.free = k.free[n-1], k.free[:n-1]
	} else {
		b = &block{k: k}
		b.done = func(err error) { k.answer(b, err) }
		b.onCopied = func() { k.copied(b) }
	}
	b.schema, b.OnCopied = s, b.onCopied
	return b
}

// recycle makes the block ready for use again; the sink has answered for it.
func (b *block) recycle() {
	k := b.k
	if b.dead != nil || len(k.free) >= 16 {
		return // still looked at, or enough
	}
	batches := b.Batches[:0]
	*b = block{k: k, done: b.done, onCopied: b.onCopied}
	b.Batches = batches
	b.answered.Store(true) // until it is written again, an answer is one too many
	k.free = append(k.free, b)
}

func (b *block) add(x *sdk.Batch) {
	if len(b.Batches) == 0 {
		b.hull = x.Range()
	} else {
		b.hull.First, b.hull.Last = min(b.hull.First, x.Range().First), max(b.hull.Last, x.Range().Last)
	}
	b.Batches = append(b.Batches, x)
	b.Rows += x.Rows()
	b.bytes += int64(x.Held())
}

// key names the block: of a segment, by where it begins and ends, so that the next life says the same; else by this start of the
// process and a running number, so that a retry is not stored twice.
func (b *block) key() string {
	k := b.k
	prefix := k.run_.plan.Pipeline.Name + "/" + k.node.ID + "/"
	if k.node.Epoch != "" && !k.run_.opt.rules.noEpoch {
		prefix = k.node.Epoch + "/" + prefix
	}
	if b.seg == nil {
		k.number++
		return fmt.Sprintf("%s%s/%d-%d", prefix, k.run_.opt.BootID, k.id, k.number)
	}
	first := b.seg.first
	if k.run_.opt.rules.keyHull {
		first = b.hull.First
	}
	p := b.seg.ps.part
	return fmt.Sprintf("%s%s/%s/%d-%d", prefix, p.Source, p.Name, first, b.seg.last)
}

// settled settles a block that was stored.
func (k *sinkLane) settled(b *block) {
	k.acct.Delivered.Add(uint64(b.Rows))
	k.acct.InFlight.Add(-int64(b.Rows))
	k.st.complaint(k.node).over(k.run_)
	b.finish(sdk.Delivered)
	switch {
	case b.seg == nil:
	case b.dead != nil:
		b.dead.stored()
	default:
		b.seg.sinkDone(k.keyed)
	}
	b.recycle()
}

// deadWait holds back that a sink is done with a segment until the rows it refused are dead-lettered: what is stored is not
// given to the sink again in the next life, so they would be lost.
type deadWait struct {
	seg    *segment
	k      int
	left   atomic.Int32 // batches of dead letters, and one for the block itself
	failed atomic.Bool
}

func (b *block) awaitDead() *deadWait {
	if b.dead == nil {
		b.dead = &deadWait{seg: b.seg, k: b.k.keyed}
		b.dead.left.Store(1)
	}
	b.dead.left.Add(1)
	return b.dead
}

// Settled is a batch of dead letters come home.
func (d *deadWait) Settled(_ sdk.Range, worst sdk.Outcome) {
	if worst == sdk.Failed {
		d.failed.Store(true)
	}
	d.stored()
}

func (d *deadWait) stored() {
	if d.left.Add(-1) == 0 && !d.failed.Load() {
		d.seg.sinkDone(d.k)
	}
}

// dropBlock settles a block that will not be stored.
func (k *sinkLane) dropBlock(b *block, why sdk.Reason) {
	k.acct.Drop(why, uint64(b.Rows))
	k.acct.InFlight.Add(-int64(b.Rows))
	o := sdk.Dropped
	if why == sdk.ReasonStopped || why == sdk.ReasonReturned {
		o = sdk.Failed // it must not be committed
	}
	b.finish(o)
}

// failBlock settles a block whose failure ends the run.
func (k *sinkLane) failBlock(b *block) {
	k.acct.Failed.Add(uint64(b.Rows))
	k.acct.InFlight.Add(-int64(b.Rows))
	b.finish(sdk.Failed)
}

func (b *block) finish(o sdk.Outcome) {
	k := b.k
	if k.noting != nil || len(k.notes) > 0 {
		k.noteSettled(b)
	}
	k.mu.Lock()
	promises, batches := b.promises, b.Batches
	b.promises, b.Batches = nil, batches[:0]
	k.mu.Unlock()
	for _, p := range promises {
		p.Done(o)
	}
	if b.isCopied {
		return
	}
	for i, x := range batches {
		batches[i] = nil
		x.Done(o)
		if !b.leak {
			x.Release()
		}
	}
}

// copied gives the batches back while their promises stay open: the sink has its own copy.
func (k *sinkLane) copied(b *block) {
	k.mu.Lock()
	batches := b.Batches
	b.Batches = nil
	if !b.isCopied {
		b.isCopied = true
		k.copies.Add(1)
		for _, x := range batches {
			b.promises = append(b.promises, x.TakePromise())
		}
	}
	k.mu.Unlock()
	for _, x := range batches {
		x.Release()
	}
}

// dropBatch settles a batch that joins no block.
func (k *sinkLane) dropBatch(b *sdk.Batch, why sdk.Reason) {
	n := b.Rows()
	k.acct.Drop(why, uint64(n))
	k.acct.InFlight.Add(-int64(n))
	o := sdk.Dropped
	if why == sdk.ReasonReturned {
		o = sdk.Failed
	}
	b.Done(o)
	b.Release()
}

// refused is rows of one batch that the store would not take.
type refused struct {
	b    *sdk.Batch
	rows []int
}

// without takes rows (indices into the block; nil: all) out of the block. The batches they were in are returned with them; what
// else those held is copied into new batches of the block.
func (b *block) without(rows []int) (out []refused) {
	bad := map[int]bool{}
	for _, r := range rows {
		if r >= 0 && r < b.Rows {
			bad[r] = true
		}
	}
	all := len(bad) == 0
	var keep []*sdk.Batch
	at := 0
	b.bytes = 0
	total := 0
	for _, x := range b.Batches {
		n := x.Rows()
		var rest []uint16
		var mine []int
		for i := range n {
			if all || bad[at+i] {
				mine = append(mine, i)
			} else {
				rest = append(rest, uint16(i))
			}
		}
		at += n
		if len(mine) == 0 {
			keep = append(keep, x)
			total += n
			b.bytes += int64(x.Held())
			continue
		}
		if len(rest) > 0 {
			c := b.k.run_.pool.Get(x.Schema(), len(rest))
			sdk.NewGather(x.Schema(), x.Schema()).Append(c, x, rest, 0)
			c.Derive(x)
			c.Seal()
			keep = append(keep, c)
			total += c.Rows()
			b.bytes += int64(c.Held())
		}
		out = append(out, refused{x, mine})
	}
	b.Batches, b.Rows = keep, total
	return out
}

// rowIPC is one row as an Arrow IPC stream, for dead letters.
func (r *Run) rowIPC(b *sdk.Batch, row int) []byte {
	one := r.pool.Get(b.Schema(), 1)
	defer func() {
		one.Done(sdk.Dropped)
		one.Release()
	}()
	sdk.NewGather(b.Schema(), b.Schema()).Append(one, b, []uint16{uint16(row)}, 0)
	one.Seal()
	rec := one.Arrow()
	defer rec.Release()
	var buf bytes.Buffer
	w := ipc.NewWriter(&buf, ipc.WithSchema(rec.Schema()))
	if err := w.Write(rec); err != nil {
		return nil
	}
	if err := w.Close(); err != nil {
		return nil
	}
	return buf.Bytes()
}

// writeInParts is what rule `inParts` is about: a block that is not stored as one.
func (k *sinkLane) writeInParts(ctx context.Context, b *block, done func(error)) {
	left := len(b.Batches)
	var worst error
	answer := func(err error) {
		k.mu.Lock()
		left--
		if err != nil {
			worst = err
		}
		last, err := left == 0, worst
		k.mu.Unlock()
		if last {
			done(err)
		}
	}
	for i, x := range b.Batches {
		part := &sdk.Block{Batches: []*sdk.Batch{x}, Rows: x.Rows(), Range: b.Range, Key: fmt.Sprintf("%s#%d", b.Key, i)}
		if err := k.w.Write(ctx, part, answer); err != nil {
			answer(err)
		}
	}
}
