package engine

// Lives of the world in which a rule of DESIGN 7 is needed: positions, plans whose ends are gone, and what has no segments.

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/sdktest/delivery"
)

// plannedWorld is one in which an earlier life has planned ends, and has stored the blocks before stored in a without that having
// been saved.
func plannedWorld(t *testing.T, cfg delivery.Config, stored int64, ends ...int64) *delivery.Memory {
	t.Helper()
	world := delivery.NewMemory(cfg)
	at, first := sdk.Position{Stored: -1}, int64(0)
	for _, last := range ends {
		at.Ends = append(at.Ends, sdk.End{Last: last, Sinks: 1})
		if last <= stored {
			w := delivery.Write{Store: "a", Key: fmt.Sprintf("test/a/in/%s/0/%d-%d", delivery.Topic, first, last)}
			for n := first; n <= last; n++ {
				w.Records = append(w.Records, delivery.Record{Number: uint64(n)})
			}
			must(world.Write(t.Context(), w))
		}
		first = last + 1
	}
	member := must(world.Join(t.Context()))
	value := must(at.AppendBinary(nil))
	if err := world.Commit(t.Context(), member, map[uint32]delivery.Committed{0: {Value: value}}); err != nil {
		t.Fatal(err)
	}
	world.Expel(member)
	return world
}

// stay wants all records in a but those that were compacted away before they were read.
func stay(gone [2]uint64) delivery.Want {
	return delivery.Want{Stores: []string{"a"}, Keyed: true, Record: func(r delivery.Record) bool { return r.Number < gone[0] || r.Number >= gone[1] }}
}

// endIsGone has a planned end, and the last records before it, compacted away: the next record ends the segment there.
func endIsGone(t *testing.T, _ int64, r rules) ([]string, *seen) {
	met, gone := &seen{}, [2]uint64{190, 210}
	world := plannedWorld(t, delivery.Config{Records: 2000, Rate: 100}, -1, 99, 199)
	w := &watched{Memory: world, seen: met, gone: gone}
	run := numberedRun(t, delivery.NewProcess(w), plain("rows: 40", "", "batch: {rows: 100, age: 300ms}"), Options{CPUs: 1, rules: r})
	run.Start()
	time.Sleep(10 * time.Second)
	faults := committedUpTo(700)(met, world)
	run.Stop()
	<-run.Done()
	met.ended(run.Report())
	return append(faults, wantsOf(t, world, stay(gone))...), met
}

// endIsGoneAtTheEnd has two ends compacted away where the input ends, after an earlier life stored the blocks.
func endIsGoneAtTheEnd(t *testing.T, _ int64, r rules) ([]string, *seen) {
	met := &seen{}
	world := plannedWorld(t, delivery.Config{Records: 300, Bounded: true}, 299, 99, 199, 299)
	w := &watched{Memory: world, seen: met, gone: [2]uint64{150, 300}}
	run := numberedRun(t, delivery.NewProcess(w), plain("rows: 40", "", "batch: {rows: 100, age: 300ms}"), Options{CPUs: 1, rules: r})
	run.Start()
	faults := until(run, time.Minute, met)
	met.tallied(must(world.Tally(t.Context())))
	return append(faults, wantsOf(t, world, delivery.Want{Stores: []string{"a"}, Keyed: true})...), met
}

// endIsGoneAndRevoked has it compacted away, and the partition is given up in the middle of the planned segment.
func endIsGoneAndRevoked(t *testing.T, _ int64, r rules) ([]string, *seen) {
	met, gone := &seen{}, [2]uint64{290, 310}
	world := plannedWorld(t, delivery.Config{Records: 1000, Bounded: true, Session: time.Second}, -1, 299)
	w := &watched{Memory: world, seen: met, gone: gone}
	slow := plain("rows: 40", "  - {id: again, type: slow, with: {delay: 50ms}}\n", "batch: {rows: 100, age: 300ms}")
	run := numberedRun(t, delivery.NewProcess(w), slow, Options{CPUs: 1, rules: r})
	run.Start()
	time.Sleep(180 * time.Millisecond) // three batches
	run.Stop()
	faults := until(run, time.Minute, met)
	run = numberedRun(t, delivery.NewProcess(w), slow, Options{CPUs: 1, rules: r})
	run.Start()
	faults = append(faults, until(run, time.Minute, met)...)
	return append(faults, wantsOf(t, world, stay(gone))...), met
}

// slowCommits has a broker that takes long for every second commit, and a process that is killed at some time.
func slowCommits(t *testing.T, seed int64, r rules) ([]string, *seen) {
	met := &seen{}
	world := delivery.NewMemory(delivery.Config{Records: 3000, Bounded: true, Session: 2 * time.Second, Rate: 600})
	w := &watched{Memory: world, seen: met, slow: func(nth uint64) time.Duration { return time.Duration(nth%2) * 150 * time.Millisecond }}
	text := func(rows int) string {
		return plain("rows: 20", "", fmt.Sprintf("batch: {rows: %d, age: 200ms}", rows))
	}
	p := delivery.NewProcess(w)
	run := numberedRun(t, p, text(20), Options{CPUs: 2, rules: r})
	run.Start()
	time.Sleep(2*time.Second + time.Duration(seed)*73*time.Millisecond)
	p.Kill()
	run.fail(delivery.ErrKilled)
	<-run.Done()
	met.ended(run.Report())
	run = numberedRun(t, delivery.NewProcess(w), text(90), Options{CPUs: 2, rules: r})
	run.Start()
	faults := until(run, 10*time.Minute, met)
	if met.atOnce > 1 {
		faults = append(faults, fmt.Sprintf("%d commits of one member were under way at a time", met.atOnce))
	}
	met.tallied(must(world.Tally(t.Context())))
	return append(faults, wantsOf(t, world, inA...)...), met
}

// savedTogether counts how often positions are saved: once for each cut, and a few times at its ends.
var savedTogether = one{
	world:    delivery.Config{Rate: 100},
	pipeline: plain("rows: 20", "", "batch: {rows: 50, age: 1h}, with: {latency: 150ms}"),
	stop:     15 * time.Second,
	look: func(met *seen, _ *delivery.Memory) []string {
		if n := met.blocks["a"]; met.saves > n+n/4 {
			return []string{fmt.Sprintf("too many saves: %d for %d blocks", met.saves, n)}
		}
		return nil
	},
}

// notesInTurn has a store that needs notes and never answers: one segment of it is prepared.
func notesInTurn(t *testing.T, _ int64, r rules) ([]string, *seen) {
	met := &seen{}
	world := delivery.NewMemory(delivery.Config{Records: 400, Bounded: true, Session: time.Second})
	n := &noted{notes: map[string][]byte{}, given: map[string][]byte{}, saved: func() []sdk.End { return nil }}
	p := delivery.NewProcess(&watched{Memory: world, seen: met})
	run, err := New(planned(t, `
drain_timeout: 1s
sources:
  in: {type: numbered, with: {rows: 40}}
processors:
  - {id: stamp, type: stamp}
sinks:
  n: {type: noted, in_flight: 8, batch: {rows: 100, age: 300ms}}
`, delivery.Source(p), delivery.Stamp, n.plugin()), Options{Dir: t.TempDir(), CPUs: 1, rules: r})
	if err != nil {
		t.Fatal(err)
	}
	run.Start()
	time.Sleep(3 * time.Second)
	p.Kill()
	run.fail(delivery.ErrKilled)
	<-run.Done()
	met.ended(run.Report())
	if said := len(n.notes); said > 1 {
		return []string{fmt.Sprintf("%d notes were said before the first block was settled", said)}, met
	}
	return nil, met
}

// swappedSoon asks for another chain while no cut is wanted for long.
func swappedSoon(t *testing.T, _ int64, r rules) ([]string, *seen) {
	met := &seen{}
	world := delivery.NewMemory(delivery.Config{Rate: 100})
	run := numberedRun(t, delivery.NewProcess(&watched{Memory: world, seen: met}), plain("rows: 40", "", "batch: {rows: 100000, age: 1h}"), Options{CPUs: 1, rules: r})
	run.Start()
	time.Sleep(2 * time.Second)
	var faults []string
	swapped, err := run.swapChains(run.sources[0].st, map[string]any{"stamp": &delivery.StampConfig{Generation: 2}})
	if err != nil {
		t.Fatal(err)
	}
	for _, done := range swapped {
		select {
		case <-done:
		case <-time.After(3 * time.Second):
			faults = append(faults, "not swapped after 3 s")
		}
	}
	run.Stop()
	<-run.Done()
	met.ended(run.Report())
	return append(faults, wantsOf(t, world, inA...)...), met
}

// firstHangs has a store that never answers the first write.
var firstHangs = one{
	world:    delivery.Config{Records: 1000, Bounded: true},
	pipeline: plain("rows: 40", "", "batch: {rows: 100, age: 300ms}"),
	hangs:    true,
}

// loose is a source without positions.
var loosePlugin = sdk.Plugin{
	Spec: sdk.Spec{Kind: sdk.KindSource, Type: "loose", Doc: "2,000 numbered records", Config: func() any { return &struct{}{} },
		Output: func(any, *sdk.Schema) ([]*sdk.Schema, error) { return []*sdk.Schema{delivery.Schema}, nil }, Slowable: true},
	Source: func(env *sdk.Env, _ any) (sdk.Source, error) { return &loose{env: env}, nil },
}

type loose struct {
	env      *sdk.Env
	accepted bool
	next     uint64
}

func (l *loose) Accept(context.Context) (sdk.Reader, error) {
	if l.accepted {
		return nil, io.EOF
	}
	l.accepted = true
	return l, nil
}
func (l *loose) Stop(context.Context) error  { return nil }
func (l *loose) Close(context.Context) error { return nil }
func (l *loose) Partition() *sdk.Partition   { return &sdk.Partition{Name: "loose"} }
func (l *loose) Ready() <-chan struct{}      { return nil }
func (l *loose) Read(context.Context, time.Duration) (*sdk.Batch, error) {
	if l.next == 2000 {
		return nil, io.EOF
	}
	b := l.env.NewBatch(l.env.Out[0], 40)
	for c, f := range b.Schema().Fields() {
		switch f.Name {
		case "number":
			for i := range 40 {
				sdk.Claim[uint64](b, c, i, 1)[0] = l.next + uint64(i)
			}
		case "partition":
			clear(sdk.Claim[uint32](b, c, 0, 40)) // all of partition 0
		}
	}
	b.SetRows(40)
	b.Seal()
	l.next += 40
	l.env.Books.Received.Add(40)
	return b, nil
}

// triedAgain has a store that stores many blocks after it seemed to have failed.
func triedAgain(t *testing.T, seed int64, r rules) ([]string, *seen) {
	met := &seen{}
	world := delivery.NewMemory(delivery.Config{Records: 2000, Late: 0.3, LateBy: 50 * time.Millisecond, Seed: uint64(seed)})
	run, err := New(planned(t, `
sources:
  in: {type: loose}
processors:
  - {id: stamp, type: stamp}
sinks:
  a: {type: keyed_store, batch: {rows: 100, age: 300ms}, retry: {initial: 100ms, max: 1s}}
`, loosePlugin, delivery.Stamp, delivery.Store(&watched{Memory: world, seen: met})), Options{Dir: t.TempDir(), rules: r})
	if err != nil {
		t.Fatal(err)
	}
	run.Start()
	faults := until(run, time.Minute, met)
	met.tallied(must(world.Tally(t.Context())))
	return append(faults, wantsOf(t, world, inA...)...), met
}

// replayed reads everything again, which is meant to be stored again.
func replayed(t *testing.T, _ int64, r rules) ([]string, *seen) {
	met := &seen{}
	world := delivery.NewMemory(delivery.Config{Records: 500, Bounded: true, Session: time.Second})
	var faults []string
	for _, epoch := range []string{"", ", epoch: again"} {
		member := must(world.Join(t.Context()))
		value := must((sdk.Position{Stored: -1}).AppendBinary(nil))
		if err := world.Commit(t.Context(), member, map[uint32]delivery.Committed{0: {Value: value}}); err != nil {
			t.Fatal(err)
		}
		world.Expel(member)
		run := numberedRun(t, delivery.NewProcess(&watched{Memory: world, seen: met}), plain("rows: 40", "", "batch: {rows: 100, age: 300ms}"+epoch), Options{CPUs: 1, rules: r})
		run.Start()
		faults = append(faults, until(run, time.Minute, met)...)
	}
	tally := must(world.Tally(t.Context()))
	met.tallied(tally)
	for n := range uint64(500) {
		if got := tally.Stores["a"].Of(delivery.Record{Number: n}); got != 2 {
			return append(faults, fmt.Sprintf("record %d was stored %d times, want 2", n, got)), met
		}
	}
	return faults, met
}

// told keeps the warnings of a run.
type told struct {
	slog.Handler
	mu   sync.Mutex
	said map[string]int
}

func (h *told) Enabled(context.Context, slog.Level) bool { return true }
func (h *told) WithAttrs([]slog.Attr) slog.Handler       { return h }
func (h *told) Handle(_ context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.said[r.Message]++
	return nil
}

// manyNotes has a store that needs long notes and one that is down: the ends of what the first has stored stay in the position, with their notes.
func manyNotes(t *testing.T, _ int64, r rules) ([]string, *seen) {
	met := &seen{}
	world := delivery.NewMemory(delivery.Config{Partitions: 2, Records: 620, Bounded: true, DownEvery: 30 * time.Second, DownFor: 25 * time.Second, Rate: 10})
	n := &noted{answers: true, long: true, notes: map[string][]byte{}, given: map[string][]byte{}, saved: func() []sdk.End { return nil }}
	log := &told{said: map[string]int{}}
	p := delivery.NewProcess(&watched{Memory: world, seen: met})
	run, err := New(planned(t, `
sources:
  in: {type: numbered, with: {rows: 1}}
processors:
  - {id: stamp, type: stamp}
sinks:
  a: {type: keyed_store, batch: {rows: 1, age: 1s}, retry: {initial: 100ms, max: 1s}}
  n: {type: noted, batch: {rows: 1, age: 1s}}
`, delivery.Source(p), delivery.Stamp, delivery.Store(p), n.plugin()), Options{Dir: t.TempDir(), CPUs: 1, rules: r, Log: slog.New(log)})
	if err != nil {
		t.Fatal(err)
	}
	run.Start()
	faults := until(run, 10*time.Minute, met)
	if times := log.said["positions could not be saved, trying again"]; times > 0 {
		faults = append(faults, fmt.Sprintf("positions could not be saved %d times", times))
	}
	met.tallied(must(world.Tally(t.Context())))
	return append(faults, wantsOf(t, world, inA...)...), met
}
