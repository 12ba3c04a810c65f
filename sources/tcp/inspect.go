package tcp

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/weirflow/weir/sdk"
)

// Listeners is what the source answers under the topic `sockets`, a listener for each address.
type Listeners struct {
	Sockets []Listener `json:"sockets"`
}

// Listener is an address, and those who are connected to it.
type Listener struct {
	Protocol       string       `json:"protocol"` // tcp, or tls
	Listen         string       `json:"listen"`
	MaxConnections int          `json:"max_connections"`
	MaxPerAddress  int          `json:"max_per_address"`
	SlabsLent      int          `json:"buffers_lent"` // with messages that the pipeline has not let go of; with all of them lent nothing is read
	SlabsAtMost    int          `json:"buffers_at_most"`
	Connections    []Connection `json:"connections"` // those that sent most first
}

// Connection is one exporter's.
type Connection struct {
	Peer     string     `json:"peer"`
	Since    time.Time  `json:"since"`
	Last     *time.Time `json:"last_message,omitempty"`
	Messages uint64     `json:"messages"`
	Bytes    uint64     `json:"bytes"` // of whole messages
	// What the exporter was held back for: Waiting now, and how often and how long in all since it connected.
	Waiting bool    `json:"waiting"`
	Waits   uint64  `json:"waits"`
	Waited  float64 `json:"waited_seconds"`
	Shaking bool    `json:"tls_handshake,omitempty"` // TLS begins
}

// Inspect tells of listeners and connections, and of exporters.
func (s *source) Inspect(topic string) (any, error) {
	switch topic {
	case sdk.TopicExporters:
		return s.senders.report(), nil
	case sdk.TopicSockets:
	default:
		return nil, nil
	}
	out := &Listeners{Sockets: []Listener{}}
	for _, r := range s.Opened {
		out.Sockets = append(out.Sockets, r.inspect())
	}
	return out, nil
}

func (r *reader) inspect() Listener {
	l := Listener{Protocol: "tcp", Listen: r.part.Name, MaxConnections: r.src.cfg.MaxConnections, MaxPerAddress: r.src.cfg.MaxPerAddress, SlabsLent: lent - len(r.room), SlabsAtMost: lent,
		Connections: []Connection{}}
	if r.src.tls != nil {
		l.Protocol = "tls"
	}
	now := r.src.env.Now()
	r.mu.Lock()
	for c := range r.conns {
		l.Connections = append(l.Connections, c.tell(now))
	}
	r.mu.Unlock()
	slices.SortFunc(l.Connections, func(a, b Connection) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Peer, b.Peer))
	})
	return l
}

// counts is what has come of a connection, or of an exporter: whole messages. Connections' goroutines write it once for each slab, for
// others to read.
type counts struct {
	messages, bytes atomic.Uint64
	last            atomic.Int64 // ns since the Unix epoch; 0: no message has come
}

// sent counts the messages of a slab.
func (n *counts) sent(messages, bytes int, at int64) {
	n.messages.Add(uint64(messages))
	n.bytes.Add(uint64(bytes))
	n.last.Store(at)
}

// tally is what a connection's goroutine counts.
type tally struct {
	counts
	since     time.Time
	waits     atomic.Uint64
	waited    atomic.Int64 // ns
	waitsFrom atomic.Int64 // ns since the Unix epoch; 0: it does not wait
}

// waiting says that the exporter is held back from now on, goesOn that it no longer is.
func (t *tally) waiting(began time.Time) {
	t.waits.Add(1)
	t.waitsFrom.Store(began.UnixNano())
}

func (t *tally) goesOn(after time.Duration) {
	t.waited.Add(int64(after))
	t.waitsFrom.Store(0)
}

func (c *conn) tell(now time.Time) Connection {
	t := &c.tally
	out := Connection{Peer: c.from.String(), Since: t.since.UTC(), Messages: t.messages.Load(), Bytes: t.bytes.Load(), Waits: t.waits.Load(), Shaking: c.shaking.Load()}
	waited := time.Duration(t.waited.Load())
	if from := t.waitsFrom.Load(); from != 0 {
		out.Waiting = true
		waited += max(0, now.Sub(time.Unix(0, from)))
	}
	out.Waited = waited.Seconds()
	if at := t.last.Load(); at != 0 {
		last := time.Unix(0, at).UTC()
		out.Last = &last
	}
	return out
}
