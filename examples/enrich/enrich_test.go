package enrich

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/core/engine"
	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/processors/decode"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/sdktest"
	"github.com/weirflow/weir/sinks/discard"
	"github.com/weirflow/weir/sources/generate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var flows = sdk.NewSchema(
	sdk.Field{Name: "bytes", Type: sdk.Uint64},
	sdk.Field{Name: "packets", Type: sdk.Uint64},
)

// The suite drives it as the core does, and as unkindly as the core may: beside a sibling that adds columns to the same batch, too.
func TestConformance(t *testing.T) {
	sdktest.Processor(t, Plugin, sdktest.ProcessorCase{Name: "random flows", In: flows},
		sdktest.ProcessorCase{Name: "flows as they are", In: flows, Batches: 1,
			Input: func(_ *rand.Rand, b *sdk.Batch) {
				copy(sdk.Claim[uint64](b, 0, 0, 3), []uint64{9000, 128, 0})
				copy(sdk.Claim[uint64](b, 1, 0, 3), []uint64{6, 2, 0})
				b.SetRows(3)
			},
			Check: func(t testing.TB, out map[int]sdktest.Rows, _ []string) {
				want := sdktest.Rows{
					{uint64(9000), uint64(6), uint64(1500), "large"},
					{uint64(128), uint64(2), uint64(64), "small"},
					{uint64(0), uint64(0), uint64(0), "small"},
				}
				if d := cmp.Diff(want, out[0]); d != "" {
					t.Errorf("(-want +got)\n%s", d)
				}
			}},
	)
}

// In a pipeline, in front of two branches of which one wants both columns and one wants none.
func TestInAPipeline(t *testing.T) {
	p, d := config.Parse("enrich.yaml", []byte(`
sources:
  exporters: { type: generate, with: { records: 5000 } }
processors:
  - { id: decode, type: decode }
  - { id: sizes, type: packet_size }
sinks:
  all: { type: discard, from: sizes, with: { columns: [packet_size, size_class, src_addr] } }
  few: { type: discard, from: sizes, with: { columns: [src_addr] } }
`), config.Options{Plugins: config.NewRegistry(generate.Plugin, decode.Plugin, Plugin, discard.Plugin)})
	if d.Failed() {
		t.Fatalf("%+v", d.List)
	}
	pl, list := plan.Resolve(p, plan.Options{})
	if len(list) > 0 {
		t.Fatalf("%+v", list)
	}
	r, err := engine.New(pl, engine.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	r.Start()
	if err := r.Wait(); err != nil {
		t.Fatal(err)
	}
	if rep := r.Report(); !rep.Balanced || rep.Delivered != 10_000 {
		t.Errorf("%d delivered, unbalanced: %v", rep.Delivered, rep.Unbalanced)
	}
	if m := r.Memory(); m.Held != 0 {
		t.Errorf("%d bytes are held when the run is over", m.Held)
	}
}

// mostAllocations is what a batch may allocate.
const mostAllocations = 0

func TestAllocations(t *testing.T) {
	cycle, end := cycle(t)
	defer end()
	if n := testing.AllocsPerRun(100, cycle); n > mostAllocations {
		t.Errorf("%v allocations a batch, at most %d are allowed", n, mostAllocations)
	}
}

func BenchmarkProcess(b *testing.B) {
	cycle, end := cycle(b)
	defer end()
	b.ReportAllocs()
	for b.Loop() {
		cycle()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/sdk.MaxRows, "ns/record")
}

// cycle gives the processor a full batch that another holds too, and lets its output go.
func cycle(t testing.TB) (one, end func()) {
	env := &sdk.Env{Books: new(sdk.Books), Pool: sdk.NewPool(nil), In: flows}
	env.Out, _ = Plugin.Spec.Output(nil, flows)
	p, err := Plugin.Processor(env, nil)
	if err != nil {
		t.Fatal(err)
	}
	in := env.NewBatch(flows, sdk.MaxRows)
	sdktest.Fill(rand.New(rand.NewPCG(1, 2)), in, sdk.MaxRows)
	in.Seal()
	var out drop
	return func() {
			if err := p.Process(in.Share(nil, false), &out); err != nil {
				t.Fatal(err)
			}
		}, func() {
			in.Done(sdk.Delivered)
			in.Release()
		}
}

// drop takes what is given out and lets it go.
type drop struct{}

func (*drop) Emit(_ int, b *sdk.Batch)    { b.Done(sdk.Delivered); b.Release() }
func (*drop) Error(*sdk.Batch, sdk.Fault) {}
