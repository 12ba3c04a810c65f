package parquet

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/durable"
)

// output is a durable.File.
type output interface {
	io.Writer
	Sync() error
	Commit() error
	Discard() error
}

// file is one output file under its unfinished name.
type file struct {
	out     output
	path    string // what it will be called
	size    int64  // bytes given to Write
	backlog []byte // of those, what the disk has not taken
}

// create makes a file under a name that nobody uses.
func create(dir, prefix string, now time.Time, lane int, number *atomic.Uint64) (*file, error) {
	stamp := now.UTC().Format("20060102T150405Z")
	for range 10_000 {
		f, err := durable.CreateNew(filepath.Join(dir, fmt.Sprintf("%s-%s-%d-%06d.parquet", prefix, stamp, lane, number.Add(1))), 0o644)
		if errors.Is(err, os.ErrExist) {
			continue
		}
		if err != nil {
			return nil, transient(err)
		}
		return &file{out: f, path: f.Path()}, nil
	}
	return nil, &sdk.Error{Class: sdk.Fatal, Code: "names", Err: fmt.Errorf("10,000 names for a file in %s are taken: move the files there away", dir)}
}

// Write takes all of p: what the disk does not take stays in memory until drain. So the Parquet encoder never sees an error it
// could not go on from.
func (f *file) Write(p []byte) (int, error) {
	f.size += int64(len(p))
	n := 0
	if len(f.backlog) == 0 {
		n, _ = f.out.Write(p) // drain tries again, and says why not
	}
	f.backlog = append(f.backlog, p[n:]...)
	return len(p), nil
}

// drain writes the backlog; its error may be temporary.
func (f *file) drain() error {
	for len(f.backlog) > 0 {
		n, err := f.out.Write(f.backlog)
		f.backlog = f.backlog[n:]
		if err != nil {
			return transient(err)
		}
	}
	f.backlog = nil
	return nil
}

// publish makes the complete file durable under its final name, unless over says, when its data is on disk, that nobody waits for it any
// more. It may be called again, unless the error says that the disk lost what was written.
func (f *file) publish(over func() error) error {
	if err := f.drain(); err != nil {
		return err
	}
	if err := f.out.Sync(); err != nil {
		return transient(err)
	}
	if err := over(); err != nil {
		return err
	}
	if err := f.out.Commit(); err != nil {
		return transient(err)
	}
	return nil
}

// lost says whether what was written is gone: the file cannot be completed any more.
func lost(err error) bool {
	e, ok := errors.AsType[*durable.Error](err)
	return ok && e.Lost
}

// removeLeftovers removes unfinished files of this prefix that nobody writes, and says which.
func removeLeftovers(dir, prefix string) (removed []string, err error) {
	ours := regexp.MustCompile(`^` + regexp.QuoteMeta(prefix) + `-\d{8}T\d{6}Z-\d+-\d+\.parquet$`)
	return durable.RemoveLeft(dir, ours.MatchString)
}

// transient makes an error of the file system one of the sink: the same may work later.
func transient(err error) error {
	code := "write"
	if e, ok := errors.AsType[*durable.Error](err); ok {
		code = e.Code()
	}
	return &sdk.Error{Class: sdk.Transient, Code: code, Err: err}
}
