package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/core/ledger"
	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/sdk"
)

// A sink that waits in front of a store that is down says so at each try, with or without a queue in front of it, and the pauses
// begin with retry.initial.
func TestEveryRetryIsTold(t *testing.T) {
	for _, sink := range []string{"mem", "memfused"} {
		t.Run(sink, func(t *testing.T) {
			s := newStores()
			var said bytes.Buffer
			text := `
sources:
  in: {type: count, with: {rows: 10}}
sinks:
  out: {type: ` + sink + `, on_error: drop, retry: {initial: 10ms, max: 50ms, attempts: 5}, with: {fail: 1}}
`
			r, err := New(planned(t, text, countPlugin, workPlugin, s.plugin("mem", false, false), s.plugin("memfused", true, false)),
				Options{Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(&said, nil))})
			if err != nil {
				t.Fatal(err)
			}
			rep := ends(t, r)
			var pauses []string
			for _, m := range regexp.MustCompile(`trying again" .*node=out .*after=(\S+) `).FindAllStringSubmatch(said.String(), -1) {
				pauses = append(pauses, m[1])
			}
			if diff := cmp.Diff([]string{"10ms", "20ms", "40ms", "50ms"}, pauses); diff != "" {
				t.Errorf("pauses that were told (-want +got):\n%s\n%s", diff, said.String())
			}
			if n := nodeDropped(rep, "out"); n != 10 {
				t.Errorf("%d records were dropped after the last try, want 10", n)
			}
		})
	}
}

// Records that were tried for the last time go to errors under the code retries_exhausted, with the store's own reason in the message,
// with or without a queue in front of the sink.
func TestExhaustedRetriesAreDeadLetters(t *testing.T) {
	for _, sink := range []string{"mem", "memfused"} {
		t.Run(sink, func(t *testing.T) {
			s := newStores()
			got := &letters{}
			r, err := New(planned(t, `
sources:
  in: {type: count, with: {rows: 10}}
sinks:
  out: {type: `+sink+`, retry: {initial: 1ms, max: 1ms, attempts: 3}, with: {fail: 1}}
  dead: {type: letters, from: errors}
`, countPlugin, workPlugin, s.plugin("mem", false, false), s.plugin("memfused", true, false), got.plugin()), Options{Dir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			rep := ends(t, r)
			want := map[string]int{"out retries_exhausted retries_exhausted: not_now: not now": 10}
			if diff := cmp.Diff(want, got.seen); diff != "" {
				t.Errorf("dead letters (-want +got):\n%s", diff)
			}
			out := rep.Nodes[slices.IndexFunc(rep.Nodes, func(n ledger.NodeReport) bool { return n.ID == "out" })]
			if rep.DeadLettered != 10 || out.Delivered != 0 || out.Retries != 2 || !rep.Balanced {
				t.Errorf("%+v", rep)
			}
		})
	}
}

// letters is a sink that counts errors by node, code and message.
type letters struct {
	mu   sync.Mutex
	seen map[string]int

	payloads [][]byte
}

func (l *letters) plugin() sdk.Plugin {
	return sdk.Plugin{
		Spec: sdk.Spec{Kind: sdk.KindSink, Type: "letters", Doc: "counts errors"},
		Sink: func(*sdk.Env, any) (sdk.Sink, error) { return l, nil },
	}
}

func (l *letters) Open(context.Context, *sdk.Schema) (sdk.Writer, error) { return l, nil }
func (l *letters) Held() int64                                           { return 0 }
func (l *letters) Flush(context.Context) error                           { return nil }
func (l *letters) Close(context.Context) error                           { return nil }
func (l *letters) Write(_ context.Context, b *sdk.Block, done func(error)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil {
		l.seen = map[string]int{}
	}
	for _, x := range b.Batches {
		for _, p := range x.Bytes(sdk.ErrorsPayload) {
			l.payloads = append(l.payloads, append([]byte(nil), p...))
		}
		nodes, nodeNames := x.Names(sdk.ErrorsNode)
		codes, codeNames := x.Names(sdk.ErrorsCode)
		for i, m := range x.Bytes(sdk.ErrorsMessage) {
			l.seen[nodeNames.Values()[nodes[i]]+" "+codeNames.Values()[codes[i]]+" "+string(m)]++
		}
	}
	done(nil)
	return nil
}

// However many blocks and lanes try, a try is one line; when the store takes again there is one line; and while the run stops the
// lines say until when it is tried.
func TestOneLineForATry(t *testing.T) {
	var said bytes.Buffer
	r := &Run{log: slog.New(slog.NewTextHandler(&said, nil)), plan: &plan.Plan{Pipeline: &config.Pipeline{DrainTimeout: time.Minute}}}
	st := &stage{run: r}
	n := &plan.Node{Node: &config.Node{ID: "out"}}
	down := errors.New("the store is down")
	for range 3 { // blocks that are tried together
		st.complaint(n).failed(r, "trying again", time.Hour, down)
	}
	if got := strings.Count(said.String(), "the store is down"); got != 1 {
		t.Errorf("%d lines for one try:\n%s", got, said.String())
	}
	st.complaint(n).until = time.Now() // the pause is over
	r.stopping.Store(true)
	for range 2 {
		st.complaint(n).failed(r, "trying again", time.Second, down)
	}
	if got := said.String(); strings.Count(got, "the store is down") != 2 || !strings.Contains(got, "until drain_timeout is over") || !strings.Contains(got, "failures=3") {
		t.Errorf("of the second try:\n%s", got)
	}
	for range 2 {
		st.complaint(n).over(r)
	}
	if got := strings.Count(said.String(), "stores again"); got != 1 {
		t.Errorf("%d lines of the end:\n%s", got, said.String())
	}
	st.complaint(n).failed(r, "trying again", time.Second, down)
	if got := strings.Count(said.String(), "the store is down"); got != 3 {
		t.Errorf("the next trouble is not told:\n%s", said.String())
	}
}

// The records of a sink that takes nothing until drain_timeout is over are dropped as stopped, and the log says so in one line each.
func TestTheEndOfTheDrainIsTold(t *testing.T) {
	s := newStores()
	var said bytes.Buffer
	r, err := New(planned(t, `
drain_timeout: 50ms
sources:
  in: {type: count, with: {rows: 10}}
sinks:
  out: {type: mem, retry: {initial: 1ms, max: 10s}, with: {fail: 1}}
`, countPlugin, workPlugin, s.plugin("mem", false, false), s.plugin("memfused", true, false)), Options{Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(&said, nil)), KillGrace: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	r.Start()
	for deadline := time.Now().Add(time.Minute); r.Report().Nodes[1].Retries == 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	r.Stop()
	if err := r.Wait(); err != nil {
		t.Fatal(err)
	}
	rep := r.Report()
	for _, want := range []string{`msg="drain_timeout is over`, fmt.Sprintf("records=%d", nodeDropped(rep, "out"))} {
		if strings.Count(said.String(), want) != 1 {
			t.Errorf("%q is not said once:\n%s", want, said.String())
		}
	}
	if nodeDropped(rep, "out") == 0 || !rep.Balanced {
		t.Errorf("%+v", rep)
	}
}
