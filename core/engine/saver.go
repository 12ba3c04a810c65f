package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weirflow/weir/core/queue"
	"github.com/weirflow/weir/sdk"
)

// saver writes down the positions of one source's partitions: one save is under way at a time and carries the latest of every
// partition that has news. It also grants the cuts by age, and closes partitions that are settled.
type saver struct {
	src   *sourceRun
	waker queue.Waker
	timer *time.Timer
	parts []*partState // under run.partsMu
	since time.Time    // since when news wait

	failing     error // of the last save; nil: positions can be saved
	failedSince time.Time
	pause       time.Duration // before the next try
	notBefore   time.Time
}

// Pauses between two tries to save positions: the first, and the longest that doubling makes of it. Each try is a line in the log.
const (
	savePause = 100 * time.Millisecond
	saveMost  = 10 * time.Second
)

// noteNotSaved counts saves of positions that failed, and are tried again.
const noteNotSaved sdk.Reason = "positions_not_saved"

// failed says that positions could not be saved; they are tried again. Until then records go on, as far as nothing must be saved
// before they are written.
func (v *saver) failed(now time.Time, err error) {
	if v.failing == nil {
		v.failedSince = now
	}
	v.failing = err
	v.pause = min(max(2*v.pause, savePause), saveMost)
	v.src.acct.Books.Note(noteNotSaved, 1)
	v.src.run.log.Warn("positions could not be saved, trying again", "node", v.src.node.ID, "after", v.pause, "error", err)
	v.notBefore = now.Add(v.pause)
}

// lost fails a run that ends while positions cannot be saved: nothing is lost, and something will come twice.
func (v *saver) lost() {
	if v.failing == nil {
		return
	}
	v.src.run.fail(nodeErr(v.src.node, fmt.Errorf("positions could not be saved before the end, so what was delivered in the last %v is read again at the next start: %w",
		time.Since(v.failedSince).Round(time.Millisecond), v.failing)))
	v.failing = nil
}

// hasNews says whether something must still be saved.
func hasNews(parts []*partState) bool {
	for _, ps := range parts {
		ps.mu.Lock()
		news := ps.news == urgent && !ps.fenced
		ps.mu.Unlock()
		if news {
			return true
		}
	}
	return false
}

func newSaver(s *sourceRun) *saver {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &saver{src: s, waker: queue.NewWaker(), timer: t}
}

func (v *saver) add(ps *partState) {
	r := v.src.run
	r.partsMu.Lock()
	v.parts = append(v.parts, ps)
	r.partsMu.Unlock()
	v.waker.Wake()
}

func (v *saver) list() []*partState {
	r := v.src.run
	r.partsMu.RLock()
	defer r.partsMu.RUnlock()
	return slices.Clone(v.parts)
}

// run is the saver's life: it ends when the source accepts no more and every partition is closed, or after an abort.
func (v *saver) run() {
	r := v.src.run
	every := time.Second / time.Duration(r.opt.Cuts)
	nextGrant := time.Now().Add(every)
	for {
		now := time.Now()
		parts := v.list()
		if r.aborted() {
			v.lost()
			for _, ps := range parts {
				v.close(ps)
			}
			v.src.st.mu.Lock()
			end := v.src.st.noMore && len(v.list()) == 0
			v.src.st.mu.Unlock()
			if end {
				return
			}
			v.sleep(10*time.Millisecond, nil) // the run's context is over already
			continue
		}
		if !now.Before(nextGrant) {
			v.grant(parts, now)
			nextGrant = now.Add(every)
		}
		if !now.Before(v.notBefore) {
			if err := v.save(parts, now); err != nil {
				if r.aborted() {
					continue
				}
				if sdk.ClassOf(err) == sdk.Fatal {
					r.fail(nodeErr(v.src.node, err))
					continue
				}
				v.failed(now, err)
			} else if v.failing != nil && !hasNews(parts) {
				r.log.Info("positions are saved again", "node", v.src.node.ID, "after", now.Sub(v.failedSince).Round(time.Millisecond))
				v.failing, v.pause = nil, 0
			}
		}
		closing := false
		for _, ps := range parts {
			closing = v.maybeClose(ps) || closing
		}
		if closing {
			// A partition waits to be closed: what sinks hold of it should be made durable now.
			for _, k := range r.sinks {
				k.askFlush()
			}
		}
		v.src.st.mu.Lock()
		end := v.src.st.noMore && len(v.list()) == 0
		v.src.st.mu.Unlock()
		if end {
			return
		}
		v.sleep(time.Until(nextGrant), r.ctx.Done())
	}
}

// sleep waits until woken, until d is over, or until done is closed; nil is never closed.
func (v *saver) sleep(d time.Duration, done <-chan struct{}) {
	if d <= 0 {
		return
	}
	v.timer.Reset(d)
	select {
	case <-v.waker:
	case <-v.timer.C:
	case <-done:
	}
	v.timer.Stop()
}

// grant asks for the cut of the segment that has been open longest, if it is old enough (1): at most one for each tick of the
// rate at which cuts by age are made.
func (v *saver) grant(parts []*partState, now time.Time) {
	age := time.Duration(0)
	for i, n := range v.src.run.plan.Keyed {
		if v.src.keyed&(1<<i) != 0 && n.Batch.Age > 0 && (age == 0 || n.Batch.Age < age) {
			age = n.Batch.Age
		}
	}
	if age == 0 {
		age = time.Second
	}
	var oldest *partState
	for _, ps := range parts {
		at := ps.openedAt.Load()
		if at == 0 || ps.cutAsked.Load() || now.UnixNano()-at < int64(age) {
			continue
		}
		if oldest == nil || at < oldest.openedAt.Load() {
			oldest = ps
		}
	}
	if oldest != nil {
		oldest.cutAsked.Store(true)
		oldest.lane.waker.Wake()
	}
}

// save writes the news: at once if something of them is urgent, else when they have waited long enough.
func (v *saver) save(parts []*partState, now time.Time) error {
	r := v.src.run
	most := noNews
	for _, ps := range parts {
		ps.mu.Lock()
		if !ps.fenced {
			most = max(most, ps.news)
		}
		ps.mu.Unlock()
	}
	switch most {
	case noNews:
		v.since = time.Time{}
		return nil
	case canWait:
		if v.since.IsZero() {
			v.since = now
		}
		if now.Sub(v.since) < r.opt.Idle || r.opt.rules.noIdle {
			return nil
		}
	}
	var positions []sdk.Position
	var prepared []*segment
	var told []*partState
	for _, ps := range parts {
		ps.mu.Lock()
		gone := ps.part.Gone != nil && ps.part.IsGone() && !r.opt.rules.noFence
		if ps.news != noNews && !ps.fenced && !gone {
			p, segs := ps.position()
			positions = append(positions, p)
			prepared = append(prepared, segs...)
			told = append(told, ps)
			ps.news = noNews
		}
		ps.mu.Unlock()
	}
	if len(positions) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(r.ctx, time.Minute)
	err := v.src.committer.Save(ctx, positions)
	cancel()
	if err != nil {
		for _, ps := range told {
			ps.mu.Lock()
			ps.news = urgent
			ps.mu.Unlock()
		}
		if errors.Is(err, sdk.ErrRevoked) {
			return nil // it went while the save was under way; Gone says the rest
		}
		return err
	}
	v.since = time.Time{}
	for _, s := range prepared {
		s.ps.mu.Lock()
		s.prepared = true
		s.ps.mu.Unlock()
	}
	if len(prepared) > 0 {
		for _, k := range r.sinks {
			k.waker.Wake()
		}
	}
	return nil
}

// maybeClose closes a partition when all of it is settled and saved, or it is gone. It says whether it still waits.
func (v *saver) maybeClose(ps *partState) (waits bool) {
	ps.mu.Lock()
	ready := ps.closing && (ps.fenced || (len(ps.segs) == 0 && ps.news == noNews))
	waits = ps.closing && !ready
	ps.mu.Unlock()
	if ready {
		v.close(ps)
	}
	return waits
}

// close fences a partition, forgets it and closes its reader. No save is under way: the saver calls it.
func (v *saver) close(ps *partState) {
	r := v.src.run
	ps.mu.Lock()
	ps.fenced = true
	for _, s := range ps.segs {
		s.returned = true
	}
	ps.mu.Unlock()
	r.partsMu.Lock()
	delete(r.parts, ps.part)
	r.budget.Add(-v.src.partitionBudget())
	v.parts = slices.DeleteFunc(v.parts, func(x *partState) bool { return x == ps })
	r.partsMu.Unlock()
	for _, st := range r.stages {
		if st.q != nil {
			st.q.Forget(ps.part)
		}
	}
	close(ps.closed)
	for _, k := range r.sinks {
		k.waker.Wake()
	}
	r.goWork("close of "+ps.part.Name, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.ctx), 10*time.Second)
		defer cancel()
		if err := ps.reader.r.Close(ctx); err != nil {
			r.log.Warn("partition did not close cleanly", "node", v.src.node.ID, "partition", ps.part.Name, "error", err)
		}
	})
}
