package netflow

import (
	"cmp"
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
	// ahead is by how much its clock was ahead of the arrival, ns, when seen was set; less than 0: behind.
	ahead atomic.Int64
	used  atomic.Bool // it has sent data that could be decoded by its templates
	gone  atomic.Bool // forgotten by the store
	kind  int         // of the queue it is in; under Store.mu

	lines map[uint64]*sequence.Line // by version and domain; under Store.lineMu
	ended bool                      // no more lines; under Store.lineMu
}

// snapshot is immutable but for the times in its entries.
type snapshot struct {
	entries []entry // by key
	domains []domain
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

// domain is what is known of one observation domain's sampling and clock.
type domain struct {
	id       uint32
	samplers []Sampler
	rate     uint64 // of records that name no sampler, 0: not known
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

// domain finds what is known of one; nil if nothing is.
func (s *snapshot) domain(id uint32) *domain {
	for i := range s.domains {
		if s.domains[i].id == id {
			return &s.domains[i]
		}
	}
	return nil
}

// rate of records that name no sampler: the domain's own, else what all samplers of the exporter agree on, for some routers
// send their options from another domain than their data. 0 if that is not known.
func (s *snapshot) rate(d *domain) uint64 {
	if d != nil {
		return d.rate
	}
	return agreed(s.all)
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

// second is the resolution in which ages are kept: most datagrams need not write then.
const second = int64(time.Second)

// touch says whether it wrote.
func touch(seen *atomic.Int64, now int64) bool {
	if now-seen.Load() < second {
		return false
	}
	seen.Store(now)
	return true
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
	next := &snapshot{domains: old.domains, inits: old.inits, all: old.all, entries: append(make([]entry, 0, len(old.entries)+len(changes)), old.entries...)}
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
		e.snap.Store(next)
		s.version.Add(1)
		s.changes.Add(1)
	}
	return fresh, wrong
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
	e.snap.Store(next)
	s.changes.Add(1)
	return true
}

// maxDomains bounds what is kept by observation domain for one exporter.
const maxDomains = 256

func findSampler(ss []Sampler, x Sampler) (int, bool) {
	return slices.BinarySearchFunc(ss, x, func(a, b Sampler) int {
		return cmp.Or(cmp.Compare(a.Domain, b.Domain), cmp.Compare(b2u(a.Named), b2u(b.Named)), cmp.Compare(a.ID, b.ID))
	})
}

// group makes the domains of the samplers. A record that names no sampler gets the rate that was told without a name, else
// the one all the domain's samplers have.
func (s *snapshot) group() {
	s.domains = nil
	for lo := 0; lo < len(s.all); {
		hi := lo + 1
		for hi < len(s.all) && s.all[hi].Domain == s.all[lo].Domain {
			hi++
		}
		d := domain{id: s.all[lo].Domain, samplers: s.all[lo:hi], rate: agreed(s.all[lo:hi])}
		if !s.all[lo].Named {
			d.rate = s.all[lo].Rate
		}
		s.domains = append(s.domains, d)
		lo = hi
	}
}

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
			e.snap.Store(&next)
			s.version.Add(1)
			s.changes.Add(1)
		}
	}
}

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
	Ahead     int64 // ns by which its clock is ahead of the arrival of its datagrams; 0 too if it has sent none in this life
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
		k := Known{Addr: e.Addr, Session: e.Session, Seen: e.seen.Load(), Ahead: e.ahead.Load(), Samplers: snap.all, Lost: s.lost(e)}
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
