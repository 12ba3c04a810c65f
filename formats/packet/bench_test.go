package packet_test

import (
	"testing"

	"github.com/weirflow/weir/formats/packet"
)

func BenchmarkDissect(b *testing.B) {
	seg := tcpSegment(0x18)
	for _, c := range []struct {
		name  string
		frame []byte
		d     packet.Decapsulate
	}{
		{"dot1q+IPv4+TCP", cat(bytesOf(macs, "8100 0064 0800"), ip4(6, seg...)), 0},
		{"dot1q+IPv6+TCP", cat(bytesOf(macs, "8100 0064 86dd"), ip6(6, seg...)), 0},
		{"IPv6+hop-by-hop+fragment+TCP", cat(bytesOf(macs, "86dd"), ip6(0, cat(bytesOf("2c00 010400000000 0600 0001 89abcdef"), seg)...)), 0},
		{"VXLAN", cat(bytesOf(macs, "0800"), ip4(17, udpDatagram(4789, cat(bytesOf("08000000 00123400", macs, "0800"), ip4(6, seg...))...)...)), packet.All},
	} {
		b.Run(c.name, func(b *testing.B) {
			// Many frames, so that the branch predictor has to do with ports and addresses as they come.
			fs := make([][]byte, 512)
			for i := range fs {
				fs[i] = append([]byte(nil), c.frame...)
			}
			var f packet.Fields
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				packet.Dissect(&f, packet.Ethernet, fs[i&511], c.d)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N), "ns/frame")
			if f.Has&packet.HasTCP == 0 {
				b.Fatal("not dissected")
			}
		})
	}
}

func TestDissectDoesNotAllocate(t *testing.T) {
	fs := examples(t)
	var f packet.Fields
	if n := testing.AllocsPerRun(100, func() {
		for _, frame := range fs {
			packet.Dissect(&f, packet.Ethernet, frame, packet.All)
		}
	}); n != 0 {
		t.Errorf("%v allocations for %d frames", n, len(fs))
	}
}
