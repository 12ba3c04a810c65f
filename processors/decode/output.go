package decode

import (
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
)

// outputs are the batches being built for one port: one for each partition, and one for what has none. The codecs fill them by
// [Open] and [Full]; the rows they put in come of decode.parent.
//
// A batch begins in the size class that the partition's last one fitted, so that a trickle costs little memory, and moves to the
// largest when that is full.
type outputs struct {
	d     *decode
	port  int
	out   *sdk.Schema
	names *flow.Names
	grow  *sdk.Gather
	parts map[*sdk.Partition]*output
	last  *output
	ready []*sdk.Batch // sealed, to be given out
	rows  int64        // in batches being built or ready

	weight   uint64 // of the datagrams being decoded
	weighted int    // the first row of last's batch that they made; -1: none yet
	rate     int    // the column of the sampling rate, -1: nobody wants it
}

type output struct {
	part  *sdk.Partition
	batch *sdk.Batch // nil: none is open
	size  int        // rows that the next one should have room for
}

const (
	smallest = 256
	maxHeld  = 16 << 20 // bytes: all columns of 8,192 rows are 6 MiB
)

func (o *outputs) init(d *decode, port int) {
	o.d, o.port, o.out = d, port, d.env.Out[port]
	o.names = flow.NewNames(o.out)
	o.grow = sdk.NewGather(o.out, o.out)
	o.parts = map[*sdk.Partition]*output{}
	o.weight, o.weighted, o.rate = 1, -1, o.out.Index("sampling_rate")
}

// Open returns the batch of the parent's partition.
func (o *outputs) Open() *sdk.Batch {
	p := o.d.parent.Range().Partition
	t := o.last
	if t == nil || t.part != p {
		if t = o.parts[p]; t == nil {
			t = &output{part: p, size: smallest}
			o.parts[p] = t
		}
		o.last = t
	}
	// Frames and lists come on top of the columns: a batch of rows with long ones ends by its bytes.
	if b := t.batch; b != nil && b.Rows() > 0 && b.Held() > maxHeld {
		o.settle()
		b.Seal()
		o.ready = append(o.ready, b)
		t.batch = nil
	}
	if t.batch == nil {
		t.batch = o.d.env.NewBatch(o.out, t.size)
		o.names.Open(t.batch)
	}
	if o.weighted < 0 {
		o.weighted = t.batch.Rows()
	}
	t.batch.Derive(o.d.parent)
	return t.batch
}

// Full moves a batch to a larger class, or gives it out.
func (o *outputs) Full(b *sdk.Batch) {
	t := o.last
	o.settle()
	b.Seal()
	if b.Size() < sdk.MaxRows {
		t.size = sdk.MaxRows
		t.batch = o.resized(b, sdk.MaxRows)
		return
	}
	t.batch = nil
	o.ready = append(o.ready, b)
}

// resized is a copy of a sealed batch with room for rows rows, which takes its place.
func (o *outputs) resized(b *sdk.Batch, rows int) *sdk.Batch {
	n := o.d.env.NewBatch(o.out, rows)
	o.grow.Append(n, b, nil, b.Rows())
	o.names.Continue(n, b)
	n.Derive(b)
	b.Done(sdk.Delivered)
	b.Release()
	return n
}

// finish makes the open batches ready: of partition p, or of all.
func (o *outputs) finish(p *sdk.Partition, all bool) {
	if !all {
		if t := o.parts[p]; t != nil {
			o.seal(t)
		}
		return
	}
	for _, t := range o.parts {
		o.seal(t)
	}
}

func (o *outputs) seal(t *output) {
	if b := t.batch; b != nil {
		t.batch = nil
		b.Seal()
		// Kept in a large class, a few rows of each of many partitions would hold the memory of many.
		if t.size = sdk.SizeClass(b.Rows()); t.size < b.Size() && b.Rows() < b.Size()/4 {
			b = o.resized(b, b.Rows())
			b.Seal()
		}
		o.ready = append(o.ready, b)
	}
	if t.part != nil { // the next segment, or another lane's; a partition's life ends some time
		delete(o.parts, t.part)
		if o.last == t {
			o.last = nil
		}
	}
}

// give gives out at most limit of the batches that are ready; it says how many, and whether more are ready.
func (o *outputs) give(limit int) (given int, more bool) {
	n := min(limit, len(o.ready))
	for i, b := range o.ready[:n] {
		o.rows -= int64(b.Rows())
		o.d.out.Emit(o.port, b)
		o.ready[i] = nil
	}
	left := copy(o.ready, o.ready[n:])
	clear(o.ready[left:])
	o.ready = o.ready[:left]
	return n, left > 0
}
