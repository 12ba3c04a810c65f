package sflow

import "github.com/weirflow/weir/formats/packet"

// tunnel is what the device says of the tunnel that it took the packet out of, or will put it into ("sFlow Tunnel Structures",
// 2012). Where it tells of both, the one that the packet came by counts.
type tunnel struct {
	src, dst      [16]byte
	id            uint64 // VNI
	kind          packet.Tunnel
	ends, vni     bool // addresses and kind, id are known
	inEnds, inVNI bool // of the tunnel that the packet came by
}

// show lets the tunnel be that of the flow.
func (t *tunnel) show(r *record) {
	if !t.ends && !t.vni {
		return
	}
	f := &r.pkt
	f.TunnelSrc, f.TunnelDst, f.TunnelID, f.Tunnel = t.src, t.dst, t.id, t.kind
	r.has |= hasTunnel
}

// tunnelled reads extended tunnel data: the outer packet, in the form of sampled IPv4 and IPv6 packets.
func (r *record) tunnelled(format uint32, p []byte) Reason {
	least, v6 := 32, format >= extTunnel6Egress
	if v6 {
		least = 56
	}
	if len(p) < least {
		return RecordShort
	}
	t, ingress := &r.outer.tunnel, format&1 == 0
	if t.inEnds || t.ends && !ingress {
		return None
	}
	t.ends, t.inEnds = true, ingress
	at := 24 // of the destination port
	if v6 {
		t.src, t.dst = [16]byte(p[8:24]), [16]byte(p[24:40])
		at += 24
	} else {
		t.src, t.dst = address(p[8:12]), address(p[12:16])
	}
	t.kind = tunnelOf(be.Uint32(p[4:]), be.Uint32(p[at-4:]))
	r.has |= hasLayers
	return None
}

// tunnelOf is the kind of a tunnel by the outer packet's protocol, and its destination port.
func tunnelOf(protocol, port uint32) packet.Tunnel {
	switch {
	case protocol == 47:
		return packet.GRE
	case protocol == 4, protocol == 41:
		return packet.IPIP
	case protocol == 17 && port == 4789:
		return packet.VXLAN
	case protocol == 17 && port == 6081:
		return packet.Geneve
	case protocol == 17 && port == 2152:
		return packet.GTPU
	}
	return packet.NoTunnel
}

// network reads extended VNI data.
func (r *record) network(format uint32, p []byte) Reason {
	if len(p) < 4 {
		return RecordShort
	}
	t, ingress := &r.outer.tunnel, format == extVNIIngress
	if t.inVNI || t.vni && !ingress {
		return None
	}
	t.vni, t.inVNI = true, ingress
	t.id = uint64(be.Uint32(p))
	r.has |= hasLayers
	return None
}

// user reads extended user data: a character set (of which MIB: ASCII and UTF-8 are what agents send) and a name, of the source
// and of the destination. The source's counts, if it is known.
func (d *Decoder) user(r *record, p []byte) Reason {
	var names [2][]byte
	for i := range names {
		if len(p) < 8 {
			return RecordShort
		}
		s, rest, ok := stringAt(p[4:])
		if !ok {
			return ListLength
		}
		names[i], p = s, rest
	}
	v := &d.views[d.n]
	if v.user = names[0]; len(v.user) == 0 {
		v.user = names[1]
	}
	r.has |= hasUser
	return None
}

// url reads extended URL data: which side is the server, the URL and the host.
func (d *Decoder) url(r *record, p []byte) Reason {
	if len(p) < 12 {
		return RecordShort
	}
	url, rest, ok := stringAt(p[4:])
	if !ok {
		return ListLength
	}
	if len(rest) < 4 {
		return RecordShort
	}
	host, _, ok := stringAt(rest)
	if !ok {
		return ListLength
	}
	v := &d.views[d.n]
	v.url, v.host = url, host
	r.has |= hasURL
	return None
}

// circuit reads extended MPLS VC data: the instance's name, the circuit's number, a class of service.
func (r *record) circuit(p []byte) Reason {
	_, rest, ok := stringAt(p)
	switch {
	case len(p) < 4:
		return RecordShort
	case !ok:
		return ListLength
	case len(rest) < 8:
		return RecordShort
	}
	r.outer.wire = be.Uint32(rest)
	r.has |= hasLayers | hasWire
	return None
}
