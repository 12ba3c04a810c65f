package sdk

import (
	"fmt"
	"math"
	"sync"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// Keys of the metadata of an Arrow field that carry what Arrow's types cannot say, so that [SchemaFromArrow] gives back the
// very schema that [Schema.Arrow] was called on.
const (
	metaType  = "weir.type"
	metaUnit  = "weir.unit"
	metaDoc   = "weir.doc"
	metaExtra = "weir.extra"
)

// arrowTypes is the one Arrow type of each type of column. MAC shares Uint64's and is told apart by the field's metadata.
var arrowTypes = [...]arrow.DataType{
	Uint8:     arrow.PrimitiveTypes.Uint8,
	Uint16:    arrow.PrimitiveTypes.Uint16,
	Uint32:    arrow.PrimitiveTypes.Uint32,
	Uint64:    arrow.PrimitiveTypes.Uint64,
	Int64:     arrow.PrimitiveTypes.Int64,
	Float64:   arrow.PrimitiveTypes.Float64,
	Timestamp: &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"},
	Addr:      &arrow.FixedSizeBinaryType{ByteWidth: 16},
	MAC:       arrow.PrimitiveTypes.Uint64,
	Name:      &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Uint16, ValueType: arrow.BinaryTypes.String},
	Bytes:     arrow.BinaryTypes.Binary,
	Text:      arrow.BinaryTypes.String,
	Uint32s:   arrow.ListOfNonNullable(arrow.PrimitiveTypes.Uint32),
}

// arrowForm is what a schema's batches have in common when they are wrapped: made once a schema.
type arrowForm struct {
	schema *arrow.Schema
	zero   []arrow.Array // for each column, MaxRows of its zero
	vars   int           // columns of variable length
}

func (s *Schema) form() *arrowForm {
	s.arrow.once.Do(func() {
		f := &arrowForm{zero: make([]arrow.Array, len(s.fields))}
		fields := make([]arrow.Field, len(s.fields))
		for i, c := range s.fields {
			keys, vals := []string{metaType}, []string{c.Type.String()}
			if c.Unit != "" {
				keys, vals = append(keys, metaUnit), append(vals, c.Unit)
			}
			if c.Doc != "" {
				keys, vals = append(keys, metaDoc), append(vals, c.Doc)
			}
			if c.Extra {
				keys, vals = append(keys, metaExtra), append(vals, "true")
			}
			fields[i] = arrow.Field{Name: c.Name, Type: arrowTypes[c.Type], Metadata: arrow.NewMetadata(keys, vals)}
			f.zero[i] = zeroArray(c.Type, MaxRows)
			if c.Type.Width() == 0 {
				f.vars++
			}
		}
		f.schema = arrow.NewSchema(fields, nil)
		s.arrow.val = f
	})
	return s.arrow.val.(*arrowForm)
}

// Arrow is the schema as Arrow knows it; no field is nullable. It is made once.
//
// Uint8 to Uint64, Int64 and Float64 are what they are called; Timestamp is timestamp[ns, UTC], Addr fixed_size_binary[16], MAC
// uint64, Name dictionary<uint16, utf8>, Bytes binary, Text utf8 and Uint32s list<uint32>. The metadata of a field (weir.type,
// weir.unit, weir.doc, weir.extra) says the rest.
func (s *Schema) Arrow() *arrow.Schema { return s.form().schema }

// zeroBuffer backs every column nobody wrote; nothing ever frees it.
var zeroBuffer = memory.NewBufferBytes(unsafe.Slice((*byte)(unsafe.Pointer(&zeros)), unsafe.Sizeof(zeros)))

// zeroArray is n rows of a type's zero, all of them over zeroBuffer: as values, as indices and as offsets.
func zeroArray(t Type, n int) arrow.Array {
	switch t {
	case Name:
		return dictArray(zeroBuffer, n, nil, make([]*memory.Buffer, 2))
	case Bytes, Text:
		return makeArray(array.NewData(arrowTypes[t], n, []*memory.Buffer{nil, zeroBuffer, zeroBuffer}, nil, 0, 0))
	case Uint32s:
		values := array.NewData(arrow.PrimitiveTypes.Uint32, 0, []*memory.Buffer{nil, zeroBuffer}, nil, 0, 0)
		a := makeArray(array.NewData(arrowTypes[t], n, []*memory.Buffer{nil, zeroBuffer}, []arrow.ArrayData{values}, 0, 0))
		values.Release()
		return a
	}
	return makeArray(array.NewData(arrowTypes[t], n, []*memory.Buffer{nil, zeroBuffer}, nil, 0, 0))
}

// makeArray makes the array of d and gives up the caller's hold on d.
func makeArray(d *array.Data) arrow.Array {
	a := array.MakeFromData(d)
	d.Release()
	return a
}

func dictArray(indices *memory.Buffer, n int, dict *Dict, slots []*memory.Buffer) arrow.Array {
	slots[1] = indices
	return makeArray(array.NewDataWithDictionary(arrowTypes[Name], n, slots, 0, 0, dict.arrowValues()))
}

// holder is a batch seen as Arrow's allocator: a buffer over one of its columns frees a hold, not memory. It needs no object of
// its own, and an array that outlives its record still holds the batch.
type holder Batch

func (h *holder) Allocate(int) []byte {
	panic("sdk: a buffer over a batch's column cannot allocate: batches are immutable")
}
func (h *holder) Reallocate(int, []byte) []byte { return h.Allocate(0) }
func (h *holder) Free([]byte)                   { (*Batch)(h).Release() }

// Arrow wraps the sealed batch in Arrow's objects, without copying columns of fixed width: their buffers hold the batch until
// they are released. Values of variable length are copied once, so the result is valid after the call that lent them. The caller
// releases the record. Of a batch with a selection the records that it names are copied first. It panics if the values of variable length of the batch take more than 2 GiB, Arrow's limit for one array.
//
// The wrapping is made anew at each call, never kept with the batch: a recycled batch would be held by its own wrapping.
func (b *Batch) Arrow() arrow.RecordBatch {
	if b.sel != nil {
		c := b.gathered()
		defer c.Release()
		return c.Arrow()
	}
	form, n := b.schema.form(), b.rows
	arrays := make([]arrow.Array, len(b.cols))
	slots := make([]*memory.Buffer, 2*len(b.cols))
	var mem arrowMem
	if form.vars > 0 {
		mem.size(b)
	}
	for i := range b.cols {
		c, t := &b.cols[i], b.schema.fields[i].Type
		two := slots[2*i : 2*i+2 : 2*i+2]
		switch w := t.Width(); {
		case c.watermark == 0 || n == 0:
			if n == MaxRows {
				form.zero[i].Retain()
				arrays[i] = form.zero[i]
			} else {
				arrays[i] = zeroArray(t, n)
			}
		case w == 0:
			arrays[i] = mem.array(t, c.vals[:n])
		default:
			b.Retain()
			buf := memory.NewBufferWithAllocator(unsafe.Slice((*byte)(c.data), n*w), (*holder)(b))
			if t == Name {
				arrays[i] = dictArray(buf, n, c.dict, two)
			} else {
				two[1] = buf
				arrays[i] = makeArray(array.NewData(arrowTypes[t], n, two, nil, 0, 0))
			}
			buf.Release()
		}
	}
	r := array.NewRecordBatch(form.schema, arrays, int64(n))
	for _, a := range arrays {
		a.Release()
	}
	return r
}

// arrowMem is the memory of one wrapping's values of variable length, allocated at once.
type arrowMem []byte

func (m *arrowMem) size(b *Batch) {
	total := 0
	for i := range b.cols {
		if c := &b.cols[i]; c.vals != nil && c.watermark > 0 {
			total += pad64((b.rows + 1) * 4)
			n := 0
			for _, v := range c.vals[:b.rows] {
				n += len(v)
			}
			if n > math.MaxInt32 {
				panic(fmt.Sprintf("sdk: column %s holds %d bytes in one batch, and an Arrow array at most 2 GiB", b.schema.fields[i].Name, n))
			}
			total += pad64(n)
		}
	}
	*m = heap{}.Allocate(total)
}

func pad64(n int) int { return (n + 63) &^ 63 }

func (m *arrowMem) take(n int) []byte {
	t := (*m)[:n:n]
	*m = (*m)[pad64(n):]
	return t
}

// varBuffers are the buffers of one array of variable length. They look into Go's heap, so nothing is counted or freed.
type varBuffers struct {
	offsets, values memory.Buffer
	slots           [5]*memory.Buffer // nil, offsets, values for strings; nil, offsets and nil, values for a list
	child           [1]arrow.ArrayData
}

func (m *arrowMem) array(t Type, vals [][]byte) arrow.Array {
	raw := m.take((len(vals) + 1) * 4)
	offsets := unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(raw))), len(vals)+1)
	unit := 1
	if t == Uint32s {
		unit = 4
	}
	total := 0
	for i, v := range vals {
		offsets[i] = int32(total / unit)
		total += len(v) / unit * unit
	}
	offsets[len(vals)] = int32(total / unit)
	data := m.take(total)
	at := 0
	for _, v := range vals {
		at += copy(data[at:], v[:len(v)/unit*unit])
	}
	x := new(varBuffers)
	x.offsets.Reset(raw)
	x.values.Reset(data)
	if t != Uint32s {
		x.slots[1], x.slots[2] = &x.offsets, &x.values
		return makeArray(array.NewData(arrowTypes[t], len(vals), x.slots[:3], nil, 0, 0))
	}
	x.slots[1], x.slots[3] = &x.offsets, &x.values
	child := array.NewData(arrow.PrimitiveTypes.Uint32, total/4, x.slots[2:4], nil, 0, 0)
	x.child[0] = child
	a := makeArray(array.NewData(arrowTypes[t], len(vals), x.slots[:2], x.child[:], 0, 0))
	child.Release()
	return a
}

// dictArrow is a dictionary's strings in Arrow's layout. It is brought up to date when a batch is wrapped whose dictionary has
// grown since, by appending: arrays made earlier look at the shorter front.
type dictArrow struct {
	mu      sync.Mutex
	offsets []int32
	bytes   []byte
	data    *array.Data
}

// arrowValues returns the strings as Arrow's data, held by the dictionary.
func (d *Dict) arrowValues() *array.Data {
	if d == nil {
		d = noNames
	}
	a := &d.arrow
	a.mu.Lock()
	defer a.mu.Unlock()
	vals := d.Values()
	if a.data != nil && a.data.Len() == len(vals) {
		return a.data
	}
	if a.offsets == nil {
		a.offsets = append(a.offsets, 0)
	}
	for _, v := range vals[len(a.offsets)-1:] {
		a.bytes = append(a.bytes, v...)
		if len(a.bytes) > math.MaxInt32 {
			panic("sdk: the strings of a dictionary take more than 2 GiB")
		}
		a.offsets = append(a.offsets, int32(len(a.bytes)))
	}
	offsets := unsafe.Slice((*byte)(unsafe.Pointer(&a.offsets[0])), 4*len(a.offsets))
	a.data = array.NewData(arrow.BinaryTypes.String, len(vals),
		[]*memory.Buffer{nil, memory.NewBufferBytes(offsets), memory.NewBufferBytes(a.bytes[:len(a.bytes):len(a.bytes)])}, nil, 0, 0)
	return a.data
}

// noNames is the dictionary of a column without one: every index in it is 0.
var noNames = NewDict()
