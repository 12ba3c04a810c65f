package engine

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/sdktest/delivery"
)

// leftOf lists what lanes and queues of a run still have of partitions that are gone. Everything must be asleep.
func leftOf(r *Run) (left []string) {
	gone := func(p *sdk.Partition) bool { return p != nil && r.part(p) == nil }
	for _, st := range r.stages {
		head := st.plan.Head().ID
		if st.q != nil {
			for _, p := range st.q.Dealt() {
				if gone(p) {
					left = append(left, fmt.Sprintf("queue of %s: a lane for %s, life %d", head, p.Name, p.Life))
				}
			}
		}
		for _, l := range st.lanes {
			for seg, n := range l.counts {
				if gone(seg.ps.part) {
					left = append(left, fmt.Sprintf("lane %d of %s: %d marks of %s, life %d", l.id, head, n, seg.ps.part.Name, seg.ps.part.Life))
				}
			}
			for k := range l.markedOn {
				if gone(k.ps.part) {
					left = append(left, fmt.Sprintf("lane %d of %s: a marked edge of %s, life %d", l.id, head, k.ps.part.Name, k.ps.part.Life))
				}
			}
			for _, in := range l.chain.Load().insts {
				if h, ok := in.proc.(*half); ok {
					for p, b := range h.open {
						if gone(p) {
							left = append(left, fmt.Sprintf("lane %d of %s: %d rows open of %s, life %d", l.id, head, b.Rows(), p.Name, p.Life))
						}
					}
				}
				for _, g := range in.gathers {
					if g == nil {
						continue
					}
					for _, o := range g.open {
						if gone(o.partition) {
							left = append(left, fmt.Sprintf("lane %d of %s: %d rows gathered of %s, life %d", l.id, head, o.b.Rows(), o.partition.Name, o.partition.Life))
						}
					}
				}
			}
		}
	}
	return left
}

// Partitions that are taken away while their marks are under way, by ways that lag behind each other, to stages of several lanes, leave nothing
// there: no open batch that only a mark would have given out, no count of marks, no place in a queue. A process that runs for
// months meets many.
func TestNothingIsLeftOfPartitionsThatAreGone(t *testing.T) {
	returned := uint64(0)
	for seed := range seeds(8) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				world := delivery.NewMemory(delivery.Config{Partitions: 7, Rate: 150, Gaps: true, Session: time.Second, Seed: uint64(seed),
					Revoke: time.Duration(200+100*(seed%5)) * time.Millisecond})
				text := fmt.Sprintf(`
drain_timeout: 2s
sources:
  in: {type: numbered, with: {rows: 40, beat: 40ms}}
processors:
  - {id: route, type: numbered_route, with: {run: 17}}
  - {id: left, type: slow, from: route.a, queue: {batches: 8}, with: {hold: true}}
  - {id: right, type: slow, from: route.b, lanes: 2, queue: {batches: 64}, with: {delay: %dms}}
  - {id: join, type: half, from: [left, right], lanes: 2, queue: {batches: 8}}
  - {id: after, type: half, from: join, lanes: 3, queue: {batches: 8}}
sinks:
  a: {type: keyed_store, from: after, batch: {rows: 150, age: 200ms}, with: {latency: 4ms}}
`, 10+20*(seed%7))
				begin := func() *Run {
					r := numberedRun(t, delivery.NewProcess(world), text, Options{CPUs: 2})
					r.Start()
					return r
				}
				r := begin()
				for i := range 6 {
					time.Sleep(time.Duration(1500+seed*130+i*70) * time.Millisecond)
					other := begin()
					time.Sleep(time.Duration(1500+seed*70+i*130) * time.Millisecond)
					other.Stop()
					<-other.Done()
				}
				time.Sleep(20 * time.Second) // what was on its way has come
				synctest.Wait()
				for _, l := range leftOf(r) {
					t.Error(l)
				}
				r.Stop()
				<-r.Done()
				if err := r.Wait(); err != nil {
					t.Error(err)
				}
				returned += balanced(t, r).Dropped[string(sdk.ReasonReturned)]
				tally := must(world.Tally(t.Context()))
				if err := delivery.Check(tally, delivery.Want{Stores: []string{"a"}, Keyed: true, Record: func(x delivery.Record) bool { return x.Number%2 == 0 }}).Err(); err != nil {
					t.Error(err)
				}
			})
		})
	}
	if returned == 0 {
		t.Error("no partition was taken away while something of it was under way")
	}
}
