package emulate

const (
	v5Header = 24
	v5Record = 48
)

// data5 writes a NetFlow v5 datagram (Cisco, NetFlow Export Datagram Format, version 5). Its sequence number counts flows.
func (e *Emulator) data5(b []byte, s *stream, d *Datagram) int {
	d.Exported = d.Sent
	be.PutUint16(b, 5)
	be.PutUint16(b[2:], uint16(len(e.flows)))
	be.PutUint32(b[4:], d.Uptime)
	be.PutUint32(b[8:], uint32(d.Sent/1e9))
	be.PutUint32(b[12:], uint32(d.Sent%1e9))
	be.PutUint32(b[16:], s.seq)
	be.PutUint16(b[20:], uint16(s.domain))              // engine type and id
	be.PutUint16(b[22:], 1<<14|uint16(e.opts.Sampling)) // mode 1: packet interval
	s.seq += uint32(len(e.flows))
	at := v5Header
	for i := range e.flows {
		f, r := &e.flows[i], (*[v5Record]byte)(b[at:])
		f.times(d.Exported)
		f.SamplingRate, f.Direction = uint32(e.opts.Sampling), 0
		f.SrcAS, f.DstAS = uint32(uint16(f.SrcAS)), uint32(uint16(f.DstAS))
		copy(r[0:], f.Src[12:])
		copy(r[4:], f.Dst[12:])
		copy(r[8:], f.NextHop[12:])
		be.PutUint16(r[12:], uint16(f.InIf))
		be.PutUint16(r[14:], uint16(f.OutIf))
		be.PutUint32(r[16:], uint32(f.Packets))
		be.PutUint32(r[20:], uint32(f.Bytes))
		be.PutUint32(r[24:], d.Uptime-f.ago)
		be.PutUint32(r[28:], d.Uptime-f.last)
		be.PutUint16(r[32:], f.SrcPort)
		be.PutUint16(r[34:], f.DstPort)
		r[36], r[37], r[38], r[39] = 0, f.TCPFlags, f.Protocol, f.TOS
		be.PutUint16(r[40:], uint16(f.SrcAS))
		be.PutUint16(r[42:], uint16(f.DstAS))
		r[44], r[45], r[46], r[47] = f.SrcMask, f.DstMask, 0, 0
		at += v5Record
	}
	return at
}
