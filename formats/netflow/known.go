package netflow

// What a store knows, for people.

import (
	"cmp"
	"slices"
)

// Size is how many exporters and templates are kept, and how many different ones the templates are.
func (s *Store) Size() (exporters, templates, different int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.exporters), s.templates, len(s.interned)
}

// Known is what one exporter has told, for people.
type Known struct {
	Addr      [16]byte
	Session   Session
	Seen      int64 // ns since the epoch
	Templates []KnownTemplate
	Samplers  []Sampler
	Lost      Lost // what was missing in its sequences, since it is known
}

// KnownTemplate is a template under the number its exporter gave it.
type KnownTemplate struct {
	Version  uint16
	Domain   uint32
	ID       uint16
	Seen     int64
	Template *Template
}

// Exporters lists what is known, by address and session.
func (s *Store) Exporters() []Known {
	s.mu.RLock()
	out := make([]Known, 0, len(s.exporters))
	for _, e := range s.exporters {
		snap := e.snap.Load()
		k := Known{Addr: e.Addr, Session: e.Session, Seen: e.seen.Load(), Samplers: snap.all, Lost: s.lost(e)}
		for _, x := range snap.entries {
			k.Templates = append(k.Templates, KnownTemplate{uint16(x.key >> 16 & 0xff), uint32(x.key >> 24), uint16(x.key), x.seen.Load(), x.t})
		}
		out = append(out, k)
	}
	s.mu.RUnlock()
	slices.SortFunc(out, func(a, b Known) int {
		return cmp.Or(slices.Compare(a.Addr[:], b.Addr[:]), cmp.Compare(a.Session, b.Session))
	})
	return out
}
