package parquet

import (
	"unsafe"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/weirflow/weir/sdk"
)

// group is the open row group: the rows' values, copied column by column and encoded when the group is complete. Only then a
// column's dictionary is known, and the encoder's own, which it fills value by value, costs an allocation for each.
type group struct {
	shape *shape
	rows  int
	cols  []values
}

func newGroup(h *shape) *group {
	g := &group{shape: h, cols: make([]values, len(h.fields))}
	for i := range g.cols {
		v := &g.cols[i]
		if v.Field = h.fields[i]; v.Type == sdk.Name || h.text && (v.Type == sdk.Addr || v.Type == sdk.MAC) {
			v.names, v.addrs, v.macs = map[string]int32{}, map[[16]byte]int32{}, map[uint64]int32{}
			v.coded = true
		}
		v.reset()
	}
	return g
}

// values are those of one column.
type values struct {
	sdk.Field
	data    []byte  // of fixed width, or all values of variable length one after another
	offsets []int32 // of variable length
	valid   []byte  // times and coded addresses: a bit for each row that is not NULL
	nulls   int

	coded bool // indices into a dictionary of strings
	index []int32
	text  []byte
	ends  []int32
	names map[string]int32
	addrs map[[16]byte]int32
	macs  map[uint64]int32
	dict  *sdk.Dict // remap translates its indices, -1 where that was not needed yet
	remap []int32
}

func (v *values) reset() {
	v.data, v.offsets, v.valid, v.nulls = v.data[:0], append(v.offsets[:0], 0), v.valid[:0], 0
	v.index, v.text, v.ends = v.index[:0], v.text[:0], append(v.ends[:0], 0)
	clear(v.names)
	clear(v.addrs)
	clear(v.macs)
	v.dict = nil
}

func (g *group) reset() {
	g.rows = 0
	for i := range g.cols {
		g.cols[i].reset()
	}
}

// entry is about what an entry of a map of a dictionary takes.
const entry = 64

// size is the memory the rows take.
func (g *group) size() (n int64) {
	for i := range g.cols {
		v := &g.cols[i]
		n += int64(len(v.data) + 4*len(v.offsets) + len(v.valid) + 4*len(v.index) + len(v.text) + (4+entry)*len(v.ends) + 4*len(v.remap))
	}
	return n
}

// held is the memory the group has, used or not.
func (g *group) held() (n int64) {
	for i := range g.cols {
		v := &g.cols[i]
		n += int64(cap(v.data) + 4*cap(v.offsets) + cap(v.valid) + 4*cap(v.index) + cap(v.text) + (4+entry)*cap(v.ends) + 4*cap(v.remap))
	}
	return n
}

// add copies the rows of b.
func (g *group) add(b *sdk.Batch) {
	for i, j := range g.shape.at {
		g.cols[i].add(b, j, g.rows)
	}
	g.rows += b.Rows()
}

func (v *values) add(b *sdk.Batch, col, at int) {
	switch v.Type {
	case sdk.Name:
		v.addNames(b.Names(col))
	case sdk.Addr:
		x := sdk.Values[[16]byte](b, col)
		if !v.coded {
			v.data = append(v.data, bytesOf(x)...)
			return
		}
		for k := range x {
			v.index = append(v.index, v.addr(&x[k], at+k))
		}
	case sdk.MAC:
		x := sdk.Values[uint64](b, col)
		if !v.coded {
			v.data = append(v.data, bytesOf(x)...)
			return
		}
		for k := range x {
			v.index = append(v.index, v.mac(x[k], at+k))
		}
	case sdk.Timestamp:
		x := sdk.Values[int64](b, col)
		v.data = append(v.data, bytesOf(x)...)
		for k, t := range x {
			v.known(at+k, t != 0)
		}
	case sdk.Bytes, sdk.Text, sdk.Uint32s:
		for _, x := range b.Bytes(col) {
			if v.Type == sdk.Uint32s {
				x = x[:len(x)&^3]
			}
			v.data = append(v.data, x...)
			v.offsets = append(v.offsets, int32(len(v.data)))
		}
	default:
		switch v.Type.Width() {
		case 1:
			v.data = append(v.data, sdk.Values[uint8](b, col)...)
		case 2:
			v.data = append(v.data, bytesOf(sdk.Values[uint16](b, col))...)
		case 4:
			v.data = append(v.data, bytesOf(sdk.Values[uint32](b, col))...)
		case 8:
			v.data = append(v.data, bytesOf(sdk.Values[uint64](b, col))...)
		}
	}
}

// known says whether a row is not NULL.
func (v *values) known(row int, yes bool) {
	if row>>3 == len(v.valid) {
		v.valid = append(v.valid, 0)
	}
	if yes {
		v.valid[row>>3] |= 1 << (row & 7)
	} else {
		v.nulls++
	}
}

func (v *values) addr(x *[16]byte, row int) int32 {
	v.known(row, *x != [16]byte{})
	i, ok := v.addrs[*x]
	if !ok {
		v.text = sdk.AppendAddr(v.text, x)
		i = v.added()
		v.addrs[*x] = i
	}
	return i
}

func (v *values) mac(x uint64, row int) int32 {
	v.known(row, x != 0)
	i, ok := v.macs[x]
	if !ok {
		if x != 0 {
			v.text = sdk.AppendMAC(v.text, x)
		}
		i = v.added()
		v.macs[x] = i
	}
	return i
}

// added ends the string just written to text.
func (v *values) added() int32 {
	v.ends = append(v.ends, int32(len(v.text)))
	return int32(len(v.ends) - 2)
}

func (v *values) addNames(idx []uint16, d *sdk.Dict) {
	names := d.Values()
	if v.dict != d || d == nil {
		v.dict, v.remap = d, v.remap[:0]
	}
	for len(v.remap) < len(names) {
		v.remap = append(v.remap, -1)
	}
	for _, x := range idx {
		i := v.remap[x]
		if i < 0 {
			i = v.name(names[x])
			v.remap[x] = i
		}
		v.index = append(v.index, i)
	}
}

func (v *values) name(s string) int32 {
	i, ok := v.names[s]
	if !ok {
		v.text = append(v.text, s...)
		i = v.added()
		v.names[s] = i
	}
	return i
}

// record is the group in Arrow's objects, over the group's own memory.
func (g *group) record() arrow.RecordBatch {
	cols := make([]arrow.Array, len(g.cols))
	for i := range g.cols {
		cols[i] = g.cols[i].array(g.shape.schema.Field(i).Type, g.rows)
	}
	r := array.NewRecordBatch(g.shape.schema, cols, int64(g.rows))
	for _, c := range cols {
		c.Release()
	}
	return r
}

func (v *values) array(t arrow.DataType, n int) arrow.Array {
	var d *array.Data
	var valid *memory.Buffer
	if v.nulls > 0 {
		valid = memory.NewBufferBytes(v.valid)
	}
	data := memory.NewBufferBytes(v.data)
	switch {
	case v.coded:
		strings := array.NewData(arrow.BinaryTypes.String, len(v.ends)-1,
			[]*memory.Buffer{nil, memory.NewBufferBytes(bytesOf(v.ends)), memory.NewBufferBytes(v.text)}, nil, 0, 0)
		defer strings.Release()
		d = array.NewDataWithDictionary(t, n, []*memory.Buffer{valid, memory.NewBufferBytes(bytesOf(v.index))}, v.nulls, 0, strings)
	case v.Type == sdk.Uint32s:
		for k := range v.offsets {
			v.offsets[k] /= 4
		}
		child := array.NewData(arrow.PrimitiveTypes.Uint32, len(v.data)/4, []*memory.Buffer{nil, data}, nil, 0, 0)
		defer child.Release()
		d = array.NewData(t, n, []*memory.Buffer{nil, memory.NewBufferBytes(bytesOf(v.offsets))}, []arrow.ArrayData{child}, 0, 0)
	case v.Type.Width() == 0:
		d = array.NewData(t, n, []*memory.Buffer{nil, memory.NewBufferBytes(bytesOf(v.offsets)), data}, nil, 0, 0)
	default:
		d = array.NewData(t, n, []*memory.Buffer{valid, data}, nil, v.nulls, 0)
	}
	defer d.Release()
	return array.MakeFromData(d)
}

// bytesOf is the memory of x.
func bytesOf[T any](x []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), len(x)*int(unsafe.Sizeof(*new(T))))
}
