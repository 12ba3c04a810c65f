package sequence_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/sequence"
)

// What a limit dropped is not lost: of numbers that count datagrams exactly so many, over all lines of the address and no others'.
func TestLimitedDatagramsAreNotLost(t *testing.T) {
	s := newSim()
	a, b, c := s.NewLine(sequence.Messages, router), s.NewLine(sequence.Messages, router), s.NewLine(sequence.Messages, other)
	s.see(a, 1, 10)
	s.see(b, 1, 20)
	s.see(c, 1, 30)
	s.Limited(router, 5)
	s.see(a, 1, 14) // 3 are missing
	s.see(b, 1, 26) // 5 are
	s.see(c, 1, 32) // 1 is
	s.wait(3)
	s.want(t, "at once", sequence.Lost{Messages: 3 + 1, LimitedMessages: 5})
	s.Limited(router, 4)
	s.wait(50) // a domain that is seldom heard
	s.see(b, 1, 31)
	s.wait(3)
	s.want(t, "late", sequence.Lost{Messages: 3 + 1, LimitedMessages: 5 + 4})
	s.Limited(router, 9)
	s.wait(200)
	s.see(a, 1, 20)
	s.wait(3)
	s.want(t, "too late", sequence.Lost{Messages: 3 + 1 + 5, LimitedMessages: 5 + 4})
	both := s.Lost(a)
	both.Add(s.Lost(b))
	if d := cmp.Diff(sequence.Lost{Messages: 3 + 5, LimitedMessages: 5 + 4}, both); d != "" {
		t.Error("the two of the address (-want +got):", d)
	}
	if d := cmp.Diff(sequence.Lost{Messages: 1}, s.Lost(c)); d != "" {
		t.Error("the other (-want +got):", d)
	}
}

// Of numbers that count records it is not known how many were in what was dropped: at most as many as the largest datagram has held, each.
func TestLimitedFlows(t *testing.T) {
	s := newSim()
	l := s.NewLine(sequence.Flows, router)
	s.see(l, 30, 0)
	s.Limited(router, 2)
	s.see(l, 10, 30+55)
	s.wait(3)
	s.want(t, "two datagrams could have held them", sequence.Lost{LimitedFlows: 55})
	s.Limited(router, 2)
	s.see(l, 10, 95+100)
	s.wait(3)
	s.want(t, "more than they could have held", sequence.Lost{Flows: 40, LimitedFlows: 55 + 60})
	s.see(l, 10, 205+10)
	s.wait(3)
	s.want(t, "behind the limit", sequence.Lost{Flows: 50, LimitedFlows: 55 + 60})
}

// While a lane is held up what lies unread in front of it is not lost for up to ten seconds.
func TestALaneThatIsHeldUp(t *testing.T) {
	s := newSim()
	l := s.NewLine(sequence.Messages, router)
	s.see(l, 1, 1, 3)
	for range 90 {
		s.now += second / 10
		s.lost.Add(s.Settle(s.now, true))
		s.lost.Add(s.Settle(s.now, false)) // another lane
	}
	s.see(l, 1, 2)
	s.wait(3)
	s.want(t, "nine seconds", sequence.Lost{})
	s.see(l, 1, 4, 6)
	for range 220 {
		s.now += second / 10
		s.lost.Add(s.Settle(s.now, true))
	}
	s.want(t, "twenty seconds", sequence.Lost{Messages: 1})
}

// A clock that is set back holds nothing up.
func TestAClockSetBack(t *testing.T) {
	s := newSim()
	l := s.NewLine(sequence.Messages, router)
	s.see(l, 1, 1, 3)
	s.now -= int64(time.Hour)
	s.wait(3)
	s.want(t, "an hour back", sequence.Lost{Messages: 1})
}

// What is missing of a line that ends, or when all ends, is lost at once; and once.
func TestTheEnd(t *testing.T) {
	s := newSim()
	a, b := s.NewLine(sequence.Messages, router), s.NewLine(sequence.Flows, router)
	s.see(a, 1, 1, 3)
	s.see(b, 2, 1, 13)
	s.Close(a)
	s.lost.Add(s.End())
	s.wait(3)
	s.want(t, "the end", sequence.Lost{Messages: 1, Flows: 10})
}

// More gaps than are kept: the oldest are lost before their time, and nothing else is.
func TestMoreGapsThanAreKept(t *testing.T) {
	const n = 3 * sequence.MaxHoles
	s := newSim()
	l := s.NewLine(sequence.Messages, router)
	for i := range uint32(n + 1) {
		s.see(l, 1, 2*i)
	}
	if counted, held := s.Open(l); counted != held || held > sequence.MaxHoles {
		t.Errorf("%d gaps are counted and %d held", counted, held)
	}
	for i := range uint32(n) {
		s.see(l, 1, 2*i+1)
	}
	s.wait(3)
	s.want(t, "all came late", sequence.Lost{Messages: n - sequence.MaxHoles})
}

// Strangers can have no more lines made than a limit, and those that end give room.
func TestLinesAreBounded(t *testing.T) {
	a := sequence.NewAccount()
	var last *sequence.Line
	for range sequence.MaxLines {
		last = a.NewLine(sequence.Flows, router)
	}
	if last == nil || a.NewLine(sequence.Flows, router) != nil {
		t.Error("there are not as many as the limit says")
	}
	a.Close(last)
	if a.NewLine(sequence.Flows, router) == nil {
		t.Error("one that ended gives no room")
	}
}

// Nothing that a lane sees of a batch in which nothing is missing, or in which the lanes took turns, allocates.
func TestObserveDoesNotAllocate(t *testing.T) {
	s := newSim()
	l := s.NewLine(sequence.Messages, router)
	at := uint32(0)
	var batch [2][]sequence.Seen
	step := func() {
		for i := range batch {
			batch[i] = batch[i][:0]
		}
		for range 32 {
			batch[at%2] = append(batch[at%2], sequence.Seen{Line: l, At: at, Records: 1})
			at++
		}
		s.Observe(batch[0])
		s.Observe(batch[1])
		s.wait(1)
	}
	for range 10 {
		step()
	}
	if n := testing.AllocsPerRun(100, step); n != 0 {
		t.Errorf("%v allocations a batch", n)
	}
}

// Numbers of any kind from anybody: what is kept is bounded and counted right, and what is lost is not more than what lies between numbers.
func FuzzAccount(f *testing.F) {
	f.Add([]byte{0, 1, 0, 0, 0, 3, 8, 5, 0, 0, 0, 3, 1, 0})
	f.Fuzz(func(t *testing.T, in []byte) {
		s := newSim()
		lines := []*sequence.Line{s.NewLine(sequence.Flows, router), s.NewLine(sequence.Messages, router)}
		var at [2]uint32
		most := [2]uint64{}
		for len(in) >= 4 {
			op := in[0]
			k := int(op & 1)
			n := uint32(binary.LittleEndian.Uint16(in[1:]))
			switch op >> 1 & 7 {
			case 0:
				s.wait(1 + int(in[1]%4))
			case 1:
				at[k] = n << 16
			case 2:
				at[k] -= n
			case 3:
				at[k] += n << 8
			case 4:
				s.Limited(router, uint64(n))
			default:
				at[k] += uint32(op >> 4)
			}
			s.see(lines[k], int32(in[3])-1, at[k])
			most[k] += 1 << 31
			in = in[4:]
			if counted, held := s.Open(lines...); counted != held || held > 2*5*2*sequence.MaxHoles {
				t.Fatalf("%d gaps are counted and %d held", counted, held)
			}
		}
		s.wait(4)
		s.lost.Add(s.End())
		total := s.Lost(lines[0])
		total.Add(s.Lost(lines[1]))
		if total != s.lost {
			t.Errorf("told %+v, the lines say %+v", s.lost, total)
		}
		if n := total.Flows + total.Messages + total.LimitedFlows + total.LimitedMessages; n > most[0]+most[1] {
			t.Errorf("lost %d of at most %d", n, most[0]+most[1])
		}
		if counted, _ := s.Open(lines...); counted != 0 {
			t.Errorf("%d gaps are open in the end", counted)
		}
	})
}
