package main_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/weirflow/weir/formats/formatstest/tshark"
)

var be = binary.BigEndian

// micros is a capture of packets with microseconds, which all exporters read.
func micros(packets []seen) []byte {
	var frames []tshark.Frame
	for _, p := range packets {
		frames = append(frames, p.Frame)
	}
	b := tshark.Pcap(frames)
	le := binary.LittleEndian
	le.PutUint32(b, 0xa1b2c3d4)
	at := 24
	for range frames {
		le.PutUint32(b[at+4:], le.Uint32(b[at+4:])/1000)
		at += 16 + int(le.Uint32(b[at+8:]))
	}
	return b
}

// Ethernet types and protocols of the traffic.
const (
	ethIPv4, ethIPv6        = 0x0800, 0x86dd
	ethQ, ethAD, ethMPLS    = 0x8100, 0x88a8, 0x8847
	icmp, igmp, tcp, udp    = 1, 2, 6, 17
	gre, esp, icmp6, sctp   = 47, 50, 58, 132
	fin, syn, rst, psh, ack = 1, 2, 4, 8, 16
	ece, cwr                = 64, 128
)

// shim is what stands between an Ethernet header and the packet: tags and labels.
type shim struct {
	etype uint16 // in front of it
	bytes []byte
}

// tags are VLAN tags, outermost first; the outer of several is a service tag (802.1ad).
func tags(ids ...uint16) (s shim) {
	for i, id := range ids {
		etype := uint16(ethQ)
		if i == 0 && len(ids) > 1 {
			etype = ethAD
		}
		if i == 0 {
			s.etype = etype
		} else {
			s.bytes = be.AppendUint16(s.bytes, etype)
		}
		s.bytes = be.AppendUint16(s.bytes, 3<<13|id)
	}
	return s
}

// labels is an MPLS stack, outermost first.
func labels(ls ...uint32) (s shim) {
	s.etype = ethMPLS
	for i, l := range ls {
		e := l<<12 | 64
		if i == len(ls)-1 {
			e |= 0x100
		}
		s.bytes = be.AppendUint32(s.bytes, e)
	}
	return s
}

// packet describes an IP packet.
type packet struct {
	src, dst string
	proto    uint8
	tos, ttl uint8
	label    uint32 // IPv6's
	id       uint16
	fragment uint16 // IPv4's word: flags and offset
	options  []byte // IPv4's, or an IPv6 extension header
	ext      uint8  // the extension header's number
	body     []byte
}

// frame puts Ethernet and shims around the packet.
func (p *packet) frame(shims ...shim) (b []byte) {
	src, dst := netip.MustParseAddr(p.src), netip.MustParseAddr(p.dst)
	s, d := src.As16(), dst.As16()
	b = append(b, 2, 0xaa, 0, d[13], d[14], d[15], 2, 0xbb, 0, s[13], s[14], s[15])
	etype := uint16(ethIPv4)
	if src.Is6() {
		etype = ethIPv6
	}
	for _, x := range shims {
		b = be.AppendUint16(b, x.etype)
		b = append(b, x.bytes...)
	}
	if n := len(shims); n == 0 || shims[n-1].etype != ethMPLS {
		b = be.AppendUint16(b, etype)
	}
	b = append(b, p.ip()...)
	for len(b) < 60 {
		b = append(b, 0) // what Ethernet pads
	}
	return b
}

// ip is the packet's bytes.
func (p *packet) ip() (b []byte) {
	src, dst := netip.MustParseAddr(p.src), netip.MustParseAddr(p.dst)
	if src.Is6() {
		b = be.AppendUint32(b, 6<<28|uint32(p.tos)<<20|p.label)
		b = be.AppendUint16(b, uint16(len(p.options)+len(p.body)))
		next := p.proto
		if len(p.options) > 0 {
			next = p.ext
		}
		b = append(b, next, p.ttl)
		return slices.Concat(b, src.AsSlice(), dst.AsSlice(), p.options, p.body)
	}
	n := 20 + len(p.options)
	b = append(b, 0x40|byte(n/4), p.tos)
	b = be.AppendUint16(b, uint16(n+len(p.body)))
	b = be.AppendUint16(b, p.id)
	b = be.AppendUint16(b, p.fragment)
	b = append(b, p.ttl, p.proto, 0, 0)
	b = slices.Concat(b, src.AsSlice(), dst.AsSlice(), p.options)
	be.PutUint16(b[10:], ^checksum(b))
	return append(b, p.body...)
}

// checksum is the ones' complement sum of 16-bit words (RFC 1071).
func checksum(b []byte) uint16 {
	s := uint32(0)
	for ; len(b) > 1; b = b[2:] {
		s += uint32(be.Uint16(b))
	}
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return uint16(s)
}

func segment(src, dst uint16, flags uint8, payload int) []byte {
	b := be.AppendUint16(be.AppendUint16(nil, src), dst)
	b = append(b, 0, 0, 0, 1, 0, 0, 0, 2, 5<<4, flags, 0xff, 0xff, 0, 0, 0, 0)
	return append(b, make([]byte, payload)...)
}

func udpDatagram(src, dst uint16, payload int) []byte {
	b := be.AppendUint16(be.AppendUint16(nil, src), dst)
	b = be.AppendUint16(b, uint16(8+payload))
	return append(append(b, 0, 0), make([]byte, payload)...)
}

// seen is a packet of the traffic, and what an exporter must make of it.
type seen struct {
	tshark.Frame
	v6     bool
	double bool // tagged twice
}

// traffic is packets of all kinds that exporters take for flows: both families and directions of TCP with its flags, UDP, ICMP,
// SCTP, what has no ports, tags, labels, fragments, options and extension headers.
func traffic(from time.Time) (packets []seen) {
	at := from
	add := func(p packet, shims ...shim) {
		at = at.Add(13*time.Millisecond + 137*time.Microsecond)
		if p.id == 0 {
			p.id = uint16(len(packets) + 1)
		}
		double := len(shims) > 0 && shims[0].etype == ethAD
		packets = append(packets, seen{tshark.Frame{At: at, Data: p.frame(shims...)}, strings.Contains(p.src, ":"), double})
	}
	conversation := func(client, server string, sport, dport uint16, tos uint8, label uint32, shims ...shim) {
		there := packet{src: client, dst: server, proto: tcp, tos: tos, ttl: 63, label: label}
		back := packet{src: server, dst: client, proto: tcp, tos: tos, ttl: 57, label: label}
		for i, step := range []struct {
			flags   uint8
			payload int
		}{{syn, 0}, {syn | ack, 0}, {ack, 0}, {psh | ack, 240}, {ack | ece, 1400}, {ack | cwr, 1400}, {fin | ack, 0}, {fin | ack, 0}, {ack, 0}} {
			p, s, d := there, sport, dport
			if i == 1 || i == 4 || i == 5 || i == 7 {
				p, s, d = back, dport, sport
			}
			p.body = segment(s, d, step.flags, step.payload)
			add(p, shims...)
		}
	}
	const a4, b4, a6, b6 = "192.0.2.7", "198.51.100.9", "2001:db8:1::7", "2001:db8:2::9"
	for i := range uint16(12) {
		conversation(a4, netip.AddrFrom4([4]byte{198, 51, 100, byte(20 + i)}).String(), 40000+i, 443, uint8(i)<<2, 0)
	}
	conversation(a6, b6, 50123, 8443, 0xb8, 0x54321)
	conversation(a6, b6, 50124, 8443, 0, 0)
	conversation(a4, b4, 50200, 22, 0x10, 0, tags(100))
	conversation(a4, b4, 50201, 22, 0, 0, tags(200, 300))
	conversation(a6, b6, 50202, 22, 0, 0, tags(101))
	conversation(a4, "198.51.100.10", 50203, 80, 0, 0, labels(16001))
	conversation(a4, "198.51.100.11", 50204, 80, 0x28, 0, labels(16001, 24017, 299))
	conversation(a6, "2001:db8:2::b", 50205, 80, 0, 7, labels(16002, 24018))
	conversation(a4, "198.51.100.12", 50206, 80, 0, 0, tags(400), labels(16003))

	for i := range 5 {
		add(packet{src: a4, dst: "203.0.113.53", proto: udp, ttl: 64, body: udpDatagram(33000, 53, 40+i)})
		add(packet{src: "203.0.113.53", dst: a4, proto: udp, ttl: 50, tos: 0xc0, body: udpDatagram(53, 33000, 400+i)})
		add(packet{src: a6, dst: "2001:db8::53", proto: udp, ttl: 255, label: 0xfffff, body: udpDatagram(33001, 53, 31)})
	}
	add(packet{src: a4, dst: "203.0.113.1", proto: tcp, ttl: 1, body: segment(1234, 9, rst, 0)}) // one packet: it starts when it ends

	// ICMP: echo, its reply, unreachable, and their like in IPv6.
	for _, m := range [][2]uint8{{8, 0}, {0, 0}, {3, 3}, {11, 0}} {
		add(packet{src: a4, dst: b4, proto: icmp, ttl: 64, body: append([]byte{m[0], m[1], 0, 0, 0, 1, 0, 1}, make([]byte, 56)...)})
	}
	for _, m := range [][2]uint8{{128, 0}, {129, 0}, {1, 4}, {135, 0}} {
		add(packet{src: a6, dst: b6, proto: icmp6, ttl: 255, body: append([]byte{m[0], m[1], 0, 0, 0, 0, 0, 0}, make([]byte, 24)...)})
	}
	// Ports of another protocol, and none.
	add(packet{src: a4, dst: b4, proto: sctp, ttl: 64, body: append([]byte{0x0b, 0x59, 0x0b, 0x5a, 0, 0, 0, 1, 0, 0, 0, 0}, make([]byte, 20)...)})
	add(packet{src: a6, dst: b6, proto: sctp, ttl: 64, body: append([]byte{0x0b, 0x59, 0x0b, 0x5a, 0, 0, 0, 1, 0, 0, 0, 0}, make([]byte, 20)...)})
	add(packet{src: a4, dst: "203.0.113.50", proto: esp, ttl: 64, body: make([]byte, 100)})
	add(packet{src: a4, dst: "224.0.0.22", proto: igmp, ttl: 1, options: []byte{0x94, 4, 0, 0}, body: []byte{0x22, 0, 0xf9, 0xfd, 0, 0, 0, 0}})
	inner := packet{src: "10.1.0.1", dst: "10.2.0.2", proto: udp, ttl: 9, body: udpDatagram(1111, 2222, 10)}
	add(packet{src: a4, dst: "203.0.113.60", proto: gre, ttl: 64, body: append([]byte{0, 0, 8, 0}, inner.ip()...)})

	// Fragments: ports are in the first alone.
	whole := udpDatagram(5000, 6000, 2000)
	add(packet{src: a4, dst: "203.0.113.70", proto: udp, ttl: 64, id: 7777, fragment: 0x2000, body: whole[:1480]})
	add(packet{src: a4, dst: "203.0.113.70", proto: udp, ttl: 64, id: 7777, fragment: 1480 / 8, body: whole[1480:]})
	add(packet{src: a6, dst: "2001:db8::70", proto: udp, ttl: 64, ext: 44, options: []byte{udp, 0, 0, 1, 0, 1, 2, 3}, body: whole[:1440]})
	add(packet{src: a6, dst: "2001:db8::70", proto: udp, ttl: 64, ext: 44, options: []byte{udp, 0, 1440 >> 8, 1440 & 0xf8, 0, 1, 2, 3}, body: whole[1440:]})
	// Extension headers in front of the ports: destination options, hop by hop.
	add(packet{src: a6, dst: "2001:db8::71", proto: udp, ttl: 64, ext: 60, options: []byte{udp, 0, 1, 4, 0, 0, 0, 0}, body: udpDatagram(7000, 7001, 9)})
	add(packet{src: a6, dst: "2001:db8::72", proto: tcp, ttl: 64, ext: 0, options: []byte{tcp, 0, 1, 4, 0, 0, 0, 0}, body: segment(7002, 7003, syn, 0)})
	// IPv4 with options in front of the ports.
	add(packet{src: a4, dst: "203.0.113.80", proto: tcp, ttl: 64, options: []byte{1, 1, 1, 0}, body: segment(7004, 7005, syn|ece|cwr, 3)})
	return packets
}
