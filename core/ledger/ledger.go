// Package ledger is the running double-entry account of every record of a pipeline, by node and by edge.
//
// It is counted where it happens, by the lane, per batch, and nobody adjusts a figure to make it balance. What a plugin says it
// did with its records (sdk.Books) and what the core saw go in and out are counted by different hands; [Report] compares.
// The ledger belongs to the pipeline, not to a generation: counters are only ever added.
package ledger

import (
	"sync"
	"sync/atomic"

	"github.com/weirflow/weir/sdk"
)

// Ledger of one pipeline.
type Ledger struct {
	mu    sync.Mutex
	nodes []*Node
	edges []*Edge
	byID  map[string]*Node
}

// New makes an empty ledger.
func New() *Ledger { return &Ledger{byID: map[string]*Node{}} }

// Node is the account of one node over all its lanes.
type Node struct {
	ID   string
	Kind sdk.Kind

	mu    sync.Mutex
	lanes []*Lane
	sinks []*Sink
}

// Lane is what one lane counts of one node: one writer. Books is the plugin's part, the rest the core's.
type Lane struct {
	Books        sdk.Books
	In           sdk.Count // rows given to the node (source: handed out by it)
	Outs         sdk.Count // rows sent over the edges of its ports, `errors` not among them
	Copied       sdk.Count // rows sent a second time because a port has several readers
	DeadLettered sdk.Count // refused rows sent to errors
	ErrorsMade   sdk.Count // refused parts of rows that were themselves consumed
	Open         sdk.Gauge // rows that the core gathers at the node's ports, beside what Books.Open says of the plugin's own
	Failed       sdk.Count // refused rows where on_error is fail: they go nowhere, and the run ends
	dropped      tally     // by the core: unread, on_error
	_            [64]byte
}

// Drop counts rows that the core dropped in the node.
func (l *Lane) Drop(r sdk.Reason, n uint64) { l.dropped.add(r, n) }

// Sink is what one sink counts. Several goroutines write.
type Sink struct {
	In, Delivered, DeadLettered, Failed atomic.Uint64
	InFlight                            atomic.Int64
	Copies                              atomic.Int64 // bytes of the writer's own copies
	Blocks, Retries                     atomic.Uint64
	dropped                             tally
	_                                   [64]byte // a fused sink has one in each lane
}

// Drop counts rows that were dropped in the sink.
func (s *Sink) Drop(r sdk.Reason, n uint64) { s.dropped.add(r, n) }

// Edge is the account of one edge. Several producers write.
type Edge struct {
	From, To string
	Port     string
	Out, In  atomic.Uint64
	queued   func() int64 // rows waiting; nil for a fused edge
	dropped  tally
}

// Drop counts rows dropped between push and pop.
func (e *Edge) Drop(r sdk.Reason, n uint64) { e.dropped.add(r, n) }

// tally counts under constant reasons; any number of writers.
type tally struct {
	mu   sync.Mutex
	rows map[sdk.Reason]uint64
}

func (t *tally) add(r sdk.Reason, n uint64) {
	if n == 0 {
		return
	}
	t.mu.Lock()
	if t.rows == nil {
		t.rows = map[sdk.Reason]uint64{}
	}
	t.rows[r] += n
	t.mu.Unlock()
}

func (t *tally) into(m map[string]uint64) {
	t.mu.Lock()
	for r, n := range t.rows {
		m[string(r)] += n
	}
	t.mu.Unlock()
}

// Node returns the account of the node, opening it at the first call.
func (l *Ledger) Node(id string, kind sdk.Kind) *Node {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.byID[id]
	if n == nil {
		n = &Node{ID: id, Kind: kind}
		l.byID[id] = n
		l.nodes = append(l.nodes, n)
	}
	return n
}

// Lane opens a lane's part of the account.
func (n *Node) Lane() *Lane {
	x := &Lane{}
	n.mu.Lock()
	n.lanes = append(n.lanes, x)
	n.mu.Unlock()
	return x
}

// Sink opens a sink's part of the account.
func (n *Node) Sink() *Sink {
	x := &Sink{}
	n.mu.Lock()
	n.sinks = append(n.sinks, x)
	n.mu.Unlock()
	return x
}

// Edge opens the account of an edge.
func (l *Ledger) Edge(from, port, to string, queued func() int64) *Edge {
	e := &Edge{From: from, Port: port, To: to, queued: queued}
	l.mu.Lock()
	l.edges = append(l.edges, e)
	l.mu.Unlock()
	return e
}
