package emulate

const (
	sflowHeader  = 28
	sampledBytes = 128 // of a frame, at most: the usual setting
	// A flow sample with its raw header, extended switch and extended router records.
	sflowSample4 = 8 + 32 + 24 + sampledBytes + 24 + 24
	sflowSample6 = sflowSample4 + 12

	etherBytes   = 14 + 4 // with an 802.1Q tag
	frameCheck   = 4
	payloadCount = 16 // bytes of a pattern that payloads repeat
)

var pattern = [payloadCount]byte{'w', 'e', 'i', 'r', ' ', 'e', 'm', 'u', 'l', 'a', 't', 'e', 'd', ' ', 0x0d, 0x0a}

// packetFlags are the TCP flags of single packets.
var packetFlags = [8]uint8{0x10, 0x10, 0x10, 0x18, 0x18, 0x11, 0x02, 0x12}

// sflowHeader opens an sFlow datagram (sFlow version 5, section 5: sample_datagram_v5). Its sequence number counts datagrams of a
// sub-agent.
func (e *Emulator) sflowHeader(b []byte, s *stream, d *Datagram, samples int) {
	be.PutUint32(b, 5)
	be.PutUint32(b[4:], 1) // the agent has an IPv4 address
	copy(b[8:], s.addr[12:])
	be.PutUint32(b[12:], s.domain)
	be.PutUint32(b[16:], s.seq)
	be.PutUint32(b[20:], d.Uptime)
	be.PutUint32(b[24:], uint32(samples))
	s.seq++
}

// samples writes a datagram of flow samples. What a sample shows is one packet of the flow.
func (e *Emulator) samples(b []byte, s *stream, d *Datagram) int {
	e.sflowHeader(b, s, d, len(e.flows))
	at := sflowHeader
	for i := range e.flows {
		at += e.sample(b[at:], s, d, &e.flows[i])
	}
	return at
}

// sample writes one flow sample and returns its length.
func (e *Emulator) sample(b []byte, s *stream, d *Datagram, f *Flow) int {
	length := etherBytes + int(f.size) + frameCheck
	f.Bytes, f.Packets = uint64(length), 1
	f.Start, f.End = d.Sent, d.Sent
	f.SrcAS, f.DstAS, f.Direction, f.SamplingRate = 0, 0, 0, uint32(e.opts.Sampling)
	f.SrcMAC, f.DstMAC = 0x02aabbcc0000|uint64(f.InIf), 0x021122330000|uint64(f.OutIf)
	f.VLAN = uint16(100 + f.InIf)
	if f.Protocol == tcp {
		f.TCPFlags = packetFlags[f.last&7]
	}
	f.PacketLength, f.TTL = f.size, 64-uint8(f.InIf%8)
	sampled := min(sampledBytes, length-frameCheck)
	f.FrameHeader = uint16(sampled)
	s.samples++
	s.pool += uint32(e.opts.Sampling)

	h := (*[64]byte)(b)
	be.PutUint32(h[0:], 1) // flow sample
	be.PutUint32(h[8:], s.samples)
	be.PutUint32(h[12:], f.InIf) // source: the interface
	be.PutUint32(h[16:], uint32(e.opts.Sampling))
	be.PutUint32(h[20:], s.pool)
	be.PutUint32(h[24:], 0) // drops
	be.PutUint32(h[28:], f.InIf)
	be.PutUint32(h[32:], f.OutIf)
	be.PutUint32(h[36:], 3) // records

	padded := (sampled + 3) &^ 3
	be.PutUint32(h[40:], 1) // raw packet header
	be.PutUint32(h[44:], uint32(16+padded))
	be.PutUint32(h[48:], 1) // Ethernet
	be.PutUint32(h[52:], uint32(length))
	be.PutUint32(h[56:], frameCheck)
	be.PutUint32(h[60:], uint32(sampled))
	// The frame is written whole and cut: the records behind it overwrite the rest.
	frame(b[64:64+sampledBytes], f)
	clear(b[64+sampled : 64+padded])
	at := 64 + padded

	w := (*[24]byte)(b[at:])
	be.PutUint32(w[0:], 1001) // extended switch
	be.PutUint32(w[4:], 16)
	be.PutUint32(w[8:], uint32(f.VLAN))
	be.PutUint32(w[12:], uint32(f.TOS>>5))
	be.PutUint32(w[16:], uint32(f.VLAN))
	be.PutUint32(w[20:], uint32(f.TOS>>5))
	at += 24

	be.PutUint32(b[at:], 1002) // extended router
	if f.v6 {
		be.PutUint32(b[at+4:], 28)
		be.PutUint32(b[at+8:], 2)
		at += 12 + copy(b[at+12:], f.NextHop[:])
	} else {
		be.PutUint32(b[at+4:], 16)
		be.PutUint32(b[at+8:], 1)
		at += 12 + copy(b[at+12:], f.NextHop[12:])
	}
	be.PutUint32(b[at:], uint32(f.SrcMask))
	be.PutUint32(b[at+4:], uint32(f.DstMask))
	at += 8
	be.PutUint32(h[4:], uint32(at-8))
	return at
}

// frame writes the first bytes of the frame that carries a packet of the flow: Ethernet, 802.1Q, IP and TCP, UDP or ESP.
func frame(b []byte, f *Flow) {
	be.PutUint64(b[0:], f.DstMAC<<16)
	be.PutUint64(b[6:], f.SrcMAC<<16)
	be.PutUint16(b[12:], 0x8100)
	be.PutUint16(b[14:], uint16(f.TOS>>5)<<13|f.VLAN)
	at := etherBytes
	if f.v6 {
		be.PutUint16(b[16:], 0x86dd)
		p := (*[40]byte)(b[at:])
		be.PutUint32(p[0:], 6<<28|uint32(f.TOS)<<20)
		be.PutUint16(p[4:], f.PacketLength-40)
		p[6], p[7] = f.Protocol, f.TTL
		*(*[16]byte)(p[8:]) = f.Src
		*(*[16]byte)(p[24:]) = f.Dst
		at += 40
	} else {
		be.PutUint16(b[16:], 0x0800)
		p := (*[20]byte)(b[at:])
		p[0], p[1] = 0x45, f.TOS
		be.PutUint16(p[2:], f.PacketLength)
		be.PutUint32(p[4:], 0x12344000) // identification, do not fragment
		p[8], p[9], p[10], p[11] = f.TTL, f.Protocol, 0, 0
		copy(p[12:16], f.Src[12:])
		copy(p[16:20], f.Dst[12:])
		sum := uint32(0)
		for i := 0; i < 20; i += 2 {
			sum += uint32(be.Uint16(p[i:]))
		}
		sum = sum&0xffff + sum>>16
		be.PutUint16(p[10:], ^uint16(sum+sum>>16))
		at += 20
	}
	ipLeft := int(f.PacketLength) - (at - etherBytes)
	t := b[at:]
	switch f.Protocol {
	case tcp:
		be.PutUint16(t[0:], f.SrcPort)
		be.PutUint16(t[2:], f.DstPort)
		be.PutUint32(t[4:], uint32(mix(uint64(f.ago))))
		be.PutUint32(t[8:], 0)
		if f.TCPFlags&0x10 != 0 {
			be.PutUint32(t[8:], uint32(mix(uint64(f.last))))
		}
		be.PutUint64(t[12:], 0x5000ffff<<32)
		t[13] = f.TCPFlags
		at += 20
	case udp:
		be.PutUint16(t[0:], f.SrcPort)
		be.PutUint16(t[2:], f.DstPort)
		be.PutUint32(t[4:], uint32(ipLeft)<<16|0x5a17) // some checksum: a collector cannot check that of a cut packet
		at += 8
	default: // ESP: security parameters index, sequence number
		be.PutUint64(t[0:], 0x1000<<32|f.Bytes)
		at += 8
	}
	for at < len(b) {
		at += copy(b[at:], pattern[:])
	}
}

// counters writes a datagram with the generic counters of one interface (sFlow version 5, counter sample).
func (e *Emulator) counters(b []byte, s *stream, d *Datagram) []byte {
	start := len(b)
	b = append(b, make([]byte, sflowHeader+8+12+8+88)...)
	e.sflowHeader(b[start:], s, d, 1)
	c := b[start+sflowHeader:]
	be.PutUint32(c[0:], 2) // counter sample
	be.PutUint32(c[4:], 12+8+88)
	be.PutUint32(c[8:], s.repeats+1)
	be.PutUint32(c[12:], 1)
	be.PutUint32(c[16:], 1)
	be.PutUint32(c[20:], 1) // generic interface counters
	be.PutUint32(c[24:], 88)
	c = c[28:]
	be.PutUint32(c[0:], 1)                   // interface
	be.PutUint32(c[4:], 6)                   // Ethernet
	be.PutUint64(c[8:], 10e9)                // bit/s
	be.PutUint32(c[16:], 1)                  // full duplex
	be.PutUint32(c[20:], 3)                  // up
	be.PutUint64(c[24:], uint64(s.pool)*700) // octets in
	be.PutUint32(c[32:], s.pool)             // unicast packets in
	be.PutUint64(c[56:], uint64(s.pool)*650) // octets out
	be.PutUint32(c[64:], s.pool)
	return b
}
