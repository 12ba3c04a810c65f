package netflow

import (
	"encoding/binary"
	"math"
	"unsafe"

	"github.com/weirflow/weir/sdk/flow"
)

// ref is where records of one set stand. Of a template of fixed length it is n records behind one another; of a template with
// fields of variable length, each segment of each record is a ref of its own, with n 1.
//
// All of it was bounded when the ref was made: at+off+len of every operation of the plan lies within the set.
type ref struct {
	p   unsafe.Pointer // start of the datagram
	at  uint32         // of the first record, or the segment, in it
	n   uint32         // records
	k   uint32         // constants of the datagram
	len uint32         // of the variable-length value that ends at at
}

// span is what a kernel runs over.
type span struct {
	g    *group // for values of several parts
	refs []ref
	ks   []consts
	off  uintptr
	rec  uintptr
	len  int
}

// kernel fills rows of a column of fixed width from dst on. It stores as many rows as the refs have records.
type kernel func(dst unsafe.Pointer, rows int, x *span)

type unsigned interface {
	~uint8 | ~uint16 | ~uint32 | ~uint64
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

// saturate is v, or the largest D if v is larger. A number too big for its column is thus seen to be too big; its low bits
// would look like any other number.
func saturate[D unsigned](v uint64) D {
	if m := ^D(0); v > uint64(m) {
		return m
	}
	return D(v)
}

func num1[D unsigned](dst unsafe.Pointer, rows int, x *span) {
	d, rec := unsafe.Slice((*D)(dst), rows), x.rec
	for i := range x.refs {
		r := &x.refs[i]
		p, at := r.p, uintptr(r.at)+x.off
		for j := range d[:r.n] {
			d[j] = D(*(*uint8)(unsafe.Add(p, at)))
			at += rec
		}
		d = d[r.n:]
	}
}

func num2[D unsigned](dst unsafe.Pointer, rows int, x *span) {
	d, rec := unsafe.Slice((*D)(dst), rows), x.rec
	for i := range x.refs {
		r := &x.refs[i]
		p, at := r.p, uintptr(r.at)+x.off
		for j := range d[:r.n] {
			d[j] = saturate[D](uint64(be16(p, at)))
			at += rec
		}
		d = d[r.n:]
	}
}

func num4[D unsigned](dst unsafe.Pointer, rows int, x *span) {
	d, rec := unsafe.Slice((*D)(dst), rows), x.rec
	for i := range x.refs {
		r := &x.refs[i]
		p, at := r.p, uintptr(r.at)+x.off
		for j := range d[:r.n] {
			d[j] = saturate[D](uint64(be32(p, at)))
			at += rec
		}
		d = d[r.n:]
	}
}

func num8[D unsigned](dst unsafe.Pointer, rows int, x *span) {
	d, rec := unsafe.Slice((*D)(dst), rows), x.rec
	for i := range x.refs {
		r := &x.refs[i]
		p, at := r.p, uintptr(r.at)+x.off
		for j := range d[:r.n] {
			d[j] = saturate[D](be64(p, at))
			at += rec
		}
		d = d[r.n:]
	}
}

func numN[D unsigned](dst unsafe.Pointer, rows int, x *span) {
	d, rec := unsafe.Slice((*D)(dst), rows), x.rec
	for i := range x.refs {
		r := &x.refs[i]
		p, at := r.p, uintptr(r.at)+x.off
		for j := range d[:r.n] {
			d[j] = saturate[D](beN(p, at, x.len))
			at += rec
		}
		d = d[r.n:]
	}
}

func numeric[D unsigned](n int) kernel {
	switch n {
	case 1:
		return num1[D]
	case 2:
		return num2[D]
	case 4:
		return num4[D]
	case 8:
		return num8[D]
	}
	return numN[D]
}

// addr4 maps IPv4 addresses into IPv6 (RFC 4291, 2.5.5.2). Written so that the order of bytes in memory is the same on every
// machine.
func addr4(dst unsafe.Pointer, rows int, x *span) {
	d, rec := unsafe.Slice((*[16]byte)(dst), rows), x.rec
	mapped := *(*uint64)(unsafe.Pointer(&mappedHigh))
	for i := range x.refs {
		r := &x.refs[i]
		p, at := r.p, uintptr(r.at)+x.off
		for j := range d[:r.n] {
			row := unsafe.Pointer(&d[j])
			*(*uint64)(row) = 0
			*(*uint64)(unsafe.Add(row, 8)) = mapped
			*(*uint32)(unsafe.Add(row, 12)) = *(*uint32)(unsafe.Add(p, at))
			at += rec
		}
		d = d[r.n:]
	}
}

// mappedHigh is bytes 8..15 of ::ffff:0.0.0.0.
var mappedHigh = [8]byte{0, 0, 0xff, 0xff}

func addr6(dst unsafe.Pointer, rows int, x *span) {
	d, rec := unsafe.Slice((*[2]uint64)(dst), rows), x.rec
	for i := range x.refs {
		r := &x.refs[i]
		p, at := r.p, uintptr(r.at)+x.off
		for j := range d[:r.n] {
			d[j] = *(*[2]uint64)(unsafe.Add(p, at))
			at += rec
		}
		d = d[r.n:]
	}
}

func mac(dst unsafe.Pointer, rows int, x *span) {
	d, rec := unsafe.Slice((*uint64)(dst), rows), x.rec
	for i := range x.refs {
		r := &x.refs[i]
		p, at := r.p, uintptr(r.at)+x.off
		for j := range d[:r.n] {
			d[j] = uint64(be16(p, at))<<32 | uint64(be32(p, at+2))
			at += rec
		}
		d = d[r.n:]
	}
}

// uptime: exported + int32(first - uptime) ms is right as long as the flow began within 24 days of the export, also when the
// exporter's 32 bits of milliseconds have wrapped between the two (every 49.7 days).
func uptime(dst unsafe.Pointer, rows int, x *span) {
	d, rec := unsafe.Slice((*int64)(dst), rows), x.rec
	for i := range x.refs {
		r := &x.refs[i]
		k := &x.ks[r.k]
		p, at := r.p, uintptr(r.at)+x.off
		if !k.hasUptime {
			clear(d[:r.n])
		} else {
			up, exported := k.uptime, k.clock
			for j := range d[:r.n] {
				d[j] = exported + int64(int32(be32(p, at)-up))*1e6
				at += rec
			}
		}
		d = d[r.n:]
	}
}

// since makes a kernel of times that are a count of units of ns nanoseconds since the epoch. What passes the year 2262 becomes
// the largest time.
func since(ns uint64) kernel {
	return func(dst unsafe.Pointer, rows int, x *span) {
		d, rec := unsafe.Slice((*int64)(dst), rows), x.rec
		for i := range x.refs {
			r := &x.refs[i]
			p, at := r.p, uintptr(r.at)+x.off
			for j := range d[:r.n] {
				d[j] = int64(min(beN(p, at, x.len), maxTime/ns) * ns)
				at += rec
			}
			d = d[r.n:]
		}
	}
}

// millis is since of the length that nearly all have.
func millis(dst unsafe.Pointer, rows int, x *span) {
	d, rec := unsafe.Slice((*int64)(dst), rows), x.rec
	for i := range x.refs {
		r := &x.refs[i]
		p, at := r.p, uintptr(r.at)+x.off
		for j := range d[:r.n] {
			d[j] = int64(min(be64(p, at), maxTime/1e6) * 1e6)
			at += rec
		}
		d = d[r.n:]
	}
}

const maxTime uint64 = 1<<63 - 1

// ntp makes a kernel of NTP times (RFC 5905, 6): seconds since 1900 and a fraction of 2^-32, rounded to units of unit ns. What
// lies before 1970 is of the era that begins in 2036. Zero is not known.
func ntp(unit uint64) kernel {
	const epoch = 2208988800
	return func(dst unsafe.Pointer, rows int, x *span) {
		d, rec := unsafe.Slice((*int64)(dst), rows), x.rec
		for i := range x.refs {
			r := &x.refs[i]
			p, at := r.p, uintptr(r.at)+x.off
			for j := range d[:r.n] {
				v := be64(p, at)
				at += rec
				if v == 0 {
					d[j] = 0
					continue
				}
				s := int64(v>>32) - epoch
				if s < 0 {
					s += 1 << 32
				}
				// The fraction was cut when it was made (microseconds: its low 11 bits mean nothing), so round.
				d[j] = s*1e9 + int64(((v&0xffffffff)*(1e9/unit)+1<<31)>>32*unit)
			}
			d = d[r.n:]
		}
	}
}

func deltaMicro(dst unsafe.Pointer, rows int, x *span) {
	d, rec := unsafe.Slice((*int64)(dst), rows), x.rec
	for i := range x.refs {
		r := &x.refs[i]
		exported := x.ks[r.k].clock
		p, at := r.p, uintptr(r.at)+x.off
		for j := range d[:r.n] {
			d[j] = exported - int64(min(beN(p, at, x.len), uint64(max(exported, 0))/1e3)*1e3)
			at += rec
		}
		d = d[r.n:]
	}
}

// samplerRate looks up the rate of the sampler that each record names; 0 where it is not known.
func samplerRate(dst unsafe.Pointer, rows int, x *span) {
	d, rec := unsafe.Slice((*uint64)(dst), rows), x.rec
	for i := range x.refs {
		r := &x.refs[i]
		k := &x.ks[r.k]
		p, at := r.p, uintptr(r.at)+x.off
		var id, rate uint64
		for j := range d[:r.n] {
			if v := beN(p, at, x.len); j == 0 || v != id {
				id, rate = v, 0
				// A record that names sampler 0 and finds none was not made by a sampler that has a number.
				for _, s := range k.samplers {
					if s.ID == id && s.Named {
						rate = s.Rate
					}
				}
			}
			d[j] = rate
			at += rec
		}
		d = d[r.n:]
	}
}

// versionEtype makes Ethernet types of IP versions.
func versionEtype(dst unsafe.Pointer, rows int, x *span) {
	d, rec := unsafe.Slice((*uint16)(dst), rows), x.rec
	for i := range x.refs {
		r := &x.refs[i]
		p, at := r.p, uintptr(r.at)+x.off
		for j := range d[:r.n] {
			switch *(*uint8)(unsafe.Add(p, at)) {
			case 4:
				d[j] = etypeIPv4
			case 6:
				d[j] = etypeIPv6
			default:
				d[j] = 0
			}
			at += rec
		}
		d = d[r.n:]
	}
}

// addrEtype is the type that goes with an address of x.len bytes, or 0 where that is zero.
func addrEtype(dst unsafe.Pointer, rows int, x *span) {
	d, rec := unsafe.Slice((*uint16)(dst), rows), x.rec
	for i := range x.refs {
		r := &x.refs[i]
		p, at := r.p, uintptr(r.at)+x.off
		for j := range d[:r.n] {
			d[j] = 0
			if x.len == 4 {
				if be32(p, at) != 0 {
					d[j] = etypeIPv4
				}
			} else if be64(p, at)|be64(p, at+8) != 0 {
				d[j] = etypeIPv6
			}
			at += rec
		}
		d = d[r.n:]
	}
}

const (
	etypeIPv4 = 0x0800
	etypeIPv6 = 0x86dd
)

// signed extends the sign of numbers of any length.
func signed(dst unsafe.Pointer, rows int, x *span) {
	d, rec, shift := unsafe.Slice((*int64)(dst), rows), x.rec, 64-8*x.len
	for i := range x.refs {
		r := &x.refs[i]
		p, at := r.p, uintptr(r.at)+x.off
		for j := range d[:r.n] {
			d[j] = int64(beN(p, at, x.len)) << shift >> shift
			at += rec
		}
		d = d[r.n:]
	}
}

// float widens to 64 bits.
func float(dst unsafe.Pointer, rows int, x *span) {
	d, rec := unsafe.Slice((*float64)(dst), rows), x.rec
	for i := range x.refs {
		r := &x.refs[i]
		p, at := r.p, uintptr(r.at)+x.off
		for j := range d[:r.n] {
			if x.len == 4 {
				d[j] = float64(math.Float32frombits(be32(p, at)))
			} else {
				d[j] = math.Float64frombits(be64(p, at))
			}
			at += rec
		}
		d = d[r.n:]
	}
}

// boolean is 1 for true and 0 for false, which the wire has as 2, and for all that is neither.
func boolean(dst unsafe.Pointer, rows int, x *span) {
	d, rec := unsafe.Slice((*uint8)(dst), rows), x.rec
	for i := range x.refs {
		r := &x.refs[i]
		p, at := r.p, uintptr(r.at)+x.off
		for j := range d[:r.n] {
			d[j] = 0
			if *(*uint8)(unsafe.Add(p, at)) == 1 {
				d[j] = 1
			}
			at += rec
		}
		d = d[r.n:]
	}
}

// kernelOf is the kernel for an encoding of n bytes into a column of width bytes; nil if there is none.
func kernelOf(e flow.Encoding, n, width int) kernel {
	switch e {
	case flow.Unsigned:
		if n < 1 || n > 8 {
			return nil
		}
		switch width {
		case 1:
			return numeric[uint8](n)
		case 2:
			return numeric[uint16](n)
		case 4:
			return numeric[uint32](n)
		}
		return numeric[uint64](n)
	case flow.IPv4:
		return addr4
	case flow.IPv6:
		return addr6
	case flow.MACAddress:
		return mac
	case flow.Uptime:
		return uptime
	case flow.Seconds:
		return since(1e9)
	case flow.Millis:
		if n == 8 {
			return millis
		}
		return since(1e6)
	case flow.Micros:
		if n == lenTimeval {
			return timeval
		}
		return ntp(1e3)
	case flow.Nanos:
		return ntp(1)
	case flow.DeltaMicro:
		return deltaMicro
	case flow.Signed:
		return signed
	case flow.Float:
		return float
	case flow.Boolean:
		return boolean
	case flow.ICMPType:
		return num1[uint8]
	case flow.ICMPCode:
		return icmpCode
	}
	return nil
}

// icmpCode is the second byte of type and code.
func icmpCode(dst unsafe.Pointer, rows int, x *span) {
	y := *x
	y.off++
	num1[uint8](dst, rows, &y)
}
