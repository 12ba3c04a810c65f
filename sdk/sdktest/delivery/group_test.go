package delivery_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/sdktest"
	"github.com/weirflow/weir/sdk/sdktest/delivery"
)

// owned lists the partitions of a member, revoked ones apart.
func owned(t *testing.T, b delivery.Broker, member string) (own, revoked []uint32) {
	t.Helper()
	a, err := b.Beat(t.Context(), member)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range a.Parts {
		if p.Revoked {
			revoked = append(revoked, p.Partition)
		} else {
			own = append(own, p.Partition)
		}
	}
	return own, revoked
}

func join(t *testing.T, b delivery.Broker) string {
	t.Helper()
	m, err := b.Join(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestGroupRebalancesCooperatively(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := delivery.NewMemory(delivery.Config{Partitions: 4, Records: 10, Session: 3 * time.Second, Revoke: time.Second})
		one := join(t, b)
		own, _ := owned(t, b, one)
		two := join(t, b)
		keeps, loses := owned(t, b, one)
		early, _ := owned(t, b, two)
		if d := cmp.Diff([]any{[]uint32{0, 1, 2, 3}, []uint32{0, 1}, []uint32{2, 3}, []uint32(nil)}, []any{own, keeps, loses, early}); d != "" {
			t.Fatalf("alone; kept, revoked and given before the release (-want +got):\n%s", d)
		}
		if err := b.Release(t.Context(), one, 2, 1); err != nil {
			t.Fatal(err)
		}
		if got, _ := owned(t, b, two); !cmp.Equal(got, []uint32{2}) {
			t.Errorf("after the release of 2 the second member has %v", got)
		}
		// A release of a life that has passed does nothing.
		if err := b.Release(t.Context(), one, 2, 1); err != nil {
			t.Fatal(err)
		}
		if got, _ := owned(t, b, two); !cmp.Equal(got, []uint32{2}) {
			t.Errorf("after a late release of 2 the second member has %v", got)
		}
		// Who does not give up in time is expelled.
		time.Sleep(time.Second)
		if got, _ := owned(t, b, two); !cmp.Equal(got, []uint32{0, 1, 2, 3}) {
			t.Errorf("after the deadline the second member has %v", got)
		}
		if _, err := b.Beat(t.Context(), one); !errors.Is(err, delivery.ErrUnknownMember) {
			t.Errorf("the expelled member's beat: %v", err)
		}
	})
}

func TestLastCommitWinsWhoeverOwnsThePartition(t *testing.T) {
	b := delivery.NewMemory(delivery.Config{Partitions: 2, Records: 10})
	one, two := join(t, b), join(t, b)
	for _, m := range []string{one, two} {
		if err := b.Commit(t.Context(), m, map[uint32]delivery.Committed{0: {Next: int64(len(m)), Value: []byte(m)}}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := b.Committed(t.Context(), 0)
	if err != nil || string(got.Value) != two {
		t.Errorf("the committed position is %q (%v), want the last one", got.Value, err)
	}
	if err := b.Commit(t.Context(), "stranger", nil); !errors.Is(err, delivery.ErrUnknownMember) {
		t.Errorf("the commit of a stranger: %v", err)
	}
	if tally, _ := b.Tally(t.Context()); tally.Stale != 1 {
		t.Errorf("%d stale commits, want 1", tally.Stale)
	}
}

// accept takes n readers.
func accept(t *testing.T, s sdk.Source, n int) (rs []sdk.Reader) {
	t.Helper()
	for range n {
		r, err := s.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		rs = append(rs, r)
	}
	return rs
}

func source(t *testing.T, b delivery.Broker) sdk.Source {
	t.Helper()
	p := delivery.Source(b)
	s, err := p.Source(sdktest.Env(t, sdktest.WithOut(delivery.Schema), sdktest.WithNode("test", "source", 0)), p.Spec.Config())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSourceCommitsAFirstPositionAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := delivery.NewMemory(delivery.Config{Partitions: 1, Records: 10})
		s := source(t, b)
		r := accept(t, s, 1)[0]
		want := sdk.Position{Stored: -1}
		c, err := b.Committed(t.Context(), 0)
		if err != nil || c.Value == nil {
			t.Fatalf("no position after the assignment (%v)", err)
		}
		for name, p := range map[string]sdk.Position{"planned": r.(sdk.Planner).Planned(), "committed": must(sdk.ParsePosition(c.Value))} {
			if d := cmp.Diff(want, p, cmpopts.IgnoreFields(sdk.Position{}, "Partition"), cmpopts.EquateEmpty()); d != "" {
				t.Errorf("%s (-want +got):\n%s", name, d)
			}
		}
		shut(t, s, r)
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func shut(t *testing.T, s sdk.Source, rs ...sdk.Reader) {
	t.Helper()
	for _, r := range rs {
		if err := r.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// A revoked partition says so, goes when its time is over, and is refused by Save from then on.
func TestRevocation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := delivery.NewMemory(delivery.Config{Partitions: 2, Records: 1000, Revoke: time.Second})
		one := source(t, b)
		rs := accept(t, one, 2)
		two := source(t, b)
		next := make(chan sdk.Reader)
		go func() { r, _ := two.Accept(t.Context()); next <- r }()
		time.Sleep(100 * time.Millisecond)

		lost := rs[1]
		if _, err := rs[0].Read(t.Context(), 0); err != nil {
			t.Fatalf("the partition that stays: %v", err)
		}
		if _, err := lost.Read(t.Context(), 0); !errors.Is(err, sdk.ErrRevoked) {
			t.Fatalf("the partition that goes: %v, want ErrRevoked", err)
		}
		save := func() error {
			return one.(sdk.Committer).Save(t.Context(), []sdk.Position{{Partition: lost.Partition(), Next: 40, Stored: -1}})
		}
		if err := save(); err != nil {
			t.Errorf("a save before the deadline: %v", err)
		}
		<-lost.Partition().Gone
		if err := save(); !errors.Is(err, delivery.ErrGone) {
			t.Errorf("a save of what is gone: %v, want ErrGone", err)
		}
		r := <-next
		if p := r.Partition(); p.Name != lost.Partition().Name || p.Life <= lost.Partition().Life {
			t.Errorf("the next life is %+v, that before %+v", p, lost.Partition())
		}
		if p := r.(sdk.Planner).Planned(); p.Next != 40 {
			t.Errorf("the next life reads from %d, want 40", p.Next)
		}
		shut(t, two, r)
		shut(t, one, rs...)
	})
}

// slowly is a world whose broker takes a second to commit.
type slowly struct {
	*delivery.Memory
	committed time.Time
	released  time.Time
}

func (s *slowly) Commit(ctx context.Context, member string, at map[uint32]delivery.Committed) error {
	time.Sleep(time.Second)
	s.committed = time.Now()
	return s.Memory.Commit(ctx, member, at)
}

func (s *slowly) Release(ctx context.Context, member string, partition uint32, life uint64) error {
	s.released = time.Now()
	return s.Memory.Release(ctx, member, partition, life)
}

// A partition is given up only when the commits that are under way are answered: the broker would take one for the next owner's.
func TestReleaseWaitsForCommitsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &slowly{Memory: delivery.NewMemory(delivery.Config{Partitions: 1, Records: 1000, Session: 10 * time.Second})}
		s := source(t, b)
		r := accept(t, s, 1)[0]
		saved := make(chan error)
		go func() {
			saved <- s.(sdk.Committer).Save(t.Context(), []sdk.Position{{Partition: r.Partition(), Next: 40, Stored: -1}})
		}()
		time.Sleep(500 * time.Millisecond)
		if err := r.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if err := <-saved; err != nil {
			t.Errorf("the save that was under way: %v", err)
		}
		if b.released.Before(b.committed) {
			t.Errorf("released %v before the commit was answered", b.committed.Sub(b.released))
		}
		shut(t, s)
	})
}

func TestSourceStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := source(t, delivery.NewMemory(delivery.Config{Partitions: 1, Rate: 100}))
		r := accept(t, s, 1)[0]
		time.Sleep(time.Second)
		b, err := r.Read(t.Context(), time.Second)
		if err != nil || b.Rows() != 50 {
			t.Fatalf("read %v, %v", b, err)
		}
		b.Done(sdk.Delivered)
		b.Release()
		if err := s.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Read(t.Context(), time.Hour); !errors.Is(err, sdk.ErrRevoked) {
			t.Errorf("read after stop: %v", err)
		}
		if _, err := s.Accept(t.Context()); !errors.Is(err, io.EOF) {
			t.Errorf("accept after stop: %v", err)
		}
		shut(t, s, r)
	})
}
