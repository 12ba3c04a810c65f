//go:build linux

package main

import (
	"testing"
	"time"
)

// A collector that loses whatever is above its capacity is found within 6 % below it, whatever the first guess; a sender that
// cannot reach it is told from a collector that cannot follow.
func TestSearch(t *testing.T) {
	for _, c := range []struct {
		name           string
		capacity, most float64 // of the collector, of the sender
		first          float64
		low, high      float64
		top            bool
		disturbed      int // steps at which it loses because others have its core
	}{
		{name: "above the guess", capacity: 500_000, most: 1e9, first: 100_000, low: 470_000, high: 500_000},
		{name: "below the guess", capacity: 30_000, most: 1e9, first: 100_000, low: 28_000, high: 30_000},
		{name: "disturbed at first", capacity: 500_000, most: 1e9, first: 100_000, low: 470_000, high: 500_000, disturbed: 2},
		{name: "beyond the sender", capacity: 1e9, most: 300_000, first: 100_000, low: 299_000, high: 300_000, top: true},
		{name: "nothing without loss", capacity: 1, most: 1e9, first: 1e6},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &bench{steps: 10, deadline: time.Now().Add(time.Hour)}
			n := 0
			f, err := b.search(func(rate float64) (*step, error) {
				n++
				rate = min(rate, c.most)
				st := &step{sent: sent{Rate: rate, Records: uint64(rate), Seconds: 1, CPU: 1}, took: time.Second, cpu: time.Duration(min(1, rate/c.capacity) * 1e9)}
				st.counted = uint64(min(rate, c.capacity))
				if n <= c.disturbed {
					st.counted, st.drops, st.others = st.sent.Records/2, 1, 100*time.Millisecond
				}
				return st, nil
			}, c.first, time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if c.high == 0 {
				if f.best != nil {
					t.Errorf("found %.0f", f.best.sent.Rate)
				}
				return
			}
			if f.best == nil || f.best.sent.Rate < c.low || f.best.sent.Rate > c.high || f.top != c.top {
				t.Errorf("found %+v after %d steps, want %.0f to %.0f, top %v", f.best, n, c.low, c.high, c.top)
			}
		})
	}
}

// A rate that is fixed is tried once, and again only where others had the collector's core.
func TestFixedRateIsTriedOnce(t *testing.T) {
	for disturbed, want := range []int{1, 2, 3, 3} {
		b := &bench{steps: 7, fixed: true, deadline: time.Now().Add(time.Hour)}
		n := 0
		f, err := b.search(func(rate float64) (*step, error) {
			n++
			st := &step{sent: sent{Rate: rate, Records: 100, Seconds: 1, CPU: 1}, took: time.Second, counted: 100}
			if n <= disturbed {
				st.counted, st.others = 50, time.Second
			}
			return st, nil
		}, 1000, time.Second)
		if err != nil || n != want || (f.best == nil) != (disturbed > 2) {
			t.Errorf("%d disturbed: %d tried, want %d; %+v, %v", disturbed, n, want, f, err)
		}
	}
}

// When the time is over no step is begun.
func TestSearchKeepsTheDeadline(t *testing.T) {
	b := &bench{steps: 10, deadline: time.Now().Add(time.Second)}
	f, err := b.search(func(float64) (*step, error) { t.Error("a step was begun"); return nil, nil }, 1, 2*time.Second)
	if err != nil || f.best != nil || f.next != nil {
		t.Errorf("%+v, %v", f, err)
	}
}
