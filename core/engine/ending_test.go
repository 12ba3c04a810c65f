package engine

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirflow/weir/sdk"
)

// oddSource is count with readers that fail, or with an Accept that is slow to say that there are no more.
func oddSource(fails error, slow time.Duration) sdk.Plugin {
	p := countPlugin
	p.Spec.Type = "odd"
	p.Source = func(env *sdk.Env, cfg any) (sdk.Source, error) {
		return &odd{count: &count{env: env, c: cfg.(*countConfig), stop: make(chan struct{})}, fails: fails, slow: slow}, nil
	}
	return p
}

type odd struct {
	*count
	fails error
	slow  time.Duration
}

func (s *odd) Accept(ctx context.Context) (sdk.Reader, error) {
	r, err := s.count.Accept(ctx)
	if errors.Is(err, io.EOF) {
		time.Sleep(s.slow)
		return nil, err
	}
	return &oddReader{countReader: r.(*countReader), fails: s.fails}, err
}

type oddReader struct {
	*countReader
	fails error
}

func (r *oddReader) Read(ctx context.Context, wait time.Duration) (*sdk.Batch, error) {
	b, err := r.countReader.Read(ctx, wait)
	if errors.Is(err, io.EOF) && r.fails != nil {
		return nil, r.fails
	}
	return b, err
}

// A reader that fails fails the run: with exit 0 nobody would know that the rest of its input is missing. What was read until then
// is accounted for.
func TestAReaderThatFailsFailsTheRun(t *testing.T) {
	for _, bounded := range []string{"true", "false"} {
		t.Run("ends="+bounded, func(t *testing.T) {
			s := newStores()
			r := running(t, s, `
sources:
  in: {type: odd, with: {rows: 30, batch: 10, ends: `+bounded+`}}
sinks:
  out: {type: mem}
`, oddSource(errors.New("the disk is on fire"), 0))
			r.Start()
			err := r.Wait()
			if err == nil || !strings.Contains(err.Error(), "the disk is on fire") || !strings.Contains(err.Error(), "in") {
				t.Errorf("the run ended with %v, want the reader's error and the node's name", err)
			}
			if rep := balanced(t, r); rep.Received != 30 {
				t.Errorf("%d records were received, want 30", rep.Received)
			}
		})
	}
}

// A run ends when its source has said that there are no more readers, also if the last one ended long before.
func TestASourceMayBeSlowToEnd(t *testing.T) {
	for _, bounded := range []string{"true", "false"} {
		t.Run("ends="+bounded, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStores()
				r := running(t, s, `
sources:
  in: {type: odd, with: {rows: 30, batch: 10, ends: `+bounded+`}}
sinks:
  out: {type: mem, batch: {age: 10ms}}
`, oddSource(nil, 5*time.Second))
				if rep := ends(t, r); rep.Delivered != 30 {
					t.Errorf("%d records were delivered, want 30", rep.Delivered)
				}
			})
		})
	}
}

// Of one batch more rows may be refused than a batch of errors holds: every one is a dead letter, and no batch stays behind.
func TestManyRowsOfOneBatchAreRefused(t *testing.T) {
	s := newStores()
	got := &letters{}
	r := running(t, s, `
sources:
  in: {type: count, with: {rows: 8000, batch: 8000}}
sinks:
  out: {type: mem, with: {refuse: 4}}
  dead: {type: letters, from: errors}
`, got.plugin())
	rep := ends(t, r)
	if n := got.seen["out bad_row bad_row: a bad row"]; n != 2000 || rep.DeadLettered != 2000 || rep.Balanced != true {
		t.Errorf("%d dead letters came, %d are counted, want 2000: %v", n, rep.DeadLettered, got.seen)
	}
	if n := r.pool.InUse(); n != 0 {
		t.Errorf("%d batches were never given back", n)
	}
}

// abreast is a sink that answers late and counts how many blocks it has at a time.
type abreast struct {
	mu        sync.Mutex
	now, most int
	work      sync.WaitGroup
}

func (a *abreast) plugin() sdk.Plugin {
	return sdk.Plugin{
		Spec: sdk.Spec{Kind: sdk.KindSink, Type: "abreast", Doc: "counts blocks under way"},
		Sink: func(*sdk.Env, any) (sdk.Sink, error) { return a, nil },
	}
}

func (a *abreast) Open(context.Context, *sdk.Schema) (sdk.Writer, error) { return a, nil }
func (a *abreast) Held() int64                                           { return 0 }
func (a *abreast) Flush(context.Context) error                           { a.work.Wait(); return nil }
func (a *abreast) Close(context.Context) error                           { a.work.Wait(); return nil }
func (a *abreast) Write(_ context.Context, _ *sdk.Block, done func(error)) error {
	a.mu.Lock()
	a.now++
	a.most = max(a.most, a.now)
	a.mu.Unlock()
	a.work.Go(func() {
		time.Sleep(10 * time.Millisecond)
		a.mu.Lock()
		a.now--
		a.mu.Unlock()
		done(nil)
	})
	return nil
}

// in_flight is how many blocks a sink has at a time: not one more, and not one less when there is enough to write.
func TestInFlightIsALimit(t *testing.T) {
	for set, want := range map[string]int{"in_flight: 1": 1, "in_flight: 3": 3} {
		t.Run(set, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &abreast{}
				ends(t, running(t, newStores(), `
sources:
  in: {type: count, with: {rows: 2000, batch: 10}}
sinks:
  out: {type: abreast, `+set+`, batch: {rows: 100, age: 1s}}
`, a.plugin()))
				if a.most != want {
					t.Errorf("%d blocks were under way at a time, want %d", a.most, want)
				}
			})
		})
	}
}

// hasty is a sink that gives the batches back and then fails.
type hasty struct{ blocks int }

func (h *hasty) plugin() sdk.Plugin {
	return sdk.Plugin{
		Spec: sdk.Spec{Kind: sdk.KindSink, Type: "hasty", Doc: "copies and fails"},
		Sink: func(*sdk.Env, any) (sdk.Sink, error) { return h, nil },
	}
}

func (h *hasty) Open(context.Context, *sdk.Schema) (sdk.Writer, error) { return h, nil }
func (h *hasty) Held() int64                                           { return 0 }
func (h *hasty) Flush(context.Context) error                           { return nil }
func (h *hasty) Close(context.Context) error                           { return nil }
func (h *hasty) Write(_ context.Context, b *sdk.Block, done func(error)) error {
	h.blocks++
	b.Copied()
	done(&sdk.Error{Class: sdk.Transient, Code: "not_now", Err: errors.New("not now")})
	return nil
}

// A sink that has given the batches back cannot be given them again: its error is final, whatever its class, and nothing counts as
// delivered.
func TestAnErrorAfterCopiedIsFinal(t *testing.T) {
	h := &hasty{}
	r := running(t, newStores(), `
sources:
  in: {type: count, with: {rows: 30}}
sinks:
  out: {type: hasty, retry: {initial: 1ms, max: 1ms}}
`, h.plugin())
	r.Start()
	err := r.Wait()
	if err == nil || !strings.Contains(err.Error(), "not now") {
		t.Errorf("the run ended with %v, want the sink's error", err)
	}
	if rep := balanced(t, r); rep.Delivered != 0 || rep.Received != 30 || h.blocks != 1 {
		t.Errorf("%d of %d records are delivered in %d blocks, want none of 30 in 1", rep.Delivered, rep.Received, h.blocks)
	}
}
