package durable

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// File is a file that is being written under a temporary name. It is used by one goroutine at a time.
type File struct {
	f       *os.File
	path    string // what it will be called
	temp    string // what it is called
	mode    fs.FileMode
	replace bool
	synced  bool
	named   bool // it has its name, and the directory may not be on disk yet
}

// Create begins a file that takes the place of path, if there is one, at Commit. Several may be under way for one path: the last that is
// committed stays.
func Create(path string, mode fs.FileMode) (*File, error) {
	return create(path, mode, true)
}

// CreateNew begins a file that takes no other's place: an error is fs.ErrExist if there is one, or if another with this name is under way.
func CreateNew(path string, mode fs.FileMode) (*File, error) {
	return create(path, mode, false)
}

func create(path string, mode fs.FileMode, replace bool) (*File, error) {
	f := &File{path: path, mode: mode, replace: replace}
	for range 10_000 {
		err := f.open()
		switch {
		case err == nil:
		case errors.Is(err, fs.ErrExist) && replace, errors.Is(err, errTaken):
			continue
		default:
			return nil, explain("making a file in "+filepath.Dir(path), err)
		}
		if !replace {
			if _, err := os.Lstat(path); err == nil {
				f.Discard()
				return nil, &Error{What: "making the file " + path, Err: fs.ErrExist}
			}
		}
		return f, nil
	}
	return nil, &Error{What: "making a file in " + filepath.Dir(path), Err: errTaken}
}

// errTaken says that somebody who removes what was left took the file between its making and its locking.
var errTaken = errors.New("another process removes each file as it is made")

// open makes the temporary file, and locks it where the file system can.
func (f *File) open() (err error) {
	dir, name := filepath.Split(f.path)
	f.temp = filepath.Join(dir, Prefix+name)
	if f.replace {
		f.temp += "-" + strconv.FormatUint(rand.Uint64(), 36)
	}
	if err := fault("create", f.temp); err != nil {
		return err
	}
	// It is read again only if its name is lost.
	if f.f, err = os.OpenFile(f.temp, os.O_CREATE|os.O_EXCL|os.O_RDWR, f.mode); err != nil {
		return err
	}
	err = lock(f.f)
	if errors.Is(err, syscall.EWOULDBLOCK) || err == nil && !is(f.temp, f.f) {
		f.f.Close()
		return errTaken
	}
	return nil
}

// Path is what the file will be called, and Temporary what it is called until then.
func (f *File) Path() string      { return f.path }
func (f *File) Temporary() string { return f.temp }

// Write appends p. After an error the first n bytes of p are in the file; writing may go on with the rest.
func (f *File) Write(p []byte) (n int, err error) {
	if err = fault("write", f.temp); err == nil {
		f.synced = false
		n, err = f.f.Write(p)
	}
	if err != nil {
		return n, explain("writing to "+f.temp, err)
	}
	return n, nil
}

// Sync has on disk what was written. Commit does so too; called before, it leaves to Commit only what is quick.
func (f *File) Sync() error {
	if f.synced {
		return nil
	}
	err := fault("sync", f.temp)
	if err == nil {
		err = f.f.Sync()
	}
	if err != nil {
		e := explain("the disk lost what was written to "+f.temp, err).(*Error)
		e.Lost = true
		return e
	}
	f.synced = true
	return nil
}

// Commit makes the file durable under its name and closes it. After an error the file is there still, under its temporary name, and
// Commit may be called again, unless the error is Lost. A file that has lost its temporary name, because its directory was removed or
// moved, is written again from what is open: as long as the process lives nothing is gone.
func (f *File) Commit() error {
	if !f.named {
		if err := f.name(); err != nil {
			return err
		}
	}
	if err := syncDir(filepath.Dir(f.path)); err != nil {
		f.unname()
		return err
	}
	f.f.Close() // all of it is on disk
	f.f = nil
	return nil
}

// name syncs the file and renames it.
func (f *File) name() error {
	if !is(f.temp, f.f) {
		if err := f.again(); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	err := fault("rename", f.temp)
	if err == nil {
		err = os.Rename(f.temp, f.path)
	}
	if err != nil {
		return explain("giving "+f.temp+" its name", err)
	}
	f.named = true
	return nil
}

// unname takes the name back when it could not be made durable: nobody shall find a file that a power cut may take away. One that
// took another's place keeps it, for the other is gone.
func (f *File) unname() {
	if !f.replace && is(f.path, f.f) && os.Rename(f.path, f.temp) == nil {
		f.named = false
		return
	}
	f.named = is(f.path, f.f)
}

// again writes the file to a new one, for its own has no name in its directory any more.
func (f *File) again() error {
	next := &File{path: f.path, mode: f.mode, replace: f.replace}
	if err := next.open(); err != nil {
		return explain("making "+f.temp+", which was removed, again", err)
	}
	err := fault("copy", next.temp)
	if _, there := os.Lstat(f.path); err == nil && !f.replace && there == nil {
		err = fs.ErrExist
	}
	if err == nil {
		_, err = io.Copy(next.f, io.NewSectionReader(f.f, 0, 1<<62))
	}
	if err != nil {
		next.Discard()
		return explain("writing "+f.temp+", which was removed, again", err)
	}
	f.f.Close()
	f.f, f.temp, f.synced = next.f, next.temp, false
	return nil
}

// Discard gives the file up: it removes what has its temporary name, and closes it. A file that has taken its name and could not be made
// durable loses it, unless it took another's place. After Commit there is nothing to discard.
func (f *File) Discard() error {
	if f.f == nil {
		return nil
	}
	var err error
	for _, path := range []string{f.temp, f.path} {
		if is(path, f.f) && (path == f.temp || !f.replace) {
			err = errors.Join(err, os.Remove(path))
		}
	}
	err = errors.Join(err, f.f.Close())
	f.f = nil
	if err != nil {
		return fmt.Errorf("giving up %s: %w", f.temp, err)
	}
	return nil
}
