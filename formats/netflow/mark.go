package netflow

import "encoding/binary"

// Mark is what an exporter had told at some time: marks that differ mean that it has told more, or taken something back.
type Mark struct{ snap *snapshot }

// Mark of a datagram's exporter as it is now.
func (s *Store) Mark(g *Datagram) Mark {
	if e := s.lookup(origin{g.Addr, g.Session}); e != nil {
		return Mark{e.snap.Load()}
	}
	return Mark{}
}

// Knows says whether the exporter had told the template of one of the data sets of g.
func (m Mark) Knows(g *Datagram) bool {
	h, why := ParseHeader(g.Payload)
	if m.snap == nil || why != None || h.Version < V9 {
		return false
	}
	be := binary.BigEndian
	for p := g.Payload[h.Len:h.End]; len(p) >= headerSet; {
		id, n := be.Uint16(p), int(be.Uint16(p[2:]))
		if n < headerSet || n > len(p) {
			return false
		}
		if _, ok := m.snap.find(templateKey(h.Version, h.Domain, id)); ok {
			return true
		}
		p = p[n:]
	}
	return false
}
