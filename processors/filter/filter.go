package filter

import (
	"slices"
	"time"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/expr"
)

const (
	// maxOut is how many batches a call gives out, but for Process.
	maxOut = 4
	// maxBytes is when an open batch is given out before it has all its rows: payloads can be long.
	maxBytes = 4 << 20
)

// filter is one lane's. Rows that are kept are gathered into one open batch a partition: a batch of which 5 % are kept would
// otherwise hold the memory of all of it in the next queue.
type filter struct {
	program *expr.Program
	gather  *sdk.Gather
	move    *sdk.Gather // between sizes of an output batch
	pool    *sdk.Pool
	books   *sdk.Books
	out     *sdk.Schema
	same    bool // the output's schema is the input's

	rows  []uint16
	open  []opening // a handful, in order of their first row
	total int64     // rows in them
}

// opening is a partition's batch being built.
type opening struct {
	partition *sdk.Partition // nil: of a source without cuts
	b         *sdk.Batch
}

// New makes a lane's instance.
func New(env *sdk.Env, cfg any) (sdk.Processor, error) {
	program, err := expr.Compile(cfg.(*Config).When, env.In, expr.Bool)
	if err != nil {
		return nil, placed(err)
	}
	return &filter{
		program: program,
		gather:  sdk.NewGather(env.In, env.Out[0]),
		move:    sdk.NewGather(env.Out[0], env.Out[0]),
		pool:    env.Pool,
		books:   env.Books,
		out:     env.Out[0],
		same:    env.In == env.Out[0],
	}, nil
}

func (f *filter) Process(b *sdk.Batch, out sdk.Out) error {
	n := b.Rows()
	f.rows = f.program.Select(b, f.rows[:0])
	f.books.Filtered.Add(uint64(n - len(f.rows)))
	f.books.Forwarded.Add(uint64(len(f.rows)))
	p := b.Range().Partition
	switch at := f.find(p); {
	case n == 0:
		finish(b, sdk.Delivered)
	case len(f.rows) == 0:
		finish(b, sdk.Dropped)
	case len(f.rows) == n && at < 0: // nothing of the partition waits that would be overtaken
		f.pass(b, out)
	default:
		f.add(b, p, at, out)
		finish(b, sdk.Delivered)
	}
	f.books.Open.Set(f.total)
	return nil
}

func finish(b *sdk.Batch, o sdk.Outcome) {
	b.Done(o)
	b.Release()
}

// find is the position of the partition's open batch, -1 if there is none.
func (f *filter) find(p *sdk.Partition) int {
	for i := range f.open {
		if f.open[i].partition == p {
			return i
		}
	}
	return -1
}

// pass gives b on without copying it.
func (f *filter) pass(b *sdk.Batch, out sdk.Out) {
	if f.same {
		out.Emit(0, b)
		return
	}
	s := b.Share(f.out, true)
	finish(b, sdk.Delivered)
	out.Emit(0, s)
}

// add gathers the selected rows of b.
func (f *filter) add(b *sdk.Batch, p *sdk.Partition, at int, out sdk.Out) {
	for rows := f.rows; len(rows) > 0; {
		if at < 0 {
			at = len(f.open)
			f.open = append(f.open, opening{p, f.pool.Get(f.out, len(rows))})
		}
		o := &f.open[at]
		if o.b.Room() < len(rows) && o.b.Size() < sdk.MaxRows {
			// The next class, so that a partition that trickles holds 256 rows, not 8,192.
			o.b = f.resize(o.b, min(o.b.Rows()+len(rows), sdk.MaxRows))
		}
		var k int
		if len(rows) == b.Rows() && len(rows) <= o.b.Room() {
			k = f.gather.Append(o.b, b, nil, len(rows)) // all of it: copied column by column
		} else {
			k = f.gather.Append(o.b, b, rows, 0)
		}
		o.b.Derive(b)
		f.total += int64(k)
		rows = rows[k:]
		if o.b.Rows() == sdk.MaxRows || o.b.Held() >= f.limit(o.b) {
			f.emit(at, out)
			at = -1
		}
	}
}

// limit is what a batch may hold of memory: all its rows, and maxBytes of values of variable length.
func (f *filter) limit(b *sdk.Batch) int {
	return b.Size()*f.out.RowBytes() + f.out.Len()*64 + maxBytes
}

// resize moves the rows of b to a batch of the smallest size that holds rows.
func (f *filter) resize(b *sdk.Batch, rows int) *sdk.Batch {
	b.Seal()
	moved := f.pool.Get(f.out, rows)
	f.move.Append(moved, b, nil, b.Rows())
	moved.Derive(b)
	finish(b, sdk.Delivered)
	return moved
}

// emit gives out the open batch at position at.
func (f *filter) emit(at int, out sdk.Out) {
	b := f.open[at].b
	f.open = slices.Delete(f.open, at, at+1)
	f.total -= int64(b.Rows())
	if b.Rows() < b.Size()/4 && sdk.SizeClass(b.Rows()) < b.Size() {
		b = f.resize(b, b.Rows())
	}
	b.Seal()
	out.Emit(0, b)
}

// emitIf gives out the open batches that which chooses, at most maxOut; more says that there are others.
func (f *filter) emitIf(which func(p *sdk.Partition) bool, out sdk.Out) (more bool) {
	given := 0
	for i := 0; i < len(f.open); {
		if !which(f.open[i].partition) {
			i++
			continue
		}
		if given == maxOut {
			more = true
			break
		}
		f.emit(i, out)
		given++
	}
	f.books.Open.Set(f.total)
	return more
}

// Tick gives out what has waited and will not be flushed: rows of a source without cuts, and of a partition that is gone.
func (f *filter) Tick(now time.Time, blocked bool, out sdk.Out) (more bool, err error) {
	if blocked {
		return false, nil
	}
	return f.emitIf(func(p *sdk.Partition) bool { return p == nil || p.IsGone() }, out), nil
}

func (f *filter) Flush(p *sdk.Partition, force bool, out sdk.Out) (held int, more bool, err error) {
	return 0, f.emitIf(func(of *sdk.Partition) bool { return p == nil || of == p }, out), nil
}

func (f *filter) Drain(why sdk.Why, last bool, out sdk.Out) (more bool, err error) {
	return f.emitIf(func(*sdk.Partition) bool { return true }, out), nil
}

// Close after a failure may find rows that were not drained: their source reads them again.
func (f *filter) Close() error {
	for _, o := range f.open {
		finish(o.b, sdk.Failed)
	}
	f.open, f.total = nil, 0
	return nil
}
