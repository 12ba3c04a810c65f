//go:build linux

package udp

import "time"

const (
	// nap: when datagrams come fast but each wake-up finds only a few, sleeping a little lets more gather, and takes the CPU of the
	// wake-ups from the receiver and from the core that wakes it. In an idle process Go's sleep takes a millisecond
	// whatever is asked for; it is used all the same, for it leaves the processor to the other workers and wakes them together. The
	// kernel's sleep keeps it, or has the runtime start a thread to take it away: four workers at 250,000 datagrams/s took 0.49 of
	// a core with naps of 200 us by nanosleep(2), and 0.33 with these.
	nap      = 200 * time.Microsecond
	napAbove = 4 // datagrams a receive on average; below it a nap costs more than it saves
	// napFill is the share of the receive buffer, one in so many, that may fill during a nap: the rest is for what delays the reader
	// unforeseen. If more does, napsOut naps are left out.
	napFill = 4
	napsOut = 32
)

// naps is what decides whether to sleep before the next receive.
type naps struct {
	mean  int  // moving average of datagrams a receive, times 8
	short bool // the last receive found less than it had room for
	steep int  // a nap filled too much of the buffer: so many are left out
}

// due says whether a nap is.
func (p *naps) due() bool { return p.short && p.mean > napAbove*8 && p.steep == 0 }

// slept says that bytes waited after a nap, of a buffer of so many.
func (p *naps) slept(bytes, buffer int) {
	if bytes > buffer/napFill {
		p.steep = napsOut
	}
}

// read tells of a receive that had room for more, or not.
func (p *naps) read(datagrams int, short bool) {
	p.mean += datagrams - p.mean/8
	if p.short = short; short && p.steep > 0 {
		p.steep--
	}
}

// empty tells of a receive that found nothing, perhaps right after a nap.
func (p *naps) empty(slept bool) {
	if slept {
		p.mean /= 2
	}
	p.short = !slept
}
