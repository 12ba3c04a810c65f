package netflow

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"net/netip"
	"strconv"

	"github.com/weirflow/weir/formats/elements"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
)

// Structured data (RFC 6313) is passed over by its length like any other value, unless a column asks for it: then it is written as
// JSON, bounded in depth and in size. What cannot be read is null; what is beyond the bounds is left out.
const (
	maxListDepth = 4
	maxListText  = 16 << 10 // bytes of one value's JSON, at which no further item is begun
	maxListItems = 1024     // over all depths
)

func isList(e flow.Encoding) bool {
	return e == flow.BasicList || e == flow.SubTemplateList || e == flow.SubTemplateMultiList
}

// semantics of lists (RFC 6313, 4.4).
var semantics = map[byte]string{0: "noneOf", 1: "exactlyOneOf", 2: "oneOrMoreOf", 3: "allOf", 4: "ordered", 255: "undefined"}

// lister writes the lists of one value.
type lister struct {
	b      []byte
	snap   *snapshot
	domain uint32
	items  int // that may yet be begun
}

// itemsOf bounds the items of a value of n bytes: a record of one field of one byte is two. Fields of no bytes, which a template may have a
// thousand of, would make JSON of a datagram 3,000 times as long.
func itemsOf(n int) int { return min(2*n+4, maxListItems) }

func listValues(_ *Decoder, b *sdk.Batch, at int, o *op, x *span) {
	var l lister
	i := 0
	for _, r := range x.runs {
		for end := i + r.n; i < end; i++ {
			v := o.value(x, i)
			l.b, l.snap, l.domain, l.items = l.b[:0], r.k.snap, r.k.domain, itemsOf(len(v))
			l.list(o.enc, v, 0)
			b.SetBytes(o.cols[0], at+i, l.b)
		}
	}
}

// full says whether nothing more may be begun.
func (l *lister) full() bool {
	l.items--
	return l.items < 0 || len(l.b) > maxListText
}

func (l *lister) null() { l.b = append(l.b, "null"...) }

// list writes one list, whose first byte is its semantic.
func (l *lister) list(e flow.Encoding, v []byte, depth int) {
	be := binary.BigEndian
	if len(v) < 1 || depth >= maxListDepth {
		l.null()
		return
	}
	name, ok := semantics[v[0]]
	if !ok {
		name = strconv.Itoa(int(v[0]))
	}
	from := len(l.b)
	l.b = append(append(append(l.b, `{"semantic":"`...), name...), '"')
	v = v[1:]
	switch e {
	case flow.BasicList:
		if ok = len(v) >= 4; ok {
			f := Field{ID: be.Uint16(v), Len: be.Uint16(v[2:])}
			if v = v[4:]; f.ID&0x8000 != 0 {
				if ok = len(v) >= 4; ok {
					f.ID, f.PEN, v = f.ID&^0x8000, be.Uint32(v), v[4:]
				}
			}
			if ok {
				l.b = append(l.b, `,"element":`...)
				l.quote(elementName(f))
				l.b = append(l.b, `,"values":[`...)
				for n := 0; len(v) > 0 && !l.full(); n++ {
					if n > 0 {
						l.b = append(l.b, ',')
					}
					if v, ok = l.field(f, v, depth); !ok || f.Len == 0 {
						break
					}
				}
				l.b = append(l.b, ']')
			}
		}
	case flow.SubTemplateList:
		if ok = len(v) >= 2; ok {
			l.records(be.Uint16(v), v[2:], depth)
		}
	default:
		l.b = append(l.b, `,"lists":[`...)
		for n := 0; len(v) > 0 && !l.full(); n++ {
			if ok = len(v) >= 4; !ok {
				break
			}
			size := int(be.Uint16(v[2:]))
			if ok = size >= 4 && size <= len(v); !ok {
				break
			}
			if n > 0 {
				l.b = append(l.b, ',')
			}
			l.b = append(l.b, '{')
			l.records(be.Uint16(v), v[4:size], depth)
			l.b = append(l.b, '}')
			v = v[size:]
		}
		l.b = append(l.b, ']')
	}
	if !ok && e != flow.SubTemplateMultiList && len(l.b) == from+len(`{"semantic":""`)+len(name) {
		l.b = l.b[:from]
		l.null()
		return
	}
	l.b = append(l.b, '}')
}

// records writes `"template":id,"records":[...]`, behind a comma where something is before it; without the template, the bytes.
func (l *lister) records(id uint16, v []byte, depth int) {
	if l.b[len(l.b)-1] != '{' {
		l.b = append(l.b, ',')
	}
	l.b = strconv.AppendUint(append(l.b, `"template":`...), uint64(id), 10)
	var t *Template
	if l.snap != nil {
		if i, ok := l.snap.find(templateKey(IPFIX, l.domain, id)); ok {
			t = l.snap.entries[i].t
		}
	}
	if t == nil {
		l.b = append(l.b, `,"bytes":`...)
		l.hex(v)
		return
	}
	l.b = append(l.b, `,"records":[`...)
	for n := 0; len(v) >= max(t.MinRecord(), 1) && !l.full(); n++ {
		if n > 0 {
			l.b = append(l.b, ',')
		}
		l.b = append(l.b, '{')
		ok := true
		for i := 0; i < len(t.Fields) && ok && !l.full(); i++ {
			if i > 0 {
				l.b = append(l.b, ',')
			}
			l.quote(elementName(t.Fields[i]))
			l.b = append(l.b, ':')
			v, ok = l.field(t.Fields[i], v, depth)
		}
		if l.b = append(l.b, '}'); !ok {
			break
		}
	}
	l.b = append(l.b, ']')
}

func elementName(f Field) string {
	if e, ok := elements.Lookup(f.PEN, f.ID); ok {
		return e.String()
	}
	return strconv.FormatUint(uint64(f.PEN), 10) + "/" + strconv.Itoa(int(f.ID))
}

// field writes the value at the start of v and returns what is behind it; false: it passes the end.
func (l *lister) field(f Field, v []byte, depth int) (rest []byte, ok bool) {
	n := int(f.Len)
	if f.Len == Variable {
		size, head, ok := varLen(v)
		if !ok {
			l.null()
			return nil, false
		}
		n, v = size, v[head:]
	}
	if n > len(v) {
		l.null()
		return nil, false
	}
	x := v[:n]
	enc := flow.Octets
	var ty sdk.Type
	if e, known := elements.Lookup(f.PEN, f.ID); known {
		ty, enc = e.Type.Column()
	}
	switch {
	case isList(enc):
		l.list(enc, x, depth+1)
	case enc == flow.String:
		l.quote(string(trimZeros(x)[:min(len(trimZeros(x)), maxListText)]))
	case enc == flow.Octets || !fits(enc, uint16(n)) || enc == flow.Micros && n == lenTimeval:
		l.hex(x)
	case ty == sdk.Addr:
		a, _ := netip.AddrFromSlice(x)
		l.quote(a.String())
	case enc == flow.MACAddress:
		l.b = append(sdk.AppendMAC(append(l.b, '"'), number(x)), '"')
	case enc == flow.Signed:
		l.b = strconv.AppendInt(l.b, int64(number(x))<<(64-8*n)>>(64-8*n), 10)
	case enc == flow.Float:
		g := math.Float64frombits(number(x))
		if n == 4 {
			g = float64(math.Float32frombits(uint32(number(x))))
		}
		if math.IsNaN(g) || math.IsInf(g, 0) {
			l.null()
		} else {
			l.b = strconv.AppendFloat(l.b, g, 'g', -1, 64)
		}
	case enc == flow.Boolean:
		l.b = strconv.AppendBool(l.b, x[0] == 1)
	default: // numbers, and times in the unit they are sent in
		l.b = strconv.AppendUint(l.b, number(x), 10)
	}
	return v[n:], true
}

func (l *lister) quote(s string) {
	t, _ := json.Marshal(s) // of a string: it cannot fail
	l.b = append(l.b, t...)
}

func (l *lister) hex(v []byte) {
	l.b = append(hex.AppendEncode(append(l.b, '"'), v[:min(len(v), maxListText)]), '"')
}
