package engine

import (
	"time"

	"github.com/weirflow/weir/core/queue"
)

// alarm is how a lane sleeps: until its waker is woken, by others or by the clock. The timer stays armed when others were first, and
// is set anew only for what is due before it rings: under load a lane sleeps thousands of times before one deadline, and to arm and
// disarm a timer each time, beside three channels to wait on, was a quarter of what a hand-over cost. Rung too early, the lane looks
// around and sleeps on.
type alarm struct {
	waker queue.Waker
	timer *time.Timer
	rings time.Time // when it is set to ring, or has rung
}

func newAlarm() alarm {
	w := queue.NewWaker()
	t := time.AfterFunc(time.Hour, w.Wake)
	t.Stop()
	return alarm{waker: w, timer: t}
}

// sleep waits until woken; the clock wakes after d at the latest.
func (a *alarm) sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	now := time.Now()
	if due := now.Add(d); due.Before(a.rings) || !now.Before(a.rings) {
		a.timer.Reset(d)
		a.rings = due
	}
	<-a.waker
}

// off ends it.
func (a *alarm) off() { a.timer.Stop() }
