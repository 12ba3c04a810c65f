package engine

// How a lane reads: what it does with its readers from the first batch to their end.

import (
	"errors"
	"io"
	"time"

	"github.com/weirflow/weir/sdk"
)

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
	rules := &l.run().opt.rules
	if !rules.straddle && !rules.waitForEnd {
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
	for len(ps.planned) > 0 && rng.Last >= ps.planned[0].Last && (rng.Last == ps.planned[0].Last || !rules.waitForEnd) {
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
	held := l.chain.Load().flush(ps.part, r.opt.rules.forceAtEnd)
	ps.mu.Lock()
	empty, planned := ps.pos == ps.current().first, len(ps.planned) > 0
	fenced := ps.fenced
	ps.mu.Unlock()
	switch {
	case empty && (revoked || fenced || !planned):
		l.push()
	case fenced, revoked && (held > 0 || planned && !r.opt.rules.endsPlan):
		l.discard(ps)
	default:
		l.chain.Load().flush(ps.part, true)
		if !planned || r.opt.rules.endWhereRead {
			l.cut(ps, ps.pos-1)
			break
		}
		for len(ps.planned) > 0 {
			l.cut(ps, ps.planned[0].Last) // the rest of what was planned does not exist any more
		}
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
