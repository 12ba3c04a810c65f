package sdktest

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weirflow/weir/sdk"
)

// every has a column of each type.
var every = func() *sdk.Schema {
	var f []sdk.Field
	for t := sdk.Uint8; t <= sdk.Uint32s; t++ {
		f = append(f, sdk.Field{Name: "c" + string(rune('a'+t)), Type: t, Doc: "d", Unit: "u"})
	}
	return sdk.NewSchema(f...)
}()

// A batch crosses the loop-back as it is, and its partition is one object on each side.
func TestBatchesCrossTheLoopback(t *testing.T) {
	a, b := sdk.NewPool(dirty{}), sdk.NewPool(dirty{})
	host, guest := newLinks()
	handle := func(context.Context, string, []byte) (any, error) { return nil, nil }
	host.start(handle)
	guest.start(handle)
	defer host.stop()
	defer guest.stop()
	there := copySchema(every)
	p := &sdk.Partition{Source: "s", Name: "p", Life: 3}
	rapid.Check(t, func(t *rapid.T) {
		in := Batch(a, every, 40).Draw(t, "batch")
		in.Root(sdk.Range{Partition: p, First: 5, Last: 9})
		out, err := guest.unpack(b, there, as[wireBatch](encode(host.pack(in))))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(RowsOf(in), RowsOf(out)); d != "" {
			t.Fatalf("rows (-sent +come):\n%s", d)
		}
		r := out.Range()
		if r.First != 5 || r.Last != 9 || r.Partition == p || r.Partition.Name != "p" || r.Partition.Life != 3 {
			t.Fatalf("the range came as %v", r)
		}
		if back := host.rangeOf(as[wireRange](encode(wireRange{Part: guest.parts.export(r.Partition)}))); back.Partition != p {
			t.Fatal("the partition came back as another")
		}
		for _, x := range []*sdk.Batch{in, out} {
			x.Done(sdk.Delivered)
			x.Release()
		}
	})
	if a.InUse() != 0 || b.InUse() != 0 {
		t.Errorf("%d and %d batches are left", a.InUse(), b.InUse())
	}
}

func TestErrorsCrossTheLoopback(t *testing.T) {
	for _, err := range []error{
		nil, io.EOF, sdk.ErrRevoked, errors.New("plain"),
		&sdk.Error{Class: sdk.Permanent, Code: "bad", Rows: []int{1, 5}, Err: errors.New("x")},
		&sdk.NotReady{What: "the port is in use", Do: "choose another"},
	} {
		got := as[struct{ E *wireError }](encode(struct{ E *wireError }{wireErrorOf(err)})).E.error()
		if (got == nil) != (err == nil) || err != nil && got.Error() != err.Error() {
			t.Errorf("%v came as %v", err, got)
		}
		if sdk.ClassOf(err) != sdk.ClassOf(got) || sdk.CodeOf(err) != sdk.CodeOf(got) {
			t.Errorf("%v came as class %v, code %v", err, sdk.ClassOf(got), sdk.CodeOf(got))
		}
		for _, s := range sentinels {
			if errors.Is(err, s) != errors.Is(got, s) {
				t.Errorf("%v came as %v: not the same sentinel", err, got)
			}
		}
	}
}

// State that a guest puts is the host's, and comes back; the end of a partition is told.
func TestStateAndEndsCrossTheLoopback(t *testing.T) {
	gone := make(chan struct{})
	p := &sdk.Partition{Name: "p", Gone: gone}
	host, far := newLinks()
	state := &State{}
	env := Env(t, WithState(state))
	host.start(func(ctx context.Context, name string, body []byte) (any, error) {
		return common(host, env, ctx, name, body)
	})
	far.start(func(ctx context.Context, name string, body []byte) (any, error) {
		return common(far, env, ctx, name, body)
	})
	defer host.stop()
	defer far.stop()
	q := far.parts.find(as[wirePart](encode(host.parts.export(p))))
	kv := farKV{far, q}
	if err := kv.Put(t.Context(), "k", []byte("v")); err != nil {
		t.Fatal(err)
	}
	here, err := state.Of(p).Get(t.Context(), "k")
	there, farErr := kv.Get(t.Context(), "k")
	none, noneErr := kv.Get(t.Context(), "other")
	if d := cmp.Diff([]string{"v", "v", ""}, []string{string(here), string(there), string(none)}); d != "" || none != nil || errors.Join(err, farErr, noneErr) != nil {
		t.Errorf("state (-want +got), errors %v %v %v:\n%s", err, farErr, noneErr, d)
	}
	if q.IsGone() {
		t.Error("the partition is gone before it is")
	}
	close(gone)
	select {
	case <-q.Gone:
	case <-time.After(patience):
		t.Error("the guest was not told that the partition is gone")
	}
}

func TestCallsAreCancelledThroughTheLoopback(t *testing.T) {
	host, far := newLinks()
	host.start(func(context.Context, string, []byte) (any, error) { return nil, nil })
	far.start(func(ctx context.Context, _ string, _ []byte) (any, error) { <-ctx.Done(); return nil, ctx.Err() })
	defer host.stop()
	defer far.stop()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := host.call(ctx, "wait", true, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a call that was given up: %v", err)
	}
}

// closes counts its closings.
type closes struct{ n int }

func (c *closes) Close() error { c.n++; return nil }

func TestSharedObjectsOutliveTheirHolders(t *testing.T) {
	var object closes
	opened := 0
	open := func(context.Context) (io.Closer, error) { opened++; return &object, nil }
	one := Env(t)
	two := Env(t, WithSharesOf(one))
	a, errA := one.Share("key", open)
	b, errB := two.Share("key", open)
	if errA != nil || errB != nil || opened != 1 || a.Object() != b.Object() {
		t.Fatalf("two holders: opened %d times, %v %v", opened, errA, errB)
	}
	if err := a.Close(); err != nil || object.n != 0 {
		t.Errorf("after the first close the object was closed %d times (%v)", object.n, err)
	}
	if err := a.Close(); err == nil {
		t.Error("a holder closed twice")
	}
	if err := b.Close(); err != nil || object.n != 1 {
		t.Errorf("after the last close the object was closed %d times (%v)", object.n, err)
	}
	said := witnessed(t, func(t testing.TB) { Env(t).Share("left", open) })
	wantFailure(t, said, `"left" is still held`)
}

// Rows that were not written show: as poison before Seal, as zero after.
func TestPoolIsDirty(t *testing.T) {
	env := Env(t)
	b := env.NewBatch(relaySchema, 4)
	sdk.Claim[uint64](b, 0, 0, 1)[0] = 7
	b.SetRows(2)
	before := RowsOf(b)
	b.Seal()
	if d := cmp.Diff(Rows{{uint64(7), uint64(0), ""}, {uint64(0), uint64(0), ""}}, RowsOf(b)); d != "" {
		t.Errorf("sealed (-want +got):\n%s", d)
	}
	if before[1][0] == uint64(0) {
		t.Error("a row that was not written looks like zero before Seal")
	}
}

func TestClock(t *testing.T) {
	c := NewClock(time.Time{})
	env := Env(t, WithClock(c), WithUnread(1))
	began := env.Now()
	c.Advance(time.Minute)
	if got := env.Now().Sub(began); got != time.Minute {
		t.Errorf("the clock moved by %v", got)
	}
	if env.Unread(0) || !env.Unread(1) {
		t.Error("port 1 is the unread one")
	}
}
