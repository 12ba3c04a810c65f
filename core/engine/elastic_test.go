package engine

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/sdk"
)

func TestHowManyLanesAreWanted(t *testing.T) {
	for name, c := range map[string]struct {
		now  load
		want int
	}{
		"work waits and the lanes run":         {load{lanes: 1, min: 1, max: 4, waiting: 3, blocked: 0.1}, 2},
		"work waits and half the time is lost": {load{lanes: 2, min: 1, max: 4, waiting: 3, blocked: 0.5}, 2},
		"work waits and there are all":         {load{lanes: 4, min: 1, max: 4, waiting: 3, blocked: 0}, 4},
		"nothing waits":                        {load{lanes: 2, min: 1, max: 4, waiting: 0, blocked: 0}, 2},
		"they stand before full queues":        {load{lanes: 3, min: 1, max: 4, waiting: 3, blocked: 0.9}, 2},
		"they stand, and it is the least":      {load{lanes: 1, min: 1, max: 4, waiting: 3, blocked: 1}, 1},
		"they stand, and nothing waits":        {load{lanes: 3, min: 2, max: 4, waiting: 0, blocked: 1}, 2},
		"they stand a good part of the time":   {load{lanes: 3, min: 1, max: 4, waiting: 3, blocked: 0.8}, 3},
	} {
		if got := lanesWanted(c.now); got != c.want {
			t.Errorf("%s: %+v gives %d lanes, want %d", name, c.now, got, c.want)
		}
	}
}

// Between a look and the next the number moves by one at most, and never past its bounds.
func TestTheNumberOfLanesMovesByOne(t *testing.T) {
	for lanes := 1; lanes <= 5; lanes++ {
		for _, blocked := range []float64{0, 0.49, 0.5, 0.79, 0.81, 1} {
			for _, waiting := range []int{0, 1, 100} {
				l := load{lanes: lanes, min: 1, max: 5, waiting: waiting, blocked: blocked}
				if n := lanesWanted(l); n < 1 || n > 5 || n-lanes > 1 || lanes-n > 1 {
					t.Errorf("%+v gives %d lanes", l, n)
				}
			}
		}
	}
}

// valvePlugin is a sink that is as slow as the test says at the moment.
func valvePlugin(delay *atomic.Int64, got *[]uint64) sdk.Plugin {
	return sdk.Plugin{
		Spec: sdk.Spec{Kind: sdk.KindSink, Type: "valve", Doc: "is slow at times", Config: func() any { return &struct{}{} }},
		Sink: func(*sdk.Env, any) (sdk.Sink, error) { return &valve{delay: delay, got: got}, nil },
	}
}

type valve struct {
	delay *atomic.Int64
	got   *[]uint64 // of the one lane that writes
}

func (v *valve) Open(context.Context, *sdk.Schema) (sdk.Writer, error) { return v, nil }
func (v *valve) Flush(context.Context) error                           { return nil }
func (v *valve) Held() int64                                           { return 0 }
func (v *valve) Close(context.Context) error                           { return nil }
func (v *valve) Write(_ context.Context, b *sdk.Block, done func(error)) error {
	time.Sleep(time.Duration(v.delay.Load()))
	for _, x := range b.Batches {
		*v.got = append(*v.got, sdk.Values[uint64](x, x.Schema().Index("n"))...)
	}
	done(nil)
	return nil
}

// Many small files: as long as the lanes are what is slow there are more of them, up to the most; when the sink is, some are
// retired. What a retired lane held is not lost.
func TestBoundedWorkGrowsAndShrinksAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const readers, rows, most = 400, 20, 5
		var delay atomic.Int64
		var got []uint64
		text := `
sources:
  in: {type: count, with: {rows: 20, batch: 5, readers: 400, ends: true, views: true}}
processors:
  - {id: work, type: slow, with: {delay: 20ms, hold: true}}
sinks:
  out: {type: valve, queue: {batches: 2}, batch: {rows: 5, age: 10ms}}
`
		p, d := config.Parse("test.yaml", []byte(text), config.Options{Plugins: config.NewRegistry(countPlugin, slowPlugin, valvePlugin(&delay, &got))})
		if d.Failed() {
			t.Fatal(d.List)
		}
		pl, list := plan.Resolve(p, plan.Options{CPUs: most})
		if pl == nil {
			t.Fatal(list)
		}
		r, err := New(pl, Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		st := r.sources[0].st
		lanes := func() (now, gone int) {
			st.mu.Lock()
			defer st.mu.Unlock()
			return len(st.lanes), len(st.gone)
		}
		r.Start()
		if n, _ := lanes(); n != 1 {
			t.Errorf("it begins with %d lanes", n)
		}
		time.Sleep(2 * time.Second)
		if n, gone := lanes(); n != most || gone != 0 {
			t.Errorf("after 2 s of waiting work there are %d lanes of %d, %d were retired", n, most, gone)
		}
		delay.Store(int64(150 * time.Millisecond))
		time.Sleep(20 * time.Second)
		// How many there are at this moment depends on which blocked lane was looked at last: one goes, the rest are blocked less.
		if n, gone := lanes(); n > most || gone == 0 {
			t.Errorf("after 20 s before a full queue there are %d lanes, %d were retired", n, gone)
		}
		delay.Store(0)
		<-r.Done()
		if err := r.Wait(); err != nil {
			t.Error(err)
		}
		balanced(t, r)
		slices.Sort(got)
		if n := len(slices.Compact(slices.Clone(got))); n != readers*rows || len(got) != readers*rows {
			t.Errorf("%d rows came, %d different ones, of %d", len(got), n, readers*rows)
		}
		if n := r.pool.InUse(); n != 0 {
			t.Errorf("%d batches are still held", n)
		}
	})
}
