package sequence_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/weirflow/weir/formats/sequence"
)

// An exporter that begins anew, anywhere but among its own last numbers, is no loss; what is missing before and after that is, exactly.
func TestBeginsAnew(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSim()
		unit := sequence.Unit(rapid.IntRange(0, 1).Draw(t, "unit"))
		l := s.NewLine(unit, router)
		records := int32(rapid.IntRange(1, 30).Draw(t, "records"))
		step := uint32(records)
		if unit == sequence.Messages {
			step = 1
		}
		at := rapid.SampledFrom([]uint32{5_000, 50_000, 1 << 30, 1<<32 - 700}).Draw(t, "first")
		perSecond := rapid.SampledFrom([]int{1, 3, 40}).Draw(t, "a second")
		lives := rapid.IntRange(2, 7).Draw(t, "lives")
		missing := uint64(0)
		for life := range lives {
			if life > 0 {
				at -= rapid.SampledFrom([]uint32{4_000, 40_000, 1 << 20, 3 << 29}).Draw(t, "back")
			}
			seconds := rapid.IntRange(4, 8).Draw(t, "seconds")
			for i := range seconds * perSecond {
				if i > 0 && i < seconds*perSecond-1 && rapid.IntRange(0, 9).Draw(t, "lost") == 0 {
					missing += uint64(step)
				} else {
					s.see(l, records, at)
				}
				at += step
				if i%perSecond == perSecond-1 {
					s.wait(1)
				}
			}
			s.wait(3)
		}
		s.wait(3)
		s.want(t, fmt.Sprintf("%d lives", lives), lost(unit, missing))
	})
}

// Exporters behind one address and domain, that know nothing of each other, are counted each by itself, if their numbers are far apart.
func TestSeveralBehindOneAddress(t *testing.T) {
	s := newSim()
	l := s.NewLine(sequence.Flows, router)
	at := [4]uint32{7, 900_000, 2_000_000_000, 3_500_000_000}
	r := rand.New(rand.NewPCG(1, 2))
	missing := uint64(0)
	for i := range 4000 {
		k := r.IntN(len(at))
		if i > 100 && i < 3900 && r.IntN(20) == 0 {
			missing += 3
		} else {
			s.see(l, 3, at[k])
		}
		at[k] += 3
		if i%100 == 99 {
			s.wait(1)
		}
	}
	s.wait(3)
	s.want(t, "four of them", sequence.Lost{Flows: missing})
}

// Two whose numbers are near each other cannot be told apart. That costs once what lies between them, and not again and again.
func TestTwoNearEachOther(t *testing.T) {
	s := newSim()
	l := s.NewLine(sequence.Flows, router)
	for i := range uint32(1000) {
		s.see(l, 3, 1000+3*i, 61_000+3*i)
		if i%10 == 9 {
			s.wait(1)
		}
	}
	s.wait(3)
	if s.lost.Flows > 61_000 {
		t.Errorf("lost %+v, with 60000 between them", s.lost)
	}
}

// Numbers that stand still, jump wildly or go backwards are no loss for ever.
func TestNumbersThatSayNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for name, number := range map[string]func(i uint32) uint32{
		"always 0":  func(uint32) uint32 { return 0 },
		"wild":      func(uint32) uint32 { return r.Uint32() },
		"backwards": func(i uint32) uint32 { return -i },
		"a clock":   func(i uint32) uint32 { return i / 10 },
	} {
		for _, unit := range []sequence.Unit{sequence.Flows, sequence.Messages} {
			s := newSim()
			l := s.NewLine(unit, router)
			for i := range uint32(5000) {
				s.see(l, 1+int32(i%7), number(i))
				if i%100 == 99 {
					s.wait(1)
				}
			}
			s.wait(3)
			s.want(t, name, sequence.Lost{})
		}
	}
}

// Who counts messages where records are to be counted, or records where messages, is believed: gaps are told in what it counts. (Of
// an exporter that sends less than a few datagrams a second the first steps of the wrong kind show as gaps.)
func TestWhoCountsWrongly(t *testing.T) {
	for _, unit := range []sequence.Unit{sequence.Flows, sequence.Messages} {
		s := newSim()
		l := s.NewLine(unit, router)
		r := rand.New(rand.NewPCG(3, 4))
		at, missing := uint32(1<<32-2000), uint64(0)
		for i := range 3000 {
			records := int32(20 + r.IntN(5))
			step := uint32(1)
			if unit == sequence.Messages {
				step = uint32(records)
			}
			if i > 100 && i < 2990 && r.IntN(50) == 0 {
				missing += uint64(step)
			} else {
				s.see(l, records, at)
			}
			at += step
			if i%100 == 99 {
				s.wait(1)
			}
		}
		s.wait(3)
		s.want(t, fmt.Sprint("unit ", unit), lost(unit^sequence.Flows^sequence.Messages, missing)) // it counts the other
	}
}

// Lanes that take turns make steps that look like another way of counting; they are not.
func TestTurnsOfLanesAreNotCountingWrongly(t *testing.T) {
	const lanes, records = 4, 4
	s := newSim()
	l := s.NewLine(sequence.Messages, router)
	missing := uint64(0)
	for batch := range uint32(50) {
		for lane := range uint32(lanes) {
			for i := range uint32(32) {
				at := batch*32*lanes + i*lanes + lane
				if at%97 == 50 && batch < 49 {
					missing++
					continue
				}
				s.see(l, records, at)
			}
		}
		s.wait(1)
	}
	s.wait(3)
	s.want(t, "four lanes", sequence.Lost{Messages: missing})
}

// What a fast exporter sent while nothing came is lost, also if it is more than a slow one counts in a year.
func TestALongGap(t *testing.T) {
	for _, silent := range []int{0, 1, 5, 30} {
		s := newSim()
		l := s.NewLine(sequence.Flows, router)
		at := uint32(1<<32 - 3_000_000)
		for range 5 {
			for range 100 {
				s.see(l, 10_000, at)
				at += 10_000
			}
			s.wait(1)
		}
		gap := uint32(1_000_000 * max(silent, 1))
		s.wait(silent)
		s.see(l, 10_000, at+gap+20_000, at+gap+10_000, at+gap) // the first of them overtaken
		at += gap + 30_000
		for range 5 {
			for range 100 {
				s.see(l, 10_000, at)
				at += 10_000
			}
			s.wait(1)
		}
		s.want(t, fmt.Sprint(silent, " s"), sequence.Lost{Flows: uint64(gap)})
	}
}
