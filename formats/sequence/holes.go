package sequence

// MaxHoles is how many gaps of one line may stand open at a time; beyond, the oldest are lost before their time. A lane that is that many
// datagrams behind another has lost more than its order.
const MaxHoles = 4096

// maxOpen bounds the gaps of all lines of an account: 12 bytes each.
const maxOpen = 1 << 20

// hole is a gap: the numbers from..to-1, missing since a period.
type hole struct{ from, to, born uint32 }

func (h hole) size() uint64 { return uint64(h.to - h.from) }

// holes are the gaps of a track in order, all of them behind its next number. The older ones were opened before the younger, so they go
// in the same order.
type holes struct {
	list []hole
	head int    // of list; what is before it has gone
	over uint64 // numbers of those for which there was no room, not told yet
}

// touch is what a late datagram found.
type touch uint8

const (
	nothing touch = iota
	within        // it lies in a gap, and holds no numbers
	filled
)

func (s *holes) len() int { return len(s.list) - s.head }

// open adds a gap at the end.
func (s *holes) open(h hole, a *Account) {
	if s.len() > 0 && h.to-s.list[s.head].from > 1<<30 || s.len() >= MaxHoles {
		s.over += s.list[s.head].size()
		s.head++
		a.holes--
	}
	if a.holes >= maxOpen {
		s.over += h.size()
		return
	}
	s.insert(len(s.list), h, a)
}

// insert puts a gap at a place of the list.
func (s *holes) insert(i int, h hole, a *Account) {
	if s.head > 0 && len(s.list) == cap(s.list) {
		s.list = s.list[:copy(s.list, s.list[s.head:])]
		i, s.head = i-s.head, 0
	}
	s.list = append(s.list, hole{})
	copy(s.list[i+1:], s.list[i:])
	s.list[i] = h
	a.holes++
}

// remove takes one out.
func (s *holes) remove(i int, a *Account) {
	a.holes--
	if i == s.head {
		s.head++
		return
	}
	s.list = append(s.list[:i], s.list[i+1:]...)
}

// fill takes the numbers of a late datagram out of the gaps that it touches. next is the track's, from which distances are measured; step
// -1: it holds an unknown count of numbers, at most up to the gap's end.
func (s *holes) fill(next, at uint32, step int32, a *Account) touch {
	i := s.find(next, at)
	if i == len(s.list) {
		return nothing
	}
	end := s.list[i].to
	if step >= 0 {
		end = at + min(uint32(step), next-at)
	}
	if at == end && at-s.list[i].from < s.list[i].to-s.list[i].from {
		return within
	}
	found := nothing
	for i < len(s.list) && next-s.list[i].from > next-end {
		found = filled
		h := &s.list[i]
		before, behind := next-h.from > next-at, next-end > next-h.to
		switch {
		case before && behind:
			right := hole{end, h.to, h.born}
			h.to = at
			if s.len() >= MaxHoles || a.holes >= maxOpen {
				s.over += right.size()
			} else {
				s.insert(i+1, right, a)
			}
			return filled
		case before:
			h.to = at
			i++
		case behind:
			h.from = end
			return filled
		default:
			if s.remove(i, a); i < s.head {
				i = s.head
			}
		}
	}
	return found
}

// find is the first gap that ends behind a number; the list's length if none does.
func (s *holes) find(next, at uint32) int {
	lo, hi := s.head, len(s.list)
	for lo < hi {
		if m := int(uint(lo+hi) >> 1); next-s.list[m].to < next-at {
			hi = m
		} else {
			lo = m + 1
		}
	}
	return lo
}

// settle ends gaps that have stood for a whole period, and returns how many numbers they held.
func (s *holes) settle(a *Account) (lost uint64) {
	lost, s.over = s.over, 0
	for s.len() > 0 && a.period-s.list[s.head].born >= 2 {
		lost += s.list[s.head].size()
		s.head++
		a.holes--
	}
	if s.len() == 0 {
		s.list, s.head = s.list[:0], 0
		if cap(s.list) > 64 { // what a burst needed
			s.list = nil
		}
	}
	return lost
}

// drop ends all gaps, and returns how many numbers they held.
func (s *holes) drop(a *Account) (lost uint64) {
	lost, s.over = s.over, 0
	for _, h := range s.list[s.head:] {
		lost += h.size()
	}
	a.holes -= s.len()
	s.list, s.head = s.list[:0], 0
	return lost
}

// forget takes out what lies before a number: that was no gap.
func (s *holes) forget(next, first uint32, a *Account) {
	for s.len() > 0 && next-s.list[s.head].to >= next-first {
		s.head++
		a.holes--
	}
}
