package sflow

import "github.com/weirflow/weir/formats/packet"

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

// packets are the records of a sample that show the packet, in falling order of what they tell.
type packets struct {
	raw                  int // where the raw header's record has its body in the payload; 0: there is none
	frame                int // bytes of the header, at raw+16
	ethernet, ipv4, ipv6 []byte
}

// sample decodes the sample in payload[at:], which ends where payload does.
func (d *Decoder) sample(format uint32, payload []byte, at int) {
	p, size := payload[at+8:], len(payload)-at
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
	if len(p) < least {
		d.bad(SampleShort, at, size)
		return
	}
	if d.n == staged {
		d.flush()
	}
	r := &d.recs[d.n]
	r.reset()
	r.origin = d.from
	switch format {
	case flowSample:
		h := (*[fixedFlow]byte)(p)
		r.rate = uint64(be.Uint32(h[8:]))
		in, out := be.Uint32(h[20:]), be.Uint32(h[24:])
		r.interfaces(in>>30, in&0x3fffffff, out>>30, out&0x3fffffff)
		r.observed(uint32(h[4]), be.Uint32(h[4:])&0xffffff)
	case expandedSample:
		h := (*[fixedExpanded]byte)(p)
		r.rate = uint64(be.Uint32(h[12:]))
		r.interfaces(be.Uint32(h[24:]), be.Uint32(h[28:]), be.Uint32(h[32:]), be.Uint32(h[36:]))
		r.observed(be.Uint32(h[4:]), be.Uint32(h[8:]))
	case discardedPacket:
		r.rate = 1 // each one is told, as far as the agent's limit allows
		r.interfaces(0, be.Uint32(p[16:]), 0, be.Uint32(p[20:]))
		r.dropped(be.Uint32(p[24:]))
	}
	var ps packets
	decoded, lost := d.records(r, &ps, payload, at+8+least, be.Uint32(p[least-4:]))
	decoded += 8 + least
	switch {
	case d.show(r, &ps, payload):
		d.Tally.Decoded += uint64(decoded)
	case lost != None: // the record with the packet may have been the bad one: the sample is lost for that
		d.reject(lost, decoded)
		return
	default:
		d.Tally.Skipped[NoPacket] += uint64(decoded)
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

// records walks the records of a sample in payload[at:]. It keeps those that show the packet, and returns how many bytes of
// records were used, and why others were not: the first reason.
func (d *Decoder) records(r *record, ps *packets, payload []byte, at int, count uint32) (decoded int, lost Reason) {
	need := d.plan.need
	if d.views != nil {
		d.views[d.n] = view{}
	}
	// What nearly all agents send is read without a call, as long as nothing is odd about it.
quick:
	for ; count != 0 && len(payload)-at >= 24; count-- {
		q := (*[24]byte)(payload[at:])
		switch word := be.Uint64(q[:]); {
		case word == extSwitch<<32|16:
			if need&needSwitch != 0 {
				r.switched(q[8:])
			}
			at += 24
			decoded += 24
		case word == extRouter<<32|16 && be.Uint32(q[8:]) == 1:
			if need&needRouter != 0 {
				r.routed4((*[16]byte)(q[8:]))
			}
			at += 24
			decoded += 24
		case word>>32 == rawHeader && ps.raw == 0:
			length, n := uint64(uint32(word)), uint64(be.Uint32(q[20:]))
			size := 8 + (length+3)&^3
			if length < 16 || n > length-16 || size > uint64(len(payload)-at) {
				break quick
			}
			ps.raw, ps.frame = at+8, int(n)
			at += int(size)
			decoded += int(size)
		default:
			break quick
		}
	}
	p := payload[at:]
	for ; count != 0; count-- {
		if len(p) < 8 {
			d.bad(RecordCount, len(payload)-len(p), len(p))
			return decoded, first(lost, RecordCount)
		}
		word := be.Uint64(p)
		length := uint64(uint32(word))
		if length > uint64(len(p)-8) {
			d.bad(RecordLength, len(payload)-len(p), len(p))
			return decoded, first(lost, RecordLength)
		}
		body, size := p[8:8+length], min(int(8+(length+3)&^3), len(p)) // padded to units of four bytes (XDR)
		why := None
		switch format := uint32(word >> 32); format {
		case rawHeader:
			if len(body) < 16 {
				why = RecordShort
			} else if n := be.Uint32(body[12:]); uint64(n) > uint64(len(body)-16) {
				why = HeaderLength
			} else if ps.raw == 0 {
				ps.raw, ps.frame = len(payload)-len(p)+8, int(n)
			}
		default:
			why = d.record(r, ps, format, body)
		}
		switch why {
		case None:
			decoded += size
		case UnknownRecord:
			d.Tally.Skipped[UnknownRecord] += uint64(size)
		default:
			d.bad(why, len(payload)-len(p), size)
			lost = first(lost, why)
		}
		p = p[size:]
	}
	d.Tally.Skipped[Padding] += uint64(len(p))
	return decoded, lost
}

// record reads a record that is not the packet's header.
func (d *Decoder) record(r *record, ps *packets, format uint32, p []byte) Reason {
	need := d.plan.need
	switch format {
	case ethernetFrame:
		return keep(&ps.ethernet, p, 24)
	case ipv4Packet:
		return keep(&ps.ipv4, p, 32)
	case ipv6Packet:
		return keep(&ps.ipv6, p, 56)
	case extSwitch:
		if len(p) < 16 {
			return RecordShort
		}
		if need&needSwitch != 0 {
			r.switched(p)
		}
	case extRouter:
		if need&needRouter != 0 {
			return r.routed(p)
		}
	case extGateway:
		if need&needGateway != 0 {
			return d.gateway(r, p)
		}
	case extMPLS:
		if need&needMPLS != 0 {
			return r.labelled(p)
		}
	case extNAT:
		if need&needNAT != 0 {
			return r.translated(p)
		}
	case extNATPort:
		if len(p) < 8 {
			return RecordShort
		}
		if need&needNAT != 0 {
			r.nat.srcPort, r.nat.dstPort = narrow16(be.Uint32(p)), narrow16(be.Uint32(p[4:]))
			r.has |= hasNAT
		}
	case extVLANTunnel:
		if need&needSwitch != 0 {
			return r.stripped(p)
		}
	case extTunnel4Egress, extTunnel4Ingress, extTunnel6Egress, extTunnel6Ingress:
		if need&needTunnel != 0 {
			return r.tunnelled(format, p)
		}
	case extVNIEgress, extVNIIngress:
		if need&needTunnel != 0 {
			return r.network(format, p)
		}
	case extUser:
		if need&needUser != 0 {
			return d.user(r, p)
		}
	case extURL:
		if need&needURL != 0 {
			return d.url(r, p)
		}
	case extMPLSVC:
		if need&needWire != 0 {
			return r.circuit(p)
		}
	default:
		return UnknownRecord
	}
	return None
}

func first(a, b Reason) Reason {
	if a != None {
		return a
	}
	return b
}

// keep notes the first record of a kind, of least bytes.
func keep(to *[]byte, p []byte, least int) Reason {
	if len(p) < least {
		return RecordShort
	}
	if *to == nil {
		*to = p
	}
	return None
}

// links are the header protocols that are dissected.
func link(protocol uint32) packet.Link {
	switch protocol {
	case 1:
		return packet.Ethernet
	case 11:
		return packet.IPv4
	case 12:
		return packet.IPv6
	case 13:
		return packet.MPLS
	}
	return 0
}

// show fills in what is known of the packet; false if nothing is.
func (d *Decoder) show(r *record, ps *packets, payload []byte) bool {
	need := d.plan.need
	switch {
	case ps.raw != 0:
		h := (*[16]byte)(payload[ps.raw:])
		r.bytes = uint64(be.Uint32(h[4:]))
		header := payload[ps.raw+16 : ps.raw+16+ps.frame : ps.raw+16+ps.frame]
		if need&needFrame != 0 {
			r.see(link(be.Uint32(h[:])), header, d.opt.Decapsulate)
		}
		if d.views != nil {
			d.views[d.n].frame = header
		}
	case ps.ethernet != nil:
		r.bytes = uint64(be.Uint32(ps.ethernet))
	case ps.ipv4 != nil:
		r.bytes = uint64(be.Uint32(ps.ipv4))
	case ps.ipv6 != nil:
		r.bytes = uint64(be.Uint32(ps.ipv6))
	default:
		return false
	}
	if need&needFrame == 0 {
		return true
	}
	if ps.raw == 0 {
		r.pkt = packet.Fields{}
	}
	f := &r.pkt
	if ps.ethernet != nil && f.Has&packet.HasMAC == 0 {
		r.ethernet(ps.ethernet)
	}
	if f.Has&packet.HasIP == 0 {
		if ps.ipv4 != nil {
			r.ipv4(ps.ipv4)
		} else if ps.ipv6 != nil {
			r.ipv6(ps.ipv6)
		}
	}
	if r.has&(hasSwitch|hasLayers) != 0 {
		r.correct()
	}
	return true
}
