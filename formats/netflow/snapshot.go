package netflow

// What an exporter has told about itself at one time.

import (
	"cmp"
	"slices"
	"sync/atomic"
)

// snapshot is immutable but for the times in its entries.
type snapshot struct {
	entries []entry // by key
	domains []domain
	others  domain // of which nothing is known itself
	inits   []initTime
	all     []Sampler // by domain and id
}

type entry struct {
	key uint64
	t   *Template
	*life
}

// life is what changes in an entry while its snapshot stays.
type life struct {
	seen atomic.Int64 // when it was last sent or used, to a second
	used atomic.Bool  // it has decoded data
}

// domain is what is known of one observation domain's sampling and clock. Rates are 0 where they are not known.
type domain struct {
	id       uint32
	samplers []Sampler
	rate     uint64 // of records that name no sampler
	unnamed  uint64 // that was told without the name of a sampler
	init     uint64 // ms since the epoch: what uptimes of IPFIX count from; 0: not known
}

// domain is what is known of one.
func (s *snapshot) domain(id uint32) *domain {
	for i := range s.domains {
		if s.domains[i].id == id {
			return &s.domains[i]
		}
	}
	return &s.others
}

type initTime struct {
	domain uint32
	ms     uint64
}

var emptySnapshot = &snapshot{}

// templateKey orders a snapshot's entries: domain, then version, then id, so that a domain's templates stand together.
func templateKey(version uint16, domain uint32, id uint16) uint64 {
	return uint64(domain)<<24 | uint64(version&0xff)<<16 | uint64(id)
}

func (s *snapshot) find(key uint64) (int, bool) {
	return slices.BinarySearchFunc(s.entries, key, func(e entry, k uint64) int { return cmp.Compare(e.key, k) })
}

// group makes the domains of the samplers and the clocks. A record that names no sampler gets the rate that was told without a name,
// else the one all the domain's samplers have. If a domain has told of no samplers those of the exporter's other domains count, for
// some routers send their options from another domain than their data.
func (s *snapshot) group() {
	s.domains = nil
	s.others = domain{samplers: s.all, rate: agreed(s.all), unnamed: withoutName(s.all)}
	for lo := 0; lo < len(s.all); {
		hi := lo + 1
		for hi < len(s.all) && s.all[hi].Domain == s.all[lo].Domain {
			hi++
		}
		d := domain{id: s.all[lo].Domain, samplers: s.all[lo:hi], rate: agreed(s.all[lo:hi]), unnamed: withoutName(s.all[lo:hi])}
		if !s.all[lo].Named {
			d.rate = s.all[lo].Rate
		}
		s.domains = append(s.domains, d)
		lo = hi
	}
	for _, x := range s.inits {
		if i := slices.IndexFunc(s.domains, func(d domain) bool { return d.id == x.domain }); i >= 0 {
			s.domains[i].init = x.ms
			continue
		}
		d := s.others
		d.id, d.init = x.domain, x.ms
		s.domains = append(s.domains, d)
	}
}

func (s *snapshot) init(domain uint32) (ms uint64) {
	for _, x := range s.inits {
		if x.domain == domain {
			return x.ms
		}
	}
	return 0
}

// agreed is the rate that all of several samplers have, else 0.
func agreed(ss []Sampler) uint64 {
	if len(ss) == 0 {
		return 0
	}
	for _, x := range ss[1:] {
		if x.Rate != ss[0].Rate {
			return 0
		}
	}
	return ss[0].Rate
}

// withoutName is the rate that was told without the name of a sampler, 0 if none was, or several that do not agree.
func withoutName(ss []Sampler) (rate uint64) {
	for _, x := range ss {
		switch {
		case x.Named || x.Rate == rate:
		case rate != 0:
			return 0
		default:
			rate = x.Rate
		}
	}
	return rate
}

func findSampler(ss []Sampler, x Sampler) (int, bool) {
	return slices.BinarySearchFunc(ss, x, func(a, b Sampler) int {
		return cmp.Or(cmp.Compare(a.Domain, b.Domain), cmp.Compare(b2u(a.Named), b2u(b.Named)), cmp.Compare(a.ID, b.ID))
	})
}
