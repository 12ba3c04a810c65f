package delivery

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/weirflow/weir/sdk"
)

// StoreConfig of [Store] and [Unkeyed].
type StoreConfig struct {
	Store   string        `yaml:"store" doc:"name of the store; empty: the node's id"`
	Latency time.Duration `yaml:"latency" doc:"how long a write takes"`
	Async   bool          `yaml:"async" doc:"writes return at once and are done later, several under way"`
}

// Store writes blocks into a store of b that honours keys, within its window.
func Store(b Broker) sdk.Plugin { return storePlugin(b, "keyed_store", true) }

// Unkeyed writes blocks into a store of b whatever was written before: at least once.
func Unkeyed(b Broker) sdk.Plugin { return storePlugin(b, "unkeyed_store", false) }

func storePlugin(b Broker, name string, keyed bool) sdk.Plugin {
	return sdk.Plugin{
		Spec: sdk.Spec{
			Kind: sdk.KindSink, Type: name, Doc: "counts numbered records in a store", HonoursKeys: keyed,
			Config: func() any { return &StoreConfig{} },
			Needs:  func(any, *sdk.Schema, [][]string) []string { return []string{"partition", "number", "generation"} },
			Input:  numbered,
		},
		Sink: func(env *sdk.Env, cfg any) (sdk.Sink, error) {
			c := *cfg.(*StoreConfig)
			c.Store = cmp.Or(c.Store, env.Node)
			return &storeSink{broker: b, cfg: c, keyed: keyed}, nil
		},
	}
}

type storeSink struct {
	broker Broker
	cfg    StoreConfig
	keyed  bool
}

func (s *storeSink) Open(context.Context, *sdk.Schema) (sdk.Writer, error) {
	return &storeWriter{s: s, quit: make(chan struct{})}, nil
}

func (s *storeSink) Close(context.Context) error { return nil }

type storeWriter struct {
	s    *storeSink
	work sync.WaitGroup
	once sync.Once
	quit chan struct{} // closed: writes under way fail
}

func (w *storeWriter) Write(ctx context.Context, b *sdk.Block, done func(error)) error {
	req := Write{Store: w.s.cfg.Store}
	if w.s.keyed {
		req.Key = b.Key
	}
	req.Records, req.Mixed = recordsOfBlock(b)
	if w.s.cfg.Async {
		ctx = context.WithoutCancel(ctx)
		w.work.Go(func() { done(w.put(ctx, req)) })
		return nil
	}
	done(w.put(ctx, req))
	return nil
}

// put writes after the latency.
func (w *storeWriter) put(ctx context.Context, req Write) error {
	if d := w.s.cfg.Latency; d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			return &sdk.Error{Class: sdk.Transient, Code: "cancelled", Err: ctx.Err()}
		case <-w.quit:
			return &sdk.Error{Class: sdk.Transient, Code: "closed", Err: errors.New("the writer was closed")}
		}
	}
	r, err := w.s.broker.Write(ctx, req)
	switch {
	case errors.Is(err, ErrDown):
		return &sdk.Error{Class: sdk.Transient, Code: "down", Err: err}
	case errors.Is(err, ErrLate):
		return &sdk.Error{Class: sdk.Transient, Code: "timeout", Err: err}
	case errors.Is(err, ErrKilled):
		return &sdk.Error{Class: sdk.Fatal, Code: "killed", Err: err}
	case err != nil:
		return &sdk.Error{Class: sdk.Transient, Code: "store", Err: err}
	case r.Bad != nil:
		return &sdk.Error{Class: sdk.Permanent, Code: "bad_row", Rows: r.Bad, Err: errors.New("the store refuses some rows")}
	}
	return nil
}

func (w *storeWriter) Flush(context.Context) error { w.work.Wait(); return nil }
func (w *storeWriter) Held() int64                 { return 0 }

func (w *storeWriter) Close(context.Context) error {
	w.once.Do(func() { close(w.quit) })
	w.work.Wait()
	return nil
}

// recordsOfBlock lists a block's records, and says whether two generations stamped them.
func recordsOfBlock(b *sdk.Block) (rs []Record, mixed bool) {
	var gen uint32
	first := true
	for _, x := range b.Batches {
		rs = append(rs, recordsOf(x)...)
		if col := x.Schema().Index("generation"); col >= 0 {
			for _, g := range sdk.Values[uint32](x, col) {
				mixed = mixed || !first && g != gen
				gen, first = g, false
			}
		}
	}
	return rs, mixed
}
