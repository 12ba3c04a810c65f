package delivery

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"time"
)

// Memory is a Broker in this process. It starts no goroutine and sets no timer: what time brings about (a session ends, a late
// write lands) happens at the next call after it is due.
type Memory struct {
	cfg   Config
	start time.Time

	mu        sync.Mutex
	group     group
	committed []Committed
	rand      *rand.Rand
	stores    map[string]*store
	late      []lateWrite
	tally     Tally
}

type lateWrite struct {
	due time.Time
	w   Write
}

// store is one store's memory of blocks.
type store struct {
	known map[string]bool
	order []string
}

var _ Broker = (*Memory)(nil)

// NewMemory makes a world of c.
func NewMemory(c Config) *Memory {
	c.Partitions = max(c.Partitions, 1)
	if c.Session == 0 {
		c.Session = 3 * time.Second
	}
	if c.Revoke == 0 {
		c.Revoke = 2 * time.Second
	}
	return &Memory{
		cfg: c, start: time.Now(), group: group{cfg: c, parts: make([]groupPart, c.Partitions), members: map[string]time.Time{}},
		committed: make([]Committed, c.Partitions), rand: rand.New(rand.NewPCG(c.Seed, 1)), stores: map[string]*store{},
		tally: Tally{Config: c, Stores: map[string]Counted{}, Dead: map[string]Counted{}, Again: map[string]int{}},
	}
}

// Config is [Broker]'s.
func (m *Memory) Config(context.Context) (Config, error) { return m.cfg, nil }

// Fetch is [Broker]'s.
func (m *Memory) Fetch(_ context.Context, partition uint32, from, upto int64, most int) (Fetched, error) {
	if partition >= m.cfg.Partitions {
		return Fetched{}, fmt.Errorf("partition %d of %d", partition, m.cfg.Partitions)
	}
	first := m.cfg.NumberAt(from)
	end, last := m.cfg.Records, m.cfg.Records > 0
	if rate := m.cfg.rate(partition); rate > 0 {
		if here := uint64(time.Since(m.start).Seconds() * rate); !last || here < end {
			end, last = here, false
		}
	}
	n := 0
	for n < most && first+uint64(n) < end && (upto < 0 || m.cfg.Position(first+uint64(n)) <= upto) {
		n++
	}
	return Fetched{First: first, N: n, Ended: last && first+uint64(n) >= end}, nil
}

// Join is [Broker]'s.
func (m *Memory) Join(context.Context) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.group.join(time.Now()), nil
}

// Beat is [Broker]'s.
func (m *Memory) Beat(_ context.Context, member string) (Assignment, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.land(now)
	m.group.expire(now)
	if !m.group.has(member) {
		return Assignment{}, ErrUnknownMember
	}
	m.group.members[member] = now
	return Assignment{Parts: m.group.of(member), Done: m.done()}, nil
}

func (m *Memory) done() bool {
	if !m.cfg.Bounded || m.cfg.Records == 0 {
		return false
	}
	for _, c := range m.committed {
		if c.Value == nil || m.cfg.NumberAt(c.Next) < m.cfg.Records {
			return false
		}
	}
	return true
}

// Release is [Broker]'s.
func (m *Memory) Release(_ context.Context, member string, partition uint32, life uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.group.release(member, partition, life)
	return nil
}

// Leave is [Broker]'s.
func (m *Memory) Leave(_ context.Context, member string) error {
	m.Expel(member)
	return nil
}

// Expel ends a member's session as if it had not beaten for long.
func (m *Memory) Expel(member string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.group.leave(member, time.Now())
}

// Commit is [Broker]'s.
func (m *Memory) Commit(_ context.Context, member string, positions map[uint32]Committed) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.group.expire(time.Now())
	if !m.group.has(member) {
		return ErrUnknownMember
	}
	for p, c := range positions {
		if p >= m.cfg.Partitions {
			return fmt.Errorf("partition %d of %d", p, m.cfg.Partitions)
		}
		if owner := m.group.parts[p].owner; owner != member {
			m.tally.Stale++
		}
		m.committed[p] = c
	}
	return nil
}

// Committed is [Broker]'s.
func (m *Memory) Committed(_ context.Context, partition uint32) (Committed, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.committed[partition], nil
}

// Write is [Broker]'s.
func (m *Memory) Write(_ context.Context, w Write) (Written, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	m.land(now)
	if w.Certain || w.Dead {
		return m.put(w), nil
	}
	if e := m.cfg.DownEvery; e > 0 && now.Sub(m.start)%e >= e-m.cfg.DownFor {
		return Written{}, ErrDown
	}
	var bad []int
	for i, r := range w.Records {
		if m.cfg.IsBad(r) {
			bad = append(bad, i)
		}
	}
	if bad != nil {
		return Written{Bad: bad}, nil
	}
	if m.rand.Float64() < m.cfg.Late {
		m.late = append(m.late, lateWrite{now.Add(m.cfg.LateBy), w})
		m.tally.Late++
		return Written{}, ErrLate
	}
	return m.put(w), nil
}

// land stores the late writes that are due.
func (m *Memory) land(now time.Time) {
	rest := m.late[:0]
	for _, l := range m.late {
		if l.due.After(now) {
			rest = append(rest, l)
		} else {
			m.put(l.w)
		}
	}
	m.late = rest
}

// put stores a block unless its key is known.
func (m *Memory) put(w Write) Written {
	s := m.stores[w.Store]
	if s == nil {
		s = &store{known: map[string]bool{}}
		m.stores[w.Store] = s
	}
	if w.Key != "" {
		if s.known[w.Key] {
			m.tally.Again[w.Store]++
			return Written{Again: true}
		}
		s.known[w.Key] = true
		s.order = append(s.order, w.Key)
		if n := m.cfg.Window; n > 0 && len(s.order) > n {
			delete(s.known, s.order[0])
			s.order = s.order[1:]
		}
	}
	to := m.tally.Stores
	if w.Dead {
		to = m.tally.Dead
	}
	c := to[w.Store]
	c.Blocks++
	if w.Mixed {
		c.Mixed++
	}
	for _, r := range w.Records {
		c.add(r)
	}
	to[w.Store] = c
	return Written{}
}

// Dropped is [Broker]'s.
func (m *Memory) Dropped(_ context.Context, rs []Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range rs {
		m.tally.Dropped.add(r)
	}
	return nil
}

// Tally is [Broker]'s.
func (m *Memory) Tally(context.Context) (*Tally, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.land(time.Now().Add(m.cfg.LateBy))
	t := m.tally
	t.Next = nil
	for _, c := range m.committed {
		t.Next = append(t.Next, c.Next)
	}
	clone := func(in map[string]Counted) map[string]Counted {
		out := map[string]Counted{}
		for name, c := range in {
			out[name] = c.clone()
		}
		return out
	}
	t.Stores, t.Dead, t.Dropped, t.Again = clone(t.Stores), clone(t.Dead), t.Dropped.clone(), maps.Clone(t.Again)
	return &t, nil
}
