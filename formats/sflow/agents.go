package sflow

import (
	"sync"
	"time"
)

// Agents follows the sequence numbers of datagrams, which each sub-agent of each agent counts: gaps are datagrams that were lost
// before Weir. Datagrams overtake each other on the way and between lanes, so a gap counts as lost only when it has stood for a
// period (see [Agents.Settle]); a late datagram closes it. Lanes share one.
type Agents struct {
	most int
	age  int64 // ns

	mu      sync.Mutex
	known   map[agent]*sequence
	settled int64 // ns since the epoch: when the last period began
}

type agent struct {
	addr [16]byte
	sub  uint32
}

// sequence is where one sub-agent's numbers stand.
type sequence struct {
	next    uint32 // the number expected
	fresh   uint64 // missing since the last period began
	missing uint64 // missing since before that
	seen    int64  // ns
}

// numbered is one datagram, kept until the batch's end.
type numbered struct {
	from     agent
	sequence uint32
}

// restart is how far behind a number may be and still be taken for late, and how far ahead for a gap: beyond, the agent has
// started again.
const restart = 1 << 17

// NewAgents makes one that follows at most most sub-agents, and forgets those that have been silent for age.
func NewAgents(most int, age time.Duration) *Agents {
	return &Agents{most: most, age: int64(age), known: map[agent]*sequence{}}
}

// observe takes a lane's datagrams of one batch.
func (a *Agents) observe(batch []numbered, now int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range batch {
		x := &batch[i]
		q := a.known[x.from]
		if q == nil {
			if len(a.known) < a.most {
				a.known[x.from] = &sequence{next: x.sequence + 1, seen: now}
			}
			continue
		}
		q.seen = now
		switch ahead := int32(x.sequence - q.next); {
		case ahead >= restart || ahead <= -restart:
			q.next = x.sequence + 1
		case ahead >= 0:
			q.fresh += uint64(ahead)
			q.next = x.sequence + 1
		case q.fresh > 0: // late: it was counted as missing
			q.fresh--
		case q.missing > 0:
			q.missing--
		}
	}
}

// Settle ends a period, if the last one began a second or more before now (ns since the epoch), and says how many datagrams
// were lost: those that were missing before it began and have not come. So a datagram may be one to two seconds late. Lanes may
// call it at every tick; what is lost is told to one of them.
func (a *Agents) Settle(now int64) (lost uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now-a.settled < int64(time.Second) {
		return 0
	}
	a.settled = now
	for k, q := range a.known {
		lost += q.missing
		q.missing, q.fresh = q.fresh, 0
		if now-q.seen >= a.age {
			lost += q.missing
			delete(a.known, k)
		}
	}
	return lost
}

// Len is how many sub-agents are known.
func (a *Agents) Len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.known)
}

// Close is [io.Closer]'s, for whoever counts holders of shared objects.
func (a *Agents) Close() error { return nil }
