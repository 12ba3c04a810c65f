package stdout

import (
	"bytes"
	"encoding/base64"
	"strconv"

	"github.com/weirflow/weir/sdk"
)

// csv writes RFC 4180 with a line feed at the end of a line: every column in every line.
func (w *writer) csv(b *sdk.Batch) error {
	if err := w.csvHeader(); err != nil {
		return err
	}
	dst := w.buf
	for row := range b.Rows() {
		start := len(dst)
		for i := range w.cols {
			if i > 0 {
				dst = append(dst, ',')
			}
			c := &w.cols[i]
			switch c.Type {
			case sdk.Uint8:
				dst = strconv.AppendUint(dst, uint64(c.u8[row]), 10)
			case sdk.Uint16:
				dst = strconv.AppendUint(dst, uint64(c.u16[row]), 10)
			case sdk.Uint32:
				dst = strconv.AppendUint(dst, uint64(c.u32[row]), 10)
			case sdk.Uint64:
				dst = strconv.AppendUint(dst, c.u64[row], 10)
			case sdk.Int64:
				dst = strconv.AppendInt(dst, c.i64[row], 10)
			case sdk.Float64:
				dst = appendFloat(dst, c.f64[row])
			case sdk.Timestamp:
				if v := c.i64[row]; v != 0 {
					dst = c.clock.append(dst, v)
				}
			case sdk.Addr:
				dst = sdk.AppendAddr(dst, &c.addr[row])
			case sdk.MAC:
				if v := c.u64[row]; v != 0 {
					dst = sdk.AppendMAC(dst, v)
				}
			case sdk.Name:
				dst = appendCSV(dst, c.names[c.u16[row]])
			case sdk.Text:
				dst = appendCSV(dst, c.vals[row])
			case sdk.Bytes:
				dst = base64.StdEncoding.AppendEncode(dst, c.vals[row])
			case sdk.Uint32s:
				dst = appendList(dst, c.vals[row], ' ')
			}
		}
		if len(dst) == start {
			dst = append(dst, '"', '"') // readers of CSV take an empty line for no row
		}
		dst = append(dst, '\n')
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

// csvHeader writes the names once a stream; again only when the columns are others.
func (w *writer) csvHeader() error {
	if !w.header {
		return nil
	}
	w.out.mu.Lock()
	defer w.out.mu.Unlock()
	dst := w.buf[:0]
	for i := range w.cols {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendCSV(dst, w.cols[i].Name)
	}
	w.buf = append(dst, '\n')
	if string(w.buf) == w.out.header {
		w.buf = w.buf[:0]
		return nil
	}
	w.out.header = string(w.buf)
	return w.flushLocked()
}

// appendCSV writes a field, in quotes where it must be.
func appendCSV[T string | []byte](dst []byte, s T) []byte {
	if quoted := len(s) > 0 && needsQuotes(s); !quoted {
		return append(dst, s...)
	}
	dst = append(dst, '"')
	for i := range len(s) {
		if s[i] == '"' {
			dst = append(dst, '"')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}

func needsQuotes[T string | []byte](s T) bool {
	for i := range len(s) {
		if bytes.IndexByte([]byte(",\"\r\n"), s[i]) >= 0 {
			return true
		}
	}
	return false
}
