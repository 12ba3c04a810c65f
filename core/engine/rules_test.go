package engine

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirflow/weir/core/ledger"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/sdktest/delivery"
)

// seen counts what lives have met, so that a test can tell that a rule was at work and not only that nothing went wrong.
type seen struct {
	mu       sync.Mutex
	first    uint64 // first positions of partitions that were committed
	prepared uint64 // segments that were saved before they were written; each save counts it again
	most     int    // of them in one position
	ahead    uint64 // saves that say that more is stored than may be committed
	resumed  uint64 // lives of a partition that had ends of an earlier one
	again    uint64 // blocks that a store knew already
	returned uint64 // records that were left to the next owner
	stored   uint64 // records that were not written again
	parked   uint64 // records that a cut dropped with force
	received uint64
	late     uint64 // writes that seemed to fail
	dead     uint64 // records in the dead letters
}

// counts are those that every few lives of a scene must have met.
func (s *seen) counts() map[string]uint64 {
	return map[string]uint64{
		"a first position was committed":                   s.first,
		"a segment was prepared":                           s.prepared,
		"more was stored than could be committed":          s.ahead,
		"a life went on with the ends of an earlier one":   s.resumed,
		"a store knew a block already":                     s.again,
		"records were left to the next owner":              s.returned,
		"records were dropped as stored before":            s.stored,
		"a cut was forced":                                 s.parked,
		"a write seemed to fail and landed late":           s.late,
		"records were refused and are in the dead letters": s.dead,
	}
}

// ended counts what a run's ledger says at its end.
func (s *seen) ended(rep ledger.Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.received += rep.Received
	s.returned += rep.Dropped[string(sdk.ReasonReturned)]
	s.stored += rep.Dropped[string(sdk.ReasonStoredBefore)]
	s.parked += rep.Dropped[string(delivery.ReasonParked)]
	s.dead += rep.DeadLettered
}

func (s *seen) tallied(t *delivery.Tally) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range t.Again {
		s.again += uint64(n)
	}
	s.late += uint64(t.Late)
}

// watched is a world that looks at what is committed.
type watched struct {
	*delivery.Memory
	latest bool
	firsts map[uint32]uint64 // number of the record with which the first life of a partition began; under seen.mu
	seen   *seen
}

// Committed answers for a partition that has no position, when reading begins at the end, with where that is now. As a broker
// does that is asked for the latest offset, it does not keep it: whoever asks again before it is committed begins later.
func (w *watched) Committed(ctx context.Context, partition uint32) (delivery.Committed, error) {
	c, err := w.Memory.Committed(ctx, partition)
	if err != nil {
		return c, err
	}
	cfg, _ := w.Config(ctx)
	if c.Value == nil && w.latest {
		f, err := w.Fetch(ctx, partition, 0, -1, sdk.MaxRows)
		if err != nil {
			return c, err
		}
		c.Next = cfg.Position(uint64(f.N))
		if c.Value, err = (sdk.Position{Stored: -1}).AppendBinary(nil); err != nil {
			return c, err
		}
		w.seen.mu.Lock()
		if _, ok := w.firsts[partition]; !ok {
			w.firsts[partition] = uint64(f.N)
		}
		w.seen.mu.Unlock()
	}
	if c.Value != nil {
		if p, err := sdk.ParsePosition(c.Value); err == nil && len(p.Ends) > 0 {
			w.seen.mu.Lock()
			w.seen.resumed++
			w.seen.mu.Unlock()
		}
	}
	return c, nil
}

func (w *watched) Commit(ctx context.Context, member string, positions map[uint32]delivery.Committed) error {
	for part, c := range positions {
		had, err := w.Memory.Committed(ctx, part)
		if err != nil {
			return err
		}
		p, err := sdk.ParsePosition(c.Value)
		if err != nil {
			return err
		}
		w.seen.mu.Lock()
		if had.Value == nil {
			w.seen.first++
		}
		if p.Stored >= c.Next {
			w.seen.ahead++
		}
		w.seen.prepared += uint64(len(p.Ends))
		w.seen.most = max(w.seen.most, len(p.Ends))
		w.seen.mu.Unlock()
	}
	return w.Memory.Commit(ctx, member, positions)
}

// lived is a life of the world under rules: what is wrong after it, and what it met.
type lived func(t *testing.T, seed int64, r rules) (faults []string, met *seen)

// livesOf lives scenes.
func livesOf(scene func(seed int64) *scene, change ...func(*scene)) lived {
	return func(t *testing.T, seed int64, r rules) ([]string, *seen) {
		s := scene(seed)
		s.kills, s.rules = 16, r
		for _, c := range change {
			c(s)
		}
		faults, _ := s.play(t)
		return faults, s.seen
	}
}

// rule is one of those of DESIGN 7 and what it is for.
type rule struct {
	off    func(*rules)
	breaks string // what goes wrong without it
	life   lived
	works  func(*seen) bool // that a life with it met what it is for
}

var needed = map[string]rule{
	"(1) a block is one write": {
		off: func(r *rules) { r.inParts = true }, breaks: "twice", life: livesOf(newScene),
		works: func(s *seen) bool { return s.dead > 0 }},
	"(2) what is held is given out before a cut": {
		off: func(r *rules) { r.heldPastCut = true }, breaks: "lost", life: livesOf(newScene),
		works: func(s *seen) bool { return s.parked > 0 }},
	"(2) later stages flush at a mark": {
		off: func(r *rules) { r.noMarkFlush = true }, breaks: "lost", life: livesOf(joinedScene, withoutTwoWays),
		works: func(s *seen) bool { return s.prepared > 0 }},
	"(2) the mark is waited for on every way": {
		off: func(r *rules) { r.firstMark = true }, breaks: "lost", life: livesOf(joinedScene, withoutTwoWays),
		works: func(s *seen) bool { return s.prepared > 0 }},
	"(2) what the oldest segment waits for has room": {
		off: func(r *rules) { r.noOverdue = true }, breaks: "not all is committed", life: littleRoom,
		works: func(s *seen) bool { return s.prepared > 0 }},
	"(3) the plan is saved before the segment is stored": {
		off: func(r *rules) { r.noPrepare = true }, breaks: "twice", life: livesOf(newScene),
		works: func(s *seen) bool { return s.prepared > 0 && s.again > 0 }},
	"(3) no cut whose end does not fit": {
		off: func(r *rules) { r.noRoom = true }, breaks: "not all is committed", life: manyPrepared,
		works: func(s *seen) bool { return s.most > 500 }},
	"(3) the key is the segment's, not the hull's": {
		off: func(r *rules) { r.keyHull = true }, breaks: "twice", life: livesOf(newScene),
		works: func(s *seen) bool { return s.again > 0 }},
	"(4) what is stored is kept while a file is open": {
		off: func(r *rules) { r.noStored = true }, breaks: "twice", life: killedWithAFileOpen(3, "", delivery.Want{Stores: []string{"a"}, Keyed: true}),
		works: func(s *seen) bool { return s.ahead > 0 && s.stored > 0 }},
	"(4) what other sinks have stored is void": {
		off: func(r *rules) { r.anySinks = true }, breaks: "lost", life: killedWithAFileOpen(0, another, delivery.Want{Stores: []string{"a"}}, delivery.Want{Stores: []string{"b"}, Keyed: true}),
		works: func(s *seen) bool { return s.ahead > 0 }},
	"(4) what is stored waits for dead letters": {
		off: func(r *rules) { r.noDeadWait = true }, breaks: "lost", life: livesOf(newScene, openFile),
		works: func(s *seen) bool { return s.dead > 0 && s.stored > 0 }},
	"(4) offsets are committed in order": {
		off: func(r *rules) { r.outOfOrder = true }, breaks: "lost", life: lettersLate,
		works: func(s *seen) bool { return s.prepared > 0 && s.dead > 0 }},
	"(4) what can wait is saved after a while": {
		off: func(r *rules) { r.noIdle = true }, breaks: "not all is committed", life: nothingKept,
		works: func(s *seen) bool { return s.received == 400 }},
	"(5) a first start position is committed at once": {
		off: func(r *rules) { r.noFirst = true }, breaks: "lost", life: livesOf(newScene, func(s *scene) { s.latest = true }),
		works: func(s *seen) bool { return s.first == 12 }},
	"(5) ends that an earlier life planned are kept": {
		off: func(r *rules) { r.noPlan = true }, breaks: "twice", life: livesOf(newScene),
		works: func(s *seen) bool { return s.resumed > 0 && s.again > 0 }},
	"(5) no batch crosses a planned end": {
		off: func(r *rules) { r.straddle = true }, breaks: "twice", life: livesOf(newScene),
		works: func(s *seen) bool { return s.resumed > 0 && s.again > 0 }},
	"(5) the first cuts are where they were planned": {
		off: func(r *rules) { r.cutBeforePlan = true }, breaks: "twice", life: smallerBlocks,
		works: func(s *seen) bool { return s.resumed > 0 && s.again > 0 }},
	"(5) what is stored is not written again": {
		off: func(r *rules) { r.storedAgain = true }, breaks: "twice", life: livesOf(newScene),
		works: func(s *seen) bool { return s.stored > 0 }},
	"(6) revocation and drain force nothing": {
		off: func(r *rules) { r.forceAtEnd = true }, breaks: "dropped", life: stoppedWhileHeld,
		works: func(s *seen) bool { return s.returned > 0 }},
	"(6) a member fences itself": {
		off: func(r *rules) { r.noFence = true }, breaks: "twice", life: livesOf(newScene),
		works: func(s *seen) bool { return s.returned > 0 }},
	"(7) a chain is swapped at a cut": {
		off: func(r *rules) { r.swapMidSegment = true }, breaks: "generations", life: livesOf(newScene),
		works: func(s *seen) bool { return s.prepared > 0 }},
}

// openFile keeps a file open for longer than a process lives.
func openFile(s *scene) {
	s.pipeline = strings.Replace(s.pipeline, "rows: 3000, age: 1500ms", "rows: 100000, age: 20s", 1)
}

// withoutTwoWays asks of b nothing: what goes left comes there by two ways.
func withoutTwoWays(s *scene) { s.keyed = s.keyed[:1] }

// Every rule of §7 is there for something: without it records are lost or stored twice, or nothing goes on; with it the same lives
// go well, and the case for which it is there has come.
func TestEachRuleIsNeeded(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long with the race detector; the ordinary run has it")
	}
	for name, rule := range needed {
		t.Run(name, func(t *testing.T) {
			off := rules{}
			rule.off(&off)
			broken, met := false, false
			for seed := int64(0); seed < 40 && !(broken && met); seed++ {
				if !broken {
					synctest.Test(t, func(t *testing.T) {
						faults, _ := rule.life(t, seed, off)
						for _, f := range faults {
							if os.Getenv("WEIR_LOG") != "" {
								t.Logf("seed %d: %s", seed, f)
							}
							if !broken && strings.Contains(f, rule.breaks) {
								t.Logf("seed %d without it: %s", seed, f)
								broken = true
							}
						}
					})
				}
				synctest.Test(t, func(t *testing.T) {
					faults, seen := rule.life(t, seed, rules{})
					for _, f := range faults {
						t.Errorf("seed %d with it: %s", seed, f)
					}
					met = met || rule.works(seen)
				})
			}
			if !broken {
				t.Errorf("40 lives without the rule: none has %q", rule.breaks)
			}
			if !met {
				t.Error("40 lives never came to what the rule is for")
			}
		})
	}
}

// A store's window that is shorter than an absence is no rule of the engine's, but a limit of the promise.
func TestTheWindowOutlastsAnAbsence(t *testing.T) {
	for seed := range int64(40) {
		broken := false
		synctest.Test(t, func(t *testing.T) {
			faults, _ := livesOf(newScene, func(s *scene) { s.world.Window = 3 })(t, seed, rules{})
			broken = len(faults) > 0 && strings.Contains(faults[0], "twice")
		})
		if broken {
			return
		}
	}
	t.Error("40 lives with a window of 3 blocks went well")
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
