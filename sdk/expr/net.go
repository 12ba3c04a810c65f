package expr

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// addrSet is a set of addresses: ranges in ascending order that do not touch, over the 128 bits of the column's layout.
type addrSet struct {
	ranges []addrRange
	masks  []addrMask // the same set, if it is a few networks
}

type u128 struct{ hi, lo uint64 }

func (a u128) less(b u128) bool { return a.hi < b.hi || a.hi == b.hi && a.lo < b.lo }

func (a u128) next() u128 {
	if a.lo++; a.lo == 0 {
		a.hi++
	}
	return a
}

func toU128(a [16]byte) u128 {
	return u128{binary.BigEndian.Uint64(a[:8]), binary.BigEndian.Uint64(a[8:])}
}

type addrRange struct{ first, last u128 }

// addrMask is a network over a column read as two machine words a row.
type addrMask struct{ m0, m1, k0, k1 uint64 }

// maxMasks is how many networks are tested one after another; more are searched.
const maxMasks = 4

var highest = u128{^uint64(0), ^uint64(0)}

// network is a parsed literal.
type network struct {
	prefix netip.Prefix // IPv4 as IPv4
	single bool         // written as an address
}

func parseNet(s string) (network, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return network{netip.PrefixFrom(a, a.BitLen()), true}, nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return network{}, err
	}
	return network{prefix: p.Masked()}, nil
}

// mapped are the IPv4 addresses, ::ffff:0:0/96.
var mapped = addrRange{u128{0, 0xffff << 32}, u128{0, 0xffff<<32 | 0xffffffff}}

func (s *addrSet) add(n network) {
	bits := n.prefix.Bits()
	if n.prefix.Addr().Is4() {
		bits += 96
	}
	first := toU128(n.prefix.Addr().As16())
	var host u128
	if bits < 64 {
		host = u128{^uint64(0) >> bits, ^uint64(0)}
	} else if bits < 128 {
		host = u128{0, ^uint64(0) >> (bits - 64)}
	}
	r := addrRange{first, u128{first.hi | host.hi, first.lo | host.lo}}
	// An IPv6 network around the mapped addresses does not hold them.
	if a := n.prefix.Addr(); !a.Is4() && !a.Is4In6() && !mapped.first.less(r.first) && !r.last.less(mapped.last) {
		if r.first.less(mapped.first) {
			s.ranges = append(s.ranges, addrRange{r.first, u128{mapped.first.hi, mapped.first.lo - 1}})
		}
		if mapped.last.less(r.last) {
			s.ranges = append(s.ranges, addrRange{mapped.last.next(), r.last})
		}
		return
	}
	s.ranges = append(s.ranges, r)
}

// seal sorts and joins the ranges. A set is not changed afterwards.
func (s *addrSet) seal() {
	slices.SortFunc(s.ranges, func(a, b addrRange) int {
		switch {
		case a.first.less(b.first):
			return -1
		case b.first.less(a.first):
			return 1
		}
		return 0
	})
	out := s.ranges[:0]
	for _, r := range s.ranges {
		if n := len(out); n > 0 && (out[n-1].last == highest || !out[n-1].last.next().less(r.first)) {
			if out[n-1].last.less(r.last) {
				out[n-1].last = r.last
			}
			continue
		}
		out = append(out, r)
	}
	s.ranges = out
	if len(out) > maxMasks {
		return
	}
	for _, r := range out {
		host := u128{r.first.hi ^ r.last.hi, r.first.lo ^ r.last.lo}
		// A network: the bits in which first and last differ are all the low ones, 0 in first.
		if host.hi&(host.hi+1) != 0 || host.lo&(host.lo+1) != 0 || host.hi != 0 && host.lo != ^uint64(0) || r.first.hi&host.hi != 0 || r.first.lo&host.lo != 0 {
			s.masks = nil
			return
		}
		var k, m [16]byte
		binary.BigEndian.PutUint64(k[:], r.first.hi)
		binary.BigEndian.PutUint64(k[8:], r.first.lo)
		binary.BigEndian.PutUint64(m[:], ^host.hi)
		binary.BigEndian.PutUint64(m[8:], ^host.lo)
		e := binary.NativeEndian
		s.masks = append(s.masks, addrMask{e.Uint64(m[:]), e.Uint64(m[8:]), e.Uint64(k[:]), e.Uint64(k[8:])})
	}
}

func (s *addrSet) contains(a [16]byte) bool { return s.has(toU128(a)) }

func (s *addrSet) has(x u128) bool {
	lo, hi := 0, len(s.ranges)
	for lo < hi {
		if mid := int(uint(lo+hi) >> 1); s.ranges[mid].last.less(x) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo < len(s.ranges) && !x.less(s.ranges[lo].first)
}

// privateNets are the networks of RFC 1918 and RFC 4193.
var privateNets = func() *addrSet {
	var s addrSet
	for _, p := range []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"} {
		n, err := parseNet(p)
		if err != nil {
			panic(err)
		}
		s.add(n)
	}
	s.seal()
	return &s
}()
