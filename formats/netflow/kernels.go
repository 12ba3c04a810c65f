package netflow

import (
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

// rowsOf is the new rows of the column, or of a pair's first.
func rowsOf[D any](x *span) []D {
	return unsafe.Slice((*D)(x.to[0].dst), x.n)
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
