package stdout

import (
	"encoding/base64"
	"slices"
	"strconv"
	"unicode"
	"unicode/utf8"

	"github.com/weirflow/weir/sdk"
)

const (
	widest = 46 // a cell; longer ones are clipped: an address has at most 39, a name should not push all else off the screen
	gap    = 2  // between columns
	small  = 10 // lines of a terminal in which a title of two would take the place of records
)

// roomy is how wide columns of a type are at least: the next rows have longer ports and IPv4 addresses than the first.
var roomy = map[sdk.Type]int{sdk.Uint16: len("65535"), sdk.Addr: len("255.255.255.255")}

// layout is what a header fixes for the rows below it.
type layout struct {
	width   []int // of each column, 0 for those left out
	gap     int   // between columns
	tall    bool  // titles that are wider than what is below them are broken in two
	columns int   // of the terminal, 0: lines are not clipped
}

// total is how wide a line is.
func (l *layout) total() (n int) {
	for _, w := range l.width {
		if w > 0 {
			n += w + l.gap
		}
	}
	return max(0, n-l.gap)
}

// cells are the texts of some rows, row by row, in one piece of memory.
type cells struct {
	text []byte
	ends []int
}

// table writes aligned columns. The widths come from the rows under a header: of the screenful it begins. Where later rows need more
// and the terminal has it, a header of wider columns comes before them.
func (w *writer) table(b *sdk.Batch) error {
	w.out.mu.Lock()
	defer w.out.mu.Unlock()
	columns, lines := w.out.screen()
	for row := 0; row < b.Rows(); {
		n := b.Rows() - row
		title := w.title()
		if w.out.left <= 0 || w.out.header != title || w.out.layout.columns != columns {
			if lines > 0 {
				w.out.left = max(1, lines-2)
			} else {
				w.out.left = int(^uint(0) >> 1) // no terminal: once
			}
			if w.out.header != title {
				w.out.layout = layout{}
			}
			w.out.header, n = title, min(n, w.out.left)
			w.fill(row, n)
			w.out.layout = w.fit(n, columns, lines)
			if w.header {
				w.titles()
				n = min(n, w.out.left)
			}
		} else {
			n = min(n, w.out.left)
			w.fill(row, n)
			if w.outgrown(n, lines) {
				w.out.left = 0
				continue
			}
		}
		w.lines(n)
		w.out.left -= n
		row += n
		if err := w.flushLocked(); err != nil {
			w.out.left = 0
			return err
		}
	}
	return nil
}

// title tells the columns of one writer from another's.
func (w *writer) title() string {
	w.buf = w.buf[:0]
	for i := range w.cols {
		w.buf = append(append(w.buf, w.cols[i].Name...), '\t')
	}
	if string(w.buf) == w.out.header {
		w.buf = w.buf[:0]
		return w.out.header
	}
	t := string(w.buf)
	w.buf = w.buf[:0]
	return t
}

// fill makes the cells of n rows from row on.
func (w *writer) fill(row, n int) {
	if cap(w.cells.text) > w.sink.cfg.buffer() {
		w.cells.text = nil
	}
	w.cells.text, w.cells.ends = w.cells.text[:0], w.cells.ends[:0]
	for r := row; r < row+n; r++ {
		for i := range w.cols {
			w.cells.text = w.cols[i].cell(w.cells.text, r)
			w.cells.ends = append(w.cells.ends, len(w.cells.text))
		}
	}
}

func (w *writer) cell(k int) []byte {
	from := 0
	if k > 0 {
		from = w.cells.ends[k-1]
	}
	return w.cells.text[from:w.cells.ends[k]]
}

// fit chooses the columns and their widths for n rows. A column stays as wide as it was where there is room, so that headers keep their
// places. On a terminal that is too narrow for whole titles they are broken, and columns stand closer.
func (w *writer) fit(n, columns, lines int) layout {
	need := make([]int, len(w.cols))
	for i := range w.cols {
		for r := range n {
			need[i] = max(need[i], utf8.RuneCount(w.cell(r*len(w.cols)+i)))
		}
		if need[i] > 0 {
			need[i] = max(need[i], roomy[w.cols[i].Type])
		}
	}
	var l layout
	for _, try := range []struct{ as, tall bool }{{true, false}, {true, true}, {false, false}, {false, true}} {
		if try.tall && lines < small {
			continue
		}
		l = layout{width: slices.Clone(need), gap: gap, tall: try.tall, columns: columns}
		if try.tall {
			l.gap = 1
		}
		if try.as {
			for i, width := range w.out.layout.width {
				if need[i] > 0 {
					l.width[i] = max(need[i], width)
				}
			}
		}
		w.entitle(&l)
		if columns == 0 || l.total() <= columns {
			break
		}
	}
	return l
}

// entitle makes columns as wide as their titles, those with nothing in them too if they were asked for.
func (w *writer) entitle(l *layout) {
	for i := range w.cols {
		if l.width[i] == 0 && !w.listed && l.columns > 0 {
			continue
		}
		above, below := title(w.cols[i].Name, l.width[i], l.tall)
		l.width[i] = min(widest, max(l.width[i], len(above), len(below)))
	}
}

// title is a column's name in two lines, the upper one empty if it need not be broken: behind the underscore that leaves the least width.
func title(name string, width int, broken bool) (above, below string) {
	least := len(name)
	if !broken || least <= width {
		return "", name
	}
	below = name
	for at := range len(name) {
		if name[at] == '_' && max(at+1, len(name)-at-1) < least {
			above, below = name[:at+1], name[at+1:]
			least = max(len(above), len(below))
		}
	}
	return above, below
}

// outgrown says whether n rows have cells that are wider than their columns while the terminal has room for them.
func (w *writer) outgrown(n, lines int) bool {
	l := &w.out.layout
	if l.columns == 0 {
		return false // nothing is clipped
	}
	for r := range n {
		for i := range w.cols {
			if utf8.RuneCount(w.cell(r*len(w.cols)+i)) > l.width[i] && l.width[i] < widest {
				wider := w.fit(n, l.columns, lines)
				for k, width := range l.width {
					if wider.width[k] < width {
						return false // it would come and go
					}
				}
				return wider.total() <= l.columns
			}
		}
	}
	return false
}

func (w *writer) titles() {
	l := &w.out.layout
	if l.tall {
		left := l.columns
		for i := range w.cols {
			above, _ := title(w.cols[i].Name, l.width[i], true)
			left = w.put(i, []byte(above), left)
		}
		w.endLine()
		w.out.left = max(1, w.out.left-1)
	}
	left := l.columns
	for i := range w.cols {
		_, below := title(w.cols[i].Name, l.width[i], l.tall)
		left = w.put(i, []byte(below), left)
	}
	w.endLine()
}

func (w *writer) lines(n int) {
	for r := range n {
		left := w.out.layout.columns
		for i := range w.cols {
			left = w.put(i, w.cell(r*len(w.cols)+i), left)
		}
		w.endLine()
	}
}

// put writes a cell padded to its column's width, clipped to what is left of the line, and returns what is then left. Without a
// terminal left is 0 and nothing is clipped; a line that is full has -1 left.
func (w *writer) put(i int, text []byte, left int) int {
	width := w.out.layout.width[i]
	if width == 0 || left < 0 {
		return left
	}
	n := utf8.RuneCount(text)
	room := max(width, min(n, widest)) // without a terminal what is wider than the first rows pushes the rest aside
	if w.out.layout.columns > 0 {
		room = min(width, left)
	}
	pad := max(0, width-n)
	numeric := w.cols[i].numeric()
	if numeric {
		for range min(pad, room) {
			w.buf = append(w.buf, ' ')
		}
		room -= min(pad, room)
	}
	if n > room {
		text = clip(text, room)
	}
	w.buf = append(w.buf, text...)
	if !numeric {
		for range min(pad, room-min(n, room)) {
			w.buf = append(w.buf, ' ')
		}
	}
	if w.out.layout.columns > 0 {
		if left -= width + w.out.layout.gap; left <= 0 {
			return -1
		}
	}
	for range w.out.layout.gap {
		w.buf = append(w.buf, ' ')
	}
	return left
}

// clip cuts text to n runes, the last a mark that it was cut.
func clip(text []byte, n int) []byte {
	at := 0
	for range n - 1 {
		_, size := utf8.DecodeRune(text[at:])
		at += size
	}
	if n <= 0 {
		return nil
	}
	return append(text[:at:at], "…"...)
}

// endLine takes off the blanks at the end.
func (w *writer) endLine() {
	for len(w.buf) > 0 && w.buf[len(w.buf)-1] == ' ' {
		w.buf = w.buf[:len(w.buf)-1]
	}
	w.buf = append(w.buf, '\n')
}

func (c *column) numeric() bool {
	switch c.Type {
	case sdk.Uint8, sdk.Uint16, sdk.Uint32, sdk.Uint64, sdk.Int64, sdk.Float64:
		return true
	}
	return false
}

// cell writes a value for people; what is zero is empty.
func (c *column) cell(dst []byte, row int) []byte {
	switch c.Type {
	case sdk.Uint8:
		return c.count(dst, uint64(c.u8[row]))
	case sdk.Uint16:
		return c.count(dst, uint64(c.u16[row]))
	case sdk.Uint32:
		return c.count(dst, uint64(c.u32[row]))
	case sdk.Uint64:
		return c.count(dst, c.u64[row])
	case sdk.Int64:
		if v := c.i64[row]; v != 0 {
			dst = strconv.AppendInt(dst, v, 10)
		}
	case sdk.Float64:
		if v := c.f64[row]; v != 0 {
			dst = strconv.AppendFloat(dst, v, 'g', 6, 64)
		}
	case sdk.Timestamp:
		if v := c.i64[row]; v != 0 {
			at := len(dst)
			dst = c.clock.append(dst, v-v%1e6)
			dst = append(dst[:at], dst[at+len("2006-01-02T"):]...)
			dst = dst[:len(dst)-1] // the Z
			if len(dst)-at == len("15:04:05") {
				dst = append(dst, ".000"...)
			}
		}
	case sdk.Addr:
		dst = sdk.AppendAddr(dst, &c.addr[row])
	case sdk.MAC:
		if v := c.u64[row]; v != 0 {
			dst = sdk.AppendMAC(dst, v)
		}
	case sdk.Name:
		dst = appendSafe(dst, []byte(c.names[c.u16[row]]))
	case sdk.Text:
		dst = appendSafe(dst, c.vals[row])
	case sdk.Bytes:
		v := c.vals[row]
		dst = base64.StdEncoding.AppendEncode(dst, v[:min(len(v), 3*widest)])
	case sdk.Uint32s:
		dst = appendList(dst, c.vals[row], ' ')
	}
	return dst
}

// count writes a number, of bytes in short: 999, 1.2k, 34.5M.
func (c *column) count(dst []byte, v uint64) []byte {
	switch {
	case v == 0:
		return dst
	case c.Unit != "bytes" || v < 1000:
		return strconv.AppendUint(dst, v, 10)
	}
	f, unit := float64(v), 0
	for f >= 999.95 && unit < 6 {
		f, unit = f/1000, unit+1
	}
	return append(strconv.AppendFloat(dst, f, 'f', 1, 64), " kMGTPE"[unit])
}

// appendSafe writes text for a terminal: at most as much as a cell shows, what is not printable as a dot.
func appendSafe(dst, s []byte) []byte {
	for n := 0; len(s) > 0 && n <= widest; n++ {
		r, size := utf8.DecodeRune(s)
		if s = s[size:]; !unicode.IsPrint(r) || r == utf8.RuneError {
			r = '·'
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}
