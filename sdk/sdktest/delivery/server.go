package delivery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/rpc"
	"sync"
)

// Server keeps a world behind a Unix socket for workers that are killed and started again. It is no more than [Memory] behind
// net/rpc.
type Server struct {
	listener net.Listener
	work     sync.WaitGroup
	mu       sync.Mutex
	conns    map[net.Conn]bool
	closed   bool
}

// Serve listens on the socket at path and answers out of m until Close.
func Serve(path string, m *Memory) (*Server, error) {
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on the broker's socket: %w", err)
	}
	r := rpc.NewServer()
	if err := r.RegisterName("Broker", &service{m}); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	s := &Server{listener: l, conns: map[net.Conn]bool{}}
	s.work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			if s.closed {
				s.mu.Unlock()
				c.Close()
				return
			}
			s.conns[c] = true
			s.work.Go(func() {
				r.ServeConn(c)
				s.mu.Lock()
				delete(s.conns, c)
				s.mu.Unlock()
			})
			s.mu.Unlock()
		}
	})
	return s, nil
}

// Close ends the service and every connection.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	err := s.listener.Close()
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.work.Wait()
	return err
}

// Request is the argument of every call to a Server, with those fields that the call has. (net/rpc wants it exported.)
type Request struct {
	Partition  uint32
	Life       uint64
	From, Upto int64
	Most       int
	Member     string
	Positions  map[uint32]Committed
	Write      Write
	Records    []Record
}

// Response is the result of every call to a Server.
type Response struct {
	Config    Config
	Fetched   Fetched
	Member    string
	Assigned  Assignment
	Committed Committed
	Written   Written
	Tally     *Tally
	Err       int // index into wireErrors + 1
}

// wireErrors are the errors that mean something to a client.
var wireErrors = []error{ErrUnknownMember, ErrDown, ErrLate}

type service struct{ m *Memory }

func (s *service) reply(a *Response, err error) error {
	for i, e := range wireErrors {
		if errors.Is(err, e) {
			a.Err = i + 1
			return nil
		}
	}
	return err
}

func (s *service) Config(_ Request, a *Response) (err error) {
	a.Config, err = s.m.Config(context.Background())
	return s.reply(a, err)
}

func (s *service) Fetch(q Request, a *Response) (err error) {
	a.Fetched, err = s.m.Fetch(context.Background(), q.Partition, q.From, q.Upto, q.Most)
	return s.reply(a, err)
}

func (s *service) Join(_ Request, a *Response) (err error) {
	a.Member, err = s.m.Join(context.Background())
	return s.reply(a, err)
}

func (s *service) Beat(q Request, a *Response) (err error) {
	a.Assigned, err = s.m.Beat(context.Background(), q.Member)
	return s.reply(a, err)
}

func (s *service) Release(q Request, a *Response) error {
	return s.reply(a, s.m.Release(context.Background(), q.Member, q.Partition, q.Life))
}

func (s *service) Leave(q Request, a *Response) error {
	return s.reply(a, s.m.Leave(context.Background(), q.Member))
}

func (s *service) Commit(q Request, a *Response) error {
	return s.reply(a, s.m.Commit(context.Background(), q.Member, q.Positions))
}

func (s *service) Committed(q Request, a *Response) (err error) {
	a.Committed, err = s.m.Committed(context.Background(), q.Partition)
	return s.reply(a, err)
}

func (s *service) Write(q Request, a *Response) (err error) {
	a.Written, err = s.m.Write(context.Background(), q.Write)
	return s.reply(a, err)
}

func (s *service) Dropped(q Request, a *Response) error {
	return s.reply(a, s.m.Dropped(context.Background(), q.Records))
}

func (s *service) Tally(_ Request, a *Response) (err error) {
	a.Tally, err = s.m.Tally(context.Background())
	return s.reply(a, err)
}
