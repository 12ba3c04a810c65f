package netflow_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/formats/netflow"
)

// settle ends two periods, so that all that is missing is lost.
func settle(s *netflow.Store, at *int64) (l netflow.Lost) {
	for range 2 {
		*at += int64(time.Second)
		x := s.Sequences.Settle(*at, false)
		l.Flows, l.Messages = l.Flows+x.Flows, l.Messages+x.Messages
	}
	return l
}

// Gaps are counted in each protocol's unit, datagrams that overtake each other are not gaps, and a restart is not a loss.
func TestSequenceGaps(t *testing.T) {
	data := func(n int) []byte { return set(256, make([]byte, 4*n)) }
	for _, c := range []struct {
		name string
		send func(seq uint32) []byte // a datagram of 3 records
		unit uint32
		lost func(netflow.Lost) uint64
	}{
		{"v9", func(seq uint32) []byte { return msg9(1, seq, data(3)) }, 1, func(l netflow.Lost) uint64 { return l.Messages }},
		{"ipfix", func(seq uint32) []byte { return msg10(1, seq, data(3)) }, 3, func(l netflow.Lost) uint64 { return l.Flows }},
		{"v5", func(seq uint32) []byte {
			return append(append(u16s(5, 3), u32s(0, exportedAt, 0, seq, 0)...), make([]byte, 3*48)...)
		}, 3, func(l netflow.Lost) uint64 { return l.Flows }},
	} {
		tab := formatstest.NewTable(formatstest.Columns("bytes"))
		s := netflow.NewStore(netflow.DefaultLimits)
		d := netflow.NewDecoder(s, tab.Out, netflow.Options{}, tab)
		at := int64(exportedAt) * 1e9
		feedAll(d, msg9(1, 0, set(0, tmpl(256, 1, 4))), msg10(1, 0, set(2, tmpl(256, 1, 4))))
		first := uint32(1<<32 - 50*int(c.unit)) // the numbers wrap on the way
		if c.name == "ipfix" || c.name == "v9" {
			feedAll(d, c.send(first-c.unit)) // far from the template's number: a restart
		}
		r := rand.New(rand.NewPCG(1, 2))
		order := r.Perm(8)
		lost := uint64(0)
		for block := range uint32(20) {
			for _, i := range order {
				if block == 7 && i < 3 || block == 12 && i == 4 {
					lost++
					continue
				}
				feedAll(d, c.send(first+(block*8+uint32(i))*c.unit))
			}
		}
		if got := c.lost(settle(s, &at)); got != lost*uint64(c.unit) {
			t.Errorf("%s: %d lost, want %d", c.name, got, lost*uint64(c.unit))
		}
		feedAll(d, c.send(0x70000000), c.send(0x70000000+c.unit)) // restarted
		if got := c.lost(settle(s, &at)); got != 0 {
			t.Errorf("%s: a restart counts as %d lost", c.name, got)
		}
	}
}

// What could not be counted is no reason to cry loss.
func TestUnknownRecordsAreNoGap(t *testing.T) {
	tab := formatstest.NewTable(formatstest.Columns("bytes"))
	s := netflow.NewStore(netflow.DefaultLimits)
	d := netflow.NewDecoder(s, tab.Out, netflow.Options{}, tab)
	at := int64(exportedAt) * 1e9
	feedAll(d, msg10(1, 0, set(2, tmpl(256, 1, 4))), msg10(1, 0, set(256, u32s(1, 2))), msg10(1, 2, set(999, u32s(1, 2, 3))), msg10(1, 5, set(256, u32s(1))), msg10(1, 6, set(256, u32s(1))))
	if l := settle(s, &at); l != (netflow.Lost{}) {
		t.Errorf("lost %+v, want nothing", l)
	}
}
