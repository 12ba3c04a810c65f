package delivery_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/sdktest"
	"github.com/weirflow/weir/sdk/sdktest/delivery"
)

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

func TestSinksConform(t *testing.T) {
	var world *delivery.Memory
	b := current{&world}
	set := func(c delivery.Config) { world = delivery.NewMemory(c) }
	stored := func(t testing.TB, _ any) int {
		tally, err := world.Tally(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, c := range tally.Stores["node"].Times {
			for _, k := range c {
				n += int(k)
			}
		}
		return n
	}
	for _, c := range []struct {
		name    string
		plugin  sdk.Plugin
		world   delivery.Config
		config  any
		refuses bool
		stored  func(testing.TB, any) int
	}{
		{"keyed", delivery.Store(b), delivery.Config{}, &delivery.StoreConfig{}, false, stored},
		{"keyed, asynchronous", delivery.Store(b), delivery.Config{}, &delivery.StoreConfig{Async: true, Latency: time.Millisecond}, false, stored},
		{"keyed, late and down", delivery.Store(b), delivery.Config{Late: 0.5, LateBy: 30 * time.Millisecond, DownEvery: 20 * time.Millisecond, DownFor: 10 * time.Millisecond},
			&delivery.StoreConfig{Async: true, Latency: time.Millisecond}, false, stored},
		{"bad rows", delivery.Store(b), delivery.Config{Bad: 13}, &delivery.StoreConfig{}, true, stored},
		{"bad rows, asynchronous", delivery.Store(b), delivery.Config{Bad: 13}, &delivery.StoreConfig{Async: true}, true, stored},
		{"unkeyed", delivery.Unkeyed(b), delivery.Config{}, &delivery.StoreConfig{}, false, stored},
		{"files", delivery.Files(b), delivery.Config{}, &delivery.FilesConfig{Rows: 250, Age: 20 * time.Millisecond}, false, stored},
	} {
		t.Run(c.name, func(t *testing.T) {
			sdktest.Sink(t, c.plugin, sdktest.SinkCase{In: delivery.Schema, Input: records, Refuses: c.refuses, Stored: c.stored,
				Config: func(testing.TB) any { set(c.world); return c.config }})
		})
	}
}
