package netflow

import "slices"

// When a limit is reached, what has never carried data gives room: a flood of templates, from one address or from many, then pushes
// out its own and nothing of those who export flows. What all has carried data stays, and the newcomer is refused.

// use says that data has been decoded by the entry.
func (x *life) use(e *Exporter, now int64) {
	touch(&x.seen, now)
	if !x.used.Load() {
		x.used.Store(true)
		e.used.Store(true)
	}
}

// queue puts a new exporter behind those that may be evicted before it. Called with mu held.
func (s *Store) queue(e *Exporter) {
	if len(s.unproven) >= 2*s.limits.Exporters+64 {
		s.unproven = slices.DeleteFunc(s.unproven, func(e *Exporter) bool { return e.used.Load() || e.gone.Load() })
	}
	s.unproven = append(s.unproven, e)
}

// evict forgets the exporter, other than keep, that came first of those that have never sent data; false if there is none. Each is
// looked at once, so it costs the same however many there are. Called with mu held.
func (s *Store) evict(keep *Exporter) bool {
	var back *Exporter
	done := false
	for len(s.unproven) > 0 && !done {
		e := s.unproven[0]
		s.unproven[0] = nil
		s.unproven = s.unproven[1:]
		switch {
		case e.used.Load() || e.gone.Load():
		case e == keep:
			back = e
		default:
			s.evicted.Add(uint64(len(e.snap.Load().entries)))
			s.forget(origin{e.Addr, e.Session}, e)
			done = true
		}
	}
	if back != nil {
		s.unproven = append(s.unproven, back)
	}
	return done
}

// makeRoom sees that another template of the definition may be kept for e in next; false if there is no way. Called with mu held.
func (s *Store) makeRoom(e *Exporter, next *snapshot, d *definition) bool {
	if len(d.fields) > s.limits.Templates*fieldsPerTemplate {
		return false
	}
	if len(next.entries) >= s.limits.PerExporter && !s.evictOwn(next) {
		return false
	}
	for s.templates >= s.limits.Templates || !s.room(d) {
		if !s.evict(e) && !s.evictOwn(next) {
			return false
		}
	}
	return true
}

// evictOwn takes the oldest of the entries that have never decoded data out of a snapshot that is being made; false if there is
// none. Templates of options are used when their data comes, as all are.
func (s *Store) evictOwn(next *snapshot) bool {
	oldest := -1
	for i := range next.entries {
		x := &next.entries[i]
		if !x.used.Load() && (oldest < 0 || x.seen.Load() < next.entries[oldest].seen.Load()) {
			oldest = i
		}
	}
	if oldest < 0 {
		return false
	}
	s.drop(next.entries[oldest].t)
	s.evicted.Add(1)
	next.entries = slices.Delete(next.entries, oldest, oldest+1)
	return true
}

// Evicted is how many templates have given room to others since it was asked last.
func (s *Store) Evicted() uint64 { return s.evicted.Swap(0) }
