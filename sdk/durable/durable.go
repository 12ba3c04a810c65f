// Package durable puts files into their place so that they survive: whoever opens one, after a crash, a kill or a power cut, finds what
// it held before or what it was to hold, whole, and never a part.
//
// A file is written under a temporary name in the directory it will be in, synced, renamed, and then the directory is synced: without the
// last a power cut may bring the old file back, although the new one's data is on disk. [Write] does that for a few bytes, [Create] and
// [CreateNew] for a file that is written bit by bit. What goes wrong is an [*Error], which says where and what to do; except for what
// the disk has lost, the same call may be tried again.
//
// A temporary file is locked (flock) as long as somebody writes it. A process that is killed leaves it behind; [RemoveLeft] removes those
// that nobody has locked. On file systems without locks nothing is removed.
package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Prefix begins the names of temporary files; what follows begins with the name the file will have.
const Prefix = ".tmp-"

// Modes of what Write makes: state is for the user that Weir runs as, and may be read by its group.
const (
	dirMode  fs.FileMode = 0o750
	fileMode fs.FileMode = 0o640
)

// fault is asked before each step, by what it does and to which path; tests answer with errors.
var fault = func(op, path string) error { return nil }

// Write makes data the content of the file path, and the directories it is in. When it returns nil the file and its name are on
// disk. After an error what was there before is there still, or the new file, if all that failed was to put its name on disk.
func Write(path string, data []byte) error {
	if err := MkdirAll(filepath.Dir(path), dirMode); err != nil {
		return err
	}
	f, err := Create(path, fileMode)
	if err != nil {
		return err
	}
	if _, err = f.Write(data); err == nil {
		err = f.Commit()
	}
	if err != nil {
		f.Discard()
	}
	return err
}

// MkdirAll makes a directory and those it is in, as os.MkdirAll does, and has the names of the new ones on disk when it returns.
func MkdirAll(dir string, mode fs.FileMode) error {
	dir = filepath.Clean(dir)
	var made []string
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(d); !errors.Is(err, fs.ErrNotExist) || d == filepath.Dir(d) {
			break // what is wrong with it, if anything, MkdirAll says
		}
		made = append(made, d)
	}
	err := fault("mkdir", dir)
	if err == nil {
		err = os.MkdirAll(dir, mode)
	}
	if err != nil {
		return explain("making the directory "+dir, err)
	}
	for i := len(made) - 1; i >= 0; i-- {
		if err := syncDir(filepath.Dir(made[i])); err != nil {
			return err
		}
	}
	return nil
}

// syncDir makes the names in a directory durable. Some file systems cannot, and need not.
func syncDir(dir string) error {
	err := fault("sync directory", dir)
	var d *os.File
	if err == nil {
		d, err = os.Open(dir)
	}
	if err == nil {
		err = errors.Join(d.Sync(), d.Close())
	}
	if err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return explain("putting the names in "+dir+" on disk", err)
	}
	return nil
}

// RemoveLeft removes the temporary files in dir that processes which are no more have left, and says which. ours is asked about what
// follows [Prefix] in a name: of [CreateNew] the name the file was to have, of [Create] and [Write] that, a dash and a number. A
// directory that is not there has none.
func RemoveLeft(dir string, ours func(name string) bool) (removed []string, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, explain("looking for unfinished files in "+dir, err)
	}
	for _, e := range entries {
		name, temporary := strings.CutPrefix(e.Name(), Prefix)
		if !temporary || !e.Type().IsRegular() || !ours(name) {
			continue
		}
		path := filepath.Join(dir, e.Name())
		gone, err := removeUnlocked(path)
		if err != nil {
			return removed, explain("removing the unfinished file "+path, err)
		}
		if gone {
			removed = append(removed, e.Name())
		}
	}
	return removed, nil
}

// removeUnlocked removes a file that nobody has locked.
func removeUnlocked(path string) (bool, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	if lock(f) != nil || !is(path, f) {
		return false, nil // somebody writes it, or has just renamed it
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	return true, nil
}

// lock takes the lock of an open file, or says why not: somebody has it, or the file system has no locks.
func lock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }

// is says whether path is the open file f.
func is(path string, f *os.File) bool {
	here, err := os.Lstat(path)
	if err != nil {
		return false
	}
	open, err := f.Stat()
	return err == nil && os.SameFile(here, open)
}
