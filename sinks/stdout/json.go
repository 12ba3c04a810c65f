package stdout

import (
	"encoding/base64"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/weirflow/weir/sdk"
)

// json writes one object a line, without what is zero.
func (w *writer) json(b *sdk.Batch) error {
	live := w.live[:0]
	for i := range w.cols {
		if c := &w.cols[i]; !c.zero {
			live = append(live, c)
		}
	}
	w.live = live
	dst := w.buf
	for row := range b.Rows() {
		start := len(dst)
		for _, c := range live {
			switch c.Type {
			case sdk.Uint8:
				if v := c.u8[row]; v != 0 {
					dst = strconv.AppendUint(append(dst, c.key...), uint64(v), 10)
				}
			case sdk.Uint16:
				if v := c.u16[row]; v != 0 {
					dst = strconv.AppendUint(append(dst, c.key...), uint64(v), 10)
				}
			case sdk.Uint32:
				if v := c.u32[row]; v != 0 {
					dst = strconv.AppendUint(append(dst, c.key...), uint64(v), 10)
				}
			case sdk.Uint64:
				if v := c.u64[row]; v != 0 {
					dst = strconv.AppendUint(append(dst, c.key...), v, 10)
				}
			case sdk.Int64:
				if v := c.i64[row]; v != 0 {
					dst = strconv.AppendInt(append(dst, c.key...), v, 10)
				}
			case sdk.Float64:
				if v := c.f64[row]; v != 0 {
					if dst = append(dst, c.key...); math.IsNaN(v) || math.IsInf(v, 0) {
						dst = append(dst, "null"...)
					} else {
						dst = appendFloat(dst, v)
					}
				}
			case sdk.Timestamp:
				if v := c.i64[row]; v != 0 {
					dst = append(append(dst, c.key...), '"')
					dst = append(c.clock.append(dst, v), '"')
				}
			case sdk.Addr:
				if v := &c.addr[row]; !isZero(v) {
					dst = append(append(dst, c.key...), '"')
					dst = append(sdk.AppendAddr(dst, v), '"')
				}
			case sdk.MAC:
				if v := c.u64[row]; v != 0 {
					dst = append(append(dst, c.key...), '"')
					dst = append(sdk.AppendMAC(dst, v), '"')
				}
			case sdk.Name:
				if v := c.u16[row]; v != 0 {
					dst = append(append(dst, c.key...), c.name(v)...)
				}
			case sdk.Text:
				if v := c.vals[row]; len(v) > 0 {
					dst = appendJSONString(append(dst, c.key...), v)
				}
			case sdk.Bytes:
				if v := c.vals[row]; len(v) > 0 {
					dst = append(append(dst, c.key...), '"')
					dst = append(base64.StdEncoding.AppendEncode(dst, v), '"')
				}
			case sdk.Uint32s:
				if v := c.vals[row]; len(v) >= 4 {
					dst = append(append(dst, c.key...), '[')
					dst = append(appendList(dst, v, ','), ']')
				}
			}
		}
		if len(dst) == start {
			dst = append(dst, '{')
		}
		dst[start] = '{' // where the first key's comma is
		dst = append(dst, '}', '\n')
		if len(dst) >= chunk {
			w.buf = dst
			if err := w.flush(); err != nil {
				return err
			}
			dst = w.buf
		}
	}
	w.buf = dst
	return w.flush()
}

// name is the JSON string of a Name column's value, escaped when it is first met.
func (c *column) name(x uint16) []byte {
	if c.text[x] == nil {
		c.text[x] = appendJSONString(nil, []byte(c.names[x]))
	}
	return c.text[x]
}

const hexDigits = "0123456789abcdef"

// plain says which bytes stand for themselves in a JSON string.
var plain = func() (t [256]bool) {
	for c := ' '; c < 0x7f; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// appendJSONString writes s as a JSON string (RFC 8259, 7). What is no UTF-8 becomes U+FFFD; control characters, the ones from
// U+007F to U+009F too, are escaped, so that no exporter can send commands to a terminal.
func appendJSONString(dst, s []byte) []byte {
	dst = append(dst, '"')
	for len(s) > 0 {
		n := 0
		for n < len(s) && plain[s[n]] {
			n++
		}
		dst = append(dst, s[:n]...)
		if s = s[n:]; len(s) == 0 {
			break
		}
		switch c := s[0]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c < utf8.RuneSelf:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			r, size := utf8.DecodeRune(s)
			if r < 0xa0 {
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[r>>4], hexDigits[r&15])
			} else {
				dst = utf8.AppendRune(dst, r) // U+FFFD if it was none
			}
			s = s[size:]
			continue
		}
		s = s[1:]
	}
	return append(dst, '"')
}
