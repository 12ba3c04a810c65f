// Package queue is the bounded hand-over between two stages. It is bounded in bytes held: from the push of a batch until its
// last release by whoever took it, counted in the capacity of its buffers.
package queue

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/sdk"
)

// Item is what a queue carries: a batch, or a control message that passes even a full queue.
type Item struct {
	Batch   *sdk.Batch
	Control any // nil for a batch
	Edge    int // index in the plan of the edge it came over

	held int64  // by the batch, as counted at the push
	at   uint64 // number of the push
}

// Waker wakes one goroutine: a channel of capacity 1.
type Waker chan struct{}

// NewWaker makes a waker.
func NewWaker() Waker { return make(Waker, 1) }

// Wake wakes, or lets the next wait return at once.
func (w Waker) Wake() {
	select {
	case w <- struct{}{}:
	default:
	}
}

// Options of a queue.
type Options struct {
	Bytes    int64
	Batches  int
	WhenFull config.WhenFull
	// Lanes that take from the queue. ByPartition: what has a partition always goes to the same lane.
	Lanes       int
	ByPartition bool
	// Producers that must close before the queue is closed.
	Producers int
	// OnDrop settles and counts what a full queue dropped; called without the lock.
	OnDrop func(Item)
	// OnFull is called, without the lock, when a push found no room: somebody downstream should let go of what it holds.
	OnFull func()
}

// wakeAt is how many batches wait before a parked consumer is woken, for a wake costs 12 us (docs/adr/0008); fewer, wakeHalf, are enough when
// half of the queue is taken, also by what a consumer holds in its open block, so that the producer does not run into its end while the
// consumer wakes.
const (
	wakeAt   = 8
	wakeHalf = 4
)

// Queue is safe for any number of producers; each lane has one consumer.
type Queue struct {
	o Options

	mu        sync.Mutex
	rings     []ring // one shared by all lanes, or one a lane
	lanes     map[*sdk.Partition]int
	parked    []Waker // by lane: the consumer that waits
	room      []Waker // producers that wait, longest first
	bytes     int64
	most      int64
	forced    int64 // most bytes above the limit that controls and flushes needed
	waiting   int64 // bytes of what is in the rings
	batches   int   // in the rings
	rows      int64
	pushes    uint64
	producers int
	closed    bool

	full atomic.Bool // a producer waits, and has not been woken
}

// New makes a queue.
func New(o Options) *Queue {
	n := 1
	if o.ByPartition {
		n = max(1, o.Lanes)
	}
	return &Queue{o: o, rings: make([]ring, n), parked: make([]Waker, max(1, o.Lanes)), lanes: map[*sdk.Partition]int{}, producers: o.Producers}
}

// Push offers a batch. If there is no room it returns false, and w is woken when there may be. With a dropping policy it always
// takes the item, or drops it.
func (q *Queue) Push(it Item, w Waker) bool {
	n := int64(it.Batch.Held())
	var dropped []Item
	q.mu.Lock()
	if !q.fits(n) {
		switch q.o.WhenFull {
		case config.DropNewest:
			q.mu.Unlock()
			q.o.OnDrop(it)
			return true
		case config.DropOldest:
			// What the consumer itself holds cannot be dropped: if that is what is in the way, it is the new one that goes.
			for !q.fits(n) && q.bytes-q.waiting+n <= q.o.Bytes {
				old, ok := q.takeOldest()
				if !ok {
					break
				}
				dropped = append(dropped, old)
				q.bytes -= int64(old.Batch.TakeCharge())
			}
			if !q.fits(n) { // the consumer itself holds it all
				dropped = append(dropped, it)
				q.mu.Unlock()
				q.drop(dropped)
				return true
			}
		default:
			if !slices.Contains(q.room, w) {
				q.room = append(q.room, w)
			}
			q.full.Store(true)
			q.wakeAll()
			q.mu.Unlock()
			if q.o.OnFull != nil {
				q.o.OnFull()
			}
			return false
		}
	}
	q.add(it, n)
	q.leave(w)
	q.mu.Unlock()
	q.drop(dropped)
	return true
}

// Leave gives up a producer's place among those that wait: what it waited with goes another way.
func (q *Queue) Leave(w Waker) {
	q.mu.Lock()
	q.leave(w)
	q.mu.Unlock()
}

func (q *Queue) leave(w Waker) {
	if len(q.room) == 0 {
		return
	}
	if i := slices.Index(q.room, w); i >= 0 {
		q.room = slices.Delete(q.room, i, i+1)
		q.full.Store(q.full.Load() && len(q.room) > 0)
	}
}

func (q *Queue) drop(items []Item) {
	for _, it := range items {
		q.o.OnDrop(it)
	}
}

// Force adds an item whatever the limit says: controls, and what a cut flushes, of which there is one open batch a node and
// partition.
func (q *Queue) Force(it Item) {
	n := int64(0)
	if it.Batch != nil {
		n = int64(it.Batch.Held())
	}
	q.mu.Lock()
	q.add(it, n)
	q.forced = max(q.forced, q.bytes-q.o.Bytes)
	if it.Control != nil {
		q.wakeAll()
	}
	q.mu.Unlock()
}

func (q *Queue) fits(n int64) bool {
	// A batch larger than the limit passes an empty queue, else it never would.
	return q.bytes == 0 || (q.bytes+n <= q.o.Bytes && q.batches < q.o.Batches)
}

func (q *Queue) add(it Item, n int64) {
	lane := 0
	q.pushes++
	it.at = q.pushes
	if it.Batch != nil {
		it.held = n
		it.Batch.Charge(charge{q}, int(n))
		q.batches++
		q.rows += int64(it.Batch.Rows())
		q.waiting += n
		q.bytes += n
		q.most = max(q.most, q.bytes)
		if len(q.rings) > 1 {
			lane = q.laneOf(it.Batch.Range().Partition)
		}
	} else if c, ok := it.Control.(interface{ Partition() *sdk.Partition }); ok && len(q.rings) > 1 {
		lane = q.laneOf(c.Partition())
	}
	q.rings[lane].push(it)
	if n := q.rings[lane].n; n >= wakeAt || n >= wakeHalf && (2*q.bytes >= q.o.Bytes || 2*q.batches >= q.o.Batches) {
		q.wake(lane)
	}
}

// laneOf deals partitions to lanes and keeps to it: a partition changes lane only after Forget.
func (q *Queue) laneOf(p *sdk.Partition) int {
	if p == nil {
		return 0
	}
	l, ok := q.lanes[p]
	if !ok {
		dealt := make([]int, len(q.rings))
		for _, l := range q.lanes {
			dealt[l]++
		}
		for i := range dealt {
			if dealt[i] < dealt[l] {
				l = i
			}
		}
		q.lanes[p] = l
	}
	return l
}

// Forget lets go of a partition of which nothing is held any more.
func (q *Queue) Forget(p *sdk.Partition) {
	q.mu.Lock()
	delete(q.lanes, p)
	q.mu.Unlock()
}

// Dealt lists the partitions that have a lane.
func (q *Queue) Dealt() []*sdk.Partition {
	q.mu.Lock()
	defer q.mu.Unlock()
	return slices.Collect(maps.Keys(q.lanes))
}

func (q *Queue) takeOldest() (Item, bool) {
	oldest, where := uint64(0), -1
	for i := range q.rings {
		if at, ok := q.rings[i].oldest(); ok && (where < 0 || at < oldest) {
			oldest, where = at, i
		}
	}
	if where < 0 {
		return Item{}, false
	}
	it, _ := q.rings[where].takeBatch()
	q.batches--
	q.rows -= int64(it.Batch.Rows())
	q.waiting -= it.held
	return it, true
}

// wake wakes a lane that is parked, any where they share a ring, and says whether there was one.
func (q *Queue) wake(lane int) bool {
	if len(q.rings) > 1 {
		w := q.parked[lane]
		if w != nil {
			q.parked[lane] = nil
			w.Wake()
		}
		return w != nil
	}
	for i, w := range q.parked {
		if w != nil {
			q.parked[i] = nil
			w.Wake()
			return true
		}
	}
	return false
}

func (q *Queue) wakeAll() {
	for i, w := range q.parked {
		if w != nil {
			q.parked[i] = nil
			w.Wake()
		}
	}
}

// Kick wakes a parked consumer that has less than wakeAt batches waiting, and says whether there was one: the producer idles, ticks or
// blocks.
func (q *Queue) Kick() (woke bool) {
	q.mu.Lock()
	for i := range q.rings {
		if q.rings[i].n > 0 && q.wake(i) {
			woke = true
		}
	}
	q.mu.Unlock()
	return woke
}

// Pop takes the next item for a lane. If there is none, ok is false and w is woken when there is; end says that there will be
// none any more.
func (q *Queue) Pop(lane int, w Waker) (it Item, ok, end bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	r := &q.rings[0]
	if len(q.rings) > 1 {
		r = &q.rings[lane]
	}
	if r.n == 0 {
		if q.closed {
			return Item{}, false, true
		}
		q.parked[lane] = w
		return Item{}, false, false
	}
	it = r.pop()
	if it.Batch != nil {
		q.batches--
		q.rows -= int64(it.Batch.Rows())
		q.waiting -= it.held
		if (r.n == 0 || q.batches == q.o.Batches/2) && q.bytes < q.o.Bytes {
			q.wakeRoom() // the limit of batches may be what holds producers up, and the consumer may keep this one for long
		}
	}
	return it, true, false
}

// Empty takes what a lane still has and gives it to drop, after an abort, until the producers have closed or patience is over:
// they may be on their way out and still push.
func (q *Queue) Empty(lane int, w Waker, patience time.Duration, drop func(Item)) {
	t := time.NewTimer(patience)
	defer t.Stop()
	for {
		it, ok, end := q.Pop(lane, w)
		if end {
			return
		}
		if ok {
			drop(it)
			continue
		}
		select {
		case <-w:
		case <-t.C:
			return
		}
	}
}

// charge is what a batch tells of its release; a type of its own keeps Uncharge out of the queue's own methods.
type charge struct{ q *Queue }

// Uncharge gives back what a released batch held.
func (c charge) Uncharge(n int) {
	q := c.q
	q.mu.Lock()
	q.bytes -= int64(n)
	if q.bytes < 0 {
		q.mu.Unlock()
		panic(fmt.Sprintf("queue: %d bytes held", q.bytes))
	}
	q.full.Store(false) // until a producer tries in vain again
	if 2*q.bytes <= q.o.Bytes || q.idles() {
		q.wakeRoom()
	}
	q.mu.Unlock()
}

// idles says whether some lane has nothing to take.
func (q *Queue) idles() bool {
	for i := range q.rings {
		if q.rings[i].n == 0 {
			return true
		}
	}
	return false
}

// wakeRoom wakes the producers that wait, when the queue has become half empty or a lane has nothing to take: woken at each release they
// push once and wait again, which costs a hand-over a batch. It wakes all of them, for the one woken may not fit. They keep their places
// until they have pushed, and the one that has waited longest is woken last: on one thread the scheduler runs that one first, and
// woken in another order, the same one came first each time while another waited for 20 s.
func (q *Queue) wakeRoom() {
	for i := len(q.room) - 1; i >= 0; i-- {
		q.room[i].Wake()
	}
	q.full.Store(false)
}

// Full says whether a producer waits for room: a sink then closes its open block.
func (q *Queue) Full() bool { return q.full.Load() }

// CloseProducer says that one producer will push no more; after the last one Pop answers end when the queue is empty.
func (q *Queue) CloseProducer() {
	q.mu.Lock()
	q.producers--
	if q.producers == 0 {
		q.closed = true
		q.wakeAll()
	}
	q.mu.Unlock()
}

// Stats of a queue.
type Stats struct {
	Batches          int
	Rows             int64 // waiting in the queue
	Bytes, MostBytes int64 // held now and at most, with what its consumer holds
	Limit            int64
	Forced           int64 // most bytes above the limit, for cuts
}

// Stats reads them.
func (q *Queue) Stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	return Stats{q.batches, q.rows, q.bytes, q.most, q.o.Bytes, q.forced}
}
