package netflow

import "github.com/weirflow/weir/formats/sequence"

// The sequence numbers of exporters are those of their domains, for each protocol by itself: an engine of NetFlow v5, a source of NetFlow
// v9, an observation domain of IPFIX.

// Lost is what is missing in the sequences of all exporters.
type Lost = sequence.Lost

// line finds or makes the sequence of a domain; nil if the exporter, or all of them, have too many.
func (s *Store) line(e *Exporter, version uint16, domain uint32) *sequence.Line {
	s.lineMu.Lock()
	defer s.lineMu.Unlock()
	k := uint64(version)<<32 | uint64(domain)
	q := e.lines[k]
	if q == nil && len(e.lines) < maxDomains && !e.ended {
		if e.lines == nil {
			e.lines = map[uint64]*sequence.Line{}
		}
		unit := sequence.Flows
		if version == V9 {
			unit = sequence.Messages
		}
		if q = s.Sequences.NewLine(unit, e.Addr); q != nil {
			e.lines[k] = q
		}
	}
	return q
}

// lost is what was missing in the sequences of an exporter, since it is known.
func (s *Store) lost(e *Exporter) (l Lost) {
	s.lineMu.Lock()
	defer s.lineMu.Unlock()
	for _, q := range e.lines {
		l.Add(s.Sequences.Lost(q))
	}
	return l
}

// endLines ends the sequences of an exporter that is forgotten.
func (s *Store) endLines(e *Exporter) {
	s.lineMu.Lock()
	defer s.lineMu.Unlock()
	for _, q := range e.lines {
		s.Sequences.Close(q)
	}
	e.lines = nil
	e.ended = true
}
