package sflow

import (
	"github.com/weirflow/weir/formats/packet"
)

// record is a sample on its way into columns. Each field has the type of its column.
type record struct {
	pkt packet.Fields
	sampled
	switching
	has groups
	// What few samples have: zero unless has says so.
	gate  gateway
	nat   nat
	outer layers
}

// sampled is what every sample has: nothing of it is left from the record before.
type sampled struct {
	origin
	bytes, packets, rate uint64
}

// switching is what most samples have.
type switching struct {
	nextHop           [16]byte
	inIf, outIf       uint32
	srcVLAN, dstVLAN  uint16 // by the switch
	srcMask, dstMask  uint8
	direction, status uint8
}

type gateway struct {
	nextHop        [16]byte
	srcAS, dstAS   uint32
	prevAS, nextAS uint32
	localPref      uint32
}

type nat struct {
	src, dst         [16]byte
	srcPort, dstPort uint16
}

// layers is what the device took off or put on the packet beside what the header shows.
type layers struct {
	vlans      [2]uint16 // outermost first
	count      int
	labels     [packet.MaxLabels]uint32
	labelCount uint8
	tunnel     tunnel
	wire       uint32 // virtual circuit
}

// groups says which parts of a record are not zero, so that whole columns can be left out.
type groups uint16

const (
	hasSwitch groups = 1 << iota
	hasRouter
	hasGateway
	hasNAT
	hasStatus
	hasLayers
	hasTunnel
	hasLabels
	hasUser
	hasURL
	hasWire
)

// view is values of variable length that look into a payload.
type view struct {
	path        []byte // segments: type, count, AS numbers
	communities []byte // big endian
	frame       []byte
	user        []byte
	host, url   []byte
}

func (r *record) reset() {
	if r.has&(hasGateway|hasNAT|hasLayers) != 0 {
		r.gate, r.nat, r.outer = gateway{}, nat{}, layers{}
	}
	r.switching, r.has = switching{}, 0
}

// layered notes what the header that was dissected has beside the packet.
func (r *record) layered() {
	if r.pkt.Has&packet.HasTunnel != 0 {
		r.has |= hasTunnel
	}
	if r.pkt.Has&packet.HasLabels != 0 {
		r.has |= hasLabels
	}
}

// correct lets what the device says of tags and labels win over what the header shows: tags may have been stripped before the
// packet was sampled.
func (r *record) correct() {
	f, o := &r.pkt, &r.outer
	switch {
	case o.count > 1:
		f.VLAN, f.CustomerVLAN = o.vlans[0], o.vlans[1]
	case o.count == 1:
		if f.VLAN != 0 {
			f.CustomerVLAN = f.VLAN
		}
		f.VLAN = o.vlans[0]
	case r.srcVLAN != 0:
		f.VLAN = r.srcVLAN
	}
	if o.labelCount > 0 && f.LabelCount == 0 {
		f.Labels, f.LabelCount = o.labels, o.labelCount
		r.has |= hasLabels
	}
	if r.has&(hasLayers|hasTunnel) == hasLayers {
		o.tunnel.show(r)
	}
}

// Formats of an interface (sFlow version 5, section 5: interface_expanded).
const (
	single    = 0
	discarded = 1 // the value is a reason
	multiple  = 2 // the value is how many
)

// interfaces takes the interfaces of a sample: one index each, or 0 where there is none or several. The largest index says that
// there is none: the packet came of the device itself, or was for it.
func (r *record) interfaces(inFormat, in, outFormat, out uint32) {
	if inFormat == single && !internal(in) {
		r.inIf = in
	}
	switch {
	case outFormat == single && !internal(out):
		r.outIf = out
	case outFormat == discarded:
		r.dropped(out)
	}
}

func internal(index uint32) bool { return index == 0x3fffffff || index == 0xffffffff }

// dropped says that the packet was discarded, and why.
func (r *record) dropped(reason uint32) {
	r.status = forwardingStatus(reason)
	r.has |= hasStatus
}

// observed tells the direction from the data source: an interface (class 0) samples what comes in or what goes out by it.
func (r *record) observed(class, index uint32) {
	if class == 0 && index == r.outIf && index != r.inIf {
		r.direction = 1
	}
}

// switched reads extended switch data: VLANs, and priorities that no column is for. All ones: not known.
func (r *record) switched(p []byte) {
	if v := be.Uint32(p); v <= 0xfff {
		r.srcVLAN = uint16(v)
	}
	if v := be.Uint32(p[8:]); v <= 0xfff {
		r.dstVLAN = uint16(v)
	}
	r.has |= hasSwitch
}

// addressAt reads an address and returns what is behind it. Type 0 is an address that is not known.
func addressAt(a *[16]byte, p []byte) (rest []byte, why Reason) {
	if len(p) < 4 {
		return nil, RecordShort
	}
	n := 0
	switch be.Uint32(p) {
	case 0:
	case 1:
		n = 4
	case 2:
		n = 16
	default:
		return nil, AddressType
	}
	if p = p[4:]; len(p) < n {
		return nil, RecordShort
	}
	if n > 0 {
		*a = address(p[:n])
	}
	return p[n:], None
}

// routed reads extended router data: the next hop, and the prefixes' lengths.
func (r *record) routed(p []byte) Reason {
	var hop [16]byte
	p, why := addressAt(&hop, p)
	if why != None {
		return why
	}
	if len(p) < 8 {
		return RecordShort
	}
	r.nextHop, r.srcMask, r.dstMask = hop, narrow8(be.Uint32(p)), narrow8(be.Uint32(p[4:]))
	r.has |= hasRouter
	return None
}

// routed4 is routed for a next hop of IPv4.
func (r *record) routed4(p *[16]byte) {
	setMapped(&r.nextHop, be.Uint32(p[4:]))
	r.srcMask, r.dstMask = narrow8(be.Uint32(p[8:])), narrow8(be.Uint32(p[12:]))
	r.has |= hasRouter
}

// routed6 is routed for a next hop of IPv6.
func (r *record) routed6(p *[28]byte) {
	r.nextHop, r.srcMask, r.dstMask = [16]byte(p[4:20]), narrow8(be.Uint32(p[20:])), narrow8(be.Uint32(p[24:]))
	r.has |= hasRouter
}

// gateway reads extended gateway data. The path is segments, which are sequences or sets of AS numbers; the destination is its
// last number, the next AS its first.
func (d *Decoder) gateway(r *record, p []byte) Reason {
	var g gateway
	p, why := addressAt(&g.nextHop, p)
	if why != None {
		return why
	}
	if len(p) < 16 {
		return RecordShort
	}
	g.srcAS, g.prevAS = be.Uint32(p[4:]), be.Uint32(p[8:]) // the exporter's own is before them
	segments := be.Uint32(p[12:])
	p = p[16:]
	path := p
	for range segments {
		if len(p) < 8 {
			return ListLength
		}
		n := be.Uint32(p[4:])
		if p = p[8:]; uint64(n)*4 > uint64(len(p)) {
			return ListLength
		}
		if n > 0 {
			if g.nextAS == 0 {
				g.nextAS = be.Uint32(p)
			}
			g.dstAS = be.Uint32(p[n*4-4:])
		}
		p = p[n*4:]
	}
	path = path[:len(path)-len(p)]
	if len(p) < 4 {
		return RecordShort
	}
	n := be.Uint32(p)
	if p = p[4:]; uint64(n)*4 > uint64(len(p)) {
		return ListLength
	}
	communities := p[:n*4]
	if p = p[n*4:]; len(p) < 4 {
		return RecordShort
	}
	g.localPref = be.Uint32(p)
	r.gate = g
	r.has |= hasGateway
	if d.views != nil {
		v := &d.views[d.n]
		v.path, v.communities = path, communities
	}
	return None
}

// labelled reads extended MPLS data: the next hop, and the label stacks in and out, of which the first is kept.
func (r *record) labelled(p []byte) Reason {
	var hop [16]byte
	p, why := addressAt(&hop, p)
	if why != None {
		return why
	}
	var o layers
	for stack := range 2 {
		if len(p) < 4 {
			return RecordShort
		}
		n := be.Uint32(p)
		if p = p[4:]; uint64(n)*4 > uint64(len(p)) {
			return ListLength
		}
		if stack == 0 {
			for i := range min(int(n), packet.MaxLabels) {
				o.labels[i] = be.Uint32(p[i*4:]) >> 12
				o.labelCount++
			}
		}
		p = p[n*4:]
	}
	r.outer.labels, r.outer.labelCount = o.labels, o.labelCount
	r.has |= hasLayers
	if r.has&hasRouter == 0 && hop != [16]byte{} {
		r.nextHop = hop
		r.has |= hasRouter
	}
	return None
}

// translated reads extended NAT data: the addresses after translation.
func (r *record) translated(p []byte) Reason {
	var n nat
	p, why := addressAt(&n.src, p)
	if why == None {
		_, why = addressAt(&n.dst, p)
	}
	if why != None {
		return why
	}
	r.nat.src, r.nat.dst = n.src, n.dst
	r.has |= hasNAT
	return None
}

// stripped reads extended VLAN tunnel data: the tags that were taken off before the packet was sampled, outermost first.
func (r *record) stripped(p []byte) Reason {
	if len(p) < 4 {
		return RecordShort
	}
	n := be.Uint32(p)
	if p = p[4:]; uint64(n)*4 > uint64(len(p)) {
		return ListLength
	}
	if n == 0 {
		return None
	}
	o := &r.outer
	o.vlans[0] = be.Uint16(p[2:]) & 0xfff
	o.count = 1
	if n > 1 {
		o.vlans[1] = be.Uint16(p[n*4-2:]) & 0xfff // the innermost
		o.count = 2
	}
	r.has |= hasLayers
	return None
}

// ethernet reads a sampled Ethernet frame's record: length, addresses in eight bytes each, type.
func (r *record) ethernet(p []byte) {
	f := &r.pkt
	f.SrcMAC, f.DstMAC = be.Uint64(p[4:])>>16, be.Uint64(p[12:])>>16
	f.Etype = narrow16(be.Uint32(p[20:]))
	f.Has |= packet.HasMAC
}

// ipv4 reads a sampled IPv4 packet's record.
func (r *record) ipv4(p []byte) {
	f := &r.pkt
	f.Etype = packet.EtypeIPv4
	f.SrcAddr, f.DstAddr = address(p[8:12]), address(p[12:16])
	f.Has |= packet.HasIPv4
	r.transport(p, 16)
}

// ipv6 reads a sampled IPv6 packet's record.
func (r *record) ipv6(p []byte) {
	f := &r.pkt
	f.Etype = packet.EtypeIPv6
	f.SrcAddr, f.DstAddr = address(p[8:24]), address(p[24:40])
	f.Has |= packet.HasIPv6
	r.transport(p, 40)
}

// transport reads what both have: length and protocol in front; ports, TCP flags and the class of traffic at at.
func (r *record) transport(p []byte, at int) {
	f := &r.pkt
	f.Length, f.Protocol = be.Uint32(p), narrow8(be.Uint32(p[4:]))
	f.SrcPort, f.DstPort = narrow16(be.Uint32(p[at:])), narrow16(be.Uint32(p[at+4:]))
	f.TOS = narrow8(be.Uint32(p[at+12:]))
	if f.Protocol == 6 {
		f.TCPFlags = narrow16(be.Uint32(p[at+8:]))
	}
}

// narrow8 and narrow16 are v, or the column's largest number if v is larger.
func narrow8(v uint32) uint8   { return uint8(min(v, 0xff)) }
func narrow16(v uint32) uint16 { return uint16(min(v, 0xffff)) }
