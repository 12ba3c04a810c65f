package engine

import (
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/sdktest/delivery"
)

// A hundred partitions at ten rows a second each, behind open batches that are given out only when full or cut, into a keyed sink
// at `age: 1s`. What is open of each partition must cost little, and cuts by age are bounded for all of them together (DESIGN 7).
func TestTricklingPartitionsCostLittle(t *testing.T) {
	seconds := uint64(60)
	if testing.Short() {
		seconds = 12 // as many blocks a second, of as many partitions
	}
	synctest.Test(t, func(t *testing.T) {
		const (
			partitions = 100
			mostHeld   = 64 << 20
			mostHeap   = 128 << 20 // with what the world remembers and the collector has not yet taken
			mostBlocks = 10        // a second
		)
		world := delivery.NewMemory(delivery.Config{Partitions: partitions, Rate: 10, Session: 10 * time.Second})
		var mem counting
		r := numberedRun(t, world, `
drain_timeout: 2s
sources:
  in: {type: numbered, with: {rows: 50, beat: 500ms}}
processors:
  - {id: stamp, type: stamp}
  - {id: half, type: half}
sinks:
  a: {type: keyed_store, batch: {rows: 100000, age: 1s}, with: {latency: 5ms}}
`, Options{CPUs: 2, Pool: sdk.NewPool(&mem)})
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		r.Start()
		time.Sleep(5 * time.Second) // all partitions are assigned
		from := blocksOf(r, "a")
		most, inUse := int64(0), int64(0)
		for range seconds * 10 {
			time.Sleep(100 * time.Millisecond)
			most, inUse = max(most, r.QueueStats()["a"].Bytes), max(inUse, r.pool.InUse())
		}
		blocks := blocksOf(r, "a") - from
		runtime.GC()
		runtime.ReadMemStats(&after)
		heap := int64(after.HeapAlloc) - int64(before.HeapAlloc)
		t.Logf("queue: at most %d KiB held; pool: %d KiB, at most %d batches out; heap grew by %d KiB; %.1f blocks a second; %+v",
			most>>10, mem.n.Load()>>10, inUse, heap>>10, float64(blocks)/float64(seconds), r.QueueStats()["a"])
		if s := r.QueueStats()["a"]; s.MostBytes > mostHeld {
			t.Errorf("the queue held %d bytes", s.MostBytes)
		}
		if mem.n.Load() > mostHeld {
			t.Errorf("the pool has %d bytes", mem.n.Load())
		}
		if heap > mostHeap {
			t.Errorf("the heap grew by %d bytes", heap)
		}
		if blocks > mostBlocks*seconds+mostBlocks {
			t.Errorf("%d blocks in %d seconds", blocks, seconds)
		}
		if blocks < seconds { // an age of 1 s that gets a tenth of its cuts is still some a second
			t.Errorf("only %d blocks in %d seconds", blocks, seconds)
		}
		r.Stop()
		<-r.Done()
		if err := r.Wait(); err != nil {
			t.Error(err)
		}
		tally, _ := world.Tally(t.Context())
		if err := delivery.Check(tally, delivery.Want{Stores: []string{"a"}, Keyed: true, Record: func(x delivery.Record) bool { return x.Number%2 == 0 }}).Err(); err != nil {
			t.Error(err)
		}
		balanced(t, r)
	})
}

// halfPlugin keeps every other record, in one open batch a partition that is given out when it is full or cut, not at a tick; one that
// is given out nearly empty is copied into a smaller one. So does the filter.
var halfPlugin = sdk.Plugin{
	Spec: sdk.Spec{Kind: sdk.KindProcessor, Type: "half", Doc: "keeps even numbers", Config: func() any { return &struct{}{} }, KeepsRange: true, Deterministic: true},
	Processor: func(env *sdk.Env, _ any) (sdk.Processor, error) {
		return &half{env: env, all: sdk.NewGather(env.In, env.Out[0]), open: map[*sdk.Partition]*sdk.Batch{}}, nil
	},
}

type half struct {
	env  *sdk.Env
	all  *sdk.Gather
	open map[*sdk.Partition]*sdk.Batch
	rows []uint16
}

func (h *half) Process(b *sdk.Batch, out sdk.Out) error {
	h.rows = h.rows[:0]
	for i, n := range sdk.Values[uint64](b, b.Schema().Index("number")) {
		if n%2 == 0 {
			h.rows = append(h.rows, uint16(i))
		}
	}
	h.env.Books.Filtered.Add(uint64(b.Rows() - len(h.rows)))
	h.env.Books.Forwarded.Add(uint64(len(h.rows)))
	h.env.Books.Open.Add(int64(len(h.rows)))
	p := b.Range().Partition
	for rows := h.rows; len(rows) > 0; {
		o := h.open[p]
		if o == nil {
			o = h.env.NewBatch(h.env.Out[0], sdk.MaxRows)
			h.open[p] = o
		}
		o.Derive(b)
		rows = rows[h.all.Append(o, b, rows, 0):]
		if o.Room() == 0 {
			h.give(p, out)
		}
	}
	b.Done(sdk.Delivered)
	b.Release()
	return nil
}

func (h *half) give(p *sdk.Partition, out sdk.Out) {
	o := h.open[p]
	delete(h.open, p)
	o.Seal()
	h.env.Books.Open.Add(-int64(o.Rows()))
	if sdk.SizeClass(o.Rows()) < o.Size() && o.Rows() < o.Size()/4 {
		small := h.env.NewBatch(o.Schema(), o.Rows())
		sdk.NewGather(o.Schema(), o.Schema()).Append(small, o, nil, o.Rows())
		small.Derive(o)
		small.Seal()
		o.Done(sdk.Delivered)
		o.Release()
		o = small
	}
	out.Emit(0, o)
}

func (h *half) Tick(time.Time, bool, sdk.Out) (bool, error) { return false, nil }
func (h *half) Flush(p *sdk.Partition, _ bool, out sdk.Out) (int, bool, error) {
	if h.open[p] != nil {
		h.give(p, out)
	}
	return 0, false, nil
}
func (h *half) Drain(_ sdk.Why, _ bool, out sdk.Out) (bool, error) {
	for p := range h.open {
		h.give(p, out)
	}
	return false, nil
}
func (h *half) Close() error { return nil }

func blocksOf(r *Run, id string) (n uint64) {
	for _, x := range r.Report().Nodes {
		if x.ID == id {
			n = x.Blocks
		}
	}
	return n
}

// counting is an allocator that knows how much it has given out: what is in a pool's batches, the free ones included.
type counting struct {
	n atomic.Int64
}

func (c *counting) Allocate(n int) []byte {
	c.n.Add(int64(n))
	return make([]byte, n+64)[:n]
}
func (c *counting) Reallocate(n int, b []byte) []byte {
	x := c.Allocate(n)
	copy(x, b)
	c.Free(b)
	return x
}
func (c *counting) Free(b []byte) { c.n.Add(-int64(len(b))) }
