package udp

import (
	"net/netip"
	"time"

	"github.com/gaissmai/bart"

	"github.com/weirflow/weir/sdk/endpoint"
)

// gate says which datagrams pass: by who sent them, and how many that one has sent. It belongs to one generation of the source, what
// it knows of senders to the node.
type gate struct {
	*exporters
	allow    *bart.Lite // nil: all
	interval int64      // ns between datagrams of one exporter at its limit; 0: none
}

func newGate(l *exporters, cfg *Config) *gate {
	g := &gate{exporters: l}
	if len(cfg.Allow) > 0 {
		g.allow = new(bart.Lite)
		for _, p := range cfg.Allow {
			g.allow.Insert(netip.Prefix(p))
		}
	}
	if cfg.RateLimit > 0 {
		g.interval = int64(time.Second) / int64(cfg.RateLimit)
	}
	return g
}

const (
	// burst is how much of its limit an exporter may send at once: exporters send what a flush of their cache gives.
	burst = int64(time.Second)
	// setBack is how far time must go back to be believed. Workers are not equally far behind, so times of one exporter do not
	// ascend; a clock that was set back must not stop it until it is as late again.
	setBack = int64(10 * time.Second)
)

// passed counts what passed and what did not; thinned: what passed and stands for more than itself.
type passed struct{ kept, notAllowed, limited, thinned int }

// share says which of a run of datagrams pass: the first so many, which stand for of datagrams together.
type share struct{ pass, of int }

// weight is how many datagrams the i-th that passes stands for. They differ by one at most, and sum up exactly.
func (s share) weight(i int) uint32 {
	w := s.of / s.pass
	if i < s.of%s.pass {
		w++
	}
	return uint32(w)
}

// mostOwed bounds what one exporter's next datagram may stand for, and with it weight. No limit lets so many wait for one.
const mostOwed = 1 << 30

// take judges the n datagrams of a run, bytes long together, that one sender sent; at is when the kernel received the last. Those
// that pass stand for themselves, for those of the run that do not, and for those dropped before since one passed. The caller
// holds mu, for a whole batch.
func (g *gate) take(p *passed, addr [16]byte, n, bytes int, at int64) share {
	if g.allow != nil && !g.allow.Contains(netip.AddrFrom16(addr).Unmap()) {
		g.strangers.heard(addr, n, bytes, at).dropped += uint64(n)
		p.notAllowed += n
		return share{}
	}
	s := g.known.heard(addr, n, bytes, at)
	to := share{n, n}
	if g.interval > 0 {
		to = s.thin(s.spend(n, at, g.interval), n)
		p.limited += n - to.pass
		p.thinned += min(to.pass, to.of-to.pass)
	}
	p.kept += to.pass
	return to
}

// thin makes the first so many of n datagrams stand for all, and for those owed.
func (s *exporter) thin(pass, n int) share {
	s.dropped += uint64(n - pass)
	all := s.owed + n
	if pass == 0 {
		s.owed = min(all, mostOwed)
		return share{}
	}
	s.owed = 0
	return share{pass, all}
}

// spend takes up to n datagrams out of what the limit leaves at a time. It is a token bucket kept as one time: until when what has
// passed would have lasted at the rate, which lies at most a burst back.
func (s *exporter) spend(n int, at, interval int64) int {
	if s.spent-at > setBack {
		s.spent = at
	}
	s.spent = max(s.spent, at-burst)
	n = int(min(int64(n), max(0, at-s.spent)/interval))
	s.spent += int64(n) * interval
	return n
}

// Prefix is a network in a configuration: "192.0.2.0/24", or one address.
type Prefix netip.Prefix

// UnmarshalText reads a prefix.
func (p *Prefix) UnmarshalText(text []byte) error {
	q, problem := endpoint.ParsePrefix(string(text))
	if problem != nil {
		return problem
	}
	*p = Prefix(q)
	return nil
}

// MarshalText is the prefix as people write it.
func (p Prefix) MarshalText() ([]byte, error) { return netip.Prefix(p).MarshalText() }
