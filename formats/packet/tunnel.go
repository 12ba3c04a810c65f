package packet

// Ports by which tunnels in UDP are known.
const (
	portGTPU     = 2152
	portVXLAN    = 4789
	portVXLANGPE = 4790
	portGeneve   = 6081
)

// inside puts the packet that a tunnel carries in the place of the outer one. If there is no packet to be seen in it, the outer
// one stays the flow.
func inside(f *Fields, t Tunnel, id uint64, etype uint16, p []byte, d Decapsulate) {
	if f.depth >= maxTunnels {
		return
	}
	outer := *f
	if f.Tunnel == NoTunnel {
		f.Tunnel, f.TunnelID, f.TunnelSrc, f.TunnelDst = t, id, f.SrcAddr, f.DstAddr
		f.Has |= HasTunnel
	}
	f.depth++
	f.Has &^= HasIP | HasFragment | HasPorts | HasTCP | HasICMP | Cut | Malformed
	f.SrcAddr, f.DstAddr = [16]byte{}, [16]byte{}
	f.Length, f.FlowLabel, f.FragmentID, f.FragmentOffset = 0, 0, 0, 0
	f.SrcPort, f.DstPort, f.TCPFlags = 0, 0, 0
	f.Protocol, f.TOS, f.TTL, f.ICMPType, f.ICMPCode = 0, 0, 0, 0, 0
	switch etype {
	case etypeTEB:
		f.Has &^= HasMAC | HasVLAN | HasInner
		f.SrcMAC, f.DstMAC, f.VLAN, f.CustomerVLAN = 0, 0, 0, 0
		ethernet(f, p, d)
		if f.Has&HasMAC != 0 {
			return // a frame without IP is a flow too
		}
	case etypePPP:
		ppp(f, p, d)
	default:
		f.Etype = 0
		behind(f, etype, p, d)
	}
	if f.Has&HasIP == 0 {
		*f = outer
	}
}

// gre reads the header of version 0 (RFC 2784; key and sequence number: RFC 2890; routing of RFC 1701 is not taken off) and of
// version 1, PPTP (RFC 2637, 4.1).
func gre(f *Fields, p []byte, d Decapsulate) {
	if len(p) < 4 {
		f.Has |= Cut
		return
	}
	flags, proto := be.Uint16(p), be.Uint16(p[2:])
	p = p[4:]
	const checksum, routing, key, sequence, acknowledge = 0x8000, 0x4000, 0x2000, 0x1000, 0x0080
	n := 0
	for _, bit := range [...]uint16{checksum, key, sequence} {
		if flags&bit != 0 {
			n += 4
		}
	}
	version := flags & 7
	if version == 1 && flags&acknowledge != 0 {
		n += 4
	}
	if len(p) < n {
		f.Has |= Cut
		return
	}
	id := uint64(0)
	if flags&key != 0 {
		at := 0
		if flags&checksum != 0 {
			at = 4
		}
		id = uint64(be.Uint32(p[at:]))
	}
	switch p = p[n:]; {
	case flags&routing != 0:
	case version == 1 && proto == etypePPP:
		inside(f, GRE, id&0xffff, etypePPP, p, d) // the key's low half is the call's number
	case version == 0:
		switch proto {
		case EtypeIPv4, EtypeIPv6, etypeTEB, etypeMPLS, etypeMPLSUp:
			inside(f, GRE, id, proto, p, d)
		}
	}
}

// udpTunnel goes into what a UDP datagram carries, by its destination port.
func udpTunnel(f *Fields, p []byte, d Decapsulate) {
	switch {
	case (f.DstPort == portVXLAN || f.DstPort == portVXLANGPE) && d.has(VXLAN):
		vxlan(f, p, d)
	case f.DstPort == portGeneve && d.has(Geneve):
		if len(p) < 8 || p[0]>>6 != 0 {
			return
		}
		if n := 8 + int(p[0]&0x3f)*4; n <= len(p) {
			inside(f, Geneve, uint64(be.Uint32(p[4:])>>8), be.Uint16(p[2:]), p[n:], d)
		}
	case f.DstPort == portGTPU && d.has(GTPU):
		gtpu(f, p, d)
	}
}

// vxlan reads a VXLAN header (RFC 7348, 5), or one that says what it carries (VXLAN-GPE, draft-ietf-nvo3-vxlan-gpe, 3), which some send to
// VXLAN's own port.
func vxlan(f *Fields, p []byte, d Decapsulate) {
	const instance, protocol, own = 0x08, 0x04, 0x01
	if len(p) < 8 || p[0]&instance == 0 {
		return
	}
	etype := uint16(etypeTEB)
	switch {
	case p[0]&protocol != 0:
		if etype = vxlanCarries(p[3]); etype == 0 || p[0]&own != 0 {
			return
		}
	case f.DstPort == portVXLANGPE: // there it must say so
		return
	}
	inside(f, VXLAN, uint64(be.Uint32(p[4:])>>8), etype, p[8:], d)
}

// vxlanCarries is the Ethernet type of a VXLAN-GPE header's next protocol; 0 for those that are not taken off.
func vxlanCarries(next uint8) uint16 {
	switch next {
	case 1:
		return EtypeIPv4
	case 2:
		return EtypeIPv6
	case 3:
		return etypeTEB
	}
	return 0
}

// gtpu reads a GTP-U header (3GPP TS 29.281, 5.1): version 1, a G-PDU, with its optional part and extension headers.
func gtpu(f *Fields, p []byte, d Decapsulate) {
	const version1, gpdu = 0x30, 255
	if len(p) < 8 || p[0]&0xf0 != version1 || p[1] != gpdu {
		return
	}
	id, flags := uint64(be.Uint32(p[4:])), p[0]
	p = p[8:]
	if flags&7 != 0 { // sequence number, N-PDU number, type of the next extension header
		if len(p) < 4 {
			return
		}
		next := p[3]
		p = p[4:]
		if flags&4 == 0 {
			next = 0
		}
		for range maxExtensions {
			if next == 0 {
				break
			}
			if len(p) == 0 || p[0] == 0 || int(p[0])*4 > len(p) {
				return
			}
			n := int(p[0]) * 4
			next, p = p[n-1], p[n:]
		}
		if next != 0 {
			return
		}
	}
	if len(p) == 0 {
		return
	}
	switch p[0] >> 4 {
	case 4:
		inside(f, GTPU, id, EtypeIPv4, p, d)
	case 6:
		inside(f, GTPU, id, EtypeIPv6, p, d)
	}
}
