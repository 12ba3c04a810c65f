package engine

// The marks that follow a cut through the queues, and where they go.

import (
	"cmp"
	"time"

	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/core/queue"
	"github.com/weirflow/weir/sdk"
)

// mark travels behind the last record of a segment through every queue on its way to the sinks.
type mark struct{ seg *segment }

// Partition lets a queue send the mark the way of its partition's batches.
func (m *mark) Partition() *sdk.Partition { return m.seg.ps.part }

// takeMark handles a mark in a lane behind a queue: when it has come over every edge that its partition reaches, the chain is
// flushed with force and the mark goes on.
func (l *lane) takeMark(m *mark, edge int) {
	need := l.st.marksOf(m)
	if need > 1 && !l.run().opt.rules.firstMark {
		if l.counts == nil {
			l.counts = map[*segment]int{}
		}
		l.counts[m.seg]++
		if l.counts[m.seg] < need {
			if l.markedOn == nil {
				l.markedOn = map[markedEdge]*segment{}
			}
			l.markedOn[markedEdge{m.seg.ps, edge}] = m.seg
			return
		}
		delete(l.counts, m.seg)
		for k, s := range l.markedOn {
			if s == m.seg {
				delete(l.markedOn, k)
			}
		}
	}
	if !l.run().opt.rules.noMarkFlush {
		l.chain.Load().flush(m.seg.ps.part, true)
	}
	l.force(m.seg.ps.part)
	for _, t := range l.st.markTo {
		t.st.q.Force(queue.Item{Control: m, Edge: t.edge})
	}
	if need > 1 {
		l.retake()
	}
}

// retake takes what was set aside; what waits for another mark is set aside again, in its order.
func (l *lane) retake() {
	again := l.aside
	l.aside = nil
	for _, it := range again {
		l.take(it)
		l.push()
	}
}

type markedEdge struct {
	ps   *partState
	edge int
}

// overtakes says whether the item came over an edge that has had a mark for which another edge is still waited: it belongs to
// a later segment and must not meet the chain before the flush. That goes for a mark too: what stands between it and the one that
// is waited for belongs in front of it.
func (l *lane) overtakes(it queue.Item) bool {
	if len(l.markedOn) == 0 || l.run().opt.rules.noAside {
		return false
	}
	var ps *partState
	if m, ok := it.Control.(*mark); ok {
		ps = m.seg.ps
	} else if p := it.Batch.Range().Partition; p != nil {
		ps = l.run().part(p)
	}
	return ps != nil && l.markedOn[markedEdge{ps, it.Edge}] != nil
}

// meet notes a partition of which the lane may come to hold something.
func (l *lane) meet(p *sdk.Partition) {
	if p == nil || p == l.latest {
		return
	}
	if l.met == nil {
		l.met = map[*sdk.Partition]bool{}
	}
	l.met[p], l.latest = true, p
}

// forgetGone lets go of partitions that are gone (with all: of what was set aside, of any). What is still on its way of them may take
// another lane than what came before, marks too: so no lane waits for their marks, and each gives out by itself what it holds.
func (l *lane) forgetGone(all bool) {
	for p := range l.met {
		if l.run().part(p) != nil {
			continue
		}
		delete(l.met, p)
		if l.latest == p {
			l.latest = nil // if more of it comes, it is met again
		}
		l.chain.Load().flushGone(p)
		l.push() // what is gone always has room
		l.st.q.Forget(p)
	}
	found := false
	for k := range l.markedOn {
		if all || l.run().part(k.ps.part) != k.ps {
			delete(l.markedOn, k)
			found = true
		}
	}
	for s := range l.counts {
		if all || l.run().part(s.ps.part) != s.ps {
			delete(l.counts, s)
		}
	}
	if found {
		l.retake()
	}
}

// markTarget is a queue that marks go to.
type markTarget struct {
	st   *stage
	edge int
}

// wireMarks finds, for every committing source, the edges that its marks cross: those of required branches, up to a sink or to
// a node that does not keep ranges.
func (r *Run) wireMarks() {
	for _, st := range r.stages {
		st.marks = map[*plan.Node]bool{}
		st.expects = map[*sourceRun]int{}
	}
	for _, s := range r.sources {
		if !s.commits() {
			continue
		}
		seen := map[*plan.Node]bool{}
		var walk func(n *plan.Node)
		walk = func(n *plan.Node) {
			if seen[n] {
				return
			}
			seen[n] = true
			from := r.stages[n.Stage.Index]
			for _, edges := range n.Outputs {
				for _, e := range edges {
					to := e.To
					keeps := to.Kind == sdk.KindProcessor && to.Plugin.Spec.KeepsRange
					_, keyed := r.keyed[to]
					if !e.Tracked || (!keeps && !keyed) {
						continue
					}
					if keyed {
						s.keyed |= 1 << r.keyed[to]
					}
					if keeps {
						r.stages[to.Stage.Index].marks[to] = true
					}
					if !e.Fused {
						t := markTarget{r.stages[to.Stage.Index], e.Index}
						if from == s.st {
							s.marks = append(s.marks, t)
						} else {
							from.addMark(t)
							s.st.indirect = true
						}
						t.st.expects[s]++
					}
					if keeps {
						walk(to)
					}
				}
			}
		}
		walk(s.node)
		s.age = r.leastAge(s.keyed)
	}
}

// leastAge is that of the blocks of these sinks, a second if none says one.
func (r *Run) leastAge(keyed uint64) (age time.Duration) {
	for i, n := range r.plan.Keyed {
		if keyed&(1<<i) != 0 && n.Batch.Age > 0 && (age == 0 || n.Batch.Age < age) {
			age = n.Batch.Age
		}
	}
	return cmp.Or(age, time.Second)
}

// marksOf is how many marks of m's cut arrive here.
func (s *stage) marksOf(m *mark) int {
	if s.run.opt.rules.everyInput {
		return len(s.plan.Head().Inputs)
	}
	return s.expects[m.seg.ps.src]
}

func (s *stage) addMark(t markTarget) {
	for _, have := range s.markTo {
		if have == t {
			return
		}
	}
	s.markTo = append(s.markTo, t)
}
