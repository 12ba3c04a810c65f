package packet

import "encoding/binary"

// Protocol numbers.
const (
	protoHopByHop = 0
	protoICMP     = 1
	protoIPv4     = 4
	protoTCP      = 6
	protoUDP      = 17
	protoDCCP     = 33
	protoIPv6     = 41
	protoRouting  = 43
	protoFragment = 44
	protoGRE      = 47
	protoAH       = 51
	protoICMPv6   = 58
	protoDestOpts = 60
	protoSCTP     = 132
	protoMobility = 135
	protoUDPLite  = 136
	protoHIP      = 139
	protoShim6    = 140
	protoEthernet = 143
)

// ipv4 reads an IPv4 header (RFC 791, 3.1).
func ipv4(f *Fields, p []byte, d Decapsulate) {
	f.Etype = EtypeIPv4
	if len(p) < 20 {
		f.Has |= Cut
		return
	}
	h := (*[20]byte)(p)
	n := int(h[0]&15) * 4
	if h[0]>>4 != 4 || n < 20 {
		f.Has |= Malformed
		return
	}
	f.Has |= HasIPv4
	f.TOS, f.TTL, f.Protocol = h[1], h[8], h[9]
	length := int(be.Uint16(h[2:]))
	f.Length = uint32(length)
	f.FragmentID = uint32(be.Uint16(h[4:]))
	mapped(&f.SrcAddr, h[12:])
	mapped(&f.DstAddr, h[16:])
	fragment := be.Uint16(h[6:])
	f.FragmentOffset = fragment & 0x1fff
	if fragment&0x3fff != 0 {
		f.Has |= HasFragment
		if f.FragmentOffset != 0 {
			return // ports are in the first fragment only
		}
	}
	if length < n && length != 0 { // 0: the card was to cut it into segments
		f.Has |= Malformed
		return
	}
	if n > len(p) {
		f.Has |= Cut
		return
	}
	if length < len(p) && length != 0 {
		p = p[:length] // padding of short frames is not the packet's
	}
	if p = p[n:]; h[9] == protoTCP && len(p) >= 14 {
		tcp(f, (*[14]byte)(p))
		return
	}
	transport(f, h[9], p, d)
}

// tcp is transport for what most packets are, short enough to be without a call.
func tcp(f *Fields, t *[14]byte) {
	f.SrcPort, f.DstPort = be.Uint16(t[:]), be.Uint16(t[2:])
	f.TCPFlags = be.Uint16(t[12:]) & 0x0fff
	f.Has |= HasTCP | HasPorts
}

// mapped writes an IPv4 address mapped into IPv6 (RFC 4291, 2.5.5.2): the eight bytes 0, 0, 0xff, 0xff, a, b, c, d at once.
func mapped(a *[16]byte, v4 []byte) {
	le := binary.LittleEndian
	le.PutUint64(a[8:], 0xffff0000|uint64(le.Uint32(v4))<<32)
}

// ipv6 reads an IPv6 header and the extension headers behind it (RFC 8200, 3 and 4).
func ipv6(f *Fields, p []byte, d Decapsulate) {
	f.Etype = EtypeIPv6
	if len(p) < 40 {
		f.Has |= Cut
		return
	}
	h := (*[40]byte)(p)
	v := be.Uint32(h[0:])
	if v>>28 != 6 {
		f.Has |= Malformed
		return
	}
	f.Has |= HasIPv6
	f.TOS, f.FlowLabel = uint8(v>>20), v&0xfffff
	length := int(be.Uint16(h[4:]))
	f.Length = uint32(length) + 40
	next := h[6]
	f.TTL = h[7]
	f.SrcAddr, f.DstAddr = [16]byte(h[8:24]), [16]byte(h[24:40])
	p = p[40:]
	if length < len(p) && length != 0 { // 0: a jumbogram, or the card was to cut it
		p = p[:length]
	}
	switch {
	case next == protoTCP && len(p) >= 14:
		f.Protocol = next
		tcp(f, (*[14]byte)(p))
		return
	case next == protoTCP || next == protoUDP:
		f.Protocol = next
		transport(f, next, p, d)
		return
	}
	extensions(f, next, p, d)
}

// extensions walks the chain behind an IPv6 header.
func extensions(f *Fields, next uint8, p []byte, d Decapsulate) {
	segments := false
	for range maxExtensions {
		f.Protocol = next
		n := 0
		switch next {
		case protoHopByHop, protoDestOpts, protoRouting, protoMobility, protoHIP, protoShim6:
			if len(p) < 8 {
				f.Has |= Cut
				return
			}
			n = 8 + int(p[1])*8
			segments = segments || next == protoRouting && p[2] == 4 // RFC 8754, 2
		case protoFragment:
			if len(p) < 8 {
				f.Has |= Cut
				return
			}
			n = 8
			f.FragmentOffset = be.Uint16(p[2:]) >> 3
			f.FragmentID = be.Uint32(p[4:])
			if be.Uint16(p[2:])&^6 != 0 { // an offset, or more to come: an atomic fragment (RFC 6946) is none
				f.Has |= HasFragment
			}
			if f.FragmentOffset != 0 {
				f.Protocol = p[0]
				return
			}
		case protoAH:
			if len(p) < 8 {
				f.Has |= Cut
				return
			}
			n = (int(p[1]) + 2) * 4
		default:
			if etype := innerOf(next); segments && etype != 0 {
				if d.has(SRv6) {
					inside(f, SRv6, 0, etype, p, d)
				}
				return
			}
			transport(f, next, p, d)
			return
		}
		next = p[0]
		if n > len(p) {
			f.Protocol = next
			f.Has |= Cut
			return
		}
		p = p[n:]
	}
	f.Has |= Malformed
}

// innerOf is the Ethernet type of what a protocol carries whole; 0 for the others.
func innerOf(proto uint8) uint16 {
	switch proto {
	case protoIPv4:
		return EtypeIPv4
	case protoIPv6:
		return EtypeIPv6
	case protoEthernet:
		return etypeTEB
	}
	return 0
}

// transport reads what is of interest behind an IP header.
func transport(f *Fields, proto uint8, p []byte, d Decapsulate) {
	switch proto {
	case protoTCP:
		if len(p) < 14 {
			f.Has |= Cut
			if len(p) < 4 {
				return
			}
		} else {
			f.TCPFlags = be.Uint16(p[12:]) & 0x0fff
			f.Has |= HasTCP
		}
	case protoUDP:
		if d != 0 && len(p) >= 8 {
			f.SrcPort, f.DstPort = be.Uint16(p), be.Uint16(p[2:])
			f.Has |= HasPorts
			udpTunnel(f, p[8:], d)
			return
		}
	case protoSCTP, protoUDPLite, protoDCCP:
	case protoICMP, protoICMPv6:
		if len(p) < 2 {
			f.Has |= Cut
			return
		}
		f.ICMPType, f.ICMPCode = p[0], p[1]
		f.Has |= HasICMP
		return
	case protoIPv4, protoIPv6:
		if d.has(IPIP) {
			inside(f, IPIP, 0, innerOf(proto), p, d)
		}
		return
	case protoGRE:
		if d.has(GRE) {
			gre(f, p, d)
		}
		return
	default:
		return
	}
	if len(p) < 4 {
		f.Has |= Cut
		return
	}
	f.SrcPort, f.DstPort = be.Uint16(p), be.Uint16(p[2:])
	f.Has |= HasPorts
}
