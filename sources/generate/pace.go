package generate

import (
	"math"
	"math/bits"
	"time"
)

const (
	// quantum is the time whose records are sent together: short enough to look smooth, long enough that a wake-up (some 50 us
	// with its batch) is cheap.
	quantum = 5 * time.Millisecond
	// maxDebt is how far a source may fall behind its rate and catch up.
	maxDebt = time.Second
)

// pace says how many records are due at a rate. It owes what time has brought and has not been sent; a datagram that goes past
// what is due is paid for by a longer wait after it, so the mean rate is exact.
type pace struct {
	rate  float64 // records a second; 0: no limit
	start time.Time
	sent  float64 // since start
	burst bool    // whoever asks sends a burst when anything is due, and waits until that is paid for
}

// due is the number of records to send now; if it is 0, later is how long until there are some.
func (p *pace) due(now time.Time) (records int, later time.Duration) {
	if p.rate == 0 {
		return math.MaxInt, 0
	}
	if p.start.IsZero() {
		p.start = now
	}
	owed := now.Sub(p.start).Seconds()*p.rate - p.sent
	if most := p.rate * maxDebt.Seconds(); owed > most {
		p.sent += owed - most
		owed = most
	}
	// Rounding to ns must not leave a remainder that is waited for in vain.
	least := 1.0
	if !p.burst {
		least = max(least, p.rate*quantum.Seconds())
	}
	if owed+1e-6 < least {
		return 0, time.Duration(math.Ceil((least - owed) / p.rate * 1e9))
	}
	return int(math.Ceil(owed - 1e-6)), 0
}

// clock is the time of the next datagram: the real time, or one that advances with the records sent.
type clock struct {
	virtual       bool
	start, last   int64  // ns since the epoch
	sent          uint64 // flow records
	rate, readers uint64 // of all readers, and how many they are
}

func (c *clock) at(now time.Time) int64 {
	if c.virtual {
		// start + sent / (rate / readers), in integers: reproducible on every machine and without drift.
		hi, lo := bits.Mul64(c.sent*c.readers, uint64(time.Second))
		ns, _ := bits.Div64(hi, lo, c.rate)
		return c.start + int64(ns)
	}
	// The wall clock may be set back; exporters' clocks here do not.
	c.last = max(c.last, c.start, now.UnixNano())
	return c.last
}
