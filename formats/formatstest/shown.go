package formatstest

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/weirflow/weir/sdk"
)

// Shown is the rows as text: of each the columns that are not zero. Numbers are decimal, times RFC 3339 in UTC, bytes hexadecimal,
// the numbers of a list separated by spaces.
func (t *Table) Shown() (rows []map[string]string) {
	for _, b := range t.Batches() {
		for j := range b.Rows() {
			m := map[string]string{}
			for i, f := range t.Out.Fields() {
				if s := shown(b, i, f.Type, j); s != "" {
					m[f.Name] = s
				}
			}
			rows = append(rows, m)
		}
	}
	return rows
}

// shown is a value, empty if it is zero.
func shown(b *sdk.Batch, col int, t sdk.Type, row int) string {
	number := func(v uint64) string {
		if v == 0 {
			return ""
		}
		return strconv.FormatUint(v, 10)
	}
	switch t {
	case sdk.Timestamp:
		if v := sdk.Values[int64](b, col)[row]; v != 0 {
			return time.Unix(0, v).UTC().Format(time.RFC3339Nano)
		}
	case sdk.Addr:
		if a := sdk.Values[[16]byte](b, col)[row]; a != [16]byte{} {
			return netip.AddrFrom16(a).Unmap().String()
		}
	case sdk.MAC:
		if v := sdk.Values[uint64](b, col)[row]; v != 0 {
			return string(sdk.AppendMAC(nil, v))
		}
	case sdk.Name:
		idx, d := b.Names(col)
		return d.Values()[idx[row]]
	case sdk.Uint32s:
		var s []string
		for v := b.Bytes(col)[row]; len(v) >= 4; v = v[4:] {
			s = append(s, strconv.FormatUint(uint64(binary.LittleEndian.Uint32(v)), 10))
		}
		return strings.Join(s, " ")
	case sdk.Text:
		return string(b.Bytes(col)[row])
	case sdk.Bytes:
		return hex.EncodeToString(b.Bytes(col)[row])
	case sdk.Uint8:
		return number(uint64(sdk.Values[uint8](b, col)[row]))
	case sdk.Uint16:
		return number(uint64(sdk.Values[uint16](b, col)[row]))
	case sdk.Uint32:
		return number(uint64(sdk.Values[uint32](b, col)[row]))
	case sdk.Uint64:
		return number(sdk.Values[uint64](b, col)[row])
	case sdk.Int64:
		if v := sdk.Values[int64](b, col)[row]; v != 0 {
			return strconv.FormatInt(v, 10)
		}
	}
	return ""
}
