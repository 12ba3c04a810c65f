package queue

import (
	"fmt"
	"math/rand"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/sdk"
)

var one = sdk.NewSchema(sdk.Field{Name: "n", Type: sdk.Uint64})

// control is a message that goes the way of its partition.
type control struct {
	p *sdk.Partition
	n uint64
}

func (c control) Partition() *sdk.Partition { return c.p }

// numbered makes a batch that carries a number, in a partition or in none.
func numbered(pool *sdk.Pool, p *sdk.Partition, n uint64) *sdk.Batch {
	b := pool.Get(one, 1)
	sdk.Claim[uint64](b, 0, 0, 1)[0] = n
	b.SetRows(1)
	b.Seal()
	b.Root(sdk.Range{Partition: p, First: int64(n), Last: int64(n)})
	return b
}

func numberOf(it Item) uint64 {
	if c, ok := it.Control.(control); ok {
		return c.n
	}
	return sdk.Values[uint64](it.Batch, 0)[0]
}

func settle(it Item) {
	if it.Batch != nil {
		it.Batch.Done(sdk.Delivered)
		it.Batch.Release()
	}
}

// Whatever is done with a queue, and whatever its policy: what was pushed was popped, dropped by the policy or still waits; each
// producer's items come in their order, controls among them and none of them dropped; what is held is within the limit, but for what
// was forced; a partition keeps its lane.
func TestAQueueKeepsOrderAndAccount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pool := sdk.NewPool(nil)
		size := int64(numberedSize(pool))
		policy := rapid.SampledFrom([]config.WhenFull{config.Block, config.DropOldest, config.DropNewest}).Draw(t, "policy")
		lanes := rapid.IntRange(1, 3).Draw(t, "lanes")
		limit := int64(rapid.IntRange(1, 8).Draw(t, "limit")) * size
		dropped := map[uint64]bool{}
		q := New(Options{Bytes: limit, Batches: rapid.IntRange(1, 8).Draw(t, "batches"), WhenFull: policy, Lanes: lanes,
			ByPartition: rapid.Bool().Draw(t, "by partition"), Producers: 1,
			OnDrop: func(it Item) {
				if it.Batch == nil {
					t.Fatalf("a control was dropped")
				}
				dropped[numberOf(it)] = true
				it.Batch.Done(sdk.Dropped)
				it.Batch.Release()
			}})
		parts := []*sdk.Partition{nil, {Name: "a"}, {Name: "b"}, {Name: "c"}}
		w := NewWaker()
		next := uint64(0)
		var pushed []uint64
		of := map[uint64]*sdk.Partition{}
		popped := map[uint64]bool{}
		last := map[*sdk.Partition]uint64{}
		laneOf := map[*sdk.Partition]int{}
		forced := int64(0) // bytes of forced batches that are still held
		isForced := map[uint64]bool{}
		var held []Item
		take := func(lane int) bool {
			it, ok, _ := q.Pop(lane, w)
			if !ok {
				return false
			}
			n := numberOf(it)
			if popped[n] || dropped[n] {
				t.Fatalf("%d comes twice", n)
			}
			popped[n] = true
			p := of[n]
			if l, ok := last[p]; ok && n < l {
				t.Fatalf("%d of %v comes behind %d", n, p, l)
			}
			last[p] = n
			if q.o.ByPartition && p != nil {
				if l, ok := laneOf[p]; ok && l != lane {
					t.Fatalf("partition %s came to lane %d and to lane %d", p.Name, l, lane)
				}
				laneOf[p] = lane
			}
			if it.Batch != nil {
				held = append(held, it)
			}
			return true
		}
		release := func(i int) {
			it := held[i]
			held = slices.Delete(held, i, i+1)
			if isForced[numberOf(it)] {
				forced -= size
			}
			settle(it)
		}
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				p := rapid.SampledFrom(parts).Draw(t, "partition")
				b := numbered(pool, p, next)
				of[next] = p
				if q.Push(Item{Batch: b}, w) {
					pushed = append(pushed, next)
					next++
				} else if policy != config.Block {
					t.Fatalf("a queue that may drop did not take a batch")
				} else {
					settle(Item{Batch: b})
				}
			},
			"force": func(t *rapid.T) {
				p := rapid.SampledFrom(parts).Draw(t, "partition")
				of[next] = p
				if rapid.Bool().Draw(t, "control") {
					q.Force(Item{Control: control{p, next}})
				} else {
					isForced[next] = true
					forced += size
					q.Force(Item{Batch: numbered(pool, p, next)})
				}
				pushed = append(pushed, next)
				next++
			},
			"pop": func(t *rapid.T) { take(rapid.IntRange(0, lanes-1).Draw(t, "lane")) },
			"release": func(t *rapid.T) {
				if len(held) > 0 {
					release(rapid.IntRange(0, len(held)-1).Draw(t, "which"))
				}
			},
			"": func(t *rapid.T) {
				s := q.Stats()
				for n := range dropped {
					if isForced[n] {
						isForced[n] = false
						forced -= size
					}
				}
				if most := max(limit, size); s.Bytes > most+forced {
					t.Fatalf("%d bytes are held, limit %d, forced %d", s.Bytes, most, forced)
				}
				if s.MostBytes > max(limit, size)+max(0, s.Forced) {
					t.Fatalf("%d bytes were held, limit %d, forced %d", s.MostBytes, limit, s.Forced)
				}
				if n := int64(pool.InUse()) * size; s.Bytes != n {
					t.Fatalf("%d bytes are held by the account, %d are", s.Bytes, n)
				}
			},
		})
		q.CloseProducer()
		for lane := range lanes {
			for take(lane) {
			}
			if _, _, end := q.Pop(lane, w); !end {
				t.Fatalf("a closed queue that is empty does not end")
			}
		}
		for len(held) > 0 {
			release(0)
		}
		for _, n := range pushed {
			if popped[n] == dropped[n] {
				t.Fatalf("%d was popped: %v, dropped: %v", n, popped[n], dropped[n])
			}
		}
		if s := q.Stats(); s.Batches != 0 || s.Bytes != 0 || s.Rows != 0 {
			t.Fatalf("an empty queue has %+v", s)
		}
	})
}

func numberedSize(pool *sdk.Pool) int {
	b := numbered(pool, nil, 0)
	defer settle(Item{Batch: b})
	return b.Held()
}

// A partition may change its lane only when it was forgotten.
func TestForgetLetsAPartitionMove(t *testing.T) {
	pool := sdk.NewPool(nil)
	q := New(Options{Bytes: 1 << 20, Batches: 100, Lanes: 2, ByPartition: true, Producers: 1})
	w := NewWaker()
	a, b, c := &sdk.Partition{Name: "a"}, &sdk.Partition{Name: "b"}, &sdk.Partition{Name: "c"}
	at := func(p *sdk.Partition) int {
		q.Force(Item{Batch: numbered(pool, p, 1)})
		for lane := range 2 {
			if it, ok, _ := q.Pop(lane, w); ok {
				settle(it)
				return lane
			}
		}
		return -1
	}
	first, second := at(a), at(b)
	if first == second {
		t.Errorf("both partitions are in lane %d", first)
	}
	q.Forget(a)
	if got := at(c); got != first {
		t.Errorf("the lane that was given up is %d, the next partition came to %d", first, got)
	}
	if got := at(a); got < 0 || at(a) != got {
		t.Error("a partition that comes again does not keep its lane")
	}
}

// Nobody sleeps on: producers that wait for room, consumers that wait for items. In simulated time a lost wake is a deadlock, which
// the bubble reports, or time that has passed.
func TestNoWakeIsLost(t *testing.T) {
	for _, byPartition := range []bool{false, true} {
		for seed := range int64(20) {
			t.Run(fmt.Sprint(byPartition, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					rng := rand.New(rand.NewSource(seed))
					pool := sdk.NewPool(nil)
					size := int64(numberedSize(pool))
					producers, lanes, each := 1+rng.Intn(3), 1+rng.Intn(3), 200
					q := New(Options{Bytes: size * int64(1+rng.Intn(6)), Batches: 1 + rng.Intn(6), Lanes: lanes, ByPartition: byPartition, Producers: producers})
					from := time.Now()
					var work sync.WaitGroup
					for p := range producers {
						part := &sdk.Partition{Name: fmt.Sprint(p)}
						work.Go(func() {
							w := NewWaker()
							for n := range each {
								it := Item{Batch: numbered(pool, part, uint64(n))}
								for !q.Push(it, w) {
									<-w // never in vain
								}
							}
							q.Kick()
							q.CloseProducer()
						})
					}
					got := make([]int, lanes)
					for lane := range lanes {
						hold := rng.Intn(2)
						work.Go(func() {
							w := NewWaker()
							var held []Item
							for {
								it, ok, end := q.Pop(lane, w)
								if end {
									break
								}
								if ok {
									got[lane]++
									held = append(held, it)
								}
								if len(held) > hold || !ok {
									for _, it := range held {
										settle(it)
									}
									held = held[:0]
								}
								if !ok {
									<-w
								}
							}
							for _, it := range held {
								settle(it)
							}
						})
					}
					work.Wait()
					n := 0
					for _, g := range got {
						n += g
					}
					if n != producers*each {
						t.Errorf("%d of %d items came", n, producers*each)
					}
					if d := time.Since(from); d > 0 {
						t.Errorf("it took %v: somebody slept", d)
					}
				})
			})
		}
	}
}

// What a full queue drops is the oldest batch there is, whichever lane it waits for.
func TestTheOldestIsDropped(t *testing.T) {
	const lanes, pushes, room = 3, 100, 10
	pool := sdk.NewPool(nil)
	var dropped []uint64
	q := New(Options{Bytes: 1 << 30, Batches: room, Lanes: lanes, ByPartition: true, Producers: 1, WhenFull: config.DropOldest,
		OnDrop: func(it Item) { dropped = append(dropped, numberOf(it)); settle(it) }})
	parts := make([]*sdk.Partition, lanes)
	for i := range parts {
		parts[i] = &sdk.Partition{Name: fmt.Sprint(i)}
	}
	rng := rand.New(rand.NewSource(1))
	var want []uint64
	for n := range uint64(pushes) {
		p := parts[rng.Intn(lanes)]
		q.Push(Item{Batch: numbered(pool, p, n)}, nil)
		q.Force(Item{Control: control{p, n}}) // a control is never dropped, and stands before batches
		if n >= room {
			want = append(want, n-room)
		}
	}
	if !slices.Equal(dropped, want) {
		t.Errorf("dropped %d, want %d", dropped, want)
	}
	q.CloseProducer()
	for lane := range lanes {
		q.Empty(lane, NewWaker(), time.Second, settle)
	}
}

// Of many producers before a full queue none waits for ever, also where one thread runs them all.
func TestNoProducerStarves(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	synctest.Test(t, func(t *testing.T) {
		const producers, items = 5, 500
		pool := sdk.NewPool(nil)
		q := New(Options{Bytes: 1 << 20, Batches: 2, Lanes: 1, Producers: producers})
		pushed := make([]int, producers)
		var stop atomic.Bool
		var work sync.WaitGroup
		for p := range producers {
			work.Go(func() {
				w := NewWaker()
				for !stop.Load() {
					it := Item{Batch: numbered(pool, nil, 0)}
					for !q.Push(it, w) {
						<-w
					}
					pushed[p]++
					time.Sleep(20 * time.Millisecond) // for the next
				}
				q.CloseProducer()
			})
		}
		w := NewWaker()
		for n := 0; ; {
			it, ok, end := q.Pop(0, w)
			switch {
			case end:
				work.Wait()
				for p, n := range pushed {
					if n < items/producers/2 {
						t.Errorf("producer %d pushed %d of %d items: %v", p, n, items, pushed)
					}
				}
				return
			case !ok:
				<-w
			default:
				time.Sleep(150 * time.Millisecond)
				settle(it)
				n++
				stop.Store(n >= items)
			}
		}
	})
}

// The limit of batches is of those that wait: a pop makes room though nothing was released.
func TestAPopMakesRoomForABatch(t *testing.T) {
	pool := sdk.NewPool(nil)
	q := New(Options{Bytes: 1 << 20, Batches: 2, Lanes: 1, Producers: 1})
	producer, consumer := NewWaker(), NewWaker()
	for n := range uint64(2) {
		if !q.Push(Item{Batch: numbered(pool, nil, n)}, producer) {
			t.Fatal("no room in an empty queue")
		}
	}
	third := Item{Batch: numbered(pool, nil, 2)}
	if q.Push(third, producer) {
		t.Fatal("a third batch fitted")
	}
	if !q.Full() {
		t.Error("a producer waits, and the queue is not full")
	}
	it, _, _ := q.Pop(0, consumer)
	select {
	case <-producer:
	default:
		t.Fatal("the producer was not woken")
	}
	if !q.Push(third, producer) {
		t.Error("there is no room after a pop")
	}
	settle(it)
}

// A batch that is larger than the whole queue passes when nothing else is there, whatever the policy, and alone.
func TestALargeBatchPassesAnEmptyQueue(t *testing.T) {
	for _, policy := range []config.WhenFull{config.Block, config.DropOldest, config.DropNewest} {
		t.Run(string(policy), func(t *testing.T) {
			pool := sdk.NewPool(nil)
			dropped := 0
			q := New(Options{Bytes: 1, Batches: 8, WhenFull: policy, Lanes: 1, Producers: 1, OnDrop: func(it Item) {
				dropped++
				settle(it)
			}})
			w := NewWaker()
			if !q.Push(Item{Batch: numbered(pool, nil, 1)}, w) || dropped > 0 {
				t.Fatal("it does not pass")
			}
			second := Item{Batch: numbered(pool, nil, 2)}
			if taken := q.Push(second, w); taken != (policy != config.Block) || taken && dropped != 1 {
				t.Errorf("a second one beside it: taken %v, dropped %d", taken, dropped)
			} else if !taken {
				settle(second)
			}
			it, ok, _ := q.Pop(0, w)
			if !ok {
				t.Fatal("nothing is there")
			}
			settle(it)
			if third := (Item{Batch: numbered(pool, nil, 3)}); !q.Push(third, w) {
				t.Error("when the first is gone the next does not pass")
			}
			if it, ok, _ := q.Pop(0, w); !ok || numberOf(it) != 3 {
				t.Error("the next one is not there")
			} else {
				settle(it)
			}
		})
	}
}

// Under the race detector: producers and consumers at once, each producer's items in order and nothing lost.
func TestManyProducersAndLanesAtOnce(t *testing.T) {
	for _, policy := range []config.WhenFull{config.Block, config.DropOldest, config.DropNewest} {
		pool := sdk.NewPool(nil)
		const producers, lanes, each = 3, 2, 3000
		var mu sync.Mutex
		dropped := 0
		q := New(Options{Bytes: 20_000, Batches: 16, WhenFull: policy, Lanes: lanes, ByPartition: true, Producers: producers, OnDrop: func(it Item) {
			settle(it)
			mu.Lock()
			dropped++
			mu.Unlock()
		}})
		var work sync.WaitGroup
		for p := range producers {
			part := &sdk.Partition{Name: fmt.Sprint(p)}
			work.Go(func() {
				w := NewWaker()
				for n := range uint64(each) {
					if it := (Item{Batch: numbered(pool, part, 2*n)}); policy != config.Block {
						q.Push(it, w)
					} else {
						for !q.Push(it, w) {
							<-w
						}
					}
					if n%100 == 0 {
						q.Force(Item{Control: control{part, 2*n + 1}})
					}
				}
				q.CloseProducer()
			})
		}
		batches, controls := make([]int, lanes), make([]int, lanes)
		for lane := range lanes {
			work.Go(func() {
				w := NewWaker()
				last := map[*sdk.Partition]uint64{}
				for {
					it, ok, end := q.Pop(lane, w)
					if end {
						return
					}
					if !ok {
						<-w
						continue
					}
					var p *sdk.Partition
					if it.Batch != nil {
						p = it.Batch.Range().Partition
						batches[lane]++
					} else {
						p = it.Control.(control).p
						controls[lane]++
					}
					if n := numberOf(it); n < last[p] {
						t.Errorf("%s: %d behind %d", policy, n, last[p])
					} else {
						last[p] = n
					}
					settle(it)
				}
			})
		}
		work.Wait()
		if got := batches[0] + batches[1] + dropped; got != producers*each {
			t.Errorf("%s: %d of %d batches", policy, got, producers*each)
		}
		if got := controls[0] + controls[1]; got != producers*each/100 {
			t.Errorf("%s: %d of %d controls", policy, got, producers*each/100)
		}
		if n := pool.InUse(); n != 0 {
			t.Errorf("%s: %d batches are held", policy, n)
		}
	}
}

func BenchmarkPushAndPop(b *testing.B) {
	pool := sdk.NewPool(nil)
	q := New(Options{Bytes: 1 << 30, Batches: 1 << 20, Lanes: 1, Producers: 1})
	w := NewWaker()
	x := numbered(pool, nil, 1)
	b.ReportAllocs()
	for b.Loop() {
		q.Push(Item{Batch: x}, w)
		q.Pop(0, w)
		x.Charge(nil, 0) // the account of a release, without the pool's part
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/batch")
}
