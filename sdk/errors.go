package sdk

import (
	"errors"
	"fmt"
)

// Class of an error: what the core does about it.
type Class int

const (
	Transient Class = iota // the same block is tried again under the same key, after a back-off
	Permanent              // the rows at fault go to `errors`, the rest is written again under the same key
	Fatal                  // the pipeline stops
)

func (c Class) String() string {
	switch c {
	case Transient:
		return "transient"
	case Permanent:
		return "permanent"
	case Fatal:
		return "fatal"
	}
	return "class(?)"
}

// Error is what a sink's Write and its done answer with. An error of another type is Transient.
type Error struct {
	Class Class
	Code  string // a constant in snake_case: the label under which it is counted
	Rows  []int  // indices into the block's records of those at fault (with a selection, into its list); nil: all of it
	Err   error
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %v", e.Code, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// ClassOf is the class of err: that of the Error it wraps, else Transient.
func ClassOf(err error) Class {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Class
	}
	return Transient
}

// CodeOf is the constant under which err is counted: that of the Error it wraps, else "error".
func CodeOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok && e.Code != "" {
		return e.Code
	}
	return "error"
}

// NotReady is returned by a constructor, Check or Open when the environment, not the configuration, is at fault: a port in
// use, a missing capability or directory. The process then ends with exit code 75. Do says what the user can do, as a sentence.
type NotReady struct {
	What string // "UDP port 2055 is in use"
	Do   string // "stop the other process or choose another port"
	Err  error
}

func (e *NotReady) Error() string {
	s := e.What
	if e.Err != nil {
		s += " (" + e.Err.Error() + ")"
	}
	if e.Do != "" {
		s += ": " + e.Do
	}
	return s
}
func (e *NotReady) Unwrap() error { return e.Err }

// Problem is one fault in a plugin's configuration, found by Validate or when a schema is resolved. The core gives it its
// place in the file.
type Problem struct {
	Path    string // of the option below `with:`, "rules[2].when"; empty: the node itself
	Offset  int    // byte offset in the option's text, for expressions
	Code    string // a diagnostic code of the core, empty for the general one
	Message string // one sentence, without a full stop
	Help    string // what to do, optional
}

func (p *Problem) Error() string {
	if p.Path == "" {
		return p.Message
	}
	return p.Path + ": " + p.Message
}

// Problems is several faults at once.
type Problems []*Problem

func (ps Problems) Error() string {
	if len(ps) == 1 {
		return ps[0].Error()
	}
	return fmt.Sprintf("%s (and %d more)", ps[0].Error(), len(ps)-1)
}

// Err is nil if there are none.
func (ps Problems) Err() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}
