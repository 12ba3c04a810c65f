package engine

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/sdk"
)

// A run whose sources have ended waits for an optional sink no longer than drain_timeout, though nobody stops it: what the sink has
// not taken by then is dropped as stopped, and the required sink beside it has everything.
func TestAnOptionalSinkIsNotWaitedFor(t *testing.T) {
	for _, c := range []struct {
		name, with string
		within     time.Duration // a lane looks at its clock each second, or when a write is over: one that began before the end has a minute
	}{
		{"refuses each try", "fail: 1", 21 * time.Second},
		{"does not answer", "delay: 10m", writeDeadline + 22*time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStores()
				r, err := New(planned(t, `
drain_timeout: 20s
sources:
  in: {type: count, with: {rows: 100, ends: true}}
sinks:
  kept: {type: mem, with: {name: kept}}
  down: {type: mem, ack: optional, retry: {initial: 1s, max: 3s}, with: {name: down, `+c.with+`}}
`, countPlugin, workPlugin, s.plugin("mem", false, false)), Options{Dir: t.TempDir(), KillGrace: 10 * time.Second})
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				r.Start()
				select {
				case <-r.Done():
				case <-time.After(5 * time.Minute):
					r.Abort(errEnded)
					t.Error("the run waits for the optional sink")
				}
				if err := r.Wait(); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took < 20*time.Second || took > c.within {
					t.Errorf("it ended after %v, drain_timeout is 20s", took)
				}
				rep := balanced(t, r)
				dropped := map[string]map[string]uint64{}
				for _, n := range rep.Nodes {
					if len(n.Dropped) > 0 {
						dropped[n.ID] = n.Dropped
					}
				}
				if diff := cmp.Diff(map[string]map[string]uint64{"down": {string(sdk.ReasonStopped): 100}}, dropped); diff != "" {
					t.Errorf("dropped (-want +got):\n%s", diff)
				}
				if got := slices.Sorted(slices.Values(s.rows["kept"])); len(got) != 100 || got[99] != 99 {
					t.Errorf("the required sink has %v", got)
				}
			})
		})
	}
}
