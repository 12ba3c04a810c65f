package netflow

import (
	"encoding/binary"
	"math"
	"unsafe"

	"github.com/weirflow/weir/sdk/flow"
)

// span is what a kernel runs over, and where it writes: row i of a column is written from record i.
//
// A record is reached by a pointer, not by its place in its set: one loop runs over all records of a group, however few each
// datagram had, and records of fixed and of variable length are the same to it. All of it was bounded when the pointers were
// made: off+len of every operation of the plan lies within the record's set.
type span struct {
	g    *group           // for values of several parts
	ps   []unsafe.Pointer // the byte before the operation's segment, of each record
	lens []uint32         // of the value of variable length that ends there, if there is one
	runs []run            // the datagrams of the records
	ks   []consts
	rows int

	to  [2]target
	len int  // of the values in bytes
	any bool // times are not bounded: what a filler makes may not be used

	clamped uint64 // times that were outside
}

// target is a column that is written: from its first new row on, what stands at an offset behind the segment's pointer.
type target struct {
	dst unsafe.Pointer
	off uintptr
}

// run is n records of one datagram, whose constants are ks[k].
type run struct{ n, k uint32 }

// kernel fills rows of one column, or of two ("pairs"), of fixed width. What a pair saves is reading the pointer and the loop
// twice: half of the work where a value takes a load, a swap and a store.
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
	return unsafe.Slice((*D)(x.to[column].dst), x.rows)
}

func be16(p unsafe.Pointer, at uintptr) uint16 {
	return binary.BigEndian.Uint16((*[2]byte)(unsafe.Add(p, at))[:])
}
func be32(p unsafe.Pointer, at uintptr) uint32 {
	return binary.BigEndian.Uint32((*[4]byte)(unsafe.Add(p, at))[:])
}
func be64(p unsafe.Pointer, at uintptr) uint64 {
	return binary.BigEndian.Uint64((*[8]byte)(unsafe.Add(p, at))[:])
}

// beN reads an unsigned integer of n bytes, 1..8.
func beN(p unsafe.Pointer, at uintptr, n int) (v uint64) {
	for i := range uintptr(n) {
		v = v<<8 | uint64(*(*uint8)(unsafe.Add(p, at+i)))
	}
	return v
}

// load reads an unsigned integer as long as W.
func load[W unsigned](p unsafe.Pointer, at uintptr) uint64 {
	switch unsafe.Sizeof(W(0)) { // known when the function is compiled: one case is left
	case 1:
		return uint64(*(*uint8)(unsafe.Add(p, at)))
	case 2:
		return uint64(be16(p, at))
	case 4:
		return uint64(be32(p, at))
	}
	return be64(p, at)
}

// saturate is v, or the largest D if v is larger. A number too big for its column is thus seen to be too big; its low bits
// would look like any other number. v is as long as W.
func saturate[W, D unsigned](v uint64) D {
	if unsafe.Sizeof(W(0)) > unsafe.Sizeof(D(0)) {
		if m := ^D(0); v > uint64(m) {
			return m
		}
	}
	return D(v)
}

func num[W, D unsigned](x *span) {
	ps, at := x.ps, x.to[0].off
	d := unsafe.Slice((*D)(x.to[0].dst), len(ps))
	for i, p := range ps {
		d[i] = saturate[W, D](load[W](p, at))
	}
}

func numPair[W, D unsigned](x *span) {
	ps, at, at1 := x.ps, x.to[0].off, x.to[1].off
	d, d1 := unsafe.Slice((*D)(x.to[0].dst), len(ps)), unsafe.Slice((*D)(x.to[1].dst), len(ps))
	for i, p := range ps {
		d[i] = saturate[W, D](load[W](p, at))
		d1[i] = saturate[W, D](load[W](p, at1))
	}
}

// numN is num of the lengths that no type has.
func numN[D unsigned](x *span) {
	ps, at, n := x.ps, x.to[0].off, x.len
	d := unsafe.Slice((*D)(x.to[0].dst), len(ps))
	for i, p := range ps {
		d[i] = saturate[uint64, D](beN(p, at, n))
	}
}

func numeric[D unsigned](n int) kernels {
	switch n {
	case 1:
		return kernels{one: num[uint8, D], two: numPair[uint8, D]}
	case 2:
		return kernels{one: num[uint16, D], two: numPair[uint16, D]}
	case 4:
		return kernels{one: num[uint32, D], two: numPair[uint32, D]}
	case 8:
		return kernels{one: num[uint64, D], two: numPair[uint64, D]}
	}
	return kernels{one: numN[D]}
}

// mapIPv4 writes an IPv4 address mapped into IPv6 (RFC 4291, 2.5.5.2): 10 bytes of zero, two of 0xff, its own four.
func mapIPv4(row *[16]byte, p unsafe.Pointer, at uintptr) {
	le := binary.LittleEndian
	le.PutUint64(row[:8], 0)
	le.PutUint64(row[8:], uint64(le.Uint32((*[4]byte)(unsafe.Add(p, at))[:]))<<32|0xffff<<16)
}

func addr4(x *span) {
	ps, at := x.ps, x.to[0].off
	d := unsafe.Slice((*[16]byte)(x.to[0].dst), len(ps))
	for i, p := range ps {
		mapIPv4(&d[i], p, at)
	}
}

func addr4Pair(x *span) {
	ps, at, at1 := x.ps, x.to[0].off, x.to[1].off
	d, d1 := unsafe.Slice((*[16]byte)(x.to[0].dst), len(ps)), unsafe.Slice((*[16]byte)(x.to[1].dst), len(ps))
	for i, p := range ps {
		mapIPv4(&d[i], p, at)
		mapIPv4(&d1[i], p, at1)
	}
}

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
func uptime(x *span) {
	ps, at := x.ps, x.to[0].off
	d := unsafe.Slice((*int64)(x.to[0].dst), len(ps))
	row := 0
	for _, r := range x.runs {
		k := &x.ks[r.k]
		up, clock, end := k.uptime, k.clock, row+int(r.n)
		low, width := k.window(x)
		if !k.hasUptime {
			clear(d[row:end])
			row = end
		}
		for ; row < end; row++ {
			v := clock + int64(int32(be32(ps[row], at)-up))*1e6
			if uint64(v-low) > width {
				v = x.clamp(v, low, width)
			}
			d[row] = v
		}
	}
}

func uptimePair(x *span) {
	ps, at, at1 := x.ps, x.to[0].off, x.to[1].off
	d, d1 := unsafe.Slice((*int64)(x.to[0].dst), len(ps)), unsafe.Slice((*int64)(x.to[1].dst), len(ps))
	row := 0
	for _, r := range x.runs {
		k := &x.ks[r.k]
		up, clock, end := k.uptime, k.clock, row+int(r.n)
		low, width := k.window(x)
		if !k.hasUptime {
			clear(d[row:end])
			clear(d1[row:end])
			row = end
		}
		for ; row < end; row++ {
			p := ps[row]
			v := clock + int64(int32(be32(p, at)-up))*1e6
			if uint64(v-low) > width {
				v = x.clamp(v, low, width)
			}
			d[row] = v
			v = clock + int64(int32(be32(p, at1)-up))*1e6
			if uint64(v-low) > width {
				v = x.clamp(v, low, width)
			}
			d1[row] = v
		}
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
		x.clampAll()
	}
}

// millis is since of the length that nearly all have.
func millis(x *span) {
	ps, at := x.ps, x.to[0].off
	d := unsafe.Slice((*int64)(x.to[0].dst), len(ps))
	row := 0
	for _, r := range x.runs {
		low, width := x.ks[r.k].window(x)
		for end := row + int(r.n); row < end; row++ {
			v := int64(min(be64(ps[row], at), maxTime/1e6) * 1e6)
			if uint64(v-low) > width {
				v = x.clamp(v, low, width)
			}
			d[row] = v
		}
	}
}

func millisPair(x *span) {
	ps, at, at1 := x.ps, x.to[0].off, x.to[1].off
	d, d1 := unsafe.Slice((*int64)(x.to[0].dst), len(ps)), unsafe.Slice((*int64)(x.to[1].dst), len(ps))
	row := 0
	for _, r := range x.runs {
		low, width := x.ks[r.k].window(x)
		for end := row + int(r.n); row < end; row++ {
			p := ps[row]
			v := int64(min(be64(p, at), maxTime/1e6) * 1e6)
			if uint64(v-low) > width {
				v = x.clamp(v, low, width)
			}
			d[row] = v
			v = int64(min(be64(p, at1), maxTime/1e6) * 1e6)
			if uint64(v-low) > width {
				v = x.clamp(v, low, width)
			}
			d1[row] = v
		}
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
		x.clampAll()
	}
}

func deltaMicro(x *span) {
	ps, at, n := x.ps, x.to[0].off, x.len
	d := unsafe.Slice((*int64)(x.to[0].dst), len(ps))
	row := 0
	for _, r := range x.runs {
		exported := x.ks[r.k].clock
		for end := row + int(r.n); row < end; row++ {
			d[row] = exported - int64(min(beN(ps[row], at, n), uint64(max(exported, 0))/1e3)*1e3)
		}
	}
	x.clampAll()
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
	num[uint8, uint8](&y)
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
		k.one, k.two = uptime, uptimePair
	case flow.Seconds:
		k.one = since(1e9)
	case flow.Millis:
		if n == 8 {
			k.one, k.two = millis, millisPair
		} else {
			k.one = since(1e6)
		}
	case flow.Micros:
		k.one = ntp(1e3)
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
		k.one = num[uint8, uint8]
	case flow.ICMPCode:
		k.one = icmpCode
	}
	k.kind = uint32(e)<<16 | uint32(n)<<8 | uint32(width)
	return k
}
