package delivery_test

import (
	"math/rand/v2"
	"testing"

	"go.uber.org/goleak"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/sdktest"
	"github.com/weirflow/weir/sdk/sdktest/delivery"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// records fills a batch with numbered records of one partition.
func records(r *rand.Rand, b *sdk.Batch) {
	part, first, n := uint32(r.IntN(3)), r.Uint64N(5000), 1+r.IntN(200)
	for i := range n {
		x := delivery.Record{Partition: part, Number: first + uint64(i)}
		sdk.Claim[uint32](b, delivery.ColPartition, i, 1)[0] = x.Partition
		sdk.Claim[uint64](b, delivery.ColNumber, i, 1)[0] = x.Number
		sdk.Claim[int64](b, delivery.ColPosition, i, 1)[0] = int64(x.Number)
		b.SetBytes(delivery.ColPayload, i, x.Payload())
	}
	b.SetRows(n)
}

func TestProcessorsConform(t *testing.T) {
	for _, p := range []sdk.Plugin{
		delivery.Empties, delivery.Route, delivery.FickleRoute, delivery.Stamp, delivery.Lose, delivery.Park(delivery.NewMemory(delivery.Config{})),
	} {
		t.Run(p.Spec.Type, func(t *testing.T) {
			sdktest.Processor(t, p, sdktest.ProcessorCase{In: delivery.Schema, Input: records})
		})
	}
}

func TestSourceConforms(t *testing.T) {
	var world *delivery.Memory
	world = delivery.NewMemory(delivery.Config{Partitions: 3, Records: 700, Gaps: true, Bounded: true})
	// The suite sets a new world up for each run; the plugin asks whichever is there.
	src := delivery.Source(current{&world})
	sdktest.Source(t, src, sdktest.SourceCase{Rows: 3 * 700, Config: func(testing.TB) any {
		world = delivery.NewMemory(delivery.Config{Partitions: 3, Records: 700, Gaps: true, Bounded: true})
		return src.Spec.Config()
	}})
}
