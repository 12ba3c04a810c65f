package tcp

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/weirflow/weir/sdk"
)

// gather is how many bytes of messages go to the kernel in one call.
const gather = 64 << 10

// mostKept is the largest buffer that is used again: for what is gathered, and a message more.
const mostKept = 3 * gather

// link is the connection of one exporter, made when it is needed.
type link struct {
	sink *sink
	origin
	used uint64
	next int // rows of the block at hand before this one are in buf or sent

	conn    net.Conn // nil: there is none
	buf     []byte   // gathered and not yet sent; after an error it begins inside a message
	primed  map[uint32]struct{}
	domain  uint32        // the one primed last
	ready   bool          // domain is primed
	options []templateKey // whose data is kept

	ended     chan struct{} // closed when the watcher of conn has ended
	dead      *atomic.Bool  // conn has been closed by the collector
	finishing bool          // its end was told to the collector
}

// connect makes the connection. An error is transient: the core tries again after a while.
func (l *link) connect(ctx context.Context) error {
	to := l.sink.cfg.To
	c, err := dialer().DialContext(ctx, "tcp", to)
	if err != nil {
		return &sdk.Error{Class: sdk.Transient, Code: "connect", Err: fmt.Errorf("connecting to %s: %w", to, err)}
	}
	if l.sink.tls != nil {
		t := tls.Client(c, l.sink.tls)
		limited, cancel := context.WithTimeout(ctx, dialer().Timeout)
		err := t.HandshakeContext(limited)
		cancel()
		if err != nil {
			c.Close()
			return &sdk.Error{Class: sdk.Transient, Code: "tls", Err: fmt.Errorf("TLS with %s: %w", to, err)}
		}
		c = t
	}
	l.conn, l.buf, l.primed, l.ready = c, l.buf[:0], map[uint32]struct{}{}, false
	l.ended, l.dead = make(chan struct{}), new(atomic.Bool)
	go watch(c, l.ended, l.dead)
	l.sink.env.Log.Debug("connected", "to", to)
	return nil
}

// watch sees the collector close the connection, which writing does not show until something is lost. Collectors answer nothing;
// what comes is thrown away.
func watch(c net.Conn, ended chan struct{}, dead *atomic.Bool) {
	defer close(ended)
	_, _ = io.Copy(io.Discard, c)
	dead.Store(true)
}

// add gathers the message of a row, behind what its domain has told if the connection has not got that.
func (l *link) add(ctx context.Context, row int, p []byte) error {
	if l.conn != nil && l.next == 0 && l.dead.Load() { // it ended between two blocks
		l.close()
	}
	if l.conn == nil {
		if err := l.connect(ctx); err != nil {
			return err
		}
	}
	domain := binary.BigEndian.Uint32(p[12:])
	if !l.ready || domain != l.domain {
		l.domain, l.ready = domain, true
		if _, ok := l.primed[domain]; !ok {
			l.primed[domain] = struct{}{}
			l.buf, l.options = l.sink.told.prelude(l.buf, l.origin, p)
		}
	}
	l.buf = append(l.buf, p...)
	l.next = row + 1
	if tells(p, l.options) {
		l.options = l.sink.told.learn(l.origin, p)
	}
	if len(l.buf) >= gather {
		return l.flush(ctx)
	}
	return nil
}

// flush sends what was gathered. If the collector takes nothing until the block's time is over, the rest stays and is sent when
// the block comes again; if the connection has ended, the exporter's rows of the block are sent again on another.
func (l *link) flush(ctx context.Context) error {
	if l.conn == nil {
		return nil
	}
	n, err := l.write(ctx)
	l.buf = l.buf[:copy(l.buf, l.buf[n:])]
	if len(l.buf) == 0 && cap(l.buf) > mostKept { // what was told before took it
		l.buf = nil
	}
	_, encrypted := l.conn.(*tls.Conn) // TLS cannot go on after a write that was broken off
	switch {
	case err == nil && !l.dead.Load():
		return nil
	case err == nil:
		err = errors.New("the collector has closed the connection")
	case errors.Is(err, os.ErrDeadlineExceeded) && !encrypted && !l.dead.Load():
		return &sdk.Error{Class: sdk.Transient, Code: "stalled", Err: fmt.Errorf("the collector %s takes nothing: %w", l.sink.cfg.To, err)}
	}
	l.close()
	return &sdk.Error{Class: sdk.Transient, Code: "connection", Err: fmt.Errorf("sending to %s: %w", l.sink.cfg.To, err)}
}

func (l *link) write(ctx context.Context) (int, error) {
	if len(l.buf) == 0 {
		return 0, nil
	}
	if ctx.Err() != nil {
		return 0, os.ErrDeadlineExceeded
	}
	conn, ran := l.conn, make(chan struct{})
	deadline, _ := ctx.Deadline()
	if err := conn.SetWriteDeadline(deadline); err != nil {
		return 0, err
	}
	stop := context.AfterFunc(ctx, func() {
		defer close(ran)
		conn.SetWriteDeadline(time.Now()) // a connection that is closed needs no waking
	})
	n, err := conn.Write(l.buf)
	if !stop() {
		<-ran
	}
	return n, err
}

// finish says that nothing more comes, and gives the collector a while to take the rest and close.
func (l *link) finish() {
	if l.conn == nil || len(l.buf) > 0 { // a message that was broken off must not look like the end
		return
	}
	l.finishing = true
	// A collector that has gone makes these fail; the connection is closed all the same.
	l.conn.SetWriteDeadline(time.Now().Add(linger))
	if c, ok := l.conn.(interface{ CloseWrite() error }); ok {
		_ = c.CloseWrite()
	}
	l.conn.SetReadDeadline(time.Now().Add(linger))
}

// close gives the connection up, and with it what was gathered; after finish it waits until the collector has closed it too.
func (l *link) close() {
	l.next, l.buf = 0, l.buf[:0]
	if l.conn == nil {
		return
	}
	if l.finishing {
		<-l.ended
	}
	l.conn.Close()
	<-l.ended
	l.conn, l.finishing = nil, false
}
