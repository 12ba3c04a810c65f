package durable

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// small mounts a file system of 64 KiB and returns where, and how to mount it again, read-only or not.
func small(t *testing.T) (dir string, remount func(flags uintptr)) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may mount a small file system")
	}
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skip("no file system may be mounted here:", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir, func(flags uintptr) {
		t.Helper()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
}

// A disk that has no room for both files keeps the old one; when there is room the new one comes.
func TestFullDisk(t *testing.T) {
	dir, _ := small(t)
	path, ballast := filepath.Join(dir, "state"), filepath.Join(dir, "ballast")
	if err := Write(path, before); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(ballast, make([]byte, 16<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	err := Write(path, after)
	if e, ok := errors.AsType[*Error](err); !ok || e.Code() != "disk_full" {
		t.Error(err)
	}
	if d := cmp.Diff([]string{"ballast", "state"}, names(t, dir)); d != "" || !bytes.Equal(content(t, path), before) {
		t.Errorf("it holds %.20q (-want +there): %s", content(t, path), d)
	}
	if err := errors.Join(os.Remove(ballast), os.Truncate(path, 0)); err != nil { // the new one is larger than the half of the disk
		t.Fatal(err)
	}
	if err := Write(path, after); err != nil || !bytes.Equal(content(t, path), after) {
		t.Error(err)
	}
}

// A file system that is read-only keeps what it has, and takes more when it is not any more. It does not become so while a file is written.
func TestReadOnlyDisk(t *testing.T) {
	dir, remount := small(t)
	path := filepath.Join(dir, "state")
	if err := Write(path, []byte("before")); err != nil {
		t.Fatal(err)
	}
	f, err := CreateNew(filepath.Join(dir, "new"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); !errors.Is(err, syscall.EBUSY) {
		t.Error("it became read-only while a file was open for writing:", err)
	}
	if _, err := f.Write([]byte("new")); err != nil {
		t.Error(err)
	}
	if err := f.Commit(); err != nil {
		t.Error(err)
	}
	remount(syscall.MS_RDONLY)
	err = Write(path, []byte("after"))
	if e, ok := errors.AsType[*Error](err); !ok || e.Code() != "not_writable" {
		t.Error(err)
	}
	if got := content(t, path); string(got) != "before" {
		t.Errorf("it holds %q", got)
	}
	remount(0)
	if err := Write(path, []byte("after")); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff([]string{"new", "state"}, names(t, dir)); d != "" {
		t.Error("(-want +there):", d)
	}
}
