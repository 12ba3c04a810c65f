package packet_test

import (
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/packet"
	"github.com/weirflow/weir/sdk/sdktest"
)

// short is what a frame comes to, on a line.
func short(f *packet.Fields) string {
	s := fmt.Sprintf("%04x %s>%s p%d %d>%d len %d ttl %d", f.Etype, show(f.SrcAddr), show(f.DstAddr), f.Protocol, f.SrcPort, f.DstPort, f.Length, f.TTL)
	if f.Has&packet.HasTCP != 0 {
		s += fmt.Sprintf(" flags %x", f.TCPFlags)
	}
	if f.Has&packet.HasICMP != 0 {
		s += fmt.Sprintf(" icmp %d/%d", f.ICMPType, f.ICMPCode)
	}
	if f.Has&packet.HasVLAN != 0 {
		s += fmt.Sprintf(" vlan %d", f.VLAN)
	}
	if f.LabelCount > 0 {
		s += fmt.Sprintf(" mpls %v", f.Labels[:f.LabelCount])
	}
	if f.Has&packet.HasTunnel != 0 {
		s += fmt.Sprintf(" in %v %s>%s %d", f.Tunnel, show(f.TunnelSrc), show(f.TunnelDst), f.TunnelID)
	}
	return s
}

func show(a [16]byte) string {
	if a == ([16]byte{}) {
		return "-"
	}
	return netip.AddrFrom16(a).Unmap().String()
}

// Captured frames with encapsulations: the packet outside, and the one inside.
func TestCapturedFrames(t *testing.T) {
	dir := sdktest.TestData(t, "flows/frames")
	for _, c := range []struct{ name, outer, inner string }{
		{"gre-v4-key", "0800 192.168.12.1>192.168.12.2 p47 0>0 len 128 ttl 255",
			"0800 192.168.1.101>192.168.2.102 p1 0>0 len 100 ttl 254 icmp 8/0 in gre 192.168.12.1>192.168.12.2 1"},
		{"gre-v4-plain", "0800 172.27.1.66>66.59.109.137 p47 0>0 len 100 ttl 255", "0800 66.59.111.190>66.59.111.182 p17 123>123 len 76 ttl 64 in gre 172.27.1.66>66.59.109.137 0"},
		{"gre-v6-plain", "0800 172.16.23.2>192.168.47.1 p47 0>0 len 86 ttl 255", "86dd 2001:db8::2>2001:db8::1 p6 18716>23 len 62 ttl 255 flags 18 in gre 172.16.23.2>192.168.47.1 0"},
		{"ipv4-ipv4", "0800 10.1.2.1>10.1.2.2 p4 0>0 len 120 ttl 255", "0800 192.168.0.1>192.168.0.2 p1 0>0 len 100 ttl 255 icmp 8/0 in ipip 10.1.2.1>10.1.2.2 0"},
		{"ipv4-ipv6", "0800 216.66.80.30>192.168.2.2 p41 0>0 len 80 ttl 239",
			"86dd 2001:610:1908:a000::149:20>2002:2470:9ffa:fa9:0:dd:ed00:2 p6 80>35673 len 60 ttl 58 flags 10 in ipip 216.66.80.30>192.168.2.2 0"},
		{"mpls-eompls-cw", "0800 10.31.0.1>10.34.0.1 p6 11001>23 len 40 ttl 255 flags 10 mpls [300012 17]", "0800 10.31.0.1>10.34.0.1 p6 11001>23 len 40 ttl 255 flags 10 mpls [300012 17] in eompls ->- 0"},
		// Its control word has a sequence number, which RFC 4448 allows.
		{"mpls-eompls-invalid-cw", "0800 10.31.0.1>10.34.0.1 p6 11001>23 len 40 ttl 255 flags 10 mpls [100]", "0800 10.31.0.1>10.34.0.1 p6 11001>23 len 40 ttl 255 flags 10 mpls [100] in eompls ->- 0"},
		{"mpls-explicit-null-ipv4", "0800 10.31.0.1>10.34.0.1 p6 11001>23 len 40 ttl 255 flags 10 mpls [0]", ""},
		{"mpls-explicit-null-ipv6", "86dd 2001:db8::1>2001:db8::2 p6 11001>80 len 60 ttl 64 flags 10 mpls [2]", ""},
		{"mpls-invalid-nibble", "8847 ->- p0 0>0 len 0 ttl 0 mpls [100]", ""},
		{"mpls-ipv4", "0800 10.31.0.1>10.34.0.1 p6 11001>23 len 40 ttl 255 flags 10 mpls [18 16]", ""},
		{"mpls-ipv6", "86dd 2001:db8::1>2001:db8::2 p6 11001>80 len 60 ttl 64 flags 10 mpls [100]", ""},
		{"srv6-end-dt6", "86dd 1:2:1::1>f2:: p41 0>0 len 144 ttl 63", "86dd 1:2:1::1>b::2 p17 50701>5001 len 64 ttl 64 in srv6 1:2:1::1>f2:: 0"},
		{"vlan-ipv6", "86dd 2402:f000:1:8e01::5555>2607:fcd0:100:2300::b108:2a6b p4 0>0 len 179 ttl 246 vlan 100",
			"0800 172.16.44.3>8.8.8.8 p17 40768>53 len 99 ttl 60 vlan 100 in ipip 2402:f000:1:8e01::5555>2607:fcd0:100:2300::b108:2a6b 0"},
	} {
		if c.inner == "" {
			c.inner = c.outer
		}
		frame := frames(t, filepath.Join(dir, c.name+".pcap"))[0]
		got := []string{short(dissect(packet.Ethernet, frame, 0)), short(dissect(packet.Ethernet, frame, packet.All))}
		if d := cmp.Diff([]string{c.outer, c.inner}, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
	}
}

// pdml is tshark's XML.
type pdml struct {
	Name   string `xml:"name,attr"`
	Value  string `xml:"value,attr"`
	Fields []pdml `xml:"field"`
	Protos []pdml `xml:"proto"`
}

// layer is a protocol of a frame, with the first value of each of its fields.
type layer struct {
	name  string
	value map[string]string
}

func (p *pdml) collect(m map[string]string) {
	for i := range p.Fields {
		x := &p.Fields[i]
		if _, have := m[x.Name]; !have && x.Value != "" {
			m[x.Name] = x.Value
		}
		x.collect(m)
	}
}

// dissected are fields by tshark's names, as hexadecimal digits.
func dissected(f *packet.Fields) map[string]string {
	m := map[string]string{}
	put := func(name string, v uint64, digits int) { m[name] = fmt.Sprintf("%0*x", digits, v) }
	if f.Has&packet.HasMAC != 0 {
		put("eth.src", f.SrcMAC, 12)
		put("eth.dst", f.DstMAC, 12)
	}
	if f.Has&packet.HasIPv4 != 0 {
		m["ip.src"], m["ip.dst"] = hex.EncodeToString(f.SrcAddr[12:]), hex.EncodeToString(f.DstAddr[12:])
		put("ip.proto", uint64(f.Protocol), 2)
		put("ip.ttl", uint64(f.TTL), 2)
		put("ip.dsfield", uint64(f.TOS), 2)
		put("ip.len", uint64(f.Length), 4)
		put("ip.id", uint64(f.FragmentID), 4)
	}
	if f.Has&packet.HasIPv6 != 0 {
		m["ipv6.src"], m["ipv6.dst"] = hex.EncodeToString(f.SrcAddr[:]), hex.EncodeToString(f.DstAddr[:])
		put("ipv6.hlim", uint64(f.TTL), 2)
		put("ipv6.plen", uint64(f.Length)-40, 4)
	}
	if f.Has&packet.HasPorts != 0 {
		l := map[uint8]string{6: "tcp", 17: "udp"}[f.Protocol]
		put(l+".srcport", uint64(f.SrcPort), 4)
		put(l+".dstport", uint64(f.DstPort), 4)
	}
	if f.Has&packet.HasICMP != 0 {
		l := map[uint8]string{1: "icmp", 58: "icmpv6"}[f.Protocol]
		put(l+".type", uint64(f.ICMPType), 2)
		put(l+".code", uint64(f.ICMPCode), 2)
	}
	return m
}

// Each field of each packet is what tshark reads in the same bytes, in the packet outside and in the one inside.
func TestAgreesWithTshark(t *testing.T) {
	dir := sdktest.TestData(t, "flows/frames")
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed")
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.pcap"))
	compared := 0
	for _, file := range files {
		if strings.Contains(file, "eompls") {
			continue // tshark guesses that there is no control word: TestCapturedFrames has their values
		}
		out, err := exec.Command(tshark, "-r", file, "-T", "pdml").Output()
		if err != nil {
			t.Skipf("tshark does not read %s: %v", file, err)
		}
		var doc struct {
			Packets []pdml `xml:"packet"`
		}
		if err := xml.Unmarshal(out, &doc); err != nil {
			t.Fatal(err)
		}
		for i, frame := range frames(t, file) {
			var layers []layer
			ips := 0
			for j := range doc.Packets[i].Protos {
				l := layer{doc.Packets[i].Protos[j].Name, map[string]string{}}
				doc.Packets[i].Protos[j].collect(l.value)
				layers = append(layers, l)
				if l.name == "ip" || l.name == "ipv6" {
					ips++
				}
			}
			if strings.Contains(file, "vlan-ipv6") {
				ips = 3 // IPv4 in PPP in GRE in IPv4 in IPv6
			}
			for inner, got := range []*packet.Fields{dissect(packet.Ethernet, frame, 0), dissect(packet.Ethernet, frame, packet.All)} {
				want := map[string]string{}
				seen := 0
				for _, l := range layers {
					if l.name == "ip" || l.name == "ipv6" {
						seen++
					}
					if l.name == "eth" || inner == 0 && seen <= 1 || inner == 1 && seen == ips {
						for k, v := range l.value {
							want[k] = v
						}
					}
				}
				for k, v := range dissected(got) {
					if want[k] != v {
						t.Errorf("%s, frame %d, inner %d: %s is %s, tshark reads %q", filepath.Base(file), i, inner, k, v, want[k])
					}
					compared++
				}
			}
		}
	}
	if compared < 200 {
		t.Errorf("%d values compared, want 200 at least", compared)
	}
}
