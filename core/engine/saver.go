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

	nextCut time.Time // by age, of a source without keyed sinks; under run.grantMu

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
	every := r.cutEvery()
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
			r.grant(now)
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

// grant asks for cuts by age (1), of the segment that has been open longest first, as far as the rate allows at which such cuts are made
// for each sink. Any source's saver does it for all, so that sources that come to one sink share what it may have.
func (r *Run) grant(now time.Time) {
	r.grantMu.Lock()
	defer r.grantMu.Unlock()
	for {
		ps := r.oldest(now)
		if ps == nil {
			return
		}
		if !r.opt.rules.noCutLimit {
			ps.src.saver.cutMade(now)
		}
		ps.cutAsked.Store(true)
		ps.lane.waker.Wake()
	}
}

// oldest finds the partition to be cut next for its age, nil if there is none or it is not time yet.
func (r *Run) oldest(now time.Time) (oldest *partState) {
	rules := &r.opt.rules
	r.partsMu.RLock()
	defer r.partsMu.RUnlock()
	for _, s := range r.sources {
		if s.saver == nil || !s.saver.mayCut(now) || rules.noAge {
			continue
		}
		for _, ps := range s.saver.parts {
			at := ps.openedAt.Load()
			if at == 0 || ps.cutAsked.Load() || now.UnixNano()-at < int64(s.age) || rules.ageIfFed && ps.nothingFed() {
				continue
			}
			if oldest == nil || (at < oldest.openedAt.Load()) != rules.newest {
				oldest = ps
			}
		}
	}
	return oldest
}

// mayCut says whether the sinks of the source may have another cut by age.
func (v *saver) mayCut(now time.Time) bool {
	if v.src.keyed == 0 || v.src.run.opt.rules.cutsBySource {
		return !now.Before(v.nextCut)
	}
	for k, next := range v.src.run.nextCuts {
		if v.src.keyed&(1<<k) != 0 && now.Before(next) {
			return false
		}
	}
	return true
}

func (v *saver) cutMade(now time.Time) {
	next := now.Add(v.src.run.cutEvery())
	v.nextCut = next
	for k := range v.src.run.nextCuts {
		if v.src.keyed&(1<<k) != 0 {
			v.src.run.nextCuts[k] = next
		}
	}
}

// cutEvery is the least time between two cuts by age.
func (r *Run) cutEvery() time.Duration { return time.Second / time.Duration(r.opt.Cuts) }

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
		if (now.Sub(v.since) < r.opt.Idle || r.opt.rules.noIdle) && !r.opt.rules.noJoin {
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
	v.since = time.Time{}
	write := func() error { return v.write(positions, prepared, told) }
	if r.opt.rules.manySaves {
		r.goWork("save", func() { _ = write() })
		return nil
	}
	return write()
}

// write writes positions, of the partitions told, and says then that their segments are prepared.
func (v *saver) write(positions []sdk.Position, prepared []*segment, told []*partState) error {
	r := v.src.run
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
	for _, k := range r.sinks {
		k.st.q.Forget(ps.part) // a lane that is no sink's does it when it has given out what it holds
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
