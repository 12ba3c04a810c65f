package netflow

import (
	"encoding/binary"

	"github.com/weirflow/weir/sdk/flow"
)

const (
	// MaxFields is the most fields a template may have.
	MaxFields = 1024
	// Variable is the length of an IPFIX field whose records each say their own (RFC 7011, 7).
	Variable = 0xffff
	// maxRecord is the longest record a set can hold: a datagram's 65,535 bytes less the headers.
	maxRecord = 65535 - headerIPFIX - headerSet
)

// Field is one field of a template.
type Field struct {
	PEN     uint32 // enterprise number, 0 for IANA's elements
	ID, Len uint16 // Len in bytes, or Variable in IPFIX
	Scope   bool   // of an options template; in NetFlow v9 ID is then a scope type, not an element
}

// WrongLength says whether the field's element is one whose values cannot have its length: an address of 5 bytes, a number of 9 or of
// none. RFC 7011, 6.2 lets numbers be shorter and forbids other lengths of all else; what a record then holds there nobody knows, so the
// bytes are passed over, as those of an element that is not known, and the other fields are as good as ever.
func (f *Field) WrongLength(version uint16) bool {
	if f.Scope && version == V9 {
		return false
	}
	e, known := knownElements[elementKey(f.PEN, f.ID)]
	return known && !e.octets && !fits(e.enc, f.Len)
}

// Template says what the records of a data set look like. Templates are immutable and interned by their content: exporters
// that send the same definition share one, whatever id they give it.
type Template struct {
	Version uint16
	Options bool // the records describe the exporter, not flows
	Fields  []Field

	fixed int           // bytes of the fields of fixed length
	vars  int           // fields of variable length
	refs  int           // of the store's entries
	told  []tellingPart // of options records
	wrong int           // fields of a wrong length
	key   string
}

// wire is what a definition of the template looks like behind its id.
func (t *Template) wire() string { return t.key[keyHead:] }

// WrongLengths are the fields that are passed over because their element cannot have their length.
func (t *Template) WrongLengths() (fs []Field) {
	if t.wrong == 0 {
		return nil
	}
	for i := range t.Fields {
		if t.Fields[i].WrongLength(t.Version) {
			fs = append(fs, t.Fields[i])
		}
	}
	return fs
}

// MinRecord is the length of the shortest record, bytes: of each record if no field is of variable length.
func (t *Template) MinRecord() int { return t.fixed + t.vars }

// element is what the table of columns knows of an information element.
type element struct {
	enc flow.Encoding
	// octets: the element is no number by its definition, so lengths that the column cannot use are no fault.
	octets bool
}

func elementKey(pen uint32, id uint16) uint64 { return uint64(pen)<<16 | uint64(id) }

// known elements by enterprise and id, from the table of columns.
var knownElements = func() map[uint64]element {
	m := map[uint64]element{}
	for _, c := range flow.Columns {
		for _, e := range c.Elements {
			m[elementKey(e.PEN, e.ID)] = element{enc: e.Enc, octets: e.PEN == 0 && e.ID == applicationID}
		}
	}
	for _, id := range []uint16{samplingInterval, samplerMode, samplerRandomInterval, samplingAlgorithm, selectorAlgorithm, packetInterval, packetSpace, samplingSize, samplingPopulation} {
		m[elementKey(0, id)] = element{enc: flow.Unsigned}
	}
	m[elementKey(0, systemInitTime)] = element{enc: flow.Millis}
	return m
}()

// applicationID (RFC 6759) is a string of octets: an engine and a selector of any length.
const applicationID = 95

// fits says whether an element's value can have the length n.
func fits(e flow.Encoding, n uint16) bool {
	switch e {
	case flow.Unsigned, flow.Signed, flow.DeltaMicro:
		return n >= 1 && n <= 8
	case flow.Float:
		return n == 4 || n == 8
	case flow.Boolean:
		return n == 1
	case flow.IPv4, flow.Uptime:
		return n == 4
	case flow.IPv6:
		return n == 16
	case flow.MACAddress:
		return n == 6
	case flow.Seconds, flow.Millis:
		return n >= 4 && n <= 8
	case flow.Micros:
		return n == 8 || n == lenTimeval
	case flow.Nanos:
		return n == 8
	case flow.Label:
		return n == 3
	case flow.ICMPType, flow.ICMPCode:
		return n == 2
	}
	return true // strings, octets, frames
}

// definition is a template as it stands in a set: its fields are in the parser's memory.
type definition struct {
	id       uint16
	withdraw bool // IPFIX: the template, or for ids 2 and 3 all data or all options templates of the domain
	options  bool
	fields   []Field
	fixed    int
	vars     int
	wrong    int    // fields of a wrong length
	len      int    // bytes taken from the set
	why      Reason // None, or why it is refused
}

// parseDefinition reads the definition at the start of b, what is left of a template set. len 0 means that what is left is
// padding. If b cannot be read on behind the definition, len is all of it. fields is memory to use.
func parseDefinition(b []byte, version uint16, options bool, fields []Field) (d definition) {
	be := binary.BigEndian
	d.options = options
	d.fields = fields[:0]
	head := 4
	if options {
		head = 6
	}
	if len(b) < 4 {
		return d
	}
	d.id = be.Uint16(b)
	count, scopes := int(be.Uint16(b[2:])), 0
	if version == IPFIX && count == 0 { // a withdrawal has no scope count (RFC 7011, 8.1)
		d.len, d.withdraw = 4, true
		if d.id == 0 { // zeros: padding
			d.len = 0
		} else if d.id < 256 && !(d.id == 2 && !options || d.id == 3 && options) {
			d.why = TemplateID
		}
		return d
	}
	if d.id == 0 && version == V9 && count == 0 {
		return d // padding
	}
	if len(b) < head {
		return d
	}
	if options && version == V9 {
		// Lengths in bytes of the scope's and the options' definitions (RFC 3954, 6.1).
		s, o := count, int(be.Uint16(b[4:]))
		if s%4 != 0 || o%4 != 0 {
			d.len, d.why = len(b), Scope
			return d
		}
		scopes, count = s/4, (s+o)/4
	} else if options {
		scopes = int(be.Uint16(b[4:]))
	}
	at := head
	for i := range count {
		if len(b)-at < 4 {
			d.len, d.why = len(b), DefinitionCut
			return d
		}
		f := Field{ID: be.Uint16(b[at:]), Len: be.Uint16(b[at+2:]), Scope: i < scopes}
		at += 4
		if version == IPFIX && f.ID&0x8000 != 0 {
			if len(b)-at < 4 {
				d.len, d.why = len(b), DefinitionCut
				return d
			}
			f.ID &^= 0x8000
			f.PEN = be.Uint32(b[at:])
			at += 4
		}
		if i >= MaxFields {
			d.why = TooManyFields
			continue
		}
		d.add(f, version)
	}
	d.len = at
	d.judge(version, count, scopes)
	return d
}

// judge says why a definition that has been read is refused, if it is.
func (d *definition) judge(version uint16, count, scopes int) {
	switch {
	case d.id < 256:
		d.why = TemplateID
	case d.why != None:
	case count == 0:
		d.why = ZeroFields
	case d.options && version == IPFIX && (scopes == 0 || scopes > count):
		d.why = Scope
	case d.fixed+d.vars == 0:
		d.why = ZeroLength
	case d.fixed+d.vars > maxRecord:
		d.why = RecordLength
	}
}

// add takes a field into the definition.
func (d *definition) add(f Field, version uint16) {
	d.fields = append(d.fields, f)
	if f.Len == Variable && version == IPFIX {
		d.vars++
	} else {
		d.fixed += int(f.Len)
	}
	if f.WrongLength(version) {
		d.wrong++
	}
}

// same says whether the template is what the definition defines.
func (t *Template) same(d *definition, version uint16) bool {
	if t.Version != version || t.Options != d.options || len(t.Fields) != len(d.fields) {
		return false
	}
	for i := range t.Fields {
		if t.Fields[i] != d.fields[i] {
			return false
		}
	}
	return true
}

// keyHead is how much of a template's key is before what exporters send.
const keyHead = 2

// appendKey appends the content of a definition as bytes, the key under which templates are interned: the version, whether it is of
// options, and what exporters send behind its id.
func (d *definition) appendKey(b []byte, version uint16) []byte {
	be := binary.BigEndian
	b = append(b, byte(version), b2u(d.options))
	scopes := 0
	for scopes < len(d.fields) && d.fields[scopes].Scope {
		scopes++
	}
	switch count := len(d.fields); {
	case !d.options:
		b = be.AppendUint16(b, uint16(count))
	case version == V9:
		b = be.AppendUint16(be.AppendUint16(b, uint16(4*scopes)), uint16(4*(count-scopes)))
	default:
		b = be.AppendUint16(be.AppendUint16(b, uint16(count)), uint16(scopes))
	}
	for _, f := range d.fields {
		if version == IPFIX && f.PEN != 0 {
			b = be.AppendUint16(be.AppendUint16(b, f.ID|0x8000), f.Len)
			b = be.AppendUint32(b, f.PEN)
		} else {
			b = be.AppendUint16(be.AppendUint16(b, f.ID), f.Len)
		}
	}
	return b
}

func b2u(b bool) byte {
	if b {
		return 1
	}
	return 0
}
