package processor

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
	sdk.Field{Name: "src_port", Type: sdk.Uint16},
	sdk.Field{Name: "dst_port", Type: sdk.Uint16},
)

// The suite drives the plugin as the core does, and as unkindly as the core may.
func TestConformance(t *testing.T) {
	sdktest.Processor(t, Plugin,
		sdktest.ProcessorCase{Name: "random flows", In: flows},
		sdktest.ProcessorCase{Name: "no port is known", Config: &Config{}, In: flows},
	)
}

func TestServicePort(t *testing.T) {
	p := newProcessor(&sdk.Env{In: flows, Out: []*sdk.Schema{flows}}, &Config{Known: []int{8080, 8443}})
	src, dst := []uint16{40000, 53, 5000, 8443, 8080, 0}, []uint16{443, 1024, 8443, 443, 8443, 0}
	got := make([]uint16, len(src))
	p.fill(got, src, dst)
	if d := cmp.Diff([]uint16{443, 53, 8443, 8443, 8080, 0}, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestFaultsAreFound(t *testing.T) {
	want := sdk.Problems{{Path: "known[1]", Message: "70000 is not a port", Help: "ports are 1 to 65535"}}
	if d := cmp.Diff(error(want), (&Config{Known: []int{53, 70000}}).Validate()); d != "" {
		t.Error(d)
	}
}

// In a pipeline the columns that it needs are decoded, and no others.
func TestInAPipeline(t *testing.T) {
	plugins := config.NewRegistry(generate.Plugin, decode.Plugin, Plugin, discard.Plugin)
	p, d := config.Parse("example.yaml", []byte(`
sources:
  exporters: { type: generate, with: { records: 5000 } }
processors:
  - { id: decode, type: decode }
  - { id: service, type: service_port }
sinks:
  out: { type: discard, with: { columns: [service_port, bytes] } }
`), config.Options{Plugins: plugins})
	if d.Failed() {
		t.Fatalf("%+v", d.List)
	}
	pl, list := plan.Resolve(p, plan.Options{})
	if len(list) > 0 {
		t.Fatalf("%+v", list)
	}
	for _, n := range pl.Nodes {
		if want := []string{"src_port", "dst_port", "bytes"}; n.ID == "decode" && !cmp.Equal(want, n.Out[0].Names()) {
			t.Errorf("decode gives %v, want %v", n.Out[0].Names(), want)
		}
	}
	r, err := engine.New(pl, engine.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	r.Start()
	if err := r.Wait(); err != nil {
		t.Fatal(err)
	}
	if rep := r.Report(); !rep.Balanced || rep.Delivered != 5000 {
		t.Errorf("%d delivered, unbalanced: %v", rep.Delivered, rep.Unbalanced)
	}
}

// A batch costs no allocation: the buffer of the new column comes from the pool.
func TestAllocations(t *testing.T) {
	env := &sdk.Env{Books: new(sdk.Books), Pool: sdk.NewPool(nil), In: flows}
	env.Out, _ = output(nil, flows)
	p := newProcessor(env, &Config{})
	in := env.NewBatch(flows, sdk.MaxRows)
	in.SetRows(sdk.MaxRows)
	in.Seal()
	var out drop
	if n := testing.AllocsPerRun(100, func() {
		b := in.Share(nil, false)
		if err := p.Process(b, &out); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations a batch, want none", n)
	}
	in.Done(sdk.Delivered)
	in.Release()
}

func BenchmarkProcess(b *testing.B) {
	env := &sdk.Env{Books: new(sdk.Books), Pool: sdk.NewPool(nil), In: flows}
	env.Out, _ = output(nil, flows)
	p := newProcessor(env, &Config{Known: []int{8080}})
	in := env.NewBatch(flows, sdk.MaxRows)
	sdktest.Fill(rand.New(rand.NewPCG(1, 2)), in, sdk.MaxRows)
	in.Seal()
	var out drop
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Process(in.Share(nil, false), &out); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/sdk.MaxRows, "ns/record")
}

// drop takes what is given out and lets it go.
type drop struct{}

func (*drop) Emit(_ int, b *sdk.Batch)    { b.Done(sdk.Delivered); b.Release() }
func (*drop) Error(*sdk.Batch, sdk.Fault) {}
