package sflow

import "github.com/weirflow/weir/formats/packet"

// packets are the records of a sample that show the packet, in falling order of what they tell.
type packets struct {
	raw                  int // where the raw header's record has its body in the payload; 0: there is none
	frame                int // bytes of the header, at raw+16
	ethernet, ipv4, ipv6 []byte
}

// rest decodes the count records in payload[at:] of the sample that begins at begin, and what they show of the packet beside what
// ps has already. It says whether there is a packet.
func (d *Decoder) rest(r *record, ps packets, payload []byte, begin, at int, count uint32) bool {
	decoded, lost := d.records(r, &ps, payload, at, count)
	decoded += at - begin
	switch {
	case d.show(r, &ps, payload):
		d.Tally.Decoded += uint64(decoded)
		return true
	case lost != None: // the record with the packet may have been the bad one: the sample is lost for that
		d.reject(lost, decoded)
	default:
		d.Tally.Skipped[NoPacket] += uint64(decoded)
		d.r.Used = true
	}
	return false
}

// records walks count records of a sample in payload[at:]. It keeps those that show the packet, and returns how many bytes of
// records were used, and why others were not: the first reason.
func (d *Decoder) records(r *record, ps *packets, payload []byte, at int, count uint32) (decoded int, lost Reason) {
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

// seen reads a raw header: frame bytes of the packet, in the record whose body begins at raw.
func (d *Decoder) seen(r *record, payload []byte, raw, frame int) {
	p := payload[raw : raw+16+frame]
	h, header := (*[16]byte)(p), p[16:]
	r.bytes = uint64(be.Uint32(h[4:]))
	if d.plan.need&needFrame != 0 {
		l := packet.Ethernet
		if protocol := be.Uint32(h[:]); protocol != 1 {
			l = link(protocol)
		}
		packet.Dissect(&r.pkt, l, header, d.opt.Decapsulate)
		if r.pkt.Has&(packet.HasTunnel|packet.HasLabels) != 0 {
			r.layered()
		}
	}
	if d.views != nil {
		d.views[d.n].frame = header
	}
}

// show fills in what is known of the packet; false if nothing is.
func (d *Decoder) show(r *record, ps *packets, payload []byte) bool {
	need := d.plan.need
	switch {
	case ps.raw != 0:
		d.seen(r, payload, ps.raw, ps.frame)
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
