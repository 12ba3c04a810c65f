package durable

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The old content and the new are of several pages, so that a part of one would be seen.
var (
	before = bytes.Repeat([]byte("before "), 5_000)
	after  = bytes.Repeat([]byte("after "), 9_000)
)

// failing makes step n (from 0) fail with err until the test ends, and returns the steps that are done.
func failing(t *testing.T, n int, err error) *[]string {
	t.Helper()
	var steps []string
	fault = func(op, _ string) error {
		steps = append(steps, op)
		if len(steps) == n+1 {
			return err
		}
		return nil
	}
	t.Cleanup(sound)
	return &steps
}

// sound ends all faults.
func sound() { fault = func(string, string) error { return nil } }

func names(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func content(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// steps of a Write into a directory that is there, in their order: the data is on disk before it has the name, the name before Write
// returns.
var steps = []string{"mkdir", "create", "write", "sync", "rename", "sync directory"}

func TestTheOrderOfSteps(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	got := failing(t, -1, nil)
	if err := Write(path, after); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(steps, *got); d != "" {
		t.Error("(-want +done):", d)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != fileMode {
		t.Error(info.Mode(), err)
	}
}

// Whatever fails, the file holds what it held or what it was to hold, nothing is left beside it, the error says where and what to do, and
// the next Write works.
func TestEachStepMayFail(t *testing.T) {
	for i, op := range steps {
		t.Run(op, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "state")
			if err := Write(path, before); err != nil {
				t.Fatal(err)
			}
			failing(t, i, syscall.ENOSPC)
			err := Write(path, after)
			e, ok := errors.AsType[*Error](err)
			if !ok || !strings.Contains(e.What, dir) || !strings.HasSuffix(err.Error(), ": no space left on device: free some space") || e.Lost != (op == "sync") ||
				e.Lost != (e.Code() == "sync") || !e.Lost && e.Code() != "disk_full" {
				t.Errorf("%v (%#v)", err, e)
			}
			want := before
			if op == "sync directory" {
				want = after
			}
			if !bytes.Equal(content(t, path), want) {
				t.Errorf("it holds %.20q", content(t, path))
			}
			if d := cmp.Diff([]string{"state"}, names(t, dir)); d != "" {
				t.Error("(-want +left):", d)
			}
			sound()
			if err := Write(path, after); err != nil || !bytes.Equal(content(t, path), after) {
				t.Error(err)
			}
		})
	}
}

// A process that is killed at any step leaves the old content or the new, and what else it leaves is removed.
func TestKilledAtEachStep(t *testing.T) {
	if path := os.Getenv("WEIR_TEST_KILLED"); path != "" {
		var step int
		fmt.Sscan(os.Getenv("WEIR_TEST_STEP"), &step)
		fault = func(string, string) error {
			if step--; step < 0 {
				syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
			return nil
		}
		t.Fatal("it lived to the end:", Write(path, after))
	}
	for i, op := range steps {
		dir := t.TempDir()
		path := filepath.Join(dir, "state")
		if err := Write(path, before); err != nil {
			t.Fatal(err)
		}
		child := exec.Command(os.Args[0], "-test.run=^TestKilledAtEachStep$")
		child.Env = append(os.Environ(), "WEIR_TEST_KILLED="+path, fmt.Sprint("WEIR_TEST_STEP=", i))
		out, err := child.CombinedOutput()
		if e, ok := errors.AsType[*exec.ExitError](err); !ok || e.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("%v: %s", err, out)
		}
		want, left := before, 0
		if slices.Index(steps, "create") < i && i <= slices.Index(steps, "rename") {
			left = 1
		}
		if op == "sync directory" {
			want = after
		}
		removed, err := RemoveLeft(dir, func(name string) bool { return strings.HasPrefix(name, "state-") })
		if err != nil || len(removed) != left {
			t.Errorf("killed at %q: removed %v, %v", op, removed, err)
		}
		if d := cmp.Diff([]string{"state"}, names(t, dir)); d != "" || !bytes.Equal(content(t, path), want) {
			t.Errorf("killed at %q: it holds %.20q (-want +left): %s", op, content(t, path), d)
		}
	}
}

// Only files that nobody writes are removed, and of those only ours.
func TestRemoveLeft(t *testing.T) {
	dir := t.TempDir()
	open, err := Create(filepath.Join(dir, "a"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Discard()
	for _, n := range []string{".tmp-a-1", ".tmp-b-1", "a", "a-1", "tmp-a-2"} {
		if err := os.WriteFile(filepath.Join(dir, n), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("a", filepath.Join(dir, ".tmp-a-2")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, ".tmp-a-3"), 0o700); err != nil {
		t.Fatal(err)
	}
	removed, err := RemoveLeft(dir, func(name string) bool { return strings.HasPrefix(name, "a-") })
	if d := cmp.Diff([]string{".tmp-a-1"}, removed); d != "" || err != nil {
		t.Errorf("%v (-want +removed): %s", err, d)
	}
	if removed, err := RemoveLeft(filepath.Join(dir, "none"), func(string) bool { return true }); removed != nil || err != nil {
		t.Error(removed, err)
	}
}

// Several that write one file at once, while others remove what was left: it is whole at all times, and every Write works.
func TestManyWritersAtOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	if err := Write(path, before); err != nil {
		t.Fatal(err)
	}
	var writers, others sync.WaitGroup
	done := make(chan struct{})
	for _, text := range [][]byte{before, after, before} {
		writers.Go(func() {
			for range 30 {
				if err := Write(path, text); err != nil {
					t.Error(err)
				}
			}
		})
	}
	others.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if _, err := RemoveLeft(dir, func(string) bool { return true }); err != nil {
				t.Error(err)
			}
			if b := content(t, path); !bytes.Equal(b, before) && !bytes.Equal(b, after) {
				t.Errorf("%d bytes that nobody wrote", len(b))
			}
		}
	})
	writers.Wait()
	close(done)
	others.Wait()
	if d := cmp.Diff([]string{"state"}, names(t, dir)); d != "" {
		t.Error("(-want +left):", d)
	}
}

// The directories are made, and what is wrong with them is said.
func TestDirectories(t *testing.T) {
	dir := t.TempDir()
	got := failing(t, -1, nil)
	if err := Write(filepath.Join(dir, "a", "b", "state"), after); err != nil {
		t.Fatal(err)
	}
	want := append([]string{"mkdir", "sync directory", "sync directory"}, steps[1:]...)
	if d := cmp.Diff(want, *got); d != "" {
		t.Error("(-want +done):", d)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := Write(filepath.Join(dir, "file", "state"), after)
	if e, ok := errors.AsType[*Error](err); !ok || e.Code() != "no_directory" || !strings.Contains(err.Error(), filepath.Join(dir, "file")) {
		t.Error(err)
	}
}

// An error says once where and, if anything helps, what to do.
func TestExplain(t *testing.T) {
	for errno, want := range map[error][2]string{
		syscall.ENOSPC:  {"disk_full", "no space left on device: free some space"},
		syscall.EDQUOT:  {"disk_full", "disk quota exceeded: free some space"},
		syscall.ENOENT:  {"no_directory", "no such file or directory: make the directory again"},
		syscall.ENOTDIR: {"no_directory", "not a directory: move away what is in the directory's place"},
		syscall.EACCES:  {"not_writable", "permission denied: let the user that Weir runs as write there"},
		syscall.EROFS:   {"not_writable", "read-only file system: let the user that Weir runs as write there"},
		syscall.EIO:     {"write", "input/output error: the disk fails, the kernel's log says how"},
		io.EOF:          {"write", "EOF"},
	} {
		for _, cause := range []error{errno, &os.PathError{Op: "write", Path: "x", Err: errno}, &os.LinkError{Op: "rename", Old: "x", New: "y", Err: errno}} {
			err := explain("writing to x", cause)
			if e := err.(*Error); err.Error() != "writing to x: "+want[1] || e.Code() != want[0] || e.Lost || !errors.Is(err, errno) {
				t.Errorf("%#v is %s: %v, want %v", cause, e.Code(), err, want)
			}
		}
	}
}
