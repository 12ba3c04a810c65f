package netflow

// Gaps in exporters' sequence numbers are records or messages that were lost before Weir. Datagrams overtake each other on
// the way and between lanes, so a gap counts as lost only when it has stood for a period (see [Store.Settle]); a late datagram
// closes as much of it as it holds.

// sequence is where one domain's numbers stand.
type sequence struct {
	next    uint32 // the number expected
	known   bool   // next is valid: what came before could be counted
	unit    Unit
	fresh   uint64 // missing since the last period began
	missing uint64 // missing since before that
	lost    uint64 // counted as lost, all in all
}

// Unit is what a protocol's sequence numbers count.
type Unit uint8

const (
	Flows    Unit = iota // NetFlow v5 and IPFIX: records
	Messages             // NetFlow v9: datagrams
)

// Lost is what is missing in the sequences of all exporters.
type Lost struct{ Flows, Messages uint64 }

func (l *Lost) add(u Unit, n uint64) {
	if u == Messages {
		l.Messages += n
	} else {
		l.Flows += n
	}
}

// seen is one datagram's number, kept until the batch's end.
type seen struct {
	seq   *sequence
	at    uint32
	units int // -1: the datagram held records that could not be counted
}

// restart is how far behind a number may be and still be taken for late, and how far ahead for a gap: beyond, the exporter has
// started again.
const restart = 1 << 17

// sequenceOf finds or makes the sequence of a domain; nil if the exporter has too many. Called with seqMu held.
func (e *Exporter) sequenceOf(version uint16, domain uint32) *sequence {
	k := uint64(version)<<32 | uint64(domain)
	q := e.domains[k]
	if q == nil && len(e.domains) < maxDomains {
		if e.domains == nil {
			e.domains = map[uint64]*sequence{}
		}
		q = &sequence{unit: Flows}
		if version == V9 {
			q.unit = Messages
		}
		e.domains[k] = q
	}
	return q
}

// sequence is sequenceOf with the lock.
func (s *Store) sequence(e *Exporter, version uint16, domain uint32) *sequence {
	s.seqMu.Lock()
	defer s.seqMu.Unlock()
	return e.sequenceOf(version, domain)
}

// observe takes a lane's datagrams of one batch.
func (s *Store) observe(batch []seen) {
	s.seqMu.Lock()
	defer s.seqMu.Unlock()
	for _, x := range batch {
		x.seq.observe(x.at, x.units)
	}
}

func (q *sequence) observe(at uint32, units int) {
	if !q.known || units < 0 {
		q.next, q.known = at+uint32(max(units, 0)), units >= 0
		return
	}
	switch ahead := int32(at - q.next); {
	case ahead >= restart || ahead <= -restart:
		q.next = at + uint32(units)
	case ahead >= 0:
		q.fresh += uint64(ahead)
		q.next = at + uint32(units)
	default: // late: it was counted as missing
		n := uint64(units)
		m := min(n, q.fresh)
		q.fresh -= m
		q.missing -= min(n-m, q.missing)
	}
}

// Settle ends a period, if the last one began a second or more before now (ns since the epoch): what was missing before it
// began and has not come is lost. So a datagram may be one to two seconds late. Lanes may call it at every tick; what is lost
// is told to one of them.
func (s *Store) Settle(now int64) (l Lost) {
	if last := s.settled.Load(); now-last < second || !s.settled.CompareAndSwap(last, now) {
		return l
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	s.seqMu.Lock()
	defer s.seqMu.Unlock()
	l, s.ended = s.ended, Lost{}
	for _, e := range s.exporters {
		for _, q := range e.domains {
			l.add(q.unit, q.missing)
			q.lost += q.missing
			q.missing, q.fresh = q.fresh, 0
		}
	}
	return l
}
