package engine

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/sdktest/delivery"
)

// lifeOf starts a process of the world with sinks, and with a filter that lets nothing through if none is set.
func lifeOf(t *testing.T, world *delivery.Memory, sinks string, none bool) (*delivery.Process, *Run) {
	t.Helper()
	p := delivery.NewProcess(world)
	from := ""
	if none {
		from = "\n  - {id: none, type: empties, with: {run: 1000000, of: 2}}" // the first run is filtered
	}
	r, err := New(planned(t, `
drain_timeout: 1s
sources:
  in: {type: numbered, with: {rows: 40}}
processors:
  - {id: stamp, type: stamp}`+from+`
sinks:
`+sinks, delivery.Source(p), delivery.Stamp, delivery.Empties, delivery.Store(p), delivery.Files(p)), Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	r.Start()
	return p, r
}

func savedOf(t *testing.T, world *delivery.Memory) (int64, sdk.Position) {
	t.Helper()
	c, err := world.Committed(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	p, err := sdk.ParsePosition(c.Value)
	if err != nil {
		t.Fatal(err)
	}
	return c.Next, p
}

// What keyed sinks have stored is saved while a file that is not closed holds the offset back, and the next life does not write
// it again: it is dropped as stored before. Another set of keyed sinks voids that: then each of
// them gets all, the first one once more.
func TestWhatIsStoredIsSavedAndNotWrittenAgain(t *testing.T) {
	const files = "\n  files: {type: late_files, with: {rows: 1000000, age: 1h}}\n"
	const a = "  a: {type: keyed_store, batch: {rows: 100, age: 300ms}}"
	const b = "\n  b: {type: keyed_store, batch: {rows: 100, age: 300ms}}"
	for name, second := range map[string]string{"the same sinks": a, "one more": a + b} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				world := delivery.NewMemory(delivery.Config{Records: 1000, Bounded: true, Session: time.Second, Rate: 200})
				p, r := lifeOf(t, world, a+files, false)
				time.Sleep(3 * time.Second)
				p.Kill()
				r.fail(delivery.ErrKilled)
				<-r.Done()
				next, at := savedOf(t, world)
				if next != 0 || at.Stored < 100 {
					t.Fatalf("the next position is %d and stored is up to %d, want 0 and more than one block", next, at.Stored)
				}
				for _, e := range at.Ends {
					if e.Last <= at.Stored {
						t.Errorf("end %d is kept though all is stored up to %d", e.Last, at.Stored)
					}
				}

				_, r = lifeOf(t, world, second+files, false)
				<-r.Done()
				if err := r.Wait(); err != nil {
					t.Fatal(err)
				}
				rep := balanced(t, r)
				want := uint64(0)
				if second == a {
					want = uint64(at.Stored) + 1
				}
				if n := nodeDropped(rep, "a"); n != want {
					t.Errorf("a dropped %d records, want %d as stored before: %v", n, want, rep.Dropped)
				}
				if n := rep.Dropped[string(sdk.ReasonStoredBefore)]; n != want {
					t.Errorf("%d records were stored before, want %d", n, want)
				}
				tally, err := world.Tally(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				wants := []delivery.Want{{Stores: []string{"a"}, Keyed: second == a}, {Stores: []string{"files"}}}
				if second != a {
					wants = append(wants, delivery.Want{Stores: []string{"b"}, Keyed: true})
				}
				var errs []error
				for _, w := range wants {
					errs = append(errs, delivery.Check(tally, w).Err())
				}
				if err := errors.Join(errs...); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// A segment of which nothing reaches a sink is committed all the same, and nothing is prepared for it: else a group whose filter
// keeps nothing would read everything again after each restart.
func TestSegmentsWithoutRowsAreCommitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := delivery.NewMemory(delivery.Config{Records: 400, Session: time.Second})
		_, r := lifeOf(t, world, "  a: {type: keyed_store, batch: {rows: 100, age: 300ms}}\n", true)
		time.Sleep(10 * time.Second) // all is read; the source goes on waiting, and a crash now reads nothing again
		next, at := savedOf(t, world)
		if next != 400 || len(at.Ends) > 0 {
			t.Errorf("the next position is %d with %d prepared ends, want 400 and none", next, len(at.Ends))
		}
		r.Stop()
		<-r.Done()
		if err := r.Wait(); err != nil {
			t.Fatal(err)
		}
		if rep := balanced(t, r); rep.Filtered != 400 {
			t.Errorf("%d records were filtered, want 400", rep.Filtered)
		}
	})
}

// Records that reach no keyed sink, but a file, hold their offsets back until that is closed, wherever keyed sinks are cut.
func TestAFileHoldsOffsetsBackAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := delivery.NewMemory(delivery.Config{Records: 1000, Bounded: true, Session: time.Second, Rate: 200})
		const sinks = `  a: {type: keyed_store, batch: {rows: 100, age: 300ms}}
  files: {type: late_files, from: stamp, with: {rows: 1000000, age: 1h}}
`
		p, r := lifeOf(t, world, sinks, true)
		time.Sleep(3 * time.Second)
		if next, _ := savedOf(t, world); next != 0 {
			t.Errorf("the next position is %d while the file is open, want 0", next)
		}
		p.Kill()
		r.fail(delivery.ErrKilled)
		<-r.Done()
		_, r = lifeOf(t, world, sinks, true)
		<-r.Done()
		if err := r.Wait(); err != nil {
			t.Fatal(err)
		}
		balanced(t, r)
		tally, err := world.Tally(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := delivery.Check(tally, delivery.Want{Stores: []string{"files"}}).Err(); err != nil {
			t.Error(err)
		}
	})
}
