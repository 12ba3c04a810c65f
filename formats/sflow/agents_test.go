package sflow_test

import (
	"testing"
	"time"

	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/formats/sflow"
)

// numbered is a datagram of a sub-agent with a sequence number.
func numbered(sub, sequence uint32) []byte { return u32s(5, 1, 0x0a000001, sub, sequence, 1000, 0) }

func TestSequenceGaps(t *testing.T) {
	const s = int64(time.Second)
	type step struct {
		sub       uint32
		sequences []uint32
		at        int64 // when the period is settled behind them
		lost      uint64
	}
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"in order", []step{{1, []uint32{7, 8, 9}, 1 * s, 0}, {1, []uint32{10}, 2 * s, 0}, {1, nil, 3 * s, 0}}},
		{"a gap is lost when it has stood", []step{{1, []uint32{7, 10}, 1 * s, 0}, {1, []uint32{11}, 2 * s, 2}, {1, nil, 3 * s, 0}}},
		{"overtaken", []step{{1, []uint32{7, 10, 8}, 1 * s, 0}, {1, []uint32{9}, 2 * s, 0}, {1, nil, 3 * s, 0}}},
		{"the period is not over", []step{{1, []uint32{7, 10}, 1 * s, 0}, {1, nil, 1*s + 1, 0}, {1, nil, 2 * s, 2}}},
		{"sub-agents count for themselves", []step{{1, []uint32{7, 8}, 1 * s, 0}, {2, []uint32{100, 103}, 2 * s, 0}, {1, []uint32{9}, 3 * s, 2}}},
		{"wraps", []step{{1, []uint32{0xfffffffe, 0xffffffff, 0, 2}, 1 * s, 0}, {1, nil, 2 * s, 1}}},
		{"starts again", []step{{1, []uint32{1 << 30, 1, 2}, 1 * s, 0}, {1, nil, 2 * s, 0}}},
		{"the same again", []step{{1, []uint32{7, 7, 8, 8}, 1 * s, 0}, {1, nil, 2 * s, 0}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			agents := sflow.NewAgents(10, time.Hour)
			tab := formatstest.NewTable(formatstest.Columns("bytes"))
			lanes := []*sflow.Decoder{sflow.NewDecoder(tab.Out, sflow.Options{Agents: agents}, tab), sflow.NewDecoder(tab.Out, sflow.Options{Agents: agents}, tab)}
			n := 0
			for i, st := range c.steps {
				for _, q := range st.sequences {
					feed(lanes[n%2], numbered(st.sub, q))
					n++
				}
				if lost := agents.Sequences.Settle(st.at, false).Messages; lost != st.lost {
					t.Errorf("step %d: %d lost, want %d", i, lost, st.lost)
				}
			}
		})
	}
}

// Strangers can make it follow no more sub-agents than its limit, and the silent ones go.
func TestAgentsAreBounded(t *testing.T) {
	agents := sflow.NewAgents(100, time.Hour)
	tab := formatstest.NewTable(formatstest.Columns("bytes"))
	d := sflow.NewDecoder(tab.Out, sflow.Options{Agents: agents}, tab)
	for i := range uint32(1000) {
		feed(d, numbered(i, 1))
	}
	if n := agents.Len(); n != 100 {
		t.Errorf("%d followed, want 100", n)
	}
	agents.Expire(arrived + int64(time.Hour))
	if n := agents.Len(); n != 0 {
		t.Errorf("%d followed after an hour of silence", n)
	}
}

// A flood of agents that are none takes its own places: those that send stay followed, and one that comes afterwards is.
func TestFloodOfAgents(t *testing.T) {
	agents := sflow.NewAgents(100, time.Hour)
	tab := formatstest.NewTable(formatstest.Columns("bytes"))
	d := sflow.NewDecoder(tab.Out, sflow.Options{Agents: agents}, tab)
	const real = 10
	sequence := uint32(0)
	send := func(sub uint32) { feed(d, numbered(sub, sequence)) }
	for i := range uint32(5000) {
		if i%100 == 0 {
			sequence++
			for sub := range uint32(real) {
				send(sub)
			}
		}
		feed(d, numbered(1000+i, i))
		if n := agents.Len(); n > 100 {
			t.Fatalf("%d followed, want 100 at most", n)
		}
	}
	agents.Sequences.Settle(arrived, false)
	send(real) // the newcomer
	sequence += 4
	for sub := range uint32(real + 1) {
		send(sub)
	}
	agents.Sequences.Settle(arrived+int64(time.Second), false)
	if lost := agents.Sequences.Settle(arrived+2*int64(time.Second), false).Messages; lost != real*3+3 {
		t.Errorf("%d datagrams lost, want 3 of each of %d", lost, real+1)
	}
}
