package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weirflow/weir/sdk"
)

// gathering is a lane whose first processor is the test: what it delivers is gathered for a second, fused one that reads no selections
// and gives everything to the test.
type gathering struct {
	run   *Run
	chain *chain
	in    *instance
	got   []*sdk.Batch
}

// still is a processor that does nothing but what the test makes it do.
type still struct {
	sdk.Stateless
	process func(*sdk.Batch, sdk.Out)
}

func (s still) Process(b *sdk.Batch, out sdk.Out) error { s.process(b, out); return nil }
func stillPlugin(name string, selections bool, process func(*sdk.Batch, sdk.Out)) sdk.Plugin {
	return sdk.Plugin{
		Spec:      sdk.Spec{Kind: sdk.KindProcessor, Type: name, Doc: "does nothing by itself", Config: func() any { return &struct{}{} }, KeepsRange: true, Selections: selections},
		Processor: func(*sdk.Env, any) (sdk.Processor, error) { return still{process: process}, nil },
	}
}

// newGathering makes it for batches of a schema. tapReads has the second processor read selections: then nothing is gathered.
func newGathering(t interface {
	Helper()
	Fatal(...any)
}, schema *sdk.Schema, tapReads bool) *gathering {
	t.Helper()
	g := &gathering{}
	source := sdk.Plugin{
		Spec: sdk.Spec{Kind: sdk.KindSource, Type: "nothing", Doc: "reads nothing", Config: func() any { return &struct{}{} },
			Output: func(any, *sdk.Schema) ([]*sdk.Schema, error) { return []*sdk.Schema{schema}, nil },
			Lanes:  func(any) (int, bool) { return 1, true }},
		Source: func(*sdk.Env, any) (sdk.Source, error) { return nothing{}, nil },
	}
	pl, err := tryPlan(`
sources:
  in: {type: nothing}
processors:
  - {id: sieve, type: still}
  - {id: tap, type: tap}
sinks:
  out: {type: fused}
`, source, stillPlugin("still", true, nil), stillPlugin("tap", tapReads, func(b *sdk.Batch, _ sdk.Out) { g.got = append(g.got, b) }), nullPlugin(true))
	if err != nil {
		t.Fatal(err)
	}
	if g.run, err = New(pl, Options{}); err != nil {
		t.Fatal(err)
	}
	st := g.run.stages[0]
	l, err := st.addLane()
	if err != nil {
		t.Fatal(err)
	}
	g.chain = l.chain.Load()
	g.in = g.chain.insts[1]
	return g
}

type nothing struct{}

func (nothing) Accept(context.Context) (sdk.Reader, error) { return nil, errors.New("nothing is read") }
func (nothing) Stop(context.Context) error                 { return nil }
func (nothing) Close(context.Context) error                { return nil }

func (g *gathering) open() (rows int) {
	for _, o := range g.in.gathers[0].open {
		rows += o.b.Rows()
	}
	return rows
}

// taken gives up what has come, settled.
func (g *gathering) taken(o sdk.Outcome) {
	for _, b := range g.got {
		b.Done(o)
		b.Release()
	}
	g.got = nil
}

var named = sdk.NewSchema(sdk.Field{Name: "id", Type: sdk.Uint64}, sdk.Field{Name: "name", Type: sdk.Name}, sdk.Field{Name: "note", Type: sdk.Text})

type namedRow struct {
	ID         uint64
	Name, Note string
}

// settlement notes what a batch was settled with.
type settlement struct {
	Times int
	Worst sdk.Outcome
}

func (o *settlement) Settled(_ sdk.Range, worst sdk.Outcome) { o.Times, o.Worst = o.Times+1, worst }

// Guarantees: whatever selections and whole batches of whatever partitions come, all of their records go on, partition by partition in
// order, in batches without a selection whose range covers them; at a tick those without a partition, at a flush those of its partition,
// at the drain all. What is open is counted after every call, and every promise is settled once, as failed exactly if a row was in a
// batch that failed.
func TestGathered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := newGathering(t, named, false)
		partitions := []*sdk.Partition{nil, {Name: "a"}, {Name: "b"}}
		dicts := []*sdk.Dict{sdk.NewDict(), sdk.NewDict()}
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		want, got := map[*sdk.Partition][]namedRow{}, map[*sdk.Partition][]namedRow{}
		var outcomes []*settlement
		of := []*settlement{nil} // by id
		failed := map[*settlement]bool{}
		given, came := 0, 0
		var unsettled []*sdk.Batch
		settle := func(b *sdk.Batch, o sdk.Outcome) {
			if o == sdk.Failed {
				for _, id := range sdk.Values[uint64](b, 0) {
					failed[of[id]] = true
				}
			}
			b.Done(o)
			b.Release()
		}
		check := func(what string) {
			for _, b := range g.got {
				if b.Selection() != nil || b.Schema() != named {
					t.Fatalf("%s: a batch with %d rows selected, of %v", what, len(b.Selection()), b.Schema())
				}
				came += b.Rows()
				p := b.Range().Partition
				names, dict := b.Names(1)
				for i, id := range sdk.Values[uint64](b, 0) {
					if p != nil && (int64(id) < b.Range().First || int64(id) > b.Range().Last) {
						t.Fatalf("%s: row %d outside of %v", what, id, b.Range())
					}
					got[p] = append(got[p], namedRow{id, dict.Values()[names[i]], string(b.Bytes(2)[i])})
				}
				unsettled = append(unsettled, b)
			}
			g.got = nil
			if open := g.in.acct.Open.Load(); int(open) != g.open() || given != came+int(open) || uint64(came) != g.in.acct.Outs.Load() {
				t.Fatalf("%s: given %d, came %d, open %d of which counted %d, out %d", what, given, came, g.open(), open, g.in.acct.Outs.Load())
			}
			for _, n := range g.run.Report().Nodes {
				if n.ID == "sieve" && (n.Open != int64(g.open()) || n.Out != uint64(came)) {
					t.Fatalf("%s: the ledger says %d out and %d open", what, n.Out, n.Open)
				}
			}
			unsettled = slices.DeleteFunc(unsettled, func(b *sdk.Batch) bool {
				if r.IntN(2) == 0 {
					return false
				}
				settle(b, []sdk.Outcome{sdk.Delivered, sdk.Delivered, sdk.Failed}[r.IntN(3)])
				return true
			})
		}
		t.Repeat(map[string]func(*rapid.T){
			"batch": func(t *rapid.T) {
				n := rapid.SampledFrom([]int{0, 1, 5, 50, 200, 1000, sdk.MaxRows}).Draw(t, "rows")
				keep := rapid.SampledFrom([]int{0, 1, 50, 99, 100}).Draw(t, "percent kept")
				whole := rapid.Bool().Draw(t, "whole")
				p := rapid.SampledFrom(partitions).Draw(t, "partition")
				b := g.run.pool.Get(named, n)
				o := &settlement{}
				outcomes = append(outcomes, o)
				dict := dicts[r.IntN(2)]
				b.SetDict(1, dict)
				first := len(of)
				var rows []uint16
				for i := range n {
					id := len(of)
					of = append(of, o)
					x, _ := dict.Intern([]string{"edge-1", "edge-2", "core-1"}[r.IntN(3)])
					note := fmt.Sprint(id)
					sdk.Claim[uint64](b, 0, i, 1)[0] = uint64(id)
					sdk.Claim[uint16](b, 1, i, 1)[0] = x
					b.SetBytes(2, i, []byte(note))
					if whole || r.IntN(100) < keep {
						rows = append(rows, uint16(i))
						want[p] = append(want[p], namedRow{uint64(id), dict.Values()[x], note})
					}
				}
				b.SetRows(n)
				b.Seal()
				b.Root(sdk.Range{Partition: p, First: int64(first), Last: int64(len(of) - 1)})
				b.Track(o)
				given += len(rows)
				waits := g.in.gathers[0].find(p) >= 0
				if !whole {
					v := b.Select(rows)
					b.Done(sdk.Delivered)
					b.Release()
					b = v
				}
				g.in.deliver(0, b)
				if whole && n > 0 && !waits && (len(g.got) != 1 || g.got[0] != b) {
					t.Fatal("a whole batch that overtakes nothing was copied")
				}
				check("batch")
			},
			"tick": func(t *rapid.T) {
				blocked := rapid.Bool().Draw(t, "blocked")
				g.chain.tick(time.Time{}, blocked)
				for _, b := range g.got {
					if b.Range().Partition != nil || blocked {
						t.Fatalf("a tick (blocked: %v) gave out rows of %v", blocked, b.Range())
					}
				}
				if !blocked && g.in.gathers[0].find(nil) >= 0 {
					t.Fatal("rows without a partition stay after a tick")
				}
				check("tick")
			},
			"flush": func(t *rapid.T) {
				p := rapid.SampledFrom(partitions).Draw(t, "partition")
				if held := g.chain.flush(p, rapid.Bool().Draw(t, "force")); held != 0 || g.in.gathers[0].find(p) >= 0 {
					t.Fatalf("a flush held %d", held)
				}
				check("flush")
			},
		})
		g.chain.drain(sdk.InputEnded, true)
		check("drain")
		for _, b := range unsettled {
			settle(b, sdk.Delivered)
		}
		if g.in.acct.Open.Load() != 0 || g.run.pool.InUse() != 0 {
			t.Fatalf("%d rows are open and %d batches not released", g.in.acct.Open.Load(), g.run.pool.InUse())
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("records (-want +got):\n%s", diff)
		}
		for _, o := range outcomes {
			want := settlement{1, sdk.Delivered}
			if failed[o] {
				want.Worst = sdk.Failed
			}
			if diff := cmp.Diff(want, *o); diff != "" {
				t.Fatalf("settled (-want +got):\n%s", diff)
			}
		}
		g.run.closeBuilt()
	})
}

// selectRows is a batch of n rows, of which those that keep says are selected.
func selectRows(pool *sdk.Pool, n int, p *sdk.Partition, keep func(i int) bool) *sdk.Batch {
	b := pool.Get(named, n)
	var rows []uint16
	for i := range n {
		if keep(i) {
			rows = append(rows, uint16(i))
		}
	}
	clear(sdk.Claim[uint64](b, 0, 0, n))
	b.SetRows(n)
	b.Seal()
	b.Root(sdk.Range{Partition: p})
	v := b.Select(rows)
	b.Done(sdk.Delivered)
	b.Release()
	return v
}

// Guarantees: a hundred partitions that trickle hold a hundred small batches, no more than four go out before the lane pushes, and the
// rows of a partition that is gone leave at the next tick.
func TestGatheredTrickle(t *testing.T) {
	g := newGathering(t, named, false)
	gone := make(chan struct{})
	for i := range 100 {
		p := &sdk.Partition{Name: fmt.Sprint(i), Gone: gone}
		for range 3 {
			g.in.deliver(0, selectRows(g.run.pool, 2, p, func(i int) bool { return i == 0 }))
		}
	}
	held := 0
	for _, o := range g.in.gathers[0].open {
		held += o.b.Held()
	}
	if n := len(g.in.gathers[0].open); n != 100 || g.open() != 300 || held > 100*(256*named.RowBytes()+1024) {
		t.Errorf("%d open batches with %d rows hold %d bytes", n, g.open(), held)
	}
	g.chain.tick(time.Time{}, false)
	if len(g.got) != 0 {
		t.Errorf("a tick gave out %d batches of partitions that will be cut", len(g.got))
	}
	if more := g.in.giveGathered(whatever); !more || len(g.got) != maxGiven {
		t.Errorf("%d batches went out at once, more: %v", len(g.got), more)
	}
	close(gone)
	g.chain.tick(time.Time{}, false)
	if len(g.got) != 100 || g.open() != 0 {
		t.Errorf("%d batches, %d rows stay of partitions that are gone", len(g.got), g.open())
	}
	g.taken(sdk.Delivered)
	g.run.closeBuilt()
}

// Guarantees: a batch that is cut short goes out in the smallest size that holds it.
func TestGatheredFits(t *testing.T) {
	for _, rows := range []int{1, 300, 1500, sdk.MaxRows - 1} {
		g := newGathering(t, named, false)
		g.in.deliver(0, selectRows(g.run.pool, sdk.MaxRows, nil, func(i int) bool { return i < rows }))
		g.chain.tick(time.Time{}, false)
		if len(g.got) != 1 || g.got[0].Rows() != rows || g.got[0].Size() != sdk.SizeClass(rows) {
			t.Errorf("%d rows: %d batches", rows, len(g.got))
		}
		g.taken(sdk.Delivered)
		g.run.closeBuilt()
	}
}

// Guarantees: long payloads do not pile up until a batch has all its rows.
func TestGatheredPayloads(t *testing.T) {
	g := newGathering(t, sdk.Datagram, false)
	payload := make([]byte, 60000)
	odd := make([]uint16, 50)
	for i := range odd {
		odd[i] = uint16(2*i + 1)
	}
	for range 20 {
		b := g.run.pool.Get(sdk.Datagram, 100)
		for i := range 100 {
			b.SetView(sdk.DatagramPayload, i, payload)
		}
		b.SetRows(100)
		b.Seal()
		v := b.Select(odd)
		b.Done(sdk.Delivered)
		b.Release()
		g.in.deliver(0, v)
		for _, o := range g.in.gathers[0].open {
			if o.b.Held() > g.in.gathers[0].limit(o.b) {
				t.Fatalf("an open batch holds %d bytes", o.b.Held())
			}
		}
	}
	g.chain.drain(sdk.InputEnded, true)
	rows := 0
	for _, b := range g.got {
		rows += b.Rows()
	}
	if rows != 1000 || len(g.got) < 5 {
		t.Errorf("%d rows in %d batches", rows, len(g.got))
	}
	g.taken(sdk.Delivered)
	g.run.closeBuilt()
}

// Guarantees: rows that a failed run leaves open are settled as failed, so that their source reads them again.
func TestGatheredThenClosed(t *testing.T) {
	g := newGathering(t, named, false)
	b := g.run.pool.Get(named, 2)
	b.SetRows(2)
	b.Seal()
	var o settlement
	b.Track(&o)
	v := b.Select([]uint16{1})
	b.Done(sdk.Delivered)
	b.Release()
	g.in.deliver(0, v)
	g.run.closeBuilt()
	if diff := cmp.Diff(settlement{1, sdk.Failed}, o); diff != "" || g.run.pool.InUse() != 0 {
		t.Errorf("%d batches not released; settled (-want +got):\n%s", g.run.pool.InUse(), diff)
	}
}

// Guarantees: a port whose readers are fused and read selections passes them as they are; a batch of other columns than the plan's,
// whose values would be taken for others, fails the run where it would be gathered.
func TestPorts(t *testing.T) {
	g := newGathering(t, named, true)
	v := selectRows(g.run.pool, 10, nil, func(i int) bool { return i == 4 })
	g.in.deliver(0, v)
	if len(g.got) != 1 || g.got[0] != v || g.in.gathers[0] != nil {
		t.Errorf("%d batches", len(g.got))
	}
	g.taken(sdk.Delivered)
	g.run.closeBuilt()

	g = newGathering(t, sdk.Datagram, false)
	v = selectRows(g.run.pool, 10, nil, func(i int) bool { return i == 4 })
	g.in.deliver(0, v)
	if len(g.got) != 0 || g.run.err == nil {
		t.Errorf("%d batches, and the run says %v", len(g.got), g.run.err)
	}
	g.run.closeBuilt()
}

// Guarantees: a fused sink that refuses some records of a selection has those refused, and the others are delivered: it names them by
// their place in the selection.
func TestRefusedOfASelection(t *testing.T) {
	sink := sdk.Plugin{
		Spec: sdk.Spec{Kind: sdk.KindSink, Type: "picky", Doc: "refuses the second record", Config: func() any { return &struct{}{} }, Fuses: true, Selections: true},
		Sink: func(*sdk.Env, any) (sdk.Sink, error) { return picky{}, nil },
	}
	s := newStores()
	var dead deadRows
	r := running(t, s, `
sources:
  in: {type: count, with: {rows: 100, batch: 100}}
processors:
  - {id: first, type: sieve, with: {keep: 10, select: true}}
sinks:
  out: {type: picky}
  dead: {type: deadrows, from: errors}
`, sink, dead.plugin())
	r.Start()
	if err := r.Wait(); err != nil {
		t.Fatal(err)
	}
	rep := r.Report()
	if !rep.Balanced || rep.DeadLettered != 1 {
		t.Errorf("%d dead letters, %v", rep.DeadLettered, rep.Unbalanced)
	}
	// v runs from 0 to 96 and begins again: rows 0, 10, 20, ... are selected, of which the second is row 10.
	if diff := cmp.Diff([]uint64{10}, dead.numbers); diff != "" {
		t.Errorf("dead letters (-want +got):\n%s", diff)
	}
}

type picky struct{}

func (picky) Open(context.Context, *sdk.Schema) (sdk.Writer, error) { return picky{}, nil }
func (picky) Held() int64                                           { return 0 }
func (picky) Flush(context.Context) error                           { return nil }
func (picky) Close(context.Context) error                           { return nil }
func (picky) Write(context.Context, *sdk.Block, func(error)) error {
	return &sdk.Error{Class: sdk.Permanent, Code: "picky", Rows: []int{1}, Err: errors.New("not this one")}
}

// deadRows reads the numbers of the records that were refused.
type deadRows struct{ numbers []uint64 }

func (d *deadRows) plugin() sdk.Plugin {
	return sdk.Plugin{
		Spec: sdk.Spec{Kind: sdk.KindSink, Type: "deadrows", Doc: "reads dead letters", Config: func() any { return &struct{}{} }},
		Sink: func(*sdk.Env, any) (sdk.Sink, error) { return deadRowsSink{d}, nil },
	}
}

type deadRowsSink struct{ d *deadRows }

func (s deadRowsSink) Open(context.Context, *sdk.Schema) (sdk.Writer, error) { return s, nil }
func (deadRowsSink) Held() int64                                             { return 0 }
func (deadRowsSink) Flush(context.Context) error                             { return nil }
func (deadRowsSink) Close(context.Context) error                             { return nil }
func (s deadRowsSink) Write(_ context.Context, b *sdk.Block, done func(error)) error {
	for _, x := range b.Batches {
		for _, payload := range x.Bytes(sdk.ErrorsPayload) {
			r, err := ipc.NewReader(bytes.NewReader(payload))
			if err != nil {
				return err
			}
			rec, err := r.Read()
			if err != nil {
				return err
			}
			s.d.numbers = append(s.d.numbers, rec.Column(0).(*array.Uint64).Value(0))
			r.Release()
		}
	}
	done(nil)
	return nil
}
