package sflow

import "unsafe"

// Formats of samples and of flow records, of enterprise 0 (the top 20 bits).
const (
	flowSample      = 1
	counterSample   = 2
	expandedSample  = 3
	expandedCounter = 4
	discardedPacket = 5

	rawHeader         = 1
	ethernetFrame     = 2
	ipv4Packet        = 3
	ipv6Packet        = 4
	extSwitch         = 1001
	extRouter         = 1002
	extGateway        = 1003
	extUser           = 1004
	extURL            = 1005
	extMPLS           = 1006
	extNAT            = 1007
	extMPLSVC         = 1009
	extVLANTunnel     = 1012
	extNATPort        = 1020
	extTunnel4Egress  = 1023
	extTunnel4Ingress = 1024
	extTunnel6Egress  = 1025
	extTunnel6Ingress = 1026
	extVNIEgress      = 1029
	extVNIIngress     = 1030

	fixedFlow      = 32 // bytes of a flow sample before its records
	fixedExpanded  = 44
	fixedDiscarded = 32
)

// sample decodes the sample in payload[at:], which ends where payload does.
func (d *Decoder) sample(format uint32, payload []byte, at int) {
	size := len(payload) - at
	least := 0
	switch format {
	case flowSample:
		least = fixedFlow
	case expandedSample:
		least = fixedExpanded
	case discardedPacket:
		least = fixedDiscarded
	case counterSample, expandedCounter:
		if d.counters != nil {
			d.counted(format, payload, at)
			return
		}
		d.Tally.Skipped[Counters] += uint64(size)
		d.r.Used = true
		return
	default:
		d.Tally.Skipped[UnknownSample] += uint64(size)
		d.r.Used = true
		return
	}
	if d.unread {
		d.Tally.Skipped[FlowSamples] += uint64(size)
		d.r.Used = true
		return
	}
	if size < 8+least {
		d.bad(SampleShort, at, size)
		return
	}
	if d.n == staged {
		d.flush()
	}
	r := &d.recs[d.n]
	r.reset()
	r.origin = d.from
	var count uint32
	switch format {
	case flowSample:
		h := (*[fixedFlow]byte)(payload[at+8:])
		count = be.Uint32(h[28:])
		r.rate = uint64(be.Uint32(h[8:]))
		in, out := be.Uint32(h[20:]), be.Uint32(h[24:])
		if in < 0x3fffffff && out < 0x3fffffff { // one interface each, none of them the device itself
			r.inIf, r.outIf = in, out
		} else {
			r.interfaces(in>>30, in&0x3fffffff, out>>30, out&0x3fffffff)
		}
		r.observed(uint32(h[4]), be.Uint32(h[4:])&0xffffff)
	case expandedSample:
		h := (*[fixedExpanded]byte)(payload[at+8:])
		count = be.Uint32(h[40:])
		r.rate = uint64(be.Uint32(h[12:]))
		r.interfaces(be.Uint32(h[24:]), be.Uint32(h[28:]), be.Uint32(h[32:]), be.Uint32(h[36:]))
		r.observed(be.Uint32(h[4:]), be.Uint32(h[8:]))
	case discardedPacket:
		h := (*[fixedDiscarded]byte)(payload[at+8:])
		count = be.Uint32(h[28:])
		r.rate = 1 // each one is told, as far as the agent's limit allows
		r.interfaces(0, be.Uint32(h[16:]), 0, be.Uint32(h[20:]))
		r.dropped(be.Uint32(h[24:]))
	}
	if d.views != nil {
		d.views[d.n] = view{}
	}
	begin := at
	raw, frame, next, count := r.common(payload, at+8+least, count, d.plan.need)
	switch {
	case count != 0:
		if !d.rest(r, packets{raw: raw, frame: frame}, payload, begin, next, count) {
			return
		}
	case raw != 0:
		d.Tally.Decoded += uint64(next - begin)
		d.Tally.Skipped[Padding] += uint64(len(payload) - next)
		d.seen(r, payload, raw, frame)
		if r.has&(hasSwitch|hasLayers) != 0 {
			r.correct()
		}
	default:
		d.Tally.Skipped[NoPacket] += uint64(next - begin)
		d.Tally.Skipped[Padding] += uint64(len(payload) - next)
		d.r.Used = true
		return
	}
	if format != discardedPacket {
		d.setRate(r)
	}
	r.packets = 1
	d.n++
	d.r.Rows++
	d.r.Used = true
	d.Tally.Records++
}

// common reads the records in payload[at:] that nearly all agents send, as long as nothing is odd about them: where the raw
// header's record has its body (0: there was none) and how many bytes of the packet are in it, where the rest begins, and how many
// records are left there. It makes no calls.
func (r *record) common(payload []byte, at int, count uint32, need needs) (raw, frame, next int, left uint32) {
	base, end := unsafe.Pointer(unsafe.SliceData(payload)), len(payload)
	for ; count != 0 && end-at >= 24; count-- {
		q := (*[24]byte)(unsafe.Add(base, at)) // they are there: the loop's condition says so
		word := be.Uint64(q[:])
		if format := uint32(word >> 32); format == rawHeader && raw == 0 {
			length, n := uint64(uint32(word)), uint64(be.Uint32(q[20:]))
			size := 8 + (length+3)&^3
			if length < 16 || n > length-16 || size > uint64(end-at) {
				break
			}
			raw, frame = at+8, int(n)
			at += int(size)
		} else if word == extSwitch<<32|16 {
			if need&needSwitch != 0 {
				r.switched(q[8:])
			}
			at += 24
		} else if word == extRouter<<32|16 && be.Uint32(q[8:]) == 1 {
			if need&needRouter != 0 {
				r.routed4((*[16]byte)(q[8:]))
			}
			at += 24
		} else if word == extRouter<<32|28 && be.Uint32(q[8:]) == 2 && end-at >= 36 {
			if need&needRouter != 0 {
				r.routed6((*[28]byte)(payload[at+8:]))
			}
			at += 36
		} else {
			break
		}
	}
	return raw, frame, at, count
}

// setRate overrides what the sample tells if that is set, and fills in what it does not tell.
func (d *Decoder) setRate(r *record) {
	s := d.slot
	switch {
	case r.rate != 0:
		d.told = uint32(r.rate)
		if s.override != 0 {
			r.rate = s.override
		}
	case s.override != 0:
		r.rate = s.override
	case s.fallback != 0:
		r.rate = s.fallback
	default:
		r.rate = 1
		d.unknown++
		d.Tally.SamplingUnknown++
	}
}
