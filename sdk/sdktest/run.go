package sdktest

import (
	"fmt"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/weirflow/weir/sdk"
)

// patience is how long a call may take that should return at once (changed by the suite's own tests only).
var patience = 20 * time.Second

// subtest runs f as a subtest where t can have one.
func subtest(t testing.TB, name string, f func(testing.TB)) {
	t.Helper()
	if tt, ok := t.(*testing.T); ok {
		tt.Run(name, func(t *testing.T) { f(t) })
		return
	}
	if r, ok := t.(interface {
		Run(string, func(testing.TB)) bool
	}); ok {
		r.Run(name, f)
		return
	}
	f(t)
}

// guard calls f and turns a panic of the plugin into an error that says where.
func guard(call string, f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s panicked: %v\n%s", call, p, debug.Stack())
		}
	}()
	return f()
}

// within calls f on a goroutine of its own and fails the test when it has not returned in time.
func within(t testing.TB, d time.Duration, call string, f func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- guard(call, f) }()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		t.Fatalf("%s has not returned after %v", call, d)
		return nil
	}
}

// checkSpec checks what can be said of a specification alone.
func checkSpec(t testing.TB, s *sdk.Spec, kind sdk.Kind) {
	t.Helper()
	if s.Kind != kind {
		t.Fatalf("Spec.Kind is %q, want %q", s.Kind, kind)
	}
	if !constant.MatchString(s.Type) {
		t.Errorf("Spec.Type is %q: users write it, in snake_case", s.Type)
	}
	if s.Doc == "" {
		t.Error("Spec.Doc is empty: one line that says what the plugin is for")
	}
	if s.Selections && (kind == sdk.KindSource || kind == sdk.KindSink && !s.Fuses) {
		t.Error("Spec.Selections of a source, or of a sink behind a queue: no selection ever comes there")
	}
	for _, r := range slices.Concat(s.Reasons, s.Losses) {
		if !constant.MatchString(string(r)) {
			t.Errorf("reason %q is not a constant in snake_case: it is a metric label", r)
		}
	}
	if s.Config != nil {
		if a, b := s.Config(), s.Config(); a == b && a != nil {
			t.Error("Spec.Config returned one pointer twice: two nodes would share a configuration")
		}
	}
}

// configOf is cfg, or the specification's own.
func configOf(s *sdk.Spec, cfg any) any {
	if cfg == nil && s.Config != nil {
		return s.Config()
	}
	return cfg
}

// outputs resolves the schema of each port as the plan does.
func outputs(t testing.TB, s *sdk.Spec, cfg any, in *sdk.Schema) []*sdk.Schema {
	t.Helper()
	ports := s.PortNames(cfg)
	if s.Output == nil {
		if s.Kind == sdk.KindSource {
			t.Fatal("a source needs Spec.Output: it has no input whose schema it could hand on")
		}
		out := make([]*sdk.Schema, len(ports))
		for i := range out {
			out[i] = in
		}
		return out
	}
	if s.Input != nil {
		if err := s.Input(cfg, in); err != nil {
			t.Fatalf("Spec.Input refuses the case's schema: %v", err)
		}
	}
	out, err := s.Output(cfg, in)
	if err != nil {
		t.Fatalf("Spec.Output: %v", err)
	}
	if len(out) != len(ports) {
		t.Fatalf("Spec.Output answers %d schemas for the %d ports %v", len(out), len(ports), ports)
	}
	return out
}
