package engine

import (
	"time"

	"github.com/weirflow/weir/core/queue"
	"github.com/weirflow/weir/sdk"
)

// How marks, cuts and saves hang together is told in DESIGN 7; the numbers in comments are its rules.

// swap is a chain that is to take the place of the lane's.
type swap struct {
	next *chain
	done chan struct{}
}

// wants says whether a cut of the open segment is wanted, by what left for the keyed sinks or because somebody asked.
func (ps *partState) wants() bool {
	if ps.cutAsked.Load() {
		return true
	}
	for k, n := range ps.src.run.plan.Keyed {
		if ps.src.run.opt.rules.noSize {
			return false
		}
		if ps.fed[k].rows.Load() >= int64(n.Batch.Rows) || ps.fed[k].bytes.Load() >= int64(n.BlockBytes) {
			return true
		}
	}
	return false
}

// twice says whether so much has left since that the cut must be forced.
func (ps *partState) twice() bool {
	for k, n := range ps.src.run.plan.Keyed {
		if ps.fed[k].rows.Load() >= 2*int64(n.Batch.Rows) {
			return true
		}
	}
	return false
}

// cutDue says whether a blocked lane has a cut to make.
func (l *lane) cutDue() bool {
	for _, rd := range l.readers {
		if rd.ps != nil && rd.ps.wants() && rd.ps.cutHelps() {
			return true
		}
	}
	return false
}

// cutHelps says whether a cut would let a sink go on. While keyed sinks are not done with a segment that is closed, they have
// what they need; a cut each time the lane is blocked would let a batch each pass the full queue, without end when a store is down.
func (ps *partState) cutHelps() bool {
	all := ps.src.keyed
	ps.mu.Lock()
	defer ps.mu.Unlock()
	seg := ps.current()
	if all == 0 || seg == nil || ps.pos == seg.first || len(ps.planned) > 0 || ps.fenced || !ps.roomForEnd() {
		return false
	}
	for _, s := range ps.segs {
		if s.closed && s.sinks&all != all {
			return false
		}
	}
	return true
}

// cuts makes the cuts that are wanted, at a batch end or a tick; with less patience if the lane had no room.
func (l *lane) cuts(now time.Time) {
	blocked := l.blocked
	l.blocked = false
	if l.swap.Load() != nil {
		l.trySwap(now, blocked)
		return
	}
	l.cutReaders(now, blocked)
}

func (l *lane) cutReaders(now time.Time, blocked bool) {
	for _, rd := range l.readers {
		if rd.ps != nil && rd.ps.wants() {
			l.tryCut(rd.ps, now, blocked)
		}
	}
}

// tryCut flushes this lane without force; if something is held, reading goes on and it tries again, until the time to park is
// over, twice the rows have come or the lane is blocked.
func (l *lane) tryCut(ps *partState, now time.Time, blocked bool) {
	ps.mu.Lock()
	seg := ps.current()
	rules := &l.run().opt.rules
	hold := seg == nil || ps.pos == seg.first || ps.fenced || (len(ps.planned) > 0 || !ps.roomForEnd()) && !rules.cutBeforePlan ||
		rules.oneSegment && len(ps.segs) > 1
	ps.mu.Unlock()
	if hold {
		if seg != nil && ps.pos == seg.first {
			ps.cutAsked.Store(false)
		}
		return
	}
	if !l.mayFlush(ps, seg, now, blocked) {
		return
	}
	l.cut(ps, ps.pos-1)
}

// mayFlush gives out what is held of the partition: true when nothing is held any more.
func (l *lane) mayFlush(ps *partState, seg *segment, now time.Time, blocked bool) bool {
	c := l.chain.Load()
	rules := &l.run().opt.rules
	if c.flush(ps.part, false) == 0 || rules.heldPastCut {
		return true
	}
	if seg.wanted.IsZero() {
		seg.wanted = now
	}
	late := now.Sub(seg.wanted) >= l.run().plan.Pipeline.Park && !rules.noPark
	if !late && !(blocked && !rules.noBlocked) && !(ps.twice() && !rules.noTwice) && !rules.atOnce {
		return false
	}
	c.flush(ps.part, true)
	return true
}

// cut closes the open segment at last and sends the mark. What is held of it has been flushed.
func (l *lane) cut(ps *partState, last int64) {
	l.force(ps.part)
	ps.cutAsked.Store(false)

	ps.mu.Lock()
	seg := ps.current()
	if seg.outstanding == 0 && len(ps.segs) == 1 && !seg.planned && ps.nothingFed() && !l.st.indirect {
		// Nothing of it left for a sink, and nothing is before it: it is settled as it is.
		seg.first, seg.wanted = last+1, time.Time{}
		ps.openedAt.Store(0)
		ps.next = last + 1
		ps.news = max(ps.news, canWait)
		ps.mu.Unlock()
		return
	}
	seg.last, seg.closed = last, true
	if len(ps.planned) > 0 {
		ps.planned = ps.planned[1:]
	}
	if ps.src.keyed != 0 && !seg.prepared {
		seg.wantNotes = ps.src.noters
		if seg.wantNotes == 0 {
			ps.news = urgent
		}
	} else if ps.src.keyed == 0 {
		seg.prepared = true
	}
	ps.open(last + 1)
	ps.advance()
	ps.mu.Unlock()
	for _, t := range ps.src.marks {
		t.st.q.Force(queue.Item{Control: &mark{seg}, Edge: t.edge})
	}
	ps.src.saver.waker.Wake()
}

func (ps *partState) nothingFed() bool {
	for i := range ps.fed {
		if ps.fed[i].rows.Load() > 0 {
			return false
		}
	}
	return true
}

// discard gives up the open segment: the partition's next owner reads it again. What is on its way is dropped by keyed sinks.
func (l *lane) discard(ps *partState) {
	ps.mu.Lock()
	seg := ps.current()
	seg.returned, seg.closed, seg.last = true, true, ps.pos-1
	ps.mu.Unlock()
	c := l.chain.Load()
	c.giveBack(ps.part)
	c.flush(ps.part, true)
	l.force(ps.part)
	for _, t := range ps.src.marks {
		t.st.q.Force(queue.Item{Control: &mark{seg}, Edge: t.edge})
	}
}

// swapChains asks every lane that reads n's source to put a new chain, with these configurations, in the place of its own: the
// seam of a reload. The answer is closed when all have.
func (r *Run) swapChains(st *stage, configs map[string]any) ([]<-chan struct{}, error) {
	st.mu.Lock()
	lanes := append([]*lane(nil), st.lanes...)
	st.mu.Unlock()
	var done []<-chan struct{}
	for _, l := range lanes {
		c, err := newChain(l, configs)
		if err != nil {
			return done, err
		}
		sw := &swap{next: c, done: make(chan struct{})}
		if !l.swap.CompareAndSwap(nil, sw) {
			c.close(r.ctx)
			continue // one is under way; the caller asks again
		}
		l.waker.Wake()
		done = append(done, sw.done)
	}
	return done, nil
}

// trySwap puts the next chain in the place of the lane's. Behind cuts that is done only when every partition of the lane has
// just been cut, so that a segment has one schema and one configuration from end to end.
func (l *lane) trySwap(now time.Time, blocked bool) {
	sw := l.swap.Load()
	if sw == nil {
		return
	}
	if !l.run().opt.rules.swapMidSegment {
		for _, rd := range l.readers {
			if rd.ps == nil {
				continue
			}
			rd.ps.mu.Lock()
			seg := rd.ps.current()
			wait := len(rd.ps.planned) > 0 || l.run().opt.rules.swapWaits && seg != nil && rd.ps.pos > seg.first && !rd.ps.wants() || (seg != nil && rd.ps.pos > seg.first && !rd.ps.roomForEnd())
			rd.ps.mu.Unlock()
			if wait {
				return
			}
			if seg != nil && rd.ps.pos > seg.first && !l.mayFlush(rd.ps, seg, now, blocked) {
				return
			}
		}
		for _, rd := range l.readers {
			if rd.ps == nil {
				continue
			}
			rd.ps.mu.Lock()
			seg := rd.ps.current()
			empty := seg == nil || rd.ps.pos == seg.first
			rd.ps.mu.Unlock()
			if !empty {
				l.cut(rd.ps, rd.ps.pos-1)
			}
		}
	}
	old := l.chain.Load()
	old.drain(sdk.Replaced, true)
	l.push()
	l.chain.Store(sw.next)
	l.swap.Store(nil)
	old.close(l.run().ctx)
	close(sw.done)
}

// full is told that a push found no room: a sink then lets go of what it holds. A cut of the partition that has most in it is
// asked for, or the open block is closed (the sink's lane looks at Full).
func (s *stage) full() {
	r := s.run
	n := s.plan.Head()
	if n.Kind != sdk.KindSink {
		return
	}
	k, ok := r.keyed[n]
	if !ok || r.opt.rules.noFullAsk {
		return
	}
	var most *partState
	r.partsMu.RLock()
	for _, ps := range r.parts {
		if most == nil || ps.fed[k].bytes.Load() > most.fed[k].bytes.Load() {
			most = ps
		}
	}
	r.partsMu.RUnlock()
	if most != nil && most.fed[k].bytes.Load() > 0 && !most.cutAsked.Swap(true) {
		most.lane.waker.Wake() // once: it may be the lane that asks
	}
}
