package engine

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/sdktest"
)

// feed hands out n batches of rows rows that cost nothing to make, then ends.
type feedConfig struct {
	Batches int           `yaml:"batches" doc:"batches of each reader"`
	Rows    int           `yaml:"rows" doc:"rows of a batch"`
	Every   time.Duration `yaml:"every" doc:"pause before each batch; asked not to wait, there is none"`
	Awake   bool          `yaml:"awake" doc:"do not sleep in the pause: the processors stay awake"`
	Readers int           `yaml:"readers" doc:"readers"`
	Work    int           `yaml:"work" doc:"rounds of arithmetic before each batch"`
}

func feedPlugin(columns int) sdk.Plugin {
	var fs []sdk.Field
	for i := range columns {
		fs = append(fs, sdk.Field{Name: string(rune('a'+i%26)) + string(rune('a'+i/26)), Type: sdk.Uint64})
	}
	schema := sdk.NewSchema(fs...)
	return sdk.Plugin{
		Spec: sdk.Spec{Kind: sdk.KindSource, Type: "feed", Doc: "batches without content", Config: func() any { return &feedConfig{Batches: 1, Rows: sdk.MaxRows, Readers: 1} },
			Output: func(any, *sdk.Schema) ([]*sdk.Schema, error) { return []*sdk.Schema{schema}, nil },
			Lanes:  func(cfg any) (int, bool) { return cfg.(*feedConfig).Readers, true }},
		Source: func(env *sdk.Env, cfg any) (sdk.Source, error) {
			return &feedSource{env: env, c: *cfg.(*feedConfig)}, nil
		},
	}
}

type feedSource struct {
	env  *sdk.Env
	c    feedConfig
	next int
}

func (s *feedSource) Accept(context.Context) (sdk.Reader, error) {
	if s.next == s.c.Readers {
		return nil, io.EOF
	}
	s.next++
	return &feedReader{s: s, left: s.c.Batches}, nil
}
func (s *feedSource) Stop(context.Context) error  { return nil }
func (s *feedSource) Close(context.Context) error { return nil }

type feedReader struct {
	s    *feedSource
	left int
	x    uint64
}

func (r *feedReader) Partition() *sdk.Partition   { return nil }
func (r *feedReader) Ready() <-chan struct{}      { return nil }
func (r *feedReader) Close(context.Context) error { return nil }
func (r *feedReader) Read(_ context.Context, wait time.Duration) (*sdk.Batch, error) {
	if r.left == 0 {
		return nil, io.EOF
	}
	if r.s.c.Every > 0 {
		if wait < r.s.c.Every {
			return nil, nil
		}
		if r.s.c.Awake {
			for until := time.Now().Add(r.s.c.Every); time.Now().Before(until); {
			}
		} else {
			time.Sleep(r.s.c.Every)
		}
	}
	r.left--
	for range r.s.c.Work {
		r.x = r.x*6364136223846793005 + 1442695040888963407
	}
	b := r.s.env.Pool.Get(r.s.env.Out[0], r.s.c.Rows)
	b.SetRows(r.s.c.Rows)
	b.Seal()
	r.s.env.Books.Received.Add(uint64(r.s.c.Rows))
	return b, nil
}

// null takes and settles.
func nullPlugin(fuses bool) sdk.Plugin {
	name := "queued"
	if fuses {
		name = "fused"
	}
	return sdk.Plugin{
		Spec: sdk.Spec{Kind: sdk.KindSink, Type: name, Doc: "takes and settles", Config: func() any { return &struct{}{} }, Fuses: fuses, Selections: fuses},
		Sink: func(*sdk.Env, any) (sdk.Sink, error) { return readErrors{}, nil },
	}
}

func cpuTime() time.Duration {
	var ru syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// measure runs a pipeline over b.N batches and reports CPU and allocations of one.
func measure(b *testing.B, columns int, text string) {
	s := newStores()
	text = fmt.Sprintf(text, b.N)
	r := running(b, s, text, feedPlugin(columns), nullPlugin(true), nullPlugin(false))
	var m0, m1 runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m0)
	c0 := cpuTime()
	b.ResetTimer()
	r.Start()
	if err := r.Wait(); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	c1 := cpuTime()
	runtime.ReadMemStats(&m1)
	b.ReportMetric(float64(c1-c0)/float64(b.N), "cpu-ns/batch")
	b.ReportMetric(float64(m1.Mallocs-m0.Mallocs)/float64(b.N), "allocs/batch")
}

// What the engine itself costs: a batch read, passed through a chain and settled, without any work on its rows.
func BenchmarkBookkeeping(b *testing.B) {
	for name, text := range map[string]string{
		"fused": `
sources:
  in: {type: feed, with: {batches: %d}}
sinks:
  out: {type: fused}`,
		"fan-out of two": `
sources:
  in: {type: feed, with: {batches: %d}}
sinks:
  one: {type: fused}
  two: {type: fused}`,
	} {
		b.Run(name, func(b *testing.B) { measure(b, 20, text) })
	}
}

// every selects each row whose number can be divided, and costs nearly nothing else.
type everyConfig struct {
	Of int `yaml:"of" doc:"selects the rows whose number this divides"`
}

var everyPlugin = sdk.Plugin{
	Spec: sdk.Spec{Kind: sdk.KindProcessor, Type: "every", Doc: "selects rows by their number", Config: func() any { return &everyConfig{Of: 2} }, KeepsRange: true,
		Deterministic: true, Selections: true},
	Processor: func(env *sdk.Env, cfg any) (sdk.Processor, error) {
		of := cfg.(*everyConfig).Of
		var rows []uint16
		return still{process: func(b *sdk.Batch, out sdk.Out) {
			rows = rows[:0]
			for _, r := range records(b) {
				if int(r)%of == 0 {
					rows = append(rows, r)
				}
			}
			env.Books.Forwarded.Add(uint64(len(rows)))
			env.Books.Filtered.Add(uint64(b.Rows() - len(rows)))
			v := b.Select(rows)
			b.Done(sdk.Delivered)
			b.Release()
			out.Emit(0, v)
		}}, nil
	},
}

// A steady stream costs the engine no allocation, with selections or without.
func TestNoAllocationPerBatch(t *testing.T) {
	const (
		batches = 50_000
		chosen  = `
sources:
  in: {type: feed, with: {batches: %d, rows: 200}}
processors:
  - {id: first, type: every, with: {of: 2}}
  - {id: second, type: every, with: {of: 4}}
sinks:
  out: `
	)
	for name, text := range map[string]string{
		"fused": `
sources:
  in: {type: feed, with: {batches: %d}}
sinks:
  out: {type: fused}`,
		"queued": `
sources:
  in: {type: feed, with: {batches: %d}}
sinks:
  out: {type: queued, queue: {batches: 16}}`,
		"selections read in place":        chosen + `{type: fused}`,
		"selections gathered for a queue": chosen + `{type: queued, queue: {batches: 16}}`,
	} {
		t.Run(name, func(t *testing.T) {
			r := running(t, newStores(), fmt.Sprintf(text, batches), feedPlugin(20), everyPlugin, nullPlugin(true), nullPlugin(false))
			before := sdktest.Mallocs()
			r.Start()
			if err := r.Wait(); err != nil {
				t.Fatal(err)
			}
			// What a run allocates once: goroutines, timers, the first batches.
			if n := (float64(sdktest.Mallocs()-before) - 1000) / batches; n > 0.05 {
				t.Errorf("%.2f allocations a batch", n)
			}
		})
	}
}
