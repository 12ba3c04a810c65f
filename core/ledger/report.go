package ledger

import (
	"fmt"

	"github.com/weirflow/weir/sdk"
)

// Report is the ledger read at one moment. Exact at rest; while records move, what is between two counters shows as InTransit.
type Report struct {
	Name         string            `json:"name"`
	Received     uint64            `json:"received"`
	Delivered    uint64            `json:"delivered"` // over all sinks
	Filtered     uint64            `json:"filtered"`
	Dropped      map[string]uint64 `json:"dropped"`
	DeadLettered uint64            `json:"dead_lettered"`
	Consumed     uint64            `json:"consumed"`
	Copied       uint64            `json:"copied"`
	Produced     uint64            `json:"produced"`
	Held         int64             `json:"held"`
	InFlight     int64             `json:"in_flight"`
	InTransit    int64             `json:"in_transit"`
	Failed       uint64            `json:"failed"`
	Lost         map[string]uint64 `json:"lost,omitempty"`  // before Weir: kernel drops, sequence gaps
	Noted        map[string]uint64 `json:"noted,omitempty"` // beside the equations: what nodes tell of their records
	Balanced     bool              `json:"balanced"`
	Unbalanced   []string          `json:"unbalanced,omitempty"` // the equations that do not hold, as sentences
	Nodes        []NodeReport      `json:"nodes"`
	Edges        []EdgeReport      `json:"edges"`
}

// NodeReport is one node's line. For a source In is what it received, for a sink Out is what it delivered.
type NodeReport struct {
	ID           string            `json:"id"`
	Kind         sdk.Kind          `json:"kind"`
	In           uint64            `json:"in"`
	Out          uint64            `json:"out"`
	Restored     uint64            `json:"restored,omitempty"`
	Forwarded    uint64            `json:"forwarded,omitempty"`
	Filtered     uint64            `json:"filtered,omitempty"`
	Dropped      map[string]uint64 `json:"dropped,omitempty"`
	DeadLettered uint64            `json:"dead_lettered,omitempty"`
	ErrorsMade   uint64            `json:"errors_made,omitempty"`
	Consumed     uint64            `json:"consumed,omitempty"`
	Copied       uint64            `json:"copied,omitempty"`
	Produced     uint64            `json:"produced,omitempty"`
	Held         int64             `json:"held,omitempty"`
	Open         int64             `json:"open,omitempty"`
	InHand       int64             `json:"in_hand,omitempty"`
	Delivered    uint64            `json:"delivered,omitempty"`
	Failed       uint64            `json:"failed,omitempty"`
	InFlight     int64             `json:"in_flight,omitempty"`
	Copies       int64             `json:"copies_bytes,omitempty"`
	Lost         map[string]uint64 `json:"lost,omitempty"`
	Noted        map[string]uint64 `json:"noted,omitempty"`
	Blocks       uint64            `json:"blocks,omitempty"`
	Retries      uint64            `json:"retries,omitempty"`
}

// EdgeReport is one edge's line.
type EdgeReport struct {
	From      string            `json:"from"`
	Port      string            `json:"port,omitempty"`
	To        string            `json:"to"`
	Out       uint64            `json:"out"`
	In        uint64            `json:"in"`
	Queued    int64             `json:"queued,omitempty"`
	Dropped   map[string]uint64 `json:"dropped,omitempty"`
	InTransit int64             `json:"in_transit,omitempty"`
}

func sum(m map[string]uint64) (n uint64) {
	for _, v := range m {
		n += v
	}
	return n
}

// Report reads the ledger: sinks first, sources last, so that what moves meanwhile is in transit, never negative.
func (l *Ledger) Report(name string) Report {
	l.mu.Lock()
	nodes, edges := append([]*Node(nil), l.nodes...), append([]*Edge(nil), l.edges...)
	l.mu.Unlock()
	r := Report{Name: name, Dropped: map[string]uint64{}, Lost: map[string]uint64{}, Noted: map[string]uint64{}, Balanced: true}
	wrong := func(format string, a ...any) {
		r.Balanced = false
		r.Unbalanced = append(r.Unbalanced, fmt.Sprintf(format, a...))
	}
	r.Nodes = make([]NodeReport, len(nodes))
	for i := len(nodes) - 1; i >= 0; i-- {
		n := nodes[i].report()
		r.Nodes[i] = n
		dropped := sum(n.Dropped)
		switch n.Kind {
		case sdk.KindSource:
			r.Received += n.In
			if n.In != n.Out+n.Filtered+dropped+uint64(n.InHand) {
				wrong("source %s: received %d, but handed out %d + filtered %d + dropped %d + in hand %d", n.ID, n.In, n.Out, n.Filtered, dropped, n.InHand)
			}
		case sdk.KindSink:
			r.Delivered += n.Delivered
			r.InFlight += n.InFlight
			if n.In != n.Delivered+dropped+n.DeadLettered+n.Failed+uint64(n.InFlight) {
				wrong("sink %s: in %d, but delivered %d + dropped %d + dead-lettered %d + failed %d + in flight %d", n.ID, n.In, n.Delivered, dropped, n.DeadLettered, n.Failed, n.InFlight)
			}
		default:
			if n.In+n.Restored != n.Forwarded+n.Filtered+dropped+n.DeadLettered+n.Failed+n.Consumed+uint64(n.Held) {
				wrong("node %s: in %d + restored %d, but forwarded %d + filtered %d + dropped %d + dead-lettered %d + failed %d + consumed %d + held %d",
					n.ID, n.In, n.Restored, n.Forwarded, n.Filtered, dropped, n.DeadLettered, n.Failed, n.Consumed, n.Held)
			}
			if n.Out+uint64(n.Open) != n.Forwarded+n.Copied+n.Produced {
				wrong("node %s: out %d + open %d, but forwarded %d + copied %d + produced %d", n.ID, n.Out, n.Open, n.Forwarded, n.Copied, n.Produced)
			}
			r.Held += n.Held
		}
		r.Filtered += n.Filtered
		r.Consumed += n.Consumed
		r.Copied += n.Copied
		r.Produced += n.Produced
		r.DeadLettered += n.DeadLettered
		r.Failed += n.Failed
		for k, v := range n.Dropped {
			r.Dropped[k] += v
		}
		for k, v := range n.Lost {
			r.Lost[k] += v
		}
		for k, v := range n.Noted {
			r.Noted[k] += v
		}
	}
	for i := len(edges) - 1; i >= 0; i-- {
		e := edges[i]
		x := EdgeReport{From: e.From, Port: e.Port, To: e.To, In: e.In.Load(), Dropped: map[string]uint64{}}
		e.dropped.into(x.Dropped)
		if e.queued != nil {
			x.Queued = e.queued()
		}
		x.Out = e.Out.Load()
		if out, rest := x.Out, x.In+uint64(x.Queued)+sum(x.Dropped); out >= rest {
			x.InTransit = int64(out - rest)
		}
		r.InTransit += x.InTransit
		if x.Out != x.In+uint64(x.Queued)+sum(x.Dropped) {
			wrong("edge %s to %s: out %d, but in %d + queued %d + dropped %d", x.From, x.To, x.Out, x.In, x.Queued, sum(x.Dropped))
		}
		for k, v := range x.Dropped {
			r.Dropped[k] += v
		}
		r.Edges = append(r.Edges, x)
	}
	for i, j := 0, len(r.Edges)-1; i < j; i, j = i+1, j-1 {
		r.Edges[i], r.Edges[j] = r.Edges[j], r.Edges[i]
	}
	return r
}

func (n *Node) report() NodeReport {
	n.mu.Lock()
	lanes, sinks := append([]*Lane(nil), n.lanes...), append([]*Sink(nil), n.sinks...)
	n.mu.Unlock()
	r := NodeReport{ID: n.ID, Kind: n.Kind, Dropped: map[string]uint64{}, Lost: map[string]uint64{}, Noted: map[string]uint64{}}
	for _, l := range lanes {
		r.Restored += l.Books.Restored.Load()
		r.Forwarded += l.Books.Forwarded.Load()
		r.Filtered += l.Books.Filtered.Load()
		r.Consumed += l.Books.Consumed.Load()
		r.Produced += l.Books.Produced.Load()
		r.Held += l.Books.Held.Load()
		r.Open += l.Books.Open.Load() + l.Open.Load()
		r.InHand += l.Books.InHand.Load()
		l.Books.Dropped(func(reason sdk.Reason, k uint64) { r.Dropped[string(reason)] += k })
		l.Books.Losses(func(reason sdk.Reason, k uint64) { r.Lost[string(reason)] += k })
		l.Books.Notes(func(reason sdk.Reason, k uint64) { r.Noted[string(reason)] += k })
		l.dropped.into(r.Dropped)
		r.DeadLettered += l.DeadLettered.Load()
		r.ErrorsMade += l.ErrorsMade.Load()
		r.Failed += l.Failed.Load()
		r.Copied += l.Copied.Load()
		if n.Kind == sdk.KindSource {
			r.Out += l.In.Load()
			r.In += l.Books.Received.Load()
			continue
		}
		r.Out += l.Outs.Load()
		r.In += l.In.Load()
	}
	for _, s := range sinks {
		r.Delivered += s.Delivered.Load()
		r.DeadLettered += s.DeadLettered.Load()
		r.Failed += s.Failed.Load()
		r.InFlight += s.InFlight.Load()
		r.Copies += s.Copies.Load()
		r.Blocks += s.Blocks.Load()
		r.Retries += s.Retries.Load()
		s.dropped.into(r.Dropped)
		r.In += s.In.Load()
	}
	if n.Kind == sdk.KindSink {
		r.Out = r.Delivered
	}
	return r
}
