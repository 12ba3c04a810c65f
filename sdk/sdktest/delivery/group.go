package delivery

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// group is the consumer group: who is a member, who owns which partition, who shall own it. Rebalancing is cooperative: an owner
// that shall lose a partition is told, and has until the deadline to give it up.
type group struct {
	cfg     Config
	serial  int
	members map[string]time.Time // last beat
	parts   []groupPart
}

type groupPart struct {
	owner, wanted string
	life          uint64
	until         time.Time // of a revocation
}

func (g *group) has(member string) bool { _, ok := g.members[member]; return ok }

func (g *group) join(now time.Time) string {
	g.serial++
	m := fmt.Sprintf("member-%d", g.serial)
	g.members[m] = now
	g.balance(now)
	return m
}

func (g *group) leave(member string, now time.Time) {
	delete(g.members, member)
	g.balance(now)
}

// expire does what time has brought about: members that have not beaten, or have not given up in time what they shall lose, are
// expelled, as Kafka does at the end of the rebalance time-out.
func (g *group) expire(now time.Time) {
	changed := false
	for m, beat := range g.members {
		if now.Sub(beat) > g.cfg.Session {
			delete(g.members, m)
			changed = true
		}
	}
	for _, p := range g.parts {
		if p.owner != p.wanted && g.has(p.owner) && !now.Before(p.until) {
			delete(g.members, p.owner)
			changed = true
		}
	}
	if changed {
		g.balance(now)
	}
}

// balance says who shall own what: everybody about the same number, and as many as can stay where they are.
func (g *group) balance(now time.Time) {
	members := slices.Sorted(maps.Keys(g.members))
	count := map[string]int{}
	most, extra := 0, 0
	if n := len(members); n > 0 {
		most, extra = len(g.parts)/n, len(g.parts)%n
	}
	var free []*groupPart
	for i := range g.parts {
		p := &g.parts[i]
		if !g.has(p.owner) {
			p.owner = ""
		}
		c := count[p.owner]
		if p.owner != "" && (c < most || c == most && extra > 0) {
			if c == most {
				extra--
			}
			count[p.owner]++
			p.wanted, p.until = p.owner, time.Time{}
			continue
		}
		p.wanted = ""
		free = append(free, p)
	}
	for _, p := range free {
		for _, m := range members {
			if p.wanted == "" || count[m] < count[p.wanted] {
				p.wanted = m
			}
		}
		count[p.wanted]++
		if p.owner == "" {
			p.give()
		} else if p.until.Before(now) {
			p.until = now.Add(g.cfg.Revoke)
		}
	}
}

// give hands the partition to whom it is meant for: another life of it.
func (p *groupPart) give() {
	p.owner, p.until = p.wanted, time.Time{}
	p.life++
}

func (g *group) release(member string, partition uint32, life uint64) {
	if int(partition) < len(g.parts) {
		if p := &g.parts[partition]; p.owner == member && p.life == life {
			p.give()
		}
	}
}

func (g *group) of(member string) (a []Assigned) {
	for i, p := range g.parts {
		if p.owner == member {
			a = append(a, Assigned{Partition: uint32(i), Life: p.life, Revoked: p.wanted != member, Until: p.until})
		}
	}
	return a
}
