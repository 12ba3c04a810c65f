package engine

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirflow/weir/sdk"
)

// hoardPlugin holds what it gets: until a tick, or with `late: true` until 300 more have come.
type hoardConfig struct {
	Late bool `yaml:"late" doc:"what is held waits for newer input, not for a tick"`
}

var hoardPlugin = sdk.Plugin{
	Spec: sdk.Spec{Kind: sdk.KindProcessor, Type: "hoard", Doc: "holds what it gets", Config: func() any { return &hoardConfig{} }, KeepsRange: true,
		Output: func(_ any, in *sdk.Schema) ([]*sdk.Schema, error) { return []*sdk.Schema{in}, nil }},
	Processor: func(env *sdk.Env, cfg any) (sdk.Processor, error) {
		return &hoard{env: env, late: cfg.(*hoardConfig).Late}, nil
	},
}

type hoard struct {
	env  *sdk.Env
	late bool
	held []*sdk.Batch
}

func (h *hoard) Process(b *sdk.Batch, out sdk.Out) error {
	b.Own()
	h.held = append(h.held, b)
	h.env.Books.Held.Add(int64(b.Rows()))
	if h.late && len(h.held) > 300 {
		h.giveOut(out, 1)
	}
	return nil
}

func (h *hoard) giveOut(out sdk.Out, n int) (more bool, err error) {
	for ; n > 0 && len(h.held) > 0; n-- {
		b := h.held[0]
		h.held = h.held[1:]
		h.env.Books.Held.Add(-int64(b.Rows()))
		h.env.Books.Forwarded.Add(uint64(b.Rows()))
		out.Emit(0, b)
	}
	return len(h.held) > 0, nil
}

func (h *hoard) Tick(_ time.Time, blocked bool, out sdk.Out) (bool, error) {
	if blocked || h.late {
		return false, nil
	}
	return h.giveOut(out, 4)
}
func (h *hoard) Flush(*sdk.Partition, bool, sdk.Out) (int, bool, error) { return 0, false, nil }
func (h *hoard) Drain(_ sdk.Why, _ bool, out sdk.Out) (bool, error)     { return h.giveOut(out, 4) }
func (h *hoard) Close() error                                           { return nil }

// A source that is faster than what stands behind it is not read while batches hold more than the pipeline's budget; a processor that
// needs newer input to let go of older is given it all the same.
func TestMemoryHasABudget(t *testing.T) {
	const batches = 400
	run := func(t *testing.T, late, unbounded bool) (most, budget int64) {
		with := ""
		if late {
			with = ", with: {late: true}"
		}
		r := running(t, newStores(), `
sources:
  in: {type: count, with: {rows: 3276800, batch: 8192, views: true}}
processors:
  - {id: hoard, type: hoard`+with+`}
sinks:
  out: {type: mem, queue: {bytes: 4MiB}, batch: {rows: 8192}, with: {delay: 1ms}}
`, hoardPlugin)
		budget = r.Memory().Budget
		if unbounded {
			r.budget.Store(1 << 60)
		}
		watch := make(chan struct{})
		go func() {
			defer close(watch)
			for {
				select {
				case <-r.Done():
					return
				case <-time.After(time.Millisecond):
					most = max(most, r.Memory().Held)
				}
			}
		}()
		if rep := ends(t, r); rep.Delivered != batches*8192 {
			t.Errorf("%d of %d records were delivered", rep.Delivered, batches*8192)
		}
		<-watch
		if n := r.pool.Held(); n != 0 {
			t.Errorf("%d bytes are held at the end", n)
		}
		return most, budget
	}
	const batch = 300 << 10 // of the source's
	synctest.Test(t, func(t *testing.T) {
		most, budget := run(t, false, false)
		if most > budget+2*batch {
			t.Errorf("%d KiB were held, the budget is %d KiB", most>>10, budget>>10)
		}
		if most < budget/2 {
			t.Errorf("only %d KiB were held: the budget of %d KiB was never tried", most>>10, budget>>10)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		if most, budget := run(t, false, true); most < 2*budget {
			t.Errorf("%d KiB were held without a budget of %d KiB: the test does not show that it is needed", most>>10, budget>>10)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		if most, budget := run(t, true, false); most < 300*batch/2 {
			t.Errorf("%d KiB were held, the budget is %d KiB, and the processor needs more", most>>10, budget>>10)
		}
	})
}
