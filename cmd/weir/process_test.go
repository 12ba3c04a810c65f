package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/core/ledger"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sinks/discard"
	"github.com/weirflow/weir/sources/generate"
)

// Plugins that go wrong: `liar` says that it received one record more than it gave, `broken` takes no block, `stuck` none until
// its context ends.

var liar = sdk.Plugin{
	Spec: sdk.Spec{
		Kind: sdk.KindSource, Type: "liar", Doc: "counts wrong", Config: func() any { return &struct{}{} }, Slowable: true,
		Output: func(any, *sdk.Schema) ([]*sdk.Schema, error) { return []*sdk.Schema{sdk.Datagram}, nil },
	},
	Source: func(env *sdk.Env, _ any) (sdk.Source, error) { return &lying{env: env}, nil },
}

type lying struct {
	env   *sdk.Env
	given bool
}

func (l *lying) Accept(context.Context) (sdk.Reader, error) {
	if l.given {
		return nil, io.EOF
	}
	l.given = true
	return l, nil
}
func (l *lying) Read(context.Context, time.Duration) (*sdk.Batch, error) {
	l.env.Books.Received.Add(1)
	return nil, io.EOF
}
func (l *lying) Partition() *sdk.Partition   { return &sdk.Partition{Source: l.env.Node, Name: "0"} }
func (l *lying) Ready() <-chan struct{}      { return nil }
func (l *lying) Stop(context.Context) error  { return nil }
func (l *lying) Close(context.Context) error { return nil }

func sinkOf(name string, write func(ctx context.Context) error) sdk.Plugin {
	return sdk.Plugin{
		Spec: sdk.Spec{Kind: sdk.KindSink, Type: name, Doc: "goes wrong", Config: func() any { return &struct{}{} }},
		Sink: func(*sdk.Env, any) (sdk.Sink, error) { return wrongSink(write), nil },
	}
}

type wrongSink func(ctx context.Context) error

func (w wrongSink) Open(context.Context, *sdk.Schema) (sdk.Writer, error) { return w, nil }
func (w wrongSink) Flush(context.Context) error                           { return nil }
func (w wrongSink) Held() int64                                           { return 0 }
func (w wrongSink) Close(context.Context) error                           { return nil }
func (w wrongSink) Write(ctx context.Context, _ *sdk.Block, _ func(error)) error {
	return w(ctx)
}

// buffer is written by the process and read by the test.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// running starts `weir run` in this process on pipelines by name, and returns how it ended.
func running(t *testing.T, summary string, pipelines map[string]string) (errs *buffer, ended <-chan error) {
	t.Helper()
	errs = &buffer{}
	a := &app{out: io.Discard, err: errs, plugins: config.NewRegistry(generate.Plugin, discard.Plugin, liar,
		sinkOf("broken", func(context.Context) error {
			return &sdk.Error{Class: sdk.Fatal, Code: "broken", Err: errors.New("the disk is on fire")}
		}),
		sinkOf("stuck", func(ctx context.Context) error {
			io.WriteString(errs, "a write hangs\n")
			<-ctx.Done()
			return ctx.Err()
		}))}
	dir := t.TempDir()
	for name, text := range pipelines {
		if err := os.WriteFile(filepath.Join(dir, name+".yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error, 1)
	cmd := a.runCommand()
	cmd.SetArgs([]string{dir, "--admin", "off", "--data-dir", dir, "--summary", summary})
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	go func() { done <- cmd.Execute() }()
	return errs, done
}

func wait(t *testing.T, errs *buffer, ended <-chan error) error {
	t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(time.Minute):
		t.Fatalf("it does not end:\n%s", errs)
		return nil
	}
}

// until waits for a text on standard error.
func until(t *testing.T, errs *buffer, text string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !strings.Contains(errs.String(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never said %q:\n%s", text, errs)
		}
	}
}

type summary struct {
	ledger.Report
	Error string
}

// summaries reads the last line of standard error.
func summaries(t *testing.T, errs *buffer) map[string]summary {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(errs.String()), "\n")
	var s struct{ Pipelines []summary }
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &s); err != nil {
		t.Fatalf("%v:\n%s", err, errs)
	}
	by := map[string]summary{}
	for _, p := range s.Pipelines {
		by[p.Name] = p
	}
	return by
}

func code(err error) int {
	if e, ok := errors.AsType[*exit](err); ok {
		return e.code
	}
	return 0
}

// One pipeline's failure is said, with its node, and never stops another. The exit code tells.
func TestFailureStopsNoOther(t *testing.T) {
	errs, ended := running(t, "json", map[string]string{
		"bad":  "sources: {in: {type: generate}}\nsinks: {out: {type: broken}}\n",
		"good": "sources: {in: {type: generate, with: {records: 4800, rate: 10000}}}\nsinks: {out: {type: discard}}\n",
	})
	if got := code(wait(t, errs, ended)); got != exitRuntime {
		t.Errorf("exit code %d, want %d", got, exitRuntime)
	}
	s := summaries(t, errs)
	if want := "sinks.out: broken: the disk is on fire"; s["bad"].Error != want || !s["bad"].Balanced || s["bad"].Failed == 0 {
		t.Errorf("the one that fails: %+v, want the error %q", s["bad"], want)
	}
	if s["good"].Error != "" || !s["good"].Balanced || s["good"].Delivered != s["good"].Received || s["good"].Received < 200 {
		t.Errorf("the other one: %+v", s["good"])
	}
	if !strings.Contains(errs.String(), "level=ERROR msg=failed pipeline=bad") {
		t.Errorf("nothing was said when it failed:\n%s", errs)
	}
}

// A ledger that does not balance is a failure, and the equation is named.
func TestUnbalanced(t *testing.T) {
	errs, ended := running(t, "table", map[string]string{"a": "sources: {in: {type: liar}}\nsinks: {out: {type: discard}}\n"})
	if got := code(wait(t, errs, ended)); got != exitRuntime {
		t.Errorf("exit code %d, want %d", got, exitRuntime)
	}
	if want := "NOT balanced: source in: received 1, but handed out 0"; !strings.Contains(errs.String(), want) {
		t.Errorf("no %q in\n%s", want, errs)
	}
}

// SIGTERM drains; a drain that hangs ends at a second signal, the same or another, and what was left is counted.
func TestSecondSignal(t *testing.T) {
	for _, second := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(second.String(), func(t *testing.T) {
			errs, ended := running(t, "json", map[string]string{
				"hangs": "sources: {in: {type: generate, with: {rate: 100000}}}\nsinks: {out: {type: stuck, batch: {age: 10ms}}}\n",
			})
			until(t, errs, "a write hangs")
			for _, step := range []struct {
				signal syscall.Signal
				said   string
			}{{syscall.SIGTERM, "msg=draining signal=terminated"}, {second, "counted\" signal=" + second.String()}} {
				if err := syscall.Kill(os.Getpid(), step.signal); err != nil {
					t.Fatal(err)
				}
				until(t, errs, step.said)
			}
			if got := code(wait(t, errs, ended)); got != exitRuntime {
				t.Errorf("exit code %d, want %d", got, exitRuntime)
			}
			s := summaries(t, errs)["hangs"]
			if !s.Balanced || s.Delivered != 0 || s.Dropped["stopped"] != s.Received || s.Received == 0 {
				t.Errorf("%+v", s)
			}
			if !strings.Contains(s.Error, "second signal") {
				t.Errorf("the error is %q", s.Error)
			}
		})
	}
}

// Somebody else at the default address of the admin interface is no reason not to run; at an address that was asked for it is.
func TestAdminAddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	errs := &buffer{}
	settings := config.DefaultSettings()
	settings.Admin = l.Addr().String()
	p := (&app{err: errs}).process(&settings, 0)
	if s, err := p.listen(false); s != nil || err != nil {
		t.Errorf("not asked for: %v, %v", s, err)
	}
	if !strings.Contains(errs.String(), "running without the admin interface") {
		t.Errorf("nothing was said:\n%s", errs)
	}
	if _, err := p.listen(true); err == nil {
		t.Error("asked for, and nothing is wrong")
	} else if _, ok := errors.AsType[*sdk.NotReady](err); !ok {
		t.Errorf("asked for: %v", err)
	}
}

// A process that is stopped takes connections and says nothing: that is a sentence with what to look at, and no fault of the command.
func TestNoAnswerOfStoppedProcess(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // the kernel connects, nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	before := answerTimeout
	answerTimeout = 50 * time.Millisecond
	defer func() { answerTimeout = before }()
	_, err = fetch(t.Context(), l.Addr().String(), "/")
	if n, ok := errors.AsType[*sdk.NotReady](err); !ok || !strings.Contains(n.What, "has not answered for 50ms") || n.Do == "" {
		t.Error(err)
	}
}
