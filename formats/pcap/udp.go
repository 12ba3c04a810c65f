package pcap

import "encoding/binary"

// Datagram is a UDP datagram found in a frame.
type Datagram struct {
	Src, Dst         [16]byte // IPv4 mapped into IPv6 (::ffff:a.b.c.d)
	SrcPort, DstPort uint16
	Payload          []byte // looks into the frame
}

// Refusal says why no datagram was found. The zero value is none.
type Refusal uint8

const (
	OK          Refusal = iota
	UnknownLink         // a link layer that is not understood
	NotUDP              // another protocol
	Fragment            // a part of an IP datagram
	ShortFrame          // captured with too small a snap length: the datagram is not whole
	Malformed           // header lengths that cannot be
)

var refusals = [...]string{"ok", "link_type", "not_udp", "fragment", "truncated", "malformed"}

// String is the reason as a constant in snake_case.
func (r Refusal) String() string { return refusals[r] }

const (
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
	maxTags   = 8
	protoUDP  = 17
)

// UDP finds the UDP datagram in a frame and fills d. Understood are Ethernet with 802.1Q and 802.1ad tags, Linux "any" devices
// (SLL, SLL2), raw IP and BSD loopback; IPv4 with options and IPv6 with extension headers. Checksums are not compared: those
// of packets captured where they were sent are often not yet computed.
func UDP(link LinkType, frame []byte, d *Datagram) Refusal {
	var f fragment
	return locate(link, frame, d, &f)
}

// locate is UDP; what is a Fragment is described in f.
func locate(link LinkType, frame []byte, d *Datagram, f *fragment) Refusal {
	proto, ip, r := network(link, frame)
	switch {
	case r != OK:
		return r
	case proto == etherIPv4:
		return ipv4(ip, d, f)
	case proto == etherIPv6:
		return ipv6(ip, d, f)
	}
	return NotUDP
}

// network takes the link layer off: what it carries, as an EtherType, and its bytes.
func network(link LinkType, f []byte) (proto uint16, rest []byte, r Refusal) {
	switch link {
	case LinkEthernet:
		if len(f) < 14 {
			return 0, nil, ShortFrame
		}
		return tags(binary.BigEndian.Uint16(f[12:]), f[14:])
	case LinkSLL:
		if len(f) < 16 {
			return 0, nil, ShortFrame
		}
		return tags(binary.BigEndian.Uint16(f[14:]), f[16:])
	case LinkSLL2:
		if len(f) < 20 {
			return 0, nil, ShortFrame
		}
		return tags(binary.BigEndian.Uint16(f), f[20:])
	case LinkNull, LinkLoop:
		// The address family is in the byte order of a machine we do not know, and IPv6 has another number on each BSD: what
		// follows tells better.
		if len(f) < 4 {
			return 0, nil, ShortFrame
		}
		f = f[4:]
	case LinkRaw, LinkRawBSD, LinkRawOpen, LinkIPv4, LinkIPv6:
	default:
		return 0, nil, UnknownLink
	}
	if len(f) == 0 {
		return 0, nil, ShortFrame
	}
	switch f[0] >> 4 {
	case 4:
		return etherIPv4, f, OK
	case 6:
		return etherIPv6, f, OK
	}
	return 0, nil, NotUDP
}

// tags takes VLAN tags off: 802.1Q, 802.1ad and the number in use before it was standardised.
func tags(proto uint16, f []byte) (uint16, []byte, Refusal) {
	for i := 0; proto == 0x8100 || proto == 0x88a8 || proto == 0x9100; i++ {
		if i == maxTags {
			return 0, nil, Malformed
		}
		if len(f) < 4 {
			return 0, nil, ShortFrame
		}
		proto, f = binary.BigEndian.Uint16(f[2:]), f[4:]
	}
	return proto, f, OK
}

// ipv4 is RFC 791, 3.1.
func ipv4(p []byte, d *Datagram, f *fragment) Refusal {
	if len(p) < 20 {
		return ShortFrame
	}
	head, total := int(p[0]&15)*4, int(binary.BigEndian.Uint16(p[2:]))
	if p[0]>>4 != 4 || head < 20 {
		return Malformed
	}
	if p[9] != protoUDP {
		return NotUDP
	}
	part := binary.BigEndian.Uint16(p[6:]) & 0x3fff // more fragments, or an offset
	if total == 0 {                                 // segmentation offload: the length was not yet known
		total = len(p)
	}
	if total < head+8 && part == 0 || total < head {
		return Malformed
	}
	if len(p) < head {
		return ShortFrame
	}
	d.Src, d.Dst = [16]byte{10: 0xff, 11: 0xff}, [16]byte{10: 0xff, 11: 0xff}
	copy(d.Src[12:], p[12:16])
	copy(d.Dst[12:], p[16:20])
	if part != 0 {
		return f.set(d, uint32(binary.BigEndian.Uint16(p[4:])), int(part&0x1fff)*8, part&0x2000 != 0, p[head:min(total, len(p))], total-head)
	}
	return udp(p[head:min(total, len(p))], total-head, d)
}

// ipv6 is RFC 8200, 3 and 4.
func ipv6(p []byte, d *Datagram, f *fragment) Refusal {
	if len(p) < 40 {
		return ShortFrame
	}
	if p[0]>>4 != 6 {
		return Malformed
	}
	next, left := p[6], int(binary.BigEndian.Uint16(p[4:]))
	src, dst := p[8:24], p[24:40]
	p = p[40:]
	if left == 0 { // a jumbogram, or segmentation offload
		left = len(p)
	}
	p = p[:min(left, len(p))]
	for {
		n := 0
		switch next {
		case protoUDP:
			copy(d.Src[:], src)
			copy(d.Dst[:], dst)
			return udp(p, left, d)
		case 0, 43, 60, 135, 139, 140: // hop-by-hop, routing, destination, mobility, host identity, shim6
			if len(p) < 8 {
				return short(left, 8)
			}
			n = int(p[1])*8 + 8
		case 51: // authentication
			if len(p) < 8 {
				return short(left, 8)
			}
			n = int(p[1])*4 + 8
		case 44: // fragment; one that is the whole datagram ("atomic", RFC 6946) is not one
			if len(p) < 8 {
				return short(left, 8)
			}
			if part := binary.BigEndian.Uint16(p[2:]); part&0xfff9 != 0 {
				if p[0] != protoUDP {
					return NotUDP
				}
				copy(d.Src[:], src)
				copy(d.Dst[:], dst)
				return f.set(d, binary.BigEndian.Uint32(p[4:]), int(part&0xfff8), part&1 != 0, p[8:], left-8)
			}
			n = 8
		default:
			return NotUDP
		}
		if len(p) < n {
			return short(left, n)
		}
		next, p, left = p[0], p[n:], left-n
	}
}

// short tells a header that was not captured from one that the packet never had room for.
func short(left, n int) Refusal {
	if left < n {
		return Malformed
	}
	return ShortFrame
}

// udp is RFC 768: p is what was captured of the left bytes that IP says there are.
func udp(p []byte, left int, d *Datagram) Refusal {
	if len(p) < 8 {
		return short(left, 8)
	}
	n := int(binary.BigEndian.Uint16(p[4:]))
	if n == 0 { // RFC 2675: longer than 16 bits can say
		n = left
	}
	if n < 8 || n > left {
		return Malformed
	}
	if n > len(p) {
		return ShortFrame
	}
	d.SrcPort, d.DstPort = binary.BigEndian.Uint16(p), binary.BigEndian.Uint16(p[2:])
	d.Payload = p[8:n:n]
	return OK
}

// Ethernet gives a frame of another link layer an Ethernet header, so that it can be read with those of Ethernet: head is put
// before rest. MAC addresses that the frame does not have are zero.
func Ethernet(link LinkType, frame []byte) (head [14]byte, rest []byte, r Refusal) {
	switch link {
	case LinkEthernet:
		if len(frame) < 14 {
			return head, nil, ShortFrame
		}
		return [14]byte(frame), frame[14:], OK
	case LinkSLL:
		if len(frame) < 16 {
			return head, nil, ShortFrame
		}
		if binary.BigEndian.Uint16(frame[4:]) == 6 {
			copy(head[6:12], frame[6:12])
		}
		copy(head[12:], frame[14:16])
		return head, frame[16:], OK
	case LinkSLL2:
		if len(frame) < 20 {
			return head, nil, ShortFrame
		}
		if frame[11] == 6 {
			copy(head[6:12], frame[12:18])
		}
		copy(head[12:], frame[:2])
		return head, frame[20:], OK
	}
	proto, rest, r := network(link, frame)
	if r == NotUDP { // a loopback frame of another protocol than IP has no EtherType
		r = UnknownLink
	}
	binary.BigEndian.PutUint16(head[12:], proto)
	return head, rest, r
}
