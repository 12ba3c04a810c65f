package packet_test

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weirflow/weir/formats/packet"
	"github.com/weirflow/weir/sdk/sdktest"
)

// examples are frames of many kinds.
func examples(tb testing.TB) (fs [][]byte) {
	seg := tcpSegment(0x18)
	fs = append(fs,
		cat(bytesOf(macs, "8100 0064 0800"), ip4(6, seg...)),
		cat(bytesOf(macs, "88a8 0064 8100 0065 86dd"), ip6(0, cat(bytesOf("2c00 010400000000 0600 0001 89abcdef"), seg)...)),
		cat(bytesOf(macs, "0800"), ip4(17, udpDatagram(4789, cat(bytesOf("08000000 00123400", macs, "0800"), ip4(6, seg...))...)...)),
		cat(bytesOf(macs, "0800"), ip4(17, udpDatagram(6081, cat(bytesOf("0200 6558 00123400 0102 0301 00000000", macs, "0800"), ip4(6, seg...))...)...)),
		cat(bytesOf(macs, "0800"), ip4(17, udpDatagram(2152, cat(bytesOf("34ff 0030 0000abcd 0000 0085 01 000900"), ip6(6, seg...))...)...)),
		cat(bytesOf(macs, "0800"), ip4(47, cat(bytesOf("b000 6558 11110000 00000007 00000001", macs, "0800"), ip4(6, seg...))...)),
		cat(bytesOf(macs, "86dd"), ip6(43, cat(bytesOf("2902 0400 00000000 20010db8000000000000000000000003"), ip6(6, seg...))...)),
		cat(bytesOf(macs, "8847 000120ff 000121ff 00000000", macs, "8100 0007 0800"), ip4(1, 8, 0, 0, 0)),
	)
	dir, err := sdktest.FindTestData("flows/frames")
	if err != nil {
		tb.Logf("without captured frames: %v", err)
		return fs
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.pcap"))
	for _, f := range files {
		fs = append(fs, frames(tb, f)...)
	}
	return fs
}

// A frame cut anywhere says less, never something else: what is seen in it is what is seen in the whole.
func TestCutFramesSayLess(t *testing.T) {
	for i, frame := range examples(t) {
		whole := dissect(packet.Ethernet, frame, 0)
		for n := range frame {
			part := dissect(packet.Ethernet, append([]byte(nil), frame[:n]...), 0)
			if extra := part.Has &^ whole.Has &^ (packet.Cut | packet.Malformed); extra != 0 {
				t.Fatalf("frame %d cut to %d bytes has %b more", i, n, extra)
			}
			want := *whole
			blank(&want, part.Has)
			got := *part
			got.Etype, want.Etype = 0, 0       // until the tags are read, it is theirs
			got.Protocol, want.Protocol = 0, 0 // that of the last extension header seen
			got.FragmentOffset, want.FragmentOffset = 0, 0
			if got.Has&packet.HasIPv4 == 0 {
				got.FragmentID, want.FragmentID = 0, 0
			}
			got.Labels, got.LabelCount = want.Labels, want.LabelCount // fewer
			got.Has, want.Has = 0, 0
			if d := cmp.Diff(want, got, cmpopts.IgnoreUnexported(want)); d != "" {
				t.Fatalf("frame %d cut to %d bytes (-whole +cut):\n%s", i, n, d)
			}
		}
	}
}

// blank zeroes what does not go with has.
func blank(f *packet.Fields, has packet.Has) {
	if has&packet.HasMAC == 0 {
		f.SrcMAC, f.DstMAC = 0, 0
	}
	if has&packet.HasVLAN == 0 {
		f.VLAN = 0
	}
	if has&packet.HasInner == 0 {
		f.CustomerVLAN = 0
	}
	if has&packet.HasIP == 0 {
		f.SrcAddr, f.DstAddr, f.TOS, f.TTL, f.Length, f.FlowLabel = [16]byte{}, [16]byte{}, 0, 0, 0, 0
	}
	if has&packet.HasPorts == 0 {
		f.SrcPort, f.DstPort = 0, 0
	}
	if has&packet.HasTCP == 0 {
		f.TCPFlags = 0
	}
	if has&packet.HasICMP == 0 {
		f.ICMPType, f.ICMPCode = 0, 0
	}
}

// VXLAN that says what it carries is believed, on either port: read as a frame, an IP packet would be a flow of MAC addresses made of its
// header. What is not known leaves the outer packet the flow.
func TestVXLANOfOtherProtocols(t *testing.T) {
	inner := ip4(6, tcpSegment(0x18)...)
	for _, c := range []struct {
		name   string
		port   uint16
		head   string
		inner  []byte
		tunnel packet.Tunnel
		mac    bool
	}{
		{"a frame, as ever", 4789, "08000000 00123400", cat(bytesOf(macs, "0800"), inner), packet.VXLAN, true},
		{"a frame", 4790, "0c000003 00123400", cat(bytesOf(macs, "0800"), inner), packet.VXLAN, true},
		{"IPv4", 4790, "0c000001 00123400", inner, packet.VXLAN, false},
		{"IPv4 on the old port", 4789, "0c000001 00123400", inner, packet.VXLAN, false},
		{"IPv6", 4790, "0c000002 00123400", ip6(6, tcpSegment(0x18)...), packet.VXLAN, false},
		{"a network service header", 4790, "0c000004 00123400", cat(bytesOf("0fc60103 00000100"), inner), packet.NoTunnel, false},
		{"no protocol told on the new port", 4790, "08000000 00123400", inner, packet.NoTunnel, false},
		{"a message of the tunnel's own", 4790, "0d000001 00123400", inner, packet.NoTunnel, false},
	} {
		f := dissect(packet.IP, ip4(17, udpDatagram(c.port, cat(bytesOf(c.head), c.inner)...)...), packet.All)
		protocol := uint8(6)
		if c.tunnel == packet.NoTunnel {
			protocol = 17
		}
		if f.Tunnel != c.tunnel || f.Has&packet.HasMAC != 0 != c.mac || f.Protocol != protocol || c.tunnel != packet.NoTunnel && f.TunnelID != 0x1234 {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
}

// Whatever the bytes: no panic, no read past them (the slice ends where they do), and fields without their mark are zero.
func FuzzDissect(f *testing.F) {
	for i, frame := range examples(f) {
		f.Add(byte(1), byte(i*37), frame)
		f.Add(byte(5), byte(0xff), frame[14:])
	}
	f.Fuzz(func(t *testing.T, link, d byte, frame []byte) {
		frame = append(make([]byte, 0, len(frame)), frame...)
		got := dissect(packet.Link(link%8), frame, packet.Decapsulate(d))
		want := *got
		blank(&want, got.Has)
		if got.Has&packet.HasTunnel == 0 {
			want.Tunnel, want.TunnelID, want.TunnelSrc, want.TunnelDst = 0, 0, [16]byte{}, [16]byte{}
		}
		if got.Has&packet.HasIP == 0 {
			want.Protocol, want.FragmentID, want.FragmentOffset = 0, 0, 0
		}
		if d := cmp.Diff(&want, got, cmpopts.IgnoreUnexported(want)); d != "" {
			t.Errorf("fields without their mark (-zero +got):\n%s", d)
		}
		if int(got.LabelCount) > packet.MaxLabels || got.VLAN > 0xfff || got.CustomerVLAN > 0xfff || got.FlowLabel > 0xfffff {
			t.Errorf("out of bounds: %+v", got)
		}
	})
}
