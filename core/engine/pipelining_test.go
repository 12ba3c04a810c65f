package engine

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirflow/weir/sdk"
)

// slowWork takes a millisecond a batch and hands it on.
type slowWork struct {
	sdk.Stateless
	env *sdk.Env
}

func (s slowWork) Process(b *sdk.Batch, out sdk.Out) error {
	s.env.Books.Forwarded.Add(uint64(b.Rows()))
	time.Sleep(time.Millisecond)
	out.Emit(0, b)
	return nil
}

// slowSink takes 0.6 ms a batch, whatever its block is, and says how long the first batch waited for it.
type slowSink struct {
	readErrors
	began time.Time
	first *time.Duration
}

func (s slowSink) Open(context.Context, *sdk.Schema) (sdk.Writer, error) { return s, nil }
func (s slowSink) Write(_ context.Context, b *sdk.Block, done func(error)) error {
	if *s.first == 0 {
		*s.first = time.Since(s.began)
	}
	time.Sleep(time.Duration(len(b.Batches)) * 600 * time.Microsecond)
	done(nil)
	return nil
}

// What stands before a queue and the sink behind it work at the same time, also where the sink's block could fill the queue: the queue
// is charged with a block until it is stored, so the lane before it would stand still for as long.
func TestASinkBehindAQueueAndTheLaneBeforeItWorkAtOnce(t *testing.T) {
	const batches = 100
	for name, c := range map[string]struct {
		fuses bool
		sink  string
		wait  time.Duration // longest that the first batch may wait
	}{
		"fuses":                  {true, "queue: {when_full: block}", 10 * time.Millisecond},
		"fuses, optional":        {true, "ack: optional, queue: {bytes: 64MiB}", 10 * time.Millisecond},
		"large blocks":           {false, "queue: {bytes: 1MiB}", time.Second},
		"large blocks, optional": {false, "ack: optional, queue: {bytes: 1MiB}", time.Second},
		"large blocks asked":     {false, "queue: {bytes: 1MiB}, batch: {rows: 1_000_000, bytes: 64MiB, age: 1h}", time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				from := time.Now()
				var first time.Duration
				more := []sdk.Plugin{{
					Spec:      sdk.Spec{Kind: sdk.KindProcessor, Type: "slow", Doc: "works", Config: func() any { return &struct{}{} }, KeepsRange: true, Deterministic: true},
					Processor: func(env *sdk.Env, _ any) (sdk.Processor, error) { return slowWork{env: env}, nil },
				}, {
					Spec: sdk.Spec{Kind: sdk.KindSink, Type: "slowsink", Doc: "writes", Config: func() any { return &struct{}{} }, Fuses: c.fuses},
					Sink: func(*sdk.Env, any) (sdk.Sink, error) { return slowSink{began: from, first: &first}, nil },
				}}
				rep := ends(t, running(t, newStores(), `
sources:
  in: {type: count, with: {rows: 819200, batch: 8192}}
processors:
  - {id: w, type: slow}
sinks:
  main: {type: memfused}
  out: {type: slowsink, `+c.sink+`}
`, more...))
				// A queue of ten batches that drops may lose some while its consumer wakes, not what the sink has time for.
				least := uint64(2 * batches * 8192)
				if strings.Contains(c.sink, "optional") {
					least -= batches / 10 * 8192
				}
				if rep.Delivered < least {
					t.Errorf("delivered %d, want at least %d", rep.Delivered, least)
				}
				if first > c.wait {
					t.Errorf("the first batch waited %v", first)
				}
				if took := time.Since(from); took > batches*time.Millisecond*13/10 {
					t.Errorf("%d batches of 1 ms before and 0.6 ms behind the queue took %v", batches, took)
				}
			})
		})
	}
}
