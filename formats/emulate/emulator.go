package emulate

import (
	"encoding/binary"
	"slices"
)

// Emulator writes the datagrams of a network of exporters. It is used by one goroutine.
type Emulator struct {
	opts   Options
	base   int64  // ns since the epoch
	seed   uint64 // of the network: the same for all parts
	state  uint64 // of the generator
	share6 uint64 // of IPv6 flows, in 65,536ths
	lines  []line
	flows  []Flow
	loss   loss
	flood  flood
}

// line is all that speaks one protocol.
type line struct {
	protocol Protocol
	weight   uint64
	sent     uint64 // flow records x the weights of the others, beyond the line with least: that one is next
	cost     uint64
	records  int    // in a full datagram
	variable int    // the same, where IPv4 records have fields of variable length
	owed6    uint64 // IPv6 records owed, in 65,536ths: below one
	streams  []stream
	next     int // stream
}

// stream is one observation domain of one exporter: what has its own sequence numbers and templates.
type stream struct {
	addr    [16]byte
	port    uint16
	domain  uint32
	boot    int64  // ms from the exporter's start to the base
	seq     uint32 // of the next datagram, in the protocol's unit
	samples uint32 // sFlow: flow samples so far
	pool    uint32 // sFlow: packets that could have been sampled
	repeats uint32 // times that templates were sent
	refresh int64  // when templates are due
	sets    uint32 // datagrams of data so far; of IPFIX every fourth has fields of variable length
	open    bool   // it has sent something that a collector has its first number from
}

// Datagram says who sent a datagram, and what its header holds.
type Datagram struct {
	Exporter [16]byte // address of the exporter, IPv4 mapped into IPv6
	Port     uint16   // source port
	Protocol Protocol
	Domain   uint32 // observation domain, source id, engine id or sub-agent
	Sequence uint32 // as in the header
	Sent     int64  // ns since the epoch: the time it was written for
	Exported int64  // ns: the export time in the header, as exact as the protocol is; 0 for sFlow, which has none
	Uptime   uint32 // ms since the exporter started, modulo 2^32 (49.7 days); not in IPFIX
	Records  int    // flow records; 0 where it holds templates, sampler tables or counters
	// Templates of a flood in it: see Options.Flood.
	Templates int
	// Lost is how many datagrams of its domain were lost (see Options.Loss) between the one before it and this one, and LostRecords
	// how many flow records were in them.
	Lost, LostRecords int
}

// New makes an emulator. The error names the option that is at fault.
func New(o Options) (*Emulator, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	e := &Emulator{opts: o, base: o.Base.UnixNano(), seed: mix(o.Seed), state: mix(mix(o.Seed) + uint64(o.Part)), share6: uint64(o.IPv6 * 65536)}
	most, exporter := 0, 0
	dealt := deal(o.Mix, o.Exporters)
	e.loss = newLoss(&o)
	e.flood = newFlood(&o, dealt)
	for i, n := range dealt {
		l := line{protocol: o.Mix[i].Protocol, weight: uint64(o.Mix[i].Weight), records: o.records(o.Mix[i].Protocol, false)}
		l.variable = o.records(l.protocol, true)
		most = max(most, l.records)
		for range n {
			floods := e.flood.joins(l.protocol)
			if exporter%o.Parts == o.Part {
				if floods {
					e.flood.from = append(e.flood.from, source{len(e.lines), len(l.streams)})
				}
				first := 1
				if o.DistinctDomains {
					first += exporter * o.Domains
				}
				for d := range o.Domains {
					l.streams = append(l.streams, newStream(exporter, uint32(first+d), e.seed))
				}
			}
			exporter++
		}
		if len(l.streams) > 0 {
			e.lines = append(e.lines, l)
		}
	}
	// Shares without divisions: a record of one line costs the product of the others' weights.
	for i := range e.lines {
		e.lines[i].cost = 1
		for j := range e.lines {
			if i != j {
				e.lines[i].cost *= e.lines[j].weight
			}
		}
	}
	e.flows = make([]Flow, 0, most)
	e.flood.divide(&o)
	return e, nil
}

// deal gives each protocol its number of the exporters: one at least, the others by weight (D'Hondt).
func deal(m Mix, exporters int) []int {
	n := make([]int, len(m))
	for i := range n {
		n[i] = 1
	}
	for range exporters - len(m) {
		best := 0
		for i := range m {
			if m[i].Weight*(n[best]+1) > m[best].Weight*(n[i]+1) {
				best = i
			}
		}
		n[best]++
	}
	return n
}

// newStream makes a domain of exporter i. Exporters have addresses of the documentation networks (RFC 5737), past 762 of the
// one for benchmarks (RFC 2544). Every eighth has been up for just under 2^32 ms, so that its uptime wraps within a minute.
func newStream(i int, domain uint32, seed uint64) stream {
	s := stream{domain: domain}
	h := mix(uint64(i) ^ seed)
	net, host := uint32(0xc6120000), uint32(i-762)
	switch {
	case i < 254:
		net, host = 0xc0000200, uint32(i+1)
	case i < 508:
		net, host = 0xc6336400, uint32(i-254+1)
	case i < 762:
		net, host = 0xcb007100, uint32(i-508+1)
	}
	put4(&s.addr, net+host)
	s.port = 49152 + uint16(h)%16384
	s.boot = 3600_000 + int64(h>>16%(40*24*3600_000))
	if i%8 == 1 {
		s.boot = 1<<32 - 30_000
	}
	return s
}

// Append writes the next datagram, sent at at (ns since the epoch, not before the base nor before the last one), to the end of
// dst. It holds at most most flow records if most is more than 0. Templates, sampler tables and counters have a datagram of
// their own, without flow records, in front of a domain's first data and whenever their interval is over.
//
// It allocates nothing but to grow dst.
func (e *Emulator) Append(dst []byte, at int64, most int) ([]byte, Datagram) {
	if e.FloodDue(at) {
		return e.appendFlood(dst, at)
	}
	l := &e.lines[0]
	for i := 1; i < len(e.lines); i++ {
		if e.lines[i].sent < l.sent {
			l = &e.lines[i]
		}
	}
	for i, least := 0, l.sent; i < len(e.lines); i++ {
		e.lines[i].sent -= least // only the differences count
	}
	s := &l.streams[l.next]
	d := e.stamp(l, s, at)
	e.flows = e.flows[:0]

	if at >= s.refresh && l.protocol != NetFlowV5 {
		return e.announce(dst, l, s, d)
	}
	if s.open {
		e.lose(l, s, &d)
	}
	s.open = true

	n, variable := l.full(s)
	s.sets++
	if most > 0 {
		n = min(n, most)
	}
	n6 := 0
	if e.share6 > 0 && l.protocol != NetFlowV5 {
		l.owed6 += e.share6 * uint64(n)
		n6 = min(int(l.owed6>>16), n)
		l.owed6 -= uint64(n6) << 16
	}
	e.flows = e.flows[:n]
	for i := range e.flows {
		e.draw(&e.flows[i], i >= n-n6)
	}
	d.Records = n
	size := worstSize(l.protocol, n-n6, n6, variable)
	dst = slices.Grow(dst, size)
	b := dst[len(dst) : len(dst)+size]
	used := 0
	switch l.protocol {
	case NetFlowV5:
		used = e.data5(b, s, &d)
	case NetFlowV9:
		used = e.data9(b, s, &d, n-n6)
	case IPFIX:
		used = e.data10(b, s, &d, n-n6, variable)
	default:
		used = e.samples(b, s, &d)
	}
	l.sent += uint64(n) * l.cost
	if l.next++; l.next == len(l.streams) {
		l.next = 0
	}
	return dst[:len(dst)+used], d
}

// stamp begins the datagram of a stream.
func (e *Emulator) stamp(l *line, s *stream, at int64) Datagram {
	return Datagram{Exporter: s.addr, Port: s.port, Protocol: l.protocol, Domain: s.domain, Sequence: s.seq, Sent: at, Uptime: uint32(s.boot + (at-e.base)/1e6)}
}

// announce writes what opens a domain's stream and is repeated.
func (e *Emulator) announce(dst []byte, l *line, s *stream, d Datagram) ([]byte, Datagram) {
	s.refresh = d.Sent + int64(e.opts.TemplateInterval)
	switch l.protocol {
	case NetFlowV9:
		dst = e.templates9(dst, s, &d)
	case IPFIX:
		dst = e.templates10(dst, s, &d)
	default:
		dst = e.counters(dst, s, &d)
	}
	s.repeats++
	s.open = true
	return dst, d
}

// full is how many records the next full datagram of data has, and whether IPv4 ones have fields of variable length.
func (l *line) full(s *stream) (n int, variable bool) {
	n = l.records
	if l.protocol == IPFIX {
		if variable = s.sets%4 == 3; variable {
			n = l.variable
		}
	}
	return n, variable
}

// Flows are the records of the last datagram, in its order. They are valid until the next Append.
func (e *Emulator) Flows() []Flow { return e.flows }

// times says when the flow began and ended, from the export time ref (ns) as the collector knows it.
func (f *Flow) times(ref int64) {
	f.Start, f.End = ref-int64(f.ago)*1e6, ref-int64(f.last)*1e6
}

var be = binary.BigEndian
