package sequence

import "slices"

// Unit is what sequence numbers count.
type Unit uint8

const (
	Flows    Unit = iota // NetFlow v5 and IPFIX (RFC 7011, 3.1): records
	Messages             // NetFlow v9 (RFC 3954, 5.1) and sFlow: datagrams
)

// Line is one count of an exporter: of an engine, an observation domain, a sub-agent. Its fields belong to its account.
type Line struct {
	cur    *track // the first of tracks
	unit   Unit
	open   bool  // it is in Account.open
	most   int32 // records of a datagram
	own    track // has a place for one: most lines never need another
	tracks []*track
	addr   [16]byte // whence it comes
	lost   Lost
}

// maxTracks is how many runs of numbers are told apart in one line: exporters behind one address and domain.
const maxTracks = 4

// Seen is one datagram's number. Records is how many it holds; -1: that is not known. Datagrams of Messages may say 1.
type Seen struct {
	Line    *Line
	At      uint32
	Records int32
}

func (l *Line) observe(at uint32, records int32, a *Account) {
	step := records
	if l.unit == Messages {
		step = 1
	} else if records > l.most {
		l.most = records
	}
	t := l.cur
	if t == nil {
		t = l.begin(at, step, a)
	} else {
		if t.period != a.period {
			t.turn(a.period)
		}
		if at == t.next && t.known && step >= 0 {
			t.next += uint32(step)
			t.carried()
		} else if t = l.other(at, records, step, a); t == nil {
			return
		}
	}
	t.last, t.records = at, records
}

// other takes a datagram that is not the expected one, and returns the track that it is of.
func (l *Line) other(at uint32, records, step int32, a *Account) *track {
	t := l.cur
	if t.odds(l, at) {
		l.recount(at, records, a)
		return nil
	}
	if len(l.tracks) == 1 && t.repeated(at) {
		return t
	}
	a.watch(l)
	return l.find(at, step, a)
}

// find gives a datagram that is not the expected one to the track that it is of, and returns that.
func (l *Line) find(at uint32, step int32, a *Account) *track {
	if len(l.tracks) > 1 {
		for i, t := range l.tracks {
			if i > 0 && t.period != a.period {
				t.turn(a.period)
			}
			if at == t.next && t.known {
				t.take(at, step, a)
				return l.front(i)
			}
		}
	}
	for i, t := range l.tracks {
		if !t.near(at) {
			continue
		}
		if t.take(at, step, a) != behind {
			return l.front(i)
		}
		t.stray(at, step, a)
		return t
	}
	return l.begin(at, step, a)
}

// front makes a track the one that is tried first.
func (l *Line) front(i int) *track {
	t := l.tracks[i]
	copy(l.tracks[1:i+1], l.tracks[:i])
	l.tracks[0], l.cur = t, t
	return t
}

// begin begins a track. If all places are taken it has that of the one that has been silent longest, or has moved least.
func (l *Line) begin(at uint32, step int32, a *Account) *track {
	var t, after *track
	if n := len(l.tracks); n > 0 {
		after = l.tracks[0]
		for _, x := range l.tracks[1:] { // the nearest one that it is ahead of
			if at-x.next < at-after.next {
				after = x
			}
		}
		if at-after.next > after.reach() {
			after = nil
		}
	}
	if len(l.tracks) < maxTracks {
		if t = &l.own; slices.Contains(l.tracks, t) {
			t = &track{}
		}
		l.tracks = append(l.tracks, t)
	} else {
		i := l.least()
		t = l.tracks[i]
		l.tracks = append(slices.Delete(l.tracks, i, i+1), t)
		l.tell(t.end(a), a)
		for _, x := range l.tracks {
			if x.after == t { // nobody will know: no loss is told that may be none
				x.after = nil
				x.holes.forget(x.next, x.first, a)
			}
		}
		if after == t {
			after = nil
		}
	}
	t.start(at, step, a.period)
	if after != nil {
		t.after, t.afterMoved = after, after.moved
		t.holes.open(hole{after.next, at, a.period}, a)
	}
	return l.front(len(l.tracks) - 1)
}

// least is the track that is worth least.
func (l *Line) least() int {
	least := 0
	for i, t := range l.tracks {
		if x := l.tracks[least]; int32(t.used-x.used) < 0 || t.used == x.used && t.moved < x.moved {
			least = i
		}
	}
	return least
}

// end ends a track: what is missing of it is lost.
func (t *track) end(a *Account) uint64 {
	if t.again != nil {
		t.again.holes.drop(a)
	}
	return t.holes.drop(a)
}

// tell counts so many numbers as lost.
func (l *Line) tell(n uint64, a *Account) {
	if n == 0 {
		return
	}
	limited := a.explain(l, n)
	var x Lost
	if l.unit == Messages {
		x.Messages, x.LimitedMessages = n-limited, limited
	} else {
		x.Flows, x.LimitedFlows = n-limited, limited
	}
	l.lost.Add(x)
	a.told.Add(x)
}

// settle ends a period, and says whether there is more to wait for.
func (l *Line) settle(a *Account) (waits bool) {
	lost := uint64(0)
	var all [maxTracks]*track
	for _, t := range all[:copy(all[:], l.tracks)] {
		if t.after != nil && a.period-t.born >= 2 {
			lost += l.join(t, a)
		}
		lost += t.resume(a) + t.holes.settle(a)
		if x := t.again; x != nil && x.moved == 0 {
			x.holes.drop(a)
		}
		waits = waits || t.holes.len() > 0 || t.after != nil || t.again != nil && t.again.moved > 0
	}
	l.tell(lost, a)
	return waits
}

// finish ends all that waits: nothing will come that could be late.
func (l *Line) finish(a *Account) {
	lost := uint64(0)
	var all [maxTracks]*track
	for _, t := range all[:copy(all[:], l.tracks)] {
		if t.after != nil {
			lost += l.join(t, a)
		}
		lost += t.end(a)
	}
	l.tell(lost, a)
}

// join decides whether a track is the one that it was begun ahead of, behind a long gap, or another exporter's. It returns what is then
// missing of the old one.
func (l *Line) join(t *track, a *Account) (lost uint64) {
	old := t.after
	t.after = nil
	if old.moved != t.afterMoved {
		t.holes.forget(t.next, t.first, a)
		return 0
	}
	l.tracks = slices.DeleteFunc(l.tracks, func(x *track) bool { return x == old })
	l.cur = l.tracks[0]
	return old.end(a)
}
