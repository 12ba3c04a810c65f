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
	keyed     uint64            // keyed sinks its marks reach
	age       time.Duration     // after which a segment is to be cut: the least of its sinks
	noters    int               // of them, those that must say a note
	longest   map[string][]byte // by id of these: a note of the most bytes that it may have
	marks     []markTarget      // queues its stage sends marks to

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
