package sdktest

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/weirflow/weir/sdk"
)

// ProcessorCase is one configuration of a processor with its input.
type ProcessorCase struct {
	Name   string
	Config any         // a pointer to the plugin's struct; nil: what Spec.Config makes
	In     *sdk.Schema // the input's schema
	// Input fills the empty batch b, whose room is 256 rows, and must give the same for the same r; nil: [Fill].
	Input   func(r *rand.Rand, b *sdk.Batch)
	Batches int // how many; 0: 16
	// Check looks at the output of a whole run, optional: the rows at each port in order, and the codes of refused records.
	Check func(t testing.TB, out map[int]Rows, refused []string)
}

// Processor runs the suite over a processor plugin: for each case
//
//   - after every call the books balance and at most 4 batches were given out by Tick, Flush or Drain, none by a blocked Tick;
//   - outputs have the port's very schema, are sealed, and are not changed afterwards; an input that somebody else holds is not either;
//   - an input is settled once, after all that came of it; a failed output fails its inputs, and nothing else does;
//   - a forced Flush leaves nothing held, and of a processor that keeps ranges nothing of the partition at all: outputs stay
//     inside the segment; one that parks lets go of what it holds when a partition is given to another owner; Drain at the end of
//     input leaves nothing held or open;
//   - memory that was lent for the call, or released, may be overwritten at once;
//   - one that reads selections does with them what it does with the same rows gathered;
//   - one that adds columns gives out the same when a sibling adds its own to the same batch: nobody sees the other's, no memory is used
//     for two batches at a time, and every row that was claimed was written;
//   - what the specification says of determinism holds: for other batch boundaries too, unless the processor parks; and with no
//     more input columns than Spec.Needs names for the output columns that are wanted;
//   - panics, goroutines, batches and shared objects left over are failures.
func Processor(t *testing.T, p sdk.Plugin, cases ...ProcessorCase) {
	t.Helper()
	processor(t, p, cases)
}

func processor(t testing.TB, p sdk.Plugin, cases []ProcessorCase) {
	t.Helper()
	processorWays(t, p, cases, false, true)
}

// processorWays runs the cases directly, through the loop-back, or both.
func processorWays(t testing.TB, p sdk.Plugin, cases []ProcessorCase, loops ...bool) {
	t.Helper()
	checkSpec(t, &p.Spec, sdk.KindProcessor)
	if p.Processor == nil {
		t.Fatal("the plugin has no Processor constructor")
	}
	for i, c := range cases {
		if c.Name == "" {
			c.Name = fmt.Sprintf("case %d", i)
		}
		if c.Batches == 0 {
			c.Batches = 16
		}
		for _, loop := range loops {
			name := c.Name + "/direct"
			if loop {
				name = c.Name + "/loopback"
			}
			subtest(t, name, func(t testing.TB) {
				s := &processorSuite{p: p, c: c, cfg: configOf(&p.Spec, c.Config), loop: loop}
				s.run(t)
			})
		}
	}
}

type processorSuite struct {
	p    sdk.Plugin
	c    ProcessorCase
	cfg  any
	loop bool

	own       *sdk.Pool    // of the templates
	templates []*sdk.Batch // the input, never given away
}

// way is how one run of the same input differs from another.
type way struct {
	name    string
	seed    uint64 // of what is done between inputs
	lent    bool   // inputs are views into a slab that is overwritten after the call
	slices  int    // each input is given in so many pieces
	prune   bool   // every other output column is wanted, and the input has no more than is needed for that
	choose  bool   // inputs are selections of batches that have other rows beside
	calm    bool   // no output fails
	returns bool   // at the end each partition is given to another owner
	why     sdk.Why
}

func (s *processorSuite) run(t testing.TB) {
	s.own = sdk.NewPool(nil)
	for i := range s.c.Batches {
		b := s.own.Get(s.c.In, 256)
		r := rand.New(rand.NewPCG(7, uint64(i)))
		switch {
		case i == 5: // no row of a range need be left
			b.SetRows(0)
		case s.c.Input != nil:
			s.c.Input(r, b)
		default:
			Fill(r, b, 1+r.IntN(200))
		}
		b.Seal()
		s.templates = append(s.templates, b)
	}
	spec := &s.p.Spec
	plain := s.drive(t, way{name: "plain", seed: 1})
	if t.Failed() {
		return
	}
	lent := s.drive(t, way{name: "lent memory", seed: 1, lent: true})
	if spec.Deterministic {
		s.same(t, "memory lent and overwritten after each call", plain, lent)
		if !spec.Parks {
			s.same(t, "the same rows in smaller batches", plain, s.drive(t, way{name: "sliced", seed: 1, slices: 3}))
		}
		if spec.Needs != nil {
			s.pruned(t, plain)
		}
	}
	if spec.Parks {
		s.drive(t, way{name: "partitions given to another owner", seed: 9, why: sdk.Stopping, returns: true})
	}
	if spec.Selections {
		s.selected(t)
	}
	s.siblings(t, plain)
	for _, why := range []sdk.Why{sdk.LaneRetired, sdk.Replaced, sdk.Stopping} {
		s.drive(t, way{name: why.String(), seed: 2 + uint64(why), why: why, lent: true})
	}
	if s.c.Check != nil && !t.Failed() {
		var codes []string
		for _, f := range plain.refused {
			codes = append(codes, f.Code)
		}
		s.c.Check(t, plain.byPort(), codes)
	}
}

// shorten keeps the beginning of a long difference.
func shorten(d string) string {
	if len(d) > 3000 {
		return d[:3000] + "\n..."
	}
	return d
}

// same compares two runs: each partition's rows in order if ranges are kept, else all as a set, since groups come in any order.
func (s *processorSuite) same(t testing.TB, what string, a, b *recorder) {
	t.Helper()
	if t.Failed() {
		return
	}
	var x, y any
	if s.p.Spec.KeepsRange {
		x, y = a.streams(), b.streams()
	} else {
		sorted := func(m map[int]Rows) map[int]Rows {
			for port, rows := range m {
				m[port] = rows.Sorted()
			}
			return m
		}
		x, y = sorted(a.byPort()), sorted(b.byPort())
	}
	if !reflect.DeepEqual(x, y) {
		d := cmp.Diff(x, y)
		t.Errorf("%s give other output, and the specification says deterministic (-plain +this):\n%s", what, shorten(d))
	}
	if d := cmp.Diff(a.refused, b.refused); d != "" {
		t.Errorf("%s refuse other records (-plain +this):\n%s", what, shorten(d))
	}
}

// selected gives the processor selections, of batches that have other rows beside. The books, the outcomes and, of a deterministic one,
// the output are those of the same rows gathered before. (The loop-back gathers them, as an Arrow wrapping does: there this shows that
// nothing else crosses.)
func (s *processorSuite) selected(t testing.TB) {
	t.Helper()
	if t.Failed() {
		return
	}
	gathered := s.drive(t, way{name: "gathered", seed: 1, calm: true})
	for _, lent := range []bool{false, true} {
		w := way{name: "selected", seed: 1, calm: true, choose: true, lent: lent}
		if lent {
			w.name = "selected of lent memory"
		}
		r := s.drive(t, w)
		if !s.p.Spec.Deterministic || t.Failed() {
			continue
		}
		s.same(t, w.name+": selections", gathered, r)
		if d := cmp.Diff(gathered.account(), r.account()); d != "" {
			t.Errorf("%s: selections are counted and settled otherwise than the same rows gathered (-gathered +selected):\n%s", w.name, shorten(d))
		}
	}
}

// pruned runs the processor as a plan does that needs every other column of its output: with the input columns that it needs for
// those by its own word, it gives the same values in them.
func (s *processorSuite) pruned(t testing.TB, plain *recorder) {
	t.Helper()
	if t.Failed() {
		return
	}
	p := s.drive(t, way{name: "pruned", seed: 1, prune: true})
	whole := make([]Rows, len(plain.outs)) // of all columns, for the checks to come
	for k, o := range plain.outs {
		was, is := plain.env.Out[o.port], p.env.Out[o.port]
		whole[k] = slices.Clone(o.rows)
		for i, row := range o.rows {
			var left []any
			for _, f := range is.Fields() {
				left = append(left, row[was.Index(f.Name)])
			}
			o.rows[i] = left
		}
	}
	s.same(t, "only the columns of Spec.Needs", plain, p)
	for k, o := range plain.outs {
		o.rows = whole[k]
	}
}

// schemas are those of a run: the case's, or pruned.
func (s *processorSuite) schemas(t testing.TB, prune bool) (in *sdk.Schema, out []*sdk.Schema) {
	t.Helper()
	in, out = s.c.In, outputs(t, &s.p.Spec, s.cfg, s.c.In)
	if !prune {
		return in, out
	}
	wanted := make([][]string, len(out))
	for port := range out {
		for i, name := range out[port].Names() {
			if i%2 == 0 {
				wanted[port] = append(wanted[port], name)
			}
		}
		out[port] = out[port].Select(func(f sdk.Field) bool { return slices.Contains(wanted[port], f.Name) })
	}
	if needs := s.p.Spec.Needs(s.cfg, in, wanted); needs != nil {
		if s.p.Spec.Output == nil { // what is wanted passes through: the plan adds it
			needs = append(slices.Clone(needs), slices.Concat(wanted...)...)
		}
		in = in.Select(func(f sdk.Field) bool { return slices.Contains(needs, f.Name) })
	}
	return in, out
}

// freed counts the slabs given back.
type freed struct{ n int }

func (f *freed) Freed(*sdk.Batch) { f.n++ }

// drive gives the templates to a new instance, in two partitions by turns, with ticks and flushes between them, and drains it.
func (s *processorSuite) drive(t testing.TB, w way) *recorder {
	t.Helper()
	d := s.start(t, w)
	for i := range s.templates {
		d.input(i)
		if !w.returns || i < len(s.templates)-4 { // else what was parked may have gone out
			d.between()
		}
	}
	if w.returns {
		d.giveBack()
	}
	d.close()
	d.left()
	d.quiet()
	return d.rec
}

// start makes an instance, with a world and a recorder of its own.
func (s *processorSuite) start(t testing.TB, w way, options ...Option) *driver {
	t.Helper()
	leaks := goleak.IgnoreCurrent()
	clock := NewClock(time.Time{})
	in, out := s.schemas(t, w.prune)
	world := newWorld(t, append([]Option{WithIn(in), WithOut(out...), WithClock(clock)}, options...)...)
	rec := &recorder{t: t, env: world.env, rand: rand.New(rand.NewPCG(w.seed, 99)), live: map[*sdk.Batch]*input{}, remote: s.loop, calm: w.calm}
	d := &driver{t: t, w: w, s: s, env: world.env, world: world, leaks: leaks, rec: rec, clock: clock, rand: rand.New(rand.NewPCG(w.seed, 3)), sync: func() {}}
	for i := range d.parts {
		gone := make(chan struct{})
		d.parts[i] = &sdk.Partition{Source: "source", Name: fmt.Sprintf("topic/%d", i), Life: 1, Gone: gone}
		d.first[i], d.next[i] = 100, 100
	}
	var err error
	if s.loop {
		var remote *remoteProcessor
		if remote, err = loopProcessor(t, s.p, world.env, s.cfg); err == nil {
			d.proc, d.sync = remote, remote.sync
		}
	} else {
		err = guard("the constructor", func() (err error) { d.proc, err = s.p.Processor(world.env, s.cfg); return err })
	}
	if err != nil {
		t.Fatalf("%s: %v", w.name, err)
	}
	return d
}
