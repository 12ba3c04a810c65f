package engine

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/weirflow/weir/core/ledger"
	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/sdk"
)

// sourceRun is one source: who accepts its readers and which lanes read them.
type sourceRun struct {
	run  *Run
	node *plan.Node
	st   *stage
	src  sdk.Source
	acct *ledger.Lane // the source's own books

	// Of a source that commits.
	committer sdk.Committer
	saver     *saver
	keyed     uint64       // keyed sinks its marks reach
	noters    int          // of them, those that must say a note
	marks     []markTarget // queues its stage sends marks to

	offered  chan *reader // bounded readers, taken by whichever lane is free
	waiting  atomic.Int32 // readers offered and not taken
	free     atomic.Int32 // lanes waiting for one
	accepted int
	noMore   chan struct{} // closed when there will be no more readers
}

// reader is one reader and, behind a committing source, the state of its partition.
type reader struct {
	r  sdk.Reader
	ps *partState
}

// newSourceRun prepares a source; open makes it.
func newSourceRun(r *Run, st *stage) *sourceRun {
	s := &sourceRun{run: r, node: st.plan.Head(), st: st, offered: make(chan *reader), noMore: make(chan struct{})}
	st.src = s
	return s
}

func (s *sourceRun) commits() bool { return s.node.Plugin.Spec.Commits }

// endless says whether readers have a lane each (or share a fixed number), rather than being taken by whichever is free.
func (s *sourceRun) endless() bool {
	f := s.node.Plugin.Spec.Lanes
	if f == nil {
		return true
	}
	_, endless := f(s.node.Config)
	return endless
}

func (s *sourceRun) open() error {
	s.acct = s.run.ledger.Node(s.node.ID, s.node.Kind).Lane()
	src, err := s.node.Plugin.Source(s.run.env(s.node, 0, &s.acct.Books), s.node.Config)
	if err != nil {
		return err
	}
	s.src = src
	if s.commits() {
		c, ok := src.(sdk.Committer)
		if !ok {
			return fmt.Errorf("source type %s says that it commits, and has no Save", s.node.Type)
		}
		s.committer = c
		s.saver = newSaver(s)
	}
	return nil
}

// start begins to accept readers and to read them.
func (s *sourceRun) start() {
	if s.saver != nil {
		s.run.goWork("saver of "+s.node.ID, s.saver.run)
	}
	if !s.endless() {
		s.startBounded()
	} else if s.commits() {
		n := s.node.Stage.Lanes
		if n == 0 {
			n = s.run.opt.CPUs
		}
		for len(s.st.lanes) < n {
			if _, err := s.st.addLane(); err != nil {
				s.run.fail(err)
				return
			}
		}
		for _, l := range s.st.lanes {
			s.run.goWork("lane of "+s.node.ID, l.runSource)
		}
	}
	s.run.goWork("acceptor of "+s.node.ID, s.accept)
}

// accept deals readers to lanes until there are no more.
func (s *sourceRun) accept() {
	defer func() {
		close(s.offered)
		close(s.noMore)
		s.st.mu.Lock()
		s.st.noMore = true
		if s.accepted == 0 && s.endless() && !s.commits() {
			s.st.reading = 0 // the first lane never began
		}
		for _, l := range s.st.lanes {
			l.waker.Wake()
		}
		s.st.mu.Unlock()
		s.st.maybeDrain()
	}()
	for {
		r, err := s.src.Accept(s.run.ctx)
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, sdk.ErrRevoked) && s.run.ctx.Err() == nil {
				s.run.fail(nodeErr(s.node, err))
			}
			return
		}
		rd := &reader{r: r}
		switch {
		case s.commits():
			rd.ps = newPartState(s, rd)
			s.deal(rd)
		case s.endless():
			if err := s.ownLane(rd); err != nil {
				s.run.fail(err)
				return
			}
		default:
			s.waiting.Add(1)
			select {
			case s.offered <- rd:
			case <-s.run.ctx.Done():
				s.waiting.Add(-1)
				rd.r.Close(s.run.ctx)
				return
			}
			s.waiting.Add(-1)
		}
		s.accepted++
	}
}

// ownLane gives an endless reader a lane of its own.
func (s *sourceRun) ownLane(rd *reader) error {
	s.st.mu.Lock()
	l := s.st.lanes[0]
	s.st.mu.Unlock()
	if s.accepted > 0 {
		var err error
		if l, err = s.st.addLane(); err != nil {
			return err
		}
	}
	l.readers = []*reader{rd}
	s.run.goWork("lane of "+s.node.ID, l.runSource)
	return nil
}

// deal gives a partition to the lane that has fewest.
func (s *sourceRun) deal(rd *reader) {
	s.st.mu.Lock()
	least := s.st.lanes[0]
	for _, l := range s.st.lanes {
		if l.dealt < least.dealt {
			least = l
		}
	}
	least.dealt++
	rd.ps.lane = least
	s.run.partsMu.Lock()
	s.run.parts[rd.ps.part] = rd.ps
	s.run.budget.Add(s.partitionBudget())
	s.run.partsMu.Unlock()
	s.saver.add(rd.ps)
	least.inbox = append(least.inbox, rd)
	s.st.mu.Unlock()
	least.waker.Wake()
	if ready := rd.r.Ready(); ready != nil {
		s.run.goWork("ready of "+rd.ps.part.Name, func() {
			for {
				select {
				case <-ready:
					least.waker.Wake()
				case <-rd.ps.closed:
					return
				}
			}
		})
	}
	if rd.ps.part.Gone != nil {
		s.run.goWork("gone of "+rd.ps.part.Name, func() {
			select {
			case <-rd.ps.part.Gone:
				s.gone(rd.ps)
			case <-rd.ps.closed:
			}
		})
	}
}

// gone gives up a partition whose deadline is over: nothing of it is prepared or committed any more, and what sinks still hold
// of it is dropped as returned.
func (s *sourceRun) gone(ps *partState) {
	if s.run.opt.rules.noFence {
		return
	}
	ps.mu.Lock()
	ps.fenced = true
	for _, seg := range ps.segs {
		seg.returned = true
	}
	ps.mu.Unlock()
	for _, k := range s.run.sinks {
		k.waker.Wake()
	}
	ps.lane.waker.Wake()
	s.saver.waker.Wake()
}

// runSource is the life of a lane that reads.
func (l *lane) runSource() {
	s := l.st.src
	l.work()
	defer l.rest()
	l.nextTick = time.Now().Add(tickEvery)
	idle := false // the last round read nothing and everything was kicked
	for !l.run().aborted() {
		l.takeInbox()
		progress, over := false, l.overBudget()
		for i := 0; i < len(l.readers) && !over; i++ {
			rd := l.readers[i]
			wait := time.Duration(0)
			if idle && len(l.readers) == 1 && !l.sharesReaders() {
				wait = max(0, time.Until(l.nextTick))
			}
			reads := l.chain.Load().insts[0].watch
			from := reads.start()
			b, err := rd.r.Read(l.run().ctx, wait)
			reads.stop(from)
			if b != nil {
				progress = true
				l.ingest(rd, b)
			}
			if err != nil {
				l.end(rd, err)
				l.readers = append(l.readers[:i], l.readers[i+1:]...)
				i--
			}
		}
		if len(l.readers) == 0 && !l.more(s) {
			break
		}
		now := time.Now()
		if !now.Before(l.nextTick) {
			l.nextTick = now.Add(tickEvery)
			l.chain.Load().tick(now, false)
			l.push()
			l.cuts(now)
			l.kick()
		} else if l.swap.Load() != nil {
			l.cuts(now)
		}
		if progress {
			idle = false
			continue
		}
		l.kick()
		if over {
			l.blocked = true // a cut may help
			l.wait(min(overPause, time.Until(l.nextTick)))
			l.blockedNs.Add(int64(time.Since(now)))
			continue
		}
		if !idle {
			idle = true
			continue
		}
		if len(l.readers) != 1 || l.sharesReaders() {
			l.wait(time.Until(l.nextTick))
		}
	}
	if l.run().aborted() {
		l.giveUp()
	}
	l.st.finished(l)
}

// sharesReaders says whether the lane may be given further readers, so that it must not sleep inside one.
func (l *lane) sharesReaders() bool { return l.st.src.committer != nil }

// takeInbox takes the readers that the acceptor dealt.
func (l *lane) takeInbox() {
	if !l.sharesReaders() {
		return
	}
	l.st.mu.Lock()
	l.readers = append(l.readers, l.inbox...)
	l.inbox = nil
	l.st.mu.Unlock()
}

// more says whether the lane, which has no reader, will have one.
func (l *lane) more(s *sourceRun) bool {
	switch {
	case s.committer != nil:
		l.st.mu.Lock()
		defer l.st.mu.Unlock()
		return !l.st.noMore || len(l.inbox) > 0
	case s.endless():
		return false
	}
	if l.retire.Load() {
		return false // also while work waits: there is too little room behind, not too little in front
	}
	s.free.Add(1)
	defer s.free.Add(-1)
	t := time.NewTimer(max(time.Millisecond, time.Until(l.nextTick)))
	defer t.Stop()
	select {
	case rd, ok := <-s.offered:
		if !ok {
			return false
		}
		l.readers = append(l.readers, rd)
		return true
	case <-t.C:
		return !l.retire.Load() // tick, then ask again
	case <-l.run().ctx.Done():
		return false
	}
}

// ingest sends a batch that was read on its way.
func (l *lane) ingest(rd *reader, b *sdk.Batch) {
	in := l.chain.Load().insts[0]
	in.acct.In.Add(uint64(b.Rows()))
	ps := rd.ps
	if ps == nil {
		b.Root(sdk.Range{})
		in.deliver(0, b)
		l.push()
		return
	}
	rng := b.Range()
	// (5) The first cuts are exactly where the earlier life planned them. Read never crosses such an end, so it lies before
	// this batch or is its last position.
	if !l.run().opt.rules.straddle {
		for len(ps.planned) > 0 && rng.First > ps.planned[0].Last {
			l.plannedCut(ps)
		}
	}
	ps.mu.Lock()
	seg := ps.current()
	seg.outstanding++
	ps.pos = rng.Last + 1
	ps.mu.Unlock()
	if ps.openedAt.Load() == 0 {
		ps.openedAt.Store(time.Now().UnixNano())
	}
	b.Track(seg)
	in.deliver(0, b)
	l.push()
	for len(ps.planned) > 0 && rng.Last >= ps.planned[0].Last {
		l.plannedCut(ps)
	}
	if l.blocked || ps.wants() {
		l.cuts(time.Now())
	}
}

// plannedCut cuts where an earlier life did.
func (l *lane) plannedCut(ps *partState) {
	last := ps.planned[0].Last
	if l.run().opt.rules.straddle {
		last = max(last, ps.pos-1)
		for len(ps.planned) > 1 && ps.planned[1].Last <= last {
			ps.mu.Lock()
			ps.planned = ps.planned[1:]
			ps.mu.Unlock()
		}
	}
	l.chain.Load().flush(ps.part, true)
	l.cut(ps, last)
}

// end handles the end of a reader: of its input, or of its assignment here.
func (l *lane) end(rd *reader, err error) {
	r := l.run()
	revoked := errors.Is(err, sdk.ErrRevoked) || r.stopping.Load()
	if !errors.Is(err, io.EOF) && !errors.Is(err, sdk.ErrRevoked) {
		r.fail(nodeErr(l.st.src.node, err))
		revoked = true
	}
	ps := rd.ps
	if ps == nil {
		l.push()
		if err := rd.r.Close(r.ctx); err != nil && !r.aborted() {
			r.log.Warn("reader did not close cleanly", "node", l.st.src.node.ID, "error", err)
		}
		return
	}
	l.st.mu.Lock()
	l.dealt--
	l.st.mu.Unlock()
	// (6) Revocation and drain force nothing: what is held then is read again by the next owner.
	held := l.chain.Load().flush(ps.part, false)
	ps.mu.Lock()
	empty, planned := ps.pos == ps.current().first, len(ps.planned) > 0
	fenced := ps.fenced
	ps.mu.Unlock()
	switch {
	case empty:
		l.push()
	case fenced, revoked && (held > 0 || planned):
		l.discard(ps)
	default:
		l.chain.Load().flush(ps.part, true)
		last := ps.pos - 1
		if planned {
			last = max(last, ps.planned[0].Last) // the rest of the planned segment does not exist any more
		}
		l.cut(ps, last)
	}
	ps.mu.Lock()
	if s := ps.current(); s != nil {
		ps.segs = ps.segs[:len(ps.segs)-1]
	}
	ps.closing = true
	ps.news = urgent
	ps.advance()
	ps.mu.Unlock()
	l.st.src.saver.waker.Wake()
}

// giveUp closes the readers of a lane after an abort.
func (l *lane) giveUp() {
	l.takeInbox()
	for _, rd := range l.readers {
		if rd.ps == nil {
			rd.r.Close(l.run().ctx)
		}
	}
	l.readers = nil
}
