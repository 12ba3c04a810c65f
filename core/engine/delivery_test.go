package engine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"math/rand"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/sdktest/delivery"
)

// The promise of DESIGN 7, with the real engine under a simulated clock: processes are killed, paused, expelled and stopped at
// random while others take their partitions over; stores forget keys after a while, are down, answer late, refuse rows; records
// are parked, filtered in runs, lost in an aggregate; a file settles late, an optional sink never answers, queues are full, chains
// are swapped. No record that is committed may be missing in a required sink, and none twice in one that honours keys.

// scene is what a life of the world is like.
type scene struct {
	seed     int64
	rules    rules
	world    delivery.Config
	pipeline string
	kills    int
	keyed    []delivery.Want
	atLeast  []delivery.Want
	latest   bool  // partitions without a position are read from their present end on
	seen     *seen // what the life has met
	log      *slog.Logger
}

// newScene is a life of the world with all rules. A store remembers 250 keys: of 100, which is less than a minute of writing here,
// one absence in about a hundred lives outlasted the window, and 49 records were stored twice.
func newScene(seed int64) *scene {
	empties := delivery.EmptiesConfig{Run: 40, Of: 3}
	kept := func(r delivery.Record) bool { return empties.Kept(r.Number) }
	return &scene{seed: seed, kills: 10, seen: &seen{},
		world: delivery.Config{Partitions: 12, Records: 1500, Gaps: true, Bounded: true, Session: time.Second, Revoke: 700 * time.Millisecond,
			Window: 250, Bad: 211, Late: 0.03, LateBy: 400 * time.Millisecond, DownEvery: 3 * time.Second, DownFor: 200 * time.Millisecond, Rate: 150, Seed: uint64(seed)},
		pipeline: `
drain_timeout: 5s
park: 500ms
sources:
  in: {type: numbered, with: {rows: 40, beat: 40ms, straddle: STRADDLE, unfenced: UNFENCED}}
processors:
  - {id: stamp, type: stamp, with: {generation: GENERATION}}
  - {id: park, type: park, with: {every: 97, offset: 13, ticks: 3}}
KEEPERS
  - {id: lose, type: lose, from: empties, with: {every: 200ms}}
sinks:
  a: {type: keyed_store, from: empties, batch: {rows: 150, age: 200ms}, retry: {initial: 20ms, max: 200ms}, with: {latency: 4ms, async: true}}
  b: {type: keyed_store, from: empties, batch: {rows: 90, age: 300ms}, retry: {initial: 20ms, max: 200ms}, with: {latency: 9ms}}
  files: {type: late_files, from: empties, with: {rows: 3000, age: 1500ms}}
  down: {type: keyed_store, from: empties, ack: optional, with: {latency: 1h}}
  sums: {type: mem, from: lose, with: {name: sums}}
  dead: {type: dead_letters, from: errors}
`,
		keyed:   []delivery.Want{{Stores: []string{"a"}, Keyed: true, Record: kept}, {Stores: []string{"b"}, Keyed: true, Record: kept}},
		atLeast: []delivery.Want{{Stores: []string{"files"}, Record: kept}},
	}
}

// keepers filter runs of records, by copies or by selections: the first of two sieves drops every other run that the second would.
var keepers = [2]string{
	"  - {id: empties, type: empties}",
	"  - {id: first, type: sieve, with: {of: 6}}\n  - {id: empties, type: sieve}",
}

// proc is one process of the world.
type proc struct {
	p   *delivery.Process
	run *Run
}

func (s *scene) start(t *testing.T, world delivery.Broker, gen int) (*proc, error) {
	p := delivery.NewProcess(world)
	text := strings.NewReplacer("GENERATION", strconv.Itoa(gen), "STRADDLE", strconv.FormatBool(s.rules.straddle), "UNFENCED", strconv.FormatBool(s.rules.noFence),
		"KEEPERS", keepers[s.seed&1]).Replace(s.pipeline)
	pl := planned(t, text, delivery.Source(p), delivery.Stamp, delivery.Park(p), delivery.Empties, delivery.Sieve, delivery.Lose, delivery.Route, delivery.FickleRoute,
		delivery.Store(p), delivery.Files(p), delivery.DeadLetters(p), sumsPlugin, slowPlugin)
	r, err := New(pl, Options{Dir: t.TempDir(), CPUs: 2, BootID: fmt.Sprintf("boot-%d-%d", s.seed, gen), rules: s.rules, KillGrace: 10 * time.Millisecond, Log: s.log})
	if err != nil {
		return nil, err
	}
	r.Start()
	return &proc{p, r}, nil
}

// play lives the scene and returns what is wrong, as sentences.
func (s *scene) play(t *testing.T) (faults []string, tally *delivery.Tally) {
	rng := rand.New(rand.NewSource(s.seed))
	world := delivery.NewMemory(s.world)
	watched := &watched{Memory: world, latest: s.latest, firsts: map[uint32]uint64{}, seen: s.seen}
	gen := 0
	var procs []*proc
	begin := func() {
		gen++
		x, err := s.start(t, watched, gen)
		if err != nil {
			faults = append(faults, "start: "+err.Error())
			return
		}
		procs = append(procs, x)
	}
	begin()
	begin()
	end := time.Now().Add(10 * time.Minute)
	events := 0
	for time.Now().Before(end) && len(faults) == 0 {
		time.Sleep(time.Duration(100+rng.Intn(700)) * time.Millisecond)
		alive := procs[:0]
		for _, x := range procs {
			select {
			case <-x.run.Done():
				if err := x.run.Wait(); err != nil && !errors.Is(err, delivery.ErrKilled) {
					faults = append(faults, "run failed: "+err.Error())
				}
				rep := x.run.Report()
				s.seen.ended(rep)
				if !rep.Balanced {
					faults = append(faults, fmt.Sprintf("ledger: %v", rep.Unbalanced))
				}
			default:
				alive = append(alive, x)
			}
		}
		procs = alive
		if len(procs) == 0 {
			if s.committed(world) {
				break
			}
			begin()
			continue
		}
		if events >= s.kills {
			continue // a quiet end
		}
		x := procs[rng.Intn(len(procs))]
		switch e := rng.Intn(12); {
		case e < 4: // kill -9; the group notices at once or when the session is over
			events++
			x.p.Kill()
			if rng.Intn(2) == 0 {
				world.Expel(x.p.Member())
			}
			x.run.fail(delivery.ErrKilled)
			<-x.run.Done()
			if rng.Intn(3) > 0 || len(procs) == 1 {
				begin()
			}
		case e < 6: // its session is over and it does not know yet: it goes on writing
			events++
			world.Expel(x.p.Member())
		case e < 7: // a graceful end
			x.run.Stop()
			if len(procs) == 1 {
				begin()
			}
		case e < 9: // another member: partitions are revoked
			if len(procs) < 4 {
				begin()
			}
		default:
			gen++
			x.swap(gen)
		}
	}
	for _, x := range procs {
		x.run.Stop()
		<-x.run.Done()
		s.seen.ended(x.run.Report())
	}
	tally, err := world.Tally(context.Background())
	if err != nil {
		return append(faults, err.Error()), nil
	}
	if !s.committed(world) {
		faults = append(faults, fmt.Sprintf("not all is committed: %v", tally.Next))
	}
	for _, w := range append(append([]delivery.Want{}, s.keyed...), s.atLeast...) {
		if s.latest {
			record := w.Record
			w.Record = func(r delivery.Record) bool { return record(r) && r.Number >= watched.firsts[r.Partition] }
		}
		if err := delivery.Check(tally, w).Err(); err != nil {
			faults = append(faults, err.Error())
		}
	}
	s.seen.tallied(tally)
	return faults, tally
}

func (s *scene) committed(world *delivery.Memory) bool {
	for p := range s.world.Partitions {
		c, _ := world.Committed(context.Background(), p)
		if s.world.NumberAt(c.Next) < s.world.Records {
			return false
		}
	}
	return true
}

// swap puts a chain of another generation into the lanes that read.
func (x *proc) swap(gen int) {
	for _, st := range x.run.stages {
		if st.src != nil {
			x.run.swapChains(st, map[string]any{"stamp": &delivery.StampConfig{Generation: uint32(gen)}})
		}
	}
}

// seeds are those of the lives that are lived: a few in the ordinary tests, WEIR_SOAK of them in `make soak`, from WEIR_SEED on.
func seeds(few int) iter.Seq[int] {
	first, _ := strconv.Atoi(os.Getenv("WEIR_SEED"))
	n, err := strconv.Atoi(os.Getenv("WEIR_SOAK"))
	switch {
	case err == nil:
	case testing.Short():
		n = few / 4
	default:
		n = few
	}
	return func(yield func(int) bool) {
		for seed := first; seed < first+n && yield(seed); seed++ {
		}
	}
}

func TestNothingIsLostAndNothingIsTwice(t *testing.T) {
	all := &seen{}
	for seed := range seeds(12) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(int64(seed))
				s.seen = all
				if os.Getenv("WEIR_LOG") != "" {
					s.log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
				}
				faults, tally := s.play(t)
				for _, f := range faults {
					t.Error(f)
				}
				if tally != nil {
					for _, w := range append(s.keyed, s.atLeast...) {
						t.Log(delivery.Check(tally, w))
					}
				}
			})
		})
	}
	// Else a mechanism that is dead would pass.
	for what, n := range all.counts() {
		if n == 0 {
			t.Errorf("in none of the lives: %s", what)
		}
		t.Logf("%s: %d", what, n)
	}
}

// sumsPlugin takes what the aggregate counts.
var sumsPlugin = sdk.Plugin{
	Spec: sdk.Spec{Kind: sdk.KindSink, Type: "mem", Doc: "takes counts", Config: func() any { return &memConfig{} }},
	Sink: func(*sdk.Env, any) (sdk.Sink, error) { return readErrors{}, nil },
}
