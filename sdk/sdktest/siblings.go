package sdktest

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"unsafe"

	"github.com/weirflow/weir/sdk"
)

// adds says whether the processor adds columns: each output has the input's and others beside.
func adds(in *sdk.Schema, out []*sdk.Schema) bool {
	for _, o := range out {
		if o.Len() <= in.Len() {
			return false
		}
		for _, name := range in.Names() {
			if o.Index(name) < 0 {
				return false
			}
		}
	}
	return len(out) > 0
}

// siblings gives each batch to two instances, as a fan-out does before two branches that add columns: both share the columns of one
// batch, which a third holder reads too, and take the memory of theirs from one pool. What one gives out is what it gives out alone,
// whatever the other does and whatever the memory held before; nobody changes what was shared; no column that was added to one
// batch has memory together with one that was added to another which is not released.
func (s *processorSuite) siblings(t testing.TB, plain *recorder) {
	t.Helper()
	spec := &s.p.Spec
	in, out := s.schemas(t, false)
	if t.Failed() || !spec.Deterministic || spec.Parks || !adds(in, out) {
		return
	}
	pool := WithPool(sdk.NewPool(dirty{turned: 0xFF}))
	one := s.start(t, way{name: "siblings: the first", seed: 1}, pool)
	two := s.start(t, way{name: "siblings: the second", seed: 5}, pool)
	twins := [2]*driver{one, two}
	for i := range s.templates {
		fanOut(t, i, s.templates[i], twins)
		apart(t, in, twins)
		for _, d := range twins {
			d.between()
		}
	}
	one.close()
	two.close()
	one.left()
	two.left()
	one.quiet()
	for _, d := range twins {
		s.same(t, d.w.name+": batches that a sibling shares", plain, d.rec)
	}
}

// fanOut gives the rows of a template to both.
func fanOut(t testing.TB, i int, tmpl *sdk.Batch, twins [2]*driver) {
	t.Helper()
	d := twins[0]
	base, slab := copyRows(d.env.Pool, d.env.In, tmpl, 0, tmpl.Rows()), []byte(nil)
	if i%3 == 1 {
		whole := base
		base, slab = lend(d.env.Pool, whole, &d.back)
		whole.Done(sdk.Dropped)
		whole.Release()
		d.lent++
	}
	before := fingerprint(base)
	for _, d := range twins {
		part := i % len(d.parts)
		b := base.Share(nil, false)
		d.rec.give(b, sdk.Range{Partition: d.parts[part], First: d.next[part], Last: d.next[part] + int64(max(tmpl.Rows(), 1)) - 1})
		d.call("Process", -1, func() error { return d.proc.Process(b, d.rec) })
		d.next[part] += int64(max(tmpl.Rows(), 1)) + 2
		if fingerprint(base) != before {
			t.Fatalf("%s: Process changed a batch that it shares with others", d.w.name)
		}
	}
	base.Done(sdk.Dropped)
	base.Release()
	for i := range slab {
		slab[i] = poison
	}
}

// apart checks that the columns that were added to batches which are not released are each in memory of its own.
func apart(t testing.TB, in *sdk.Schema, twins [2]*driver) {
	t.Helper()
	type span struct {
		from, to uintptr
		what     string
		of       string // batches given out of one input by one instance may be each other's shares
	}
	var spans []span
	for _, d := range twins {
		for _, o := range d.rec.outs {
			if o.settled {
				continue
			}
			for col, f := range o.b.Schema().Fields() {
				if in.Index(f.Name) >= 0 || o.b.IsZero(col) || o.b.Len() == 0 {
					continue
				}
				from := address(o.b, col)
				x := span{from: from, to: from + uintptr(o.b.Len()*max(f.Type.Width(), 1)), of: fmt.Sprintf("%s of %v", d.w.name, o.rng)}
				x.what = f.Name + " in " + x.of
				spans = append(spans, x)
			}
		}
	}
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	for i := 1; i < len(spans); i++ {
		if a, b := spans[i-1], spans[i]; b.from < a.to && a.of != b.of {
			t.Fatalf("two batches that are not released have memory together: column %s and column %s", a.what, b.what)
		}
	}
}

// address is where a column's values begin; of a column of variable length, where the slice of them does.
func address(b *sdk.Batch, col int) uintptr {
	switch b.Schema().Field(col).Type.Width() {
	case 0:
		return uintptr(unsafe.Pointer(unsafe.SliceData(b.Bytes(col))))
	case 1:
		return uintptr(unsafe.Pointer(unsafe.SliceData(sdk.Values[uint8](b, col))))
	case 2:
		return uintptr(unsafe.Pointer(unsafe.SliceData(sdk.Values[uint16](b, col))))
	case 4:
		return uintptr(unsafe.Pointer(unsafe.SliceData(sdk.Values[uint32](b, col))))
	case 8:
		return uintptr(unsafe.Pointer(unsafe.SliceData(sdk.Values[uint64](b, col))))
	}
	return uintptr(unsafe.Pointer(unsafe.SliceData(sdk.Values[[16]byte](b, col))))
}
