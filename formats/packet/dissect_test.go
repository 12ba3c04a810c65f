package packet_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weirflow/weir/formats/packet"
)

func dissect(link packet.Link, frame []byte, d packet.Decapsulate) *packet.Fields {
	f := &packet.Fields{Protocol: 99, VLAN: 7, Has: packet.HasTunnel, Labels: [packet.MaxLabels]uint32{5}} // of the frame before
	packet.Dissect(f, link, frame, d)
	return f
}

func diff(t *testing.T, want packet.Fields, got *packet.Fields) {
	t.Helper()
	if d := cmp.Diff(&want, got, cmpopts.IgnoreUnexported(packet.Fields{})); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

const (
	dst = 0x02aabbccddee
	src = 0x021122334455
)

// outer4 and outer6 are what the packets of ip4 and ip6 say.
func outer4(proto uint8, length int) packet.Fields {
	return packet.Fields{Has: packet.HasIPv4, Etype: packet.EtypeIPv4, SrcAddr: addr("::ffff:10.0.0.1"), DstAddr: addr("::ffff:10.0.0.2"), TOS: 0x28, TTL: 64, Protocol: proto,
		FragmentID: 0x1234, Length: uint32(length)}
}

func outer6(proto uint8, length int) packet.Fields {
	return packet.Fields{Has: packet.HasIPv6, Etype: packet.EtypeIPv6, SrcAddr: addr("2001:db8::1"), DstAddr: addr("2001:db8::2"), TOS: 0x28, TTL: 63, Protocol: proto,
		FlowLabel: 0x12345, Length: uint32(length)}
}

func ports(f packet.Fields, dst uint16) packet.Fields {
	f.SrcPort, f.DstPort = 1000, dst
	f.Has |= packet.HasPorts
	return f
}

func tcp(f packet.Fields, flags uint16) packet.Fields {
	f.TCPFlags = flags
	f.Has |= packet.HasTCP
	return ports(f, 443)
}

func mac(f packet.Fields) packet.Fields {
	f.SrcMAC, f.DstMAC = src, dst
	f.Has |= packet.HasMAC
	return f
}

func vlan(f packet.Fields, id ...uint16) packet.Fields {
	f.VLAN = id[0]
	f.Has |= packet.HasVLAN
	if len(id) > 1 {
		f.CustomerVLAN = id[1]
		f.Has |= packet.HasInner
	}
	return f
}

func labels(f packet.Fields, ls ...uint32) packet.Fields {
	f.LabelCount = uint8(copy(f.Labels[:], ls))
	f.Has |= packet.HasLabels
	return f
}

func with(f packet.Fields, set func(*packet.Fields)) packet.Fields { set(&f); return f }

func TestLinkLayers(t *testing.T) {
	seg := tcpSegment(0x12)
	p4, p6 := ip4(6, seg...), ip6(6, seg...)
	want4, want6 := tcp(outer4(6, 40), 0x12), tcp(outer6(6, 60), 0x12)
	for _, c := range []struct {
		name  string
		link  packet.Link
		frame []byte
		want  packet.Fields
	}{
		{"raw IPv4", packet.IPv4, p4, want4},
		{"raw IPv6", packet.IPv6, p6, want6},
		{"raw, by version 4", packet.IP, p4, want4},
		{"raw, by version 6", packet.IP, p6, want6},
		{"raw, no version", packet.IP, []byte{0x10}, packet.Fields{Has: packet.Malformed}},
		{"Ethernet", packet.Ethernet, cat(bytesOf(macs, "0800"), p4), mac(want4)},
		{"Ethernet, IPv6", packet.Ethernet, cat(bytesOf(macs, "86dd"), p6), mac(want6)},
		{"802.1Q with priority and DEI", packet.Ethernet, cat(bytesOf(macs, "8100 f064 0800"), p4), mac(vlan(want4, 100))},
		{"802.1ad", packet.Ethernet, cat(bytesOf(macs, "88a8 0064 8100 e0c8 0800"), p4), mac(vlan(want4, 100, 200))},
		{"QinQ of old, three tags", packet.Ethernet, cat(bytesOf(macs, "9100 0064 8100 00c8 8100 012c 86dd"), p6), mac(vlan(want6, 100, 300))},
		{"ARP", packet.Ethernet, bytesOf(macs, "0806 0001 0800 0604"), mac(packet.Fields{Etype: 0x0806})},
		{"802.3 with SNAP", packet.Ethernet, cat(bytesOf(macs, "0030 aaaa03 000000 0800"), p4), mac(want4)},
		{"802.3, spanning tree", packet.Ethernet, bytesOf(macs, "0026 424203 0000000000"), mac(packet.Fields{})},
		{"PPPoE session", packet.Ethernet, cat(bytesOf(macs, "8864 1100 0001 002a 0021"), p4), mac(want4)},
		{"PPPoE, protocol compressed", packet.Ethernet, cat(bytesOf(macs, "8864 1100 0001 002a 57"), p6), mac(want6)},
		{"MPLS", packet.Ethernet, cat(bytesOf(macs, "8847 000120ff 00010fff"), p4), mac(labels(want4, 18))},
		{"MPLS, two labels", packet.Ethernet, cat(bytesOf(macs, "8848 00012eff 000101ff"), p6), mac(labels(want6, 18, 16))},
		{"MPLS without a frame", packet.MPLS, cat(bytesOf("000121ff"), p4), labels(want4, 18)},
		{"MPLS, IPv4 explicit null", packet.MPLS, cat(bytesOf("000001ff"), p4), labels(want4, 0)},
		{"MPLS, IPv6 explicit null", packet.MPLS, cat(bytesOf("000021ff"), p6), labels(want6, 2)},
		{"MPLS, frame with a control word", packet.Ethernet, cat(bytesOf(macs, "8847 000121ff 00000000 0a0000000001 0a0000000002 8100 0005 0800"), p4), mac(labels(want4, 18))},
		{"MPLS, frame whose address begins with 4", packet.Ethernet, cat(bytesOf(macs, "8847 000121ff 460000000001 0a0000000002 0800"), p4), mac(labels(want4, 18))},
		{"MPLS, frame whose address begins with 6", packet.Ethernet, cat(bytesOf(macs, "8847 000121ff 660000000001 0a0000000002 86dd"), p6), mac(labels(want6, 18))},
		{"MPLS, associated channel", packet.Ethernet, bytesOf(macs, "8847 000121ff 10000021 45000000"), mac(labels(packet.Fields{Etype: 0x8847}, 18))},
		{"MPLS, 12 labels", packet.MPLS, cat(bytesOf("000010ff 000020ff 000030ff 000040ff 000050ff 000060ff 000070ff 000080ff 000090ff 0000a0ff 0000b0ff 0000c1ff"), p4),
			labels(want4, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "MPLS" { // its second entry is the bottom, and reserved label 16 is an ordinary one
				c.want = with(c.want, func(f *packet.Fields) { f.Labels[1], f.LabelCount = 0x10, 2 })
				c.frame = cat(bytesOf(macs, "8847 000120ff 000101ff"), p4)
			}
			diff(t, c.want, dissect(c.link, c.frame, 0))
		})
	}
}

func TestNetworkAndTransport(t *testing.T) {
	seg := tcpSegment(0x1c2)
	long := func(p []byte, total int) []byte { be.PutUint16(p[2:], uint16(total)); return p }
	frag := func(p []byte, bits uint16) []byte { be.PutUint16(p[6:], bits); return p }
	for _, c := range []struct {
		name  string
		frame []byte
		want  packet.Fields
	}{
		{"TCP with nine flags", ip4(6, seg...), tcp(outer4(6, 40), 0x1c2)},
		{"TCP, cut behind the ports", ip4(6, seg[:5]...), with(ports(outer4(6, 25), 443), func(f *packet.Fields) { f.Has |= packet.Cut })},
		{"TCP, cut in the ports", ip4(6, seg[:3]...), with(outer4(6, 23), func(f *packet.Fields) { f.Has |= packet.Cut })},
		{"UDP", ip4(17, udpDatagram(53)...), ports(outer4(17, 28), 53)},
		{"SCTP", ip4(132, udpDatagram(53)...), ports(outer4(132, 28), 53)},
		{"UDP-Lite", ip6(136, udpDatagram(53)...), ports(outer6(136, 48), 53)},
		{"DCCP", ip6(33, udpDatagram(53)...), ports(outer6(33, 48), 53)},
		{"ESP has no ports", ip4(50, udpDatagram(53)...), outer4(50, 28)},
		{"ICMP", ip4(1, 3, 13, 0, 0), with(outer4(1, 24), func(f *packet.Fields) { f.ICMPType, f.ICMPCode = 3, 13; f.Has |= packet.HasICMP })},
		{"ICMPv6", ip6(58, 135, 1, 0, 0), with(outer6(58, 44), func(f *packet.Fields) { f.ICMPType, f.ICMPCode = 135, 1; f.Has |= packet.HasICMP })},
		{"padding is not TCP", append(long(ip4(6), 20), seg...), with(outer4(6, 20), func(f *packet.Fields) { f.Has |= packet.Cut })},
		{"length 0 means that a card cuts it", long(ip4(6, seg...), 0), tcp(outer4(6, 0), 0x1c2)},
		{"length below the header", long(ip4(6, seg...), 19), with(outer4(6, 19), func(f *packet.Fields) { f.Has |= packet.Malformed })},
		{"options are not ports", cat(bytesOf("4628 002c 1234 4000 40 06 0000 0a000001 0a000002 94040000"), seg), tcp(outer4(6, 44), 0x1c2)},
		{"options cut", bytesOf("4f28 0050 1234 4000 40 06 0000 0a000001 0a000002 94040000"), with(outer4(6, 80), func(f *packet.Fields) { f.Has |= packet.Cut })},
		{"header length 4", bytesOf("4428 0050 1234 4000 40 06 0000 0a000001 0a000002 94040000"), packet.Fields{Etype: packet.EtypeIPv4, Has: packet.Malformed}},
		{"version 5", bytesOf("5528 0050 1234 4000 40 06 0000 0a000001 0a000002 94040000"), packet.Fields{Has: packet.Malformed}},
		{"first fragment", frag(ip4(6, seg...), 0x2000), with(tcp(outer4(6, 40), 0x1c2), func(f *packet.Fields) { f.Has |= packet.HasFragment })},
		{"later fragment has no ports", frag(ip4(6, seg...), 0x20b9), with(outer4(6, 40), func(f *packet.Fields) { f.Has |= packet.HasFragment; f.FragmentOffset = 185 })},
		{"hop-by-hop, destination options", ip6(0, cat(bytesOf("3c00 010400000000 0601 0104000000000000 000000000000"), seg)...), tcp(outer6(6, 84), 0x1c2)},
		{"routing", ip6(43, cat(bytesOf("0602 0201 00000000 20010db8000000000000000000000003"), seg)...), tcp(outer6(6, 84), 0x1c2)},
		{"authentication header", ip6(51, cat(bytesOf("0604 0000 00000001 00000001 000000000000000000000000"), seg)...), tcp(outer6(6, 84), 0x1c2)},
		{"first fragment, IPv6", ip6(44, cat(bytesOf("0600 0001 89abcdef"), seg)...), with(tcp(outer6(6, 68), 0x1c2), func(f *packet.Fields) { f.FragmentID = 0x89abcdef; f.Has |= packet.HasFragment })},
		{"atomic fragment", ip6(44, cat(bytesOf("0600 0000 89abcdef"), seg)...), with(tcp(outer6(6, 68), 0x1c2), func(f *packet.Fields) { f.FragmentID = 0x89abcdef })},
		{"later fragment, IPv6", ip6(44, cat(bytesOf("0600 05a8 89abcdef"), seg)...), with(outer6(6, 68), func(f *packet.Fields) {
			f.FragmentID, f.FragmentOffset = 0x89abcdef, 181
			f.Has |= packet.HasFragment
		})},
		{"no next header", ip6(59), outer6(59, 40)},
		{"extension header past the end", ip6(60, bytesOf("06ff 0104 00000000")...), with(outer6(6, 48), func(f *packet.Fields) { f.Has |= packet.Cut })},
		{"extension header cut", ip6(60, bytesOf("0600 01")...), with(outer6(60, 43), func(f *packet.Fields) { f.Has |= packet.Cut })},
	} {
		t.Run(c.name, func(t *testing.T) { diff(t, c.want, dissect(packet.IP, c.frame, 0)) })
	}
	t.Run("a chain without end", func(t *testing.T) {
		f := dissect(packet.IPv6, ip6(60, make([]byte, 60000)...), 0) // each is hop-by-hop and says that another follows
		if f.Has&packet.Malformed == 0 || f.Has&packet.HasIPv6 == 0 {
			t.Errorf("%+v", f)
		}
	})
}

func tunnel(f packet.Fields, t packet.Tunnel, id uint64, src, dst string) packet.Fields {
	f.Tunnel, f.TunnelID = t, id
	if src != "" {
		f.TunnelSrc, f.TunnelDst = addr(src), addr(dst)
	}
	f.Has |= packet.HasTunnel
	return f
}

func TestTunnels(t *testing.T) {
	seg := tcpSegment(0x10)
	p4, p6 := ip4(6, seg...), ip6(6, seg...)
	in4, in6 := tcp(outer4(6, 40), 0x10), tcp(outer6(6, 60), 0x10)
	frame := cat(bytesOf(macs, "8100 0064 0800"), p4)
	framed := mac(vlan(in4, 100))
	udp4 := func(port uint16, payload ...[]byte) []byte { return ip4(17, udpDatagram(port, cat(payload...)...)...) }
	const s4, d4, s6, d6 = "::ffff:10.0.0.1", "::ffff:10.0.0.2", "2001:db8::1", "2001:db8::2"
	srh := bytesOf("2902 0400 00000000 20010db8000000000000000000000003")
	for _, c := range []struct {
		name  string
		frame []byte
		outer packet.Fields
		kind  packet.Tunnel
		want  packet.Fields
	}{
		{"IPIP", ip4(4, p4...), outer4(4, 60), packet.IPIP, tunnel(in4, packet.IPIP, 0, s4, d4)},
		{"6in4", ip4(41, p6...), outer4(41, 80), packet.IPIP, tunnel(in6, packet.IPIP, 0, s4, d4)},
		{"4in6", ip6(4, p4...), outer6(4, 80), packet.IPIP, tunnel(in4, packet.IPIP, 0, s6, d6)},
		{"IPIP of nothing", ip4(4, 1, 2, 3), outer4(4, 23), packet.IPIP, outer4(4, 23)},
		{"GRE", ip4(47, cat(bytesOf("0000 0800"), p4)...), outer4(47, 64), packet.GRE, tunnel(in4, packet.GRE, 0, s4, d4)},
		{"GRE with checksum, key and sequence", ip4(47, cat(bytesOf("b000 86dd 11110000 00000007 00000001"), p6)...), outer4(47, 96), packet.GRE, tunnel(in6, packet.GRE, 7, s4, d4)},
		{"GRE with a frame", ip6(47, cat(bytesOf("2000 6558 00000007"), frame)...), outer6(47, 106), packet.GRE, tunnel(framed, packet.GRE, 7, s6, d6)},
		{"GRE with labels", ip4(47, cat(bytesOf("0000 8847 000121ff"), p4)...), outer4(47, 68), packet.GRE, tunnel(labels(in4, 18), packet.GRE, 0, s4, d4)},
		{"PPTP", ip4(47, cat(bytesOf("3081 880b 002a 1780 00000001 00000002 ff03 0021"), p4)...), outer4(47, 80), packet.GRE, tunnel(in4, packet.GRE, 0x1780, s4, d4)},
		{"GRE with source routing", ip4(47, cat(bytesOf("4000 0800 00000000"), p4)...), outer4(47, 68), packet.GRE, outer4(47, 68)},
		{"VXLAN", udp4(4789, bytesOf("08000000 00123400"), frame), ports(outer4(17, 94), 4789), packet.VXLAN, tunnel(framed, packet.VXLAN, 0x1234, s4, d4)},
		{"VXLAN without the flag", udp4(4789, bytesOf("00000000 00123400"), frame), ports(outer4(17, 94), 4789), packet.VXLAN, ports(outer4(17, 94), 4789)},
		{"Geneve", udp4(6081, bytesOf("0200 6558 00123400 0102 0301 00000000"), frame), ports(outer4(17, 102), 6081), packet.Geneve, tunnel(framed, packet.Geneve, 0x1234, s4, d4)},
		{"Geneve with a packet", udp4(6081, bytesOf("0000 86dd 00123400"), p6), ports(outer4(17, 96), 6081), packet.Geneve, tunnel(in6, packet.Geneve, 0x1234, s4, d4)},
		{"Geneve, options past the end", udp4(6081, bytesOf("3f00 86dd 00123400"), p6), ports(outer4(17, 96), 6081), packet.Geneve, ports(outer4(17, 96), 6081)},
		{"GTP-U", udp4(2152, bytesOf("30ff 0028 0000abcd"), p4), ports(outer4(17, 76), 2152), packet.GTPU, tunnel(in4, packet.GTPU, 0xabcd, s4, d4)},
		{"GTP-U with an extension header", udp4(2152, bytesOf("34ff 0030 0000abcd 0000 0085 01 000900"), p6), ports(outer4(17, 104), 2152), packet.GTPU, tunnel(in6, packet.GTPU, 0xabcd, s4, d4)},
		{"GTP-U echo", udp4(2152, bytesOf("3201 0004 00000000 0001 0000")), ports(outer4(17, 40), 2152), packet.GTPU, ports(outer4(17, 40), 2152)},
		{"SRv6", ip6(43, cat(srh, p6)...), outer6(41, 124), packet.SRv6, tunnel(in6, packet.SRv6, 0, s6, d6)},
		{"SRv6 with a frame", ip6(43, cat(bytesOf("8f02"), srh[2:], frame)...), outer6(143, 122), packet.SRv6, tunnel(framed, packet.SRv6, 0, s6, d6)},
	} {
		t.Run(c.name, func(t *testing.T) {
			diff(t, c.outer, dissect(packet.IP, c.frame, 0))
			diff(t, c.outer, dissect(packet.IP, c.frame, packet.All&^packet.Decap(c.kind)))
			diff(t, c.want, dissect(packet.IP, c.frame, packet.Decap(c.kind)))
			diff(t, c.want, dissect(packet.IP, c.frame, packet.All))
		})
	}
	t.Run("EoMPLS", func(t *testing.T) {
		f := cat(bytesOf("0a0000000001 0a0000000002 8847 000121ff 00000000"), frame)
		want := labels(in4, 18)
		diff(t, with(want, func(f *packet.Fields) {
			f.DstMAC, f.SrcMAC = 0x0a0000000001, 0x0a0000000002
			f.Has |= packet.HasMAC
		}), dissect(packet.Ethernet, f, 0))
		diff(t, tunnel(mac(vlan(want, 100)), packet.EoMPLS, 0, "", ""), dissect(packet.Ethernet, f, packet.All))
	})
	t.Run("tunnels in tunnels: the outermost is told", func(t *testing.T) {
		diff(t, tunnel(in4, packet.IPIP, 0, s6, d6), dissect(packet.IP, ip6(4, ip4(47, cat(bytesOf("0000 0800"), p4)...)...), packet.All))
	})
	t.Run("tunnels without end", func(t *testing.T) {
		p := p4
		for range 100 {
			p = ip4(4, p...)
		}
		if f := dissect(packet.IP, p, packet.All); f.Protocol != 4 || f.Length != uint32(20*97+20) {
			t.Errorf("%+v", f)
		}
	})
}

func TestTunnelNames(t *testing.T) {
	all := packet.Decapsulate(0)
	for k := packet.GRE; k <= packet.EoMPLS; k++ {
		got, err := packet.ParseTunnel(k.String())
		if got != k || err != nil {
			t.Errorf("%v: %v, %v", k, got, err)
		}
		all |= packet.Decap(k)
	}
	if all != packet.All {
		t.Errorf("all is %b, not %b", packet.All, all)
	}
	if _, err := packet.ParseTunnel("teredo"); err == nil {
		t.Error("teredo is taken off")
	}
}
