package tcp

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirflow/weir/sdk"
)

// mostExporters is how many addresses are told apart. An entry is about 150 bytes; those of exporters that are connected are never given away.
const mostExporters = 1 << 12

// census is who has connected and what came of it: an entry outlives the connections of its address. Connections look theirs up once.
type census struct {
	mu     sync.Mutex
	by     map[netip.Addr]*exporter
	most   int
	others exporter // all there was no room for, and those whose place another got
}

// exporter is what is known of one address.
type exporter struct {
	counts
	first       time.Time // under census.mu
	connections int       // that are there; under census.mu
	malformed   atomic.Uint64
	truncated   atomic.Uint64
}

func newCensus(most int) *census { return &census{by: map[netip.Addr]*exporter{}, most: most} }

// Close makes it shareable: it is memory only.
func (c *census) Close() error { return nil }

// enter finds or makes the entry of an address that connects.
func (c *census) enter(a netip.Addr, now time.Time) *exporter {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.by[a]
	if e == nil && (len(c.by) < c.most || c.giveAway()) {
		e = &exporter{}
		c.by[a] = e
	}
	if e == nil {
		e = &c.others
	}
	if e.first.IsZero() {
		e.first = now
	}
	e.connections++
	return e
}

// leave says that one of an exporter's connections has ended.
func (c *census) leave(e *exporter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.connections--
}

// giveAway makes room: the entry heard longest ago of those without a connection goes, and counts among the others. False: all are
// connected.
func (c *census) giveAway() bool {
	var oldest netip.Addr
	var e *exporter
	for a, x := range c.by {
		if x.connections == 0 && (e == nil || x.heard().Before(e.heard())) {
			oldest, e = a, x
		}
	}
	if e == nil {
		return false
	}
	delete(c.by, oldest)
	o := &c.others
	if o.first.IsZero() || e.first.Before(o.first) {
		o.first = e.first
	}
	o.messages.Add(e.messages.Load())
	o.bytes.Add(e.bytes.Load())
	o.malformed.Add(e.malformed.Load())
	o.truncated.Add(e.truncated.Load())
	for at := e.last.Load(); ; {
		if was := o.last.Load(); at <= was || o.last.CompareAndSwap(was, at) {
			return true
		}
	}
}

// heard is when the exporter last sent a message, or else when it connected. Called with census.mu held.
func (e *exporter) heard() time.Time {
	if at := e.last.Load(); at != 0 {
		return time.Unix(0, at)
	}
	return e.first
}

// Exporters is what the source answers under the topic `exporters`.
type Exporters struct {
	Exporters []Exporter `json:"exporters"`         // by address
	Others    []Exporter `json:"others,omitempty"`  // those there was no room to tell apart, as one
	Capacity  int        `json:"exporters_at_most"` // that are told apart
}

// Exporter is what one address has sent since it was first connected.
type Exporter struct {
	Addr        string                `json:"exporter_addr"` // empty for others
	Connections int                   `json:"connections"`   // that are there now
	Messages    uint64                `json:"messages"`
	Bytes       uint64                `json:"bytes"` // of whole messages
	First       time.Time             `json:"first_seen"`
	Last        time.Time             `json:"last_seen"` // a message, or else the first connection
	Dropped     map[sdk.Reason]uint64 `json:"dropped,omitempty"`
}

// report lists what is known.
func (c *census) report() *Exporters {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := &Exporters{Exporters: make([]Exporter, 0, len(c.by)), Capacity: c.most}
	for a, e := range c.by {
		out.Exporters = append(out.Exporters, e.report(a.String()))
	}
	slices.SortFunc(out.Exporters, func(x, y Exporter) int {
		return netip.MustParseAddr(x.Addr).Compare(netip.MustParseAddr(y.Addr))
	})
	if !c.others.first.IsZero() {
		out.Others = []Exporter{c.others.report("")}
	}
	return out
}

func (e *exporter) report(addr string) Exporter {
	out := Exporter{Addr: addr, Connections: e.connections, Messages: e.messages.Load(), Bytes: e.bytes.Load(), First: e.first.UTC(), Last: e.heard().UTC()}
	for reason, n := range map[sdk.Reason]uint64{ReasonBadFraming: e.malformed.Load(), ReasonTruncated: e.truncated.Load()} {
		if n > 0 {
			if out.Dropped == nil {
				out.Dropped = map[sdk.Reason]uint64{}
			}
			out.Dropped[reason] = n
		}
	}
	return out
}
