package filter

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"testing"

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

// records are those of a batch, in order, wherever its columns are.
func records(b *sdk.Batch) (all []record) {
	id, notes := sdk.Values[uint64](b, b.Schema().Index("id")), b.Bytes(b.Schema().Index("note"))
	names, dict := b.Names(b.Schema().Index("exporter_name"))
	rows := b.Selection()
	if rows == nil {
		for i := range b.Len() {
			rows = append(rows, uint16(i))
		}
	}
	for _, r := range rows {
		all = append(all, record{id[r], dict.Values()[names[r]], string(notes[r])})
	}
	return all
}

// Guarantees: of each batch, which may be a selection itself, what comes out is at most one batch, of the records that meet the
// condition, in order and with the batch's range; it is the batch itself if all of it is kept and no column goes. The books balance,
// and the promise is settled once: as what came of its records, or dropped if none of them is kept.
func TestFilter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pool := sdk.NewPool(nil)
		out := output
		if rapid.Bool().Draw(t, "same schema") {
			out = input
		}
		f, books := newFilter(t, "dst_port < 100", input, out, pool)
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		partition := &sdk.Partition{Name: "a"}
		dict := sdk.NewDict()
		var in, kept uint64
		for k := range rapid.IntRange(1, 8).Draw(t, "batches") {
			n := rapid.SampledFrom([]int{0, 1, 5, 63, 64, 65, 1000, sdk.MaxRows}).Draw(t, "rows")
			keep := rapid.SampledFrom([]int{0, 1, 50, 99, 100}).Draw(t, "percent kept")
			b := pool.Get(input, n)
			b.SetDict(2, dict)
			choose := rapid.Bool().Draw(t, "a selection")
			var chosen []uint16
			var want []record
			for i := range n {
				name, _ := dict.Intern([]string{"edge-1", "edge-2", "core-1"}[r.IntN(3)])
				id := uint64(k)<<32 | uint64(i)
				x := record{id, dict.Values()[name], strconv.FormatUint(id, 10)}
				port := uint16(r.IntN(1000) + 100)
				if r.IntN(100) < keep {
					port = uint16(r.IntN(100))
				}
				sdk.Claim[uint64](b, 0, i, 1)[0] = id
				sdk.Claim[uint16](b, 1, i, 1)[0] = port
				sdk.Claim[uint16](b, 2, i, 1)[0] = name
				b.SetBytes(3, i, []byte(x.Note))
				if choose && r.IntN(2) == 0 {
					continue
				}
				chosen = append(chosen, uint16(i))
				if port < 100 {
					want = append(want, x)
				}
			}
			b.SetRows(n)
			b.Seal()
			rng := sdk.Range{Partition: partition, First: int64(k), Last: int64(k)}
			b.Root(rng)
			s := &settled{}
			b.Track(s)
			if choose {
				b = replace(b, b.Select(chosen))
			}
			rows := b.Rows()
			in, kept = in+uint64(rows), kept+uint64(len(want))
			var o outlet
			if err := f.Process(b, &o); err != nil {
				t.Fatal(err)
			}
			wantSettled := settled{1, sdk.Delivered}
			if rows > 0 && len(want) == 0 {
				wantSettled.worst = sdk.Dropped
			}
			var got []record
			for _, x := range o.batches {
				if x.Schema() != out || x.Range() != rng {
					t.Fatalf("schema %v, range %v", x.Schema(), x.Range())
				}
				if whole := len(want) == rows && out == input; whole != (x == b) {
					t.Fatalf("%d of %d rows kept, and given out is the batch itself: %v", len(want), rows, x == b)
				}
				got = append(got, records(x)...)
				wantSettled.worst = sdk.Failed
				finish(x, sdk.Failed)
			}
			if diff := cmp.Diff(want, got); diff != "" || len(o.batches) > 1 {
				t.Fatalf("%d batches; records (-want +got):\n%s", len(o.batches), diff)
			}
			if diff := cmp.Diff(wantSettled, *s, cmp.AllowUnexported(settled{})); diff != "" {
				t.Fatalf("settled (-want +got):\n%s", diff)
			}
			if forwarded, filtered := books.Forwarded.Load(), books.Filtered.Load(); forwarded != kept || filtered != in-kept {
				t.Fatalf("%d of %d kept, forwarded %d, filtered %d", kept, in, forwarded, filtered)
			}
		}
		if n := pool.InUse(); n != 0 {
			t.Fatalf("%d batches were not released", n)
		}
	})
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
