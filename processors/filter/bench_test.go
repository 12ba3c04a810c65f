package filter

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/weirflow/weir/sdk"
)

// flows has 20 columns of 131 bytes in all, as a collector's.
var flows = func() *sdk.Schema {
	fields := []sdk.Field{{Name: "bytes", Type: sdk.Uint64}, {Name: "src_addr", Type: sdk.Addr}, {Name: "dst_addr", Type: sdk.Addr},
		{Name: "next_hop", Type: sdk.Addr}, {Name: "exporter_addr", Type: sdk.Addr}, {Name: "exporter_name", Type: sdk.Name}}
	for i, t := range []sdk.Type{sdk.Uint8, sdk.Uint8, sdk.Uint8, sdk.Uint16, sdk.Uint16, sdk.Uint32, sdk.Uint32, sdk.Uint32, sdk.Uint32,
		sdk.Uint64, sdk.Timestamp, sdk.Timestamp, sdk.Timestamp, sdk.Uint16} {
		fields = append(fields, sdk.Field{Name: fmt.Sprint("c", i), Type: t})
	}
	return sdk.NewSchema(fields...)
}()

func full(pool *sdk.Pool) *sdk.Batch {
	r := rand.New(rand.NewPCG(1, 2))
	b := pool.Get(flows, sdk.MaxRows)
	for i := range flows.Len() {
		b.Claim(i, 0, sdk.MaxRows)
	}
	for i := range sdk.MaxRows {
		sdk.Claim[uint64](b, 0, i, 1)[0] = uint64(r.IntN(100))
	}
	b.SetDict(5, sdk.NewDict())
	clear(sdk.Claim[uint16](b, 5, 0, sdk.MaxRows))
	b.SetRows(sdk.MaxRows)
	b.Seal()
	return b
}

// recycler is an Out that lets go of everything.
type recycler struct{ rows int }

func (o *recycler) Emit(_ int, b *sdk.Batch) {
	o.rows += b.Rows()
	finish(b, sdk.Delivered)
}
func (o *recycler) Error(*sdk.Batch, sdk.Fault) {}

func BenchmarkProcess(b *testing.B) {
	for _, keep := range []int{5, 50, 95, 100} {
		b.Run(fmt.Sprintf("keep=%d%%", keep), func(b *testing.B) {
			pool := sdk.NewPool(nil)
			f, _ := newFilter(b, sdk.Expr(fmt.Sprintf("bytes < %d", keep)), flows, flows, pool)
			batch, out := full(pool), &recycler{}
			var s settled
			b.ReportAllocs()
			for b.Loop() {
				in := batch.Share(nil, false)
				in.Track(&s)
				if err := f.Process(in, out); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/sdk.MaxRows, "ns/record")
			b.ReportMetric(float64(out.rows)/float64(b.N)/sdk.MaxRows, "kept")
		})
	}
}

// Guarantees: in a steady stream a batch costs no allocation, however much of it is kept.
func TestProcessDoesNotAllocate(t *testing.T) {
	for _, keep := range []int{5, 50, 95, 100} {
		pool := sdk.NewPool(nil)
		f, _ := newFilter(t, sdk.Expr(fmt.Sprintf("bytes < %d", keep)), flows, flows, pool)
		batch, out := full(pool), &recycler{}
		var s settled
		process := func() {
			in := batch.Share(nil, false)
			in.Track(&s)
			if err := f.Process(in, out); err != nil {
				t.Fatal(err)
			}
		}
		for range 100 { // until the pool and the promises have their size
			process()
		}
		if n := testing.AllocsPerRun(100, process); n != 0 {
			t.Errorf("keeping %d%%: %v allocations a batch, want 0", keep, n)
		}
	}
}
