package parquet

import (
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/weirflow/weir/sdk"
)

// shape is how batches of one schema are written: which columns, and as what.
type shape struct {
	at     []int // columns of the batch
	fields []sdk.Field
	text   bool // addresses as text
	schema *arrow.Schema
	props  *parquet.WriterProperties
	width  int64 // bytes a row takes in memory, without values of variable length
}

func newShape(s *sdk.Schema, cfg *Config) (*shape, error) {
	at, err := s.Indices(sdk.Wanted(cfg.Columns, s))
	if err != nil {
		return nil, err
	}
	h := &shape{at: at, text: cfg.Addresses == "text"}
	props := []parquet.WriterProperty{parquet.WithVersion(parquet.V2_LATEST), parquet.WithCreatedBy("weir"), parquet.WithMaxRowGroupLength(groupRows)}
	switch cfg.Compression {
	case "zstd":
		props = append(props, parquet.WithCompression(compress.Codecs.Zstd), parquet.WithCompressionLevel(cfg.Level))
	case "snappy":
		props = append(props, parquet.WithCompression(compress.Codecs.Snappy))
	}
	var out []arrow.Field
	for _, j := range at {
		f, a := s.Field(j), s.Arrow().Field(j)
		h.fields = append(h.fields, f)
		switch {
		case f.Type == sdk.Timestamp:
			a.Nullable = true
			// Times rise, so their differences are small; a dictionary of them would be as large as they are.
			props = append(props, parquet.WithDictionaryFor(f.Name, false), parquet.WithEncodingFor(f.Name, parquet.Encodings.DeltaBinaryPacked))
		case h.text && (f.Type == sdk.Addr || f.Type == sdk.MAC):
			a.Type, a.Nullable = arrow.BinaryTypes.String, true
		case f.Type == sdk.Name:
			a.Type = arrow.BinaryTypes.String
		}
		h.width += int64(max(f.Type.Width(), 4))
		out = append(out, a)
	}
	h.schema = arrow.NewSchema(out, nil)
	h.props = parquet.NewWriterProperties(props...)
	return h, nil
}

func (h *shape) newWriter(f *file) (*pqarrow.FileWriter, error) {
	return pqarrow.NewFileWriter(h.schema, f, h.props, pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
}

// record is the batch as it is written. Released, it gives the batch back.
func (h *shape) record(b *sdk.Batch) arrow.RecordBatch {
	whole := b.Arrow()
	defer whole.Release()
	cols := make([]arrow.Array, len(h.at))
	for i, j := range h.at {
		switch f := h.fields[i]; {
		case f.Type == sdk.Timestamp:
			cols[i] = times(whole.Column(j), sdk.Values[int64](b, j))
		case f.Type == sdk.Addr && h.text:
			v := sdk.Values[[16]byte](b, j)
			cols[i] = texts(len(v), len("255.255.255.255"), true, func(dst []byte, k int) []byte { return sdk.AppendAddr(dst, &v[k]) })
		case f.Type == sdk.MAC && h.text:
			v := sdk.Values[uint64](b, j)
			cols[i] = texts(len(v), len("aa:bb:cc:dd:ee:ff"), true, func(dst []byte, k int) []byte {
				if v[k] == 0 {
					return dst
				}
				return sdk.AppendMAC(dst, v[k])
			})
		case f.Type == sdk.Name:
			idx, d := b.Names(j)
			names := d.Values()
			cols[i] = texts(len(idx), 8, false, func(dst []byte, k int) []byte { return append(dst, names[idx[k]]...) })
		default:
			cols[i] = whole.Column(j)
			cols[i].Retain()
		}
	}
	r := array.NewRecordBatch(h.schema, cols, int64(b.Rows()))
	for _, c := range cols {
		c.Release()
	}
	return r
}

// bytes is about what the batch adds to the open row group.
func (h *shape) bytes(b *sdk.Batch) int64 {
	n := h.width * int64(b.Rows())
	for i, j := range h.at {
		if h.fields[i].Type.Width() == 0 {
			for _, v := range b.Bytes(j) {
				n += int64(len(v))
			}
		}
	}
	return n
}

// texts makes an array of strings of about size bytes; with null an empty one is NULL.
func texts(n, size int, null bool, add func(dst []byte, row int) []byte) arrow.Array {
	offsets, data := make([]int32, n+1), make([]byte, 0, n*size)
	var valid []byte
	if null {
		valid = make([]byte, (n+7)/8)
	}
	nulls := 0
	for k := range n {
		data = add(data, k)
		offsets[k+1] = int32(len(data))
		if null {
			if offsets[k+1] == offsets[k] {
				nulls++
			} else {
				valid[k>>3] |= 1 << (k & 7)
			}
		}
	}
	return makeArray(arrow.BinaryTypes.String, n, nulls, valid, unsafe.Slice((*byte)(unsafe.Pointer(&offsets[0])), 4*len(offsets)), data)
}

// times is the column with NULL where the time is not known.
func times(a arrow.Array, v []int64) arrow.Array {
	nulls := 0
	for _, t := range v {
		if t == 0 {
			nulls++
		}
	}
	if nulls == 0 {
		a.Retain()
		return a
	}
	valid := make([]byte, (len(v)+7)/8)
	for k, t := range v {
		if t != 0 {
			valid[k>>3] |= 1 << (k & 7)
		}
	}
	d := array.NewData(a.DataType(), len(v), []*memory.Buffer{memory.NewBufferBytes(valid), a.Data().Buffers()[1]}, nil, nulls, a.Data().Offset())
	defer d.Release()
	return array.MakeFromData(d)
}

func makeArray(t arrow.DataType, n, nulls int, valid, offsets, data []byte) arrow.Array {
	var bitmap *memory.Buffer
	if nulls > 0 {
		bitmap = memory.NewBufferBytes(valid)
	}
	d := array.NewData(t, n, []*memory.Buffer{bitmap, memory.NewBufferBytes(offsets), memory.NewBufferBytes(data)}, nil, nulls, 0)
	defer d.Release()
	return array.MakeFromData(d)
}
