package sdktest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/weirflow/weir/sdk"
)

// SinkCase is one configuration of a sink and the store that it writes to.
type SinkCase struct {
	Name string
	// Config makes the store (a directory, a fake server) and the configuration that names it, once for each run; nil: what
	// Spec.Config makes.
	Config func(t testing.TB) any
	In     *sdk.Schema
	// Input fills the empty batch b, whose room is 256 rows; nil: [Fill].
	Input func(r *rand.Rand, b *sdk.Batch)
	// Stored counts the rows in the store, optional: it is asked when all has been flushed and closed.
	Stored func(t testing.TB, cfg any) int
	// Refuses says that the store refuses some rows: errors of class Permanent that name rows are then expected, and those rows
	// are left out when the block is written again.
	Refuses bool
}

// Sink runs the suite over a sink plugin: for each case
//
//   - done comes once for each block that Write has taken, none for one it has not, all of them before Flush returns;
//   - Write comes back when its context is cancelled, and the block may then be written again like any that was not taken;
//   - an error names rows inside the block, and has a constant code;
//   - a transient error is mended by writing the block again under its key; rows that are refused are left out;
//   - what the batches hold may be overwritten once done has come (or Copied was said), and none is kept;
//   - a sink that honours keys stores a block that is written again under its key, by this writer or by the next life, once;
//   - it does with the columns that Spec.Needs names;
//   - a second schema opens a second writer; writers and sinks may be closed twice, and a writer without a block;
//   - goroutines, batches and shared objects left over are failures.
func Sink(t *testing.T, p sdk.Plugin, cases ...SinkCase) {
	t.Helper()
	sinkWays(t, p, cases, false, true)
}

func sinkWays(t testing.TB, p sdk.Plugin, cases []SinkCase, loops ...bool) {
	t.Helper()
	checkSpec(t, &p.Spec, sdk.KindSink)
	if p.Sink == nil {
		t.Fatal("the plugin has no Sink constructor")
	}
	for i, c := range cases {
		if c.Name == "" {
			c.Name = fmt.Sprintf("case %d", i)
		}
		for _, loop := range loops {
			name := c.Name + "/direct"
			if loop {
				name = c.Name + "/loopback"
			}
			subtest(t, name, func(t testing.TB) {
				s := &sinkSuite{p: p, c: c, loop: loop}
				s.run(t)
			})
		}
	}
}

type sinkSuite struct {
	p    sdk.Plugin
	c    SinkCase
	cfg  any
	loop bool

	out  map[int]map[int]bool // rows that the store has refused, by block
	rows map[int]int          // rows that it should hold, by block
}

func (s *sinkSuite) run(t testing.TB) {
	var cfg any
	if s.c.Config != nil {
		cfg = s.c.Config(t)
	}
	cfg = configOf(&s.p.Spec, cfg)
	s.cfg = cfg
	if s.p.Spec.Input != nil {
		if err := s.p.Spec.Input(cfg, s.c.In); err != nil {
			t.Fatalf("Spec.Input refuses the case's schema: %v", err)
		}
	}
	s.out, s.rows = map[int]map[int]bool{}, map[int]int{}

	l := s.life(t, cfg, s.c.In)
	w := l.open(s.c.In)
	l.close(l.open(s.c.In)) // without a block
	for i := range 8 {
		l.write(w, i)
		if i%3 == 2 {
			l.flush(w)
		}
	}
	l.flush(w)
	if s.p.Spec.HonoursKeys {
		l.write(w, 3)
		l.flush(w)
	}
	// A reload: the same columns, another schema; what the first writer has taken must not suffer.
	second := l.open(sdk.NewSchema(s.c.In.Fields()...))
	l.write(w, 8)
	l.write(second, 9)
	l.flush(second)
	l.flush(w)
	l.close(second)
	l.write(w, 10)
	l.end(w)

	l = s.life(t, cfg, s.c.In)
	w = l.open(s.c.In)
	if s.p.Spec.HonoursKeys {
		l.write(w, 10)
	}
	l.write(w, 11)
	l.flush(w)
	l.end(w)

	l = s.life(t, cfg, s.c.In)
	w = l.open(s.c.In)
	l.writeCancelled(w, 13)
	l.end(w)

	if needs := s.p.Spec.Needs; needs != nil {
		if names := needs(cfg, s.c.In, nil); names != nil {
			in := s.c.In.Select(func(f sdk.Field) bool { return slices.Contains(names, f.Name) })
			l = s.life(t, cfg, in)
			w = l.open(in)
			l.write(w, 12)
			l.end(w)
		}
	}

	if s.c.Stored != nil && !t.Failed() {
		want := 0
		for _, n := range s.rows {
			want += n
		}
		if got := s.c.Stored(t, cfg); got != want {
			t.Errorf("the store holds %d rows, want %d", got, want)
		}
	}
}
