// Package admin is the HTTP interface of a running process: health, metrics, and what its pipelines do, as JSON.
//
//	GET /-/healthy                        200 while the process answers
//	GET /-/ready                          200 while every pipeline runs, else 503 and which does not
//	GET /metrics                          for Prometheus; METRICS.md lists them
//	GET /api/v1/pipelines                 state, ledger and queues of every pipeline
//	GET /api/v1/pipelines/{name}          of one
//	GET /api/v1/pipelines/{name}/graph    its graph; ?format= as `weir inspect graph`
//	GET /api/v1/pipelines/{name}/plan     its plan, as `weir plan -o json`
//	GET /api/v1/inspect/{topic}           what nodes tell about a topic: exporters, sockets
//
// It only reads: counters are read when somebody asks, and asking costs the lanes nothing.
package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/weirflow/weir/core/engine"
	"github.com/weirflow/weir/core/ledger"
	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/core/queue"
	"github.com/weirflow/weir/sdk"
)

// State of a pipeline.
type State string

const (
	Starting State = "starting"
	Running  State = "running"
	Draining State = "draining"
	Ended    State = "ended"
	Failed   State = "failed"
)

// Pipeline is what the interface shows of one pipeline. Its methods are called by any number of goroutines.
type Pipeline interface {
	Plan() *plan.Plan
	Report() ledger.Report
	QueueStats() map[string]queue.Stats // by the id of the node behind the queue
	Memory() engine.Memory
	State() (State, error) // the error of a failed one
	Inspect(topic string) []engine.NodeAnswer
}

// Server of the interface.
type Server struct {
	addr      string
	listener  net.Listener
	http      *http.Server
	pipelines []Pipeline
	serving   sync.WaitGroup
}

// Listen opens the address: host:port, or unix:/path. What it returns as an error is sdk.NotReady where the address is at fault.
// Nothing is answered before Serve.
func Listen(addr string, version string, pipelines []Pipeline, log *slog.Logger) (*Server, error) {
	l, err := listen(addr)
	if err != nil {
		return nil, notReady(addr, err)
	}
	s := &Server{addr: addr, listener: l, pipelines: pipelines}
	s.http = &http.Server{
		Handler: s.handler(version), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return s, nil
}

// listen opens a TCP or a Unix socket. The file that a dead process left of its socket is removed.
func listen(addr string) (net.Listener, error) {
	path, unix := strings.CutPrefix(addr, "unix:")
	if !unix {
		return net.Listen("tcp", addr)
	}
	l, err := net.Listen("unix", path)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return l, err
	}
	if c, derr := net.Dial("unix", path); derr == nil {
		c.Close()
		return nil, err
	} else if !errors.Is(derr, syscall.ECONNREFUSED) {
		return nil, err
	}
	if err := os.Remove(path); err != nil {
		return nil, err
	}
	return net.Listen("unix", path)
}

func notReady(addr string, err error) error {
	n := &sdk.NotReady{What: "the admin interface cannot listen on " + addr, Err: err, Do: "choose another address with --admin, or turn it off with --admin off"}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		n.What, n.Err = fmt.Sprintf("the address %s of the admin interface is in use", addr), nil
	case errors.Is(err, syscall.EACCES):
		n.What, n.Err = "no permission to listen on "+addr+" for the admin interface", nil
	}
	return n
}

// Addr is where it listens: with the port that the system chose, if port 0 was asked for.
func (s *Server) Addr() string {
	if strings.HasPrefix(s.addr, "unix:") {
		return s.addr
	}
	return s.listener.Addr().String()
}

// Serve answers until Close.
func (s *Server) Serve() {
	s.serving.Go(func() { _ = s.http.Serve(s.listener) }) // ends with ErrServerClosed
}

// Close stops listening and waits for what is being answered, until ctx ends.
func (s *Server) Close(ctx context.Context) {
	if s.http.Shutdown(ctx) != nil {
		s.http.Close()
	}
	s.listener.Close() // of a server that never served
	s.serving.Wait()
}
