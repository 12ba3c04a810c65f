package generate

import (
	"math/bits"
	"slices"
	"time"

	"github.com/weirflow/weir/formats/emulate"
)

// wire is the way from exporters to the collector: datagrams of flows overtake each other on it. What is chosen for it goes out
// behind one of the next datagrams, all exporters together. It draws by a generator of its own, so that the traffic is the same
// with and without it.
//
// Templates are not delayed, nor is what opens a stream: a collector would have no number to count from.
type wire struct {
	below  uint64 // a draw below it is a delay
	window uint64
	state  uint64
	passed int64  // datagrams that came
	oldest int64  // ns since the epoch: nothing that is held is older
	held   []late // by when they are due, then by when they came
	ready  []late // due: to go out before anything new
	free   [][]byte
}

// late is a datagram that waits.
type late struct {
	emulate.Datagram
	payload []byte
	due     int64 // goes out behind the datagram with this number
}

// mostLate is the longest that a datagram waits, by the exporters' time: collectors count one that comes a second late as lost.
const mostLate = 250 * time.Millisecond

func newWire(c *Config, reader int) *wire {
	if c.Reorder == 0 {
		return nil
	}
	return &wire{below: uint64(c.Reorder * (1 << 53)), window: uint64(c.ReorderWindow), state: uint64(c.Seed)<<16 ^ uint64(reader)}
}

// delayed says whether the datagram takes the slow way, and keeps it if so.
func (w *wire) delayed(p []byte, d *emulate.Datagram) bool {
	i := w.passed
	w.passed++
	if d.Records == 0 || d.Sequence == 0 {
		return false
	}
	w.state += 0xa0761d6478bd642f
	hi, lo := bits.Mul64(w.state, w.state^0xe7037ed1a0b428db)
	if r := hi ^ lo; r>>11 >= w.below {
		return false
	}
	x := late{Datagram: *d, due: i + 1 + int64((hi^w.state)%w.window)}
	if n := len(w.free); n > 0 {
		x.payload, w.free = w.free[n-1], w.free[:n-1]
	}
	x.payload = append(x.payload[:0], p...)
	if len(w.held) == 0 {
		w.oldest = x.Sent
	}
	at := len(w.held)
	for at > 0 && w.held[at-1].due > x.due {
		at--
	}
	w.held = slices.Insert(w.held, at, x)
	return true
}

// arrive makes ready what is due behind the datagram that came last.
func (w *wire) arrive() {
	n := 0
	for n < len(w.held) && w.held[n].due < w.passed {
		n++
	}
	w.release(n)
}

// expire makes ready what has waited for mostLate at at (ns since the epoch), and says how long it is until there may be more of it.
func (w *wire) expire(at int64) (later time.Duration) {
	if len(w.held) > 0 && at-w.oldest >= int64(mostLate) {
		left := w.held[:0]
		w.oldest = at
		for _, x := range w.held {
			if at-x.Sent >= int64(mostLate) {
				w.ready = append(w.ready, x)
				continue
			}
			left, w.oldest = append(left, x), min(w.oldest, x.Sent)
		}
		w.held = left
	}
	return time.Duration(w.oldest + int64(mostLate) - at)
}

// end makes ready all that waits.
func (w *wire) end() { w.release(len(w.held)) }

func (w *wire) release(n int) {
	w.ready = append(w.ready, w.held[:n]...)
	w.held = slices.Delete(w.held, 0, n)
}

// pop gives out the first that is ready. Its payload is valid until the next call of delayed.
func (w *wire) pop() ([]byte, emulate.Datagram) {
	x := w.ready[0]
	w.ready = slices.Delete(w.ready, 0, 1)
	w.free = append(w.free, x.payload)
	return x.payload, x.Datagram
}

// waiting is how many datagrams came and did not go out.
func (w *wire) waiting() int {
	if w == nil {
		return 0
	}
	return len(w.held) + len(w.ready)
}
