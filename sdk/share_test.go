package sdk

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// addable are the types of columns, one of each way they are kept in memory.
var addable = []Type{Uint8, Uint16, Uint32, Uint64, Addr, Name, Text}

// enricher adds columns to batches, as a processor does.
type enricher struct {
	out *Schema
	add []int
	d   *Dict
}

func newEnricher(in *Schema, t Type, n int) *enricher {
	e := &enricher{d: NewDict()}
	fields := append([]Field(nil), in.Fields()...)
	for i := range n {
		e.add = append(e.add, len(fields))
		fields = append(fields, Field{Name: fmt.Sprintf("%v_%d", t, i), Type: t})
	}
	e.out = NewSchema(fields...)
	e.d.Intern("a name")
	return e
}

var someText = []byte("AS64500 Example Networks")

// enrich shares b and writes every row of the new columns.
func (e *enricher) enrich(b *Batch) *Batch {
	s := b.Share(e.out, true)
	n := s.Len()
	for _, col := range e.add {
		switch t := e.out.fields[col].Type; t {
		case Text:
			for i := range n {
				s.SetBytes(col, i, someText)
			}
		case Name:
			s.SetDict(col, e.d)
			fillWith(Claim[uint16](s, col, 0, n), 1)
		case Uint8:
			fillWith(Claim[uint8](s, col, 0, n), 7)
		case Uint16:
			fillWith(Claim[uint16](s, col, 0, n), 7)
		case Uint32:
			fillWith(Claim[uint32](s, col, 0, n), 7)
		case Uint64:
			fillWith(Claim[uint64](s, col, 0, n), 7)
		case Addr:
			fillWith(Claim[[2]uint64](s, col, 0, n), [2]uint64{1, 7})
		}
	}
	s.Seal()
	return s
}

func fillWith[T any](to []T, v T) {
	for i := range to {
		to[i] = v
	}
}

// ways are how a batch comes to a processor that adds columns. Each makes one of n rows, has it enriched and lets all of it go.
var ways = []struct {
	name string
	run  func(p *Pool, n int, e *enricher)
}{
	{"owned", func(p *Pool, n int, e *enricher) {
		b := filled(p, n)
		s := e.enrich(b)
		release(b)
		release(s)
	}},
	{"shared", func(p *Pool, n int, e *enricher) { // with another branch, which adds columns too and lets go later
		b := filled(p, n)
		one, two := b.Share(nil, true), b.Share(nil, true)
		release(b)
		s, t := e.enrich(one), e.enrich(two)
		release(one)
		release(two)
		release(s)
		release(t)
	}},
	{"selected", func(p *Pool, n int, e *enricher) {
		b := filled(p, n)
		v := b.Select(halfOf[:n/2])
		release(b)
		s := e.enrich(v)
		release(v)
		release(s)
	}},
	{"enriched twice", func(p *Pool, n int, e *enricher) {
		b := filled(p, n)
		s := e.enrich(b)
		release(b)
		t := s.Share(e.out, true)
		release(s)
		release(t)
	}},
	{"written row by row", func(p *Pool, n int, e *enricher) { // Claim of a run of rows at a time
		b := filled(p, n)
		s := b.Share(e.out, true)
		release(b)
		for _, col := range e.add {
			switch s.schema.fields[col].Type.Width() {
			case 0:
				s.SetBytes(col, n-1, someText)
			default:
				for at := 0; at < n; at += 100 {
					s.Claim(col, at, min(100, n-at))
				}
			}
		}
		s.Seal()
		release(s)
	}},
}

var halfOf = func() (rows [MaxRows / 2]uint16) {
	for i := range rows {
		rows[i] = uint16(2 * i)
	}
	return rows
}()

func filled(p *Pool, n int) *Batch {
	b := p.Get(abc, n)
	b.SetRows(n)
	Claim[uint32](b, 0, 0, n)[0] = 1
	b.Seal()
	b.Track(ignored)
	return b
}

var ignored Settler = settled(func(Range, Outcome) {})

// mostAllocations is what a batch may allocate whose columns were added, in a steady stream.
const mostAllocations = 0

// Guarantees: columns of any type, however many, are added to a batch without an allocation, whoever else holds it.
func TestAddedColumnsAllocateNothing(t *testing.T) {
	for _, way := range ways {
		for _, ty := range addable {
			for _, columns := range []int{1, 5, 20} {
				for _, rows := range []int{30, MaxRows} {
					if rows == MaxRows && columns > 1 {
						continue // as large buffers as one column's
					}
					t.Run(fmt.Sprintf("%s/%d %v/%d rows", way.name, columns, ty, rows), func(t *testing.T) {
						p, e := NewPool(nil), newEnricher(abc, ty, columns)
						run := func() { way.run(p, rows, e) }
						run()
						run()
						if n := testing.AllocsPerRun(5, run); n > mostAllocations {
							t.Errorf("a batch allocates %v times, at most %d are allowed", n, mostAllocations)
						}
						p.allBack(t)
					})
				}
			}
		}
	}
}

// allBack checks that nothing is out of the pool, and that each buffer is in it once.
func (p *Pool) allBack(t testing.TB) {
	t.Helper()
	if n, h := p.InUse(), p.Held(); n != 0 || h != 0 {
		t.Errorf("%d batches and %d bytes are out when all is given back", n, h)
	}
	seen := map[any]bool{}
	once := func(what string, x any) {
		if seen[x] {
			t.Errorf("the pool has %s twice", what)
		}
		seen[x] = true
	}
	for class := range p.loans.bytes {
		l := &p.loans.bytes[class]
		if l.out != 0 {
			t.Errorf("%d buffers of %d bytes are out", l.out, minLoan<<class)
		}
		for _, x := range l.free {
			once("a buffer", x)
		}
	}
	for i := range p.loans.values {
		l := &p.loans.values[i]
		if l.out != 0 {
			t.Errorf("%d slices of values are out", l.out)
		}
		for _, v := range l.free {
			once("a slice of values", &v[0])
			for _, x := range v {
				if x != nil {
					t.Fatal("a slice of values in the pool still looks into something")
				}
			}
		}
	}
}

// Guarantees: a burst is let go of. What is kept is what was out at a time lately.
func TestWhatABurstNeededGoes(t *testing.T) {
	var mem counting
	p, e := NewPool(&mem), newEnricher(abc, Uint8, 1)
	var burst []*Batch
	for range 200 {
		b := filled(p, 30)
		burst = append(burst, e.enrich(b))
		release(b)
	}
	for _, b := range burst {
		release(b)
	}
	kept := func() int { return len(p.loans.bytes[0].free) }
	if n := kept(); n != 200 {
		t.Errorf("%d buffers are kept after a burst of 200", n)
	}
	for range 2 * loanWindow {
		ways[0].run(p, 30, e)
	}
	if n := kept(); n > minKeep {
		t.Errorf("%d buffers are kept long after the burst, want at most %d", n, minKeep)
	}
	if mem.freed == 0 {
		t.Error("the allocator was given nothing back")
	}
	p.allBack(t)
}

// counting counts what it is given back.
type counting struct {
	heap
	freed int
}

func (c *counting) Free(b []byte) { c.freed += len(b) }

// Guarantees: a shared column cannot be written, nor the number of its rows changed, for who shares it would see that.
func TestSharedColumnsCannotBeWritten(t *testing.T) {
	p := NewPool(nil)
	b := sample(p, 10, NewDict())
	s := b.Share(nil, false)
	want := content(b)
	for name, f := range map[string]func(){
		"Claim":    func() { Claim[uint32](s, 0, 0, 10) },
		"SetBytes": func() { s.SetBytes(1, 3, someText) },
		"SetView":  func() { s.SetView(1, 3, someText) },
		"SetRows":  func() { s.SetRows(3) },
		"of Text":  func() { s.Claim(1, 0, 10) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s of a shared column does not panic", name)
				}
			}()
			f()
		}()
	}
	s.SetRows(10) // what it has
	if d := cmp.Diff(want, content(b)); d != "" {
		t.Error("the base was changed (-before +after):", d)
	}
	release(s)
	release(b)
}

// Guarantees: whatever is shared of what, enriched, selected, kept and let go in whatever order, over memory that is overwritten as soon as
// it comes back: a batch shows what was written to it until its own release and nothing that was written to another, no two that are
// out have a buffer together, the pool's account is what they hold, and all of it comes back.
func TestAddedColumnsAreTheirBatchsOwn(t *testing.T) {
	types := []Type{Uint8, Uint32, Addr, Text}
	fields := append([]Field(nil), abc.Fields()...)
	for _, ty := range types {
		fields = append(fields, Field{Name: "new " + ty.String(), Type: ty})
	}
	wide := NewSchema(fields...)
	rapid.Check(t, func(t *rapid.T) {
		p := NewPool(spoiling{})
		type live struct {
			b    *Batch
			want map[string][]string
		}
		var out []live
		mark := 0
		pick := func() *Batch {
			if len(out) == 0 {
				return nil
			}
			return out[rapid.IntRange(0, len(out)-1).Draw(t, "of")].b
		}
		keep := func(b *Batch) { out = append(out, live{b, content(b)}) }
		giveBack := func(i int) {
			b := out[i].b
			out = append(out[:i], out[i+1:]...)
			release(b)
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				held := int64(0)
				batches := map[*Batch]bool{}
				buffers := map[*byte]bool{}
				for _, l := range out {
					if d := cmp.Diff(l.want, content(l.b)); d != "" {
						t.Fatal("a batch that is out changed (-when made +now):", d)
					}
					for b := l.b; b != nil && !batches[b]; b = b.base {
						batches[b] = true
						held += int64(b.mem)
						if b.home != nil {
							continue
						}
						b.eachLoan(func(buf []byte) {
							if buffers[&buf[0]] {
								t.Fatal("two batches that are out have one buffer")
							}
							buffers[&buf[0]] = true
						})
					}
				}
				if got := p.Held(); got != held {
					t.Fatalf("the pool says %d bytes are held, the batches hold %d", got, held)
				}
			},
			"build": func(t *rapid.T) { keep(sample(p, rapid.IntRange(0, 6).Draw(t, "rows"), NewDict())) },
			"enrich": func(t *rapid.T) {
				of := pick()
				if of == nil {
					return
				}
				s := of.Share(wide, true)
				for i, ty := range types {
					col := abc.Len() + i
					if !s.IsZero(col) || s.Len() == 0 || !rapid.Bool().Draw(t, "add") {
						continue // somebody has added it, or nobody wants it
					}
					mark++
					from := rapid.IntRange(0, s.Len()-1).Draw(t, "from") // what is before stays zero
					for row := from; row < s.Len(); row++ {
						switch ty {
						case Uint8:
							Claim[uint8](s, col, row, 1)[0] = uint8(mark)
						case Uint32:
							Claim[uint32](s, col, row, 1)[0] = uint32(mark)
						case Addr:
							Claim[[2]uint64](s, col, row, 1)[0] = [2]uint64{uint64(mark), uint64(row)}
						case Text:
							s.SetBytes(col, row, fmt.Appendf(nil, "%0*d", rapid.SampledFrom([]int{1, 30, 5000}).Draw(t, "length"), mark))
						}
					}
				}
				s.Seal()
				keep(s)
			},
			"select": func(t *rapid.T) {
				of := pick()
				if of == nil {
					return
				}
				rows := of.Selection()
				if rows == nil {
					rows = halfOf[:(of.Len()+1)/2]
				}
				keep(of.Select(chosen(t, rows)))
			},
			"give back": func(t *rapid.T) {
				if len(out) > 0 {
					giveBack(rapid.IntRange(0, len(out)-1).Draw(t, "which"))
				}
			},
		})
		for len(out) > 0 {
			giveBack(0)
		}
		if n, h := p.InUse(), p.Held(); n != 0 || h != 0 {
			t.Fatalf("%d batches and %d bytes are out when all is given back", n, h)
		}
		for class := range p.loans.bytes {
			if n := p.loans.bytes[class].out; n != 0 {
				t.Fatalf("%d buffers of %d bytes are out", n, minLoan<<class)
			}
		}
	})
}

// spoiling is memory that is overwritten when it comes back.
type spoiling struct{ heap }

func (s spoiling) Allocate(n int) []byte {
	b := s.heap.Allocate(n)
	s.Returned(b)
	return b
}

func (spoiling) Returned(b []byte) {
	for i := range b {
		b[i] = 0xDB
	}
}

// BenchmarkAddColumns is what columns cost that are added to a batch.
func BenchmarkAddColumns(b *testing.B) {
	for _, way := range ways[:3] {
		for _, ty := range []Type{Uint8, Uint64, Addr, Text} {
			for _, columns := range []int{1, 5, 20} {
				for _, rows := range []int{30, MaxRows} {
					b.Run(fmt.Sprintf("%s/%d_%v/%d", way.name, columns, ty, rows), func(b *testing.B) {
						p, e := NewPool(nil), newEnricher(abc, ty, columns)
						way.run(p, rows, e)
						var before, after runtime.MemStats
						runtime.ReadMemStats(&before)
						for b.Loop() {
							way.run(p, rows, e)
						}
						runtime.ReadMemStats(&after)
						b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(rows), "ns/record")
						b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(b.N), "allocs/batch")
					})
				}
			}
		}
	}
}
