package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/weirflow/weir/core/admin"
	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/core/engine"
	"github.com/weirflow/weir/core/ledger"
	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/sdk"
)

// process runs pipelines side by side: one failing does not stop another.
type process struct {
	err      io.Writer // what people read
	terminal bool      // err is one
	// The process has a terminal, whatever its streams are: SIGHUP says that it is gone. Of a service it says that somebody wants files read.
	onTerminal bool
	account    io.Writer // where the summary as JSON goes
	log        *slog.Logger
	settings   *config.Settings
	runs       []*pipelineRun
	duration   time.Duration // --for; 0: until the sources end or a signal
}

// pipelineRun is one pipeline in the process.
type pipelineRun struct {
	*engine.Run
	log *slog.Logger

	mu           sync.Mutex
	state        admin.State
	err          error
	began, ended time.Time
}

// State for the admin interface.
func (r *pipelineRun) State() (admin.State, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state, r.err
}

func (r *pipelineRun) failure() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *pipelineRun) took() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended.IsZero() {
		return time.Since(r.began)
	}
	return r.ended.Sub(r.began)
}

func (r *pipelineRun) over() bool {
	select {
	case <-r.Done():
		return true
	default:
		return false
	}
}

func (r *pipelineRun) redacted(err error) string { return r.Plan().Pipeline.Redact(err.Error()) }

// build makes all pipelines and starts none: what the environment lacks is found before anything runs, and every socket is bound
// before the first datagram is sent.
func (p *process) build(plans []*plan.Plan) error {
	opts := engine.Options{
		Log: p.log, Dir: p.settings.DataDir, Share: engine.NewShared(), CPUs: runtime.GOMAXPROCS(0),
		BootID: fmt.Sprintf("%x-%x", os.Getpid(), time.Now().UnixNano()),
	}
	for _, pl := range plans {
		run, err := engine.New(pl, opts)
		if err != nil {
			p.discard()
			if n, ok := errors.AsType[*sdk.NotReady](err); ok {
				return fmt.Errorf("%s: %w", pl.Pipeline.Name, redactedNotReady(pl.Pipeline, err, n))
			}
			return fmt.Errorf("%s: %s", pl.Pipeline.Name, pl.Pipeline.Redact(err.Error()))
		}
		p.runs = append(p.runs, &pipelineRun{Run: run, state: admin.Starting, log: p.log.With("pipeline", pl.Pipeline.Name)})
	}
	return nil
}

// redactedNotReady keeps the kind of the error, and the node in its text, and takes secrets out of it.
func redactedNotReady(p *config.Pipeline, err error, n *sdk.NotReady) error {
	text := err.Error()
	if p.Redact(text) == text {
		return err
	}
	node, _ := strings.CutSuffix(text, n.Error())
	return &sdk.NotReady{What: p.Redact(node + n.What), Do: p.Redact(n.Do)}
}

// discard gives back what build made.
func (p *process) discard() {
	for _, r := range p.runs {
		r.Discard()
	}
	p.runs = nil
}

// listen opens the admin interface. The default address is no reason not to run: another Weir has it, most likely.
func (p *process) listen(asked bool) (*admin.Server, error) {
	if p.settings.Admin == config.AdminOff {
		return nil, nil
	}
	all := make([]admin.Pipeline, len(p.runs))
	for i, r := range p.runs {
		all[i] = r
	}
	s, err := admin.Listen(p.settings.Admin, version().Version, all, p.log)
	if err != nil && !asked {
		p.log.Warn("running without the admin interface", "reason", err)
		return nil, nil
	}
	return s, err
}

// hasTerminal says whether a terminal controls this process.
func hasTerminal() bool {
	f, err := os.OpenFile("/dev/tty", os.O_RDONLY, 0)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

// run starts what build made and returns when all has ended: by itself, by a signal, or when the time is over. A second signal
// ends what still drains.
func (p *process) run(progress bool) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	hangups := make(chan os.Signal, 1)
	if !signal.Ignored(syscall.SIGHUP) { // as nohup has it
		signal.Notify(hangups, syscall.SIGHUP)
		defer signal.Stop(hangups)
	}
	var line *status
	if progress {
		line = p.err.(*status)
	}
	var watching sync.WaitGroup
	over := make(chan struct{})
	all := sync.WaitGroup{}
	for _, r := range p.runs {
		r.mu.Lock()
		r.state, r.began = admin.Running, time.Now()
		r.mu.Unlock()
		r.Start()
		r.log.Info("running", "file", r.Plan().Pipeline.File, "nodes", len(r.Plan().Nodes))
		all.Go(r.wait)
	}
	go func() { all.Wait(); close(over) }()
	if line != nil {
		watching.Go(func() { line.watch(p.runs, over) })
	}
	var timeout <-chan time.Time
	if p.duration > 0 {
		t := time.NewTimer(p.duration)
		defer t.Stop()
		timeout = t.C
	}
	var draining sync.WaitGroup
	for stops := 0; ; {
		select {
		case <-over:
			watching.Wait()
			draining.Wait()
			return
		case <-timeout:
			if stops == 0 {
				stops++
				draining.Go(p.drain)
			}
		case s := <-hangups:
			// A shell and the kernel both send it: it is no second signal.
			if stops > 0 || p.onTerminal {
				signal.Ignore(syscall.SIGHUP) // for good: another one must not end what still writes its account
			}
			switch {
			case stops > 0:
			case p.onTerminal:
				stops++
				p.log.Info("draining: the terminal is gone", "signal", s)
				draining.Go(p.drain)
			default:
				p.log.Warn("files are not read anew while running: start Weir again for that, or stop it with SIGTERM; certificates are read anew by themselves", "signal", s)
			}
		case s := <-signals:
			switch stops++; stops {
			case 1:
				p.say("\nDraining; once more to stop at once.\n", "draining", "signal", s)
				draining.Go(p.drain)
			default:
				p.say("", "stopping at once: what is not settled is dropped and counted", "signal", s)
				for _, r := range p.runs {
					r.cut(s)
				}
			}
		}
	}
}

// say speaks to a person at a terminal, else to the log.
func (p *process) say(text, message string, args ...any) {
	if p.terminal && text != "" {
		fmt.Fprint(p.err, text)
		return
	}
	p.log.Info(message, args...)
}

// headStart is how long a pipeline that stops may take before the next one stops too.
const headStart = time.Second

// drain stops the pipelines, the last one named first: what it has sent to another in this process arrives there.
func (p *process) drain() {
	for _, r := range slices.Backward(p.runs) {
		if r.over() {
			continue
		}
		r.mu.Lock()
		if r.state == admin.Running {
			r.state = admin.Draining
		}
		r.mu.Unlock()
		r.Stop()
		t := time.NewTimer(headStart)
		select {
		case <-r.Done():
		case <-t.C:
		}
		t.Stop()
	}
}

// cut ends a run that still goes on.
func (r *pipelineRun) cut(s os.Signal) {
	if r.over() {
		return
	}
	r.mu.Lock()
	if r.err == nil {
		r.err = fmt.Errorf("stopped by a second signal (%v)", s)
	}
	r.mu.Unlock()
	r.Abort(errSecondSignal)
}

var errSecondSignal = errors.New("stopped by a second signal")

// wait waits for the end of the run and says how it ended.
func (r *pipelineRun) wait() {
	err := r.Wait()
	if err == nil {
		err = cmp.Or(r.cutShort(), r.tookNothing())
	}
	r.mu.Lock()
	r.ended = time.Now()
	if r.err == nil {
		r.err = err
	}
	err = r.err
	r.state = admin.Ended
	if err != nil {
		r.state = admin.Failed
	}
	r.mu.Unlock()
	if err != nil {
		r.log.Error("failed", "error", r.redacted(err))
		return
	}
	r.log.Info("ended")
}

// cutShort says what required sinks did not get of what was here when the drain's time was over, nil if they got all. What optional sinks
// lost so is counted and logged, and no failure: that is what makes them optional.
func (r *pipelineRun) cutShort() error {
	pl, rep := r.Plan(), r.Report()
	lost, where := uint64(0), []string{}
	at := stoppedAt(&rep)
	for _, n := range pl.Nodes {
		if k := at[n.ID]; k > 0 && n.Required {
			lost += k
			where = append(where, fmt.Sprintf("%s %s", n.ID, number(k)))
		}
	}
	if lost == 0 {
		return nil
	}
	return fmt.Errorf("drain_timeout of %v was over before all was delivered: %s dropped as stopped (%s); a longer drain_timeout waits longer",
		pl.Pipeline.DrainTimeout, counted(lost, "record"), strings.Join(where, ", "))
}

// tookNothing names required sinks that refused all they got while nobody reads `errors`: nothing of it is anywhere, and who asks for the
// exit code alone must learn of it. nil if there are none. A sink that took something is none, nor one that may drop what it refuses
// (`on_error: drop`).
func (r *pipelineRun) tookNothing() error {
	rep, required := r.Report(), map[string]bool{}
	for _, n := range r.Plan().Nodes {
		required[n.ID] = n.Kind == sdk.KindSink && n.Required
	}
	var where []string
	for i := range rep.Nodes {
		n := &rep.Nodes[i]
		if k := n.Dropped[string(sdk.ReasonUnread)]; k > 0 && n.Delivered == 0 && required[n.ID] {
			where = append(where, fmt.Sprintf("%s refused all it got, %s", n.ID, counted(k, "record")))
		}
	}
	if where == nil {
		return nil
	}
	return fmt.Errorf("nothing was delivered: %s, and nobody reads `errors`; the log says why, and a sink with `from: errors` keeps them", strings.Join(where, "; "))
}

// stoppedAt is what was dropped as stopped by node: in it, or in the queue before it.
func stoppedAt(rep *ledger.Report) map[string]uint64 {
	at := map[string]uint64{}
	for i := range rep.Nodes {
		at[rep.Nodes[i].ID] += rep.Nodes[i].Dropped[string(sdk.ReasonStopped)]
	}
	for i := range rep.Edges {
		at[rep.Edges[i].To] += rep.Edges[i].Dropped[string(sdk.ReasonStopped)]
	}
	return at
}

// result is the exit of the process, once all has ended and the summary is written.
func (p *process) result() error {
	for _, r := range p.runs {
		if rep := r.Report(); r.failure() != nil || !rep.Balanced {
			return &exit{code: exitRuntime}
		}
	}
	return nil
}

// finish writes the summary and closes the admin interface.
func (p *process) finish(s *admin.Server, summary string) error {
	if s != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		s.Close(ctx)
		cancel()
	}
	var err error
	switch summary {
	case "table":
		err = writeSummary(p.err, p.runs)
	case "json":
		err = summaryJSON(p.account, p.runs)
	}
	if err != nil {
		return err
	}
	return p.result()
}
