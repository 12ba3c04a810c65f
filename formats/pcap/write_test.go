package pcap

import (
	"encoding/binary"
	"net/netip"
)

// file builds capture files by hand, as the drafts describe them, so that tests do not trust the code under test.
type file struct {
	order binary.AppendByteOrder
	b     []byte
}

func (f *file) u16(v ...uint16) {
	for _, x := range v {
		f.b = f.order.AppendUint16(f.b, x)
	}
}
func (f *file) u32(v ...uint32) {
	for _, x := range v {
		f.b = f.order.AppendUint32(f.b, x)
	}
}
func (f *file) raw(v ...byte) { f.b = append(f.b, v...) }
func (f *file) pad() {
	for len(f.b)%4 != 0 {
		f.b = append(f.b, 0)
	}
}

func classic(order binary.AppendByteOrder, magic uint32, link LinkType) *file {
	f := &file{order: order}
	f.u32(magic)
	f.u16(2, 4)
	f.u32(0, 0, 65535, uint32(link))
	return f
}

func (f *file) record(sec, frac, length uint32, data []byte) {
	f.u32(sec, frac, uint32(len(data)), length)
	f.raw(data...)
}

// block writes a block of pcapng around what body writes.
func (f *file) block(kind uint32, body func(*file)) {
	b := &file{order: f.order}
	body(b)
	b.pad()
	total := uint32(len(b.b) + 12)
	f.u32(kind, total)
	f.raw(b.b...)
	f.u32(total)
}

func (f *file) section() {
	f.block(blockSection, func(b *file) {
		b.u32(0x1a2b3c4d)
		b.u16(1, 0)
		b.u32(0xffffffff, 0xffffffff)
		b.option(1, []byte("a comment"))
	})
}

func (f *file) option(code uint16, val []byte) {
	f.u16(code, uint16(len(val)))
	f.raw(val...)
	f.pad()
}

func (f *file) iface(link LinkType, snap uint32, options func(*file)) {
	f.block(blockInterface, func(b *file) {
		b.u16(uint16(link), 0)
		b.u32(snap)
		if options != nil {
			options(b)
			b.option(0, nil)
		}
	})
}

func (f *file) enhanced(id uint32, t uint64, length uint32, data []byte) {
	f.block(blockEnhanced, func(b *file) {
		b.u32(id, uint32(t>>32), uint32(t), uint32(len(data)), length)
		b.raw(data...)
		b.pad()
		b.option(1, []byte("seen"))
	})
}

// udp4 is an IPv4 packet with a UDP datagram.
func udp4(src, dst netip.AddrPort, payload []byte) []byte {
	s, d := src.Addr().As4(), dst.Addr().As4()
	p := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0}
	p = append(append(p, s[:]...), d[:]...)
	p = append(p, udpPart(src.Port(), dst.Port(), payload)...)
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	return p
}

func udpPart(src, dst uint16, payload []byte) (p []byte) {
	p = binary.BigEndian.AppendUint16(p, src)
	p = binary.BigEndian.AppendUint16(p, dst)
	p = binary.BigEndian.AppendUint16(p, uint16(8+len(payload)))
	return append(append(p, 0, 0), payload...)
}

// ip6 is an IPv6 packet with the given next header and what follows it.
func ip6(src, dst netip.Addr, next byte, rest []byte) []byte {
	s, d := src.As16(), dst.As16()
	p := []byte{0x60, 0, 0, 0, byte(len(rest) >> 8), byte(len(rest)), next, 64}
	return append(append(append(p, s[:]...), d[:]...), rest...)
}

func eth(proto uint16, rest []byte) []byte {
	p := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, byte(proto >> 8), byte(proto)}
	return append(p, rest...)
}
