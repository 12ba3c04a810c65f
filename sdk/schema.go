package sdk

import (
	"fmt"
	"strings"
	"sync"
)

// Type is the type of a column. Each has one Arrow type and one layout in memory.
type Type uint8

const (
	Uint8     Type = iota + 1 // uint8
	Uint16                    // uint16
	Uint32                    // uint32
	Uint64                    // uint64
	Int64                     // int64
	Float64                   // float64
	Timestamp                 // int64, nanoseconds since the Unix epoch, UTC; 0: not known
	Addr                      // [16]byte, an IPv6 address or an IPv4 one mapped into it (::ffff:a.b.c.d); all zero: not known
	MAC                       // uint64, the 48 bits of the address in its low bits
	Name                      // uint16, an index into the column's Dict: strings with few values; 0 is the empty string
	Bytes                     // []byte of any length
	Text                      // []byte of any length, UTF-8
	Uint32s                   // []byte, a list of uint32 in little-endian order: AS paths, communities, label stacks
)

var typeNames = [...]string{Uint8: "uint8", Uint16: "uint16", Uint32: "uint32", Uint64: "uint64", Int64: "int64", Float64: "float64",
	Timestamp: "timestamp", Addr: "address", MAC: "mac", Name: "name", Bytes: "bytes", Text: "text", Uint32s: "list of uint32"}

// String is the name of the type as users meet it in diagnostics and schemas.
func (t Type) String() string {
	if int(t) < len(typeNames) && typeNames[t] != "" {
		return typeNames[t]
	}
	return fmt.Sprintf("type(%d)", uint8(t))
}

// Width is the number of bytes a row of the type takes, 0 for types of variable length.
func (t Type) Width() int {
	switch t {
	case Uint8:
		return 1
	case Uint16, Name:
		return 2
	case Uint32:
		return 4
	case Uint64, Int64, Float64, Timestamp, MAC:
		return 8
	case Addr:
		return 16
	}
	return 0
}

// Field is one column of a schema.
type Field struct {
	Name string
	Type Type
	Doc  string // one line
	Unit string // "bytes", "ns", ...; empty where there is none
	// Extra marks a column that exists only where somebody names it: a sink that lists no columns does not get it.
	Extra bool
}

// Schema is the ordered list of columns of a batch. It is immutable and compared by pointer where batches are concerned:
// the plan makes each schema once.
type Schema struct {
	fields []Field
	index  map[string]int
	width  int
	arrow  arrowSchema
}

// NewSchema makes a schema of fields. Two fields of one name are a programming error and panic.
func NewSchema(fields ...Field) *Schema {
	s := &Schema{fields: fields, index: make(map[string]int, len(fields))}
	for i, f := range fields {
		if _, twice := s.index[f.Name]; twice {
			panic("sdk: schema has column " + f.Name + " twice")
		}
		s.index[f.Name] = i
		if w := f.Type.Width(); w > 0 {
			s.width += w
		} else {
			s.width += 24
		}
	}
	return s
}

// Fields are the columns in order. The slice must not be changed.
func (s *Schema) Fields() []Field { return s.fields }

// Len is the number of columns.
func (s *Schema) Len() int { return len(s.fields) }

// Field returns column i.
func (s *Schema) Field(i int) Field { return s.fields[i] }

// Index returns the position of the named column, or -1.
func (s *Schema) Index(name string) int {
	if i, ok := s.index[name]; ok {
		return i
	}
	return -1
}

// RowBytes is the memory one row takes in columns of fixed width, with 24 bytes for each column of variable length.
func (s *Schema) RowBytes() int { return s.width }

// Names lists the columns' names in order.
func (s *Schema) Names() []string {
	n := make([]string, len(s.fields))
	for i, f := range s.fields {
		n[i] = f.Name
	}
	return n
}

// Listing is the names of the columns in brackets for a message, of many the first ten.
func (s *Schema) Listing() string {
	const most = 10
	names := s.Names()
	if len(names) <= most+1 {
		return fmt.Sprint(names)
	}
	return fmt.Sprintf("[%s ... and %d more]", strings.Join(names[:most], " "), len(names)-most)
}

// Select returns the schema of those fields for which keep says yes, in order; s itself if that is all of them.
func (s *Schema) Select(keep func(Field) bool) *Schema {
	var out []Field
	for _, f := range s.fields {
		if keep(f) {
			out = append(out, f)
		}
	}
	if len(out) == len(s.fields) {
		return s
	}
	return NewSchema(out...)
}

// Equal says whether both have the same columns in the same order.
func (s *Schema) Equal(o *Schema) bool {
	if s == o {
		return true
	}
	if s == nil || o == nil || len(s.fields) != len(o.fields) {
		return false
	}
	for i, f := range s.fields {
		if g := o.fields[i]; g.Name != f.Name || g.Type != f.Type {
			return false
		}
	}
	return true
}

// String is "name type, name type, ...".
func (s *Schema) String() string {
	var b strings.Builder
	for i, f := range s.fields {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(f.Name + " " + f.Type.String())
	}
	return b.String()
}

// Union is the schema of a node that reads several inputs: the columns of all by name, in order of first appearance.
// A column that two inputs have with different types is an error that names it.
func Union(in []*Schema) (*Schema, error) {
	if len(in) == 1 {
		return in[0], nil
	}
	var out []Field
	at := map[string]int{}
	for _, s := range in {
		for _, f := range s.fields {
			i, ok := at[f.Name]
			if !ok {
				at[f.Name] = len(out)
				out = append(out, f)
				continue
			}
			if out[i].Type != f.Type {
				return nil, fmt.Errorf("column %s is %s on one input and %s on another", f.Name, out[i].Type, f.Type)
			}
			out[i].Extra = out[i].Extra && f.Extra
		}
	}
	if len(in) > 0 && len(out) == in[0].Len() {
		same := NewSchema(out...)
		if same.Equal(in[0]) {
			return in[0], nil
		}
		return same, nil
	}
	return NewSchema(out...), nil
}

// Schemas of raw records, fixed for every source and sink that carries them.
var (
	// Datagram is what udp, pcap, generate and kafka sources hand out: one UDP payload a row.
	Datagram = NewSchema(
		Field{Name: "payload", Type: Bytes, Doc: "the UDP payload"},
		Field{Name: "exporter_addr", Type: Addr, Doc: "the source address of the datagram"},
		Field{Name: "exporter_port", Type: Uint16, Doc: "the source port of the datagram"},
		Field{Name: "received", Type: Timestamp, Unit: "ns", Doc: "when the datagram arrived"},
	)
	// Packet is one captured frame a row.
	Packet = NewSchema(
		Field{Name: "frame", Type: Bytes, Doc: "the bytes captured, from the link layer on"},
		Field{Name: "captured", Type: Timestamp, Unit: "ns", Doc: "when the frame was captured"},
		Field{Name: "length", Type: Uint32, Unit: "bytes", Doc: "the length of the frame on the wire"},
		Field{Name: "interface", Type: Name, Doc: "the interface it was captured on"},
	)
	// Errors is the schema of the reserved stream `errors`.
	Errors = NewSchema(
		Field{Name: "node", Type: Name, Doc: "the node that refused the record"},
		Field{Name: "code", Type: Name, Doc: "why, as a constant"},
		Field{Name: "message", Type: Text, Doc: "why, as a sentence"},
		Field{Name: "received", Type: Timestamp, Unit: "ns", Doc: "when the record entered Weir"},
		Field{Name: "format", Type: Name, Doc: "what payload holds: datagram, frame, arrow (an Arrow IPC stream of rows)"},
		Field{Name: "payload", Type: Bytes, Doc: "the original bytes"},
	)
)

// Columns of the Datagram schema by position.
const (
	DatagramPayload = iota
	DatagramExporterAddr
	DatagramExporterPort
	DatagramReceived
)

// Columns of the Packet schema by position.
const (
	PacketFrame = iota
	PacketCaptured
	PacketLength
	PacketInterface
)

// Columns of the Errors schema by position.
const (
	ErrorsNode = iota
	ErrorsCode
	ErrorsMessage
	ErrorsReceived
	ErrorsFormat
	ErrorsPayload
)

type arrowSchema struct {
	once sync.Once
	val  any
}
