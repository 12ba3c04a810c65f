package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/core/engine"
	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/processors/filter"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/sdktest"
	"github.com/weirflow/weir/sinks/discard"
)

// wideFlows has 20 columns of 131 bytes in all, as a collector's; a and b are random, 0 to 99.
var wideFlows = func() *sdk.Schema {
	fields := []sdk.Field{{Name: "a", Type: sdk.Uint64}, {Name: "b", Type: sdk.Uint16}, {Name: "src_addr", Type: sdk.Addr}, {Name: "dst_addr", Type: sdk.Addr},
		{Name: "next_hop", Type: sdk.Addr}, {Name: "exporter_addr", Type: sdk.Addr}, {Name: "exporter_name", Type: sdk.Name}}
	for i, t := range []sdk.Type{sdk.Uint8, sdk.Uint8, sdk.Uint8, sdk.Uint16, sdk.Uint32, sdk.Uint32, sdk.Uint32, sdk.Uint32,
		sdk.Uint64, sdk.Timestamp, sdk.Timestamp, sdk.Timestamp, sdk.Uint16} {
		fields = append(fields, sdk.Field{Name: fmt.Sprint("c", i), Type: t})
	}
	return sdk.NewSchema(fields...)
}()

// prepared is a source that hands out one batch again and again.
type prepared struct {
	env     *sdk.Env
	batch   *sdk.Batch
	batches int
	opened  bool
}

func preparedPlugin(batches int) sdk.Plugin {
	return sdk.Plugin{
		Spec: sdk.Spec{Kind: sdk.KindSource, Type: "prepared", Doc: "one batch again and again", Config: func() any { return &struct{}{} },
			Output: func(any, *sdk.Schema) ([]*sdk.Schema, error) { return []*sdk.Schema{wideFlows}, nil },
			Lanes:  func(any) (int, bool) { return 1, true }, Slowable: true},
		Source: func(env *sdk.Env, _ any) (sdk.Source, error) {
			r := rand.New(rand.NewPCG(1, 2))
			b := sdk.NewPool(nil).Get(env.Out[0], sdk.MaxRows)
			for i := range env.Out[0].Len() {
				b.Claim(i, 0, sdk.MaxRows)
			}
			for i := range sdk.MaxRows {
				sdk.Claim[uint64](b, 0, i, 1)[0] = uint64(r.IntN(100))
				sdk.Claim[uint16](b, 1, i, 1)[0] = uint16(r.IntN(100))
			}
			b.SetDict(6, sdk.NewDict())
			clear(sdk.Claim[uint16](b, 6, 0, sdk.MaxRows))
			b.SetRows(sdk.MaxRows)
			b.Seal()
			return &prepared{env: env, batch: b, batches: batches}, nil
		},
	}
}

func (s *prepared) Accept(context.Context) (sdk.Reader, error) {
	if s.opened {
		return nil, io.EOF
	}
	s.opened = true
	return s, nil
}
func (s *prepared) Partition() *sdk.Partition   { return nil }
func (s *prepared) Ready() <-chan struct{}      { return nil }
func (s *prepared) Stop(context.Context) error  { return nil }
func (s *prepared) Close(context.Context) error { return nil }
func (s *prepared) Read(context.Context, time.Duration) (*sdk.Batch, error) {
	if s.batches == 0 {
		return nil, io.EOF
	}
	s.batches--
	s.env.Books.Received.Add(sdk.MaxRows)
	return s.batch.Share(nil, false), nil
}

// runFilters runs one filter or two behind each other, then discard, over batches, and returns what it allocated.
func runFilters(t testing.TB, filters, keep, batches int, queue string) uint64 {
	t.Helper()
	text := fmt.Sprintf("sources:\n  in: {type: prepared}\nprocessors:\n  - {id: one, type: filter, with: {when: a < %d}}\n", keep)
	if filters == 2 {
		text += fmt.Sprintf("  - {id: two, type: filter, with: {when: b < %d}}\n", keep)
	}
	text += fmt.Sprintf("sinks:\n  out: {type: discard%s}\n", queue)
	p, d := config.Parse("filters.yaml", []byte(text), config.Options{Plugins: config.NewRegistry(preparedPlugin(batches), filter.Plugin, discard.Plugin)})
	if d.Failed() {
		t.Fatal(d.List)
	}
	pl, list := plan.Resolve(p, plan.Options{CPUs: 1})
	if pl == nil {
		t.Fatal(list)
	}
	r, err := engine.New(pl, engine.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	before := sdktest.Mallocs()
	r.Start()
	if err := r.Wait(); err != nil {
		t.Fatal(err)
	}
	mallocs := sdktest.Mallocs() - before
	if rep := r.Report(); !rep.Balanced || rep.Received != uint64(batches)*sdk.MaxRows {
		t.Fatalf("%d received, %v", rep.Received, rep.Unbalanced)
	}
	return mallocs
}

// The cost of one filter or two behind each other, per record that enters the first: fused, where the second and the sink read the
// selection, and in front of a queue, where it is gathered once.
func BenchmarkFilters(b *testing.B) {
	for _, c := range []struct {
		name, queue string
		filters     int
	}{{"two, fused", "", 2}, {"two, queue", ", queue: {batches: 16}", 2}, {"one, queue", ", queue: {batches: 16}", 1}} {
		for _, keep := range []int{5, 50, 95} {
			b.Run(fmt.Sprintf("%s/keep=%d%%", c.name, keep), func(b *testing.B) {
				before := sdktest.Mallocs()
				b.ResetTimer()
				runFilters(b, c.filters, keep, b.N, c.queue)
				sdktest.ReportRecords(b, b.N*sdk.MaxRows, before)
			})
		}
	}
}

// Guarantees: two filters and the sink behind them allocate nothing for a batch, in place or gathered.
func TestFiltersDoNotAllocate(t *testing.T) {
	const batches = 2000
	for _, queue := range []string{"", ", queue: {batches: 16}"} {
		// What a run allocates once: its lanes, goroutines, the first batches.
		if n := (float64(runFilters(t, 2, 50, batches, queue)) - 2500) / batches; n > 0.1 {
			t.Errorf("queue %q: %.2f allocations a batch", queue, n)
		}
	}
}
