package sdktest

import (
	"bytes"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"sync"
)

// link is one end of the loop-back: calls and notices as encoded bytes over a pipe in memory, so that nothing crosses by pointer.
// Both ends are the same; each may call the other. Notices are handled in the order in which they were sent, before the answer
// to a call that was sent after them.
type link struct {
	in, out *frames
	parts   parts
	handle  func(ctx context.Context, name string, body []byte) (any, error)

	mu      sync.Mutex
	calls   map[uint64]chan frame // waiting for their answers
	running map[uint64]context.CancelFunc
	serial  uint64
	broken  error // notices that made no sense: the next answer brings them
	closed  chan struct{}
	work    sync.WaitGroup
}

// frame is all that travels.
type frame struct {
	Kind string // call, answer, notice, cancel
	ID   uint64
	Name string
	Body []byte
	Err  *wireError
}

// frames is one direction of the pipe. Sending never blocks.
type frames struct {
	mu   sync.Mutex
	more *sync.Cond
	q    [][]byte
	end  bool
}

func newFrames() *frames {
	f := &frames{}
	f.more = sync.NewCond(&f.mu)
	return f
}

func (f *frames) send(b []byte) {
	f.mu.Lock()
	f.q = append(f.q, b)
	f.more.Signal()
	f.mu.Unlock()
}

func (f *frames) next() ([]byte, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.q) == 0 {
		if f.end {
			return nil, false
		}
		f.more.Wait()
	}
	b := f.q[0]
	f.q = f.q[1:]
	return b, true
}

func (f *frames) close() {
	f.mu.Lock()
	f.end = true
	f.more.Broadcast()
	f.mu.Unlock()
}

// newLinks makes the two ends. Each handles what the other calls and notifies; both must be started.
func newLinks() (host, guest *link) {
	a, b := newFrames(), newFrames()
	mk := func(in, out *frames) *link {
		l := &link{in: in, out: out, calls: map[uint64]chan frame{}, running: map[uint64]context.CancelFunc{}, closed: make(chan struct{})}
		l.parts.link = l
		return l
	}
	return mk(a, b), mk(b, a)
}

func (l *link) start(handle func(ctx context.Context, name string, body []byte) (any, error)) {
	l.handle = handle
	l.work.Go(l.receive)
}

// stop ends both directions and waits for this end's goroutines. It may be called again.
func (l *link) stop() {
	l.mu.Lock()
	select {
	case <-l.closed:
	default:
		close(l.closed)
	}
	for _, cancel := range l.running {
		cancel()
	}
	l.mu.Unlock()
	l.in.close()
	l.out.close()
	l.work.Wait()
}

var errLinkClosed = errors.New("the loop-back is closed")

func (l *link) send(f frame, body any) {
	if body != nil {
		f.Body = encode(body)
	}
	l.out.send(encode(f))
}

// call asks the other end and waits for its answer, which is decoded into reply.
func (l *link) call(ctx context.Context, name string, args, reply any) error {
	answer := make(chan frame, 1)
	l.mu.Lock()
	l.serial++
	id := l.serial
	l.calls[id] = answer
	l.mu.Unlock()
	l.send(frame{Kind: "call", ID: id, Name: name}, args)
	done := ctx.Done()
	for {
		select {
		case f := <-answer:
			if reply != nil && f.Body != nil {
				decode(f.Body, reply)
			}
			l.mu.Lock()
			broken := l.broken
			l.broken = nil
			l.mu.Unlock()
			if broken != nil {
				return broken
			}
			return f.Err.error()
		case <-done:
			l.send(frame{Kind: "cancel", ID: id}, nil) // the answer says what became of it
			done = nil
		case <-l.closed:
			return errLinkClosed
		}
	}
}

// notify tells the other end something and does not wait.
func (l *link) notify(name string, args any) { l.send(frame{Kind: "notice", Name: name}, args) }

func (l *link) receive() {
	for {
		raw, ok := l.in.next()
		if !ok {
			return
		}
		var f frame
		decode(raw, &f)
		switch f.Kind {
		case "answer":
			l.mu.Lock()
			answer := l.calls[f.ID]
			delete(l.calls, f.ID)
			l.mu.Unlock()
			answer <- f
		case "cancel":
			l.mu.Lock()
			if cancel := l.running[f.ID]; cancel != nil {
				cancel()
			}
			l.mu.Unlock()
		case "notice":
			err := guard(f.Name, func() error { _, err := l.handle(context.Background(), f.Name, f.Body); return err })
			if err != nil {
				l.mu.Lock()
				l.broken = errors.Join(l.broken, fmt.Errorf("%s: %w", f.Name, err))
				l.mu.Unlock()
			}
		case "call":
			ctx, cancel := context.WithCancel(context.Background())
			l.mu.Lock()
			l.running[f.ID] = cancel
			l.mu.Unlock()
			// On a goroutine of its own: the callee may call back, and Accept blocks while readers are read.
			l.work.Go(func() {
				var reply any
				err := guard(f.Name, func() (err error) { reply, err = l.handle(ctx, f.Name, f.Body); return err })
				l.mu.Lock()
				delete(l.running, f.ID)
				l.mu.Unlock()
				cancel()
				l.send(frame{Kind: "answer", ID: f.ID, Err: wireErrorOf(err)}, reply)
			})
		}
	}
}

func encode(v any) []byte {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(v); err != nil {
		panic(fmt.Sprintf("sdktest: encode %T: %v", v, err))
	}
	return b.Bytes()
}

func decode(b []byte, v any) {
	if err := gob.NewDecoder(bytes.NewReader(b)).Decode(v); err != nil {
		panic(fmt.Sprintf("sdktest: decode %T: %v", v, err))
	}
}

// as decodes a message of a known type.
func as[T any](b []byte) (v T) {
	decode(b, &v)
	return v
}
