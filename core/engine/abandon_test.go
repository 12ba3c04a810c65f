package engine

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirflow/weir/sdk"
)

// vault is a sink that answers when it is flushed or closed, as one that writes files does.
type vault struct {
	flush, close func(ctx context.Context) error // what comes before the answer

	mu            sync.Mutex
	taken, stored int
	closes        int
	dones         []func(error)
}

func (v *vault) plugin() sdk.Plugin {
	return sdk.Plugin{
		Spec: sdk.Spec{Kind: sdk.KindSink, Type: "vault", Doc: "answers when it is flushed"},
		Sink: func(*sdk.Env, any) (sdk.Sink, error) { return vaultSink{v}, nil },
	}
}

type vaultSink struct{ *vault }

func (v vaultSink) Close(context.Context) error                           { return nil }
func (v vaultSink) Open(context.Context, *sdk.Schema) (sdk.Writer, error) { return v.vault, nil }

func (v *vault) Write(_ context.Context, b *sdk.Block, done func(error)) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.taken += b.Rows
	v.dones = append(v.dones, done)
	b.Copied()
	return nil
}

func (v *vault) answer(err error) error {
	v.mu.Lock()
	dones := v.dones
	v.dones = nil
	if err == nil {
		v.stored += v.taken
	}
	v.taken = 0
	v.mu.Unlock()
	for _, done := range dones {
		done(err)
	}
	return err
}

func (v *vault) Flush(ctx context.Context) error {
	if err := v.flush(ctx); err != nil {
		return err
	}
	return v.answer(nil)
}

func (v *vault) Close(ctx context.Context) error {
	v.mu.Lock()
	v.closes++
	v.mu.Unlock()
	return v.answer(v.close(ctx))
}

func (v *vault) Held() int64 { return 0 }

// some hands out 505 rows and then nothing until it is stopped.
var somePlugin = sdk.Plugin{
	Spec: sdk.Spec{Kind: sdk.KindSource, Type: "some", Doc: "rows, and then silence", Slowable: true,
		Output: func(any, *sdk.Schema) ([]*sdk.Schema, error) { return []*sdk.Schema{numbers}, nil }},
	Source: func(env *sdk.Env, _ any) (sdk.Source, error) {
		return &someSource{count: count{env: env, c: &countConfig{Rows: 505, Batch: 10, Readers: 1}, stop: make(chan struct{})}}, nil
	},
}

type someSource struct{ count }

func (s *someSource) Accept(ctx context.Context) (sdk.Reader, error) {
	r, err := s.count.Accept(ctx)
	if err != nil {
		return nil, err
	}
	return &someReader{r.(*countReader)}, nil
}

type someReader struct{ *countReader }

func (r *someReader) Read(ctx context.Context, wait time.Duration) (*sdk.Batch, error) {
	if r.at < r.s.c.Rows {
		return r.countReader.Read(ctx, wait)
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil, nil
	case <-r.s.stop:
		return nil, io.EOF
	case <-ctx.Done():
		return nil, nil
	}
}

// After an abort the ledger says of what a sink had taken what became of it: delivered is what is stored, the rest was stopped. The writer
// is closed once, and no sink, whatever it does, keeps the run for longer than the grace.
func TestAnAbortCountsWhatBecameOfIt(t *testing.T) {
	fine := func(context.Context) error { return nil }
	fails := func(context.Context) error { return errors.New("the disk is full") }
	waits := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for _, c := range []struct {
		name         string
		flush, close func(ctx context.Context) error
		stored       bool
		within       time.Duration
	}{
		{"it flushes", fine, fails, true, 0},
		{"it flushes slowly", func(ctx context.Context) error { time.Sleep(3 * time.Second); return ctx.Err() }, fails, true, 3 * time.Second},
		{"its Close does it", fails, fine, true, 0},
		{"neither does", fails, fails, false, 0},
		{"it gives up with its context", waits, waits, false, 5 * time.Second},
		{"it panics", func(context.Context) error { panic("no vault") }, fails, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := &vault{flush: c.flush, close: c.close}
				r, err := New(planned(t, `
sources:
  in: {type: some}
sinks:
  out: {type: vault, batch: {rows: 100, age: 1s}, in_flight: 4}
`, somePlugin, v.plugin()), Options{Dir: t.TempDir()})
				if err != nil {
					t.Fatal(err)
				}
				r.Start()
				for k := r.sinks[0]; k.acct.Blocks.Load() < 6; {
					time.Sleep(time.Millisecond)
				}
				began := time.Now()
				r.Abort(errors.New("enough"))
				if err := r.Wait(); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took > c.within+100*time.Millisecond {
					t.Errorf("it took %v, want %v", took, c.within)
				}
				rep := r.Report()
				if !rep.Balanced || rep.Received == 0 || int(rep.Delivered) != v.stored || v.stored > 0 != c.stored ||
					rep.Dropped["stopped"] != rep.Received-rep.Delivered || v.closes != 1 {
					t.Errorf("stored %d, closed %d times, ledger %+v", v.stored, v.closes, rep)
				}
			})
		})
	}
}

// A sink that hangs for longer than its context is left behind; what it had is counted as stopped.
func TestASinkThatHangsIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		hangs := func(context.Context) error { <-release; return errors.New("it was too late") }
		v := &vault{flush: hangs, close: hangs}
		r, err := New(planned(t, `
sources:
  in: {type: some}
sinks:
  out: {type: vault, batch: {rows: 100}}
`, somePlugin, v.plugin()), Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		r.Start()
		for r.sinks[0].acct.Blocks.Load() < 2 {
			time.Sleep(time.Millisecond)
		}
		r.Abort(errors.New("enough"))
		time.Sleep(r.opt.KillGrace + overGrace + time.Second)
		select {
		case <-r.Done():
		default:
			t.Error("the run waits for it")
		}
		close(release) // else the test would not end
		if err := r.Wait(); err != nil {
			t.Error(err)
		}
		if rep := r.Report(); !rep.Balanced || rep.Dropped["stopped"] != rep.Received {
			t.Errorf("%+v", rep)
		}
	})
}

// drain_timeout 0s waits for nothing: what was not given to the sink is dropped at once, and what it has taken it may still store.
func TestADrainTimeoutOfZeroWaitsForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{flush: func(context.Context) error { return nil }, close: func(context.Context) error { return nil }}
		r, err := New(planned(t, `
drain_timeout: 0s
sources:
  in: {type: some}
sinks:
  out: {type: vault, batch: {rows: 100, age: 1h}}
`, somePlugin, v.plugin()), Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		r.Start()
		for r.sinks[0].acct.Blocks.Load() < 5 {
			time.Sleep(time.Millisecond)
		}
		began := time.Now()
		r.Stop()
		if err := r.Wait(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Error("it took", took)
		}
		if rep := r.Report(); !rep.Balanced || rep.Delivered != 500 || v.stored != 500 || rep.Dropped["stopped"] != 5 {
			t.Errorf("%d stored, %+v", v.stored, rep)
		}
	})
}
