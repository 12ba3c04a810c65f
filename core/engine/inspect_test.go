package engine

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/sdk"
)

// telling is a shared object that tells a topic and remembers whether it is closed.
type telling struct{ closed *atomic.Int32 }

func (x *telling) Close() error { x.closed.Add(1); return nil }
func (x *telling) Inspect(topic string) (any, error) {
	switch topic {
	case "weather":
		return "fair", nil
	case "fault":
		return "half", errors.New("no barometer")
	}
	return nil, nil
}

// tellingSource is count with something to tell.
type tellingSource struct{ *count }

func (s tellingSource) Inspect(topic string) (any, error) {
	if topic == "weather" {
		return s.c.Rows, nil
	}
	return nil, nil
}

// Sources and shared objects are asked, each object once; nobody else; and nobody when the run has ended.
func TestInspect(t *testing.T) {
	var closed atomic.Int32
	source := countPlugin
	source.Spec.Type = "tellingcount"
	source.Source = func(env *sdk.Env, cfg any) (sdk.Source, error) {
		s, err := countPlugin.Source(env, cfg)
		if err != nil {
			return nil, err
		}
		return tellingSource{s.(*count)}, nil
	}
	work := workPlugin
	work.Spec.Type = "tellingwork"
	work.Processor = func(env *sdk.Env, cfg any) (sdk.Processor, error) {
		if _, err := env.Share("sky", func(context.Context) (io.Closer, error) { return &telling{&closed}, nil }); err != nil {
			return nil, err
		}
		return workPlugin.Processor(env, cfg)
	}
	r := running(t, newStores(), `
sources:
  in: {type: tellingcount, with: {rows: 0, readers: 2}}
  other: {type: count}
processors:
  - {id: w, type: tellingwork, from: [in, other]}
sinks:
  out: {type: mem}
`, source, work)
	want := []NodeAnswer{{Node: "in", Answer: 0}, {Node: "w", Answer: "fair"}}
	if d := cmp.Diff(want, r.Inspect("weather")); d != "" {
		t.Error("before it started (-want +got):", d)
	}
	r.Start()
	stop := make(chan struct{})
	asked := make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				asked <- n
				return
			default:
				r.Inspect("weather")
				n++
			}
		}
	}()
	time.Sleep(5 * time.Millisecond)
	if d := cmp.Diff(want, r.Inspect("weather")); d != "" {
		t.Error("(-want +got):", d)
	}
	if d := cmp.Diff([]NodeAnswer{{Node: "w", Error: "no barometer"}}, r.Inspect("fault")); d != "" {
		t.Error("(-want +got):", d)
	}
	if got := r.Inspect("time"); got != nil {
		t.Error(got)
	}
	r.Stop()
	if err := r.Wait(); err != nil {
		t.Error(err)
	}
	close(stop)
	if n := <-asked; n == 0 {
		t.Error("nobody asked meanwhile")
	}
	if got := r.Inspect("weather"); got != nil || closed.Load() != 1 {
		t.Errorf("of a run that has ended: %v; the object was closed %d times", got, closed.Load())
	}
}
