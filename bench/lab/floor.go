package lab

import (
	"encoding/binary"

	"github.com/weirflow/weir/formats/emulate"
	"github.com/weirflow/weir/sdk"
)

// A floor is what the work costs at the least on this machine: the header checked, the sets walked, their template looked up
// by exporter, domain and id, and 18 numbers a record written to columns no wider than they are, a column at a time. No times made
// absolute, no constants, no batches, no books, nothing hostile thought of.
type floor struct {
	ring  *emulate.Ring
	plans map[floorKey]*floorPlan
	at, n int // datagram of the ring; row
}

type floorKey struct {
	addr   [16]byte
	domain uint32
	id     uint16
}

type floorPlan struct {
	record int // bytes
	ops8   []op[uint8]
	ops16  []op[uint16]
	ops32  []op[uint32]
}

type op[T any] struct {
	off int
	dst []T
}

func ops[T any](offs ...int) (list []op[T]) {
	for _, o := range offs {
		list = append(list, op[T]{o, make([]T, sdk.MaxRows)})
	}
	return list
}

const floorDatagrams = 512 // a chunk, as of Weir

// NewFloor is the floor of v9 and v5; nil for other protocols.
func NewFloor(c Case, ring *emulate.Ring) *Contender {
	f := &floor{ring: ring, plans: map[floorKey]*floorPlan{}}
	var p *floorPlan
	switch c.Protocol {
	case emulate.NetFlowV9: // bytes, packets, in, out, src AS, dst AS, src, dst, next hop, last, first; ports; protocol, TOS, flags, masks
		p = &floorPlan{55, ops[uint8](8, 9, 10, 31, 32), ops[uint16](11, 13), ops[uint32](0, 4, 15, 19, 23, 27, 35, 39, 43, 47, 51)}
	case emulate.NetFlowV5:
		p = &floorPlan{48, ops[uint8](37, 38, 39, 44, 45), ops[uint16](12, 14, 32, 34, 40, 42), ops[uint32](0, 4, 8, 16, 20, 24, 28)}
	default:
		return nil
	}
	for i := range ring.Datagrams {
		d := &ring.Datagrams[i]
		f.plans[floorKey{d.Exporter, d.Domain, 256}] = p
	}
	next := f.next9
	if c.Protocol == emulate.NetFlowV5 {
		next = f.next5
	}
	return &Contender{Name: "floor", What: "18 fields, narrow columns, no batch", Datagrams: floorDatagrams, Next: next}
}

// datagram is the next of the ring.
func (f *floor) datagram() (*emulate.Datagram, []byte) {
	d, p := &f.ring.Datagrams[f.at], f.ring.Payloads[f.at]
	if f.at++; f.at == len(f.ring.Payloads) {
		f.at = 0
	}
	return d, p
}

func (f *floor) next9() (records int, err error) {
	for range floorDatagrams {
		d, p := f.datagram()
		if len(p) < 20 || binary.BigEndian.Uint16(p) != 9 {
			continue
		}
		domain := binary.BigEndian.Uint32(p[16:])
		for p = p[20:]; len(p) >= 4; {
			id, l := binary.BigEndian.Uint16(p), int(binary.BigEndian.Uint16(p[2:]))
			if l < 4 || l > len(p) {
				break
			}
			set := p[4:l]
			p = p[l:]
			if plan := f.plans[floorKey{d.Exporter, domain, id}]; plan != nil {
				records += f.run(plan, set, len(set)/plan.record)
			}
		}
	}
	return records, nil
}

func (f *floor) next5() (records int, err error) {
	for range floorDatagrams {
		d, p := f.datagram()
		if len(p) < 24 || binary.BigEndian.Uint16(p) != 5 {
			continue
		}
		n := int(binary.BigEndian.Uint16(p[2:]))
		if plan := f.plans[floorKey{d.Exporter, uint32(p[21]), 256}]; plan != nil && n <= (len(p)-24)/plan.record {
			records += f.run(plan, p[24:], n)
		}
	}
	return records, nil
}

// run writes n records to the columns.
func (f *floor) run(p *floorPlan, set []byte, n int) int {
	if f.n+n > sdk.MaxRows {
		f.n = 0
	}
	for i := range p.ops8 {
		dst := p.ops8[i].dst[f.n : f.n+n]
		for j, o := 0, p.ops8[i].off; j < len(dst) && o < len(set); j, o = j+1, o+p.record {
			dst[j] = set[o]
		}
	}
	for i := range p.ops16 {
		dst := p.ops16[i].dst[f.n : f.n+n]
		for j, o := 0, p.ops16[i].off; j < len(dst) && o+2 <= len(set); j, o = j+1, o+p.record {
			dst[j] = binary.BigEndian.Uint16(set[o:])
		}
	}
	for i := range p.ops32 {
		dst := p.ops32[i].dst[f.n : f.n+n]
		for j, o := 0, p.ops32[i].off; j < len(dst) && o+4 <= len(set); j, o = j+1, o+p.record {
			dst[j] = binary.BigEndian.Uint32(set[o:])
		}
	}
	f.n += n
	return n
}
