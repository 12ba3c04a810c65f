package sequence_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weirflow/weir/formats/sequence"
)

const second = int64(time.Second)

var router, other = [16]byte{15: 1}, [16]byte{15: 2}

// sim is an account with a clock.
type sim struct {
	*sequence.Account
	now  int64
	lost sequence.Lost
}

func newSim() *sim {
	s := &sim{Account: sequence.NewAccount(), now: 1_700_000_000 * second}
	s.Settle(s.now, false)
	return s
}

// wait lets seconds pass.
func (s *sim) wait(seconds int) {
	for range seconds {
		s.now += second
		s.lost.Add(s.Settle(s.now, false))
	}
}

// see gives one datagram after the other.
func (s *sim) see(l *sequence.Line, records int32, numbers ...uint32) {
	for _, n := range numbers {
		s.Observe([]sequence.Seen{{Line: l, At: n, Records: records}})
	}
}

func (s *sim) want(t interface {
	Helper()
	Errorf(string, ...any)
}, what string, want sequence.Lost) {
	t.Helper()
	if d := cmp.Diff(want, s.lost); d != "" {
		t.Errorf("%s: lost (-want +got):\n%s", what, d)
	}
}

// datagram is one that an exporter sent.
type datagram struct {
	at      uint32
	records int32
	lost    bool
	copies  int
	when    int64 // it comes, in ms
}

// Whatever the order in which datagrams come within a second over any lanes, whether some come twice, hold no records or so many that
// nobody could count them, and wherever numbers wrap: what is told as lost in the end is exactly what did not come.
func TestWhatDidNotComeIsLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		unit := sequence.Unit(rapid.IntRange(0, 1).Draw(t, "unit"))
		s := newSim()
		l := s.NewLine(unit, router)
		at := rapid.SampledFrom([]uint32{0, 1, 1000, 1 << 31, 1<<32 - 1, 1<<32 - 500, 1<<32 - 3000}).Draw(t, "first")
		pace := rapid.SampledFrom([]int64{1, 7, 40, 900, 2500}).Draw(t, "ms between datagrams")
		window := rapid.SampledFrom([]int64{0, 5, 300, 990}).Draw(t, "ms of reordering")
		n := rapid.IntRange(1, 400).Draw(t, "datagrams")
		var sent []datagram
		missing := uint64(0)
		for i := range n {
			d := datagram{at: at, records: int32(rapid.IntRange(0, 30).Draw(t, "records")), copies: 1, when: int64(i) * pace}
			if i > 0 && i < n-1 { // nobody knows what was before the first and behind the last
				d.lost = rapid.IntRange(0, 9).Draw(t, "lost") == 0
				d.when += rapid.Int64Range(0, window).Draw(t, "late")
				d.copies += rapid.IntRange(0, 20).Draw(t, "copies") / 20
			}
			if i == n-1 {
				d.when += window
			}
			step := uint32(d.records)
			if unit == sequence.Messages {
				step = 1
			}
			at += step
			if d.lost {
				missing += uint64(step)
			} else {
				sent = append(sent, d)
				for c := range d.copies - 1 {
					d.when += int64(c+1) * window / 4
					sent = append(sent, d)
				}
			}
		}
		slices.SortStableFunc(sent, func(a, b datagram) int { return int(a.when - b.when) })
		lanes := make([][]sequence.Seen, rapid.IntRange(1, 4).Draw(t, "lanes"))
		s.see(l, sent[0].records, sent[0].at)
		sent = sent[1:]
		ended := int64(0)
		flush := func(lane int) {
			s.Observe(lanes[lane])
			lanes[lane] = nil
		}
		for _, d := range sent {
			for ; ended+1000 <= d.when; ended += 1000 {
				for i := range lanes {
					flush(i)
				}
				s.wait(1)
			}
			i := rapid.IntRange(0, len(lanes)-1).Draw(t, "lane")
			lanes[i] = append(lanes[i], sequence.Seen{Line: l, At: d.at, Records: d.records})
			if rapid.IntRange(0, 3).Draw(t, "end of batch") == 0 {
				flush(i)
			}
		}
		for i := range lanes {
			flush(i)
		}
		s.wait(3)
		want := lost(unit, missing)
		s.want(t, "in the end", want)
		if d := cmp.Diff(want, s.Lost(l)); d != "" {
			t.Errorf("the line (-want +got):\n%s", d)
		}
		if counted, held := s.Open(l); counted != 0 || held != 0 {
			t.Errorf("%d gaps are counted and %d held when all is settled", counted, held)
		}
	})
}

// lost is so many of a unit.
func lost(unit sequence.Unit, n uint64) sequence.Lost {
	if unit == sequence.Messages {
		return sequence.Lost{Messages: n}
	}
	return sequence.Lost{Flows: n}
}
