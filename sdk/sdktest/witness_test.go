package sdktest

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// witness is a testing.TB that writes down failures instead of having them.
type witness struct {
	testing.TB
	mu     sync.Mutex
	said   []string
	failed bool
	clean  []func()
}

// witnessed runs f and returns what it failed with.
func witnessed(t testing.TB, f func(testing.TB)) []string {
	w := &witness{TB: t}
	w.Run("", f)
	return w.said
}

func (w *witness) fail(s string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = true
	w.said = append(w.said, s)
}

func (w *witness) Run(_ string, f func(testing.TB)) bool {
	sub := &witness{TB: w.TB}
	var wg sync.WaitGroup
	wg.Go(func() {
		defer func() {
			for i := len(sub.clean) - 1; i >= 0; i-- {
				sub.clean[i]()
			}
		}()
		f(sub)
	})
	wg.Wait()
	for _, s := range sub.said {
		w.fail(s)
	}
	return !sub.failed
}

func (w *witness) Helper()                        {}
func (w *witness) Cleanup(f func())               { w.clean = append(w.clean, f) }
func (w *witness) Output() io.Writer              { return io.Discard }
func (w *witness) Log(...any)                     {}
func (w *witness) Logf(string, ...any)            {}
func (w *witness) Error(args ...any)              { w.fail(fmt.Sprintln(args...)) }
func (w *witness) Errorf(format string, a ...any) { w.fail(fmt.Sprintf(format, a...)) }
func (w *witness) Fail()                          { w.fail("failed") }
func (w *witness) Fatal(args ...any)              { w.Error(args...); runtime.Goexit() }
func (w *witness) Fatalf(format string, a ...any) { w.Errorf(format, a...); runtime.Goexit() }
func (w *witness) FailNow()                       { w.Fail(); runtime.Goexit() }
func (w *witness) Failed() bool                   { w.mu.Lock(); defer w.mu.Unlock(); return w.failed }

// wantFailure fails unless one of the failures contains what.
func wantFailure(t *testing.T, said []string, what string) {
	t.Helper()
	for _, s := range said {
		if strings.Contains(s, what) {
			return
		}
	}
	if len(said) == 0 {
		t.Fatalf("the suite passed it, want a failure that says %q", what)
	}
	t.Fatalf("want a failure that says %q, the suite says:\n%s", what, strings.Join(said, "\n"))
}
