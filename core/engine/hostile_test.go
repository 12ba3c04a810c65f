package engine

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/sdktest/delivery"
)

// What the engine must bear from its neighbours: stores that do not answer, branches that are slower than their sisters, queues that
// are always full.

// slowPlugin passes batches on after a while: a branch that lags behind its sister.
var slowPlugin = sdk.Plugin{
	Spec: sdk.Spec{Kind: sdk.KindProcessor, Type: "slow", Doc: "takes its time", Config: func() any { return &slowConfig{} }, KeepsRange: true, Deterministic: true},
	Processor: func(env *sdk.Env, cfg any) (sdk.Processor, error) {
		return &slow{env: env, c: cfg.(*slowConfig), all: sdk.NewGather(env.In, env.Out[0])}, nil
	},
}

type slowConfig struct {
	Delay time.Duration `yaml:"delay" doc:"of each batch"`
	Hold  bool          `yaml:"hold" doc:"gives out a batch when the next one comes, at a tick or at a flush"`
}

type slow struct {
	env  *sdk.Env
	c    *slowConfig
	all  *sdk.Gather
	held []*sdk.Batch
}

func (s *slow) Process(b *sdk.Batch, out sdk.Out) error {
	time.Sleep(s.c.Delay)
	o := s.env.NewBatch(s.env.Out[0], b.Rows())
	s.all.Append(o, b, nil, b.Rows())
	o.Derive(b)
	o.Seal()
	s.env.Books.Forwarded.Add(uint64(o.Rows()))
	b.Done(sdk.Delivered)
	b.Release()
	s.give(nil, out)
	if s.c.Hold {
		s.env.Books.Open.Add(int64(o.Rows()))
		s.held = append(s.held, o)
		return nil
	}
	out.Emit(0, o)
	return nil
}

func (s *slow) give(p *sdk.Partition, out sdk.Out) {
	rest := s.held[:0]
	for _, o := range s.held {
		if p != nil && o.Range().Partition != p {
			rest = append(rest, o)
			continue
		}
		s.env.Books.Open.Add(-int64(o.Rows()))
		out.Emit(0, o)
	}
	s.held = rest
}

func (s *slow) Tick(_ time.Time, blocked bool, out sdk.Out) (bool, error) {
	if !blocked {
		s.give(nil, out)
	}
	return false, nil
}
func (s *slow) Flush(p *sdk.Partition, _ bool, out sdk.Out) (int, bool, error) {
	s.give(p, out)
	return 0, false, nil
}
func (s *slow) Drain(_ sdk.Why, _ bool, out sdk.Out) (bool, error) {
	s.give(nil, out)
	return false, nil
}
func (s *slow) Close() error { return nil }

// numberedRun is a pipeline over a world of numbered records.
func numberedRun(t *testing.T, p delivery.Broker, text string, opt Options) *Run {
	t.Helper()
	pl := planned(t, text, delivery.Source(p), delivery.Stamp, delivery.Park(p), delivery.Empties, delivery.Lose, delivery.Route, delivery.FickleRoute,
		delivery.Store(p), delivery.Unkeyed(p), delivery.Files(p), delivery.DeadLetters(p), slowPlugin, halfPlugin, sumsPlugin)
	if opt.Dir == "" {
		opt.Dir = t.TempDir()
	}
	r, err := New(pl, opt)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// complete runs until all of the world is committed and checks what is in the stores.
func complete(t *testing.T, world *delivery.Memory, r *Run, within time.Duration, wants ...delivery.Want) {
	t.Helper()
	r.Start()
	select {
	case <-r.Done():
	case <-time.After(within):
		tally, _ := world.Tally(context.Background())
		t.Errorf("the run does not end, committed are %v: %+v", tally.Next, r.Report())
		r.fail(errEnded)
		<-r.Done()
		return
	}
	if err := r.Wait(); err != nil {
		t.Error(err)
	}
	if rep := r.Report(); !rep.Balanced || rep.InFlight != 0 || rep.Held != 0 {
		t.Errorf("the ledger: %v, in flight %d, held %d", rep.Unbalanced, rep.InFlight, rep.Held)
	}
	if n := r.pool.InUse(); n != 0 {
		t.Errorf("%d batches are still held", n)
	}
	tally, err := world.Tally(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range wants {
		rep := delivery.Check(tally, w)
		if err := rep.Err(); err != nil {
			t.Error(err)
		}
		if want := int(world0(world).Records) * int(world0(world).Partitions); w.Record == nil && rep.Records != want {
			t.Errorf("%d of %d records are committed", rep.Records, want)
		}
	}
}

func world0(m *delivery.Memory) delivery.Config {
	c, _ := m.Config(context.Background())
	return c
}

// Branches over queues that join again before a keyed sink: whatever the one lags behind the other, every record is stored once,
// and the run ends.
func TestBranchesOverQueuesThatJoinLoseNothing(t *testing.T) {
	for name, branches := range map[string]string{
		"both over queues": `
  - {id: left, type: slow, from: route.a, queue: {batches: 4}, with: {hold: true}}
  - {id: right, type: slow, from: route.b, queue: {batches: 16}, with: {delay: 150ms, hold: true}}
  - {id: join, type: stamp, from: [left, right]}`,
		"one straight": `
  - {id: right, type: slow, from: route.b, queue: {batches: 32}, with: {delay: 150ms}}
  - {id: join, type: stamp, from: [route.a, right]}`,
		"a chain of queues on one side": `
  - {id: left, type: slow, from: route.a, queue: {batches: 4}}
  - {id: r1, type: slow, from: route.b, queue: {batches: 4}, with: {delay: 20ms}}
  - {id: r2, type: slow, from: r1, queue: {batches: 32}, with: {delay: 90ms, hold: true}}
  - {id: join, type: stamp, from: [left, r2], queue: {batches: 3}}`,
		"the same records on both ways": `
  - {id: left, type: empties, from: route.a, queue: {batches: 4}}
  - {id: right, type: slow, from: route.b, queue: {batches: 4}, with: {delay: 50ms}}
  - {id: join, type: stamp, from: [left, right], queue: {batches: 3}}
  - {id: again, type: slow, from: join, queue: {batches: 2}, with: {delay: 5ms}}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				world := delivery.NewMemory(delivery.Config{Partitions: 3, Records: 2500, Rate: 300, Gaps: true, Bounded: true})
				last := "join"
				var kept func(delivery.Record) bool
				if strings.Contains(branches, "again") {
					last = "again"
					empties, route := delivery.EmptiesConfig{Run: 40, Of: 3}, delivery.RouteConfig{Ports: []string{"a", "b"}, Run: 11}
					kept = func(r delivery.Record) bool { return route.Port(r.Number) == 1 || empties.Kept(r.Number) }
				}
				r := numberedRun(t, world, fmt.Sprintf(`
sources:
  in: {type: numbered, with: {rows: 40}}
processors:
  - {id: route, type: numbered_route}%s
sinks:
  a: {type: keyed_store, from: %s, queue: {batches: 4}, batch: {rows: 60, age: 200ms}, with: {latency: 3ms}}
  b: {type: keyed_store, from: %s, batch: {rows: 100, age: 300ms}, with: {latency: 9ms, async: true}}
`, branches, last, last), Options{CPUs: 2})
				complete(t, world, r, 30*time.Minute, delivery.Want{Stores: []string{"a"}, Keyed: true, Record: kept},
					delivery.Want{Stores: []string{"b"}, Keyed: true, Record: kept})
			})
		})
	}
}

// A required store that does not answer holds reading up: what is held stays about what the queue may hold.
func TestAStoreThatIsDownHoldsReadingUp(t *testing.T) {
	down := 3 * time.Minute
	if testing.Short() {
		down = 30 * time.Second // every cut that the partitions make while nothing is taken has happened by then, but fewer of them
	}
	for name, with := range map[string]string{"waits in Write": "latency: 10h", "answers late": "latency: 10h, async: true"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const partitions, batches = 4, 16
				world := delivery.NewMemory(delivery.Config{Partitions: partitions, Records: 2_000_000})
				r := numberedRun(t, world, fmt.Sprintf(`
drain_timeout: 1s
sources:
  in: {type: numbered, with: {rows: 1000}}
processors:
  - {id: stamp, type: stamp}
sinks:
  a: {type: keyed_store, queue: {batches: %d}, batch: {rows: 20000, age: 1s}, with: {%s}}
`, batches, with), Options{CPUs: 2})
				r.Start()
				time.Sleep(20 * time.Second)
				early := r.QueueStats()["a"]
				time.Sleep(down)
				q := r.QueueStats()["a"]
				t.Logf("after 20 s: %+v\n%v later: %+v", early, down, q)
				// Beyond the limit: what a cut of each partition flushes, and the batch that waited.
				if q.Batches > batches+2*partitions || q.Forced > 2*partitions*(64<<10) {
					t.Errorf("%d batches are waiting, limit %d; %d bytes above the limit", q.Batches, batches, q.Forced)
				}
				r.Stop()
				<-r.Done()
			})
		})
	}
}

// After a start, what an earlier life planned is read again; a store that is down holds that up too.
func TestPlannedSegmentsWaitForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := delivery.NewMemory(delivery.Config{Records: 1_000_000})
		at := sdk.Position{Stored: -1}
		for last := int64(999); len(at.Ends) < 300; last += 1000 {
			at.Ends = append(at.Ends, sdk.End{Last: last, Sinks: 1})
		}
		value, err := at.AppendBinary(nil)
		if err != nil {
			t.Fatal(err)
		}
		member, _ := world.Join(t.Context())
		if err := world.Commit(t.Context(), member, map[uint32]delivery.Committed{0: {Value: value}}); err != nil {
			t.Fatal(err)
		}
		world.Expel(member)
		r := numberedRun(t, world, `
drain_timeout: 1s
sources:
  in: {type: numbered, with: {rows: 500}}
processors:
  - {id: stamp, type: stamp}
sinks:
  a: {type: keyed_store, queue: {bytes: 512KiB}, batch: {rows: 20000, age: 1s}, with: {latency: 10h, async: true}}
`, Options{CPUs: 1})
		r.Start()
		time.Sleep(time.Minute)
		if q := r.QueueStats()["a"]; q.Forced > 64<<10 || q.MostBytes < q.Limit/2 {
			t.Errorf("%d bytes above the limit: %+v", q.Forced, q)
		}
		r.Stop()
		<-r.Done()
	})
}

// outcome is what became of a source's batch.
type outcome struct{ worst chan sdk.Outcome }

func (o outcome) Settled(_ sdk.Range, worst sdk.Outcome) { o.worst <- worst }

// `on_error: fail` means that nothing of the batch is committed, though the rest of it went on and was delivered.
func TestARecordThatFailsTheRunIsNotCommitted(t *testing.T) {
	r := running(t, newStores(), `
sources:
  in: {type: count, with: {rows: 10}}
processors:
  - {id: w, type: work, on_error: fail, with: {refuse: 90}}
sinks:
  out: {type: memfused}
`)
	b := r.pool.Get(numbers, 3)
	for i := range 3 {
		sdk.Claim[uint64](b, 0, i, 1)[0] = uint64(i)
		sdk.Claim[uint32](b, 1, i, 1)[0] = uint32(i)
	}
	b.SetRows(3)
	b.Seal()
	o := outcome{make(chan sdk.Outcome, 1)}
	b.Track(o)
	r.sources[0].st.lanes[0].chain.Load().insts[1].process(b)
	if got := <-o.worst; got != sdk.Failed {
		t.Errorf("it was settled as %v", got)
	}
	r.Start()
	if err := r.Wait(); err == nil || !strings.Contains(err.Error(), "on_error is fail") {
		t.Errorf("the run ended with %v", err)
	}
}

// joinedScene has branches over queues that join before the keyed sinks.
func joinedScene(seed int64) *scene {
	s := newScene(int64(seed))
	s.world.Window = 400 // with tiny queues the blocks are small and many
	s.pipeline = `
drain_timeout: 5s
sources:
  in: {type: numbered, with: {rows: 40, beat: 40ms, straddle: STRADDLE, unfenced: UNFENCED}}
processors:
  - {id: stamp, type: stamp, with: {generation: GENERATION}}
  - {id: empties, type: empties}
  - {id: route, type: numbered_route, with: {run: 17}}
  - {id: left, type: slow, from: route.a, queue: {batches: 2}, with: {hold: true}}
  - {id: right, type: slow, from: route.b, lanes: 2, queue: {batches: 8}, with: {delay: 3ms}}
  - {id: join, type: slow, from: [left, right], lanes: LANES, queue: {batches: 3}}
sinks:
  a: {type: keyed_store, from: join, queue: {batches: 4}, batch: {rows: 150, age: 200ms}, retry: {initial: 20ms, max: 200ms}, with: {latency: 4ms, async: true}}
  b: {type: keyed_store, from: [join, route.a], batch: {rows: 90, age: 300ms}, retry: {initial: 20ms, max: 200ms}, with: {latency: 9ms}}
  files: {type: late_files, from: join, with: {rows: 3000, age: 1500ms}}
  dead: {type: dead_letters, from: errors}
`
	s.pipeline = strings.Replace(s.pipeline, "LANES", strconv.FormatInt(1+seed%3, 10), 1)
	return s
}

// The promise holds where branches over queues join, too: with kills, expelled members and chains that are swapped.
func TestJoinedBranchesLoseNothingWhenProcessesDie(t *testing.T) {
	for seed := range seeds(6) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := joinedScene(int64(seed))
				kept := s.keyed[1].Record
				// To b what goes left comes by two ways, in one block; what goes right must be there once.
				route := delivery.RouteConfig{Ports: []string{"a", "b"}, Run: 17}
				right := delivery.Want{Stores: []string{"b"}, Keyed: true, Record: func(r delivery.Record) bool { return kept(r) && route.Port(r.Number) == 1 }}
				s.keyed = s.keyed[:1]
				faults, tally := s.play(t)
				for _, f := range faults {
					t.Error(f)
				}
				if tally != nil {
					rep := delivery.Check(tally, right)
					if len(rep.Lost) > 0 || len(rep.Twice) > 0 {
						t.Errorf("b: %v", rep)
					}
				}
			})
		})
	}
}
