package sequence

import (
	"sync"
	"sync/atomic"
	"time"
)

// Account is the account of many lines. Lanes share one, and meet in it once a batch.
type Account struct {
	mu     sync.Mutex
	period uint32
	holes  int     // of all lines
	lines  int     // that were made and not closed
	open   []*Line // of which something may be missing
	told   Lost    // since the last Settle
	limit  limit

	settled atomic.Int64 // ns since the epoch: when the period began
	stalled atomic.Int64 // when a lane was last held up
}

// Lost is what is missing. A number that is missing is lost, or limited: then its datagram may be one that was dropped on purpose before
// it came here ([Account.Limited]) and is counted there. Of Messages that is certain, of Flows it says that what was dropped could have
// held them.
type Lost struct{ Flows, Messages, LimitedFlows, LimitedMessages uint64 }

// Add adds x.
func (l *Lost) Add(x Lost) {
	l.Flows += x.Flows
	l.Messages += x.Messages
	l.LimitedFlows += x.LimitedFlows
	l.LimitedMessages += x.LimitedMessages
}

const (
	second = int64(time.Second)
	// patience is how long a period is while a lane is held up: what lies before it in its socket is not lost.
	patience = 10 * second
)

// NewAccount makes an empty one.
func NewAccount() *Account { return &Account{} }

// MaxLines is how many lines are followed at a time, whoever invents exporters and domains: 300 bytes each.
const MaxLines = 1 << 18

// NewLine makes a line for an exporter at addr; nil if there are too many.
func (a *Account) NewLine(unit Unit, addr [16]byte) *Line {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.lines >= MaxLines {
		return nil
	}
	a.lines++
	return &Line{unit: unit, addr: addr}
}

// Move says that a line's datagrams come from another address.
func (a *Account) Move(l *Line, addr [16]byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l.addr = addr
}

// Observe takes a lane's datagrams of one batch.
func (a *Account) Observe(batch []Seen) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range batch {
		x := &batch[i]
		x.Line.observe(x.At, x.Records, a)
	}
}

// watch has Settle look at a line.
func (a *Account) watch(l *Line) {
	if !l.open {
		l.open = true
		a.open = append(a.open, l)
	}
}

// Settle ends a period, if the last one began a second or more before now (ns since the epoch): what was missing before it began and has
// not come is lost, and told to whoever called. So a datagram may be one to two seconds late. Lanes may call it at every tick, and say
// whether they are held up: datagrams then wait unread in front of them, and a period lasts up to ten seconds.
func (a *Account) Settle(now int64, stalled bool) (l Lost) {
	last := a.settled.Load()
	took := now - last
	if took < 0 && took > -patience { // lanes' clocks are read at different times; further back, the clock was set
		return l
	}
	if stalled {
		a.stalled.Store(now)
	}
	held := now - a.stalled.Load()
	if took >= 0 && (took < second || took < patience && held >= 0 && held < second) || !a.settled.CompareAndSwap(last, now) {
		return l
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.period++
	kept := a.open[:0]
	for _, x := range a.open {
		if x.settle(a) {
			kept = append(kept, x)
		} else {
			x.open = false
		}
	}
	clear(a.open[len(kept):])
	a.open = kept
	a.limit.turn()
	l, a.told = a.told, Lost{}
	return l
}

// End says that nothing more will come: what is missing is lost.
func (a *Account) End() (l Lost) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, x := range a.open {
		x.finish(a)
	}
	l, a.told = a.told, Lost{}
	return l
}

// Close ends a line: what is missing is lost, and told by the next Settle. It is called once.
func (a *Account) Close(l *Line) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lines--
	l.finish(a)
}

// Lost is what was lost of a line, since it was made.
func (a *Account) Lost(l *Line) Lost {
	a.mu.Lock()
	defer a.mu.Unlock()
	return l.lost
}
