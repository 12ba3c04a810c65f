package sdktest

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/weirflow/weir/sdk"
)

// shelf is a store in memory.
type shelf struct {
	mu   sync.Mutex
	keys map[string]bool
	rows int
}

// shelfSink stores into a shelf when it is flushed or has three blocks. With a fault named it does one thing wrong.
func shelfSink(fault string, store **shelf) sdk.Plugin {
	return sdk.Plugin{
		Spec: sdk.Spec{Kind: sdk.KindSink, Type: "shelf", Doc: "stores", HonoursKeys: true, Copies: func(any) sdk.Size { return 2 << 20 }},
		Sink: func(env *sdk.Env, _ any) (sdk.Sink, error) {
			if fault == "share left open" {
				_, err := env.Share("table", func(context.Context) (io.Closer, error) { return io.NopCloser(nil), nil })
				return &shelfNode{fault: fault, store: *store}, err
			}
			return &shelfNode{fault: fault, store: *store}, nil
		},
	}
}

type shelfNode struct {
	fault  string
	store  *shelf
	closed int
}

func (n *shelfNode) Open(context.Context, *sdk.Schema) (sdk.Writer, error) {
	return &shelfWriter{n: n}, nil
}

func (n *shelfNode) Close(context.Context) error {
	if n.closed++; n.closed > 1 && n.fault == "closed twice" {
		return errors.New("closed already")
	}
	return nil
}

type shelfWriter struct {
	n       *shelfNode
	waiting []pending
	calls   int
}

type pending struct {
	b    *sdk.Block
	done func(error)
}

func (w *shelfWriter) Write(ctx context.Context, b *sdk.Block, done func(error)) error {
	w.calls++
	if w.n.fault == "deaf to cancel" && ctx.Err() != nil {
		<-shelfQuit
	}
	if w.calls == 2 {
		switch w.n.fault {
		case "":
			return errors.New("not now")
		case "done and an error":
			done(nil)
			return errors.New("not now")
		case "code not constant":
			return &sdk.Error{Class: sdk.Transient, Code: "not now", Err: errors.New("x")}
		case "row outside the block":
			return &sdk.Error{Class: sdk.Permanent, Code: "bad", Rows: []int{b.Rows}, Err: errors.New("x")}
		case "fatal":
			return &sdk.Error{Class: sdk.Fatal, Code: "dead", Err: errors.New("x")}
		}
	}
	switch w.n.fault {
	case "batch kept":
		b.Batches[0].Retain()
	case "batch changed":
		if v := sdk.Values[uint64](b.Batches[0], 0); len(v) > 0 && !b.Batches[0].IsZero(0) {
			v[0]++
		}
	case "touched after copied":
		b.Copied()
		b.Batches[0].Release()
	}
	w.waiting = append(w.waiting, pending{b, done})
	if len(w.waiting) == 3 {
		return w.Flush(context.Background())
	}
	return nil
}

func (w *shelfWriter) Flush(context.Context) error {
	s := w.n.store
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, p := range w.waiting {
		if w.n.fault == "not done" && i == 1 {
			continue
		}
		if !s.keys[p.b.Key] || w.n.fault == "key ignored" {
			s.keys[p.b.Key] = true
			s.rows += p.b.Rows
			if w.n.fault == "row lost" {
				s.rows--
			}
		}
		p.done(nil)
		if w.n.fault == "done twice" {
			p.done(nil)
		}
	}
	w.waiting = nil
	return nil
}

func (w *shelfWriter) Held() int64 {
	switch w.n.fault {
	case "negative":
		return -1
	case "holds more than it says":
		return 2<<20 + 1
	}
	return 2 << 20
}

func (w *shelfWriter) Close(ctx context.Context) error { return w.Flush(ctx) }

func shelfCase(store **shelf) SinkCase {
	return SinkCase{
		In: relaySchema,
		Config: func(testing.TB) any {
			*store = &shelf{keys: map[string]bool{}}
			return nil
		},
		Stored: func(testing.TB, any) int { return (*store).rows },
	}
}

func TestShelfPasses(t *testing.T) {
	var store *shelf
	Sink(t, shelfSink("", &store), shelfCase(&store))
}

// shelfQuit is closed when the tests of faults are over.
var shelfQuit chan struct{}

func TestBrokenSinksFail(t *testing.T) {
	shelfQuit = make(chan struct{})
	defer close(shelfQuit)
	defer func(d time.Duration) { patience = d }(patience)
	for fault, want := range map[string]string{
		"deaf to cancel":          "Write with a cancelled context has not returned",
		"done and an error":       "returned an error and called done",
		"done twice":              "came 2 times",
		"not done":                "not done after Flush",
		"code not constant":       "metric label",
		"row outside the block":   "names row",
		"fatal":                   "dead: x",
		"batch kept":              "never released",
		"batch changed":           "changed a batch",
		"touched after copied":    "",
		"key ignored":             "the store holds",
		"row lost":                "the store holds",
		"negative":                "Held is -1",
		"holds more than it says": "Spec.Copies says at most 2097152",
		"closed twice":            "closed already",
		"share left open":         "still held",
	} {
		t.Run(fault, func(t *testing.T) {
			var store *shelf
			c := shelfCase(&store)
			patience = 20 * time.Second
			if fault == "deaf to cancel" {
				patience = 250 * time.Millisecond
			}
			c.Refuses = fault == "row outside the block"
			said := witnessed(t, func(t testing.TB) { sinkWays(t, shelfSink(fault, &store), []SinkCase{c}, false) })
			wantFailure(t, said, want)
			if fault == "batch changed" || fault == "deaf to cancel" {
				return // what crosses as bytes is the guest's own
			}
			if fault == "batch kept" {
				want = "in the guest"
			}
			said = witnessed(t, func(t testing.TB) { sinkWays(t, shelfSink(fault, &store), []SinkCase{c}, true) })
			wantFailure(t, said, want)
		})
	}
}
