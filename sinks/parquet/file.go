package parquet

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/weirflow/weir/sdk"
)

const unfinished = ".tmp-"

// file is one output file under its unfinished name. It is locked as long as it is open, which tells other processes, and the next
// generation of this one, that somebody writes it.
type file struct {
	f       *os.File
	dir     string
	name    string // what it will be called
	size    int64  // bytes given to Write
	backlog []byte // of those, what the disk has not taken
	failed  error  // a write that the backlog waits for
	synced  bool
}

// create makes a file under a name that nobody uses: a temporary name stands for its final one, so whoever made the first may use
// the second if it is not there yet.
func create(dir, prefix string, now time.Time, lane int, number *atomic.Uint64) (*file, error) {
	stamp := now.UTC().Format("20060102T150405Z")
	for range 10_000 {
		name := fmt.Sprintf("%s-%s-%d-%06d.parquet", prefix, stamp, lane, number.Add(1))
		f, err := os.OpenFile(filepath.Join(dir, unfinished+name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return nil, explain("a file cannot be made in "+dir, err)
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil && !errors.Is(err, syscall.ENOTSUP) {
			f.Close()
			os.Remove(f.Name())
			return nil, explain("the new file "+f.Name()+" cannot be locked", err)
		}
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			f.Close()
			os.Remove(f.Name())
			continue
		}
		return &file{f: f, dir: dir, name: name}, nil
	}
	return nil, &sdk.Error{Class: sdk.Fatal, Code: "names", Err: fmt.Errorf("10,000 names for a file in %s are taken: move the files there away", dir)}
}

// Write takes all of p: what the disk does not take stays in memory until drain. So the Parquet encoder never sees an error it
// could not go on from.
func (f *file) Write(p []byte) (int, error) {
	f.size += int64(len(p))
	if len(f.backlog) == 0 && f.failed == nil {
		n, err := f.f.Write(p)
		if err == nil {
			return len(p), nil
		}
		f.failed = err
		f.backlog = append(f.backlog, p[n:]...)
		return len(p), nil
	}
	f.backlog = append(f.backlog, p...)
	return len(p), nil
}

// drain writes the backlog; its error may be temporary.
func (f *file) drain() error {
	for len(f.backlog) > 0 {
		n, err := f.f.Write(f.backlog)
		f.backlog = f.backlog[n:]
		if err != nil {
			return explain("writing to "+filepath.Join(f.dir, unfinished+f.name), err)
		}
	}
	f.backlog, f.failed = nil, nil
	return nil
}

// lostError says that what was written is gone: after a failed fsync the kernel may have thrown it away.
type lostError struct{ err error }

func (e *lostError) Error() string { return "the disk lost what was written: " + e.err.Error() }
func (e *lostError) Unwrap() error { return e.err }

// publish makes the complete file durable under its final name. It may be called again after an error that is no lostError.
func (f *file) publish() error {
	if err := f.drain(); err != nil {
		return err
	}
	if !f.synced {
		if err := f.f.Sync(); err != nil {
			return &lostError{err}
		}
		f.synced = true
	}
	if err := os.Rename(f.f.Name(), filepath.Join(f.dir, f.name)); err != nil {
		return explain("giving "+f.f.Name()+" its name", err)
	}
	f.f.Close() // all of it is on disk
	if err := syncDir(f.dir); err != nil {
		return &lostError{fmt.Errorf("the directory %s: %w", f.dir, err)}
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return err
	}
	return nil
}

// remove gives the file up.
func (f *file) remove() {
	os.Remove(f.f.Name())
	f.f.Close()
}

// removeLeftovers removes unfinished files of this prefix that nobody has locked, and says which.
func removeLeftovers(dir, prefix string) (removed []string, err error) {
	ours := regexp.MustCompile(`^\.tmp-` + regexp.QuoteMeta(prefix) + `-\d{8}T\d{6}Z-\d+-\d+\.parquet$`)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if !ours.MatchString(e.Name()) || !e.Type().IsRegular() {
			continue
		}
		path := filepath.Join(dir, e.Name())
		f, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return removed, err
		}
		if syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			if err = os.Remove(path); err == nil {
				removed = append(removed, e.Name())
			}
		}
		f.Close()
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return removed, err
		}
	}
	return removed, nil
}

// explain makes an error of the file system one of the sink.
func explain(what string, err error) error {
	code, do := "write", ""
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		code, do = "disk_full", ": free some space"
	case errors.Is(err, os.ErrNotExist):
		code, do = "no_directory", ": make the directory again"
	case errors.Is(err, os.ErrPermission), errors.Is(err, syscall.EROFS):
		code, do = "not_writable", ": let the user that Weir runs as write there"
	}
	if e, ok := errors.AsType[*os.PathError](err); ok {
		err = e.Err // what names the file already
	} else if e, ok := errors.AsType[*os.LinkError](err); ok {
		err = e.Err
	}
	return &sdk.Error{Class: sdk.Transient, Code: code, Err: fmt.Errorf("%s: %w%s", what, err, do)}
}
