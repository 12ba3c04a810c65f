package sdk

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

type settled func(Range, Outcome)

func (f settled) Settled(r Range, o Outcome) { f(r, o) }

var abc = NewSchema(Field{Name: "a", Type: Uint32}, Field{Name: "b", Type: Bytes}, Field{Name: "c", Type: Name}, Field{Name: "d", Type: Addr})

// Whatever is claimed in whatever order, in a batch that held something before, a row that nobody wrote is zero.
func TestUnwrittenRowsAreZero(t *testing.T) {
	p := NewPool(nil)
	s := NewSchema(Field{Name: "a", Type: Uint32}, Field{Name: "b", Type: Bytes}, Field{Name: "c", Type: Uint8})
	rapid.Check(t, func(t *rapid.T) {
		b := p.Get(s, 200)
		var a, c []string
		var v []string
		rows := 0
		for range rapid.IntRange(0, 6).Draw(t, "pieces") {
			n := rapid.IntRange(0, 12).Draw(t, "rows")
			write := rapid.IntRange(0, 7).Draw(t, "columns")
			kept := rapid.IntRange(0, n).Draw(t, "kept") // the rest of what was claimed is given up again
			for k := range n {
				x := rapid.IntRange(1, 200).Draw(t, "x")
				cell := func(bit int) string {
					if write&bit == 0 {
						return ""
					}
					return fmt.Sprint(x)
				}
				if k < kept {
					a, v, c = append(a, cell(1)), append(v, cell(2)), append(c, cell(4))
				}
				if write&1 != 0 {
					Claim[uint32](b, 0, rows+k, 1)[0] = uint32(x)
				}
				if write&2 != 0 {
					b.SetBytes(1, rows+k, fmt.Append(nil, x))
				}
				if write&4 != 0 {
					Claim[uint8](b, 2, rows+k, 1)[0] = uint8(x)
				}
			}
			rows += kept
			b.SetRows(rows)
		}
		b.Seal()
		text := func(x any) string {
			if s := fmt.Sprint(x); s != "0" {
				return s
			}
			return ""
		}
		var ga, gv, gc []string
		for k := range rows {
			ga, gv, gc = append(ga, text(Values[uint32](b, 0)[k])), append(gv, string(b.Bytes(1)[k])), append(gc, text(Values[uint8](b, 2)[k]))
		}
		if d := cmp.Diff([][]string{a, v, c}, [][]string{ga, gv, gc}); d != "" {
			t.Fatal("(-written +read):", d)
		}
		release(b)
	})
}

func sample(p *Pool, rows int, d *Dict) *Batch {
	b := p.Get(abc, rows)
	x, _ := d.Intern("edge")
	b.SetRows(rows)
	for k := range rows {
		Claim[uint32](b, 0, k, 1)[0] = uint32(k)
		b.SetBytes(1, k, fmt.Append(nil, "value ", k))
		Claim[uint16](b, 2, k, 1)[0] = x * uint16(k%2)
	}
	b.SetDict(2, d)
	b.Seal()
	return b
}

// A shared batch shows the same rows, holds its base, and settles on its own.
func TestShare(t *testing.T) {
	p := NewPool(nil)
	b := sample(p, 10, NewDict())
	var heard []Outcome
	b.Track(settled(func(_ Range, o Outcome) { heard = append(heard, o) }))
	want := content(b)
	s := b.Share(nil, true)
	narrow := b.Share(NewSchema(Field{Name: "c", Type: Name}, Field{Name: "new", Type: Uint64}), false)
	if s.Unique() || b.Unique() {
		t.Error("a shared batch may be changed in place")
	}
	release(b)
	if d := cmp.Diff(want, content(s)); d != "" {
		t.Error("(-base +shared):", d)
	}
	if narrow.Tracked() {
		t.Error("an untracked share holds the promise")
	}
	Claim[uint64](narrow, 1, 0, 10)[4] = 9
	if d := cmp.Diff(map[string][]string{"": make([]string, 10), "c": want["c"], "new": {"0", "0", "0", "0", "9", "0", "0", "0", "0", "0"}}, content(narrow)); d != "" {
		t.Error("(-want +narrow):", d)
	}
	if len(heard) != 0 {
		t.Fatal("settled before its share was")
	}
	held := narrow.Held() - s.Held()
	release(narrow)
	s.Done(Dropped)
	if d := cmp.Diff([]Outcome{Dropped}, heard); d != "" {
		t.Error("(-want +heard):", d)
	}
	if other := p.Get(abc, 10); other == b {
		t.Error("the base was recycled under its share")
	}
	s.Release()
	if other := p.Get(abc, 10); other != b {
		t.Error("the base was not recycled with its last share")
	}
	if held < 256*8 {
		t.Errorf("a claimed column of 2,048 bytes adds %d to what is held", held)
	}
}

// Two shares of one batch may each write a column that is zero in it, and see only their own.
func TestSharesWriteApart(t *testing.T) {
	p := NewPool(nil)
	b := p.Get(abc, 4)
	b.SetRows(4)
	Claim[uint32](b, 0, 0, 4)
	b.Seal()
	release(b)
	b = p.Get(abc, 4) // recycled: column 0 has a buffer that nobody has written
	b.SetRows(4)
	b.Seal()
	x, y := b.Share(nil, true), b.Share(nil, true)
	Claim[uint32](x, 0, 0, 4)[1] = 7
	Claim[uint32](y, 0, 0, 4)[1] = 8
	if got := Values[uint32](x, 0)[1]; got != 7 {
		t.Errorf("a share reads %d where it wrote 7", got)
	}
	for _, s := range []*Batch{x, y, b} {
		release(s)
	}
	if s := p.Get(abc, 4).Share(nil, true); s.Held() > p.Get(abc, 4).Held()+4096 {
		t.Errorf("a share of a new batch holds %d bytes: its former life's are counted", s.Held())
	}
}

type freed struct{ n int }

func (f *freed) Freed(*Batch) { f.n++ }

// What a batch looks into may change once Own has returned, also if it is another batch's share.
func TestOwn(t *testing.T) {
	p := NewPool(nil)
	for _, shared := range []bool{false, true} {
		slab, f := []byte("some payload"), &freed{}
		base := p.Get(abc, 3)
		base.SetRows(3)
		base.SetView(1, 0, slab[:4])
		base.SetView(1, 2, slab[5:])
		base.SetBytes(1, 1, []byte("kept"))
		base.Lend(len(slab), f)
		base.Seal()
		b := base
		if shared {
			b = base.Share(nil, true)
		}
		if !b.Views() {
			t.Fatal("a batch that looks into a slab does not say so")
		}
		b.Own()
		want := []string{"some", "kept", "payload"}
		copy(slab, "xxxxxxxxxxxx")
		if d := cmp.Diff(want, content(b)["b"]); d != "" || b.Views() {
			t.Errorf("shared %v: (-want +owned): %s", shared, d)
		}
		if shared {
			if d := cmp.Diff([]string{"xxxx", "kept", "xxxxxxx"}, content(base)["b"]); d != "" {
				t.Error("owning a share changed its base:", d)
			}
			release(base)
		} else if f.n != 1 {
			t.Errorf("the lender heard %d times after Own", f.n)
		}
		release(b)
		if f.n != 1 {
			t.Errorf("shared %v: the lender heard %d times", shared, f.n)
		}
	}
}

// Every root hears once, the worst outcome of what came of it, whatever the shape and whoever settles.
func TestDerive(t *testing.T) {
	p := NewPool(nil)
	s := NewSchema(Field{Name: "a", Type: Uint8})
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var heard [50]atomic.Int32
		var worst [50]atomic.Int32
		var of = map[*Batch]map[int]bool{} // roots that a batch comes of
		var want [50]Outcome
		var wg sync.WaitGroup
		var live []*Batch
		for i := range heard {
			b := p.Get(s, 1)
			b.Root(Range{First: int64(i), Last: int64(i)})
			b.Track(settled(func(r Range, o Outcome) { heard[r.First].Add(1); worst[r.First].Store(int32(o)) }))
			live, of[b] = append(live, b), map[int]bool{i: true}
		}
		settle := func(b *Batch, o Outcome) {
			for i := range of[b] {
				want[i] = max(want[i], o)
			}
			if delete(of, b); rng.IntN(3) == 0 {
				promise := b.TakePromise()
				b.Release()
				wg.Go(func() { promise.Done(o) })
				return
			}
			wg.Go(func() { b.Done(o); b.Release() })
		}
		for range 200 {
			n, m := 1+rng.IntN(3), 1+rng.IntN(3)
			rng.Shuffle(len(live), func(i, j int) { live[i], live[j] = live[j], live[i] })
			if len(live) < n {
				break
			}
			parents := live[:n:n]
			live = live[n:]
			for range m {
				c := p.Get(s, 1)
				c.Derive(parents...)
				c.Derive(parents[n-1]) // named twice in a row
				of[c] = map[int]bool{}
				for _, q := range parents {
					for i := range of[q] {
						of[c][i] = true
					}
				}
				if rng.IntN(3) == 0 {
					settle(c, Outcome(rng.IntN(3)))
				} else {
					live = append(live, c)
				}
			}
			for _, q := range parents {
				settle(q, Delivered)
			}
		}
		for _, b := range live {
			settle(b, Outcome(rng.IntN(4)))
		}
		wg.Wait()
		for i := range heard {
			if heard[i].Load() != 1 || Outcome(worst[i].Load()) != want[i] {
				t.Fatalf("seed %d: root %d heard %d times, last %v, want once %v", seed, i, heard[i].Load(), Outcome(worst[i].Load()), want[i])
			}
		}
	}
}

func TestRangeOfDerived(t *testing.T) {
	p := NewPool(nil)
	one, two := &Partition{Name: "1"}, &Partition{Name: "2"}
	root := func(q *Partition, first, last int64) *Batch {
		b := p.Get(abc, 1)
		b.Root(Range{q, first, last})
		return b
	}
	c := p.Get(abc, 1)
	c.Derive(root(one, 5, 9), root(one, 1, 2))
	if d := cmp.Diff(Range{one, 1, 9}, c.Range()); d != "" {
		t.Error(d)
	}
	c.Derive(root(two, 3, 3))
	if c.Range().Partition != nil {
		t.Error("a batch of two partitions has one's range:", c.Range())
	}
	c.Derive(root(two, 3, 3))
	if c.Range().Partition != nil {
		t.Error("a mixed batch has a range again:", c.Range())
	}
}

func TestSettledTwicePanics(t *testing.T) {
	for name, twice := range map[string]func(*Batch){
		"Done":        func(b *Batch) { b.Done(Delivered); b.Done(Delivered) },
		"TakePromise": func(b *Batch) { b.Done(Delivered); b.TakePromise() },
		"after it":    func(b *Batch) { b.TakePromise(); b.Done(Delivered) },
		"Release":     func(b *Batch) { b.Done(Delivered); b.Release(); b.Release() },
		"unsettled":   func(b *Batch) { b.Release() },
	} {
		t.Run(name, func(t *testing.T) {
			b := NewPool(nil).Get(abc, 1)
			b.Track(settled(func(Range, Outcome) {}))
			defer func() {
				if recover() == nil {
					t.Error("nobody noticed")
				}
			}()
			twice(b)
		})
	}
}

// Rows keep their values whatever dictionaries meet in one batch.
func TestGatherDictionaries(t *testing.T) {
	p := NewPool(nil)
	rapid.Check(t, func(t *rapid.T) {
		dicts := []*Dict{NewDict(), NewDict(), nil}
		for i := range 400 { // the second holds more than the first, under other indices
			dicts[i%2].Intern(fmt.Sprint("name ", i/3))
		}
		g := NewGather(abc, abc)
		for range 2 {
			dst := p.Get(abc, 100)
			var want []string
			for range rapid.IntRange(1, 5).Draw(t, "pieces") {
				src := p.Get(abc, 10)
				n := rapid.IntRange(0, 10).Draw(t, "rows")
				d := rapid.SampledFrom(dicts).Draw(t, "dict")
				src.SetRows(n)
				if n > 0 && rapid.Bool().Draw(t, "written") {
					for k := range n {
						Claim[uint16](src, 2, k, 1)[0] = uint16(rapid.IntRange(0, len(d.Values())-1).Draw(t, "index"))
					}
					src.SetDict(2, d)
				}
				src.Seal()
				var pick []uint16
				if n > 0 && rapid.Bool().Draw(t, "pick") {
					pick = rapid.SliceOfN(rapid.Uint16Range(0, uint16(n-1)), 1, n).Draw(t, "rows")
					for _, r := range pick {
						want = append(want, content(src)["c"][r])
					}
				} else {
					want = append(want, content(src)["c"]...)
				}
				g.Append(dst, src, pick, n)
				release(src)
			}
			dst.Seal()
			if d := cmp.Diff(append([]string{}, want...), content(dst)["c"]); d != "" {
				t.Fatal("(-want +got):", d)
			}
			release(dst)
		}
	})
}

// A gather whose own dictionary is full starts another, and no row shows another's name.
func TestGatherFullDictionary(t *testing.T) {
	p, g := NewPool(nil), NewGather(abc, abc)
	for round := range 12 {
		dst := p.Get(abc, MaxRows)
		var want []string
		for part := range 2 {
			d, src := NewDict(), p.Get(abc, MaxRows/2)
			src.SetRows(MaxRows / 2)
			for k := range Claim[uint16](src, 2, 0, MaxRows/2) {
				name := fmt.Sprint(round, "/", part, "/", k)
				Claim[uint16](src, 2, k, 1)[0], _ = d.Intern(name)
				want = append(want, name)
			}
			src.SetDict(2, d)
			src.Seal()
			g.Append(dst, src, nil, src.Rows())
			release(src)
		}
		dst.Seal()
		idx, d := dst.Names(2)
		for k, w := range want {
			if got := d.Values()[idx[k]]; got != w {
				t.Fatalf("row %d is %q, want %q", k, got, w)
			}
		}
		release(dst)
	}
}

// A batch in a steady stream allocates nothing: taken, written, tracked, shared, derived, settled, given back.
func TestSteadyStateAllocations(t *testing.T) {
	p, d := NewPool(nil), NewDict()
	g := NewGather(abc, abc)
	var n int
	root := settled(func(Range, Outcome) { n++ })
	value := []byte("a value of some length")
	cycle := func() {
		b := p.Get(abc, 1000)
		b.SetRows(1000)
		Claim[uint32](b, 0, 0, 1000)[5] = 1
		Claim[uint16](b, 2, 0, 1000)
		b.SetDict(2, d)
		for k := range 100 {
			b.SetBytes(1, k, value)
		}
		b.Seal()
		b.Track(root)
		s := b.Share(nil, true)
		out := p.Get(abc, 1000)
		g.Append(out, s, nil, s.Rows())
		out.Seal()
		out.Derive(s, b)
		release(s)
		release(b)
		release(out)
	}
	allocatesNothing(t, "a batch", cycle)
	if n == 0 {
		t.Error("no root was settled")
	}
}

func BenchmarkBatchCycle(b *testing.B) {
	p, s := NewPool(nil), wide()
	b.ReportAllocs()
	root := settled(func(Range, Outcome) {})
	for b.Loop() {
		x := p.Get(s, MaxRows)
		x.Track(root)
		release(x)
	}
}

// Of chosen rows as many are gathered as there is room for, and nothing is written beyond it.
func TestGatherStopsWhereTheRoomEnds(t *testing.T) {
	p := NewPool(nil)
	s := NewSchema(Field{Name: "n", Type: Uint32}, Field{Name: "text", Type: Text})
	src := p.Get(s, 256)
	rows := make([]uint16, 0, 100)
	for i := range 200 {
		Claim[uint32](src, 0, i, 1)[0] = uint32(i)
		src.SetBytes(1, i, fmt.Append(nil, i))
		if i%2 == 1 {
			rows = append(rows, uint16(i))
		}
	}
	src.SetRows(200)
	src.Seal()
	dst := p.Get(s, 256)
	g := NewGather(s, s)
	if n := g.Append(dst, src, nil, 200); n != 200 {
		t.Fatalf("%d rows fitted, want 200", n)
	}
	if n := g.Append(dst, src, rows, 0); n != 56 || dst.Rows() != 256 {
		t.Fatalf("%d of 100 rows fitted and there are %d, want 56 and 256", n, dst.Rows())
	}
	if n := g.Append(dst, src, rows, 0); n != 0 {
		t.Errorf("%d rows fitted into a full batch", n)
	}
	dst.Seal()
	for k, v := range Values[uint32](dst, 0) {
		want := k
		if k >= 200 {
			want = 2*(k-200) + 1
		}
		if v != uint32(want) || string(dst.Bytes(1)[k]) != fmt.Sprint(want) {
			t.Fatalf("row %d is %d, %q, want %d", k, v, dst.Bytes(1)[k], want)
		}
	}
	for _, b := range []*Batch{src, dst} {
		b.Done(Dropped)
		b.Release()
	}
}

// allocatesNothing checks that of what is done again and again, once the pool has what it takes.
func allocatesNothing(t *testing.T, what string, cycle func()) {
	t.Helper()
	for range 10 {
		cycle()
	}
	runtime.GC()
	if n := testing.AllocsPerRun(50, cycle); n > 0 {
		t.Errorf("%s allocates %v times", what, n)
	}
}
