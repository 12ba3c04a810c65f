package sdktest

import (
	"context"
	"fmt"
	"io"
	"testing"

	"github.com/weirflow/weir/sdk"
)

// SourceCase is one configuration of a source and the world that it reads.
type SourceCase struct {
	Name string
	// Config makes the world (files, a port, a broker) and the configuration that names it: once for each run, which may have
	// several lives of the source, one after another. Nil: what Spec.Config makes.
	Config func(t testing.TB) any
	// Rows is how many rows the source hands out before it ends by itself; 0 for a source that does not end.
	Rows int
	// Feed makes records appear for a source that does not end, once its readers are accepted, and says how many it will hand
	// out because of that.
	Feed func(t testing.TB, cfg any) int
	// Check looks at all rows of a run to the end, optional.
	Check func(t testing.TB, rows Rows)
}

// Source runs the suite over a source plugin: for each case
//
//   - Read returns within its wait, a batch or an error but never both, and for ever io.EOF (or sdk.ErrRevoked) once it has;
//   - batches have the port's very schema, are sealed, stay as they are until released, and lie in the reader's partition in
//     ascending order;
//   - received = out + filtered + dropped + in hand, exactly, at rest;
//   - Stop ends every reader and Accept; so does a cancelled context, at once, and without Stop the source can then be closed;
//   - positions that are saved come back in the next life as they were; reading goes on at Next, no batch crosses a planned end,
//     and nothing is missing;
//   - goroutines, batches and shared objects left over are failures.
func Source(t *testing.T, p sdk.Plugin, cases ...SourceCase) {
	t.Helper()
	sourceWays(t, p, cases, false, true)
}

func sourceWays(t testing.TB, p sdk.Plugin, cases []SourceCase, loops ...bool) {
	t.Helper()
	checkSpec(t, &p.Spec, sdk.KindSource)
	if p.Source == nil {
		t.Fatal("the plugin has no Source constructor")
	}
	for i, c := range cases {
		if c.Name == "" {
			c.Name = fmt.Sprintf("case %d", i)
		}
		if c.Rows == 0 && c.Feed == nil {
			t.Fatalf("%s: a case needs Rows, or Feed for a source that does not end", c.Name)
		}
		for _, loop := range loops {
			name := c.Name + "/direct"
			if loop {
				name = c.Name + "/loopback"
			}
			subtest(t, name, func(t testing.TB) {
				s := &sourceSuite{p: p, c: c, loop: loop}
				subtest(t, "to the end", s.toTheEnd)
				subtest(t, "stopped", s.stopped)
				subtest(t, "aborted", s.aborted)
				if p.Spec.Commits {
					subtest(t, "two lives", s.twoLives)
				}
			})
		}
	}
}

type sourceSuite struct {
	p    sdk.Plugin
	c    SourceCase
	loop bool
}

func (s *sourceSuite) config(t testing.TB) any {
	if s.c.Config == nil {
		return configOf(&s.p.Spec, nil)
	}
	return s.c.Config(t)
}

// toTheEnd reads all there is.
func (s *sourceSuite) toTheEnd(t testing.TB) {
	cfg := s.config(t)
	l := s.life(t, cfg)
	want := s.c.Rows
	if s.c.Feed != nil {
		l.untilAccepted()
		for range 3 {
			want += s.c.Feed(t, cfg)
			l.readUntil(func() bool { return l.rows >= want })
		}
		l.stop()
	}
	l.readUntil(func() bool { return l.over() })
	l.end()
	if l.rows != want {
		t.Errorf("the source handed out %d rows, want %d", l.rows, want)
	}
	if s.c.Check != nil && !t.Failed() {
		s.c.Check(t, l.all)
	}
}

// stopped stops the source after its first batch.
func (s *sourceSuite) stopped(t testing.TB) {
	cfg := s.config(t)
	l := s.life(t, cfg)
	if s.c.Feed != nil {
		l.untilAccepted()
		s.c.Feed(t, cfg)
	}
	l.readUntil(func() bool { return l.rows > 0 })
	l.stop()
	l.readUntil(func() bool { return l.over() })
	l.end()
}

// aborted cancels the context of Accept and Read after the first batch.
func (s *sourceSuite) aborted(t testing.TB) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cfg := s.config(t)
	l := s.lifeUnder(ctx, t, cfg)
	if s.c.Feed != nil {
		l.untilAccepted()
		s.c.Feed(t, cfg)
	}
	l.readUntil(func() bool { return l.rows > 0 })
	cancel()
	l.aborted()
}

// twoLives stops after some batches, saves, and goes on.
func (s *sourceSuite) twoLives(t testing.TB) {
	cfg := s.config(t)
	one := s.life(t, cfg)
	one.keep = true
	want := s.c.Rows
	if s.c.Feed != nil {
		one.untilAccepted()
		want += s.c.Feed(t, cfg)
	}
	one.readUntil(func() bool { return one.batches >= 5 || one.rows > want/2 || one.over() })
	one.stop()
	one.readUntil(func() bool { return one.stopped() })

	// Of each partition the first batch is settled; the others are two prepared segments that nobody has stored.
	var ps []sdk.Position
	settled := 0
	for _, r := range one.readers {
		if len(r.seen) == 0 || r.over == io.EOF {
			settled += r.rows()
			if len(r.seen) > 0 {
				ps = append(ps, sdk.Position{Partition: r.p, Next: r.last() + 1, Stored: -1})
			}
			continue
		}
		p := sdk.Position{Partition: r.p, Next: r.seen[0].last + 1, Stored: r.seen[0].last, StoredBy: 42}
		settled += r.seen[0].rows
		for i, x := range r.seen[1:] {
			if i == (len(r.seen)-1)/2 || i == len(r.seen)-2 {
				p.Ends = append(p.Ends, sdk.End{Last: x.last, Sinks: 1, Notes: map[string][]byte{"sink": []byte("note")}})
			}
		}
		ps = append(ps, p)
	}
	c, ok := one.source.(sdk.Committer)
	if !ok {
		t.Fatal("Spec.Commits, and the source is no sdk.Committer")
	}
	if err := within(t, patience, "Save", func() error { return c.Save(t.Context(), ps) }); err != nil {
		t.Fatalf("Save: %v", err)
	}
	one.end()

	two := s.life(t, cfg)
	two.plan = map[string]sdk.Position{}
	for _, p := range ps {
		two.plan[p.Partition.Name] = p
	}
	two.readUntil(func() bool { return settled+two.rows >= want || two.over() })
	if s.c.Feed != nil {
		two.stop()
	}
	two.readUntil(func() bool { return two.over() })
	two.end()
	if got := settled + two.rows; got != want {
		t.Errorf("%d rows were settled in the first life and %d read in the second: %d, want %d", settled, two.rows, got, want)
	}
}
