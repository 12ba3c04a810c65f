package filter

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weirflow/weir/sdk"
)

// The input has a column that only the condition names; the output has not.
var (
	input = sdk.NewSchema(
		sdk.Field{Name: "id", Type: sdk.Uint64},
		sdk.Field{Name: "dst_port", Type: sdk.Uint16},
		sdk.Field{Name: "exporter_name", Type: sdk.Name},
		sdk.Field{Name: "note", Type: sdk.Text},
	)
	output = sdk.NewSchema(
		sdk.Field{Name: "id", Type: sdk.Uint64},
		sdk.Field{Name: "exporter_name", Type: sdk.Name},
		sdk.Field{Name: "note", Type: sdk.Text},
	)
)

// record is a row as the tests compare it.
type record struct {
	ID         uint64
	Name, Note string
}

// settled notes what its batch was settled with.
type settled struct {
	times int
	worst sdk.Outcome
}

func (s *settled) Settled(_ sdk.Range, worst sdk.Outcome) { s.times, s.worst = s.times+1, worst }

// outlet collects what a processor gives out.
type outlet struct{ batches []*sdk.Batch }

func (o *outlet) Emit(port int, b *sdk.Batch) { o.batches = append(o.batches, b) }
func (o *outlet) Error(*sdk.Batch, sdk.Fault) { panic("filter refuses no record") }

func newFilter(t interface{ Fatal(...any) }, when sdk.Expr, in, out *sdk.Schema, pool *sdk.Pool) (*filter, *sdk.Books) {
	books := &sdk.Books{}
	p, err := Plugin.Processor(&sdk.Env{Pool: pool, Books: books, In: in, Out: []*sdk.Schema{out}}, &Config{When: when})
	if err != nil {
		t.Fatal(err)
	}
	return p.(*filter), books
}

// Guarantees: what comes out is what meets the condition, in order, partition by partition, in full batches or when asked for; the
// books balance after every call; every promise is settled once, as failed exactly if a row of it was in a batch that failed; a
// batch's range covers its rows.
func TestFilter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pool := sdk.NewPool(nil)
		out := output
		if rapid.Bool().Draw(t, "same schema") {
			out = input
		}
		f, books := newFilter(t, "dst_port < 100", input, out, pool)
		partitions := []*sdk.Partition{nil, {Name: "a"}, {Name: "b"}}
		exporters := []string{"edge-1", "edge-2", "core-1"}
		dicts := []*sdk.Dict{sdk.NewDict(), sdk.NewDict()}
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))

		want, got := map[*sdk.Partition][]record{}, map[*sdk.Partition][]record{}
		var roots []*settled
		rootOf := []*settled{nil} // by id
		failed := map[*settled]bool{}
		rows, kept := map[*settled]int{}, map[*settled]bool{}
		var in, outs, id uint64
		var unsettled []*sdk.Batch
		settle := func(b *sdk.Batch, o sdk.Outcome) {
			if o == sdk.Failed {
				for _, i := range sdk.Values[uint64](b, b.Schema().Index("id")) {
					failed[rootOf[i]] = true
				}
			}
			finish(b, o)
		}
		check := func(o *outlet, what string) {
			for _, b := range o.batches {
				outs += uint64(b.Rows())
				if b.Schema() != out {
					t.Fatalf("%s: schema %v", what, b.Schema())
				}
				p := b.Range().Partition
				names, dict := b.Names(b.Schema().Index("exporter_name"))
				notes := b.Bytes(b.Schema().Index("note"))
				for i, id := range sdk.Values[uint64](b, b.Schema().Index("id")) {
					if p != nil && (int64(id) < b.Range().First || int64(id) > b.Range().Last) {
						t.Fatalf("%s: row %d outside of %v", what, id, b.Range())
					}
					got[p] = append(got[p], record{id, dict.Values()[names[i]], string(notes[i])})
				}
				unsettled = append(unsettled, b)
			}
			forwarded, filtered, open := books.Forwarded.Load(), books.Filtered.Load(), uint64(books.Open.Load())
			if in != forwarded+filtered || outs+open != forwarded {
				t.Fatalf("%s: in %d, forwarded %d, filtered %d, outs %d, open %d", what, in, forwarded, filtered, outs, open)
			}
			for _, b := range slices.Clone(unsettled) {
				if r.IntN(2) == 0 {
					unsettled = slices.DeleteFunc(unsettled, func(x *sdk.Batch) bool { return x == b })
					settle(b, []sdk.Outcome{sdk.Delivered, sdk.Delivered, sdk.Failed}[r.IntN(3)])
				}
			}
		}

		t.Repeat(map[string]func(*rapid.T){
			"process": func(t *rapid.T) {
				n := rapid.SampledFrom([]int{0, 1, 5, 50, 200, 1000, sdk.MaxRows}).Draw(t, "rows")
				keep := rapid.SampledFrom([]int{0, 1, 50, 99, 100}).Draw(t, "percent kept")
				p := rapid.SampledFrom(partitions).Draw(t, "partition")
				b := pool.Get(input, n)
				s := &settled{}
				roots, rows[s] = append(roots, s), n
				dict := dicts[r.IntN(2)]
				b.SetDict(2, dict)
				first := id
				for i := range n {
					id++
					rootOf = append(rootOf, s)
					name, _ := dict.Intern(exporters[r.IntN(3)])
					note := strconv.FormatUint(id, 10)
					port := uint16(r.IntN(1000) + 100)
					if r.IntN(100) < keep {
						port = uint16(r.IntN(100))
						want[p] = append(want[p], record{id, dict.Values()[name], note})
						kept[s] = true
					}
					sdk.Claim[uint64](b, 0, i, 1)[0] = id
					sdk.Claim[uint16](b, 1, i, 1)[0] = port
					sdk.Claim[uint16](b, 2, i, 1)[0] = name
					b.SetBytes(3, i, []byte(note))
				}
				b.SetRows(n)
				b.Seal()
				b.Root(sdk.Range{Partition: p, First: int64(first), Last: int64(id)})
				b.Track(s)
				in += uint64(n)
				var o outlet
				if err := f.Process(b, &o); err != nil {
					t.Fatal(err)
				}
				check(&o, "process")
			},
			"tick": func(t *rapid.T) {
				var o outlet
				blocked := rapid.Bool().Draw(t, "blocked")
				if _, err := f.Tick(time.Time{}, blocked, &o); err != nil {
					t.Fatal(err)
				}
				for _, b := range o.batches {
					if p := b.Range().Partition; blocked || p != nil {
						t.Fatalf("a tick gave out rows of %v (blocked: %v)", p, blocked)
					}
				}
				if !blocked && f.find(nil) >= 0 {
					t.Fatal("rows without a partition stay after a tick")
				}
				check(&o, "tick")
			},
			"flush": func(t *rapid.T) {
				p := rapid.SampledFrom(partitions).Draw(t, "partition")
				var o outlet
				if held, _, err := f.Flush(p, rapid.Bool().Draw(t, "force"), &o); held != 0 || err != nil {
					t.Fatal(held, err)
				}
				if f.find(p) >= 0 {
					t.Fatal("a flush left rows")
				}
				check(&o, "flush")
			},
		})
		var o outlet
		if more, err := f.Drain(sdk.InputEnded, true, &o); more || err != nil {
			t.Fatal(more, err)
		}
		check(&o, "drain")
		for _, b := range unsettled {
			settle(b, sdk.Delivered)
		}
		if err := f.Close(); err != nil || books.Open.Load() != 0 {
			t.Fatal(err, books.Open.Load())
		}
		if n := pool.InUse(); n != 0 {
			t.Fatalf("%d batches were not released", n)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("records (-want +got):\n%s", diff)
		}
		for _, s := range roots {
			worst := sdk.Delivered
			switch {
			case failed[s]:
				worst = sdk.Failed
			case rows[s] > 0 && !kept[s]:
				worst = sdk.Dropped
			}
			if diff := cmp.Diff(settled{1, worst}, *s, cmp.AllowUnexported(settled{})); diff != "" {
				t.Fatalf("settled (-want +got):\n%s", diff)
			}
		}
	})
}

// Guarantees: a hundred partitions that trickle hold a hundred small batches, and no call gives out more than four.
func TestTricklingPartitions(t *testing.T) {
	pool := sdk.NewPool(nil)
	f, books := newFilter(t, "dst_port < 100", input, input, pool)
	var o outlet
	for i := range 100 {
		p := &sdk.Partition{Name: fmt.Sprint(i)}
		for range 3 {
			b := pool.Get(input, 2)
			sdk.Claim[uint16](b, 1, 0, 2)[1] = 500
			b.SetRows(2)
			b.Root(sdk.Range{Partition: p})
			b.Seal()
			if err := f.Process(b, &o); err != nil {
				t.Fatal(err)
			}
		}
	}
	held := 0
	for _, x := range f.open {
		held += x.b.Held()
	}
	if len(f.open) != 100 || books.Open.Load() != 300 || held > 100*(256*input.RowBytes()+1024) {
		t.Errorf("%d open batches with %d rows hold %d bytes", len(f.open), books.Open.Load(), held)
	}
	calls := 0
	for more := true; more; calls++ {
		before := len(o.batches)
		if _, more, _ = f.Flush(nil, true, &o); len(o.batches)-before > maxOut {
			t.Fatalf("%d batches in one call", len(o.batches)-before)
		}
	}
	if calls != 25 || len(o.batches) != 100 {
		t.Errorf("%d calls gave out %d batches", calls, len(o.batches))
	}
	for _, b := range o.batches {
		finish(b, sdk.Delivered)
	}
}

// Guarantees: a batch that grew and then was cut short is given out in the smallest size that holds it.
func TestBatchesFitTheirRows(t *testing.T) {
	pool := sdk.NewPool(nil)
	f, _ := newFilter(t, "dst_port < 100", input, input, pool)
	for _, rows := range []int{1, 300, 1500} {
		var o outlet
		b := pool.Get(input, sdk.MaxRows)
		ports := sdk.Claim[uint16](b, 1, 0, sdk.MaxRows)
		for i := range ports {
			ports[i] = 500
			if i < rows {
				ports[i] = 1
			}
		}
		b.SetRows(sdk.MaxRows)
		b.Seal()
		if err := f.Process(b, &o); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Tick(time.Time{}, false, &o); err != nil {
			t.Fatal(err)
		}
		if len(o.batches) != 1 || o.batches[0].Rows() != rows || o.batches[0].Size() != sdk.SizeClass(rows) {
			t.Fatalf("%d rows: %d batches", rows, len(o.batches))
		}
		finish(o.batches[0], sdk.Delivered)
	}
}

// Guarantees: long payloads do not pile up until a batch has all its rows.
func TestLongPayloads(t *testing.T) {
	pool := sdk.NewPool(nil)
	f, _ := newFilter(t, "exporter_port == 1", sdk.Datagram, sdk.Datagram, pool)
	payload := make([]byte, 60000)
	var o outlet
	rows := 0
	for range 20 {
		b := pool.Get(sdk.Datagram, 100)
		for i := range 100 {
			b.SetView(sdk.DatagramPayload, i, payload)
			sdk.Claim[uint16](b, sdk.DatagramExporterPort, i, 1)[0] = uint16(i & 1)
		}
		b.SetRows(100)
		b.Seal()
		if err := f.Process(b, &o); err != nil {
			t.Fatal(err)
		}
		for _, x := range f.open {
			if x.b.Held() > f.limit(x.b) {
				t.Fatalf("an open batch holds %d bytes", x.b.Held())
			}
		}
	}
	if _, err := f.Drain(sdk.InputEnded, true, &o); err != nil {
		t.Fatal(err)
	}
	for _, b := range o.batches {
		rows += b.Rows()
		finish(b, sdk.Delivered)
	}
	if rows != 1000 || len(o.batches) < 5 {
		t.Errorf("%d rows in %d batches", rows, len(o.batches))
	}
}

// Guarantees: rows that a failed pipeline leaves in the filter are settled as failed, so that their source reads them again.
func TestCloseWithoutDrain(t *testing.T) {
	pool := sdk.NewPool(nil)
	f, _ := newFilter(t, "dst_port < 100", input, input, pool)
	b := pool.Get(input, 2)
	sdk.Claim[uint16](b, 1, 0, 2)[1] = 500
	b.SetRows(2)
	b.Seal()
	var s settled
	b.Track(&s)
	if err := f.Process(b, &outlet{}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if s != (settled{1, sdk.Failed}) {
		t.Errorf("settled %+v", s)
	}
}

// Guarantees: the specification names the columns that a condition needs, and finds its faults with their places.
func TestSpec(t *testing.T) {
	c := &Config{When: `exporter_name == "a" and dst_prt == 53`}
	got := Plugin.Spec.Needs(c, input, [][]string{{"id", "exporter_name"}})
	if diff := cmp.Diff([]string{"id", "exporter_name", "dst_prt"}, got); diff != "" {
		t.Errorf("needs (-want +got):\n%s", diff)
	}
	ps, _ := errors.AsType[sdk.Problems](Plugin.Spec.Input(c, input))
	want := sdk.Problems{{Path: "when", Offset: 25, Code: "E401", Message: "no column `dst_prt`", Help: "did you mean `dst_port`?"}}
	if diff := cmp.Diff(want, ps); diff != "" {
		t.Errorf("input (-want +got):\n%s", diff)
	}
	if err := c.Validate(); err != nil {
		t.Errorf("columns are checked before there is a schema: %v", err)
	}
	if ps, _ := errors.AsType[sdk.Problems]((&Config{When: "bytes >"}).Validate()); len(ps) != 1 || ps[0].Path != "when" {
		t.Errorf("a broken condition: %v", ps)
	}
	if c.Condition() != c.When {
		t.Error("the condition to push is another one")
	}
}
