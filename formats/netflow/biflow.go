package netflow

import (
	"maps"
	"unsafe"
)

// Biflow says what becomes of records that count both directions of a connection: by the reverse elements of RFC 5103, or by Cisco's
// initiator and responder elements.
type Biflow uint8

const (
	// BiflowRows gives the other direction a row of its own, with the ends exchanged, where it has packets or bytes.
	BiflowRows Biflow = iota
	// BiflowColumns leaves one row, with the other direction in out_bytes and out_packets.
	BiflowColumns
)

// reversePEN is the enterprise of reverse elements (RFC 5103, 6.1).
const reversePEN = 29305

// Values of biflowDirection (RFC 5103, 6.3).
const (
	initiator        = 1
	reverseInitiator = 2
)

// counters of bytes and packets, of which a reverse plan needs one that is not zero.
var counters = []uint16{1, 2, 85, 86, 23, 24}

// oneWay are elements that say nothing of the other direction unless they have a reverse element: counters and TCP flags.
var oneWay = map[uint16]bool{1: true, 2: true, 3: true, 6: true, 23: true, 24: true, 85: true, 86: true, 132: true, 133: true, 134: true, 135: true,
	231: true, 298: true}

// ends are the elements that the other direction has exchanged.
var ends = func() map[uint16]uint16 {
	m := map[uint16]uint16{}
	for _, p := range [][2]uint16{{8, 12}, {27, 28}, {44, 45}, {169, 170}, {7, 11}, {180, 181}, {182, 183}, {9, 13}, {29, 30}, {10, 14}, {252, 253}, {16, 17}, {129, 128},
		{56, 80}, {81, 57}, {58, 59}, {243, 254}, {225, 226}, {281, 282}, {227, 228}, {234, 235}, {40001, 40002}, {40003, 40004}} {
		m[p[0]], m[p[1]] = p[1], p[0]
	}
	return m
}()

// directions are the places of elements as each direction has them; reverse is nil if there is no row for it.
func directions(all map[uint64]place, b Biflow) (forward, reverse map[uint64]place) {
	ia := func(id uint16) uint64 { return elementKey(0, id) }
	re := func(id uint16) uint64 { return elementKey(reversePEN, id) }
	forward = maps.Clone(all)
	// Cisco's names for the two directions: initiator and responder, of octets and of packets.
	for _, x := range []struct{ to, from, counter uint16 }{{231, 232, 1}, {298, 299, 2}} {
		a, ok := all[ia(x.to)]
		r, ok2 := all[ia(x.from)]
		if !ok || !ok2 {
			continue
		}
		if _, taken := all[ia(x.counter)]; !taken {
			forward[ia(x.counter)] = a
		}
		if _, taken := all[re(x.counter)]; !taken {
			forward[re(x.counter)] = r
		}
		delete(forward, ia(x.to))
		delete(forward, ia(x.from))
	}
	two := false
	for _, id := range counters {
		_, has := forward[re(id)]
		two = two || has
	}
	if !two || b == BiflowColumns {
		return forward, nil
	}
	reverse = map[uint64]place{}
	for k, pl := range forward {
		pen, id := uint32(k>>16), uint16(k)
		switch {
		case pen == reversePEN:
			reverse[ia(id)] = pl
		case pen != 0:
			reverse[k] = pl
		case ends[id] != 0:
			reverse[ia(ends[id])] = pl
		case oneWay[id]:
		default:
			if _, has := forward[re(id)]; !has {
				reverse[k] = pl
			}
		}
	}
	maps.DeleteFunc(forward, func(k uint64, _ place) bool { return uint32(k>>16) == reversePEN })
	return forward, reverse
}

// biflowDirection is what the record says, else who began; of the other direction, the opposite.
func (c *compiler) biflowDirection(i int) {
	filled := false
	if pl, ok := c.has(239); ok && pl.len == 1 {
		o := op{cols: [3]int{i}, width: 1, seg: pl.seg, off: uintptr(pl.off), len: 1, kernels: kernels{one: num1[uint8]}}
		if c.direction == reverseInitiator {
			o.one = opposite
		}
		c.add(o)
		filled = true
	}
	c.add(op{cols: [3]int{i}, width: 1, fill: filled, base: true, kernels: kernels{one: always(c.direction)}})
}

func opposite(x *span) {
	num1[uint8](x)
	d := rowsOf[uint8](x)
	for i, v := range d {
		if v == initiator || v == reverseInitiator {
			d[i] = initiator + reverseInitiator - v
		}
	}
}

// counts says whether a record has anything of the plan's direction; at is what its segments' pointers are.
func (p *Plan) counts(at func(seg int) unsafe.Pointer) bool {
	for i := range p.need {
		if n := &p.need[i]; beN(at(n.seg), n.off, n.len) != 0 {
			return true
		}
	}
	return false
}
