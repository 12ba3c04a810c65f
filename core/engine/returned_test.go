package engine

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirflow/weir/sdk/sdktest/delivery"
)

// What is held of a partition when its reader stops is counted as returned, under no reason of the processor's: nothing is lost, for the
// next owner reads it again. There it is delivered.
func TestWhatIsHeldOfAReturnedPartitionIsReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(1)
		s.world.Late, s.world.DownFor, s.world.Bad = 0, 0, 0
		s.pipeline = `
park: 1h
sources:
  in: {type: numbered, with: {rows: 40, beat: 40ms}}
processors:
  - {id: park, type: park, with: {every: 97, offset: 13, ticks: TICKS}}
sinks:
  a: {type: keyed_store, batch: {rows: 1000000, age: 1h}}
`
		pipeline := s.pipeline
		world := delivery.NewMemory(s.world)
		life := func(ticks string, wait time.Duration) (held int64, dropped map[string]uint64) {
			s.pipeline = strings.Replace(pipeline, "TICKS", ticks, 1)
			x, err := s.start(t, world, 1)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(wait)
			held = x.run.Report().Held
			x.run.Stop()
			if err := x.run.Wait(); err != nil {
				t.Error(err)
			}
			rep := balanced(t, x.run)
			if rep.Held != 0 {
				t.Errorf("%d are held at the end", rep.Held)
			}
			return held, rep.Dropped
		}
		held, dropped := life("1000000", 3*time.Second)
		if n := dropped["returned"]; held == 0 || n < uint64(held) || len(dropped) != 1 {
			t.Errorf("%d were held, and dropped are %v", held, dropped)
		}
		life("3", 2*time.Minute)
		tally, err := world.Tally(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if err := delivery.Check(tally, delivery.Want{Stores: []string{"a"}, Keyed: true, Record: func(delivery.Record) bool { return true }}).Err(); err != nil {
			t.Error(err)
		}
		if n := tally.Dropped.Times; len(n) > 0 {
			t.Errorf("records were told as dropped: %v", n)
		}
	})
}
