package stdout

import (
	"encoding/binary"
	"math"
	"strconv"

	"github.com/weirflow/weir/sdk"
)

// column is one column that is written, bound to one batch at a time.
type column struct {
	sdk.Field
	at  int    // in the schema
	key []byte // json: `,"name":`

	u8    []uint8
	u16   []uint16
	u32   []uint32
	u64   []uint64
	f64   []float64
	i64   []int64
	addr  [][16]byte
	vals  [][]byte
	names []string
	text  [][]byte // json: names as they are written, made when first met
	dict  *sdk.Dict
	clock clock
	zero  bool
}

func (c *column) bind(b *sdk.Batch) {
	c.zero = b.IsZero(c.at)
	switch c.Type {
	case sdk.Uint8:
		c.u8 = sdk.Values[uint8](b, c.at)
	case sdk.Uint16:
		c.u16 = sdk.Values[uint16](b, c.at)
	case sdk.Uint32:
		c.u32 = sdk.Values[uint32](b, c.at)
	case sdk.Uint64, sdk.MAC:
		c.u64 = sdk.Values[uint64](b, c.at)
	case sdk.Int64, sdk.Timestamp:
		c.i64 = sdk.Values[int64](b, c.at)
	case sdk.Float64:
		c.f64 = sdk.Values[float64](b, c.at)
	case sdk.Addr:
		c.addr = sdk.Values[[16]byte](b, c.at)
	case sdk.Name:
		var d *sdk.Dict
		c.u16, d = b.Names(c.at)
		c.names = d.Values()
		if d != c.dict {
			clear(c.text)
			c.dict = d
		}
		for len(c.text) < len(c.names) {
			c.text = append(c.text, nil)
		}
	default:
		c.vals = b.Bytes(c.at)
	}
}

// clock writes times and remembers the last seconds: the times of a batch lie close together, if not in order.
type clock [16]struct {
	second int64
	known  bool
	text   [len("2006-01-02T15:04:05")]byte
}

// append writes ns since the epoch as RFC 3339 in UTC, with 0, 3, 6 or 9 digits behind the second.
func (c *clock) append(dst []byte, ns int64) []byte {
	second, rest := ns/1e9, ns%1e9
	if rest < 0 {
		second, rest = second-1, rest+1e9
	}
	x := &c[second&15]
	if second != x.second || !x.known {
		writeSecond(x.text[:0], second)
		x.second, x.known = second, true
	}
	dst = append(dst, x.text[:]...)
	if rest != 0 {
		dst = append(dst, '.')
		dst = append3(dst, uint32(rest/1e6))
		if rest %= 1e6; rest != 0 {
			dst = append3(dst, uint32(rest/1e3))
			if rest %= 1e3; rest != 0 {
				dst = append3(dst, uint32(rest))
			}
		}
	}
	return append(dst, 'Z')
}

func append3(dst []byte, v uint32) []byte {
	return append(dst, byte('0'+v/100), byte('0'+v/10%10), byte('0'+v%10))
}

// writeSecond writes a second by the civil calendar (H. Hinnant, chrono-compatible low-level date algorithms: days_from_civil inverted),
// without the allocation and the time zone of package time.
func writeSecond(t []byte, second int64) {
	days := second / 86400
	day := second % 86400
	if day < 0 {
		days, day = days-1, day+86400
	}
	days += 719468
	era := days / 146097 // a time in nanoseconds lies after 1677: days is positive
	doe := days - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	d, m, y := doy-(153*mp+2)/5+1, mp+3, yoe+era*400
	if m > 12 {
		m, y = m-12, y+1
	}
	t = append(t, byte('0'+y/1000), byte('0'+y/100%10), byte('0'+y/10%10), byte('0'+y%10))
	t = append2(append(t, '-'), m)
	t = append2(append(t, '-'), d)
	t = append2(append(t, 'T'), day/3600)
	t = append2(append(t, ':'), day/60%60)
	append2(append(t, ':'), day%60)
}

func append2(dst []byte, v int64) []byte { return append(dst, byte('0'+v/10), byte('0'+v%10)) }

func isZero(a *[16]byte) bool {
	return binary.LittleEndian.Uint64(a[:8])|binary.LittleEndian.Uint64(a[8:]) == 0
}

// appendFloat writes v so that it reads back as v; what is no number must be left to the caller.
func appendFloat(dst []byte, v float64) []byte {
	if a := math.Abs(v); a != 0 && (a < 1e-6 || a >= 1e21) {
		return strconv.AppendFloat(dst, v, 'e', -1, 64)
	}
	return strconv.AppendFloat(dst, v, 'f', -1, 64)
}

// appendList writes a list of little-endian uint32 with sep between.
func appendList(dst, v []byte, sep byte) []byte {
	for k := 0; k+4 <= len(v); k += 4 {
		if k > 0 {
			dst = append(dst, sep)
		}
		dst = strconv.AppendUint(dst, uint64(binary.LittleEndian.Uint32(v[k:])), 10)
	}
	return dst
}
