package sflow

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/weirflow/weir/formats/sequence"
)

// Agents is what is known of agents: where the sequence numbers of their datagrams stand, which each sub-agent counts, and which
// sampling rates they tell. Lanes share one, and meet in it once a batch.
type Agents struct {
	// Sequences is the account of the sequence numbers. Another may be set before the first datagram.
	Sequences *sequence.Account

	most int
	age  int64 // ns

	mu    sync.Mutex
	known map[agent]*followed
	seen  []sequence.Seen // scratch
	swept int64           // ns since the epoch
}

type agent struct {
	addr [16]byte
	sub  uint32
}

// followed is one sub-agent. Its fields are under Agents.mu.
type followed struct {
	agent
	line     *sequence.Line
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

// NewAgents makes one that follows at most most sub-agents, and forgets those that have been silent for age.
func NewAgents(most int, age time.Duration) *Agents {
	return &Agents{Sequences: sequence.NewAccount(), most: most, age: int64(age), known: map[agent]*followed{}}
}

// observe takes a lane's datagrams of one batch.
func (a *Agents) observe(batch []numbered, now int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seen = a.seen[:0]
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
		if q.from != x.from {
			q.from = x.from
			a.Sequences.Move(q.line, x.from)
		}
		q.observe(x, now)
		a.seen = append(a.seen, sequence.Seen{Line: q.line, At: x.sequence, Records: 1})
	}
	a.Sequences.Observe(a.seen)
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
	least.gone = true
	delete(a.known, least.agent)
	a.Sequences.Close(least.line)
	return true
}

// follow finds or makes the sub-agent of a datagram; nil if there are too many.
func (a *Agents) follow(x *numbered, now int64) *followed {
	q := a.known[x.agent]
	if q == nil && (len(a.known) < a.most || a.makeRoom(now)) {
		line := a.Sequences.NewLine(sequence.Messages, x.from)
		if line == nil {
			return nil
		}
		q = &followed{agent: x.agent, line: line, from: x.from, seen: now}
		a.known[x.agent] = q
	}
	return q
}

func (q *followed) observe(x *numbered, now int64) {
	q.seen = now
	q.heard++
	q.unknown += uint64(x.unknown)
	q.rejected += uint64(x.rejected)
	if r := uint64(x.rate); r != 0 && len(q.rates) < maxRates && !slices.Contains(q.rates, r) {
		q.rates = append(q.rates, r)
	}
}

// Expire forgets agents that have been silent for their age at now, ns since the epoch. Lanes may call it at every tick: it looks once a second.
func (a *Agents) Expire(now int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if d := now - a.swept; d >= 0 && d < int64(time.Second) {
		return
	}
	a.swept = now
	for k, q := range a.known {
		if now-q.seen >= a.age {
			q.gone = true
			delete(a.known, k)
			a.Sequences.Close(q.line)
		}
	}
}

// Agent is what is known of one agent.
type Agent struct {
	Addr      [16]byte
	From      [16]byte // whence its last datagram came
	SubAgents int
	Seen      int64 // when it was heard last, ns since the epoch
	Lost      sequence.Lost
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
		x.Lost.Add(a.Sequences.Lost(q.line))
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
