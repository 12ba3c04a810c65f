package sdk

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// chosen draws some of rows, in their order.
func chosen(t *rapid.T, rows []uint16) []uint16 {
	some := []uint16{}
	of := rapid.SampledFrom([]int{0, 1, 50, 99, 100}).Draw(t, "percent")
	for _, r := range rows {
		if rapid.IntRange(1, 100).Draw(t, "chosen") <= of {
			some = append(some, r)
		}
	}
	return some
}

// copied is the same rows gathered by an explicit list, which is what everything that is done to a selection must agree with.
func copied(p *Pool, b *Batch, rows []uint16) *Batch {
	c := p.Get(b.Schema(), len(rows))
	NewGather(b.Schema(), b.Schema()).Append(c, b, rows, 0)
	c.Seal()
	return c
}

// Guarantees: a selection, a selection of one, a share of one, with fewer columns or all, one that owns its memory, its Arrow wrapping and
// what Append makes of it all show the same records as the same rows gathered, also when the batch they were chosen of has been let
// go and recycled, and the list that was given has been used for something else.
func TestSelectionsShowTheirRows(t *testing.T) {
	p := NewPool(nil)
	few := NewSchema(Field{Name: "c", Type: Name}, Field{Name: "b", Type: Bytes}, Field{Name: "new", Type: Uint32})
	rapid.Check(t, func(t *rapid.T) {
		dicts := []*Dict{NewDict(), NewDict()}
		b := drawBatch(t, p, abc, dicts)
		all := make([]uint16, b.Len())
		for i := range all {
			all[i] = uint16(i)
		}
		if rapid.Bool().Draw(t, "lent") {
			b.Lend(100, nil)
		}
		rows := chosen(t, all)
		v := b.Select(rows)
		if rapid.Bool().Draw(t, "composed") {
			rows = chosen(t, rows)
			w := v.Select(rows)
			release(v)
			v = w
		}
		c := copied(p, b, rows)
		want := content(c)
		if v.Rows() != len(rows) || v.Len() != b.Len() || cmp.Diff(rows, v.Selection()) != "" || v.Range() != b.Range() || v.Unique() {
			t.Fatalf("%d rows of %d: %d, %d, %v", len(rows), b.Len(), v.Rows(), v.Len(), v.Selection())
		}
		used := 0
		for _, x := range content(c)["b"] {
			used += len(x)
		}
		if got, held := v.Lent(); held > 0 && got != used {
			t.Fatalf("%d bytes of what is lent are used, it says %d", used, got)
		}
		release(b)
		release(c)
		for i := range rows {
			rows[i] = MaxRows - 1
		}
		again := drawBatch(t, p, abc, dicts) // would show in v if b had been recycled
		defer release(again)

		share := v.Share(nil, true)
		narrow := v.Share(few, true)
		for _, r := range narrow.Selection() {
			Claim[uint32](narrow, 2, 0, narrow.Len())[r] = 7
		}
		narrow.Seal()
		appended := p.Get(abc, v.Rows())
		NewGather(abc, abc).Append(appended, v, nil, v.Rows())
		appended.Seal()
		rec := v.Arrow()
		wrapped, err := FromArrow(p, abc, rec)
		if err != nil {
			t.Fatal(err)
		}
		rec.Release()
		owned := v.Share(nil, true)
		owned.Own()
		if owned.Views() || v.Views() && owned.IsShared() {
			t.Fatal("a selection that owns its values still looks into another's")
		}
		for name, x := range map[string]*Batch{"selection": v, "share": share, "appended": appended, "Arrow": wrapped, "owned": owned} {
			if d := cmp.Diff(want, content(x)); d != "" {
				t.Fatalf("%s (-gathered +this):\n%s", name, d)
			}
		}
		sevens := make([]string, v.Rows())
		for i := range sevens {
			sevens[i] = "7"
		}
		if d := cmp.Diff(map[string][]string{"": want[""], "b": want["b"], "c": want["c"], "new": sevens}, content(narrow)); d != "" {
			t.Fatalf("fewer columns (-want +got):\n%s", d)
		}
		release(v)
		for name, x := range map[string]*Batch{"share": share, "owned": owned} {
			if d := cmp.Diff(want, content(x)); d != "" {
				t.Fatalf("%s, when the selection is released (-gathered +this):\n%s", name, d)
			}
			release(x)
		}
		for _, x := range []*Batch{narrow, appended, wrapped} {
			release(x)
		}
	})
	if n := p.InUse(); n != 0 {
		t.Errorf("%d batches were not released", n)
	}
	if n := p.Held(); n != 0 {
		t.Errorf("%d bytes are held when all has been released", n)
	}
}

// Guarantees: what is promised of a batch is promised of a selection of it, and settled as the worst of both.
func TestSelectionIsSettled(t *testing.T) {
	p := NewPool(nil)
	b := sample(p, 10, NewDict())
	b.Root(Range{Partition: &Partition{Name: "p"}, First: 3, Last: 9})
	var heard []string
	b.Track(settled(func(r Range, o Outcome) { heard = append(heard, fmt.Sprint(r.First, r.Last, o)) }))
	v := b.Select([]uint16{1, 2})
	w := v.Select([]uint16{2})
	none := b.Select(nil)
	if none.Rows() != 0 || none.Selection() == nil || none.Len() != 10 {
		t.Errorf("nothing selected: %d rows of %d", none.Rows(), none.Len())
	}
	release(none)
	release(b)
	release(v)
	if len(heard) != 0 {
		t.Fatal("settled before its selection was")
	}
	w.Done(Failed)
	w.Release()
	if d := cmp.Diff([]string{"3 9 failed"}, heard); d != "" {
		t.Error("(-want +heard):", d)
	}
}

// Guarantees: a column that is claimed for the selected rows alone is zero in the others, whatever the memory held: a kernel over
// columns goes over them too.
func TestClaimedBesideASelectionIsZero(t *testing.T) {
	p := NewPool(unclean{})
	b := sample(p, 10, NewDict())
	v := b.Select([]uint16{4})
	s := v.Share(NewSchema(Field{Name: "n", Type: Name}), true)
	Claim[uint16](s, 0, 0, s.Len())[4] = 5
	if d := cmp.Diff([]uint16{0, 0, 0, 0, 5, 0, 0, 0, 0, 0}, Values[uint16](s, 0)); d != "" {
		t.Error("(-want +got):", d)
	}
	for _, x := range []*Batch{s, v, b} {
		release(x)
	}
}

// unclean is memory that was used before.
type unclean struct{ heap }

func (u unclean) Allocate(n int) []byte {
	b := u.heap.Allocate(n)
	for i := range b {
		b[i] = 0xDB
	}
	return b
}

// Guarantees: what cannot be right of a selection panics.
func TestSelectionsRefuse(t *testing.T) {
	for name, f := range map[string]func(p *Pool, b, v *Batch){
		"a row twice":                     func(p *Pool, b, v *Batch) { b.Select([]uint16{1, 1}) },
		"rows that descend":               func(p *Pool, b, v *Batch) { b.Select([]uint16{2, 1}) },
		"a row that is not there":         func(p *Pool, b, v *Batch) { b.Select([]uint16{10}) },
		"more rows than were selected":    func(p *Pool, b, v *Batch) { v.Select([]uint16{1, 2, 3}) },
		"SetRows":                         func(p *Pool, b, v *Batch) { v.SetRows(1) },
		"rows appended":                   func(p *Pool, b, v *Batch) { NewGather(abc, abc).Append(v, b, nil, 1) },
		"more appended than are selected": func(p *Pool, b, v *Batch) { NewGather(abc, abc).Append(p.Get(abc, 10), v, nil, 3) },
	} {
		t.Run(name, func(t *testing.T) {
			p := NewPool(nil)
			b := sample(p, 10, NewDict())
			v := b.Select([]uint16{1, 2})
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f(p, b, v)
		})
	}
}

// Guarantees: in a steady stream a selection costs no allocation, whatever its size, nor does one of one, nor a share of it.
func TestSelectionAllocates(t *testing.T) {
	p := NewPool(nil)
	b := sample(p, MaxRows, NewDict())
	half := make([]uint16, MaxRows/2)
	for i := range half {
		half[i] = uint16(2 * i)
	}
	root := settled(func(Range, Outcome) {})
	cycle := func() {
		in := b.Share(nil, false)
		in.Track(root)
		v := in.Select(half)
		release(in)
		w := v.Select(half[:100])
		release(v)
		s := w.Share(nil, true)
		release(w)
		release(s)
	}
	allocatesNothing(t, "a selection", cycle)
}

func BenchmarkSelect(b *testing.B) {
	for _, percent := range []int{5, 50, 95} {
		b.Run(fmt.Sprintf("keep=%d%%", percent), func(b *testing.B) {
			p := NewPool(nil)
			x := p.Get(wide(), MaxRows)
			fill(x, MaxRows)
			rows := make([]uint16, 0, MaxRows)
			for i := range MaxRows {
				if i*percent/100 != (i+1)*percent/100 {
					rows = append(rows, uint16(i))
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				release(x.Select(rows))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(rows)), "ns/record")
		})
	}
}

// Guarantees: rows pass if each is above the one before it, at every length.
func TestAscend(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.SliceOfN(rapid.Uint16(), 0, 40).Draw(t, "rows")
		if rapid.Bool().Draw(t, "sorted") {
			slices.Sort(rows)
		}
		want := true
		for i := 1; i < len(rows); i++ {
			want = want && rows[i-1] < rows[i]
		}
		if got := ascend(rows); got != want {
			t.Fatalf("%v ascend: %v", rows, got)
		}
	})
}
