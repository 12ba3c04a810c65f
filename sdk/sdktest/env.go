package sdktest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirflow/weir/sdk"
)

// Clock is time moved by hand. Safe for any number of goroutines.
type Clock struct{ ns atomic.Int64 }

// NewClock starts at t; a zero t means a fixed day, so that runs are equal.
func NewClock(t time.Time) *Clock {
	if t.IsZero() {
		t = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	}
	c := &Clock{}
	c.ns.Store(t.UnixNano())
	return c
}

// Now is the clock's time, UTC.
func (c *Clock) Now() time.Time { return time.Unix(0, c.ns.Load()).UTC() }

// Advance moves the clock on by d.
func (c *Clock) Advance(d time.Duration) { c.ns.Add(int64(d)) }

// Option changes what [Env] builds.
type Option func(*world)

// WithIn sets the input schema.
func WithIn(s *sdk.Schema) Option { return func(w *world) { w.env.In = s } }

// WithOut sets the schema of each port.
func WithOut(s ...*sdk.Schema) Option { return func(w *world) { w.env.Out = s } }

// WithClock gives the plugin c instead of the machine's time.
func WithClock(c *Clock) Option { return func(w *world) { w.env.Now = c.Now } }

// WithUnread names ports that nobody reads.
func WithUnread(ports ...int) Option {
	return func(w *world) { w.env.Unread = func(p int) bool { return slices.Contains(ports, p) } }
}

// WithState gives the plugin state that another life may have filled.
func WithState(s *State) Option { return func(w *world) { w.env.State = s.Of } }

// WithPool gives the plugin a pool of the caller's.
func WithPool(p *sdk.Pool) Option { return func(w *world) { w.env.Pool = p } }

// WithNode names the node; several Envs of one node (lanes) may share what Share keeps: see [Env].
func WithNode(pipeline, node string, lane int) Option {
	return func(w *world) { w.env.Pipeline, w.env.Node, w.env.Lane = pipeline, node, lane }
}

// WithSharesOf makes Share find what other's Share has opened, as lanes and generations of one node do.
func WithSharesOf(other *sdk.Env) Option { return func(w *world) { w.env.Share = other.Share } }

// Env builds what a plugin is given at creation, for a test: the machine's time unless [WithClock], memory that is dirty before
// its first use, a state directory that the test removes, state in memory. When the test ends, a shared object that somebody
// still holds fails it.
func Env(t testing.TB, options ...Option) *sdk.Env {
	t.Helper()
	w := newWorld(t, options...)
	t.Cleanup(func() {
		if err := w.shares.open(); err != nil {
			t.Error(err)
		}
	})
	return w.env
}

// world is an Env and what the suite looks at behind it.
type world struct {
	env    *sdk.Env
	shares *shares
}

func newWorld(t testing.TB, options ...Option) *world {
	w := &world{shares: &shares{objects: map[string]*shared{}}}
	w.env = &sdk.Env{
		Pipeline: "test", Node: "node",
		Log:    slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
		Now:    time.Now,
		Dir:    t.TempDir(),
		Pool:   sdk.NewPool(dirty{}),
		Books:  &sdk.Books{},
		Unread: func(int) bool { return false },
		Share:  w.shares.share,
		State:  (&State{}).Of,
	}
	for _, o := range options {
		o(w)
	}
	return w
}

// left checks that a plugin that was closed has left nothing behind: no batches here (hint follows their number) or in the guest, no
// shared objects, no goroutines.
func (w *world) left(t testing.TB, plugin any, leaks goleak.Option, hint string) {
	t.Helper()
	if n := w.env.Pool.InUse(); n != 0 {
		t.Errorf("%d batches were never released%s", n, hint)
	}
	if remote, ok := plugin.(interface{ end() int64 }); ok {
		if n := remote.end(); n != 0 {
			t.Errorf("%d batches were never released in the guest", n)
		}
	}
	if err := w.shares.open(); err != nil {
		t.Errorf("after Close: %v", err)
	}
	if err := goleak.Find(leaks); err != nil {
		t.Errorf("after Close: %v", err)
	}
}

// State is small state kept in memory, by partition name: what one life puts, the next one gets.
type State struct {
	mu sync.Mutex
	m  map[string][]byte
}

// Of is the state of one partition; nil: of the node.
func (s *State) Of(p *sdk.Partition) sdk.KV {
	name := ""
	if p != nil {
		name = p.Name
	}
	return kv{s, name}
}

type kv struct {
	s    *State
	name string
}

func (k kv) Get(ctx context.Context, key string) ([]byte, error) {
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	return slices.Clone(k.s.m[k.name+"\x00"+key]), ctx.Err()
}

func (k kv) Put(ctx context.Context, key string, value []byte) error {
	k.s.mu.Lock()
	defer k.s.mu.Unlock()
	if k.s.m == nil {
		k.s.m = map[string][]byte{}
	}
	k.s.m[k.name+"\x00"+key] = slices.Clone(value)
	return ctx.Err()
}

// shares counts the holders of shared objects.
type shares struct {
	mu      sync.Mutex
	objects map[string]*shared
}

type shared struct {
	object io.Closer
	n      int
}

func (s *shares) share(key string, open func(ctx context.Context) (io.Closer, error)) (sdk.Shared, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.objects[key]
	if o == nil {
		c, err := open(context.Background())
		if err != nil {
			return nil, err
		}
		o = &shared{object: c}
		s.objects[key] = o
	}
	o.n++
	return &hold{s: s, key: key, o: o}, nil
}

// open says which objects are still held.
func (s *shares) open() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for key, o := range s.objects {
		errs = append(errs, fmt.Errorf("shared object %q is still held by %d: close what Share returned", key, o.n))
	}
	return errors.Join(errs...)
}

type hold struct {
	s      *shares
	key    string
	o      *shared
	closed bool
}

func (h *hold) Object() io.Closer { return h.o.object }

func (h *hold) Close() error {
	h.s.mu.Lock()
	if h.closed {
		h.s.mu.Unlock()
		return fmt.Errorf("shared object %q closed twice by one holder", h.key)
	}
	h.closed = true
	h.o.n--
	last := h.o.n == 0
	if last {
		delete(h.s.objects, h.key)
	}
	h.s.mu.Unlock()
	if last {
		return h.o.object.Close()
	}
	return nil
}
