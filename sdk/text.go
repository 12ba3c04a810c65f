package sdk

import (
	"encoding/binary"
	"net/netip"
)

// AppendAddr appends the text of an address: an IPv4 one mapped into IPv6 as IPv4, nothing for the unknown one (all zero). Without
// allocation.
func AppendAddr(dst []byte, a *[16]byte) []byte {
	lo, hi := binary.LittleEndian.Uint64(a[:8]), binary.LittleEndian.Uint64(a[8:])
	switch {
	case lo != 0 || uint32(hi) != 0xffff0000:
		if lo|hi == 0 {
			return dst
		}
		return netip.AddrFrom16(*a).AppendTo(dst)
	}
	dst = appendByte(dst, a[12])
	dst = appendByte(append(dst, '.'), a[13])
	dst = appendByte(append(dst, '.'), a[14])
	return appendByte(append(dst, '.'), a[15])
}

func appendByte(dst []byte, v byte) []byte {
	switch {
	case v >= 100:
		return append(dst, '0'+v/100, '0'+v/10%10, '0'+v%10)
	case v >= 10:
		return append(dst, '0'+v/10, '0'+v%10)
	}
	return append(dst, '0'+v)
}

// AppendMAC appends the low 48 bits of v as aa:bb:cc:dd:ee:ff.
func AppendMAC(dst []byte, v uint64) []byte {
	const hexDigits = "0123456789abcdef"
	for shift := 40; shift >= 0; shift -= 8 {
		x := byte(v >> shift)
		dst = append(dst, hexDigits[x>>4], hexDigits[x&15])
		if shift > 0 {
			dst = append(dst, ':')
		}
	}
	return dst
}
