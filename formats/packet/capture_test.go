package packet_test

import (
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/formatstest/tshark"
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
		// An associated channel's header and nothing behind it (RFC 4385, 5; RFC 5586, 2): no packet.
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

// pseudowires are what tshark must be told of captures. It takes the frames behind the labels to begin where their control words do, so
// that their type is 0: TestRealExportersOfCaptures of cmd/weir says why, and fails when tshark needs it no more.
var pseudowires = map[string]string{"mpls-eompls-cw.pcap": "mpls.label==17,pwethcw", "mpls-eompls-invalid-cw.pcap": "mpls.label==100,pwethcw"}

// Each field of each packet is what tshark reads in the same bytes, in the packet outside and in the one inside.
func TestAgreesWithTshark(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(sdktest.TestData(t, "flows/frames"), "*.pcap"))
	if err != nil {
		t.Fatal(err)
	}
	plain := func(file string) bool { return pseudowires[filepath.Base(file)] == "" }
	compared := agree(t, slices.DeleteFunc(slices.Clone(files), func(file string) bool { return !plain(file) }))
	var told []string
	for _, as := range pseudowires {
		told = append(told, "-d", as)
	}
	compared += agree(t, slices.DeleteFunc(files, plain), told...)
	if compared < 250 {
		t.Errorf("%d values compared, want 250 at least", compared)
	}
}

// agree compares the frames of files with what tshark reads in them, and says how many values there were.
func agree(t *testing.T, files []string, args ...string) (compared int) {
	t.Helper()
	program, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed")
	}
	var all []tshark.Frame // one start of tshark takes longer than all frames
	var of []string
	for _, file := range files {
		for _, f := range frames(t, file) {
			all = append(all, tshark.Frame{At: time.Unix(0, 0), Data: f})
			of = append(of, filepath.Base(file))
		}
	}
	joined := filepath.Join(t.TempDir(), "frames.pcap")
	if err := os.WriteFile(joined, tshark.Pcap(all), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program, append([]string{"-r", joined, "-T", "pdml"}, args...)...).Output()
	if err != nil {
		t.Fatalf("tshark does not read the frames: %v", err)
	}
	var doc struct {
		Packets []pdml `xml:"packet"`
	}
	if err := xml.Unmarshal(out, &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Packets) != len(all) {
		t.Fatalf("tshark shows %d frames of %d", len(doc.Packets), len(all))
	}
	for i := range all {
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
		if of[i] == "vlan-ipv6.pcap" {
			ips = 3 // IPv4 in PPP in GRE in IPv4 in IPv6
		}
		for inner, got := range []*packet.Fields{dissect(packet.Ethernet, all[i].Data, 0), dissect(packet.Ethernet, all[i].Data, packet.All)} {
			want := expected(layers, inner == 1, ips)
			for k, v := range dissected(got) {
				if want[k] != v {
					t.Errorf("%s, frame %d, inner %d: %s is %s, tshark reads %q", of[i], i, inner, k, v, want[k])
				}
				compared++
			}
		}
	}
	return compared
}

// expected is what the layers of a frame say of the packet outside, or of the one inside, whose IP layer is the last of ips.
func expected(layers []layer, inner bool, ips int) map[string]string {
	want := map[string]string{}
	seen, framed := 0, false
	for _, l := range layers {
		if l.name == "eth" {
			if framed && !inner {
				continue // a frame behind labels: outside are the addresses of the first
			}
			framed = true
		}
		if l.name == "ip" || l.name == "ipv6" {
			seen++
		}
		if l.name == "eth" || !inner && seen <= 1 || inner && seen == ips {
			maps.Copy(want, l.value)
		}
	}
	return want
}
