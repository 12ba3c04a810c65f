package engine

import (
	"time"

	"github.com/weirflow/weir/sdk"
)

// elasticEvery is how often the number of lanes of bounded work is looked at.
const elasticEvery = 200 * time.Millisecond

// load is what was observed of a stage's lanes since the last look.
type load struct {
	lanes    int
	min, max int
	waiting  int     // readers that no lane has taken
	blocked  float64 // share of the lanes' time spent waiting for room in a queue, 0..1
}

// lanesWanted decides how many lanes there should be: one more while work waits and those there are mostly run, one less when
// they mostly stand before full queues. A pure function of what was observed, so it is tested without a clock.
func lanesWanted(l load) int {
	switch {
	case l.waiting > 0 && l.blocked < 0.5 && l.lanes < l.max:
		return l.lanes + 1
	case l.blocked > 0.8 && l.lanes > l.min:
		return l.lanes - 1
	}
	return l.lanes
}

// startBounded starts the lanes of a source whose readers end: they take readers as they are free, and their number follows the
// load.
func (s *sourceRun) startBounded() {
	min, max := max(1, s.node.Stage.Lanes), max(1, s.node.Stage.MaxLanes)
	for len(s.st.lanes) < min {
		if _, err := s.st.addLane(); err != nil {
			s.run.fail(err)
			return
		}
	}
	for _, l := range s.st.lanes {
		s.run.goWork("lane of "+s.node.ID, l.runSource)
	}
	if max <= min {
		return
	}
	s.run.goWork("lanes of "+s.node.ID, func() { s.elastic(min, max) })
}

func (s *sourceRun) elastic(least, most int) {
	t := time.NewTicker(elasticEvery)
	defer t.Stop()
	before := map[*lane]int64{} // of the lanes that are there: one that has gone must not count against the others
	for {
		select {
		case <-t.C:
		case <-s.noMore:
			return
		}
		s.st.mu.Lock()
		lanes := append([]*lane(nil), s.st.lanes...)
		s.st.mu.Unlock()
		var blocked int64
		seen := make(map[*lane]int64, len(lanes))
		for _, l := range lanes {
			seen[l] = l.blockedNs.Load()
			blocked += seen[l] - before[l]
		}
		before = seen
		now := load{lanes: len(lanes), min: least, max: most, waiting: int(s.waiting.Load()),
			blocked: float64(blocked) / float64(int64(len(lanes))*int64(elasticEvery))}
		switch n := lanesWanted(now); {
		case n > len(lanes):
			l, err := s.st.addLane()
			if err != nil {
				s.run.fail(err)
				return
			}
			s.run.goWork("lane of "+s.node.ID, l.runSource)
		case n < len(lanes):
			lanes[len(lanes)-1].retire.Store(true)
		}
	}
}

// retired ends a lane whose siblings go on: its state goes to them.
func (l *lane) retired() {
	l.chain.Load().drain(sdk.LaneRetired, false)
	l.push()
	s := l.st
	s.mu.Lock()
	for i, x := range s.lanes {
		if x == l {
			s.lanes = append(s.lanes[:i], s.lanes[i+1:]...)
			break
		}
	}
	s.gone = append(s.gone, l)
	s.run.budget.Add(-laneBudget(s.plan))
	s.mu.Unlock()
}
