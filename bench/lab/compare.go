package lab

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/weirflow/weir/formats/emulate"
)

// Contender is something that decodes a ring, again and again.
type Contender struct {
	Name, What string
	Datagrams  int // of a chunk; a divisor of the ring's
	// Next decodes the next chunk and returns the flow records it made.
	Next func() (records int, err error)
	// Close gives back what it holds; may be nil.
	Close func() error

	weir *weir // nil: of others
}

// Figure is what a contender costs.
type Figure struct {
	Name, What string
	Best       float64 // CPU ns a record, of the best round: what the code costs
	Median     float64 // what a busy machine makes of it
	Allocs     float64 // allocations a record, of all rounds
	Err        error   // it does not decode this
}

// Compare measures contenders on one ring by turns, in rounds of about d each, so that what else happens on the machine meets all
// alike. Every record is counted: a contender that makes more or fewer of them than the ring holds has an error and no figures.
func Compare(ring *emulate.Ring, cs []*Contender, rounds int, d time.Duration) ([]Figure, error) {
	fs := make([]Figure, len(cs))
	costs := make([][]float64, len(cs))
	allocs, records := make([]uint64, len(cs)), make([]uint64, len(cs))
	at := make([]int, len(cs))
	chunk := func(i int) error {
		c, want := cs[i], 0
		for j := range c.Datagrams {
			want += ring.Datagrams[at[i]+j].Records
		}
		at[i] = (at[i] + c.Datagrams) % len(ring.Datagrams)
		n, err := c.Next()
		if err == nil && n != want {
			err = fmt.Errorf("%d of %d records", n, want)
		}
		records[i] += uint64(n)
		return err
	}
	for i, c := range cs {
		fs[i] = Figure{Name: c.Name, What: c.What}
		for until := time.Now().Add(d); fs[i].Err == nil && (at[i] == 0 || time.Now().Before(until)); {
			fs[i].Err = chunk(i) // warm
		}
		records[i] = 0
	}
	var before, after runtime.MemStats
	for range rounds {
		for i := range cs {
			if fs[i].Err != nil {
				continue
			}
			runtime.GC() // what the one before left is not charged to this one
			runtime.ReadMemStats(&before)
			made := records[i]
			c0, err := CPU()
			if err != nil {
				return nil, err
			}
			for until := time.Now().Add(d); fs[i].Err == nil && time.Now().Before(until); {
				fs[i].Err = chunk(i)
			}
			c1, err := CPU()
			if err != nil {
				return nil, err
			}
			runtime.ReadMemStats(&after)
			allocs[i] += after.Mallocs - before.Mallocs
			if n := records[i] - made; n > 0 {
				costs[i] = append(costs[i], float64(c1-c0)/float64(n))
			}
		}
	}
	for i, c := range cs {
		if fs[i].Err == nil && len(costs[i]) > 0 {
			slices.Sort(costs[i])
			fs[i].Best, fs[i].Median = costs[i][0], costs[i][len(costs[i])/2]
			fs[i].Allocs = float64(allocs[i]) / float64(records[i])
		}
		if c.Close != nil {
			if err := c.Close(); err != nil {
				return nil, fmt.Errorf("%s: %w", c.Name, err)
			}
		}
	}
	return fs, nil
}
