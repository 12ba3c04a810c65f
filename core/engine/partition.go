package engine

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirflow/weir/sdk"
)

// partState is one life of one partition of a committing source: its segments, oldest first. The lane that reads it closes
// segments, sinks and promises settle them, the saver writes down what is known.
type partState struct {
	src    *sourceRun
	part   *sdk.Partition
	reader *reader
	lane   *lane
	fed    []feed // by keyed sink: what left for it since the open segment began

	cutAsked atomic.Bool
	openedAt atomic.Int64 // when the first position of the open segment was read, ns; 0: none yet

	mu      sync.Mutex
	pos     int64 // next position to be read
	segs    []*segment
	planned []sdk.End // of an earlier life, not yet reached
	next    int64     // all before it is settled
	stored  int64     // all keyed sinks have stored up to it; -1
	news    news      // not yet saved
	closing bool      // nothing more will be read
	fenced  bool      // gone, or closed: nothing of it is saved any more
	closed  chan struct{}
}

// news say how soon a partition must be saved.
type news uint8

const (
	noNews  news = iota
	canWait      // joined with the next save, or after a while
	urgent       // a segment waits to be prepared, or the partition to be closed
)

// feed counts what left for a keyed sink in the open segment. Several lanes may write.
type feed struct{ rows, bytes atomic.Int64 }

func (f *feed) add(rows, bytes int) {
	f.rows.Add(int64(rows))
	f.bytes.Add(int64(bytes))
}

// segment is the records between two cuts.
type segment struct {
	ps          *partState
	first, last int64 // last is set when it is closed

	// under ps.mu
	closed      bool
	skip        bool // an earlier life stored it: keyed sinks write nothing
	returned    bool // nothing of it is written or committed: the next owner reads it again
	planned     bool // its end stands in the saved position already
	prepared    bool
	outstanding int // source batches that are not settled
	worst       sdk.Outcome
	sinks       uint64 // keyed sinks that are done with it
	notes       map[string][]byte
	wantNotes   int // sinks that must say a note before it can be prepared

	wanted time.Time // of the lane: since when a cut is wanted and held up
}

// newPartState starts a life of a partition.
func newPartState(s *sourceRun, rd *reader) *partState {
	ps := &partState{src: s, part: rd.r.Partition(), reader: rd, stored: -1, closed: make(chan struct{})}
	r := s.run
	ps.fed = make([]feed, len(r.plan.Keyed))
	var at sdk.Position
	if p, ok := rd.r.(sdk.Planner); ok {
		at = p.Planned()
	}
	ps.next, ps.pos = at.Next, at.Next
	skip := false
	if !r.opt.rules.noPlan {
		if at.Stored >= at.Next && (at.StoredBy == r.sinksBy || r.opt.rules.anySinks) && !r.opt.rules.noStored {
			ps.stored = at.Stored
			ps.planned = append(ps.planned, sdk.End{Last: at.Stored})
			skip = !r.opt.rules.storedAgain
		}
		for _, e := range at.Ends {
			if e.Last >= at.Next && e.Last > ps.stored {
				ps.planned = append(ps.planned, e)
			}
		}
	}
	if !r.opt.rules.noFirst {
		ps.news = urgent // (5) a first start position is committed at once
	}
	ps.open(at.Next)
	ps.segs[0].skip = skip
	return ps
}

// open begins a segment at a position.
func (ps *partState) open(first int64) {
	s := &segment{ps: ps, first: first}
	if len(ps.planned) > 0 {
		s.planned, s.prepared = true, true
		s.notes = ps.planned[0].Notes
	}
	for i := range ps.fed {
		ps.fed[i].rows.Store(0)
		ps.fed[i].bytes.Store(0)
	}
	ps.openedAt.Store(0)
	ps.segs = append(ps.segs, s)
}

// current is the open segment, nil when closing.
func (ps *partState) current() *segment {
	if n := len(ps.segs); n > 0 && !ps.segs[n-1].closed {
		return ps.segs[n-1]
	}
	return nil
}

// at finds the segment of a position; nil if it has been settled and forgotten, or discarded.
func (ps *partState) at(pos int64) *segment {
	for _, s := range ps.segs {
		if pos >= s.first && (!s.closed || pos <= s.last) {
			return s
		}
	}
	return nil
}

// finishes says whether the segment of pos is closed or gone, or is planned and the oldest that keyed sinks are not done with: a
// sink waits for the rest of it. Later planned ones wait for room like any other, else a store that is down after a start would
// not hold up the reading of all that was planned.
func (ps *partState) finishes(pos int64) bool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	s := ps.at(pos)
	if ps.src.run.opt.rules.noOverdue {
		return false
	}
	if s == nil || s.closed || !s.planned {
		return s == nil || s.closed
	}
	all := ps.src.keyed
	for _, before := range ps.segs {
		if before == s {
			return true
		}
		if before.sinks&all != all {
			return false
		}
	}
	return true
}

// Settled is a source batch's promise come home.
func (s *segment) Settled(_ sdk.Range, worst sdk.Outcome) {
	ps := s.ps
	ps.mu.Lock()
	s.outstanding--
	s.worst = max(s.worst, worst)
	ps.advance()
	wake := ps.closing || ps.news == urgent
	ps.mu.Unlock()
	if wake {
		ps.src.saver.waker.Wake()
	}
}

// noted takes what a sink says to know its block again; when all have, the segment can be prepared.
func (s *segment) noted(sink string, note []byte) {
	ps := s.ps
	ps.mu.Lock()
	if note != nil {
		if s.notes == nil {
			s.notes = map[string][]byte{}
		}
		s.notes[sink] = note
	}
	if s.wantNotes--; s.wantNotes == 0 {
		ps.news = urgent
	}
	ps.mu.Unlock()
	ps.src.saver.waker.Wake()
}

// sinkDone says that a keyed sink has stored its block of the segment, or had none.
func (s *segment) sinkDone(k int) {
	ps := s.ps
	ps.mu.Lock()
	s.sinks |= 1 << k
	ps.advance()
	wake := ps.closing
	ps.mu.Unlock()
	if wake {
		ps.src.saver.waker.Wake()
	}
}

// advance moves what is known of the partition as far as its segments allow.
func (ps *partState) advance() {
	all := ps.src.keyed
	if all != 0 && !ps.src.run.opt.rules.noStored {
		for _, s := range ps.segs {
			if !s.closed || s.returned || s.worst == sdk.Failed || s.sinks&all != all {
				break
			}
			if s.last > ps.stored {
				ps.stored = s.last
				ps.news = max(ps.news, canWait)
			}
		}
	}
	for len(ps.segs) > 0 {
		s := ps.segs[0]
		stored := ps.src.run.opt.rules.keyedAlone && s.sinks&all == all
		if !s.closed || s.outstanding > 0 && !stored {
			if ps.src.run.opt.rules.outOfOrder {
				ps.skipUnsettled()
			}
			break
		}
		if s.returned || s.worst == sdk.Failed {
			if s.returned && ps.closing {
				ps.segs = ps.segs[1:]
				continue
			}
			break
		}
		ps.next = s.last + 1
		ps.news = max(ps.news, canWait)
		ps.segs = ps.segs[1:]
	}
}

// skipUnsettled breaks the rule that offsets are committed in order.
func (ps *partState) skipUnsettled() {
	for _, s := range ps.segs {
		if s.closed && s.outstanding == 0 && !s.returned && s.worst != sdk.Failed && s.last >= ps.next {
			ps.next = s.last + 1
			ps.news = max(ps.news, canWait)
		}
	}
}

// position is what is to be saved now. Segments whose ends are in it are prepared once it is durable; they are returned.
func (ps *partState) position() (p sdk.Position, prepared []*segment) {
	p = sdk.Position{Partition: ps.part, Next: ps.next, Stored: -1, StoredBy: ps.src.run.sinksBy}
	if ps.stored >= ps.next {
		p.Stored = ps.stored
	}
	for _, s := range ps.segs {
		if !s.closed || s.returned {
			break
		}
		if !s.prepared && s.wantNotes > 0 {
			break
		}
		if s.last > p.Stored && ps.src.keyed != 0 {
			p.Ends = append(p.Ends, sdk.End{Last: s.last, Sinks: ps.src.keyed, Notes: s.notes})
		}
		if !s.prepared {
			prepared = append(prepared, s)
		}
	}
	for _, e := range ps.planned {
		if e.Last > p.Stored && e.Last >= p.Next {
			p.Ends = append(p.Ends, e)
		}
	}
	return p, prepared
}

// roomForEnd says whether one more end fits the saved position, with the notes that are still to be said of it and of segments before it.
func (ps *partState) roomForEnd() bool {
	rules := &ps.src.run.opt.rules
	if rules.noRoom {
		return true
	}
	p, _ := ps.position()
	longest := ps.src.longest
	if rules.bareEnds {
		longest = nil
	}
	for _, s := range ps.segs {
		if s.closed && s.wantNotes > 0 && !s.returned && longest != nil {
			p.Ends = append(p.Ends, sdk.End{Last: s.last, Sinks: ps.src.keyed, Notes: longest})
		}
	}
	if len(p.Ends) == 0 {
		return true
	}
	p.Ends = append(p.Ends, sdk.End{Last: ps.pos, Sinks: ps.src.keyed, Notes: longest})
	_, err := p.AppendBinary(nil)
	return err == nil
}
