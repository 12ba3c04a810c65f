package emulate

const (
	ipfixHeader = 16
	// Variable-length values of a record of template 258, with their lengths before them.
	maxVariable = 1 + maxName + 3 + maxNote
	maxNote     = 7
	// The enterprise number for documentation (RFC 5612), and an element under it: a collector cannot know it and must skip it.
	enterprise, enterpriseNote = 32473, 7
)

// notes are values of the enterprise's element.
var notes = [4]string{"", "gold", "silver", "iron/13"}

// header10 opens an IPFIX message (RFC 7011, 3.1); its length is written last. The sequence number counts data records of the
// domain before this message, options data included.
func (e *Emulator) header10(b []byte, s *stream, d *Datagram) {
	d.Exported = d.Sent / 1e9 * 1e9
	d.Uptime = 0
	be.PutUint16(b, 10)
	be.PutUint32(b[4:], uint32(d.Sent/1e9))
	be.PutUint32(b[8:], s.seq)
	be.PutUint32(b[12:], s.domain)
}

// data10 writes an IPFIX message: the first n4 flows are IPv4, and follow the template with fields of variable length if
// variable.
func (e *Emulator) data10(b []byte, s *stream, d *Datagram, n4 int, variable bool) int {
	e.header10(b, s, d)
	template := uint16(template4)
	if variable {
		template = templateVariable
	}
	at := e.set10(b, ipfixHeader, d, template, e.flows[:n4])
	at = e.set10(b, at, d, template6, e.flows[n4:])
	be.PutUint16(b[2:], uint16(at))
	s.seq += uint32(len(e.flows))
	return at
}

func (e *Emulator) set10(b []byte, at int, d *Datagram, template uint16, flows []Flow) int {
	if len(flows) == 0 {
		return at
	}
	set := at
	at += setHeader
	ref := d.Sent / 1e6 * 1e6
	for i := range flows {
		f := &flows[i]
		f.times(ref)
		at += e.record(b[at:], f)
		be.PutUint64(b[at:], uint64(f.End/1e6))
		be.PutUint64(b[at+8:], uint64(f.Start/1e6))
		at += 16
		if template == templateVariable {
			f.Interface = interfaceNames[f.InIf%8]
			b[at] = uint8(len(f.Interface))
			at += 1 + copy(b[at+1:], f.Interface)
			// The long form of a length is allowed for short values too (RFC 7011, 7).
			note := notes[f.OutIf%4]
			b[at], b[at+1], b[at+2] = 255, 0, uint8(len(note))
			at += 3 + copy(b[at+3:], note)
		}
	}
	be.PutUint16(b[set:], template)
	be.PutUint16(b[set+2:], uint16(at-set))
	return at
}

// templates10 writes the templates (RFC 7011, 3.4.1), the options template of the samplers (3.4.2; RFC 5477, 8.2) and their
// records.
func (e *Emulator) templates10(b []byte, s *stream, d *Datagram) []byte {
	start := len(b)
	b = append(b, make([]byte, ipfixHeader)...)
	e.header10(b[start:], s, d)
	set := len(b)
	b = append(b, 0, 2, 0, 0)
	b = appendTemplate(b, template4, fields10v4)
	b = appendTemplate(b, template6, fields10v6)
	b = appendTemplate(b, templateVariable, fields10variable)
	b = closeSet(b, set)

	set = len(b)
	b = append(b, 0, 3, 0, 0)
	b = be.AppendUint16(b, templateSamplers)
	b = be.AppendUint16(b, 4) // fields
	b = be.AppendUint16(b, 1) // of them scopes
	b = appendElements(b, element{id: 302, length: 4}, element{id: 304, length: 2}, element{id: 305, length: 4}, element{id: 306, length: 4})
	b = closeSet(b, set)

	set = len(b)
	b = be.AppendUint16(b, templateSamplers)
	b = append(b, 0, 0)
	for k := 1; k <= e.opts.Samplers; k++ {
		b = be.AppendUint32(b, uint32(k))
		b = be.AppendUint16(b, 1) // systematic count-based: of every interval + space packets, interval are taken
		b = be.AppendUint32(b, 1)
		b = be.AppendUint32(b, uint32(e.opts.Sampling*k-1))
	}
	b = closeSet(b, set)
	be.PutUint16(b[start+2:], uint16(len(b)-start))
	s.seq += uint32(e.opts.Samplers)
	return b
}
