package endpoint

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/weirflow/weir/sdk"
)

// Reader is a reader that can be told to stop, by another goroutine.
type Reader interface {
	sdk.Reader
	Stop()
}

// Readers is the part of an [sdk.Source] that hands out readers made before anything runs, so that a port in use is found then: one
// reader to each Accept, then [io.EOF].
type Readers[R Reader] struct {
	Opened []R // all of them; not changed once Accept has been called

	mu      sync.Mutex
	given   int
	stopped bool
}

// Accept is [sdk.Source]'s.
func (s *Readers[R]) Accept(context.Context) (sdk.Reader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped || s.given == len(s.Opened) {
		return nil, io.EOF
	}
	s.given++
	return s.Opened[s.given-1], nil
}

// Stop is [sdk.Source]'s: it stops all readers.
func (s *Readers[R]) Stop(context.Context) error {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	for _, r := range s.Opened {
		r.Stop()
	}
	return nil
}

// Close closes the readers that nobody accepted; the others have been closed.
func (s *Readers[R]) Close(ctx context.Context) (err error) {
	s.mu.Lock()
	left := s.Opened[s.given:]
	s.given, s.stopped = len(s.Opened), true
	s.mu.Unlock()
	for _, r := range left {
		err = errors.Join(err, r.Close(ctx))
	}
	return err
}
