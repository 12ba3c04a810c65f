package engine

// Lives of the world in which a rule of DESIGN 7 is needed: crashes, and what is kept over them.

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/weirflow/weir/sdk/sdktest/delivery"
)

// openFile keeps a file open for longer than a process lives.
func openFile(s *scene) {
	s.pipeline = strings.Replace(s.pipeline, "rows: 3000, age: 1500ms", "rows: 100000, age: 20s", 1)
}

// withoutTwoWays asks of b nothing: what goes left comes there by two ways.
func withoutTwoWays(s *scene) { s.keyed = s.keyed[:1] }

// gatheredJoin gathers what comes by both ways into one batch.
func gatheredJoin(s *scene) {
	s.pipeline = strings.NewReplacer("  - {id: empties, type: empties}\n", "", "{id: join, type: slow,", "{id: join, type: empties,").Replace(s.pipeline)
}

// until runs a process of a world until all is committed or time is over, and says what is wrong then.
func until(r *Run, limit time.Duration, met *seen) (faults []string) {
	select {
	case <-r.Done():
	case <-time.After(limit):
		faults = append(faults, "not all is committed after "+limit.String())
		r.fail(errEnded)
		<-r.Done()
	}
	if err := r.Wait(); err != nil && len(faults) == 0 {
		faults = append(faults, err.Error())
	}
	met.ended(r.Report())
	return faults
}

func wantsOf(t *testing.T, world *delivery.Memory, wants ...delivery.Want) (faults []string) {
	t.Helper()
	tally, err := world.Tally(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range wants {
		if err := delivery.Check(tally, w).Err(); err != nil {
			faults = append(faults, err.Error())
		}
	}
	return faults
}

// manyPrepared is a store that is down while more segments are cut than a saved position has room for.
func manyPrepared(t *testing.T, _ int64, r rules) ([]string, *seen) {
	met := &seen{}
	world := delivery.NewMemory(delivery.Config{Records: 2600, Bounded: true, DownEvery: 45 * time.Second, DownFor: 40 * time.Second, Rate: 100})
	p := delivery.NewProcess(&watched{Memory: world, seen: met})
	run := numberedRun(t, p, `
sources:
  in: {type: numbered, with: {rows: 1}}
processors:
  - {id: stamp, type: stamp}
sinks:
  a: {type: keyed_store, queue: {batches: 100000, bytes: 1GiB}, batch: {rows: 1, age: 1s}, retry: {initial: 100ms, max: 1s}}
`, Options{rules: r, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	run.Start()
	faults := until(run, 2*time.Minute, met)
	return append(faults, wantsOf(t, world, delivery.Want{Stores: []string{"a"}, Keyed: true})...), met
}

// littleRoom has a sink whose queue holds less than a block of each partition, and marks that come to it through another queue.
func littleRoom(t *testing.T, _ int64, r rules) ([]string, *seen) {
	met := &seen{}
	world := delivery.NewMemory(delivery.Config{Partitions: 4, Records: 5000, Bounded: true})
	run := numberedRun(t, delivery.NewProcess(&watched{Memory: world, seen: met}), `
sources:
  in: {type: numbered, with: {rows: 200}}
processors:
  - {id: stamp, type: stamp}
  - {id: again, type: slow, queue: {batches: 8}, with: {delay: 1ms}}
sinks:
  a: {type: keyed_store, queue: {bytes: 256KiB}, batch: {rows: 20000, age: 10s}}
`, Options{rules: r, CPUs: 2})
	run.Start()
	faults := until(run, 10*time.Minute, met)
	return append(faults, wantsOf(t, world, delivery.Want{Stores: []string{"a"}, Keyed: true})...), met
}

// killedAndResumed runs a process with the first sinks, kills it and goes on with the second.
func killedAndResumed(t *testing.T, cfg delivery.Config, first string, lives time.Duration, second string, opt Options) ([]string, *seen) {
	t.Helper()
	met := &seen{}
	world := delivery.NewMemory(cfg)
	start := func(sinks string) (*delivery.Process, *Run) {
		p := delivery.NewProcess(&watched{Memory: world, seen: met})
		late := &lateLetters{open: make(chan struct{})} // for ever
		opt.Dir = t.TempDir()
		run, err := New(planned(t, `
sources:
  in: {type: numbered, with: {rows: 40}}
processors:
  - {id: stamp, type: stamp}
sinks:
`+sinks, delivery.Source(p), delivery.Stamp, delivery.Store(p), delivery.DeadLetters(p), late.plugin()), opt)
		if err != nil {
			t.Fatal(err)
		}
		run.Start()
		return p, run
	}
	p, run := start(first)
	time.Sleep(lives)
	p.Kill()
	run.fail(delivery.ErrKilled)
	<-run.Done()
	met.ended(run.Report())
	opt.Idle = 0 // as ever: it was to keep the first life from saving what was stored
	_, run = start(second)
	faults := until(run, 10*time.Minute, met)
	tally := wantsOf(t, world, delivery.Want{Stores: []string{"a"}, Keyed: true})
	met.tallied(must(world.Tally(t.Context())))
	return append(faults, tally...), met
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// smallerBlocks goes on with smaller blocks after a crash between what was stored and that being saved.
func smallerBlocks(t *testing.T, _ int64, r rules) ([]string, *seen) {
	return killedAndResumed(t, delivery.Config{Records: 600, Bounded: true, Session: time.Second, Rate: 200},
		"  a: {type: keyed_store, batch: {rows: 300, age: 1h}}\n", 2*time.Second,
		"  a: {type: keyed_store, batch: {rows: 100, age: 1h}}\n", Options{rules: r, Idle: time.Hour})
}

// lettersLate has one row of the first segment refused, and a dead letter that is never stored in the first life, while the segments
// behind it are settled.
func lettersLate(t *testing.T, _ int64, r rules) ([]string, *seen) {
	const a = "  a: {type: keyed_store, batch: {rows: 100, age: 300ms}}\n"
	return killedAndResumed(t, delivery.Config{Records: 1000, Bounded: true, Session: time.Second, Rate: 200, Bad: 10_000},
		a+"  dead: {type: lateletters, from: errors}\n", 3*time.Second, a+"  dead: {type: dead_letters, from: errors}\n", Options{rules: r})
}

const another = "  b: {type: keyed_store, batch: {rows: 100, age: 300ms}}\n"

// killedWithAFileOpen kills a process whose file was open, and goes on with more keyed sinks; stores remember window blocks.
func killedWithAFileOpen(window int, more string, wants ...delivery.Want) lived {
	return func(t *testing.T, _ int64, r rules) ([]string, *seen) {
		met := &seen{}
		world := delivery.NewMemory(delivery.Config{Records: 1000, Bounded: true, Session: time.Second, Rate: 200, Window: window})
		start := func(more string) (*delivery.Process, *Run) {
			p := delivery.NewProcess(&watched{Memory: world, seen: met})
			run := numberedRun(t, p, `
sources:
  in: {type: numbered, with: {rows: 40}}
processors:
  - {id: stamp, type: stamp}
sinks:
  a: {type: keyed_store, batch: {rows: 100, age: 300ms}}
  files: {type: late_files, with: {rows: 1000000, age: 1h}}
`+more, Options{rules: r})
			run.Start()
			return p, run
		}
		p, run := start("")
		time.Sleep(3 * time.Second)
		p.Kill()
		run.fail(delivery.ErrKilled)
		<-run.Done()
		met.ended(run.Report())
		_, run = start(more)
		faults := until(run, 10*time.Minute, met)
		return append(faults, wantsOf(t, world, append(wants, delivery.Want{Stores: []string{"files"}})...)...), met
	}
}

// nothingKept reads what is filtered, and then nothing comes for long.
func nothingKept(t *testing.T, _ int64, r rules) ([]string, *seen) {
	met := &seen{}
	world := delivery.NewMemory(delivery.Config{Records: 400, Session: time.Second})
	run := numberedRun(t, delivery.NewProcess(&watched{Memory: world, seen: met}), `
sources:
  in: {type: numbered, with: {rows: 40}}
processors:
  - {id: stamp, type: stamp}
  - {id: none, type: empties, with: {run: 1000000, of: 2}}
sinks:
  a: {type: keyed_store, batch: {rows: 100, age: 300ms}}
`, Options{rules: r})
	run.Start()
	time.Sleep(10 * time.Second)
	next, _ := savedOf(t, world)
	run.Stop()
	<-run.Done()
	met.ended(run.Report())
	if next != 400 {
		return []string{fmt.Sprintf("not all is committed: the next position is %d, want 400", next)}, met
	}
	return nil, met
}

// stoppedWhileHeld stops a process that holds records at any time; the next one reads them again, and none is dropped.
func stoppedWhileHeld(t *testing.T, _ int64, r rules) ([]string, *seen) {
	met := &seen{}
	world := delivery.NewMemory(delivery.Config{Partitions: 2, Rate: 100, Session: time.Second})
	var faults []string
	for _, every := range []string{"10, ticks: 20", "1000000, ticks: 1"} {
		run := numberedRun(t, delivery.NewProcess(&watched{Memory: world, seen: met}), `
park: 10s
sources:
  in: {type: numbered, with: {rows: 40}}
processors:
  - {id: stamp, type: stamp}
  - {id: park, type: park, with: {offset: 3, every: `+every+`}}
sinks:
  a: {type: keyed_store, batch: {rows: 10000, age: 300ms}}
`, Options{rules: r})
		run.Start()
		time.Sleep(5 * time.Second)
		run.Stop()
		faults = append(faults, until(run, time.Minute, met)...)
	}
	tally, err := world.Tally(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rep := delivery.Check(tally, delivery.Want{Stores: []string{"a"}, Keyed: true})
	if err := rep.Err(); err != nil {
		faults = append(faults, err.Error())
	}
	if rep.Dropped > 0 {
		faults = append(faults, fmt.Sprintf("%d records were dropped that the next owner could have read again", rep.Dropped))
	}
	if next, _ := savedOf(t, world); next < 500 {
		faults = append(faults, fmt.Sprintf("the next position is %d after 10 s of 100 records/s, want 500 or more", next))
	}
	return faults, met
}
