package netflow

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirflow/weir/formats/sequence"
)

// Limits bound what strangers can make a [Store] keep.
type Limits struct {
	Exporters   int           // exporters known at a time
	PerExporter int           // templates of one exporter, and as many samplers
	Templates   int           // templates of all exporters
	Age         time.Duration // a template that was neither sent nor used for so long is forgotten, as is a silent exporter
}

// DefaultLimits are beyond what large networks have.
var DefaultLimits = Limits{Exporters: 20_000, PerExporter: 1024, Templates: 100_000, Age: 24 * time.Hour}

// Store keeps what exporters have told about themselves: templates, samplers, clocks, and where their sequence numbers
// stand. Lanes share one store. What is read for each data set is an immutable snapshot, one for each exporter, so learning
// costs what that exporter has and nobody else waits; writers take turns.
//
// Exporters are told apart by address: routers send templates and data from different ports. Where there are transport sessions,
// each is an exporter of its own ([Session]). Ages are measured by the caller's clock ([Decoder.Now]), never by an exporter's.
type Store struct {
	limits Limits

	mu        sync.RWMutex // the maps and counts; writers of snapshots
	exporters map[origin]*Exporter
	places    map[uint32]origin // who is at a session's place
	interned  map[string]*Template
	templates int
	fields    int // of interned templates
	key       []byte

	unproven queues // in the order in which they came; those that have carried data since, or are gone, among them

	// Sequences is the account of exporters' sequence numbers, which others may share.
	Sequences *sequence.Account
	lineMu    sync.Mutex // the maps of lines of all exporters

	version atomic.Uint64 // counts changes of templates
	changes atomic.Uint64 // counts changes of all that Save writes
	moved   atomic.Uint64 // counts snapshots, and exporters that are forgotten, once they are there or gone
	evicted atomic.Uint64 // templates that gave room to others, since Evicted was asked last
	swept   atomic.Int64
}

// NewStore makes an empty store.
func NewStore(l Limits) *Store {
	return &Store{limits: l, Sequences: sequence.NewAccount(), exporters: map[origin]*Exporter{}, places: map[uint32]origin{}, interned: map[string]*Template{}}
}

// fieldsPerTemplate bounds the fields of all different templates, for one template may have MaxFields: so many times the limit of
// templates, 20 bytes each.
const fieldsPerTemplate = 32

// room says whether another definition's fields may be kept.
func (s *Store) room(d *definition) bool {
	return s.fields+len(d.fields) <= s.limits.Templates*fieldsPerTemplate
}

// Close does nothing: a store holds memory only. It makes a Store shareable.
func (s *Store) Close() error { return nil }

// Version changes whenever an exporter's templates do: data that waits for a template is worth trying again.
func (s *Store) Version() uint64 { return s.version.Load() }

// Exporter is what one address has told; in one session, where there are sessions.
type Exporter struct {
	Addr    [16]byte
	Session Session

	snap atomic.Pointer[snapshot]
	seen atomic.Int64 // ns since the epoch, to a second
	used atomic.Bool  // it has sent data that could be decoded by its templates
	gone atomic.Bool  // forgotten by the store
	kind int          // of the queue it is in; under Store.mu

	lines map[uint64]*sequence.Line // by version and domain; under Store.lineMu
	ended bool                      // no more lines; under Store.lineMu
}

// second is the resolution in which ages are kept: most datagrams need not write then.
const second = int64(time.Second)

func touch(seen *atomic.Int64, now int64) {
	if now-seen.Load() >= second {
		seen.Store(now)
	}
}

// lookup finds an exporter; nil if it is not known.
func (s *Store) lookup(o origin) *Exporter {
	s.mu.RLock()
	e := s.exporters[o]
	s.mu.RUnlock()
	return e
}

// exporter finds or makes an exporter, of a kind; nil if there are too many, or its session has ended.
func (s *Store) exporter(o origin, kind int, now int64) *Exporter {
	s.mu.RLock()
	e := s.exporters[o]
	s.mu.RUnlock()
	if e != nil {
		return e
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e = s.exporters[o]; e == nil {
		if len(s.exporters) >= s.limits.Exporters && !s.evict(kind, nil) && !s.evict(1-kind, nil) && !s.evictQuiet(nil, now) || !s.succeed(o) {
			return nil
		}
		e = &Exporter{Addr: o.addr, Session: o.session}
		e.snap.Store(emptySnapshot)
		e.seen.Store(now)
		s.exporters[o] = e
		s.queue(e, kind)
	}
	return e
}

// change is one definition of a template set: a template to keep under key, or without one (a withdrawal, an invalid
// redefinition) the end of what is there.
type change struct {
	key  uint64
	def  *definition
	all  bool // withdraw all of the key's domain and version that are options templates or not, as def says
	size int  // bytes of the definition

	taken bool
}

// apply makes changes in order and publishes one new snapshot. fresh is how many templates are new or different, and wrong how many fields
// of theirs have a wrong length.
func (s *Store) apply(e *Exporter, version uint16, changes []change, now int64) (fresh, wrong int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.kind == plain {
		s.queue(e, telling)
	}
	old := e.snap.Load()
	next := &snapshot{domains: old.domains, others: old.others, inits: old.inits, all: old.all, entries: append(make([]entry, 0, len(old.entries)+len(changes)), old.entries...)}
	changed := false
	for i := range changes {
		c := &changes[i]
		at, found := next.find(c.key)
		switch {
		case c.all:
			n := len(next.entries)
			next.entries = slices.DeleteFunc(next.entries, func(x entry) bool {
				gone := x.key>>16 == c.key>>16 && x.t.Options == c.def.options
				if gone {
					s.drop(x.t)
				}
				return gone
			})
			changed = changed || len(next.entries) != n
			c.taken = true
		case c.def == nil || c.def.withdraw || c.def.why != None:
			if found {
				s.drop(next.entries[at].t)
				next.entries = slices.Delete(next.entries, at, at+1)
				changed = true
			}
			c.taken = true
		case found:
			x := &next.entries[at]
			if !x.t.same(c.def, version) {
				changed = true
				s.drop(x.t)
				if !s.room(c.def) {
					next.entries = slices.Delete(next.entries, at, at+1)
					continue
				}
				// The time is another's in the old snapshot.
				*x = entry{c.key, s.intern(c.def, version), new(life)}
				fresh, wrong = fresh+1, wrong+c.def.wrong
			}
			x.seen.Store(now)
			c.taken = true
		default:
			if e.gone.Load() || !s.makeRoom(e, next, c.def, now) {
				continue
			}
			at, _ = next.find(c.key)
			x := entry{c.key, s.intern(c.def, version), new(life)}
			x.seen.Store(now)
			next.entries = slices.Insert(next.entries, at, x)
			changed, fresh, wrong, c.taken = true, fresh+1, wrong+c.def.wrong, true
		}
	}
	if changed {
		s.publish(e, next)
		s.version.Add(1)
	}
	return fresh, wrong
}

// publish gives an exporter a new snapshot. Called with mu held.
func (s *Store) publish(e *Exporter, next *snapshot) {
	e.snap.Store(next)
	s.changes.Add(1)
	s.moved.Add(1)
}

// intern finds or makes the template of a definition. Called with mu held.
func (s *Store) intern(d *definition, version uint16) *Template {
	s.key = d.appendKey(s.key[:0], version)
	t := s.interned[string(s.key)]
	if t == nil {
		t = &Template{Version: version, Options: d.options, Fields: slices.Clone(d.fields), fixed: d.fixed, vars: d.vars, wrong: d.wrong, key: string(s.key)}
		if t.Options {
			t.told = partsOf(t)
		}
		s.interned[t.key] = t
		s.fields += len(t.Fields)
	}
	t.refs++
	s.templates++
	return t
}

// drop ends one entry's use of a template. Called with mu held.
func (s *Store) drop(t *Template) {
	s.templates--
	if t.refs--; t.refs == 0 {
		delete(s.interned, t.key)
		s.fields -= len(t.Fields)
	}
}

// tell keeps what options records said. Nothing is published if it was known: then it answers false.
func (s *Store) tell(e *Exporter, dom uint32, told []Sampler, init uint64) bool {
	old := e.snap.Load()
	same := init == 0 || old.init(dom) == init
	for _, x := range told {
		if at, ok := findSampler(old.all, x); !ok || old.all[at].Rate != x.Rate {
			same = false
		}
	}
	if same {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	old = e.snap.Load()
	next := &snapshot{entries: old.entries, inits: slices.Clone(old.inits), all: slices.Clone(old.all)}
	for _, x := range told {
		at, ok := findSampler(next.all, x)
		if ok {
			next.all[at] = x
		} else if len(next.all) < s.limits.PerExporter {
			next.all = slices.Insert(next.all, at, x)
		}
	}
	if init != 0 {
		if i := slices.IndexFunc(next.inits, func(x initTime) bool { return x.domain == dom }); i >= 0 {
			next.inits[i].ms = init
		} else if len(next.inits) < maxDomains {
			next.inits = append(next.inits, initTime{dom, init})
		}
	}
	next.group()
	s.publish(e, next)
	return true
}

// maxDomains bounds what is kept by observation domain for one exporter.
const maxDomains = 256

// Expire forgets templates and exporters whose age is over at now (ns since the epoch). It does something at most every tenth
// of the age, so lanes may call it at every tick.
func (s *Store) Expire(now int64) {
	age := int64(s.limits.Age)
	if last := s.swept.Load(); now-last < age/10 || !s.swept.CompareAndSwap(last, now) {
		return
	}
	old := func(seen *atomic.Int64) bool { return now-seen.Load() > age }
	oldEntry := func(x entry) bool { return old(&x.seen) }
	s.mu.Lock()
	defer s.mu.Unlock()
	for o, e := range s.exporters {
		if old(&e.seen) {
			s.forget(o, e)
			continue
		}
		snap := e.snap.Load()
		if slices.ContainsFunc(snap.entries, oldEntry) {
			next := *snap
			next.entries = nil
			for _, x := range snap.entries {
				if oldEntry(x) {
					s.drop(x.t)
				} else {
					next.entries = append(next.entries, x)
				}
			}
			s.publish(e, &next)
			s.version.Add(1)
		}
	}
}
