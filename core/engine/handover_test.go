package engine

import (
	"cmp"
	"fmt"
	"slices"
	"syscall"
	"testing"
)

// spent is what the process had of the machine.
type spent struct {
	cpu      int64 // ns
	switches int64 // of threads that went to sleep, which a wake-up of each preceded
}

func (s spent) less(o spent) spent { return spent{s.cpu - o.cpu, s.switches - o.switches} }

func spentNow() spent {
	var ru syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
	return spent{ru.Utime.Nano() + ru.Stime.Nano(), ru.Nvcsw}
}

// pairs is how often a pipeline and the same one without its queue take turns: a machine that others use moves both figures, and
// half of the time the one of a pair more than the other, so the median of their differences stays.
const pairs = 9

// handOver runs batches of a feed, with the settings given, into a sink behind a queue and into a fused one, by turns, and reports the
// median of what the first cost more.
func handOver(b *testing.B, feed string, batches int) {
	text := "\nsources:\n  in: {type: feed, with: {batches: %d, %s}}\nsinks:\n  out: %s"
	once := func(sink string) spent {
		r := running(b, newStores(), fmt.Sprintf(text, batches, feed, sink), feedPlugin(20), nullPlugin(true), nullPlugin(false))
		before := spentNow()
		r.Start()
		if err := r.Wait(); err != nil {
			b.Fatal(err)
		}
		return spentNow().less(before)
	}
	const fused, queued = "{type: fused}", "{type: queued, batch: {rows: 8192}}"
	once(queued)
	var more, base []spent
	for range b.N {
		for i := range pairs {
			var with, without spent
			if i%2 == 0 {
				with, without = once(queued), once(fused)
			} else {
				without, with = once(fused), once(queued)
			}
			more, base = append(more, with.less(without)), append(base, without)
		}
	}
	median := func(s []spent, of func(spent) int64) float64 {
		slices.SortFunc(s, func(x, y spent) int { return cmp.Compare(of(x), of(y)) })
		return float64(of(s[len(s)/2])) / float64(batches)
	}
	cpu := func(s spent) int64 { return s.cpu }
	switches := func(s spent) int64 { return s.switches }
	b.ReportMetric(median(more, cpu), "cpu-ns/hand-over")
	b.ReportMetric(median(base, cpu), "cpu-ns/batch")
	b.ReportMetric(median(more, switches), "sleeps/hand-over")
}

// What handing a batch over to another goroutine costs beyond what it costs to pass it on in the same one.
func BenchmarkHandOver(b *testing.B) {
	// A batch takes 20 us and more to make, and the consumer is done with four long before there are four again.
	b.Run("under load", func(b *testing.B) { handOver(b, "work: 20000", 2000) })
	// Between two batches the source has nothing, so each wakes the consumer.
	b.Run("woken each time", func(b *testing.B) { handOver(b, "every: 200us", 200) })
}
