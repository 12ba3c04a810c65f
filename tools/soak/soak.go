package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/weirflow/weir/sdk/sdktest/delivery"
)

const (
	session = 600 * time.Millisecond
	// meanStrike is how long it takes, on average, from one kill to the next: the log is made so long that records still appear at
	// the last.
	meanStrike = 600 * time.Millisecond
	rate       = 150 // records a second in each partition
	partitions = 12
	endsWithin = 45 * time.Second // from the last kill on, until all is committed
	stopWithin = 10 * time.Second // from SIGTERM on: the drain's time and what a busy machine adds
)

// soak is one trial.
type soak struct {
	kills   int
	seed    int64
	workers int
	limit   time.Duration
	verbose bool
	out     io.Writer
	errs    io.Writer

	world      *delivery.Memory
	cfg        delivery.Config
	dir        string
	rng        *rand.Rand
	generation int
	alive      []*worker
	faults     []string
	killed     int
	stopped    int // SIGSTOP
	ended      int // SIGTERM
	paused     sync.WaitGroup
}

// worker is one process.
type worker struct {
	generation int
	cmd        *exec.Cmd
	stderr     bytes.Buffer
	done       chan struct{} // closed when it has been waited for
	struck     bool          // killed by us: however it ends is right
	paused     bool
}

// signal sends s; one that has been waited for gets none.
func (w *worker) signal(s syscall.Signal) { w.cmd.Process.Signal(s) }

func (w *worker) over() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

func (s *soak) logf(format string, a ...any) {
	if s.verbose {
		fmt.Fprintf(s.errs, format+"\n", a...)
	}
}

func (s *soak) fault(format string, a ...any) {
	s.faults = append(s.faults, fmt.Sprintf(format, a...))
}

// run lives the trial and returns what is wrong, as sentences.
func (s *soak) run(ctx context.Context) []string {
	s.workers = max(2, s.workers)
	if s.limit == 0 {
		s.limit = time.Minute + 2*time.Second*time.Duration(s.kills)
	}
	ctx, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	dir, err := os.MkdirTemp("", "weir-soak-")
	if err != nil {
		return []string{err.Error()}
	}
	defer os.RemoveAll(dir)
	s.dir, s.rng = dir, rand.New(rand.NewSource(s.seed))
	lasts := 3*time.Second + meanStrike*time.Duration(s.kills)
	s.cfg = delivery.Config{Partitions: partitions, Records: uint64(rate * lasts.Seconds()), Rate: rate, Gaps: true, Bounded: true,
		Session: session, Revoke: 500 * time.Millisecond, Window: 1500, Bad: 211, Late: 0.03, LateBy: 400 * time.Millisecond,
		DownEvery: 3 * time.Second, DownFor: 200 * time.Millisecond, Seed: uint64(s.seed)}
	s.world = delivery.NewMemory(s.cfg)
	server, err := delivery.Serve(filepath.Join(dir, "world"), s.world)
	if err != nil {
		return []string{err.Error()}
	}
	defer server.Close()
	defer s.cleanUp()

	s.strike(ctx)
	s.finish(ctx)
	return append(s.faults, s.check()...)
}

// start begins another process.
func (s *soak) start() {
	s.generation++
	self, err := os.Executable()
	if err != nil {
		s.fault("find the own binary: %v", err)
		return
	}
	w := &worker{generation: s.generation, done: make(chan struct{})}
	w.cmd = exec.Command(self, workerCommand, "-socket", filepath.Join(s.dir, "world"), "-generation", strconv.Itoa(s.generation),
		"-dir", filepath.Join(s.dir, strconv.Itoa(s.generation)))
	w.cmd.Stderr = &w.stderr
	if s.verbose {
		w.cmd.Stderr = io.MultiWriter(&w.stderr, s.errs)
	}
	if _, err = w.cmd.StdinPipe(); err != nil { // it ends with this process, so that no worker outlives it
		s.fault("start worker %d: %v", w.generation, err)
		return
	}
	if err := w.cmd.Start(); err != nil {
		s.fault("start worker %d: %v", w.generation, err)
		return
	}
	go func() {
		w.cmd.Wait() // how it ended is in ProcessState
		close(w.done)
	}()
	s.alive = append(s.alive, w)
	s.logf("started %d, process %d", w.generation, w.cmd.Process.Pid)
}

// reap takes out the workers that have ended, and says which should not have.
func (s *soak) reap() {
	rest := s.alive[:0]
	for _, w := range s.alive {
		if !w.over() {
			rest = append(rest, w)
			continue
		}
		if code := w.cmd.ProcessState.ExitCode(); !w.struck && code != 0 {
			s.fault("worker %d ended with exit code %d: %s", w.generation, code, lastLines(w.stderr.String(), 1500))
		}
	}
	clear(s.alive[len(rest):])
	s.alive = rest
}

func lastLines(text string, most int) string {
	if len(text) > most {
		return "..." + text[len(text)-most:]
	}
	return text
}

// strike does to the workers what the world does, until enough were killed.
func (s *soak) strike(ctx context.Context) {
	for s.killed < s.kills && ctx.Err() == nil && len(s.faults) == 0 {
		s.reap()
		for len(s.alive) < 2 {
			s.start()
			if len(s.faults) > 0 {
				return
			}
		}
		if sleep(ctx, time.Duration(30+s.rng.Intn(450))*time.Millisecond); ctx.Err() != nil {
			return
		}
		s.reap()
		if len(s.alive) == 0 {
			continue
		}
		w := s.alive[s.rng.Intn(len(s.alive))]
		switch e := s.rng.Intn(20); {
		case e < 11:
			s.killed++
			s.kill(w)
			if s.rng.Intn(3) > 0 && len(s.alive) < s.workers {
				s.start()
			}
		case e < 14:
			if w.paused {
				continue
			}
			s.stopped++
			s.pause(w, session+time.Duration(s.rng.Intn(1500))*time.Millisecond)
			if len(s.alive) <= s.workers {
				s.start()
			}
		case e < 16:
			s.ended++
			s.logf("ending %d", w.generation)
			w.signal(syscall.SIGTERM)
		default:
			if len(s.alive) <= s.workers {
				s.start()
			}
		}
	}
	if s.killed < s.kills && len(s.faults) == 0 {
		s.fault("only %d of %d kills in %v", s.killed, s.kills, s.limit)
	}
}

// kill is kill -9: the process can do nothing more, not even while it is stopped.
func (s *soak) kill(w *worker) {
	s.logf("killing %d", w.generation)
	w.struck = true
	w.signal(syscall.SIGKILL)
	<-w.done
	s.reap()
}

// pause stops a process for longer than its session, and lets it go on as one that does not know that it was away.
func (s *soak) pause(w *worker, d time.Duration) {
	s.logf("pausing %d for %v", w.generation, d)
	w.paused = true
	w.signal(syscall.SIGSTOP)
	s.paused.Go(func() {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
		case <-w.done:
		}
		w.signal(syscall.SIGCONT)
	})
}

// finish waits until all is committed and ends the workers that are left.
func (s *soak) finish(ctx context.Context) {
	s.paused.Wait()
	end := time.Now().Add(endsWithin)
	for len(s.faults) == 0 && !s.committed() {
		if ctx.Err() != nil || time.Now().After(end) {
			break
		}
		s.reap()
		for len(s.alive) < 2 && len(s.faults) == 0 {
			s.start()
		}
		sleep(ctx, 50*time.Millisecond)
	}
	for _, w := range s.alive {
		w.signal(syscall.SIGTERM)
	}
	late := time.After(stopWithin)
	for _, w := range s.alive {
		select {
		case <-w.done:
		case <-late:
			s.fault("worker %d did not end within %v of SIGTERM: %s", w.generation, stopWithin, lastLines(w.stderr.String(), 1500))
			return
		}
	}
	s.reap()
}

func (s *soak) committed() bool {
	for p := range s.cfg.Partitions {
		if c, _ := s.world.Committed(context.Background(), p); s.cfg.NumberAt(c.Next) < s.cfg.Records {
			return false
		}
	}
	return true
}

// check prints a line for each sink.
func (s *soak) check() (faults []string) {
	tally, err := s.world.Tally(context.Background())
	if err != nil {
		return []string{err.Error()}
	}
	fmt.Fprintf(s.out, "seed %d: %d processes, %d killed, %d stopped and continued, %d ended; %d records, %d late writes, %v known blocks again, %d commits of others' partitions\n",
		s.seed, s.generation, s.killed, s.stopped, s.ended, uint64(partitions)*s.cfg.Records, tally.Late, tally.Again, tally.Stale)
	if !s.committed() {
		faults = append(faults, fmt.Sprintf("not all is committed: the positions are %v, the records end at %d", tally.Next, s.cfg.Position(s.cfg.Records)))
	}
	for _, w := range wants() {
		r := delivery.Check(tally, w)
		fmt.Fprintln(s.out, r)
		if err := r.Err(); err != nil {
			faults = append(faults, err.Error())
		}
	}
	return faults
}

// cleanUp kills, by their ids, the processes that are left.
func (s *soak) cleanUp() {
	for _, w := range s.alive {
		w.signal(syscall.SIGKILL)
		<-w.done
	}
	s.paused.Wait()
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
