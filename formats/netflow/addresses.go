package netflow

// Kernels of addresses, and of what Ethernet type goes with them.

import (
	"encoding/binary"
	"unsafe"
)

// addr4 maps IPv4 addresses into IPv6 (RFC 4291, 2.5.5.2): 10 bytes of zero, two of 0xff, their own four.
func addr4(x *span) {
	ps, at := x.ps, x.to[0].off
	d := unsafe.Slice((*[2][8]byte)(x.to[0].dst), len(ps))
	for i, p := range ps {
		d[i][0] = [8]byte{}
		le.PutUint64(d[i][1][:], mapped|uint64(le.Uint32((*[4]byte)(unsafe.Add(p, at))[:]))<<32)
	}
}

func addr4Pair(x *span) {
	ps, at, at1 := x.ps, x.to[0].off, x.to[1].off
	d, d1 := unsafe.Slice((*[2][8]byte)(x.to[0].dst), len(ps)), unsafe.Slice((*[2][8]byte)(x.to[1].dst), len(ps))
	for i, p := range ps {
		d[i][0] = [8]byte{}
		le.PutUint64(d[i][1][:], mapped|uint64(le.Uint32((*[4]byte)(unsafe.Add(p, at))[:]))<<32)
		d1[i][0] = [8]byte{}
		le.PutUint64(d1[i][1][:], mapped|uint64(le.Uint32((*[4]byte)(unsafe.Add(p, at1))[:]))<<32)
	}
}

var le = binary.LittleEndian

// mapped is bytes 8..11 of ::ffff:0.0.0.0, as le reads them.
const mapped = 0xffff << 16

func addr6(x *span) {
	ps, at := x.ps, x.to[0].off
	d := unsafe.Slice((*[16]byte)(x.to[0].dst), len(ps))
	for i, p := range ps {
		d[i] = *(*[16]byte)(unsafe.Add(p, at))
	}
}

func mac(x *span) {
	ps, at := x.ps, x.to[0].off
	d := unsafe.Slice((*uint64)(x.to[0].dst), len(ps))
	for i, p := range ps {
		d[i] = uint64(be16(p, at))<<32 | uint64(be32(p, at+2))
	}
}

// versionEtype makes Ethernet types of IP versions.
func versionEtype(x *span) {
	ps, at := x.ps, x.to[0].off
	d := unsafe.Slice((*uint16)(x.to[0].dst), len(ps))
	for i, p := range ps {
		switch *(*uint8)(unsafe.Add(p, at)) {
		case 4:
			d[i] = etypeIPv4
		case 6:
			d[i] = etypeIPv6
		default:
			d[i] = 0
		}
	}
}

// addrEtype is the type that goes with an address of x.len bytes, or 0 where that is zero.
func addrEtype(x *span) {
	ps, at := x.ps, x.to[0].off
	d := unsafe.Slice((*uint16)(x.to[0].dst), len(ps))
	for i, p := range ps {
		d[i] = 0
		if x.len == 4 {
			if be32(p, at) != 0 {
				d[i] = etypeIPv4
			}
		} else if be64(p, at)|be64(p, at+8) != 0 {
			d[i] = etypeIPv6
		}
	}
}

const (
	etypeIPv4 = 0x0800
	etypeIPv6 = 0x86dd
)
