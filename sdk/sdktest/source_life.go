package sdktest

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/weirflow/weir/sdk"
)

// life is one instance of the source, read by one goroutine.
type life struct {
	t       testing.TB
	s       *sourceSuite
	ctx     context.Context // of Accept and Read
	world   *world
	leaks   goleak.Option
	source  sdk.Source
	accepts chan accepted
	readers []*reading
	noMore  bool // Accept has said io.EOF
	keep    bool // readers that have ended stay open
	plan    map[string]sdk.Position

	rows    int
	batches int
	all     Rows
	held    []kept
}

type accepted struct {
	r   sdk.Reader
	err error
}

// reading is one reader.
type reading struct {
	r    sdk.Reader
	p    *sdk.Partition
	seen []seen
	ends []int64
	from int64
	over error
	shut bool
}

type seen struct {
	first, last int64
	rows        int
}

func (r *reading) last() int64 { return r.seen[len(r.seen)-1].last }

func (r *reading) rows() (n int) {
	for _, s := range r.seen {
		n += s.rows
	}
	return n
}

// kept is a batch that core has not released yet.
type kept struct {
	b     *sdk.Batch
	print uint64
}

func (s *sourceSuite) life(t testing.TB, cfg any) *life {
	t.Helper()
	return s.lifeUnder(t.Context(), t, cfg)
}

// lifeUnder is a life whose calls of Accept and Read are made with ctx.
func (s *sourceSuite) lifeUnder(ctx context.Context, t testing.TB, cfg any) *life {
	t.Helper()
	l := &life{t: t, s: s, ctx: ctx, leaks: goleak.IgnoreCurrent(), accepts: make(chan accepted)}
	l.world = newWorld(t, WithOut(outputs(t, &s.p.Spec, cfg, nil)...))
	var err error
	if s.loop {
		l.source, err = loopSource(t, s.p, l.world.env, cfg)
	} else {
		err = guard("the constructor", func() (err error) { l.source, err = s.p.Source(l.world.env, cfg); return err })
	}
	if err != nil {
		t.Fatalf("the constructor: %v", err)
	}
	source := l.source
	go func() {
		for {
			var a accepted
			if err := guard("Accept", func() error { a.r, a.err = source.Accept(ctx); return nil }); err != nil {
				a.err = err
			}
			select {
			case l.accepts <- a:
			case <-t.Context().Done():
				return
			}
			if a.err != nil {
				return
			}
		}
	}()
	return l
}

// take registers what Accept has returned.
func (l *life) take(a accepted) {
	l.t.Helper()
	switch {
	case errors.Is(a.err, io.EOF):
		l.noMore = true
		return
	case a.err != nil:
		l.t.Fatalf("Accept: %v", a.err)
	}
	r := &reading{r: a.r, p: a.r.Partition()}
	if r.p == nil {
		l.t.Fatal("a reader has no partition")
	}
	for _, o := range l.readers {
		if o.p == r.p {
			l.t.Errorf("two readers have one partition, %s", r.p.Name)
		}
	}
	l.readers = append(l.readers, r)
	if !l.s.p.Spec.Commits {
		return
	}
	pl, ok := a.r.(sdk.Planner)
	if !ok {
		l.t.Fatal("Spec.Commits, and the reader is no sdk.Planner")
	}
	got := pl.Planned()
	want, known := l.plan[r.p.Name]
	if !known {
		return
	}
	want.Partition = got.Partition
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmp.AllowUnexported(sdk.Partition{})); d != "" {
		l.t.Errorf("Planned of %s is not what was saved (-saved +planned):\n%s", r.p.Name, d)
	}
	r.from = want.Next
	for _, e := range want.Ends {
		r.ends = append(r.ends, e.Last)
	}
	delete(l.plan, r.p.Name)
}

// untilAccepted waits for the first reader, and for those that come with it.
func (l *life) untilAccepted() {
	l.t.Helper()
	for wait := patience; ; wait = 300 * time.Millisecond {
		select {
		case a := <-l.accepts:
			l.take(a)
		case <-time.After(wait):
			if len(l.readers) == 0 {
				l.t.Fatalf("Accept has returned no reader after %v", patience)
			}
			return
		}
	}
}

// over says that all has ended; stopped, that every reader has.
func (l *life) over() bool { return l.noMore && l.stopped() }

func (l *life) stopped() bool {
	return !slices.ContainsFunc(l.readers, func(r *reading) bool { return r.over == nil })
}

// readUntil reads all readers by turns.
func (l *life) readUntil(enough func() bool) {
	l.t.Helper()
	give := time.Now().Add(patience)
	for turn := 0; !enough(); turn++ {
		if time.Now().After(give) {
			l.t.Fatalf("nothing has come for %v: %d rows of %d readers so far, Accept ended: %v", patience, l.rows, len(l.readers), l.noMore)
		}
		select {
		case a := <-l.accepts:
			l.take(a)
			give = time.Now().Add(patience)
			continue
		default:
		}
		idle := true
		for _, r := range l.readers {
			if r.over != nil {
				continue
			}
			if l.read(r, time.Duration(turn%2)*5*time.Millisecond) {
				give, idle = time.Now().Add(patience), false
			}
			if r.over != nil && !l.keep {
				l.settle(r)
			}
			if enough() {
				return
			}
		}
		if idle {
			time.Sleep(time.Millisecond)
		}
		l.live()
	}
}

// read makes one Read and says whether anything came of it.
func (l *life) read(r *reading, wait time.Duration) bool {
	l.t.Helper()
	var b *sdk.Batch
	began := time.Now()
	err := within(l.t, patience, "Read", func() (err error) { b, err = r.r.Read(l.ctx, wait); return err })
	if took := time.Since(began); took > wait+5*time.Second {
		l.t.Errorf("Read with wait %v took %v", wait, took)
	}
	switch {
	case b != nil && err != nil:
		l.t.Fatalf("Read returned a batch with an error: %v", err)
	case errors.Is(err, io.EOF) || errors.Is(err, sdk.ErrRevoked):
		r.over = err
		if errors.Is(err, io.EOF) {
			r.over = io.EOF
		}
		for range 3 {
			again := within(l.t, patience, "Read after the end", func() (err error) { b, err = r.r.Read(l.t.Context(), 0); return err })
			if b != nil || !errors.Is(again, r.over) {
				l.t.Fatalf("Read after the end returned (%v, %v), want %v for ever", b, again, r.over)
			}
		}
		return true
	case err != nil:
		l.t.Fatalf("Read: %v", err)
	case b == nil:
		return false
	}
	l.batch(r, b)
	return true
}

func (l *life) batch(r *reading, b *sdk.Batch) {
	l.t.Helper()
	if b.Schema() != l.world.env.Out[0] {
		l.t.Errorf("Read returned a batch of schema (%v), want the very schema Env.Out[0] (%v)", b.Schema(), l.world.env.Out[0])
	}
	print := fingerprint(b)
	b.Seal()
	if fingerprint(b) != print {
		l.t.Error("Read returned a batch that was not sealed")
		print = fingerprint(b)
	}
	rg := b.Range()
	if rg.Partition != r.p && (rg.Partition != nil || l.s.p.Spec.Commits) {
		l.t.Fatalf("a batch of %v came from the reader of %s", rg, r.p.Name)
	}
	if rg.Partition != nil {
		if rg.Last < rg.First {
			l.t.Errorf("range %v ends before it begins", rg)
		}
		if n := len(r.seen); n > 0 && rg.First <= r.seen[n-1].last {
			l.t.Errorf("range %v comes after a batch up to %d: positions ascend", rg, r.seen[n-1].last)
		}
		if rg.First < r.from {
			l.t.Errorf("range %v lies before the position %d where reading goes on", rg, r.from)
		}
		for _, e := range r.ends {
			if rg.First <= e && e < rg.Last {
				l.t.Errorf("range %v crosses the planned end %d", rg, e)
			}
		}
	}
	r.seen = append(r.seen, seen{rg.First, rg.Last, b.Rows()})
	l.rows += b.Rows()
	l.batches++
	l.all = append(l.all, RowsOf(b)...)
	b.Track(settler(func(sdk.Outcome) {}))
	l.held = append(l.held, kept{b, print})
	if len(l.held) > 3 {
		l.release(1)
	}
}

// settle is what core does with a reader that has ended: its last position is saved, and it is closed.
func (l *life) settle(r *reading) {
	l.t.Helper()
	l.release(len(l.held))
	if c, ok := l.source.(sdk.Committer); ok && l.s.p.Spec.Commits && r.over == io.EOF && len(r.seen) > 0 {
		p := sdk.Position{Partition: r.p, Next: r.last() + 1, Stored: -1}
		if err := within(l.t, patience, "Save", func() error { return c.Save(l.t.Context(), []sdk.Position{p}) }); err != nil {
			l.t.Errorf("Save of the last position of %s: %v", r.p.Name, err)
		}
	}
	l.shut(r)
}

// release gives the oldest batches back; they must be as they were.
func (l *life) release(n int) {
	l.t.Helper()
	for _, k := range l.held[:n] {
		if fingerprint(k.b) != k.print {
			l.t.Error("a batch changed before it was released: what it looks into is lent until then")
		}
		k.b.Done(sdk.Delivered)
		k.b.Release()
	}
	l.held = l.held[n:]
}

// counted is the right side of a source's equation.
func (l *life) counted() (n uint64) {
	b := l.world.env.Books
	b.Dropped(func(reason sdk.Reason, k uint64) {
		n += k
		if !slices.Contains(l.s.p.Spec.Reasons, reason) {
			l.t.Errorf("dropped for reason %q, which Spec.Reasons does not name", reason)
		}
	})
	lossesNamed(l.t, b, &l.s.p.Spec)
	return n + uint64(l.rows) + b.Filtered.Load()
}

// live checks the books while the source runs: downstream is read before upstream.
func (l *life) live() {
	l.t.Helper()
	right := l.counted()
	if got := l.world.env.Books.Received.Load(); got < right {
		l.t.Fatalf("the books do not balance: received %d, but out + filtered + dropped = %d", got, right)
	}
}

func (l *life) stop() {
	l.t.Helper()
	if err := within(l.t, patience, "Stop", func() error { return l.source.Stop(l.t.Context()) }); err != nil {
		l.t.Fatalf("Stop: %v", err)
	}
}

func (l *life) shut(r *reading) {
	l.t.Helper()
	if r.shut {
		return
	}
	r.shut = true
	if err := within(l.t, patience, "Close of a reader", func() error { return r.r.Close(l.t.Context()) }); err != nil {
		l.t.Errorf("Close of a reader: %v", err)
	}
}

// close gives back what is held, and closes the readers and the source.
func (l *life) close() {
	l.t.Helper()
	l.release(len(l.held))
	for _, r := range l.readers {
		l.shut(r)
	}
	if err := within(l.t, patience, "Close", func() error { return l.source.Close(l.t.Context()) }); err != nil {
		l.t.Errorf("Close: %v", err)
	}
}

// end closes all and checks that nothing is left.
func (l *life) end() {
	l.t.Helper()
	for !l.noMore {
		select {
		case a := <-l.accepts:
			l.take(a) // it may have been on its way before Stop
			l.readUntil(l.stopped)
		case <-time.After(patience):
			l.t.Fatalf("Accept has not returned %v after Stop", patience)
		}
	}
	l.close()
	books := l.world.env.Books
	right, hand := l.counted(), books.InHand.Load()
	if got := books.Received.Load(); hand != 0 || got != right {
		l.t.Errorf("the books do not balance at the end: received %d, but out + filtered + dropped = %d and in hand %d", got, right, hand)
	}
	l.world.left(l.t, l.source, l.leaks, "")
}

// aborted is what core does when the run has been aborted: Accept and Read must come back though there is nothing to hand out; what
// they return is dropped, and the source is closed as it stands.
func (l *life) aborted() {
	l.t.Helper()
	for _, r := range l.readers {
		if r.over != nil {
			continue
		}
		// In time, whatever it returns: it may have had something in hand.
		var b *sdk.Batch
		_ = within(l.t, patience, "Read with a cancelled context and a wait of an hour", func() error { b, _ = r.r.Read(l.ctx, time.Hour); return nil })
		if b != nil {
			b.Track(settler(func(sdk.Outcome) {}))
			l.held = append(l.held, kept{b, fingerprint(b)})
		}
	}
	for over := l.noMore; !over; {
		select {
		case a := <-l.accepts:
			if over = a.err != nil; !over {
				l.take(a)
			}
		case <-time.After(patience):
			l.t.Fatalf("Accept has not returned %v after its context was cancelled", patience)
		}
	}
	l.close()
	l.world.left(l.t, l.source, l.leaks, "")
}
