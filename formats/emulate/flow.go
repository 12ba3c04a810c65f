package emulate

import (
	"encoding/binary"
	"math/bits"
)

// Flow is one flow record as a decoder must give it out. What the protocol does not carry is zero.
type Flow struct {
	Src, Dst, NextHop [16]byte // IPv4 mapped into IPv6 (::ffff:a.b.c.d)
	SrcPort, DstPort  uint16
	Protocol          uint8
	TOS               uint8 // IPv6: the traffic class
	TCPFlags          uint8 // of TCP only
	SrcMask, DstMask  uint8 // prefix lengths
	Direction         uint8 // 0 ingress, 1 egress (v9, IPFIX)
	InIf, OutIf       uint32
	SrcAS, DstAS      uint32 // not in sFlow
	Bytes, Packets    uint64 // sFlow: the frame's length on the wire, and 1
	// Start and End are ns since the epoch, as exactly as the wire tells: v5 and IPFIX to the millisecond; v9 by the export time,
	// which has whole seconds; sFlow has no times, so both are the time of sending.
	Start, End   int64
	SamplingRate uint32
	Sampler      uint8  // id of the sampler (v9, IPFIX)
	Interface    string // interfaceName, of variable length: IPFIX template 258 only

	SrcMAC, DstMAC uint64 // sFlow only, as what follows
	VLAN           uint16
	FrameHeader    uint16 // bytes of the frame that were sampled
	PacketLength   uint16 // of the sampled IP packet, in bytes
	TTL            uint8  // IPv6: the hop limit

	v6        bool
	ago, last uint32 // ms from the flow's first and last packet to the export
	size      uint16 // of one packet of it, in bytes
}

// Networks of the emulated hosts: clients in private and documentation space, servers with addresses that look public.
const (
	client4 = 0x0a000000         // 10.0.0.0/16
	nh4     = 0xac100001         // 172.16.0.1 and up
	client6 = 0x20010db800010000 // 2001:db8:1::/48
	server6 = 0x20010db8f0000000 // 2001:db8:f000::/36
	nh6     = 0x20010db8ffff0000 // 2001:db8:ffff::/64

	clientBits, serverBits = 16, 14
	interfaces             = 48
)

const (
	tcp, udp, esp = 6, 17, 50
)

// services that servers offer; repeated ones are more frequent.
var services = [32]struct {
	protocol uint8
	port     uint16
}{
	{tcp, 443}, {tcp, 443}, {tcp, 443}, {tcp, 443}, {tcp, 443}, {tcp, 443}, {tcp, 443}, {tcp, 443}, {tcp, 443}, {tcp, 443},
	{udp, 443}, {udp, 443}, {udp, 443}, {udp, 443}, {udp, 53}, {udp, 53}, {udp, 53}, {tcp, 80}, {tcp, 80}, {tcp, 80},
	{tcp, 22}, {tcp, 25}, {tcp, 993}, {tcp, 8080}, {tcp, 3306}, {tcp, 5432}, {tcp, 6379}, {tcp, 9092}, {udp, 123}, {udp, 3478},
	{udp, 4500}, {esp, 0},
}

// Flags seen in a flow's TCP packets: whole connections, middles of long ones, and attempts.
var tcpFlags = [8]uint8{0x1b, 0x1b, 0x1b, 0x1a, 0x18, 0x10, 0x02, 0x12}

// classes of service: best effort mostly.
var tos = [8]uint8{0, 0, 0, 0, 0, 0x28, 0x88, 0xb8}

var interfaceNames = [8]string{"ge-0/0/1", "xe-1/0/17", "ae12.100", "et-0/0/3:1", "TenGigE0/1/0/2", "lo0", "irb.2048", "Po1"}

// maxName is the longest of them.
const maxName = 14

// next draws 64 bits (wyrand: one multiplication, passes the usual test suites).
func (e *Emulator) next() uint64 {
	e.state += 0xa0761d6478bd642f
	hi, lo := bits.Mul64(e.state, e.state^0xe7037ed1a0b428db)
	return hi ^ lo
}

// mix scatters the bits of x: what belongs to a host follows from its number.
func mix(x uint64) uint64 {
	hi, lo := bits.Mul64(x^0x9e3779b97f4a7c15, 0xd6e8feb86659fd93)
	return hi ^ lo
}

// rank draws the rank of a host, 0 to 2^octaves-2, by Zipf's law in steps: each octave of ranks (1, 2, 4, ... hosts) has the same
// share of the traffic. It takes 8 bits of r for the octave and octaves-1 above them for the host in it.
func rank(r uint64, octaves uint64) uint64 {
	k := (r & 0xff) * octaves >> 8
	return (1<<k | r>>8&(1<<k-1)) - 1
}

// draw fills in a flow between a client and a server.
func (e *Emulator) draw(f *Flow, v6 bool) {
	r, r2 := e.next(), e.next()
	c := rank(r, clientBits)
	s := rank(r>>24, serverBits)
	h := mix(s + e.seed)
	service := &services[h&31]

	*f = Flow{v6: v6, Protocol: service.protocol, Packets: 1, TOS: tos[h>>5&7]}
	cPort, sPort := 32768+uint16(r>>48)%28232, service.port
	switch service.protocol {
	case tcp:
		f.TCPFlags = tcpFlags[r2&7]
	case esp:
		cPort = 0
	}
	cAS, sAS := uint32(64512+c%64), uint32(1000+h>>8&0xffff)
	cIf, sIf := uint32(1+c%interfaces), uint32(interfaces+1+h%4)

	in := r2&8 != 0 // from the server: the larger half
	if in {
		f.SrcPort, f.DstPort, f.SrcAS, f.DstAS, f.InIf, f.OutIf = sPort, cPort, sAS, cAS, sIf, cIf
		e.server(&f.Src, h, v6)
		e.client(&f.Dst, c, v6)
	} else {
		f.SrcPort, f.DstPort, f.SrcAS, f.DstAS, f.InIf, f.OutIf = cPort, sPort, cAS, sAS, cIf, sIf
		e.client(&f.Src, c, v6)
		e.server(&f.Dst, h, v6)
		f.Direction = 1
	}
	cMask, sMask := uint8(24), uint8(16+h>>24&7)
	if v6 {
		cMask, sMask = 64, 32+4*uint8(h>>24&3)
		put6(&f.NextHop, nh6, uint64(f.OutIf))
	} else {
		put4(&f.NextHop, nh4+f.OutIf)
	}
	if in {
		f.SrcMask, f.DstMask = sMask, cMask
	} else {
		f.SrcMask, f.DstMask = cMask, sMask
	}

	// Half of all flows have one or two packets, few have thousands.
	k := min(2*bits.TrailingZeros64(r2>>4|1<<8), 16)
	f.Packets = 1 + r2>>13&(1<<k-1)
	size := uint64(40 + r2>>29%64)
	if in {
		size = 64 + r2>>29%1400
	}
	if v6 {
		size += 20
	}
	f.Bytes = f.Packets * size
	f.size = uint16(max(size, 72))
	f.last = uint32(r2 >> 40 % 15000)
	f.ago = f.last
	if f.Packets > 1 {
		f.ago += uint32(r2 >> 50 << 2)
	}
}

func (e *Emulator) client(a *[16]byte, c uint64, v6 bool) {
	if v6 {
		put6(a, client6|c>>8, 0x200+c)
	} else {
		put4(a, client4+uint32(c))
	}
}

// server writes the address of the server with hash h; IPv4 ones are in 128.0.0.0/4.
func (e *Emulator) server(a *[16]byte, h uint64, v6 bool) {
	if v6 {
		put6(a, server6|h>>40<<8, h&0xffff)
	} else {
		put4(a, 0x80000000|uint32(h>>32)&0x0fffffff)
	}
}

func put4(a *[16]byte, v uint32) {
	a[10], a[11] = 0xff, 0xff
	binary.BigEndian.PutUint32(a[12:], v)
}

func put6(a *[16]byte, hi, lo uint64) {
	binary.BigEndian.PutUint64(a[:], hi)
	binary.BigEndian.PutUint64(a[8:], lo)
}
