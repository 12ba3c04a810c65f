package sdk

import (
	"sync"
	"sync/atomic"
)

// Reason says why a record was dropped. Reasons are constants, declared in a plugin's Spec: they become metric labels.
type Reason string

// Reasons that the core itself counts under.
const (
	ReasonUnread       Reason = "unread"        // a refused record, and nobody reads `errors`
	ReasonReturned     Reason = "returned"      // of an unfinished segment: the partition's next owner reads it again
	ReasonStoredBefore Reason = "stored_before" // an earlier life stored it
	ReasonOverflow     Reason = "overflow"      // a full queue that may drop
	ReasonOnError      Reason = "on_error"      // refused, and on_error says drop
	ReasonStopped      Reason = "stopped"       // the drain's time was over
	ReasonPluginCrash  Reason = "plugin_crash"
)

// Count is a counter. It is meant to be added to once a batch: the readers of one source share theirs.
type Count struct{ v atomic.Uint64 }

// Add adds n.
func (c *Count) Add(n uint64) { c.v.Add(n) }

// Load reads the counter.
func (c *Count) Load() uint64 { return c.v.Load() }

// Gauge is a level. Who shares it with others adds to it, who has it alone may set it.
type Gauge struct{ v atomic.Int64 }

func (g *Gauge) Set(n int64) { g.v.Store(n) }
func (g *Gauge) Add(n int64) { g.v.Add(n) }
func (g *Gauge) Load() int64 { return g.v.Load() }

// Books are what one lane of one node counts, where it happens. The core counts what goes in and what comes out and compares:
//
//	in + restored = forwarded + filtered + dropped + dead_lettered + consumed + held
//	out + open    = forwarded + copied + produced
//
// For a processor: every input row is forwarded (it is in an output), filtered, dropped for a reason, refused (Out.Error),
// consumed (something was made of it) or held. Rows that are made, not passed on, are produced. Held and Open are levels: set
// them whenever they change, before the call returns. For a source only Received, Filtered, InHand and Drop are used, and
// Lost, which stands beside the equation: what was lost before Weir saw it. Note stands beside it too, for every kind of node.
type Books struct {
	Forwarded, Filtered, Consumed, Produced Count
	Held, Open                              Gauge
	Restored                                Count // opening balance of state kept over a restart
	Received                                Count // source: records taken from outside
	InHand                                  Gauge // source: received and not yet handed out
	dropped                                 tally
	lost                                    tally
	noted                                   tally
	_                                       [64]byte // the next lane's books are on another cache line
}

// Drop counts n records dropped for reason.
func (b *Books) Drop(reason Reason, n uint64) {
	if n > 0 {
		b.dropped.add(reason, n)
	}
}

// Dropped reads the drops: f is called for each reason with its count.
func (b *Books) Dropped(f func(Reason, uint64)) { b.dropped.each(f) }

// Lost counts records lost before Weir (kernel drops, gaps in exporters' sequences): beside the ledger, not in it.
func (b *Books) Lost(reason Reason, n uint64) {
	if n > 0 {
		b.lost.add(reason, n)
	}
}

// Losses reads the counts of Lost.
func (b *Books) Losses(f func(Reason, uint64)) { b.lost.each(f) }

// Note counts n of something that the node's owner should know and no equation holds: times that were clamped, bytes that were
// rejected within a record of which the rest was used, rates that nobody told. The reason says what is counted.
func (b *Books) Note(reason Reason, n uint64) {
	if n > 0 {
		b.noted.add(reason, n)
	}
}

// Notes reads the counts of Note.
func (b *Books) Notes(f func(Reason, uint64)) { b.noted.each(f) }

// tally counts under a few constant reasons, without a lock once a reason is known.
type tally struct {
	mu   sync.Mutex // adding a reason
	rows atomic.Pointer[[]*tallyRow]
}

type tallyRow struct {
	reason Reason
	n      Count
}

func (t *tally) add(r Reason, n uint64) {
	if rows := t.rows.Load(); rows != nil {
		for _, x := range *rows {
			if x.reason == r {
				x.n.Add(n)
				return
			}
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var rows []*tallyRow
	if old := t.rows.Load(); old != nil {
		for _, x := range *old {
			if x.reason == r { // another was faster
				x.n.Add(n)
				return
			}
		}
		rows = append(rows, *old...)
	}
	x := &tallyRow{reason: r}
	x.n.Add(n)
	rows = append(rows, x)
	t.rows.Store(&rows)
}

func (t *tally) each(f func(Reason, uint64)) {
	if rows := t.rows.Load(); rows != nil {
		for _, x := range *rows {
			f(x.reason, x.n.Load())
		}
	}
}
