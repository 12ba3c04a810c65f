package engine

import (
	"cmp"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"
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
	cpu, sleeps := middle(more)
	b.ReportMetric(cpu/float64(batches), "cpu-ns/hand-over")
	b.ReportMetric(sleeps/float64(batches), "sleeps/hand-over")
	cpu, _ = middle(base)
	b.ReportMetric(cpu/float64(batches), "cpu-ns/batch")
}

// middle is the medians, each of its own.
func middle(s []spent) (cpu, switches float64) {
	median := func(of func(spent) int64) float64 {
		slices.SortFunc(s, func(x, y spent) int { return cmp.Compare(of(x), of(y)) })
		return float64(of(s[len(s)/2]))
	}
	return median(func(s spent) int64 { return s.cpu }), median(func(s spent) int64 { return s.switches })
}

// What handing a batch over to another goroutine costs beyond what it costs to pass it on in the same one.
func BenchmarkHandOver(b *testing.B) {
	// A batch takes 20 us and more to make, and the consumer is done with four long before there are four again.
	b.Run("under load", func(b *testing.B) { handOver(b, "work: 20000", 2000) })
	// Between two batches the source has nothing, so each wakes the consumer.
	b.Run("woken each time", func(b *testing.B) { handOver(b, "every: 200us, awake: true", 200) })
	// The same where the machine sleeps between two batches: then the price is that of waking a processor.
	b.Run("woken from sleep", func(b *testing.B) { handOver(b, "every: 200us", 200) })
}

// What it costs to wake a goroutine in the rhythms of BenchmarkHandOver by the least that Go has: a channel. What a hand-over costs
// beyond that is the engine's.
func BenchmarkBareWake(b *testing.B) {
	const wakes, every = 200, 200 * time.Microsecond
	rhythms := map[string]rhythm{
		"awake":            {awake: true},
		"awake and yields": {awake: true, yields: true},
		"from sleep":       {},
		// Any other timer of the process keeps a thread in the poller, which each shorter sleep of another goroutine wakes to tell
		// it of the earlier time. A process with deadlines always has one.
		"from sleep beside a timer": {timer: true},
	}
	for _, name := range slices.Sorted(maps.Keys(rhythms)) {
		b.Run(name, func(b *testing.B) {
			var more []spent
			for range b.N {
				for range pairs {
					without := rhythms[name].run(wakes, every, false)
					more = append(more, rhythms[name].run(wakes, every, true).less(without))
				}
			}
			cpu, sleeps := middle(more)
			b.ReportMetric(cpu/wakes, "cpu-ns/wake")
			b.ReportMetric(sleeps/wakes, "sleeps/wake")
		})
	}
}

// rhythm is what a goroutine does that has something for another one now and then.
type rhythm struct {
	awake  bool // it computes in between, else it sleeps
	yields bool // it lets the other one run at once
	timer  bool // another timer is pending
}

func (h rhythm) run(wakes int, every time.Duration, wake bool) spent {
	c, done := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(done)
		for range c {
		}
	}()
	if h.timer {
		defer time.AfterFunc(time.Hour, func() {}).Stop()
	}
	before := spentNow()
	for range wakes {
		if h.awake {
			for until := time.Now().Add(every); time.Now().Before(until); {
			}
		} else {
			time.Sleep(every)
		}
		if wake {
			c <- struct{}{}
			if h.yields {
				runtime.Gosched()
			}
		}
	}
	close(c)
	<-done
	return spentNow().less(before)
}
