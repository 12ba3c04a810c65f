package sdk

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// everyType has a column of each type, and two of the types whose columns differ in more than values.
var everyType = NewSchema(
	Field{Name: "u8", Type: Uint8, Doc: "one byte"}, Field{Name: "u16", Type: Uint16}, Field{Name: "u32", Type: Uint32, Unit: "bytes"},
	Field{Name: "u64", Type: Uint64, Extra: true}, Field{Name: "i64", Type: Int64}, Field{Name: "f64", Type: Float64},
	Field{Name: "time", Type: Timestamp, Unit: "ns", Doc: "when"}, Field{Name: "addr", Type: Addr}, Field{Name: "mac", Type: MAC},
	Field{Name: "name", Type: Name}, Field{Name: "name2", Type: Name}, Field{Name: "bytes", Type: Bytes}, Field{Name: "text", Type: Text},
	Field{Name: "list", Type: Uint32s}, Field{Name: "list2", Type: Uint32s, Doc: "another"},
)

// content is a batch as plain values, for comparison.
func content(b *Batch) map[string][]string {
	m := map[string][]string{"": make([]string, b.Rows())}
	rows := b.Selection()
	if rows == nil {
		rows = make([]uint16, b.Len())
		for i := range rows {
			rows[i] = uint16(i)
		}
	}
	for i, f := range b.Schema().Fields() {
		col := make([]string, len(rows))
		for k, r := range rows {
			switch f.Type {
			case Name:
				idx, d := b.Names(i)
				col[k] = d.Values()[idx[r]]
			case Bytes, Text, Uint32s:
				col[k] = string(b.Bytes(i)[r])
			case Uint8:
				col[k] = fmt.Sprint(Values[uint8](b, i)[r])
			case Uint16:
				col[k] = fmt.Sprint(Values[uint16](b, i)[r])
			case Uint32:
				col[k] = fmt.Sprint(Values[uint32](b, i)[r])
			case Addr:
				col[k] = fmt.Sprintf("%x", Values[[16]byte](b, i)[r])
			default:
				col[k] = fmt.Sprint(Values[uint64](b, i)[r])
			}
		}
		m[f.Name] = col
	}
	return m
}

// drawBatch draws a batch: columns written in full, in part and never, names of one or two dictionaries.
func drawBatch(t *rapid.T, p *Pool, s *Schema, dicts []*Dict) *Batch {
	n := rapid.OneOf(rapid.IntRange(0, 20), rapid.IntRange(250, 260)).Draw(t, "rows")
	b := p.Get(s, n)
	b.SetRows(n)
	r := rapid.Uint64().Draw(t, "seed")
	next := func() uint64 { r = r*6364136223846793005 + 1442695040888963407; return r ^ r>>29 }
	for i, f := range s.Fields() {
		written := rapid.SampledFrom([]int{0, n / 2, n}).Draw(t, f.Name)
		if written == 0 {
			continue
		}
		switch w := f.Type.Width(); {
		case f.Type == Name:
			d := dicts[rapid.IntRange(0, len(dicts)-1).Draw(t, "dict")]
			b.SetDict(i, d)
			for k := range Claim[uint16](b, i, 0, written) {
				x, ok := d.Intern(strings.Repeat("x", int(next()%3)) + fmt.Sprint(next()%50))
				if !ok {
					t.Fatal("dictionary full")
				}
				Claim[uint16](b, i, k, 1)[0] = x
			}
		case w == 0:
			for k := range written {
				v := make([]byte, next()%12)
				if f.Type == Uint32s {
					v = make([]byte, 4*(next()%4))
				}
				for j := range v {
					v[j] = byte('a' + next()%26)
				}
				b.SetBytes(i, k, v)
			}
		default:
			to := unsafe.Slice((*byte)(b.Claim(i, 0, written)), written*w)
			for j := range to {
				to[j] = byte(next())
			}
		}
	}
	b.Seal()
	return b
}

func release(b *Batch) { b.Done(Delivered); b.Release() }

func TestArrowRoundTrip(t *testing.T) {
	p := NewPool(nil)
	rapid.Check(t, func(t *rapid.T) {
		b := drawBatch(t, p, everyType, []*Dict{NewDict(), NewDict()})
		want := content(b)
		r := b.Arrow()
		release(b)
		defer r.Release()
		got, err := FromArrow(p, everyType, r)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, content(got)); d != "" {
			t.Fatal("wrapped and read back, the batch differs (-want +got):", d)
		}
		release(got)
	})
}

// A full batch wraps the zero arrays that its schema made once.
func TestArrowFullBatch(t *testing.T) {
	p := NewPool(nil)
	for range 2 {
		b := p.Get(everyType, MaxRows)
		b.SetRows(MaxRows)
		for i := range Claim[uint32](b, 2, 0, MaxRows) {
			Claim[uint32](b, 2, i, 1)[0] = uint32(i)
		}
		b.Seal()
		want := content(b)
		r := b.Arrow()
		got, err := FromArrow(p, everyType, r)
		if err != nil {
			t.Fatal(err)
		}
		if g := content(got); !reflect.DeepEqual(want, g) { // a twentieth of what cmp takes for so many values
			t.Fatal("(-want +got):", cmp.Diff(want, g))
		}
		release(b)
		r.Release()
		release(got)
	}
}

// What a slice of a record holds begins in the middle of its buffers.
func TestArrowSlice(t *testing.T) {
	p := NewPool(nil)
	rapid.Check(t, func(t *rapid.T) {
		b := drawBatch(t, p, everyType, []*Dict{NewDict()})
		want := content(b)
		r := b.Arrow()
		from := rapid.IntRange(0, b.Rows()).Draw(t, "from")
		to := rapid.IntRange(from, b.Rows()).Draw(t, "to")
		release(b)
		part := r.NewSlice(int64(from), int64(to))
		r.Release()
		defer part.Release()
		got, err := FromArrow(p, everyType, part)
		if err != nil {
			t.Fatal(err)
		}
		for k := range want {
			want[k] = want[k][from:to]
		}
		if d := cmp.Diff(want, content(got)); d != "" {
			t.Fatal("a slice read back differs (-want +got):", d)
		}
		release(got)
	})
}

func TestArrowIPC(t *testing.T) {
	p := NewPool(nil)
	rapid.Check(t, func(t *rapid.T) {
		dicts := []*Dict{NewDict(), NewDict()}
		var want []map[string][]string
		var stream bytes.Buffer
		w := ipc.NewWriter(&stream, ipc.WithSchema(everyType.Arrow()))
		for range rapid.IntRange(0, 3).Draw(t, "batches") {
			b := drawBatch(t, p, everyType, dicts)
			want = append(want, content(b))
			r := b.Arrow()
			release(b)
			if err := w.Write(r); err != nil {
				t.Fatal(err)
			}
			r.Release()
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		in, err := ipc.NewReader(&stream)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Release()
		s, err := SchemaFromArrow(in.Schema())
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(everyType.Fields(), s.Fields()); d != "" {
			t.Fatal("schema differs (-want +got):", d)
		}
		var got []map[string][]string
		for in.Next() {
			b, err := FromArrow(p, s, in.RecordBatch())
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, content(b))
			release(b)
		}
		if in.Err() != nil {
			t.Fatal(in.Err())
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal("through IPC the batches differ (-want +got):", d)
		}
	})
}

// A wrapping holds the batch by whatever array of it is left, and nothing else does.
func TestArrowHoldsBatch(t *testing.T) {
	p := NewPool(nil)
	s := NewSchema(Field{Name: "a", Type: Uint64}, Field{Name: "b", Type: Name}, Field{Name: "c", Type: Uint64})
	b := p.Get(s, 10)
	b.SetRows(10)
	Claim[uint64](b, 0, 0, 10)[3] = 7
	Claim[uint16](b, 1, 0, 10)
	b.Seal()
	r := b.Arrow()
	if b.Unique() {
		t.Fatal("a wrapped batch may be changed in place")
	}
	col := array.NewSlice(r.Column(0), 3, 4).(*array.Uint64)
	r.Release()
	release(b)
	if other := p.Get(s, 10); other == b {
		t.Fatal("the batch was recycled while an array looks into it")
	}
	if col.Value(0) != 7 {
		t.Fatal("column changed under an array")
	}
	col.Release()
	if other := p.Get(s, 10); other != b {
		t.Fatal("the batch was not given back when its last array was released")
	}
}

// wide is 60 columns of the types flow columns have.
func wide() *Schema {
	types := []Type{Uint8, Uint16, Uint32, Uint64, Timestamp, Addr, MAC, Name, Uint64, Text, Uint32s, Bytes}
	var fs []Field
	for i := range 60 {
		fs = append(fs, Field{Name: fmt.Sprint("c", i), Type: types[i%len(types)]})
	}
	return NewSchema(fs...)
}

func fill(b *Batch, rows int) {
	d := NewDict()
	x, _ := d.Intern("some name")
	b.SetRows(rows)
	for i, f := range b.Schema().Fields() {
		switch {
		case f.Type == Name:
			b.SetDict(i, d)
			for k := range Claim[uint16](b, i, 0, rows) {
				Claim[uint16](b, i, k, 1)[0] = x
			}
		case f.Type.Width() == 0:
			for k := range rows {
				b.SetBytes(i, k, []byte{1, 2, 3, byte(k)})
			}
		default:
			binary.LittleEndian.PutUint16(unsafe.Slice((*byte)(b.Claim(i, 0, rows)), 2), 1)
		}
	}
	b.Seal()
}

func TestArrowAllocations(t *testing.T) {
	const most = 5 // a column, at an edge (DESIGN, 13)
	for _, rows := range []int{1000, MaxRows} {
		b := NewPool(nil).Get(wide(), rows)
		fill(b, rows)
		b.Arrow().Release()
		got := testing.AllocsPerRun(20, func() { b.Arrow().Release() })
		if got > most*60 {
			t.Errorf("wrapping 60 columns of %d rows allocates %v times, more than %d a column", rows, got, most)
		}
	}
}

func BenchmarkArrow(b *testing.B) {
	batch := NewPool(nil).Get(wide(), MaxRows)
	fill(batch, MaxRows)
	b.ReportAllocs()
	for b.Loop() {
		batch.Arrow().Release()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/MaxRows, "ns/record")
	b.ReportMetric(testing.AllocsPerRun(10, func() { batch.Arrow().Release() })/float64(len(batch.Schema().Fields())), "allocs/column")
}

func BenchmarkFromArrow(b *testing.B) {
	p := NewPool(nil)
	batch := p.Get(wide(), MaxRows)
	fill(batch, MaxRows)
	r := batch.Arrow()
	b.ReportAllocs()
	for b.Loop() {
		x, err := FromArrow(p, batch.Schema(), r)
		if err != nil {
			b.Fatal(err)
		}
		release(x)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/MaxRows, "ns/record")
}

// A null from outside is its column's zero, and columns are found by name.
func TestFromArrowNullsAndNames(t *testing.T) {
	mem := memory.DefaultAllocator
	in := arrow.NewSchema([]arrow.Field{
		{Name: "other", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
		{Name: "name", Type: &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}, Nullable: true},
		{Name: "bytes", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "n", Type: arrow.PrimitiveTypes.Uint32, Nullable: true},
	}, nil)
	rb := array.NewRecordBuilder(mem, in)
	for range 2 {
		rb.Field(0).(*array.Float64Builder).Append(1)
	}
	names := rb.Field(1).(*array.BinaryDictionaryBuilder)
	names.AppendNull()
	if err := names.AppendString("edge"); err != nil {
		t.Fatal(err)
	}
	rb.Field(2).(*array.StringBuilder).AppendValues([]string{"x", "y"}, []bool{true, false})
	rb.Field(3).(*array.Uint32Builder).AppendValues([]uint32{9, 8}, []bool{false, true})
	r := rb.NewRecordBatch()
	want := NewSchema(Field{Name: "n", Type: Uint32}, Field{Name: "missing", Type: Uint8}, Field{Name: "name", Type: Name}, Field{Name: "bytes", Type: Text})
	b, err := FromArrow(NewPool(nil), want, r)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string][]string{"": {"", ""}, "n": {"0", "8"}, "missing": {"0", "0"}, "name": {"", "edge"}, "bytes": {"x", ""}}, content(b)); d != "" {
		t.Error("(-want +got):", d)
	}
	if !b.IsZero(1) {
		t.Error("a column that is not in the record takes memory")
	}
}

// liar is array data whose fields contradict each other, as a guest could send it.
func liar(dt arrow.DataType, rows, offset int, bufs ...[]byte) *array.Data {
	bs := make([]*memory.Buffer, len(bufs))
	for i, b := range bufs {
		if b != nil {
			bs[i] = memory.NewBufferBytes(b)
		}
	}
	return array.NewData(dt, rows, bs, nil, -1, offset)
}

func TestFromArrowRefuses(t *testing.T) {
	le := binary.LittleEndian
	offsets := func(v ...int32) (p []byte) {
		for _, x := range v {
			p = le.AppendUint32(p, uint32(x))
		}
		return p
	}
	u32 := arrow.PrimitiveTypes.Uint32
	dict := func(idx arrow.DataType, d *array.Data, dict *array.Data) *array.Data {
		return array.NewDataWithDictionary(&arrow.DictionaryType{IndexType: idx, ValueType: arrow.BinaryTypes.String}, d.Len(), d.Buffers(), 0, 0, dict)
	}
	one := liar(arrow.BinaryTypes.String, 1, 0, nil, offsets(0, 1), []byte("x"))
	for _, c := range []struct {
		name string
		typ  Type
		d    *array.Data
		want string
	}{
		{"short values", Uint32, liar(u32, 2, 0, nil, make([]byte, 4)), "too few"},
		{"offset past the values", Uint32, liar(u32, 2, 1<<30, nil, make([]byte, 8)), "too few"},
		{"negative offset", Uint32, liar(u32, 2, -1, nil, make([]byte, 80)), "rows from -1"},
		{"no values", Uint32, liar(u32, 2, 0, nil, nil), "too few"},
		{"another length", Uint32, liar(u32, 3, 0, nil, make([]byte, 80)), "3 rows"},
		{"another type", Uint32, liar(arrow.PrimitiveTypes.Float64, 2, 0, nil, make([]byte, 80)), "uint32 is wanted"},
		{"short bitmap", Uint32, liar(u32, 2, 7, []byte{0}, make([]byte, 80)), "bitmap"},
		{"falling offsets", Bytes, liar(arrow.BinaryTypes.Binary, 2, 0, nil, offsets(0, 3, 2), make([]byte, 8)), "offset 2 of row 2"},
		{"negative offsets", Bytes, liar(arrow.BinaryTypes.Binary, 2, 0, nil, offsets(-4, 0, 1), make([]byte, 8)), "offset -4"},
		{"offset past the data", Bytes, liar(arrow.BinaryTypes.Binary, 2, 0, nil, offsets(0, 3, 9), make([]byte, 8)), "offset 9"},
		{"few offsets", Bytes, liar(arrow.BinaryTypes.Binary, 2, 0, nil, offsets(0, 3), make([]byte, 8)), "too few"},
		{"index past the dictionary", Name, dict(arrow.PrimitiveTypes.Uint16, liar(u32, 2, 0, nil, []byte{0, 0, 1, 0}), one), "string 1 of a dictionary of 1"},
		{"negative index", Name, dict(arrow.PrimitiveTypes.Int8, liar(u32, 2, 0, nil, []byte{0, 255}), one), "string -1"},
		{"no dictionary", Name, dict(arrow.PrimitiveTypes.Int8, liar(u32, 2, 0, nil, []byte{0, 0}), nil), "dictionary of 0"},
		{"broken dictionary", Name, dict(arrow.PrimitiveTypes.Int8, liar(u32, 2, 0, nil, []byte{0, 0}),
			liar(arrow.BinaryTypes.String, 1, 0, nil, offsets(0, 5), []byte("x"))), "its dictionary: offset 5"},
		{"list without values", Uint32s, liar(arrowTypes[Uint32s], 2, 0, nil, offsets(0, 0, 0)), "without values"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := NewPool(nil)
			b := p.Get(NewSchema(Field{Name: "x", Type: c.typ}), 2)
			b.SetRows(2)
			err := b.fromArrow(0, c.d, 2)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("error %v, want one that says %q", err, c.want)
			}
		})
	}
}

func TestSchemaFromArrowRefuses(t *testing.T) {
	mac := arrow.NewMetadata([]string{metaType}, []string{"mac"})
	for _, c := range []struct {
		f    arrow.Field
		want string
	}{
		{arrow.Field{Name: "x", Type: arrow.FixedWidthTypes.Boolean}, `column "x" has the Arrow type bool`},
		{arrow.Field{Name: "x", Type: &arrow.TimestampType{Unit: arrow.Second, TimeZone: "UTC"}}, "cast it to one of"},
		{arrow.Field{Name: "x", Type: &arrow.FixedSizeBinaryType{ByteWidth: 4}}, "fixed_size_binary[4]"},
		{arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Uint8, Metadata: mac}, `says it is of type "mac"`},
		{arrow.Field{Name: "y", Type: arrow.PrimitiveTypes.Uint8}, "twice"},
	} {
		_, err := SchemaFromArrow(arrow.NewSchema([]arrow.Field{{Name: "y", Type: arrow.PrimitiveTypes.Uint8}, c.f}, nil))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want one that says %q", err, c.want)
		}
	}
	if s, err := SchemaFromArrow(arrow.NewSchema([]arrow.Field{{Name: "m", Type: arrow.PrimitiveTypes.Uint64, Metadata: mac}}, nil)); err != nil || s.Field(0).Type != MAC {
		t.Error(s, err)
	}
}

// FuzzFromArrow reads the batches of a stranger: no panic, and what is accepted has the rows it says. The schema before them is ours:
// Arrow's reader believes the counts in one (a field of 2^31 children is 377 GB, which no recover catches), so a schema from outside is
// never given to it.
func FuzzFromArrow(f *testing.F) {
	p := NewPool(nil)
	b := p.Get(everyType, 3)
	fill(b, 3)
	var stream bytes.Buffer
	w := ipc.NewWriter(&stream, ipc.WithSchema(everyType.Arrow()))
	if err := w.Write(b.Arrow()); err != nil {
		f.Fatal(err)
	}
	w.Close()
	schema := 8 + int(binary.LittleEndian.Uint32(stream.Bytes()[4:])) // the first message, which has no body
	head, batches := stream.Bytes()[:schema], stream.Bytes()[schema:]
	f.Add(batches)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > math.MaxUint16 {
			return
		}
		// The bounds are for the machine that fuzzes: the reader allocates what a header claims. (NewReader would ignore them.)
		memory := sparing{memory.NewGoAllocator()}
		messages := ipc.NewMessageReader(io.MultiReader(bytes.NewReader(head), bytes.NewReader(data)),
			ipc.WithMetadataSizeLimit(math.MaxUint16), ipc.WithBodySizeLimit(math.MaxUint16), ipc.WithAllocator(memory))
		in, err := ipc.NewReaderFromMessageReader(messages, ipc.WithAllocator(memory))
		if err != nil {
			return
		}
		defer in.Release()
		s, err := SchemaFromArrow(in.Schema())
		if err != nil {
			t.Fatal(err)
		}
		for in.Next() {
			b, err := FromArrow(p, s, in.RecordBatch())
			if err != nil {
				continue
			}
			if int64(b.Rows()) != in.RecordBatch().NumRows() {
				t.Fatal("rows lost")
			}
			content(b)
			release(b)
		}
	})
}

// sparing allocates no more than a decompressed batch of the test could need. The reader turns the panic into an error.
type sparing struct{ memory.Allocator }

func (a sparing) Allocate(n int) []byte { return a.Allocator.Allocate(a.bounded(n)) }

func (a sparing) Reallocate(n int, b []byte) []byte { return a.Allocator.Reallocate(a.bounded(n), b) }

func (sparing) bounded(n int) int {
	if n > 1<<24 {
		panic("more than 16 MiB asked for")
	}
	return n
}
