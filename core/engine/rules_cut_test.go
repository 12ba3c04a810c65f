package engine

// Lives of the world in which a rule of DESIGN 7 is needed: when a cut is wanted, and how it is made.

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/weirflow/weir/sdk/sdktest/delivery"
)

// one is a life of one process.
type one struct {
	world    delivery.Config
	pipeline string
	opt      Options
	hangs    bool
	// stop is when a run over a world without end is stopped; limit is when one over a bounded world is given up; 0: 10 minutes.
	stop, limit time.Duration
	wants       []delivery.Want                                      // nil: all in a, once
	look        func(met *seen, world *delivery.Memory) (f []string) // before it stops
}

var inA = []delivery.Want{{Stores: []string{"a"}, Keyed: true}}

func (o one) live(t *testing.T, _ int64, r rules) ([]string, *seen) {
	met := &seen{}
	world := delivery.NewMemory(o.world)
	opt := o.opt
	opt.rules = r
	opt.CPUs = max(opt.CPUs, 1)
	run := numberedRun(t, delivery.NewProcess(&watched{Memory: world, seen: met, hangs: o.hangs}), o.pipeline, opt)
	run.Start()
	var faults []string
	if o.stop > 0 {
		time.Sleep(o.stop)
		if o.look != nil {
			faults = o.look(met, world)
		}
		run.Stop()
		<-run.Done()
		if err := run.Wait(); err != nil {
			faults = append(faults, err.Error())
		}
		met.ended(run.Report())
	} else {
		if o.limit == 0 {
			o.limit = 10 * time.Minute
		}
		faults = until(run, o.limit, met)
		if o.look != nil {
			faults = append(faults, o.look(met, world)...)
		}
	}
	if o.wants == nil {
		o.wants = inA
	}
	faults = append(faults, wantsOf(t, world, o.wants...)...)
	met.tallied(must(world.Tally(t.Context())))
	return faults, met
}

// plain is a pipeline with one keyed sink.
func plain(source, before, sink string) string {
	return fmt.Sprintf(`
drain_timeout: 5s
park: 500ms
sources:
  in: {type: numbered, with: {%s}}
processors:
  - {id: stamp, type: stamp}
%ssinks:
  a: {type: keyed_store, %s}
`, source, before, sink)
}

// parkEvery holds one record in so many, for ever or for so many ticks.
func parkEvery(every, offset, ticks int) string {
	return fmt.Sprintf("  - {id: park, type: park, with: {every: %d, offset: %d, ticks: %d}}\n", every, offset, ticks)
}

const forEver = 1_000_000_000

// blocksUpTo finds a block of more rows.
func blocksUpTo(rows int) func(*seen, *delivery.Memory) []string {
	return func(met *seen, _ *delivery.Memory) []string {
		if met.largest > rows {
			return []string{fmt.Sprintf("a block of %d rows, want at most %d", met.largest, rows)}
		}
		return nil
	}
}

// committedUpTo finds a partition whose committed position is not so far.
func committedUpTo(position int64) func(*seen, *delivery.Memory) []string {
	return func(_ *seen, world *delivery.Memory) (faults []string) {
		for part := range max(world0(world).Partitions, 1) {
			c, err := world.Committed(context.Background(), part)
			if err != nil || c.Next < position {
				faults = append(faults, fmt.Sprintf("not all is committed: the next position of partition %d is %d, want %d or more (%v)", part, c.Next, position, err))
			}
		}
		return faults
	}
}

// A block gets its rows, and one batch more, whatever comes at once.
var manyAtOnce = one{
	world:    delivery.Config{Records: 3000, Bounded: true},
	pipeline: plain("rows: 40", "", "batch: {rows: 100, age: 1h}"),
	look:     blocksUpTo(139),
}

// Blocks of few bytes: what 8 batches of 256 rows hold.
var manyBytes = one{
	world:    delivery.Config{Records: 8000, Bounded: true},
	pipeline: plain("rows: 40", "", "batch: {rows: 100000, bytes: 64KiB, age: 1h}"),
	look:     blocksUpTo(2000),
}

// Few come, and the store has them after a while.
var trickle = one{
	world:    delivery.Config{Rate: 100},
	pipeline: plain("rows: 40", "", "batch: {rows: 100000, age: 1s}"),
	stop:     10 * time.Second,
	look:     committedUpTo(700),
}

// fullQueue holds less than a block of each partition: a cut must let it go.
var fullQueue = one{
	world:    delivery.Config{Partitions: 8, Records: 5000, Bounded: true},
	pipeline: plain("rows: 200", "", "queue: {bytes: 256KiB}, batch: {rows: 100000, bytes: 1GiB, age: 1h}"),
}

// manyTrickle are more partitions than cuts by age in an age.
func manyTrickle(look func(*seen, *delivery.Memory) []string) one {
	return one{
		world:    delivery.Config{Partitions: 40, Rate: 10, Session: 10 * time.Second},
		pipeline: plain("rows: 50, beat: 500ms", "", "batch: {rows: 100000, age: 1s}"),
		opt:      Options{Cuts: 5, CPUs: 2},
		stop:     25 * time.Second,
		look:     look,
	}
}

// manyOfTwoSources are as many, and two sources share them and the sink. Half of them change the source once, and are cut for that.
var manyOfTwoSources = one{
	world:    delivery.Config{Partitions: 40, Rate: 10, Session: 10 * time.Second},
	pipeline: joinedSources("rows: 50, beat: 500ms", "batch: {rows: 100000, age: 1s}"),
	opt:      Options{Cuts: 5, CPUs: 2},
	stop:     25 * time.Second,
	look:     blocksASecond(5+1, 25),
}

// joinedSources are members of one group, and each of their partitions comes to the store by one of its inputs.
func joinedSources(source, sink string) string {
	return fmt.Sprintf(`
sources:
  in: {type: numbered, with: {%[1]s}}
  too: {type: numbered, with: {%[1]s}}
processors:
  - {id: stamp, type: stamp, from: in}
  - {id: also, type: stamp, from: too}
sinks:
  a: {type: keyed_store, from: [stamp, also], %s}
`, source, sink)
}

// blocksASecond finds more blocks than cuts by age are allowed in the time.
func blocksASecond(limit uint64, seconds uint64) func(*seen, *delivery.Memory) []string {
	return func(met *seen, _ *delivery.Memory) []string {
		if n := met.blocks["a"]; n > limit*seconds {
			return []string{fmt.Sprintf("too many blocks: %d in %d s, want at most %d a second", n, seconds, limit)}
		}
		return nil
	}
}

// heldShortly has one record in a second held for 300 ms: each cut can wait for it. The last is given out before the end.
var heldShortly = one{
	world:    delivery.Config{Records: 1950, Bounded: true, Rate: 100},
	pipeline: plain("rows: 40", parkEvery(97, 13, 3), "batch: {rows: 100000, age: 300ms}"),
}

// nothingDropped finds what was dropped though it would have been given out.
func nothingDropped(o one) lived {
	return func(t *testing.T, seed int64, r rules) ([]string, *seen) {
		faults, met := o.live(t, seed, r)
		if met.parked > 0 {
			faults = append(faults, fmt.Sprintf("%d records were dropped that a little patience would have kept", met.parked))
		}
		return faults, met
	}
}

// heldForEver has cuts that wait for records which nothing will free, while they come at 100 a second.
var heldForEver = one{
	world:    delivery.Config{Rate: 100},
	pipeline: plain("rows: 40", parkEvery(50, 3, forEver), "batch: {rows: 100000, age: 500ms}"),
	stop:     10 * time.Second,
	look:     committedUpTo(700),
}

// heldAndMany is the same with blocks of few rows, which come 50 a tick, and time to wait for what is held.
var heldAndMany = one{
	world:    delivery.Config{Records: 3000, Bounded: true, Rate: 500},
	pipeline: "park: 1h" + plain("rows: 40", parkEvery(50, 3, forEver), "batch: {rows: 100, age: 1h}")[len("\ndrain_timeout: 5s\npark: 500ms"):],
	look:     blocksUpTo(300),
}

// heldAndFull is a full queue behind what is held.
var heldAndFull = one{
	world:    delivery.Config{Records: 20000, Bounded: true},
	pipeline: "park: 1h" + plain("rows: 200", parkEvery(50, 3, forEver), "queue: {bytes: 256KiB}, batch: {rows: 100000, bytes: 1GiB, age: 1h}")[len("\ndrain_timeout: 5s\npark: 500ms"):],
}

// twoSources have a sink that a mark of neither reaches by the other's input.
var twoSources = one{
	world:    delivery.Config{Partitions: 4, Records: 1000, Bounded: true},
	pipeline: joinedSources("rows: 40", "batch: {rows: 100, age: 300ms}"),
	opt:      Options{CPUs: 2},
	limit:    time.Minute,
}

// fileIsOpen keeps a file open: neither blocks nor their ends wait for it.
var fileIsOpen = one{
	world:    delivery.Config{Rate: 200},
	pipeline: plain("rows: 40", "", "batch: {rows: 100, age: 300ms}") + "  files: {type: late_files, with: {rows: 1000000, age: 1h}}\n",
	stop:     5 * time.Second,
	look: func(met *seen, _ *delivery.Memory) []string {
		if n := met.blocks["a"]; n < 8 {
			return []string{fmt.Sprintf("cuts wait: %d blocks of 100 in 5 s of 200 records/s", n)}
		}
		return nil
	},
}
