package udp

import (
	"net/netip"
	"sync"
	"time"

	"github.com/weirflow/weir/sdk"
)

// Limits of what senders can make the source remember. An entry is about 200 bytes.
const (
	maxExporters = 1 << 16
	maxStrangers = 1 << 12 // senders that `allow` refuses, kept apart: a flood of them takes nobody's room

	// forgetAfter is how long a silent exporter is remembered; with the table full, quietAfter is enough to give its place away.
	forgetAfter = 24 * time.Hour
	quietAfter  = time.Minute

	rateWindow = 10 * time.Second
)

// exporters are who has sent, and what became of it: of one node, shared by its workers and generations. Workers take the lock once a
// batch.
type exporters struct {
	mu        sync.Mutex
	known     census
	strangers census
}

func newExporters() *exporters {
	l := &exporters{}
	l.known.init(maxExporters)
	l.strangers.init(maxStrangers)
	return l
}

// Close makes them shareable: they are memory only.
func (l *exporters) Close() error { return nil }

// census is a bounded table of senders. They also form a ring, by when they were last heard to a second, so that the one that has
// been silent longest is found at once.
type census struct {
	by     map[[16]byte]*exporter
	most   int
	ring   exporter // next: heard last; prev: silent longest
	others exporter // all there was no room for, together
}

// exporter is what is known of one address. Times are those of the kernel, ns since the epoch.
type exporter struct {
	addr             [16]byte
	next, prev       *exporter
	first, last      int64
	datagrams, bytes uint64
	dropped          uint64
	spent            int64 // of the rate limit: until when what has passed would have lasted at the rate
	owed             int   // dropped since one passed

	since      int64  // when the window of the rate began
	was        uint64 // datagrams then
	wasDropped uint64
	rate       float64
	thinning   float64 // of the last full window
}

func (c *census) init(most int) {
	c.by, c.most = map[[16]byte]*exporter{}, most
	c.ring.next, c.ring.prev = &c.ring, &c.ring
}

// heard finds or makes the entry of a sender from which n datagrams have come.
func (c *census) heard(addr [16]byte, n, bytes int, at int64) *exporter {
	s := c.by[addr]
	if s == nil {
		if s = c.enter(addr, at); s != &c.others {
			c.by[addr] = s
			s.push(&c.ring)
		}
	} else if at-s.last >= int64(time.Second) { // most batches need not touch the neighbours
		s.unlink()
		s.push(&c.ring)
		c.forget(at)
	}
	s.last = max(s.last, at)
	s.datagrams += uint64(n)
	s.bytes += uint64(bytes)
	if d := at - s.since; d >= int64(rateWindow) || d < -int64(rateWindow) {
		s.rate = max(0, float64(s.datagrams-s.was)/(float64(d)/1e9)) // 0 after a clock that was set back
		s.thinning = s.thinned()
		s.since, s.was, s.wasDropped = at, s.datagrams, s.dropped
	}
	return s
}

// enter makes an entry, in the place of another one if need be; others, if all places are taken by senders lately heard.
func (c *census) enter(addr [16]byte, at int64) *exporter {
	c.forget(at)
	var s *exporter
	switch oldest := c.ring.prev; {
	case len(c.by) < c.most:
		s = &exporter{}
	case at-oldest.last >= int64(quietAfter):
		oldest.unlink()
		delete(c.by, oldest.addr)
		s = oldest
	default:
		if c.others.first == 0 {
			c.others.first, c.others.since = at, at
		}
		return &c.others
	}
	*s = exporter{addr: addr, first: at, last: at, since: at}
	return s
}

// forget lets the longest silent go, a few at a time.
func (c *census) forget(at int64) {
	for range 2 {
		s := c.ring.prev
		if s == &c.ring || at-s.last < int64(forgetAfter) {
			return
		}
		s.unlink()
		delete(c.by, s.addr)
	}
}

func (s *exporter) unlink() {
	s.prev.next, s.next.prev = s.next, s.prev
}

func (s *exporter) push(ring *exporter) {
	s.next, s.prev = ring.next, ring
	s.next.prev, ring.next = s, s
}

// perSecond is the rate of the last full window; of a shorter time, as long as there is no full one.
func (s *exporter) perSecond(now int64) float64 {
	if now-s.last > 2*int64(rateWindow) {
		return 0
	}
	d := float64(now-s.since) / 1e9
	if s.rate == 0 && s.since == s.first && d >= 1 || d >= rateWindow.Seconds() {
		return float64(s.datagrams-s.was) / d
	}
	return s.rate
}

// thinned is for how many datagrams one that passed has stood in the window that is open, on average; 0: none was dropped.
func (s *exporter) thinned() float64 {
	all, dropped := s.datagrams-s.was, s.dropped-s.wasDropped
	if dropped == 0 || dropped >= all {
		return 0
	}
	return float64(all) / float64(all-dropped)
}

// Exporters is what the source answers under the topic `exporters`.
type Exporters struct {
	Exporters []Exporter `json:"exporters"`         // heard last first; those that `allow` refuses behind the others
	Others    []Exporter `json:"others,omitempty"`  // those that there was no room to tell apart
	Capacity  int        `json:"exporters_at_most"` // that are told apart
}

// Exporter is what one address has sent.
type Exporter struct {
	Addr      string                `json:"exporter_addr"` // empty for others
	Datagrams uint64                `json:"datagrams"`     // received, those dropped among them
	Bytes     uint64                `json:"bytes"`         // of payload
	Rate      float64               `json:"datagrams_per_second"`
	First     time.Time             `json:"first_seen"`
	Last      time.Time             `json:"last_seen"`
	Dropped   map[sdk.Reason]uint64 `json:"dropped,omitempty"`
	Thinning  float64               `json:"thinning,omitempty"` // by rate_limit: one in so many passed lately, and stands for the others
}

// report lists what is known. Workers wait for as long as the copying takes: 64k entries are some milliseconds.
func (l *exporters) report(now int64) *Exporters {
	l.mu.Lock()
	copied := make([]exporter, 0, len(l.known.by)+len(l.strangers.by))
	copied = l.known.append(copied)
	strangers := len(copied)
	copied = l.strangers.append(copied)
	others := [2]exporter{l.known.others, l.strangers.others}
	l.mu.Unlock()
	out := &Exporters{Exporters: make([]Exporter, len(copied)), Capacity: maxExporters}
	for i := range copied {
		out.Exporters[i] = copied[i].report(i >= strangers, now)
		out.Exporters[i].Addr = netip.AddrFrom16(copied[i].addr).Unmap().String()
	}
	for i := range others {
		if others[i].datagrams > 0 {
			out.Others = append(out.Others, others[i].report(i == 1, now))
		}
	}
	return out
}

func (c *census) append(to []exporter) []exporter {
	for s := c.ring.next; s != &c.ring; s = s.next {
		to = append(to, *s)
	}
	return to
}

func (s *exporter) report(stranger bool, now int64) Exporter {
	e := Exporter{Datagrams: s.datagrams, Bytes: s.bytes, Rate: s.perSecond(now), First: time.Unix(0, s.first).UTC(), Last: time.Unix(0, s.last).UTC()}
	if s.dropped > 0 {
		e.Dropped = map[sdk.Reason]uint64{ReasonRateLimited: s.dropped}
		if stranger {
			e.Dropped = map[sdk.Reason]uint64{ReasonNotAllowed: s.dropped}
		} else if e.Thinning = s.thinning; s.since == s.first {
			e.Thinning = s.thinned()
		}
	}
	return e
}
