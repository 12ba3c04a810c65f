package sequence

// track is one run of numbers: what one exporter counts from its start on. Numbers wrap, so they are compared by their distance.
type track struct {
	// What each datagram needs comes first.
	next    uint32 // the number expected
	last    uint32 // the number that was seen last
	records int32  // of that datagram; -1: not known
	moved   uint32 // datagrams that carried it on, or came late
	period  uint32 // in which it was looked at last
	used    uint32 // in which it moved last
	again   *track // begun behind it, and perhaps the one that goes on
	known   bool   // next is the number expected; else datagrams from next on could not be counted

	holes holes

	// As of the periods before.
	idle  uint32    // how many it had not moved, before this one
	marks [3]uint32 // next, at the end of the last, the one before and the one before that
	began uint32    // next, when the period began
	rate  uint32    // numbers in a period, lately at most
	born  uint32    // the period in which it was begun

	// Of one that was begun far ahead of another, until it is known whether the other goes on: if not it is the same exporter, behind
	// a long gap, which is the first of holes.
	after      *track
	afterMoved uint32
	first      uint32 // its own first number

	odd odd
}

// restart is how far behind a number may be and still be taken for late, and how far ahead to be taken for a gap at once.
const restart = 1 << 17

// start begins a track with a datagram. What was sent before it may come late and is not looked for.
func (t *track) start(at uint32, step int32, period uint32) {
	*t = track{next: at + uint32(max(step, 0)), known: step >= 0, moved: 1, period: period, used: period, born: period, began: at, first: at,
		marks: [3]uint32{at - restart, at - restart, at - restart}, holes: t.holes, records: -1}
}

// turn is called when another period has begun.
func (t *track) turn(period uint32) {
	t.idle = period - t.used - 1
	t.rate = max(t.next-t.began, t.rate>>1)
	for range min(period-t.period, 3) {
		t.marks[2], t.marks[1], t.marks[0] = t.marks[1], t.marks[0], t.next
	}
	t.began, t.period = t.next, period
}

// near says whether a number may be of the track.
func (t *track) near(at uint32) bool {
	ahead := int32(at - t.next)
	return ahead > -restart && ahead < restart
}

// reach is how far ahead a track may have come without being seen: four times as fast as it was.
func (t *track) reach() uint32 {
	return uint32(min(1<<30, max(restart, 4*uint64(t.rate)*(uint64(t.idle)+2))))
}

// verdict is what a track says of a datagram.
type verdict uint8

const (
	moved  verdict = iota // it carries the track on, or was missing
	again                 // it came before
	behind                // it is too old to be late
)

// take takes a datagram whose number is near. step is how many numbers it holds; -1: not known.
func (t *track) take(at uint32, step int32, a *Account) verdict {
	if ahead := int32(at - t.next); ahead >= 0 {
		if ahead > 0 && t.known {
			t.holes.open(hole{t.next, at, a.period}, a)
		}
		t.next, t.known = at+uint32(max(step, 0)), step >= 0
		t.carried()
		return moved
	}
	switch t.holes.fill(t.next, at, step, a) {
	case filled:
		t.carried()
		return moved
	case within:
		return again
	}
	if int32(at-t.marks[2]) >= 0 {
		return again
	}
	return behind
}

// carried says that the track goes on: what was begun behind it is then not the exporter's new start.
func (t *track) carried() {
	t.moved++
	t.used = t.period
	if t.again != nil {
		t.again.moved = 0
	}
}

// repeated says of a datagram that is not the expected one, where nothing is missing, whether it came before.
func (t *track) repeated(at uint32) bool {
	return t.holes.len() == 0 && int32(at-t.next) < 0 && int32(at-t.marks[2]) >= 0
}

// stray takes a datagram that is too old for the track.
func (t *track) stray(at uint32, step int32, a *Account) {
	if t.again == nil {
		t.again = &track{}
	}
	if x := t.again; x.moved > 0 && x.near(at) {
		if x.period != a.period {
			x.turn(a.period)
		}
		if x.take(at, step, a) != behind {
			return
		}
	}
	t.again.holes.drop(a)
	t.again.start(at, step, a.period)
}

// resume makes what was begun behind a track the track, if that has carried on for a period in which the old one has not, and returns
// how many numbers the old one missed.
func (t *track) resume(a *Account) (lost uint64) {
	x := t.again
	if x == nil || x.moved < 2 || a.period-x.born < 2 {
		return 0
	}
	lost = t.holes.drop(a)
	*t = *x
	return lost
}
