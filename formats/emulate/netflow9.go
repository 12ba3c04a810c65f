package emulate

// Template ids. Both families are announced whatever is sent; 258 is of IPFIX only.
const (
	template4        = 256
	template6        = 257
	templateVariable = 258
	templateSamplers = 300
)

const (
	v9Header  = 20
	setHeader = 4

	common       = 35              // of every data record, before addresses and times
	v9Record4    = common + 12 + 8 // 55
	v9Record6    = common + 48 + 8 // 91
	ipfixRecord4 = common + 12 + 16
	ipfixRecord6 = common + 48 + 16
)

// element is a field of a template: an information element and its length.
type element struct {
	id, length uint16
	enterprise uint32
}

// elements of the data records. v9 has IANA's numbers too, but the flow's times in uptime (21, 22) where IPFIX has milliseconds
// since the epoch (152, 153), and names the sampler by 48 where IPFIX has selectorId (302).
func elements(p Protocol, v6 bool) []element {
	srcMask, dstMask, src, dst, nextHop, addr := uint16(9), uint16(13), uint16(8), uint16(12), uint16(15), uint16(4)
	if v6 {
		srcMask, dstMask, src, dst, nextHop, addr = 29, 30, 27, 28, 62, 16
	}
	sampler, last, first, time := uint16(48), uint16(21), uint16(22), uint16(4)
	if p == IPFIX {
		sampler, last, first, time = 302, 153, 152, 8
	}
	return []element{
		{id: 1, length: 4}, {id: 2, length: 4}, {id: 4, length: 1}, {id: 5, length: 1}, {id: 6, length: 1}, // bytes, packets, protocol, TOS, flags
		{id: 7, length: 2}, {id: 11, length: 2}, {id: 10, length: 4}, {id: 14, length: 4}, // ports, interfaces
		{id: 16, length: 4}, {id: 17, length: 4}, {id: srcMask, length: 1}, {id: dstMask, length: 1}, // AS, masks
		{id: 61, length: 1}, {id: sampler, length: 1}, // direction
		{id: src, length: addr}, {id: dst, length: addr}, {id: nextHop, length: addr},
		{id: last, length: time}, {id: first, length: time},
	}
}

// Fields of the templates.
var (
	fields9v4        = elements(NetFlowV9, false)
	fields9v6        = elements(NetFlowV9, true)
	fields10v4       = elements(IPFIX, false)
	fields10v6       = elements(IPFIX, true)
	fields10variable = append(elements(IPFIX, false),
		element{id: 82, length: 0xffff}, element{id: enterpriseNote, length: 0xffff, enterprise: enterprise})
)

// record writes what data records of both protocols have in common, up to the times; it returns its length.
func (e *Emulator) record(b []byte, f *Flow) int {
	f.Sampler = uint8(1 + int(f.InIf)%e.opts.Samplers)
	f.SamplingRate = uint32(e.opts.Sampling) * uint32(f.Sampler)
	r := (*[common]byte)(b)
	be.PutUint32(r[0:], uint32(f.Bytes))
	be.PutUint32(r[4:], uint32(f.Packets))
	r[8], r[9], r[10] = f.Protocol, f.TOS, f.TCPFlags
	be.PutUint16(r[11:], f.SrcPort)
	be.PutUint16(r[13:], f.DstPort)
	be.PutUint32(r[15:], f.InIf)
	be.PutUint32(r[19:], f.OutIf)
	be.PutUint32(r[23:], f.SrcAS)
	be.PutUint32(r[27:], f.DstAS)
	r[31], r[32], r[33], r[34] = f.SrcMask, f.DstMask, f.Direction, f.Sampler
	if f.v6 {
		a := (*[48]byte)(b[common:])
		*(*[16]byte)(a[0:]) = f.Src
		*(*[16]byte)(a[16:]) = f.Dst
		*(*[16]byte)(a[32:]) = f.NextHop
		return common + 48
	}
	a := (*[12]byte)(b[common:])
	*(*[4]byte)(a[0:]) = [4]byte(f.Src[12:])
	*(*[4]byte)(a[4:]) = [4]byte(f.Dst[12:])
	*(*[4]byte)(a[8:]) = [4]byte(f.NextHop[12:])
	return common + 12
}

// header9 opens a v9 datagram (RFC 3954, 5.1). Its sequence number counts datagrams of a source id; count is of records,
// templates included.
func (e *Emulator) header9(b []byte, s *stream, d *Datagram, count int) {
	d.Exported = d.Sent / 1e9 * 1e9
	be.PutUint16(b, 9)
	be.PutUint16(b[2:], uint16(count))
	be.PutUint32(b[4:], d.Uptime)
	be.PutUint32(b[8:], uint32(d.Sent/1e9))
	be.PutUint32(b[12:], s.seq)
	be.PutUint32(b[16:], s.domain)
	s.seq++
}

// data9 writes a v9 datagram: the first n4 flows are IPv4.
func (e *Emulator) data9(b []byte, s *stream, d *Datagram, n4 int) int {
	e.header9(b, s, d, len(e.flows))
	at := e.set9(b, v9Header, d, template4, e.flows[:n4])
	return e.set9(b, at, d, template6, e.flows[n4:])
}

func (e *Emulator) set9(b []byte, at int, d *Datagram, template uint16, flows []Flow) int {
	if len(flows) == 0 {
		return at
	}
	set := at
	at += setHeader
	for i := range flows {
		f := &flows[i]
		f.times(d.Exported)
		at += e.record(b[at:], f)
		be.PutUint32(b[at:], d.Uptime-f.last)
		be.PutUint32(b[at+4:], d.Uptime-f.ago)
		at += 8
	}
	for ; at%4 != 0; at++ { // the header has a multiple of 4 bytes, so sets begin on one
		b[at] = 0
	}
	be.PutUint16(b[set:], template)
	be.PutUint16(b[set+2:], uint16(at-set))
	return at
}

// templates9 writes the templates (RFC 3954, 5.2), the options template of the sampler table (6.1) and the table itself.
func (e *Emulator) templates9(b []byte, s *stream, d *Datagram) []byte {
	start := len(b)
	b = append(b, make([]byte, v9Header)...)
	e.header9(b[start:], s, d, 3+e.opts.Samplers)
	set := len(b)
	b = append(b, 0, 0, 0, 0)
	b = appendTemplate(b, template4, fields9v4)
	b = appendTemplate(b, template6, fields9v6)
	b = closeSet(b, set)

	set = len(b)
	b = append(b, 0, 1, 0, 0)
	b = be.AppendUint16(b, templateSamplers)
	b = be.AppendUint16(b, 4)  // bytes of scopes
	b = be.AppendUint16(b, 12) // bytes of options
	b = appendElements(b, element{id: 1, length: 4}, element{id: 48, length: 1}, element{id: 49, length: 1}, element{id: 50, length: 4})
	b = closeSet(b, set)

	set = len(b)
	b = be.AppendUint16(b, templateSamplers)
	b = append(b, 0, 0)
	for k := 1; k <= e.opts.Samplers; k++ {
		b = append(b, s.addr[12:]...) // scope: the system
		b = append(b, uint8(k), 2)    // random sampling
		b = be.AppendUint32(b, uint32(e.opts.Sampling*k))
	}
	return closeSet(b, set)
}

func appendTemplate(b []byte, id uint16, fields []element) []byte {
	b = be.AppendUint16(b, id)
	b = be.AppendUint16(b, uint16(len(fields)))
	return appendElements(b, fields...)
}

func appendElements(b []byte, fields ...element) []byte {
	for _, f := range fields {
		id := f.id
		if f.enterprise != 0 {
			id |= 0x8000
		}
		b = be.AppendUint16(b, id)
		b = be.AppendUint16(b, f.length)
		if f.enterprise != 0 {
			b = be.AppendUint32(b, f.enterprise)
		}
	}
	return b
}

// closeSet pads the set that begins at set to 4 bytes and writes its length.
func closeSet(b []byte, set int) []byte {
	for (len(b)-set)%4 != 0 {
		b = append(b, 0)
	}
	be.PutUint16(b[set+2:], uint16(len(b)-set))
	return b
}
