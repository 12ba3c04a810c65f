package engine

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/sdktest/delivery"
)

// refusePlugin refuses one record of seven and passes the others on.
var refusePlugin = sdk.Plugin{
	Spec: sdk.Spec{Kind: sdk.KindProcessor, Type: "refuse", Doc: "refuses", KeepsRange: true, Deterministic: true},
	Processor: func(env *sdk.Env, _ any) (sdk.Processor, error) {
		return &refuse{work{env: env}}, nil
	},
}

type refuse struct{ work }

func (r *refuse) Process(b *sdk.Batch, out sdk.Out) error {
	var rows []uint16
	for i, n := range sdk.Values[uint64](b, b.Schema().Index("number")) {
		if n%7 == 3 {
			out.Error(b, sdk.Fault{Code: "unlucky", Message: "it is seven", Format: "datagram", Payload: []byte{7}})
			continue
		}
		rows = append(rows, uint16(i))
	}
	if len(rows) > 0 {
		o := r.env.NewBatch(r.env.Out[0], len(rows))
		sdk.NewGather(b.Schema(), r.env.Out[0]).Append(o, b, rows, 0)
		o.Derive(b)
		o.Seal()
		out.Emit(0, o)
	}
	r.env.Books.Forwarded.Add(uint64(len(rows)))
	b.Done(sdk.Delivered)
	b.Release()
	return nil
}

// lateLetters are letters that are not durable before open is closed.
type lateLetters struct {
	letters
	open chan struct{}
}

func (l *lateLetters) plugin() sdk.Plugin {
	return sdk.Plugin{
		Spec: sdk.Spec{Kind: sdk.KindSink, Type: "lateletters", Doc: "answers late"},
		Sink: func(*sdk.Env, any) (sdk.Sink, error) { return l, nil },
	}
}

func (l *lateLetters) Open(context.Context, *sdk.Schema) (sdk.Writer, error) { return l, nil }
func (l *lateLetters) Write(ctx context.Context, b *sdk.Block, done func(error)) error {
	select {
	case <-l.open:
	case <-ctx.Done():
		return ctx.Err()
	}
	return l.letters.Write(ctx, b, done)
}

// A record that a processor refuses behind a source that commits holds its offset back until its dead letter is stored; then
// everything is committed and every batch is given back.
func TestADeadLetterHoldsItsOffsetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := delivery.NewMemory(delivery.Config{Records: 700, Bounded: true, Session: time.Second})
		p := delivery.NewProcess(world)
		dead := &lateLetters{open: make(chan struct{})}
		r, err := New(planned(t, `
sources:
  in: {type: numbered, with: {rows: 40}}
processors:
  - {id: stamp, type: stamp}
  - {id: refuse, type: refuse}
sinks:
  a: {type: keyed_store, batch: {rows: 100, age: 300ms}}
  dead: {type: lateletters, from: errors, batch: {rows: 10, age: 100ms}}
`, delivery.Source(p), delivery.Stamp, refusePlugin, delivery.Store(p), dead.plugin()), Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		r.Start()
		time.Sleep(10 * time.Second)
		if next, at := savedOf(t, world); next != 0 || at.Stored < 0 {
			t.Errorf("the next position is %d while no dead letter is stored, want 0; stored is up to %d", next, at.Stored)
		}
		close(dead.open)
		<-r.Done()
		if err := r.Wait(); err != nil {
			t.Fatal(err)
		}
		if next, _ := savedOf(t, world); next != 700 {
			t.Errorf("the next position is %d at the end, want 700", next)
		}
		rep := balanced(t, r)
		if n := dead.seen["refuse unlucky it is seven"]; n != 100 || rep.DeadLettered != 100 || rep.Delivered != 700 {
			t.Errorf("%d dead letters came, %d are counted, %d records are delivered, want 100, 100, 700", n, rep.DeadLettered, rep.Delivered)
		}
		if n := r.pool.InUse(); n != 0 {
			t.Errorf("%d batches were never given back", n)
		}
	})
}
