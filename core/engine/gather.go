package engine

import (
	"fmt"
	"slices"

	"github.com/weirflow/weir/sdk"
)

const (
	// maxGiven is how many gathered batches go out before the lane pushes, as a node gives out at most so many in a call.
	maxGiven = 4
	// maxGathered is the bytes of variable length with which an open batch goes out before it has all its rows: payloads can be long.
	maxGathered = 4 << 20
)

// gatherer is what a port has of whose readers some do not read selections, or stand behind a queue: the rows of selected batches are
// gathered into one open batch a partition. A batch of which 5 % are selected would otherwise hold the memory of all of it in a queue.
//
// An open batch goes out when it is full, when its partition is cut, at a tick if nothing will cut it, and at the end.
type gatherer struct {
	schema *sdk.Schema
	pool   *sdk.Pool
	gather *sdk.Gather
	open   []opening // a handful, in order of their first row
}

// opening is a partition's batch being built.
type opening struct {
	partition *sdk.Partition // nil: of a source without cuts
	b         *sdk.Batch
}

func newGatherer(s *sdk.Schema, pool *sdk.Pool) *gatherer {
	return &gatherer{schema: s, pool: pool, gather: sdk.NewGather(s, s)}
}

// find is the position of the partition's open batch, -1 if there is none.
func (g *gatherer) find(p *sdk.Partition) int {
	for i := range g.open {
		if g.open[i].partition == p {
			return i
		}
	}
	return -1
}

// add takes b's rows from the one at position from on, as many as the open batch has room for. It returns how many that were, and the
// batch if it is full.
func (g *gatherer) add(b *sdk.Batch, from int) (taken int, full *sdk.Batch) {
	left := b.Rows() - from
	at := g.find(b.Range().Partition)
	if at < 0 {
		at = len(g.open)
		g.open = append(g.open, opening{b.Range().Partition, g.pool.Get(g.schema, left)})
	}
	o := &g.open[at]
	if o.b.Room() < left && o.b.Size() < sdk.MaxRows {
		// The next class, so that a partition that trickles holds 256 rows, not 8,192.
		o.b = g.resize(o.b, min(o.b.Rows()+left, sdk.MaxRows))
	}
	taken = g.copy(o.b, b, from)
	o.b.Derive(b)
	if o.b.Rows() == sdk.MaxRows || o.b.Held() >= g.limit(o.b) {
		return taken, g.close(at)
	}
	return taken, nil
}

// copy appends b's rows from the one at position from on.
func (g *gatherer) copy(to, b *sdk.Batch, from int) int {
	if sel := b.Selection(); sel != nil {
		return g.gather.Append(to, b, sel[from:], 0)
	}
	if from == 0 {
		return g.gather.Append(to, b, nil, b.Rows()) // column by column
	}
	return g.gather.Append(to, b, every[from:b.Rows()], 0)
}

// every lists all rows a batch can have.
var every = func() (rows [sdk.MaxRows]uint16) {
	for i := range rows {
		rows[i] = uint16(i)
	}
	return rows
}()

// limit is what a batch may hold of memory: all its rows, and maxGathered of values of variable length.
func (g *gatherer) limit(b *sdk.Batch) int {
	return b.Size()*g.schema.RowBytes() + g.schema.Len()*64 + maxGathered
}

// resize moves the rows of b to a batch of the smallest size that holds rows.
func (g *gatherer) resize(b *sdk.Batch, rows int) *sdk.Batch {
	b.Seal()
	moved := g.pool.Get(g.schema, rows)
	g.gather.Append(moved, b, nil, b.Rows())
	moved.Derive(b)
	b.Done(sdk.Delivered)
	b.Release()
	return moved
}

// close takes out the open batch at position at, sealed and of the size that fits it.
func (g *gatherer) close(at int) *sdk.Batch {
	b := g.open[at].b
	g.open = slices.Delete(g.open, at, at+1)
	if b.Rows() < b.Size()/4 && sdk.SizeClass(b.Rows()) < b.Size() {
		b = g.resize(b, b.Rows())
	}
	b.Seal()
	return b
}

// abandon settles what is open as failed: its source reads it again.
func (g *gatherer) abandon() {
	for _, o := range g.open {
		o.b.Done(sdk.Failed)
		o.b.Release()
	}
	g.open = nil
}

// gatherers makes those of the ports that need one.
func (in *instance) gatherers() {
	in.gathers = make([]*gatherer, len(in.ports))
	for port, ts := range in.ports {
		if slices.ContainsFunc(ts, func(t *target) bool { return t.inst == nil || !t.inst.node.Plugin.Spec.Selections }) {
			in.gathers[port] = newGatherer(in.node.Out[port], in.lane.run().pool)
		}
	}
}

// takes says whether b joins an open batch of the port: it has a selection, or would overtake rows of its partition.
func (g *gatherer) takes(b *sdk.Batch) bool {
	return g != nil && (b.Selection() != nil || len(g.open) > 0 && g.find(b.Range().Partition) >= 0)
}

// collect gathers a batch at a port and passes on what is full.
func (in *instance) collect(port int, b *sdk.Batch) {
	g, n := in.gathers[port], b.Rows()
	if b.Schema() != g.schema { // its columns would be taken for others
		u := in.lane.run().unread(in.node, port)
		in.acct.Outs.Add(uint64(n))
		u.acct.Out.Add(uint64(n))
		u.acct.Drop(sdk.ReasonPluginCrash, uint64(n))
		b.Done(sdk.Failed)
		b.Release()
		in.failed(fmt.Errorf("gave out at port %s a batch of other columns than the plan's", in.node.Plugin.Spec.PortNames(in.node.Config)[port]))
		return
	}
	for at := 0; at < n; {
		taken, full := g.add(b, at)
		at += taken
		in.acct.Open.Add(int64(taken))
		if full != nil {
			in.passGathered(port, full)
		}
	}
	b.Done(sdk.Delivered)
	b.Release()
}

func (in *instance) passGathered(port int, b *sdk.Batch) {
	in.acct.Open.Add(-int64(b.Rows()))
	in.pass(port, b)
}

// giveGathered passes on the open batches that which chooses, at most maxGiven; more says that there are others.
func (in *instance) giveGathered(which func(p *sdk.Partition) bool) (more bool) {
	given := 0
	for port, g := range in.gathers {
		if g == nil {
			continue
		}
		for i := 0; i < len(g.open); {
			if !which(g.open[i].partition) {
				i++
				continue
			}
			if given == maxGiven {
				return true
			}
			given++
			in.passGathered(port, g.close(i))
		}
	}
	return false
}

// uncut chooses at a tick: rows that nothing else will have given out, of a source without cuts and of a partition that is gone.
func uncut(p *sdk.Partition) bool { return p == nil || p.IsGone() }

func whatever(*sdk.Partition) bool { return true }
