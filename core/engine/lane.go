package engine

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/core/queue"
	"github.com/weirflow/weir/sdk"
)

// stage is one stage of the plan: its queue, its lanes, and the stages that its lanes push to.
type stage struct {
	run   *Run
	plan  *plan.Stage
	q     *queue.Queue // nil for a source's stage
	feeds []*stage
	src   *sourceRun // of a source's stage

	marks map[*plan.Node]bool // nodes that cuts of some source reach
	// expects is how many marks of one cut arrive here, by source: one over each edge that marks cross.
	expects map[*sourceRun]int
	markTo  []markTarget // where this stage sends marks on
	// indirect: of a source's stage: some keyed sink is reached through another stage, so this one does not see what leaves for it.
	indirect bool

	mu         sync.Mutex
	lanes      []*lane
	next       int // id of the next lane
	reading    int // lanes whose input has not ended
	noMore     bool
	gone       []*lane // retired
	fusedSinks map[*plan.Node]sdk.Sink
	sinkObj    sdk.Sink // of a sink's stage
	drained    bool

	complaints sync.Map // *plan.Node to *complaint
}

// lane is one goroutine that drives one instance of a stage.
type lane struct {
	st    *stage
	id    int
	chain atomic.Pointer[chain] // swapped by a reload, at a cut
	swap  atomic.Pointer[swap]  // asked for and not yet done
	alarm                       // its waker is how others wake the lane

	pending   []pending // sent and not yet in a queue
	touched   bool      // something was pushed since the last kick
	nextTick  time.Time
	blocked   bool      // there was no room since the last batch end
	overSince time.Time // since when the run has been over its budget of memory; zero: it is not

	readers   []*reader // of a source's stage
	dealt     int       // partitions dealt to it; under st.mu
	retire    atomic.Bool
	blockedNs atomic.Int64 // time spent waiting for room
	shift     *shift       // of a run that is timed
	inbox     []*reader    // dealt to this lane by the acceptor; under st.mu
	aside     []queue.Item // behind a fan-in: what overtook a mark that has not come on another edge
	counts    map[*segment]int
	markedOn  map[markedEdge]*segment
	met       map[*sdk.Partition]bool // behind a queue: whose batches or marks have come and that were there at the last tick
	latest    *sdk.Partition          // of them, the one met last
}

type pending struct {
	t *target
	b *sdk.Batch
}

func (l *lane) run() *Run { return l.st.run }

// addLane makes a lane with its chain.
func (s *stage) addLane() (*lane, error) {
	s.mu.Lock()
	l := &lane{st: s, id: s.next, alarm: newAlarm()}
	s.next++
	s.mu.Unlock()
	c, err := newChain(l, nil)
	if err != nil {
		return nil, err
	}
	l.chain.Store(c)
	s.mu.Lock()
	s.lanes = append(s.lanes, l)
	s.reading++
	s.run.budget.Add(laneBudget(s.plan))
	s.mu.Unlock()
	return l, nil
}

// send passes a batch to a reader of a port: at once in this lane, or to its queue when the lane next pushes.
func (l *lane) send(t *target, b *sdk.Batch) {
	n := b.Rows()
	t.acct.Out.Add(uint64(n))
	if t.inst != nil {
		t.acct.In.Add(uint64(n))
		t.inst.process(b)
		return
	}
	if l.run().aborted() {
		l.dropStopped(t.edge, b)
		return
	}
	if b.Views() && !(t.lasting && dense(b)) {
		b = l.own(b)
	}
	if t.keyed >= 0 {
		if p := b.Range().Partition; p != nil {
			if ps := l.run().part(p); ps != nil {
				ps.fed[t.keyed].add(n, b.Held())
			}
		}
	}
	l.run().queued[t.edge.Index].Add(int64(n))
	l.pending = append(l.pending, pending{t, b})
}

// dense says whether a batch uses at least half of the memory that was lent to it, so that a queue, which is charged with all of it,
// may hold the memory instead of a copy. A receive buffer that holds one small datagram is worth the copy.
func dense(b *sdk.Batch) bool {
	used, held := b.Lent()
	return held > 0 && 2*used >= held
}

// own makes a batch that may be kept past the call: what it looks into is copied once.
func (l *lane) own(b *sdk.Batch) *sdk.Batch {
	if !b.IsShared() {
		b.Own()
		return b
	}
	// It shares columns with another whose memory is lent: copy all of it, and let that go.
	c := l.run().pool.Get(b.Schema(), b.Rows())
	sdk.NewGather(b.Schema(), b.Schema()).Append(c, b, nil, b.Rows())
	c.Derive(b)
	c.Seal()
	b.Done(sdk.Delivered)
	b.Release()
	return c
}

func (l *lane) dropStopped(e *plan.Edge, b *sdk.Batch) {
	l.run().edges[e.Index].Drop(sdk.ReasonStopped, uint64(b.Rows()))
	b.Done(sdk.Failed)
	b.Release()
}

// push moves what was sent into the queues and waits for room. While it waits, ticks go on, and a cut that would help is made:
// what belongs to it passes whatever the limit says, the rest goes on waiting.
func (l *lane) push() {
	for len(l.pending) > 0 {
		p := l.pending[0]
		it := queue.Item{Batch: p.b, Edge: p.t.edge.Index}
		switch {
		case l.overdue(p.b):
			p.t.st.q.Force(it)
			p.t.st.q.Leave(l.waker)
		case p.t.st.q.Push(it, l.waker):
		case l.waitRoom():
			if l.cutDue() && !l.run().opt.rules.waitToEnd {
				l.cutReaders(time.Now(), true)
			}
			continue
		default:
			p.t.st.q.Leave(l.waker)
			l.run().queued[it.Edge].Add(-int64(it.Batch.Rows()))
			l.dropStopped(p.t.edge, it.Batch)
		}
		l.pending = slices.Delete(l.pending, 0, 1)
		l.touched = true
	}
}

// force moves what was sent of one partition into the queues, without waiting: a cut of it is being made.
func (l *lane) force(part *sdk.Partition) {
	if l.run().opt.rules.flushWaits {
		l.forceNothing(part)
		return
	}
	l.pending = slices.DeleteFunc(l.pending, func(p pending) bool {
		if p.b.Range().Partition != part {
			return false
		}
		p.t.st.q.Force(queue.Item{Batch: p.b, Edge: p.t.edge.Index})
		p.t.st.q.Leave(l.waker)
		l.touched = true
		return true
	})
}

// forceNothing breaks the rule that what a cut flushes passes a full queue.
func (l *lane) forceNothing(part *sdk.Partition) {
	for i := 0; i < len(l.pending); {
		p := l.pending[i]
		switch {
		case p.b.Range().Partition != part:
			i++
			continue
		case p.t.st.q.Push(queue.Item{Batch: p.b, Edge: p.t.edge.Index}, l.waker):
		case l.waitRoom():
			continue
		default:
			return // the run is aborted
		}
		l.pending = slices.Delete(l.pending, i, i+1)
	}
}

// overdue says whether the batch belongs to a segment whose end is fixed: somebody holds others of it and waits for the mark
// behind it, so it always has room.
func (l *lane) overdue(b *sdk.Batch) bool {
	r := b.Range()
	if r.Partition == nil {
		return false
	}
	ps := l.run().part(r.Partition)
	return ps == nil || ps.finishes(r.First)
}

// waitRoom waits until a queue may have room, or a tick is due; false: the run is aborted.
func (l *lane) waitRoom() bool {
	if l.run().aborted() {
		return false
	}
	l.kick()
	from := time.Now()
	l.wait(l.nextTick.Sub(from))
	now := time.Now()
	l.blockedNs.Add(int64(now.Sub(from)))
	if !now.Before(l.nextTick) {
		l.nextTick = now.Add(tickEvery)
		l.chain.Load().tick(now, true)
	}
	l.blocked = true
	return !l.run().aborted()
}

// wait sleeps until woken, as an abort does, or until d is over.
func (l *lane) wait(d time.Duration) {
	if d <= 0 {
		return
	}
	var from time.Duration
	if l.shift != nil {
		from = time.Since(epoch)
	}
	l.sleep(d)
	if l.shift != nil {
		l.shift.waited.Add(int64(time.Since(epoch) - from))
	}
}

// kick wakes consumers that have less waiting than they are woken for, and lets them run here first. The scheduler wakes a thread for
// them in any case. If the lane went on, that thread would take the consumer over, and each of the two would go to sleep and be woken
// once a batch: 40 us of CPU time. As it is the thread takes this lane over, and one of them sleeps: 20 us.
func (l *lane) kick() {
	if !l.touched {
		return
	}
	l.touched = false
	woke := false
	for _, s := range l.st.feeds {
		woke = s.q.Kick() || woke
	}
	if woke {
		runtime.Gosched()
	}
}

// runQueue is the life of a lane behind a queue.
func (l *lane) runQueue() {
	l.work()
	defer l.rest()
	l.nextTick = time.Now().Add(tickEvery)
	for n := 0; ; n++ {
		if l.run().aborted() {
			l.abandon()
			break
		}
		it, ok, end := l.st.q.Pop(l.id, l.waker)
		if end {
			l.forgetGone(true)
			break
		}
		if ok {
			l.take(it)
			l.push()
		}
		// The clock is read when idle, and every few batches under load.
		if !ok || n%8 == 0 {
			if now := time.Now(); !now.Before(l.nextTick) {
				l.nextTick = now.Add(tickEvery)
				l.forgetGone(false)
				l.chain.Load().tick(now, false)
				l.push()
				l.kick()
			}
		}
		if !ok {
			l.kick()
			l.wait(time.Until(l.nextTick))
		}
	}
	l.st.finished(l)
}

// take handles one item of the queue.
func (l *lane) take(it queue.Item) {
	r := l.run()
	if l.overtakes(it) {
		l.aside = append(l.aside, it)
		return
	}
	if m, ok := it.Control.(*mark); ok {
		l.meet(m.seg.ps.part)
		l.takeMark(m, it.Edge)
		return
	}
	l.meet(it.Batch.Range().Partition)
	n := int64(it.Batch.Rows())
	r.queued[it.Edge].Add(-n)
	r.edges[it.Edge].In.Add(uint64(n))
	l.chain.Load().insts[0].process(it.Batch)
}

// abandon drops what is still in the queue after an abort, and what producers that are on their way out still push until they have
// closed.
func (l *lane) abandon() {
	for _, it := range l.aside {
		l.dropItem(it)
	}
	l.aside = nil
	l.st.q.Empty(l.id, l.waker, l.run().opt.KillGrace, l.dropItem)
}

func (l *lane) dropItem(it queue.Item) {
	if it.Batch == nil {
		return
	}
	l.run().queued[it.Edge].Add(-int64(it.Batch.Rows()))
	l.dropStopped(l.run().plan.Edges[it.Edge], it.Batch)
}

// finished says that the lane's input has ended. The last lane of the stage drains them all, one after another, and closes what
// they feed.
func (s *stage) finished(l *lane) {
	if l.retire.Load() && !s.run.aborted() {
		l.retired()
	}
	s.mu.Lock()
	s.reading--
	s.mu.Unlock()
	s.maybeDrain()
}

func (s *stage) maybeDrain() {
	s.mu.Lock()
	if s.reading > 0 || s.drained || (s.src != nil && !s.noMore) {
		s.mu.Unlock()
		return
	}
	s.drained = true
	lanes := append([]*lane(nil), s.lanes...)
	s.mu.Unlock()
	why := sdk.InputEnded
	if s.run.stopping.Load() {
		why = sdk.Stopping
	}
	for i, l := range lanes {
		l.nextTick = time.Now().Add(tickEvery)
		l.chain.Load().drain(why, i == len(lanes)-1)
		l.push()
		if s.q != nil && s.run.aborted() {
			l.abandon()
		}
	}
	for _, f := range s.feeds {
		f.q.CloseProducer()
	}
}
