package delivery_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/sdktest"
	"github.com/weirflow/weir/sdk/sdktest/delivery"
)

func TestPositionsAndNumbersAreInverse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := delivery.Config{Gaps: rapid.Bool().Draw(t, "gaps")}
		n := rapid.Uint64Range(0, 1<<40).Draw(t, "number")
		p := c.Position(n)
		if got := c.NumberAt(p); got != n {
			t.Fatalf("record %d is at %d, where the first record is %d", n, p, got)
		}
		if got := c.NumberAt(p + 1); got != n+1 {
			t.Fatalf("the first record after %d is %d, want %d", p, got, n+1)
		}
	})
}

// write stores records from..to of partition 0 under a key.
func write(t *testing.T, b delivery.Broker, key string, from, to uint64) (delivery.Written, error) {
	t.Helper()
	w := delivery.Write{Store: "a", Key: key}
	for n := from; n < to; n++ {
		w.Records = append(w.Records, delivery.Record{Number: n})
	}
	return b.Write(context.Background(), w)
}

func TestStoreKnowsKeysWithinItsWindow(t *testing.T) {
	b := delivery.NewMemory(delivery.Config{Records: 100, Window: 2})
	for _, s := range []struct {
		key   string
		again bool
	}{{"1", false}, {"1", true}, {"2", false}, {"1", true}, {"3", false}, {"1", false}, {"", false}, {"", false}} {
		got, err := write(t, b, s.key, 0, 1)
		if err != nil || got.Again != s.again {
			t.Errorf("block %q: known %v (%v), want %v", s.key, got.Again, err, s.again)
		}
	}
	tally, err := b.Tally(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := tally.Stores["a"].Of(delivery.Record{}); n != 6 {
		t.Errorf("stored %d times, want 6", n)
	}
}

func TestStoreIsLateDownAndRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := delivery.NewMemory(delivery.Config{Records: 100, Late: 1, LateBy: time.Second})
		if _, err := write(t, late, "k", 0, 1); !errors.Is(err, delivery.ErrLate) {
			t.Errorf("a late write: %v", err)
		}
		time.Sleep(2 * time.Second)
		// It has landed meanwhile: the same block is known.
		if _, err := write(t, late, "k", 0, 1); !errors.Is(err, delivery.ErrLate) {
			t.Errorf("a late write: %v", err)
		}
		tally, err := late.Tally(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := tally.Stores["a"].Of(delivery.Record{}); got != 1 || tally.Again["a"] != 1 {
			t.Errorf("stored %d times, met again %d times, want once each", got, tally.Again["a"])
		}

		down := delivery.NewMemory(delivery.Config{Records: 100, DownEvery: 10 * time.Second, DownFor: time.Second})
		for _, s := range []struct {
			wait time.Duration
			want error
		}{{0, nil}, {9500 * time.Millisecond, delivery.ErrDown}, {time.Second, nil}} {
			time.Sleep(s.wait)
			if _, err := write(t, down, "", 0, 1); !errors.Is(err, s.want) {
				t.Errorf("after %v: %v, want %v", s.wait, err, s.want)
			}
		}

		bad := delivery.NewMemory(delivery.Config{Records: 100, Bad: 10})
		got, err := write(t, bad, "k", 0, 30)
		if err != nil || !cmp.Equal(got.Bad, []int{7, 17, 27}) {
			t.Errorf("bad rows %v (%v), want 7, 17, 27", got.Bad, err)
		}
		if tally, _ := bad.Tally(t.Context()); tally.Stores["a"].Blocks != 0 {
			t.Error("a block with bad rows was stored")
		}
	})
}

func TestRecordsAppearAtTheirRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := delivery.NewMemory(delivery.Config{Partitions: 2, Records: 25, Rates: []float64{10, 1}, Bounded: true})
		var got []delivery.Fetched
		for range 4 {
			f, err := b.Fetch(t.Context(), 0, 5, -1, 100)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, f)
			time.Sleep(time.Second)
		}
		want := []delivery.Fetched{{First: 5}, {First: 5, N: 5}, {First: 5, N: 15}, {First: 5, N: 20, Ended: true}}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("fetched (-want +got):\n%s", d)
		}
		if f, err := b.Fetch(t.Context(), 1, 0, -1, 100); err != nil || f.N != 4 {
			t.Errorf("%d records of the slow partition after 4 s (%v), want 4", f.N, err)
		}
		if f, err := b.Fetch(t.Context(), 0, 5, 7, 100); err != nil || f.N != 3 {
			t.Errorf("%d records from 5 up to position 7 (%v), want 3", f.N, err)
		}
	})
}

// The check tells apart what a record can come to.
func TestCheck(t *testing.T) {
	b := delivery.NewMemory(delivery.Config{Records: 10})
	rec := func(ns ...uint64) (rs []delivery.Record) {
		for _, n := range ns {
			rs = append(rs, delivery.Record{Number: n})
		}
		return rs
	}
	put := func(w delivery.Write) {
		if _, err := b.Write(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	put(delivery.Write{Store: "a", Key: "1", Records: rec(0, 1, 2)})
	put(delivery.Write{Store: "a", Key: "1", Records: rec(0, 1, 2)}) // known
	put(delivery.Write{Store: "a", Key: "2", Records: rec(2)})       // 2 is twice
	put(delivery.Write{Store: "a", Key: "3", Records: rec(9), Mixed: true})
	put(delivery.Write{Store: "a", Dead: true, Records: rec(3, 3)})
	put(delivery.Write{Store: "b", Dead: true, Records: rec(5)}) // another sink's
	if err := b.Dropped(t.Context(), rec(4, 1)); err != nil {    // 1 was stored in another life
		t.Fatal(err)
	}
	m := join(t, b)
	if err := b.Commit(t.Context(), m, map[uint32]delivery.Committed{0: {Next: 6, Value: []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	tally, err := b.Tally(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := delivery.Check(tally, delivery.Want{Stores: []string{"a"}, Keyed: true})
	got.Want = delivery.Want{}
	want := delivery.Report{Records: 6, Stored: 4, Dead: 1, Dropped: 1, Lost: rec(5), Twice: rec(2), DeadTwice: rec(3), Mixed: 1}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("report (-want +got):\n%s", d)
	}
	if got.Err() == nil {
		t.Error("a report of what was lost and stored twice has no error")
	}
	even := delivery.Check(tally, delivery.Want{Stores: []string{"a", "b"}, Record: func(r delivery.Record) bool { return r.Number%2 == 0 }})
	if d := cmp.Diff(rec(1, 9), even.Strays); d != "" {
		t.Errorf("records where they should not be (-want +got):\n%s", d)
	}
}

// What park drops at a forced cut is told to the world, so that it is not counted as lost.
func TestParkTellsWhatItDrops(t *testing.T) {
	b := delivery.NewMemory(delivery.Config{Records: 1000})
	env := sdktest.Env(t, sdktest.WithIn(delivery.Schema), sdktest.WithOut(delivery.Schema))
	p := delivery.Park(b)
	proc, err := p.Processor(env, &delivery.ParkConfig{Every: 10, Offset: 3, Ticks: 5})
	if err != nil {
		t.Fatal(err)
	}
	in := env.NewBatch(delivery.Schema, 25)
	for i := range uint64(25) {
		sdk.Claim[uint64](in, delivery.ColNumber, int(i), 1)[0] = i
	}
	in.SetRows(25)
	in.Seal()
	part := &sdk.Partition{Name: "p"}
	in.Root(sdk.Range{Partition: part, First: 0, Last: 24})
	out := &taken{}
	if err := proc.Process(in, out); err != nil {
		t.Fatal(err)
	}
	if held, _, err := proc.Flush(part, false, out); err != nil || held != 3 || out.rows != 22 {
		t.Fatalf("a flush without force: held %d (%v), gave out %d, want 3 and 22", held, err, out.rows)
	}
	if held, _, err := proc.Flush(part, true, out); err != nil || held != 0 || out.rows != 22 {
		t.Fatalf("a forced flush: held %d (%v), gave out %d in all, want 0 and 22", held, err, out.rows)
	}
	tally, err := b.Tally(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([][]uint8{{3: 1, 13: 1, 23: 1}}, tally.Dropped.Times); d != "" {
		t.Errorf("told as dropped (-want +got):\n%s", d)
	}
	if n := env.Pool.InUse(); n != 0 {
		t.Errorf("%d batches were not released", n)
	}
}

// taken counts and gives back what a processor gives out.
type taken struct{ rows int }

func (o *taken) Emit(_ int, b *sdk.Batch) {
	o.rows += b.Rows()
	b.Done(sdk.Delivered)
	b.Release()
}

func (o *taken) Error(*sdk.Batch, sdk.Fault) { panic("no record is refused here") }

// letters fills a batch of `errors` with dead letters of one node: Arrow IPC of the refused rows.
func letters(pool *sdk.Pool, rs ...delivery.Record) *sdk.Batch {
	rows := pool.Get(delivery.Schema, len(rs))
	for i, r := range rs {
		sdk.Claim[uint32](rows, delivery.ColPartition, i, 1)[0] = r.Partition
		sdk.Claim[uint64](rows, delivery.ColNumber, i, 1)[0] = r.Number
	}
	rows.SetRows(len(rs))
	rows.Seal()
	rec := rows.Arrow()
	var buf bytes.Buffer
	w := ipc.NewWriter(&buf, ipc.WithSchema(rec.Schema()))
	if err := errors.Join(w.Write(rec), w.Close()); err != nil {
		panic(err)
	}
	rec.Release()
	rows.Done(sdk.Delivered)
	rows.Release()

	b := pool.Get(sdk.Errors, 1)
	d := sdk.NewDict()
	i, _ := d.Intern("a")
	b.SetDict(sdk.ErrorsNode, d)
	sdk.Claim[uint16](b, sdk.ErrorsNode, 0, 1)[0] = i
	b.SetBytes(sdk.ErrorsPayload, 0, buf.Bytes())
	b.SetRows(1)
	b.Seal()
	return b
}

func TestDeadLettersAreStoredByNumber(t *testing.T) {
	world := delivery.NewMemory(delivery.Config{Partitions: 3, Records: 100})
	p := delivery.DeadLetters(world)
	sink, err := p.Sink(sdktest.Env(t, sdktest.WithIn(sdk.Errors)), nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err := sink.Open(t.Context(), sdk.Errors)
	if err != nil {
		t.Fatal(err)
	}
	b := letters(sdk.NewPool(nil), delivery.Record{Partition: 1, Number: 7}, delivery.Record{Partition: 2, Number: 9})
	var got error = errors.New("not done")
	if err := w.Write(t.Context(), &sdk.Block{Batches: []*sdk.Batch{b}, Rows: 1}, func(err error) { got = err }); err != nil || got != nil {
		t.Fatalf("write: %v, done: %v", err, got)
	}
	tally, err := world.Tally(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([][]uint8{nil, {7: 1}, {9: 1}}, tally.Dead["a"].Times); d != "" {
		t.Errorf("dead letters (-want +got):\n%s", d)
	}
}

// A file that is not closed is lost with its process; one that is, by age, is not.
func TestFilesSettleLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := delivery.NewMemory(delivery.Config{Records: 1000})
		process := delivery.NewProcess(world)
		p := delivery.Files(process)
		sink, err := p.Sink(sdktest.Env(t, sdktest.WithIn(delivery.Schema), sdktest.WithNode("test", "f", 0)), &delivery.FilesConfig{Rows: 1000, Age: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		w, err := sink.Open(t.Context(), delivery.Schema)
		if err != nil {
			t.Fatal(err)
		}
		pool := sdk.NewPool(nil)
		var mu sync.Mutex
		var settled []error
		seen := func() []error {
			mu.Lock()
			defer mu.Unlock()
			return settled
		}
		put := func(n uint64) {
			b := pool.Get(delivery.Schema, 1)
			sdk.Claim[uint64](b, delivery.ColNumber, 0, 1)[0] = n
			b.SetRows(1)
			b.Seal()
			if err := w.Write(t.Context(), &sdk.Block{Batches: []*sdk.Batch{b}, Rows: 1}, func(err error) {
				mu.Lock()
				defer mu.Unlock()
				settled = append(settled, err)
			}); err != nil {
				t.Fatal(err)
			}
		}
		put(1)
		time.Sleep(900 * time.Millisecond)
		put(2)
		if n := len(seen()); n != 0 {
			t.Errorf("%d blocks are settled before the file is closed", n)
		}
		time.Sleep(200 * time.Millisecond)
		synctest.Wait()
		if got := seen(); len(got) != 2 || got[0] != nil || got[1] != nil {
			t.Errorf("settled %v when the file is old enough, want two without an error", got)
		}
		put(3)
		process.Kill()
		if err := w.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := seen(); len(got) != 3 || got[2] == nil {
			t.Errorf("the block of a killed process was settled %v", got)
		}
		tally, err := world.Tally(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff([][]uint8{{1: 1, 2: 1}}, tally.Stores["f"].Times); d != "" {
			t.Errorf("stored (-want +got):\n%s", d)
		}
	})
}
