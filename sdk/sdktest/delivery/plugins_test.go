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

// numbers of a port's rows.
func numbers(rows sdktest.Rows) (ns []uint64) {
	for _, row := range rows {
		ns = append(ns, row[delivery.ColNumber].(uint64))
	}
	return ns
}

func TestProcessorsConform(t *testing.T) {
	empties, route := delivery.EmptiesConfig{Run: 40, Of: 3}, delivery.RouteConfig{Ports: []string{"x", "y", "z"}, Run: 11}
	for _, c := range []struct {
		plugin sdk.Plugin
		config any
		check  func(t testing.TB, out map[int]sdktest.Rows)
	}{
		{delivery.Empties, &empties, func(t testing.TB, out map[int]sdktest.Rows) {
			for _, n := range numbers(out[0]) {
				if !empties.Kept(n) {
					t.Errorf("record %d came through", n)
				}
			}
		}},
		{delivery.Sieve, &empties, func(t testing.TB, out map[int]sdktest.Rows) {
			for _, n := range numbers(out[0]) {
				if !empties.Kept(n) {
					t.Errorf("record %d came through", n)
				}
			}
		}},
		{delivery.Route, &route, func(t testing.TB, out map[int]sdktest.Rows) {
			for port := range 3 {
				for _, n := range numbers(out[port]) {
					if route.Port(n) != port {
						t.Errorf("record %d came out at port %d", n, port)
					}
				}
			}
		}},
		{delivery.FickleRoute, &route, nil},
		{delivery.Stamp, &delivery.StampConfig{Generation: 4}, func(t testing.TB, out map[int]sdktest.Rows) {
			for _, row := range out[0] {
				if row[delivery.ColGeneration] != uint64(4) {
					t.Errorf("record %d has generation %v", row[delivery.ColNumber], row[delivery.ColGeneration])
				}
			}
		}},
		{delivery.Lose, &delivery.LoseConfig{Bucket: 100, Every: 300 * time.Millisecond}, nil},
		{delivery.Park(delivery.NewMemory(delivery.Config{})), &delivery.ParkConfig{Every: 7, Offset: 3, Ticks: 2}, nil},
	} {
		t.Run(c.plugin.Spec.Type, func(t *testing.T) {
			sdktest.Processor(t, c.plugin, sdktest.ProcessorCase{In: delivery.Schema, Input: records, Config: c.config,
				Check: func(t testing.TB, out map[int]sdktest.Rows, _ []string) {
					if len(out[0]) == 0 {
						t.Error("nothing came out")
					}
					if c.check != nil {
						c.check(t, out)
					}
				}})
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
