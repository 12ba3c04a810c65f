package engine

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/weirflow/weir/sdk"
)

const timed = `
sources:
  in: {type: count, with: {rows: 200000, batch: 500}}
processors:
  - {id: w, type: work}
sinks:
  queued: {type: mem}
  fused: {type: memfused}
`

// A timed run tells for each node how long it was busy and how many batches it gave out, and what lanes did not wait for; another
// one keeps nothing.
func TestTimes(t *testing.T) {
	s := newStores()
	plugins := []sdk.Plugin{countPlugin, workPlugin, s.plugin("mem", false, false), s.plugin("memfused", true, false)}
	r, err := New(planned(t, timed, plugins...), Options{Dir: t.TempDir(), Timed: true})
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	ends(t, r)
	took, got := time.Since(began), r.Times()
	var sum time.Duration
	for _, n := range got.Nodes {
		if n.Busy <= 0 || n.Busy > 2*took {
			t.Errorf("%s was busy for %v of %v", n.ID, n.Busy, took)
		}
		sum += n.Busy
	}
	if got.Nodes[0].Batches != 400 || got.Nodes[1].Batches < 400 {
		t.Errorf("400 batches were read, the times have %+v", got.Nodes)
	}
	// Two lanes at work: the source's and the queued sink's.
	if got.Active < sum*9/10 || got.Active > 2*took {
		t.Errorf("lanes were active for %v, nodes busy for %v, the run took %v", got.Active, sum, took)
	}
	if later := r.Times(); later.Active != got.Active {
		t.Errorf("after the end lanes were active for %v more", later.Active-got.Active)
	}

	r, err = New(planned(t, timed, plugins...), Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ends(t, r)
	for _, n := range r.Times().Nodes {
		if n.Busy != 0 || n.Batches != 0 {
			t.Errorf("nobody asked for times, and %s has %+v", n.ID, n)
		}
	}
}

// A run that is aborted ends at once, without being a failure, and what was in it is counted.
func TestAbort(t *testing.T) {
	r := running(t, newStores(), `
sources:
  in: {type: count, with: {rows: 0, batch: 50}}
sinks:
  out: {type: mem, with: {delay: 1h}, batch: {rows: 100}}
`)
	r.Start()
	for r.Report().Received == 0 {
		time.Sleep(time.Millisecond)
	}
	r.Stop()
	select {
	case <-r.Done():
		t.Fatal("it has drained, and nothing to abort is left")
	case <-time.After(50 * time.Millisecond):
	}
	r.Abort(errors.New("a second signal"))
	select {
	case <-r.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("it does not end")
	}
	if err := r.Wait(); err != nil {
		t.Error(err)
	}
	rep := balanced(t, r)
	if rep.Delivered != 0 || rep.Dropped[string(sdk.ReasonStopped)] != rep.Received {
		t.Errorf("received %d, delivered %d, dropped %v", rep.Received, rep.Delivered, rep.Dropped)
	}
}

// checked is a sink that has something to say when it is asked.
type checked struct {
	readErrors
	err    error
	closed *int
}

func (c checked) Check(context.Context) error { return c.err }
func (c checked) Close(context.Context) error { *c.closed++; return nil }

// Every node that can be asked is asked, each error names its node, and a run that is not started leaves nothing behind.
func TestCheck(t *testing.T) {
	closed := 0
	plugin := func(name string, fuses bool, err error) sdk.Plugin {
		return sdk.Plugin{
			Spec: sdk.Spec{Kind: sdk.KindSink, Type: name, Doc: "can be asked", Config: func() any { return &struct{}{} }, Fuses: fuses},
			Sink: func(*sdk.Env, any) (sdk.Sink, error) { return checked{err: err, closed: &closed}, nil },
		}
	}
	r := running(t, newStores(), `
sources:
  in: {type: count}
sinks:
  a: {type: wrong}
  b: {type: fine}
  c: {type: wrongfused}
`, plugin("wrong", false, errors.New("no such table")), plugin("fine", false, nil), plugin("wrongfused", true, errors.New("no such file")))
	var said []string
	for _, err := range r.Check(t.Context()) {
		said = append(said, err.Error())
	}
	if got, want := strings.Join(said, "; "), "sinks.a: no such table; sinks.c: no such file"; got != want && got != "sinks.c: no such file; sinks.a: no such table" {
		t.Errorf("said %q, want %q", got, want)
	}
	r.Discard()
	if closed < 3 {
		t.Errorf("%d sinks were closed of 3", closed)
	}
	select {
	case <-r.Done():
	default:
		t.Error("a run that is given up is not done")
	}
}
