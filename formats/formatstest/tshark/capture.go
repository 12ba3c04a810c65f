package tshark

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// Frame is a packet of a capture, from its Ethernet header on.
type Frame struct {
	At     time.Time
	Data   []byte
	Length int // on the wire, in bytes, if Data is only its beginning
}

// Pcap is a capture of frames: classic, little-endian, with nanoseconds.
func Pcap(frames []Frame) (b []byte) {
	le := binary.LittleEndian
	for _, v := range []uint32{0xa1b23c4d, 4<<16 | 2, 0, 0, 1 << 18, 1} {
		b = le.AppendUint32(b, v)
	}
	for _, f := range frames {
		for _, v := range []uint32{uint32(f.At.Unix()), uint32(f.At.Nanosecond()), uint32(len(f.Data)), uint32(max(f.Length, len(f.Data)))} {
			b = le.AppendUint32(b, v)
		}
		b = append(b, f.Data...)
	}
	return b
}

// UDP is a frame with a datagram over IPv4.
func UDP(from, to netip.AddrPort, payload []byte) []byte {
	be := binary.BigEndian
	b := []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0}
	b = be.AppendUint16(b, uint16(28+len(payload)))
	b = append(b, 0, 0, 0x40, 0, 64, 17, 0, 0)
	b = append(b, from.Addr().AsSlice()...)
	b = append(b, to.Addr().AsSlice()...)
	b = be.AppendUint16(b, from.Port())
	b = be.AppendUint16(b, to.Port())
	b = be.AppendUint16(b, uint16(8+len(payload)))
	return append(append(b, 0, 0), payload...)
}
