package pcap

const (
	// MaxOpen is the most datagrams that an Assembler holds parts of; the oldest gives way.
	MaxOpen = 64
	// MaxParts is the most parts of one datagram: 64 KiB in the smallest frames IPv4 promises to carry.
	MaxParts = 128
	// MaxAge is how long an Assembler waits for the rest of a datagram, in nanoseconds of the capture's time.
	MaxAge = 30e9

	maxIP = 65535
)

// fragment is a part of an IP datagram with UDP.
type fragment struct {
	key  fragmentKey
	at   int  // of data in the datagram, bytes
	more bool // it is not the last
	data []byte
}

type fragmentKey struct {
	src, dst [16]byte
	id       uint32
}

// set describes a fragment of which data was captured and left is how long it was.
func (f *fragment) set(d *Datagram, id uint32, at int, more bool, data []byte, left int) Refusal {
	switch {
	case left < len(data) || left == 0 || more && left%8 != 0 || at+left > maxIP:
		return Malformed
	case len(data) < left:
		return ShortFrame
	}
	*f = fragment{fragmentKey{d.Src, d.Dst, id}, at, more, data}
	return Fragment
}

// Assembler finds UDP datagrams like [UDP] and puts those together that were fragmented (RFC 791, 3.2; RFC 8200, 4.5). Its
// memory is bounded: MaxOpen datagrams of 64 KiB. The zero value is ready.
type Assembler struct {
	open []*assembly // oldest first
	free []*assembly
	last *assembly // given out: its memory is used again at the next call
	part fragment  // the frame at hand, if it is one
}

// assembly is a datagram of which parts have come.
type assembly struct {
	key   fragmentKey
	since int64
	parts [][2]int // from, to; in the order they came
	got   int      // bytes
	total int      // bytes; 0: the last part has not come
	buf   []byte
}

// UDP finds the datagram that the frame, captured at time t, completes, and fills d. For a frame that is a part of a datagram
// not yet complete it answers Fragment. Each frame that is, or was, such a part is counted once: joined are those of which d
// was put together, lost those that will be in no datagram, because the rest did not come in time, or contradicts them. What
// d.Payload looks into is valid until the next call.
func (a *Assembler) UDP(link LinkType, frame []byte, t int64, d *Datagram) (r Refusal, joined, lost int) {
	if a.last != nil {
		a.free, a.last = append(a.free, a.last), nil
	}
	f := &a.part
	if r = locate(link, frame, d, f); r != Fragment {
		return r, 0, 0
	}
	for len(a.open) > 0 && (t-a.open[0].since > MaxAge || t-a.open[0].since < -MaxAge) {
		lost += a.drop(0)
	}
	i := a.find(f.key)
	if i < 0 {
		if len(a.open) == MaxOpen {
			lost += a.drop(0)
		}
		i = len(a.open)
		a.open = append(a.open, a.start(f.key, t))
	}
	x := a.open[i]
	switch same, ok := x.add(f); {
	case same:
		return Fragment, 0, lost + 1
	case !ok: // RFC 5722: of a datagram with parts that overlap nothing is used
		return Fragment, 0, lost + a.drop(i) + 1
	case x.got != x.total:
		return Fragment, 0, lost
	}
	a.open = append(a.open[:i], a.open[i+1:]...)
	a.last = x
	d.Src, d.Dst = f.key.src, f.key.dst
	if r = udp(x.buf, x.total, d); r != OK {
		return r, len(x.parts), lost
	}
	return OK, len(x.parts), lost
}

// Flush gives up what is not complete, and says how many frames that were.
func (a *Assembler) Flush() (lost int) {
	for len(a.open) > 0 {
		lost += a.drop(0)
	}
	return lost
}

func (a *Assembler) find(k fragmentKey) int {
	for i, x := range a.open {
		if x.key == k {
			return i
		}
	}
	return -1
}

func (a *Assembler) start(k fragmentKey, t int64) *assembly {
	x := &assembly{}
	if n := len(a.free) - 1; n >= 0 {
		x, a.free = a.free[n], a.free[:n]
	}
	*x = assembly{key: k, since: t, parts: x.parts[:0], buf: x.buf[:0]}
	return x
}

func (a *Assembler) drop(i int) (parts int) {
	x := a.open[i]
	a.open = append(a.open[:i], a.open[i+1:]...)
	a.free = append(a.free, x)
	return len(x.parts)
}

// add takes a part in. same: it has come before; not ok: it contradicts what has come.
func (x *assembly) add(f *fragment) (same, ok bool) {
	from, to := f.at, f.at+len(f.data)
	for _, p := range x.parts {
		if p == [2]int{from, to} {
			return true, true
		}
		if from < p[1] && p[0] < to {
			return false, false
		}
	}
	switch {
	case len(x.parts) == MaxParts, x.total > 0 && (to > x.total || !f.more):
		return false, false
	case !f.more:
		for _, p := range x.parts {
			if p[1] > to {
				return false, false
			}
		}
		x.total = to
	}
	if len(x.buf) < to {
		if cap(x.buf) < to {
			x.buf = append(make([]byte, 0, max(to, min(2*cap(x.buf), maxIP))), x.buf...)
		}
		x.buf = x.buf[:to]
	}
	copy(x.buf[from:], f.data)
	x.parts = append(x.parts, [2]int{from, to})
	x.got += len(f.data)
	return false, true
}
