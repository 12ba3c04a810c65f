package sequence_test

import (
	"testing"

	"github.com/weirflow/weir/formats/sequence"
)

// BenchmarkObserve is a datagram's share of a batch of 512, of 50 exporters in turn: as they come in order, each twice, and over two
// lanes that take turns.
func BenchmarkObserve(b *testing.B) {
	const lines, size = 50, 512
	for name, order := range map[string]func(i uint32) (number uint32){
		"in order":  func(i uint32) uint32 { return i },
		"twice":     func(i uint32) uint32 { return i / 2 },
		"two lanes": func(i uint32) uint32 { return i&^63 + i%32*2 + i/32%2 },
	} {
		b.Run(name, func(b *testing.B) {
			s := newSim()
			var all [lines]*sequence.Line
			var at [lines]uint32
			for i := range all {
				all[i] = s.NewLine(sequence.Messages, router)
			}
			batch := make([]sequence.Seen, size)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				for i := range batch {
					k := (n + i) % lines
					batch[i] = sequence.Seen{Line: all[k], At: order(at[k]), Records: 1}
					at[k]++
				}
				s.Observe(batch)
				if n += size; n%(1<<15) == 0 {
					s.wait(1)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/record")
			b.ReportMetric(0, "ns/op")
		})
	}
}
