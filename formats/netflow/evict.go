package netflow

import (
	"slices"
	"time"
)

// When a limit is reached, what has never carried data gives room: a flood of templates, from one address or from many, then pushes
// out its own and nothing of those who export flows. Where all has carried data, who has been silent for longest gives room, if that is
// long; else the newcomer is refused. Data of the versions that need no template proves nothing, and forgetting its sender costs little.

// use says that data has been decoded by the entry.
func (x *life) use(e *Exporter, now int64) {
	touch(&x.seen, now)
	if !x.used.Load() {
		x.used.Store(true)
		e.used.Store(true)
	}
}

// queues are the exporters that may be evicted before those that have sent data by a template: those that have told templates, and those
// of the versions that need none. Each kind gives room to its own first.
type queues [2][]*Exporter

const (
	telling = iota
	plain
)

// waits says whether an exporter is still where it was queued.
func (e *Exporter) waits(kind int) bool { return e.kind == kind && !e.used.Load() && !e.gone.Load() }

// queue puts an exporter behind those of its kind that may be evicted before it. Called with mu held.
func (s *Store) queue(e *Exporter, kind int) {
	e.kind = kind
	q := &s.unproven[kind]
	if len(*q) >= 2*s.limits.Exporters+64 {
		*q = slices.DeleteFunc(*q, func(e *Exporter) bool { return !e.waits(kind) })
	}
	*q = append(*q, e)
}

// evict forgets the exporter of a kind, other than keep, that came first; false if there is none. Each is looked at once, so it costs
// the same however many there are. Called with mu held.
func (s *Store) evict(kind int, keep *Exporter) bool {
	var back *Exporter
	done := false
	q := &s.unproven[kind]
	for len(*q) > 0 && !done {
		e := (*q)[0]
		(*q)[0] = nil
		*q = (*q)[1:]
		switch {
		case !e.waits(kind):
		case e == keep:
			back = e
		default:
			s.evicted.Add(uint64(len(e.snap.Load().entries)))
			s.forget(origin{e.Addr, e.Session}, e)
			done = true
		}
	}
	if back != nil {
		*q = append(*q, back)
	}
	return done
}

const (
	// quietAfter is how long an exporter that has carried data must have been silent to give room to another. Anybody can be one, with one
	// datagram under each of many addresses; they must not shut the others out for as long as templates live.
	quietAfter = 10 * time.Minute
	// looks is at how many exporters a quiet one is looked for: any of them, so it costs the same however many there are.
	looks = 8
)

// evictQuiet forgets an exporter, other than keep, that has been silent for quietAfter; false if none of some was. Called with mu held.
func (s *Store) evictQuiet(keep *Exporter, now int64) bool {
	var quiet *Exporter
	n := 0
	for _, e := range s.exporters {
		if e != keep && now-e.seen.Load() >= int64(quietAfter) && (quiet == nil || e.seen.Load() < quiet.seen.Load()) {
			quiet = e
		}
		if n++; n == looks {
			break
		}
	}
	if quiet == nil {
		return false
	}
	s.evicted.Add(uint64(len(quiet.snap.Load().entries)))
	s.forget(origin{quiet.Addr, quiet.Session}, quiet)
	return true
}

// makeRoom sees that another template of the definition may be kept for e in next; false if there is no way. Called with mu held.
func (s *Store) makeRoom(e *Exporter, next *snapshot, d *definition, now int64) bool {
	if len(d.fields) > s.limits.Templates*fieldsPerTemplate {
		return false
	}
	if len(next.entries) >= s.limits.PerExporter && !s.evictOwn(next) {
		return false
	}
	for s.templates >= s.limits.Templates || !s.room(d) {
		if !s.evict(telling, e) && !s.evictOwn(next) && !s.evictQuiet(e, now) {
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
