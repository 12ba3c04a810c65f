package sdktest

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/weirflow/weir/sdk"
)

// Rows are the values of a batch, apart from its memory: one slice a row, in the schema's order. uint64 for unsigned integers,
// MAC included; int64 for Int64 and Timestamp; float64 (the bits as text if not a number); [16]byte for Addr; string for names and
// all that has variable length.
type Rows [][]any

// RowsOf copies the values of a batch, of a selection's rows where it has one. A row claimed and not written shows as the pool's dirty
// memory.
func RowsOf(b *sdk.Batch) Rows {
	all := rowsOf(b)
	sel := b.Selection()
	if sel == nil {
		return all
	}
	rows := make(Rows, len(sel))
	for i, r := range sel {
		rows[i] = all[r]
	}
	return rows
}

// rowsOf copies the values of all rows of the columns.
func rowsOf(b *sdk.Batch) Rows {
	rows := make(Rows, b.Len())
	for i := range rows {
		rows[i] = make([]any, b.Schema().Len())
	}
	for col, f := range b.Schema().Fields() {
		switch f.Type {
		case sdk.Uint8:
			column(rows, col, sdk.Values[uint8](b, col), func(v uint8) any { return uint64(v) })
		case sdk.Uint16:
			column(rows, col, sdk.Values[uint16](b, col), func(v uint16) any { return uint64(v) })
		case sdk.Uint32:
			column(rows, col, sdk.Values[uint32](b, col), func(v uint32) any { return uint64(v) })
		case sdk.Uint64, sdk.MAC:
			column(rows, col, sdk.Values[uint64](b, col), func(v uint64) any { return v })
		case sdk.Int64, sdk.Timestamp:
			column(rows, col, sdk.Values[int64](b, col), func(v int64) any { return v })
		case sdk.Float64:
			column(rows, col, sdk.Values[float64](b, col), func(v float64) any {
				if v != v {
					return fmt.Sprintf("NaN %x", math.Float64bits(v))
				}
				return v
			})
		case sdk.Addr:
			column(rows, col, sdk.Values[[16]byte](b, col), func(v [16]byte) any { return v })
		case sdk.Name:
			idx, d := b.Names(col)
			names := d.Values()
			column(rows, col, idx, func(v uint16) any {
				if int(v) >= len(names) {
					return fmt.Sprintf("index %d of a dictionary of %d", v, len(names))
				}
				return names[v]
			})
		default:
			column(rows, col, b.Bytes(col), func(v []byte) any { return string(v) })
		}
	}
	return rows
}

func column[T any](rows Rows, col int, vals []T, of func(T) any) {
	for i, v := range vals {
		rows[i][col] = of(v)
	}
}

// Sorted is a copy in an order that depends on the values alone: for outputs whose order is nobody's promise.
func (r Rows) Sorted() Rows {
	keys := make(map[*any]string, len(r))
	for _, row := range r {
		if len(row) > 0 {
			keys[&row[0]] = fmt.Sprintf("%#v", row)
		}
	}
	s := slices.Clone(r)
	slices.SortStableFunc(s, func(a, b []any) int {
		if len(a) == 0 || len(b) == 0 {
			return len(a) - len(b)
		}
		return cmp.Compare(keys[&a[0]], keys[&b[0]])
	})
	return s
}
