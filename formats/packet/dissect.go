package packet

import "encoding/binary"

var be = binary.BigEndian

// Dissect fills f with what frame says. All of f is overwritten.
func Dissect(f *Fields, link Link, frame []byte, d Decapsulate) {
	*f = Fields{}
	switch link {
	case Ethernet:
		ethernet(f, frame, d)
	case IPv4:
		ipv4(f, frame, d)
	case IPv6:
		ipv6(f, frame, d)
	case IP:
		anyIP(f, frame, d)
	case MPLS:
		mpls(f, frame, d)
	}
}

// anyIP goes by the version.
func anyIP(f *Fields, p []byte, d Decapsulate) {
	switch {
	case len(p) == 0:
		f.Has |= Cut
	case p[0]>>4 == 4:
		ipv4(f, p, d)
	case p[0]>>4 == 6:
		ipv6(f, p, d)
	default:
		f.Has |= Malformed
	}
}

func ethernet(f *Fields, p []byte, d Decapsulate) {
	if len(p) < 14 {
		f.Has |= Cut
		return
	}
	f.DstMAC = be.Uint64(p) >> 16
	f.SrcMAC = be.Uint64(p[6:]) >> 16
	f.Has |= HasMAC
	etype := be.Uint16(p[12:])
	if etype == EtypeIPv4 {
		ipv4(f, p[14:], d)
		return
	}
	if etype == etypeQ && len(p) >= 18 { // as most frames between switches begin
		inner := be.Uint16(p[16:])
		if inner == EtypeIPv4 || inner == EtypeIPv6 {
			f.VLAN = be.Uint16(p[14:]) & 0xfff
			f.Has |= HasVLAN
			if inner == EtypeIPv4 {
				ipv4(f, p[18:], d)
			} else {
				ipv6(f, p[18:], d)
			}
			return
		}
	}
	behind(f, etype, p[14:], d)
}

// behind goes on at what an Ethernet type announces.
func behind(f *Fields, etype uint16, p []byte, d Decapsulate) {
	for n := 0; (etype == etypeQ || etype == etypeAD || etype == etypeQOld) && n < maxTags; n++ {
		if len(p) < 4 {
			f.Etype = etype
			f.Has |= Cut
			return
		}
		if id := be.Uint16(p) & 0xfff; f.Has&HasVLAN == 0 {
			f.VLAN = id
			f.Has |= HasVLAN
		} else {
			f.CustomerVLAN = id
			f.Has |= HasInner
		}
		etype, p = be.Uint16(p[2:]), p[4:]
	}
	if etype < 0x600 { // 802.3: a length; an Ethernet type follows in a SNAP header (RFC 1042)
		if len(p) < 8 || be.Uint64(p)>>16 != 0xaaaa03000000 {
			return
		}
		etype, p = be.Uint16(p[6:]), p[8:]
	}
	f.Etype = etype
	switch etype {
	case EtypeIPv4:
		ipv4(f, p, d)
	case EtypeIPv6:
		ipv6(f, p, d)
	case etypeMPLS, etypeMPLSUp:
		mpls(f, p, d)
	case etypePPPoE:
		if len(p) < 6 {
			f.Has |= Cut
			return
		}
		ppp(f, p[6:], d)
	}
}

// ppp goes on at a PPP header: address and control may be left out, and the protocol's first byte (RFC 1661).
func ppp(f *Fields, p []byte, d Decapsulate) {
	if len(p) >= 2 && p[0] == 0xff && p[1] == 3 {
		p = p[2:]
	}
	if len(p) < 2 {
		f.Has |= Cut
		return
	}
	proto := uint16(p[0])
	if p = p[1:]; proto&1 == 0 {
		proto, p = proto<<8|uint16(p[0]), p[1:]
	}
	switch proto {
	case 0x0021:
		ipv4(f, p, d)
	case 0x0057:
		ipv6(f, p, d)
	case 0x0281, 0x0283:
		mpls(f, p, d)
	}
}

// mpls walks a label stack (RFC 3032) and finds out what is behind it, which the stack does not say: explicit null labels do,
// else the first four bits of the payload (RFC 4385, 3; RFC 4928).
func mpls(f *Fields, p []byte, d Decapsulate) {
	if f.Etype == 0 {
		f.Etype = etypeMPLS
	}
	f.Has |= HasLabels
	f.LabelCount = 0 // of an outer packet
	var label uint32
	for n := 0; ; n++ {
		if len(p) < 4 {
			f.Has |= Cut
			return
		}
		e := be.Uint32(p)
		p = p[4:]
		label = e >> 12
		if f.LabelCount < MaxLabels {
			f.Labels[f.LabelCount] = label
			f.LabelCount++
		}
		if e&0x100 != 0 { // bottom of stack
			break
		}
		if n == maxStack {
			f.Has |= Malformed
			return
		}
	}
	switch {
	case label == 0:
		ipv4(f, p, d)
	case label == 2:
		ipv6(f, p, d)
	case len(p) == 0:
		f.Has |= Cut
	case p[0]>>4 == 4 && p[0]&15 >= 5 && !frameAt(p, 0):
		ipv4(f, p, d)
	case p[0]>>4 == 6 && !frameAt(p, 0):
		ipv6(f, p, d)
	case p[0]>>4 == 0 && frameAt(p, 4):
		eompls(f, p[4:], d) // behind a control word
	case frameAt(p, 0):
		eompls(f, p, d)
	}
}

// frameAt says whether what begins at p[at] looks like an Ethernet frame and, when its first four bits could also be a version
// of IP, does not look more like a packet of that.
func frameAt(p []byte, at int) bool {
	if len(p) < at+14 {
		return false
	}
	p = p[at:]
	switch v := p[0] >> 4; {
	case at == 0 && v == 4 && len(p) >= 20 && int(be.Uint16(p[2:])) >= int(p[0]&15)*4 && p[8] != 0 && sum(p[:20]) == 0xffff && p[0]&15 == 5:
		return false
	case at == 0 && v == 6 && len(p) >= 40 && p[7] != 0 && plausibleNext(p[6]):
		return false
	}
	switch be.Uint16(p[12:]) {
	case EtypeIPv4:
		return len(p) < 15 || p[14]>>4 == 4
	case EtypeIPv6:
		return len(p) < 15 || p[14]>>4 == 6
	case etypeARP, etypeQ, etypeAD, etypeQOld, etypeMPLS, etypeMPLSUp, etypePPPoE, etypePPPoED, etypeSlow, etypeLLDP, etypeLoopback, etypeCFM, etypeMACsec:
		return true
	}
	return false
}

// plausibleNext says whether IPv6 packets are often of next header n.
func plausibleNext(n uint8) bool {
	switch n {
	case 0, 4, 6, 17, 41, 43, 44, 47, 50, 51, 58, 59, 60, 89, 103, 132:
		return true
	}
	return false
}

// sum is the ones' complement sum of 16-bit words: 0xffff for a header with its right checksum (RFC 791).
func sum(p []byte) uint32 {
	s := uint32(0)
	for ; len(p) >= 2; p = p[2:] {
		s += uint32(be.Uint16(p))
	}
	for s > 0xffff {
		s = s&0xffff + s>>16
	}
	return s
}

// eompls goes into a frame behind labels. The addresses and ports in it are the flow's in any case, for there are no others;
// its MAC addresses and tags are only when it is to be taken off.
func eompls(f *Fields, p []byte, d Decapsulate) {
	if d.has(EoMPLS) && f.depth < maxTunnels {
		inside(f, EoMPLS, 0, etypeTEB, p, d)
		return
	}
	vlan, inner, has := f.VLAN, f.CustomerVLAN, f.Has&(HasVLAN|HasInner)
	f.depth++ // a frame in a frame in a frame: bounded like tunnels
	if f.depth <= maxTunnels {
		behind(f, be.Uint16(p[12:]), p[14:], d)
	}
	f.VLAN, f.CustomerVLAN, f.Has = vlan, inner, f.Has&^(HasVLAN|HasInner)|has
}
