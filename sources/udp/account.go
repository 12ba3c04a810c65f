//go:build linux

package udp

import (
	"log/slog"
	"sync/atomic"

	"github.com/weirflow/weir/bpf"
)

// account is what is known of a socket's drops. The kernel counts messages: of a train that it drops, one. Where a program counts what
// is offered, the datagrams that dropped trains had beyond their first are known whenever the socket is at rest: those of all trains less
// those of the trains taken. They are added then. Part of the socket and, but for taken, under its mutex.
type account struct {
	drops     uint32       // the kernel's count when it was last read; it wraps
	lost      uint64       // of it, since the socket is ours
	offered   *bpf.Offered // nil: nobody counts that
	uncounted string       // why not; empty: there are no trains, or they are counted

	taken struct{ messages, more atomic.Uint64 } // by all readers

	early   int64  // messages dropped before the program, as far as is known: with a bad checksum, or by a filter of the process's group
	seen    int64  // beyond their first in trains that were dropped, at the last rest
	more    int64  // of it, counted
	settled uint64 // lost, when more was last complete
}

var countOffered = bpf.CountOffered // another in tests of systems that refuse it

// count has a program count what is offered to a socket that is not yet bound.
func (s *socket) count(fd int, log *slog.Logger) {
	o, err := countOffered(fd)
	if err == nil {
		s.offered = o
		return
	}
	if s.uncounted = bpf.Why(err); s.worker == 0 {
		log.Info("of a train of datagrams that the kernel drops one is counted: no program can count what comes", "listen", s.group.want, "why", s.uncounted)
	}
}

// took tells of messages that a receive gave, and of the datagrams in them.
func (s *socket) took(messages, datagrams int) {
	if datagrams > messages && !s.trains.Load() {
		s.trains.Store(true)
	}
	if s.offered == nil {
		return
	}
	if datagrams > messages {
		s.taken.more.Add(uint64(datagrams - messages))
	}
	s.taken.messages.Add(uint64(messages))
}

// newDrops is how many messages the kernel has dropped at the socket since the last call, by whichever holder, and how many datagrams
// beyond the first of each are known by now; owing: there may be more of those, which show when nothing is left to read.
func (s *socket) newDrops() (messages, more uint64, owing bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, 0, false
	}
	// The order matters. The program adds to messages before more, a reader to more before messages.
	var before, beyond, taken uint64
	if s.offered != nil {
		before, beyond = s.offered.Messages(), s.offered.More()
		taken = s.taken.messages.Load()
		beyond -= s.taken.more.Load()
	}
	m, ok := s.memory()
	if !ok {
		return 0, 0, false
	}
	messages = uint64(m[memDrops] - s.drops)
	s.drops = m[memDrops]
	s.lost += messages
	if s.offered == nil || s.lost == s.settled {
		return messages, 0, false
	}
	// Without others on the way between program and reader, every message offered was taken or dropped, and what was dropped beyond
	// that was dropped early.
	early := int64(s.lost + taken - before)
	if m[memUsed] == 0 && early >= s.early && s.offered.Messages() == before {
		s.early = early
		more = s.rest(int64(beyond))
	}
	return messages, more, s.lost != s.settled
}

// rest tells that so many datagrams beyond their first are missing of trains, and is how many are to be counted anew. A message that was dropped
// early hides one that is on its way, which is then missing too; it will not be the next time, so that what is missing twice counts.
func (s *socket) rest(missing int64) (n uint64) {
	sure := min(missing, s.seen)
	s.seen = missing
	if sure > s.more {
		n = uint64(sure - s.more)
		s.more = sure
	}
	if missing <= s.more {
		s.settled = s.lost
	}
	return n
}

// tell is how many datagrams were dropped, and whether there may have been more. m is what the kernel says, if the socket is open. Called with mu
// held.
func (s *socket) tell(m *[9]uint32, open bool) (drops uint64, atLeast bool) {
	messages := s.lost
	if open {
		messages += uint64(m[memDrops] - s.drops)
	}
	trains := s.trains.Load()
	if s.offered == nil {
		return messages, trains
	}
	trains = trains || s.more > 0 || open && s.offered.More() > 0
	return messages + uint64(s.more), trains && (s.early > 0 || messages != s.settled)
}

// closeAccount is called once, when the socket is closed or could not be opened.
func (s *socket) closeAccount() error {
	if s.offered == nil {
		return nil
	}
	return s.offered.Close()
}
