package sdk

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// SchemaFromArrow is the schema of batches that come from outside as Arrow: the inverse of [Schema.Arrow]. Where a field lacks
// the metadata, its Arrow type alone decides. A field of a type that no column has is an error that names it and the types that
// could be used.
func SchemaFromArrow(s *arrow.Schema) (*Schema, error) {
	fields := make([]Field, s.NumFields())
	seen := make(map[string]bool, s.NumFields())
	for i, f := range s.Fields() {
		if seen[f.Name] {
			return nil, fmt.Errorf("Arrow schema has column %q twice", f.Name)
		}
		seen[f.Name] = true
		c := Field{Name: f.Name, Type: typeOfArrow(f.Type)}
		if c.Type == 0 {
			return nil, fmt.Errorf("column %q has the Arrow type %s, which no column of a batch has: cast it to one of uint8, uint16, uint32, uint64, int64, float64, "+
				"timestamp[ns, UTC], fixed_size_binary[16], dictionary<utf8>, utf8, binary or list<uint32>", f.Name, f.Type)
		}
		if v, ok := f.Metadata.GetValue(metaType); ok && v != c.Type.String() {
			if v != MAC.String() || c.Type != Uint64 {
				return nil, fmt.Errorf("column %q says it is of type %q and has the Arrow type %s", f.Name, v, f.Type)
			}
			c.Type = MAC
		}
		c.Unit, _ = f.Metadata.GetValue(metaUnit)
		c.Doc, _ = f.Metadata.GetValue(metaDoc)
		extra, _ := f.Metadata.GetValue(metaExtra)
		c.Extra = extra == "true"
		fields[i] = c
	}
	return NewSchema(fields...), nil
}

// typeOfArrow is the type of column that t can be read into, 0 if there is none.
func typeOfArrow(t arrow.DataType) Type {
	switch t := t.(type) {
	case *arrow.Uint8Type:
		return Uint8
	case *arrow.Uint16Type:
		return Uint16
	case *arrow.Uint32Type:
		return Uint32
	case *arrow.Uint64Type:
		return Uint64
	case *arrow.Int64Type:
		return Int64
	case *arrow.Float64Type:
		return Float64
	case *arrow.TimestampType:
		if t.Unit == arrow.Nanosecond && (t.TimeZone == "UTC" || t.TimeZone == "") {
			return Timestamp
		}
	case *arrow.FixedSizeBinaryType:
		if t.ByteWidth == 16 {
			return Addr
		}
	case *arrow.DictionaryType:
		if arrow.IsInteger(t.IndexType.ID()) && t.ValueType.ID() == arrow.STRING {
			return Name
		}
	case *arrow.BinaryType:
		return Bytes
	case *arrow.StringType:
		return Text
	case *arrow.ListType:
		if t.Elem().ID() == arrow.UINT32 {
			return Uint32s
		}
	}
	return 0
}

// FromArrow copies a record that comes from outside into a batch of schema s, by column name: columns that r lacks are zero,
// those that s lacks are left, a null is its column's zero. The batch is sealed and has no range. Text is not checked to be UTF-8.
//
// Nothing in r is believed: every length, offset and dictionary index is checked against its buffer before it is used, and an
// error says which column is at fault. r may have at most [MaxRows] rows.
func FromArrow(p *Pool, s *Schema, r arrow.RecordBatch) (*Batch, error) {
	n := r.NumRows()
	if n < 0 || n > MaxRows {
		return nil, fmt.Errorf("Arrow record has %d rows, and a batch at most %d: send smaller records", n, MaxRows)
	}
	b := p.Get(s, int(n))
	b.SetRows(int(n))
	for j, f := range r.Schema().Fields() {
		i := s.Index(f.Name)
		if i < 0 || n == 0 {
			continue
		}
		if err := b.fromArrow(i, r.Column(j).Data(), int(n)); err != nil {
			b.SetRows(0)
			b.Done(Dropped)
			b.Release()
			return nil, fmt.Errorf("column %q of an Arrow record: %w", f.Name, err)
		}
	}
	b.Seal()
	return b, nil
}

func (b *Batch) fromArrow(i int, d arrow.ArrayData, n int) error {
	t := b.schema.fields[i].Type
	if got := typeOfArrow(d.DataType()); got != t && !(t == MAC && got == Uint64) {
		return fmt.Errorf("has the Arrow type %s where %s is wanted", d.DataType(), arrowTypes[t])
	}
	if d.Len() != n || d.Offset() < 0 || d.Offset() > math.MaxInt32 {
		return fmt.Errorf("has %d rows from %d on, and the record %d", d.Len(), d.Offset(), n)
	}
	nulls, err := nullsOf(d)
	if err != nil {
		return err
	}
	switch t {
	case Name:
		err = b.namesFromArrow(i, d, n)
	case Bytes, Text, Uint32s:
		return b.valuesFromArrow(i, t, d, n, nulls)
	default:
		var from []byte
		if from, err = rows(d, t.Width()); err == nil {
			copy(unsafe.Slice((*byte)(b.Claim(i, 0, n)), n*t.Width()), from)
		}
	}
	if err != nil || nulls == nil {
		return err
	}
	w := t.Width()
	to := unsafe.Slice((*byte)(b.cols[i].data), n*w)
	for k := range n {
		if nulls.at(k) {
			clear(to[k*w : k*w+w])
		}
	}
	return nil
}

// bitmap says which rows of an array are valid.
type bitmap struct {
	bits   []byte
	offset int
}

func (m *bitmap) at(row int) (null bool) {
	if m == nil {
		return false
	}
	row += m.offset
	return m.bits[row>>3]>>(row&7)&1 == 0
}

func nullsOf(d arrow.ArrayData) (*bitmap, error) {
	bufs := d.Buffers()
	if d.NullN() == 0 || len(bufs) == 0 || bufs[0] == nil || bufs[0].Len() == 0 {
		return nil, nil
	}
	if have := bufs[0].Len(); have < (d.Offset()+d.Len()+7)/8 {
		return nil, fmt.Errorf("its validity bitmap has %d bytes, too few for %d rows", have, d.Offset()+d.Len())
	}
	return &bitmap{bufs[0].Bytes(), d.Offset()}, nil
}

// buffer k of d, empty if it has none.
func buffer(d arrow.ArrayData, k int) []byte {
	var buf *memory.Buffer
	if bufs := d.Buffers(); k < len(bufs) {
		buf = bufs[k]
	}
	if buf == nil {
		return nil
	}
	return buf.Bytes()
}

// rows are the bytes of d's rows of w bytes each.
func rows(d arrow.ArrayData, w int) ([]byte, error) {
	data := buffer(d, 1)
	if len(data)/w < d.Offset()+d.Len() {
		return nil, fmt.Errorf("its values have %d bytes, too few for %d rows of %d", len(data), d.Offset()+d.Len(), w)
	}
	return data[d.Offset()*w:][:d.Len()*w], nil
}

// spans are the n+1 offsets of d, ascending and within limit.
func spans(d arrow.ArrayData, limit int) ([]byte, error) {
	if d.Len() == 0 {
		return make([]byte, 4), nil
	}
	data := buffer(d, 1)
	if len(data)/4 < d.Offset()+d.Len()+1 {
		return nil, fmt.Errorf("its offsets have %d bytes, too few for %d rows", len(data), d.Offset()+d.Len())
	}
	data = data[d.Offset()*4:][:(d.Len()+1)*4]
	last := int32(0)
	for k := 0; k < len(data); k += 4 {
		o := int32(binary.LittleEndian.Uint32(data[k:]))
		if o < last || int(o) > limit {
			return nil, fmt.Errorf("offset %d of row %d is outside %d..%d", o, k/4, last, limit)
		}
		last = o
	}
	return data, nil
}

func (b *Batch) valuesFromArrow(i int, t Type, d arrow.ArrayData, n int, nulls *bitmap) error {
	unit, data := 1, buffer(d, 2)
	if t == Uint32s {
		unit = 4
		if len(d.Children()) != 1 || d.Children()[0] == nil {
			return fmt.Errorf("is a list without values")
		}
		child := d.Children()[0]
		if child.Offset() < 0 || child.Len() < 0 || child.DataType().ID() != arrow.UINT32 {
			return fmt.Errorf("is a list of %s", child.DataType())
		}
		var err error
		if data, err = rows(child, 4); err != nil {
			return err
		}
	}
	offsets, err := spans(d, len(data)/unit)
	if err != nil {
		return err
	}
	for k := range n {
		from, to := int(binary.LittleEndian.Uint32(offsets[4*k:])), int(binary.LittleEndian.Uint32(offsets[4*k+4:]))
		if to > from && !nulls.at(k) {
			b.SetBytes(i, k, data[from*unit:to*unit])
		}
	}
	return nil
}

// namesFromArrow gives the batch a dictionary of the strings its rows use: one from outside may repeat a string, lack the empty
// one or hold more than [MaxNames], so its own cannot be taken over.
func (b *Batch) namesFromArrow(i int, d arrow.ArrayData, n int) error {
	it := d.DataType().(*arrow.DictionaryType).IndexType
	w := it.(arrow.FixedWidthDataType).Bytes()
	from, err := rows(d, w)
	if err != nil {
		return err
	}
	nulls, err := nullsOf(d)
	if err != nil {
		return err
	}
	var (
		length        int
		data, offsets []byte
		empty         *bitmap
	)
	if dict, _ := d.Dictionary().(*array.Data); dict != nil { // there may be an interface around nothing
		if length = dict.Len(); length < 0 || dict.Offset() < 0 || dict.Offset() > math.MaxInt32 || dict.DataType().ID() != arrow.STRING {
			return fmt.Errorf("has a dictionary of %d %s", length, dict.DataType())
		}
		data = buffer(dict, 2)
		if offsets, err = spans(dict, len(data)); err != nil {
			return fmt.Errorf("its dictionary: %w", err)
		}
		if empty, err = nullsOf(dict); err != nil {
			return fmt.Errorf("its dictionary: %w", err)
		}
	}
	own, remap := NewDict(), make([]uint16, length)
	out := Claim[uint16](b, i, 0, n)
	for k := range out {
		if out[k] = 0; nulls.at(k) {
			continue
		}
		x := indexAt(from[k*w:], it.ID())
		if x >= uint64(length) {
			return fmt.Errorf("row %d points to string %d of a dictionary of %d", k, int64(x), length)
		}
		if remap[x] == 0 && !empty.at(int(x)) {
			s := data[binary.LittleEndian.Uint32(offsets[4*x:]):binary.LittleEndian.Uint32(offsets[4*x+4:])]
			if len(s) > 0 {
				remap[x], _ = own.Intern(string(s)) // never full: a batch has fewer rows than a dictionary room
			}
		}
		out[k] = remap[x]
	}
	b.SetDict(i, own)
	return nil
}

// indexAt reads an index; a negative one becomes a number that no dictionary is as long as.
func indexAt(p []byte, t arrow.Type) uint64 {
	switch t {
	case arrow.UINT8:
		return uint64(p[0])
	case arrow.INT8:
		return uint64(int8(p[0]))
	case arrow.UINT16:
		return uint64(binary.LittleEndian.Uint16(p))
	case arrow.INT16:
		return uint64(int16(binary.LittleEndian.Uint16(p)))
	case arrow.UINT32:
		return uint64(binary.LittleEndian.Uint32(p))
	case arrow.INT32:
		return uint64(int32(binary.LittleEndian.Uint32(p)))
	}
	return binary.LittleEndian.Uint64(p)
}
