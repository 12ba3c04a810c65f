package engine

import (
	"context"
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
	late     uint64            // writes that seemed to fail
	dead     uint64            // records in the dead letters
	saves    uint64            // commits that the broker was asked for
	at       int               // of them, now under way
	atOnce   int               // most at a time
	blocks   map[string]uint64 // by store, that were written
	largest  int               // rows of a block
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
	slow   func(nth uint64) time.Duration // how long a commit is under way
	hangs  bool                           // the first write is never answered
	gone   [2]uint64                      // records from the first number on, before the second, are not there any more
	firsts map[uint32]uint64              // number of the record with which the first life of a partition began; under seen.mu
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
	w.seen.mu.Lock()
	w.seen.saves++
	w.seen.at++
	w.seen.atOnce = max(w.seen.atOnce, w.seen.at)
	slow := time.Duration(0)
	if w.slow != nil {
		slow = w.slow(w.seen.saves)
	}
	w.seen.mu.Unlock()
	time.Sleep(slow)
	defer func() {
		w.seen.mu.Lock()
		w.seen.at--
		w.seen.mu.Unlock()
	}()
	return w.Memory.Commit(ctx, member, positions)
}

func (w *watched) Write(ctx context.Context, x delivery.Write) (delivery.Written, error) {
	w.seen.mu.Lock()
	if w.seen.blocks == nil {
		w.seen.blocks = map[string]uint64{}
	}
	w.seen.blocks[x.Store]++
	hangs := w.hangs && w.seen.blocks[x.Store] == 1
	w.seen.largest = max(w.seen.largest, len(x.Records))
	w.seen.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return delivery.Written{}, ctx.Err()
	}
	return w.Memory.Write(ctx, x)
}

// Fetch answers as a broker does that has compacted its log: records of which nothing is kept are not there.
func (w *watched) Fetch(ctx context.Context, partition uint32, from, upto int64, most int) (delivery.Fetched, error) {
	f, err := w.Memory.Fetch(ctx, partition, from, upto, most)
	if err != nil || w.gone[1] == 0 {
		return f, err
	}
	switch cfg, _ := w.Config(ctx); {
	case f.First >= w.gone[0] && f.First < w.gone[1]:
		return w.Memory.Fetch(ctx, partition, cfg.Position(w.gone[1]), upto, most)
	case f.First < w.gone[0] && f.First+uint64(f.N) > w.gone[0]:
		f.N, f.Ended = int(w.gone[0]-f.First), false
	}
	return f, nil
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

// Every rule of §7 is there for something: without it records are lost or stored twice, or nothing goes on; with it the same lives
// go well, and the case for which it is there has come.
func TestEachRuleIsNeeded(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long with the race detector; the ordinary run has it")
	}
	for _, rule := range needed {
		t.Run(rule.says, func(t *testing.T) {
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
