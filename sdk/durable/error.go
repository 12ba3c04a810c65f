package durable

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// Error is what went wrong with a file or directory: what was done, to which path, why not, and what to do.
type Error struct {
	What string // "giving /a/.tmp-b its name"
	Do   string // what to do, as a clause; may be empty
	Err  error  // of the system, without the path
	// Lost says that the file's data may be gone though the system took it: after a failed fsync the kernel throws it away. The file
	// is to be discarded and written anew.
	Lost bool
}

func (e *Error) Error() string {
	s := e.What + ": " + e.Err.Error()
	if e.Do != "" {
		s += ": " + e.Do
	}
	return s
}
func (e *Error) Unwrap() error { return e.Err }

// Code is a constant for the kind of fault: disk_full, no_directory, not_writable, sync (Lost), else write.
func (e *Error) Code() string {
	if e.Lost {
		return "sync"
	}
	code, _ := faultOf(e.Err)
	return code
}

func faultOf(err error) (code, do string) {
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "disk_full", "free some space"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ESTALE):
		return "no_directory", "make the directory again"
	case errors.Is(err, syscall.ENOTDIR):
		return "no_directory", "move away what is in the directory's place"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return "not_writable", "let the user that Weir runs as write there"
	case errors.Is(err, syscall.EIO):
		return "write", "the disk fails, the kernel's log says how"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "write", "raise the limit of open files"
	}
	return "write", ""
}

// explain says what an error of the file system is about.
func explain(what string, err error) error {
	if e, ok := errors.AsType[*os.PathError](err); ok {
		err = e.Err // what names the file already
	} else if e, ok := errors.AsType[*os.LinkError](err); ok {
		err = e.Err
	}
	_, do := faultOf(err)
	return &Error{What: what, Do: do, Err: err}
}
