package sflow

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// Agents is what is known of agents: where the sequence numbers of their datagrams stand, which each sub-agent counts, and which
// sampling rates they tell. Gaps are datagrams that were lost before Weir. Datagrams overtake each other on the way and between
// lanes, so a gap counts as lost only when it has stood for a period (see [Agents.Settle]); a late datagram closes it. Lanes share
// one, and meet in it once a batch.
type Agents struct {
	most int
	age  int64 // ns

	mu      sync.Mutex
	known   map[agent]*followed
	settled int64  // ns since the epoch: when the last period began
	ended   uint64 // datagrams missing of sub-agents that were forgotten since
}

type agent struct {
	addr [16]byte
	sub  uint32
}

// followed is one sub-agent. Its fields are under Agents.mu.
type followed struct {
	agent
	next     uint32 // the number expected
	fresh    uint64 // missing since the last period began
	missing  uint64 // missing since before that
	lost     uint64 // counted as lost, all in all
	unknown  uint64 // samples without a rate
	rejected uint64 // bytes
	rates    []uint64
	from     [16]byte // whence its last datagram came
	seen     int64    // ns
	heard    uint64   // datagrams
	gone     bool     // forgotten
}

// maxRates is how many different sampling rates of one sub-agent are kept.
const maxRates = 8

// numbered is one datagram, kept until the batch's end.
type numbered struct {
	slot     *slot
	agent    agent
	from     [16]byte
	sequence uint32
	rate     uint32 // of its last flow sample; 0: it had none
	unknown  uint32
	rejected uint32
}

// slot is what a lane keeps of an agent beside the shared object: a place for one of those that fall on it.
type slot struct {
	agent
	used               bool
	fallback, override uint64    // sampling rates, as Options.Rate says
	followed           *followed // nil: not looked up yet
}

// slots of a lane; a power of two.
const slots = 256

// restart is how far behind a number may be and still be taken for late, and how far ahead for a gap: beyond, the agent has
// started again.
const restart = 1 << 17

// NewAgents makes one that follows at most most sub-agents, and forgets those that have been silent for age.
func NewAgents(most int, age time.Duration) *Agents {
	return &Agents{most: most, age: int64(age), known: map[agent]*followed{}}
}

// observe takes a lane's datagrams of one batch.
func (a *Agents) observe(batch []numbered, now int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range batch {
		x := &batch[i]
		q := (*followed)(nil)
		mine := x.slot.agent == x.agent
		if mine {
			q = x.slot.followed
		}
		if q == nil || q.gone {
			if q = a.follow(x, now); q == nil {
				continue
			}
			if mine {
				x.slot.followed = q
			}
		}
		q.observe(x, now)
	}
}

const (
	// looks is among how many sub-agents room is made: any of them, so it costs the same however many there are.
	looks = 8
	// quietAfter is how long one that has been heard more than once must have been silent to give room.
	quietAfter = int64(time.Minute)
)

// makeRoom forgets a sub-agent, if one of some may go: anybody can send under the addresses of very many, and none of those must keep
// the others out for as long as a silent one is remembered. It is one heard once, as those are, before any that has been silent for long.
func (a *Agents) makeRoom(now int64) bool {
	var least *followed
	n := 0
	for _, q := range a.known {
		once, quiet := q.heard < 2, now-q.seen >= quietAfter
		if (once || quiet) && (least == nil || cmp.Or(cmp.Compare(min(q.heard, 2), min(least.heard, 2)), cmp.Compare(q.seen, least.seen)) < 0) {
			least = q
		}
		if n++; n == looks {
			break
		}
	}
	if least == nil {
		return false
	}
	a.ended += least.missing + least.fresh
	least.gone = true
	delete(a.known, least.agent)
	return true
}

// follow finds or makes the sub-agent of a datagram; nil if there are too many.
func (a *Agents) follow(x *numbered, now int64) *followed {
	q := a.known[x.agent]
	if q == nil && (len(a.known) < a.most || a.makeRoom(now)) {
		q = &followed{agent: x.agent, next: x.sequence, seen: now}
		a.known[x.agent] = q
	}
	return q
}

func (q *followed) observe(x *numbered, now int64) {
	q.seen, q.from = now, x.from
	q.heard++
	q.unknown += uint64(x.unknown)
	q.rejected += uint64(x.rejected)
	if r := uint64(x.rate); r != 0 && len(q.rates) < maxRates && !slices.Contains(q.rates, r) {
		q.rates = append(q.rates, r)
	}
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
	lost, a.ended = a.ended, 0
	for k, q := range a.known {
		lost += q.missing
		q.lost += q.missing
		q.missing, q.fresh = q.fresh, 0
		if now-q.seen >= a.age {
			lost += q.missing
			q.gone = true
			delete(a.known, k)
		}
	}
	return lost
}

// Agent is what is known of one agent.
type Agent struct {
	Addr      [16]byte
	From      [16]byte // whence its last datagram came
	SubAgents int
	Seen      int64    // when it was heard last, ns since the epoch
	Lost      uint64   // datagrams
	Unknown   uint64   // flow samples for which nobody told a rate
	Rejected  uint64   // bytes
	Rates     []uint64 // that it has told, one packet in so many; few of many
}

// List is all agents, by address.
func (a *Agents) List() []Agent {
	a.mu.Lock()
	all := make([]followed, 0, len(a.known))
	for _, q := range a.known {
		all = append(all, *q)
		all[len(all)-1].rates = slices.Clone(q.rates)
	}
	a.mu.Unlock()
	slices.SortFunc(all, func(x, y followed) int {
		return cmp.Or(slices.Compare(x.addr[:], y.addr[:]), cmp.Compare(x.sub, y.sub))
	})
	var list []Agent
	for i := range all {
		q := &all[i]
		if i == 0 || q.addr != all[i-1].addr {
			list = append(list, Agent{Addr: q.addr})
		}
		x := &list[len(list)-1]
		x.SubAgents++
		x.Lost += q.lost
		x.Unknown += q.unknown
		x.Rejected += q.rejected
		if q.seen >= x.Seen {
			x.Seen, x.From = q.seen, q.from
		}
		for _, r := range q.rates {
			if len(x.Rates) < maxRates && !slices.Contains(x.Rates, r) {
				x.Rates = append(x.Rates, r)
			}
		}
	}
	return list
}

// Len is how many sub-agents are known.
func (a *Agents) Len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.known)
}

// Close is [io.Closer]'s, for whoever counts holders of shared objects.
func (a *Agents) Close() error { return nil }
