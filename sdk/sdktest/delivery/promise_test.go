package delivery_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirflow/weir/sdk/sdktest/delivery"
)

// lives runs two processes at a time in the world of c, kills them at random, starts others, and returns what the world has
// seen when all is committed.
func lives(t *testing.T, seed uint64, c delivery.Config, kills int, m mini) *delivery.Tally {
	world := delivery.NewMemory(c)
	r := rand.New(rand.NewPCG(seed, 5))
	var wg sync.WaitGroup
	start := func() *delivery.Process {
		p := delivery.NewProcess(world)
		m := m
		m.broker = p
		m.rows = 100 + r.IntN(200) // another life has another idea of a segment
		wg.Go(func() {
			if err := m.run(t.Context()); err != nil && ignore(err) != nil {
				t.Errorf("a process ended: %v", err)
			}
		})
		return p
	}
	live := [2]*delivery.Process{start(), start()}
	for range kills {
		time.Sleep(time.Duration(50+r.IntN(400)) * time.Millisecond)
		i := r.IntN(2)
		live[i].Kill()
		if r.IntN(2) == 0 {
			world.Expel(live[i].Member()) // else the session has to run out
		}
		live[i] = start()
	}
	wg.Wait()
	tally, err := world.Tally(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return tally
}

var kept = delivery.Want{Stores: []string{"a"}, Keyed: true}

func TestPromiseIsKeptOverLives(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			tally := lives(t, seed, delivery.Config{
				Partitions: 5, Records: 2500, Gaps: true, Bounded: true, Rate: 700, Seed: seed,
				Session: time.Second, Revoke: 400 * time.Millisecond,
				Late: 0.1, LateBy: 300 * time.Millisecond, DownEvery: time.Second, DownFor: 200 * time.Millisecond, Bad: 211,
			}, 12, mini{})
			report := delivery.Check(tally, kept)
			if err := report.Err(); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
			if report.Records != 5*2500 || report.Dead == 0 || report.Stored+report.Dead != report.Records {
				t.Errorf("seed %d: %v", seed, report)
			}
			if tally.Late == 0 || tally.Again["a"] == 0 {
				t.Errorf("seed %d: %d late writes, %d blocks met again: the world was too kind to show anything", seed, tally.Late, tally.Again["a"])
			}
		})
	}
}

// With a rule off, the same lives break the promise, and Check sees it.
func TestBrokenPromiseIsSeen(t *testing.T) {
	for _, c := range []struct {
		name  string
		m     mini
		world func(*delivery.Config)
		see   func(delivery.Report) int
	}{
		{"planned ends are not cut at", mini{noPlan: true}, func(*delivery.Config) {}, func(r delivery.Report) int { return len(r.Twice) }},
		{"saved before it is stored", mini{early: true}, func(*delivery.Config) {}, func(r delivery.Report) int { return len(r.Lost) }},
		{"the store forgets keys too soon", mini{}, func(c *delivery.Config) { c.Window = 1 }, func(r delivery.Report) int { return len(r.Twice) }},
		{"the chain is swapped in the middle of a segment", mini{swap: true}, func(*delivery.Config) {}, func(r delivery.Report) int { return r.Mixed }},
	} {
		t.Run(c.name, func(t *testing.T) {
			seen := 0
			for seed := range uint64(6) {
				synctest.Test(t, func(t *testing.T) {
					world := delivery.Config{
						Partitions: 5, Records: 2000, Bounded: true, Rate: 700, Seed: seed, Session: time.Second, Revoke: 400 * time.Millisecond,
						Late: 0.2, LateBy: 300 * time.Millisecond,
					}
					c.world(&world)
					seen += c.see(delivery.Check(lives(t, seed, world, 12, c.m), kept))
				})
			}
			if seen == 0 {
				t.Error("nothing is lost or twice: the check does not see it, or the world is too kind")
			}
		})
	}
}

func TestSameSeedSameWorld(t *testing.T) {
	run := func() (s string) {
		synctest.Test(t, func(t *testing.T) {
			world := delivery.NewMemory(delivery.Config{Partitions: 3, Records: 1500, Gaps: true, Bounded: true, Late: 0.3, LateBy: time.Second, Seed: 4})
			m := mini{broker: world, rows: 150}
			if err := m.run(t.Context()); err != nil {
				t.Fatal(err)
			}
			tally, err := world.Tally(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			s = delivery.Check(tally, kept).String()
		})
		return s
	}
	if a, b := run(), run(); a != b {
		t.Errorf("two runs differ:\n%s\n%s", a, b)
	}
}
