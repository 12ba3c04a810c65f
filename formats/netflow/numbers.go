package netflow

// Kernels of numbers.

import (
	"math"
	"unsafe"
)

func be16(p unsafe.Pointer, at uintptr) uint16 {
	b := (*[2]byte)(unsafe.Add(p, at))
	return uint16(b[0])<<8 | uint16(b[1])
}

func be32(p unsafe.Pointer, at uintptr) uint32 {
	b := (*[4]byte)(unsafe.Add(p, at))
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func be64(p unsafe.Pointer, at uintptr) uint64 {
	b := (*[8]byte)(unsafe.Add(p, at))
	return uint64(b[0])<<56 | uint64(b[1])<<48 | uint64(b[2])<<40 | uint64(b[3])<<32 | uint64(b[4])<<24 | uint64(b[5])<<16 | uint64(b[6])<<8 | uint64(b[7])
}

// beN reads an unsigned integer of n bytes, 1..8.
func beN(p unsafe.Pointer, at uintptr, n int) (v uint64) {
	for i := range uintptr(n) {
		v = v<<8 | uint64(*(*uint8)(unsafe.Add(p, at+i)))
	}
	return v
}

// Numbers that are too big for their column become the largest that it holds, and are thus seen to be too big: their low bits
// would look like any other number. Where the column is as wide as the number, nothing is left of min.

func num1[D unsigned](x *span) {
	ps, at := x.ps, x.to[0].off
	d := unsafe.Slice((*D)(x.to[0].dst), len(ps))
	for i, p := range ps {
		d[i] = D(*(*uint8)(unsafe.Add(p, at)))
	}
}

func num1Pair[D unsigned](x *span) {
	ps, at, at1 := x.ps, x.to[0].off, x.to[1].off
	d, d1 := unsafe.Slice((*D)(x.to[0].dst), len(ps)), unsafe.Slice((*D)(x.to[1].dst), len(ps))
	for i, p := range ps {
		d[i] = D(*(*uint8)(unsafe.Add(p, at)))
		d1[i] = D(*(*uint8)(unsafe.Add(p, at1)))
	}
}

func num2[D unsigned](x *span) {
	ps, at := x.ps, x.to[0].off
	d := unsafe.Slice((*D)(x.to[0].dst), len(ps))
	for i, p := range ps {
		d[i] = D(min(be16(p, at), uint16(^D(0))))
	}
}

func num2Pair[D unsigned](x *span) {
	ps, at, at1 := x.ps, x.to[0].off, x.to[1].off
	d, d1 := unsafe.Slice((*D)(x.to[0].dst), len(ps)), unsafe.Slice((*D)(x.to[1].dst), len(ps))
	for i, p := range ps {
		d[i] = D(min(be16(p, at), uint16(^D(0))))
		d1[i] = D(min(be16(p, at1), uint16(^D(0))))
	}
}

func num4[D unsigned](x *span) {
	ps, at := x.ps, x.to[0].off
	d := unsafe.Slice((*D)(x.to[0].dst), len(ps))
	for i, p := range ps {
		d[i] = D(min(be32(p, at), uint32(^D(0))))
	}
}

func num4Pair[D unsigned](x *span) {
	ps, at, at1 := x.ps, x.to[0].off, x.to[1].off
	d, d1 := unsafe.Slice((*D)(x.to[0].dst), len(ps)), unsafe.Slice((*D)(x.to[1].dst), len(ps))
	for i, p := range ps {
		d[i] = D(min(be32(p, at), uint32(^D(0))))
		d1[i] = D(min(be32(p, at1), uint32(^D(0))))
	}
}

func num8[D unsigned](x *span) {
	ps, at := x.ps, x.to[0].off
	d := unsafe.Slice((*D)(x.to[0].dst), len(ps))
	for i, p := range ps {
		d[i] = D(min(be64(p, at), uint64(^D(0))))
	}
}

func num8Pair[D unsigned](x *span) {
	ps, at, at1 := x.ps, x.to[0].off, x.to[1].off
	d, d1 := unsafe.Slice((*D)(x.to[0].dst), len(ps)), unsafe.Slice((*D)(x.to[1].dst), len(ps))
	for i, p := range ps {
		d[i] = D(min(be64(p, at), uint64(^D(0))))
		d1[i] = D(min(be64(p, at1), uint64(^D(0))))
	}
}

func numN[D unsigned](x *span) {
	ps, at, n := x.ps, x.to[0].off, x.len
	d := unsafe.Slice((*D)(x.to[0].dst), len(ps))
	for i, p := range ps {
		d[i] = D(min(beN(p, at, n), uint64(^D(0))))
	}
}

func numeric[D unsigned](n int) kernels {
	switch n {
	case 1:
		return kernels{one: num1[D], two: num1Pair[D]}
	case 2:
		return kernels{one: num2[D], two: num2Pair[D]}
	case 4:
		return kernels{one: num4[D], two: num4Pair[D]}
	case 8:
		return kernels{one: num8[D], two: num8Pair[D]}
	}
	return kernels{one: numN[D]}
}

// signed extends the sign of numbers of any length.
func signed(x *span) {
	ps, at, shift := x.ps, x.to[0].off, 64-8*x.len
	d := unsafe.Slice((*int64)(x.to[0].dst), len(ps))
	for i, p := range ps {
		d[i] = int64(beN(p, at, x.len)) << shift >> shift
	}
}

// float widens to 64 bits.
func float(x *span) {
	ps, at := x.ps, x.to[0].off
	d := unsafe.Slice((*float64)(x.to[0].dst), len(ps))
	for i, p := range ps {
		if x.len == 4 {
			d[i] = float64(math.Float32frombits(be32(p, at)))
		} else {
			d[i] = math.Float64frombits(be64(p, at))
		}
	}
}

// boolean is 1 for true and 0 for false, which the wire has as 2, and for all that is neither.
func boolean(x *span) {
	ps, at := x.ps, x.to[0].off
	d := unsafe.Slice((*uint8)(x.to[0].dst), len(ps))
	for i, p := range ps {
		d[i] = 0
		if *(*uint8)(unsafe.Add(p, at)) == 1 {
			d[i] = 1
		}
	}
}

// icmpCode is the second byte of type and code.
func icmpCode(x *span) {
	y := *x
	y.to[0].off++
	num1[uint8](&y)
}
