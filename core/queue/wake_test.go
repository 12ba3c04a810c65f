package queue

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/sdk"
)

// woken says whether w was woken, and takes the wake.
func woken(w Waker) bool {
	select {
	case <-w:
		return true
	default:
		return false
	}
}

// A parked consumer is woken by the eighth batch, by the fourth if those fill half of the queue in bytes or in number, and by a
// control at once; of several that share a ring one.
func TestAConsumerIsWokenWhenItIsWorthIt(t *testing.T) {
	pool := sdk.NewPool(nil)
	size := int64(numberedSize(pool))
	for _, c := range []struct {
		name string
		o    Options
		want int
	}{
		{"a large queue", Options{Bytes: 100 * size, Batches: 100, Lanes: 2}, 8},
		{"half of the bytes", Options{Bytes: 8 * size, Batches: 100, Lanes: 2}, 4},
		{"half of the number", Options{Bytes: 100 * size, Batches: 8, Lanes: 2}, 4},
	} {
		c.o.Producers = 1
		q := New(c.o)
		one, two := NewWaker(), NewWaker()
		q.Pop(0, one)
		q.Pop(1, two)
		if q.Kick() || woken(one) || woken(two) {
			t.Errorf("%s: a consumer is woken, and nothing is there", c.name)
		}
		n, wakes := 0, 0
		for n < 20 && wakes == 0 {
			if q.Push(Item{Batch: numbered(pool, nil, uint64(n))}, nil); woken(one) {
				wakes++
			}
			if woken(two) {
				wakes++
			}
			n++
		}
		if n != c.want || wakes != 1 {
			t.Errorf("%s: %d batches woke %d consumers, want %d to wake one", c.name, n, wakes, c.want)
		}
		if !q.Kick() || woken(one) == woken(two) {
			t.Errorf("%s: a kick does not wake the other one", c.name)
		}
		for range n {
			it, _, _ := q.Pop(0, one)
			settle(it)
		}
		q.Pop(0, one)
		q.Force(Item{Batch: numbered(pool, nil, 0)})
		if woken(one) {
			t.Errorf("%s: one batch wakes", c.name)
		}
		q.Force(Item{Control: control{}})
		if !woken(one) {
			t.Errorf("%s: a control does not wake", c.name)
		}
		it, _, _ := q.Pop(0, one)
		settle(it)
	}
}

// filled is a queue with room for n batches that has them, and a producer that waits.
func filled(t *testing.T, pool *sdk.Pool, n int, o Options) (*Queue, Waker) {
	t.Helper()
	o.Producers = 1
	q, w := New(o), NewWaker()
	for k := range n {
		if !q.Push(Item{Batch: numbered(pool, nil, uint64(k))}, w) {
			t.Fatalf("no room for batch %d", k)
		}
	}
	more := Item{Batch: numbered(pool, nil, uint64(n))}
	if q.Push(more, w) {
		t.Fatalf("room for %d batches", n+1)
	}
	settle(more)
	if !q.Full() {
		t.Error("a producer waits, and the queue is not full")
	}
	return q, w
}

// A producer that waits for bytes is woken when half of them are free, or when the consumer has nothing to take; not by each release.
func TestAProducerIsWokenWhenItIsWorthIt(t *testing.T) {
	pool := sdk.NewPool(nil)
	size := int64(numberedSize(pool))
	o := Options{Bytes: 8 * size, Batches: 100, Lanes: 1}
	q, w := filled(t, pool, 8, o)
	for n := 1; n <= 4; n++ {
		it, _, _ := q.Pop(0, nil)
		settle(it)
		if woken(w) != (n == 4) {
			t.Errorf("%d of 8 batches were released: woken %v", n, n < 4)
		}
		if q.Full() {
			t.Error("full, though something was released and nobody has tried since")
		}
	}
	q, w = filled(t, pool, 8, o)
	var held []Item
	for range 8 {
		it, _, _ := q.Pop(0, nil)
		held = append(held, it)
	}
	if woken(w) || !q.Full() {
		t.Error("the consumer holds all bytes, and the producer is woken")
	}
	settle(held[0])
	if !woken(w) {
		t.Error("the consumer has nothing to take, and the producer is not woken")
	}
}

// A producer that waits for the number of batches is woken when a lane has nothing to take, however much others have.
func TestAnEmptyLaneMakesRoom(t *testing.T) {
	pool := sdk.NewPool(nil)
	q, w := New(Options{Bytes: 1 << 20, Batches: 4, Lanes: 2, ByPartition: true, Producers: 1}), NewWaker()
	a, b := &sdk.Partition{Name: "a"}, &sdk.Partition{Name: "b"}
	for n, p := range []*sdk.Partition{a, b, b, b} {
		q.Push(Item{Batch: numbered(pool, p, uint64(n))}, w)
	}
	more := Item{Batch: numbered(pool, a, 4)}
	if q.Push(more, w) {
		t.Fatal("a fifth batch fitted")
	}
	settle(more)
	it, _, _ := q.Pop(q.lanes[a], nil)
	if !woken(w) || q.Full() {
		t.Errorf("a lane has nothing to take: full %v, and the producer is not woken", q.Full())
	}
	settle(it)
}

// The queue is full as long as somebody waits who has tried since the last release.
func TestFullIsThatSomebodyWaits(t *testing.T) {
	pool := sdk.NewPool(nil)
	q, one := filled(t, pool, 2, Options{Bytes: 1 << 20, Batches: 2, Lanes: 1})
	two := NewWaker()
	more := Item{Batch: numbered(pool, nil, 9)}
	defer settle(more)
	if q.Push(more, two) {
		t.Fatal("a third batch fitted")
	}
	q.Leave(one)
	if !q.Full() {
		t.Error("one of two left, and the queue is not full")
	}
	q.Leave(two)
	if q.Full() {
		t.Error("nobody waits, and the queue is full")
	}
	q.Push(more, one)
	q.Push(more, two)
	it, _, _ := q.Pop(0, nil)
	settle(it)
	q.Leave(one)
	if q.Full() {
		t.Error("full, though there was room and nobody has tried since")
	}
}

// What the consumer itself holds is not room that dropping can make: then the new batch goes, and what waits stays.
func TestNothingIsDroppedInVain(t *testing.T) {
	pool := sdk.NewPool(nil)
	size := int64(numberedSize(pool))
	var dropped []uint64
	q := New(Options{Bytes: 5 * size, Batches: 100, Lanes: 1, Producers: 1, WhenFull: config.DropOldest,
		OnDrop: func(it Item) { dropped = append(dropped, numberOf(it)); settle(it) }})
	for n := range uint64(7) { // 0 and 1 make room for 5 and 6
		q.Push(Item{Batch: numbered(pool, nil, n)}, nil)
	}
	for range 4 {
		it, _, _ := q.Pop(0, nil)
		defer settle(it)
	}
	large := numbered(pool, nil, 7)
	large.Lend(int(size), nil) // twice as large
	q.Push(Item{Batch: large}, nil)
	if diff := cmp.Diff([]uint64{0, 1, 7}, dropped); diff != "" {
		t.Errorf("dropped (-want +got):\n%s", diff)
	}
	if s, want := q.Stats(), (Stats{Batches: 1, Rows: 1, Bytes: 5 * size, MostBytes: 5 * size, Limit: 5 * size}); s != want {
		t.Errorf("%+v, want %+v", s, want)
	}
}

// What was held at most, and what was forced above the limit, stays known when it is given back.
func TestStatsRememberTheMost(t *testing.T) {
	pool := sdk.NewPool(nil)
	size := int64(numberedSize(pool))
	q := New(Options{Bytes: 2 * size, Batches: 100, Lanes: 1, Producers: 1})
	for n := range uint64(5) {
		q.Force(Item{Batch: numbered(pool, nil, n)})
	}
	for range 5 {
		it, _, _ := q.Pop(0, nil)
		settle(it)
	}
	q.Push(Item{Batch: numbered(pool, nil, 5)}, nil)
	if s, want := q.Stats(), (Stats{Batches: 1, Rows: 1, Bytes: size, MostBytes: 5 * size, Limit: 2 * size, Forced: 3 * size}); s != want {
		t.Errorf("%+v, want %+v", s, want)
	}
	it, _, _ := q.Pop(0, nil)
	settle(it)
}
