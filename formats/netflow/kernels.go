package netflow

import (
	"encoding/binary"
	"math"
	"unsafe"

	"github.com/weirflow/weir/sdk/flow"
)

// span is what a kernel runs over, and where it writes: row i of a column is written from record i.
//
// A record is reached by a pointer, not by its place in its set: one loop runs over all records of a group, however few each datagram
// had, and records of fixed and of variable length are the same to it. All of it was bounded when the pointers were made: off+len of
// every operation of the plan lies within the record's set. Only what needs the constants of datagrams has a loop for each.
type span struct {
	g    *group           // for values of several parts
	n    int              // records
	ps   []unsafe.Pointer // the byte before the operation's segment, of each record
	lens []uint32         // of the value of variable length that ends there, if there is one
	runs []run            // the datagrams that the records are of

	to  [2]target
	len int // of the values in bytes

	width   uint64 // of the window for times
	any     bool   // times are not bounded: what a filler makes may not be used
	clamped uint64 // times that were outside
}

// run is n records of one datagram.
type run struct {
	n int
	k *consts
}

// target is a column that is written: from its first new row on, what stands at an offset behind the segment's pointer.
type target struct {
	dst unsafe.Pointer
	off uintptr
}

// kernel fills rows of one column, or of two ("pairs"), of fixed width. A pair reads the pointer and counts the loop once for two
// values, each of which takes a load, a swap and a store: a third less.
//
// The loops below are alike on purpose. What a loop calls is inlined, but more than one level of it leaves instructions that do
// nothing, two for each value; so each width has its loop, and each row its line.
type kernel func(x *span)

// kernels are those of one kind: of an encoding, a length and a width.
type kernels struct {
	kind uint32
	one  kernel
	two  kernel // nil: there is none
}

type unsigned interface {
	~uint8 | ~uint16 | ~uint32 | ~uint64
}

// rowsOf is the new rows of a column.
func rowsOf[D any](x *span, column int) []D {
	return unsafe.Slice((*D)(x.to[column].dst), x.n)
}

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

// uptime: exported + int32(first - uptime) ms is right as long as the flow began within 24 days of the export, also when the
// exporter's 32 bits of milliseconds have wrapped between the two (every 49.7 days).
//
// Times outside the window are rare: the loops of uptimes and of milliseconds only keep how far behind the window's beginning the
// furthest is. A branch for each that is never taken costs more.
func uptime(x *span) {
	ps, at := x.ps, x.to[0].off
	d := unsafe.Slice((*int64)(x.to[0].dst), len(ps))
	far, i := uint64(0), 0
	for _, r := range x.runs {
		end := i + r.n
		if i < 0 || end > len(ps) {
			break // not so: the compiler sees the bounds
		}
		uptime, low, ahead, ms := r.k.uptime, r.k.low, r.k.clock-r.k.low, int64(1e6)
		if !r.k.hasUptime {
			low, ahead, ms = 0, 0, 0
		}
		for ; i < end; i++ {
			v := ahead + int64(int32(be32(ps[i], at)-uptime))*ms
			far = max(far, uint64(v))
			d[i] = v + low
		}
	}
	if far > x.width {
		x.clamp(d)
	}
}

// since makes a kernel of times that are a count of units of ns nanoseconds since the epoch. What passes the year 2262 becomes
// the largest time.
func since(ns uint64) kernel {
	return func(x *span) {
		ps, at, n := x.ps, x.to[0].off, x.len
		d := unsafe.Slice((*int64)(x.to[0].dst), len(ps))
		for i, p := range ps {
			d[i] = int64(min(beN(p, at, n), maxTime/ns) * ns)
		}
		x.clamp(d)
	}
}

// millis is since of the length that nearly all have.
func millis(x *span) {
	ps, at := x.ps, x.to[0].off
	d := unsafe.Slice((*int64)(x.to[0].dst), len(ps))
	far, i := uint64(0), 0
	for _, r := range x.runs {
		end := i + r.n
		if i < 0 || end > len(ps) {
			break // not so: the compiler sees the bounds
		}
		for low := r.k.low; i < end; i++ {
			v := int64(min(be64(ps[i], at), maxTime/1e6) * 1e6)
			d[i] = v
			far = max(far, uint64(v-low))
		}
	}
	if far > x.width {
		x.clamp(d)
	}
}

const maxTime uint64 = 1<<63 - 1

// ntp makes a kernel of NTP times (RFC 5905, 6): seconds since 1900 and a fraction of 2^-32, rounded to units of unit ns. What
// lies before 1970 is of the era that begins in 2036. Zero is not known.
func ntp(unit uint64) kernel {
	const epoch = 2208988800
	return func(x *span) {
		ps, at := x.ps, x.to[0].off
		d := unsafe.Slice((*int64)(x.to[0].dst), len(ps))
		for i, p := range ps {
			v := be64(p, at)
			if v == 0 {
				d[i] = 0
				continue
			}
			s := int64(v>>32) - epoch
			if s < 0 {
				s += 1 << 32
			}
			// The fraction was cut when it was made (microseconds: its low 11 bits mean nothing), so round.
			d[i] = s*1e9 + int64(((v&0xffffffff)*(1e9/unit)+1<<31)>>32*unit)
		}
		x.clamp(d)
	}
}

func deltaMicro(x *span) {
	d, at, n, i := rowsOf[int64](x, 0), x.to[0].off, x.len, 0
	for _, r := range x.runs {
		exported := r.k.clock
		for end := i + r.n; i < end; i++ {
			d[i] = exported - int64(min(beN(x.ps[i], at, n), uint64(max(exported, 0))/1e3)*1e3)
		}
	}
	x.clamp(d)
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

// kernelsOf are the kernels for an encoding of n bytes into a column of width bytes; without one if there are none.
func kernelsOf(e flow.Encoding, n, width int) kernels {
	k := kernels{}
	switch e {
	case flow.Unsigned:
		if n < 1 || n > 8 {
			return k
		}
		switch width {
		case 1:
			k = numeric[uint8](n)
		case 2:
			k = numeric[uint16](n)
		case 4:
			k = numeric[uint32](n)
		default:
			k = numeric[uint64](n)
		}
	case flow.IPv4:
		k.one, k.two = addr4, addr4Pair
	case flow.IPv6:
		k.one = addr6
	case flow.MACAddress:
		k.one = mac
	case flow.Uptime:
		k.one = uptime
	case flow.Seconds:
		k.one = since(1e9)
	case flow.Millis:
		if n == 8 {
			k.one = millis
		} else {
			k.one = since(1e6)
		}
	case flow.Micros:
		if k.one = ntp(1e3); n == lenTimeval {
			k.one = timeval
		}
	case flow.Nanos:
		k.one = ntp(1)
	case flow.DeltaMicro:
		k.one = deltaMicro
	case flow.Signed:
		k.one = signed
	case flow.Float:
		k.one = float
	case flow.Boolean:
		k.one = boolean
	case flow.ICMPType:
		k.one = num1[uint8]
	case flow.ICMPCode:
		k.one = icmpCode
	}
	k.kind = uint32(e)<<16 | uint32(n)<<8 | uint32(width)
	return k
}
