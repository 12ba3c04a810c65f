package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Plugins that do one thing each, for tests of the engine. All are seeded: the same text gives the same run.

var numbers = sdk.NewSchema(
	sdk.Field{Name: "n", Type: sdk.Uint64},
	sdk.Field{Name: "v", Type: sdk.Uint32},
	sdk.Field{Name: "text", Type: sdk.Bytes},
)

// count hands out numbered rows.

type countConfig struct {
	Rows    int  `yaml:"rows" doc:"rows of each reader; 0: without end"`
	Batch   int  `yaml:"batch" doc:"rows of a batch"`
	Readers int  `yaml:"readers" doc:"readers"`
	Ends    bool `yaml:"ends" doc:"readers are bounded"`
	Views   bool `yaml:"views" doc:"text looks into lent memory"`
	Refuse  int  `yaml:"refuse" doc:"every so many rows is dropped by the source"`
}

var countPlugin = sdk.Plugin{
	Spec: sdk.Spec{Kind: sdk.KindSource, Type: "count", Doc: "numbered rows", Config: func() any { return &countConfig{Rows: 100, Batch: 10, Readers: 1} },
		Output:   func(any, *sdk.Schema) ([]*sdk.Schema, error) { return []*sdk.Schema{numbers}, nil },
		Lanes:    func(cfg any) (int, bool) { return cfg.(*countConfig).Readers, !cfg.(*countConfig).Ends },
		Slowable: true},
	Source: func(env *sdk.Env, cfg any) (sdk.Source, error) {
		return &count{env: env, c: cfg.(*countConfig), stop: make(chan struct{})}, nil
	},
}

type count struct {
	env  *sdk.Env
	c    *countConfig
	next int
	stop chan struct{}
	once sync.Once
	mu   sync.Mutex // several readers count in one book
}

func (s *count) Accept(ctx context.Context) (sdk.Reader, error) {
	if s.next == s.c.Readers {
		return nil, io.EOF
	}
	s.next++
	return &countReader{s: s, id: uint64(s.next - 1)}, nil
}
func (s *count) Stop(context.Context) error  { s.once.Do(func() { close(s.stop) }); return nil }
func (s *count) Close(context.Context) error { return nil }

type countReader struct {
	s    *count
	id   uint64
	at   int
	slab [64]byte
}

func (r *countReader) Partition() *sdk.Partition { return &sdk.Partition{Name: fmt.Sprint(r.id)} }
func (r *countReader) Ready() <-chan struct{}    { return nil }
func (r *countReader) Close(context.Context) error {
	return nil
}
func (r *countReader) Read(ctx context.Context, wait time.Duration) (*sdk.Batch, error) {
	select {
	case <-r.s.stop:
		return nil, io.EOF
	default:
	}
	n := r.s.c.Batch
	if r.s.c.Rows > 0 {
		n = min(n, r.s.c.Rows-r.at)
	}
	if n == 0 {
		return nil, io.EOF
	}
	b := r.s.env.NewBatch(numbers, n)
	k := 0
	for i := range n {
		if r.s.c.Refuse > 0 && (r.at+i)%r.s.c.Refuse == 0 {
			continue
		}
		sdk.Claim[uint64](b, 0, k, 1)[0] = r.id<<32 | uint64(r.at+i)
		sdk.Claim[uint32](b, 1, k, 1)[0] = uint32((r.at + i) % 97)
		if r.s.c.Views {
			b.SetView(2, k, r.slab[:i%64])
		}
		k++
	}
	b.SetRows(k)
	b.Seal()
	if r.s.c.Views {
		b.Lend(len(r.slab), nil)
	}
	r.at += n
	r.s.mu.Lock()
	r.s.env.Books.Received.Add(uint64(n))
	r.s.env.Books.Drop("unwanted", uint64(n-k))
	r.s.mu.Unlock()
	return b, nil
}

// work is a processor that filters, refuses, drops, makes and holds, by the numbers of the rows.

type workConfig struct {
	Keep   int  `yaml:"keep" doc:"rows with v % keep == 0 go on; 0: all"`
	Drop   int  `yaml:"drop" doc:"rows with v % drop == 1 are dropped"`
	Refuse int  `yaml:"refuse" doc:"rows with v % refuse == 2 are refused"`
	Twice  bool `yaml:"twice" doc:"consume every row, produce two"`
	Hold   bool `yaml:"hold" doc:"hold every batch until the next comes"`
	Split  bool `yaml:"split" doc:"odd numbers to port b"`
	Select bool `yaml:"select" doc:"gives out selections, and a batch of which all stays as it is"`
}

// workPlugin never meets a selection; sievePlugin reads them.
var workPlugin, sievePlugin = workOf("work", false), workOf("sieve", true)

func workOf(name string, selections bool) sdk.Plugin {
	return sdk.Plugin{
		Spec: sdk.Spec{Kind: sdk.KindProcessor, Type: name, Doc: "does all there is", Config: func() any { return &workConfig{} }, KeepsRange: true, Deterministic: true,
			Selections: selections,
			Ports: func(cfg any) []string {
				if cfg.(*workConfig).Split {
					return []string{"a", "b"}
				}
				return []string{"a"}
			},
			Reasons: []sdk.Reason{"unloved"}},
		Processor: func(env *sdk.Env, cfg any) (sdk.Processor, error) {
			return &work{env: env, c: cfg.(*workConfig), selections: selections}, nil
		},
	}
}

var errSelected = errors.New("a selection came to a node that does not read any")

// records lists the rows of a batch.
func records(b *sdk.Batch) []uint16 {
	if sel := b.Selection(); sel != nil {
		return sel
	}
	return every[:b.Len()]
}

type work struct {
	env        *sdk.Env
	c          *workConfig
	held       *sdk.Batch
	selections bool
}

func (w *work) Process(b *sdk.Batch, out sdk.Out) error {
	if !w.selections && b.Selection() != nil {
		return errSelected
	}
	if w.c.Hold {
		w.held, b = b, w.held
		n := 0
		n = w.held.Rows()
		if w.held.Views() {
			w.held.Own()
		}
		w.env.Books.Held.Set(int64(n))
		if b == nil {
			return nil
		}
	}
	w.do(b, out)
	return nil
}

func (w *work) do(b *sdk.Batch, out sdk.Out) {
	books := w.env.Books
	v, num := sdk.Values[uint32](b, b.Schema().Index("v")), sdk.Values[uint64](b, b.Schema().Index("n"))
	ports := 1
	if w.c.Split {
		ports = 2
	}
	rows := make([][]uint16, ports)
	kept := 0
	n := b.Rows()
	for _, i := range records(b) {
		x := v[i]
		switch {
		case w.c.Refuse > 0 && x%uint32(w.c.Refuse) == 2:
			out.Error(b, sdk.Fault{Code: "bad", Message: "a bad row", Format: "datagram", Payload: []byte{1, 2, 3}})
		case w.c.Drop > 0 && x%uint32(w.c.Drop) == 1:
			books.Drop("unloved", 1)
		case w.c.Keep > 0 && x%uint32(w.c.Keep) != 0:
			books.Filtered.Add(1)
		default:
			p := int(num[i]) % ports
			rows[p] = append(rows[p], i)
			kept++
		}
	}
	if w.c.Twice {
		books.Consumed.Add(uint64(kept))
		books.Produced.Add(uint64(2 * kept))
	} else {
		books.Forwarded.Add(uint64(kept))
	}
	times := 1
	if w.c.Twice {
		times = 2
	}
	for p := range rows {
		if len(rows[p]) == 0 {
			continue
		}
		if w.c.Select && kept == n && len(rows[p]) == n && !w.c.Twice && b.Schema() == w.env.Out[p] {
			out.Emit(p, b)
			return
		}
		for range times {
			if w.c.Select {
				s := b.Share(w.env.Out[p], true)
				out.Emit(p, s.Select(rows[p]))
				s.Done(sdk.Delivered)
				s.Release()
				continue
			}
			o := w.env.NewBatch(w.env.Out[p], len(rows[p]))
			sdk.NewGather(b.Schema(), w.env.Out[p]).Append(o, b, rows[p], 0)
			o.Derive(b)
			o.Seal()
			out.Emit(p, o)
		}
	}
	b.Done(sdk.Delivered)
	b.Release()
}

func (w *work) Tick(time.Time, bool, sdk.Out) (bool, error) { return false, nil }
func (w *work) Flush(p *sdk.Partition, force bool, out sdk.Out) (int, bool, error) {
	w.giveOut(out)
	return 0, false, nil
}
func (w *work) giveOut(out sdk.Out) {
	if b := w.held; b != nil {
		w.held = nil
		w.env.Books.Held.Set(0)
		w.do(b, out)
	}
}
func (w *work) Drain(_ sdk.Why, _ bool, out sdk.Out) (bool, error) {
	w.giveOut(out)
	return false, nil
}
func (w *work) Close() error { return nil }

// mem is a sink that keeps the numbers it got; slow, failing, refusing and answering late as it is told.

type memConfig struct {
	Name   string        `yaml:"name" doc:"under which the test finds what was stored"`
	Delay  time.Duration `yaml:"delay" doc:"of each write"`
	Late   time.Duration `yaml:"late" doc:"answers so much later"`
	Fail   int           `yaml:"fail" doc:"one write in so many fails for now"`
	Refuse int           `yaml:"refuse" doc:"rows with n % refuse == 3 are refused"`
	Seed   int64         `yaml:"seed" doc:"of the failures"`
	Copies bool          `yaml:"copies" doc:"gives the batches back early"`
	Fuse   bool          `yaml:"fuse" doc:"as the fused type"`
}

// stores is where mem sinks keep what they got, by name; one test's at a time under its own names.
type stores struct {
	mu   sync.Mutex
	rows map[string][]uint64
	keys map[string]map[string]int
}

func newStores() *stores {
	return &stores{rows: map[string][]uint64{}, keys: map[string]map[string]int{}}
}

// plugins are the sinks: behind a queue, fused, and fused and a reader of selections.
func (s *stores) plugins() []sdk.Plugin {
	return []sdk.Plugin{s.plugin("mem", false, false), s.plugin("memfused", true, false), s.plugin("memsieve", true, true)}
}

func (s *stores) plugin(name string, fuses, selections bool) sdk.Plugin {
	return sdk.Plugin{
		Spec: sdk.Spec{Kind: sdk.KindSink, Type: name, Doc: "keeps what it gets", Config: func() any { return &memConfig{Name: "mem"} }, Fuses: fuses,
			Selections: selections},
		Sink: func(env *sdk.Env, cfg any) (sdk.Sink, error) {
			return &mem{s: s, c: cfg.(*memConfig), fuses: fuses, selections: selections, rng: rand.New(rand.NewSource(cfg.(*memConfig).Seed))}, nil
		},
	}
}

type mem struct {
	s     *stores
	c     *memConfig
	fuses bool
	mu    sync.Mutex
	rng   *rand.Rand
	late  sync.WaitGroup

	selections bool
}

func (m *mem) Open(context.Context, *sdk.Schema) (sdk.Writer, error) { return m, nil }
func (m *mem) Held() int64                                           { return 0 }
func (m *mem) Flush(context.Context) error                           { m.late.Wait(); return nil }
func (m *mem) Close(context.Context) error                           { m.late.Wait(); return nil }
func (m *mem) Write(ctx context.Context, b *sdk.Block, done func(error)) error {
	if m.c.Delay > 0 && !m.fuses {
		t := time.NewTimer(m.c.Delay)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
	m.mu.Lock()
	fails := m.c.Fail > 0 && m.rng.Intn(m.c.Fail) == 0
	m.mu.Unlock()
	if fails {
		return &sdk.Error{Class: sdk.Transient, Code: "not_now", Err: errors.New("not now")}
	}
	var bad []int
	var got []uint64
	at := 0
	for _, x := range b.Batches {
		if !m.selections && x.Selection() != nil {
			return errSelected
		}
		all := sdk.Values[uint64](x, x.Schema().Index("n"))
		for _, i := range records(x) {
			n := all[i]
			if m.c.Refuse > 0 && n%uint64(m.c.Refuse) == 3 {
				bad = append(bad, at)
			}
			got = append(got, n)
			at++
		}
	}
	if len(bad) > 0 && !m.fuses {
		return &sdk.Error{Class: sdk.Permanent, Code: "bad_row", Rows: bad, Err: errors.New("a bad row")}
	}
	if m.c.Copies {
		b.Copied()
	}
	m.s.mu.Lock()
	m.s.rows[m.c.Name] = append(m.s.rows[m.c.Name], got...)
	if m.s.keys[m.c.Name] == nil {
		m.s.keys[m.c.Name] = map[string]int{}
	}
	m.s.keys[m.c.Name][b.Key]++
	m.s.mu.Unlock()
	if m.c.Late > 0 && !m.fuses {
		m.late.Add(1)
		go func() {
			defer m.late.Done()
			time.Sleep(m.c.Late)
			done(nil)
		}()
		return nil
	}
	done(nil)
	return nil
}

// running is a pipeline under test.
func running(t testing.TB, s *stores, text string, more ...sdk.Plugin) *Run {
	t.Helper()
	plugins := append([]sdk.Plugin{countPlugin, workPlugin, sievePlugin}, append(s.plugins(), more...)...)
	r, err := New(planned(t, text, plugins...), Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func planned(t testing.TB, text string, plugins ...sdk.Plugin) *plan.Plan {
	t.Helper()
	pl, err := tryPlan(text, plugins...)
	if err != nil {
		t.Fatal(err)
	}
	return pl
}

func tryPlan(text string, plugins ...sdk.Plugin) (*plan.Plan, error) {
	p, d := config.Parse("test.yaml", []byte(text), config.Options{Plugins: config.NewRegistry(plugins...)})
	if d.Failed() {
		return nil, fmt.Errorf("%v\n%s", d.List, text)
	}
	pl, list := plan.Resolve(p, plan.Options{CPUs: 2})
	if pl == nil {
		return nil, fmt.Errorf("%v\n%s", list, text)
	}
	return pl, nil
}
