package delivery

import (
	"fmt"
	"slices"
	"strings"
)

// Tally is what the world has seen.
type Tally struct {
	Config  Config
	Next    []int64            // committed, by partition
	Stores  map[string]Counted // by name
	Dead    map[string]Counted // dead letters, by the node that refused the record
	Dropped Counted
	Again   map[string]int // blocks that a store knew already, by its name
	Stale   int            // commits of members that did not own the partition
	Late    int            // writes that seemed to fail
}

// Counted says how often each record was met.
type Counted struct {
	Times  [][]uint8 // by partition and number; 255 means that or more
	Blocks int
	Mixed  int // blocks of records that two generations stamped
}

func (c *Counted) add(r Record) {
	for len(c.Times) <= int(r.Partition) {
		c.Times = append(c.Times, nil)
	}
	t := c.Times[r.Partition]
	if n := int(r.Number) + 1 - len(t); n > 0 {
		t = append(t, make([]uint8, n)...)
	}
	if t[r.Number] < 255 {
		t[r.Number]++
	}
	c.Times[r.Partition] = t
}

// Of is how often r was met.
func (c Counted) Of(r Record) int {
	if int(r.Partition) >= len(c.Times) || r.Number >= uint64(len(c.Times[r.Partition])) {
		return 0
	}
	return int(c.Times[r.Partition][r.Number])
}

func (c Counted) clone() Counted {
	c.Times = slices.Clone(c.Times)
	for i := range c.Times {
		c.Times[i] = slices.Clone(c.Times[i])
	}
	return c
}

// Want is what shall be true of a sink.
type Want struct {
	// Stores that a record may be in: one; or several, where a route that is not deterministic chooses between them. Dead letters
	// count if the node of a store's name refused the record.
	Stores []string
	Keyed  bool              // the sink honours keys: no record twice
	Record func(Record) bool // which records shall come there; nil: all
}

// Report says of every record that was committed what became of it.
type Report struct {
	Want      Want
	Records   int // that should be there
	Stored    int
	Dead      int // not stored, in the dead letters
	Dropped   int // not stored, dropped and counted
	Lost      []Record
	Twice     []Record
	DeadTwice []Record // in the dead letters more than once: allowed, they are at least once
	Strays    []Record // stored, though they should not come there
	Mixed     int      // blocks of two generations
}

// Check compares what was stored with w. Records that are not committed yet are not asked for, only that they are not there twice.
func Check(t *Tally, w Want) Report {
	r := Report{Want: w}
	for _, name := range w.Stores {
		r.Mixed += t.Stores[name].Mixed
	}
	for p := range t.Config.Partitions {
		committed := t.Config.NumberAt(t.Next[p])
		end := committed
		for _, name := range w.Stores {
			if c := t.Stores[name]; int(p) < len(c.Times) {
				end = max(end, uint64(len(c.Times[p])))
			}
		}
		if n := t.Config.Records; n > 0 {
			committed, end = min(committed, n), min(end, n)
		}
		for n := range end {
			r.record(t, Record{p, n}, n < committed)
		}
	}
	return r
}

func (r *Report) record(t *Tally, x Record, committed bool) {
	times, dead := 0, 0
	for _, name := range r.Want.Stores {
		times += t.Stores[name].Of(x)
		dead += t.Dead[name].Of(x)
	}
	if r.Want.Record != nil && !r.Want.Record(x) {
		if times > 0 {
			r.Strays = append(r.Strays, x)
		}
		return
	}
	if dead > 1 {
		r.DeadTwice = append(r.DeadTwice, x)
	}
	if r.Want.Keyed && times > 1 || times > 0 && dead > 0 {
		r.Twice = append(r.Twice, x)
	}
	if committed {
		r.Records++
	}
	switch {
	case times > 0:
		r.Stored++
	case dead > 0:
		r.Dead++
	case !committed:
	case t.Dropped.Of(x) > 0:
		r.Dropped++
	default:
		r.Lost = append(r.Lost, x)
	}
}

// Err is nil if nothing is lost, twice, astray or mixed.
func (r Report) Err() error {
	var bad []string
	list := func(what string, rs []Record) {
		if len(rs) > 0 {
			bad = append(bad, fmt.Sprintf("%d %s, from %d/%d to %d/%d", len(rs), what,
				rs[0].Partition, rs[0].Number, rs[len(rs)-1].Partition, rs[len(rs)-1].Number))
		}
	}
	list("lost", r.Lost)
	list("twice", r.Twice)
	list("where they should not be", r.Strays)
	if r.Mixed > 0 {
		bad = append(bad, fmt.Sprintf("%d blocks of two generations", r.Mixed))
	}
	if bad == nil {
		return nil
	}
	return fmt.Errorf("%v: of %d records %s", r.Want.Stores, r.Records, strings.Join(bad, "; "))
}

// String is one line.
func (r Report) String() string {
	return fmt.Sprintf("%v: %d records, %d stored, %d dead letters (%d twice), %d dropped, %d lost, %d twice, %d astray, %d mixed blocks",
		r.Want.Stores, r.Records, r.Stored, r.Dead, len(r.DeadTwice), r.Dropped, len(r.Lost), len(r.Twice), len(r.Strays), r.Mixed)
}
