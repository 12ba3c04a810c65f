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
	"github.com/weirflow/weir/sdk/certs"
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

	since     time.Time // conn was made
	watched   *watched  // of conn
	finishing bool      // its end was told to the collector
}

// connect makes the connection. An error is transient: the core tries again after a while.
func (l *link) connect(ctx context.Context) error {
	to := l.sink.cfg.To
	c, err := dialer().DialContext(ctx, "tcp", to)
	if err != nil {
		return &sdk.Error{Class: sdk.Transient, Code: "connect", Err: fmt.Errorf("connecting to %s: %w", to, err)}
	}
	var seen *watched
	begin := func(c net.Conn) <-chan struct{} {
		seen = watch(c)
		return seen.ended
	}
	if l.sink.tls == nil {
		begin(c)
	} else if secured, err := l.sink.tls.wrap(ctx, c, begin); err != nil {
		c.Close()
		return explained(to, err)
	} else {
		c = secured
	}
	l.conn, l.buf, l.primed, l.ready = c, l.buf[:0], map[uint32]struct{}{}, false
	l.since, l.watched = time.Now(), seen
	if seen.dead.Load() {
		return l.lost()
	}
	l.sink.env.Log.Debug("connected", "to", to)
	return nil
}

// watched is what is seen of a connection while it is written to: that the collector ends it, which writing does not show until something is
// lost, and why. Collectors answer nothing; what comes is thrown away.
type watched struct {
	dead  atomic.Bool
	ended chan struct{} // closed when what follows holds
	at    time.Time
	err   error   // io.EOF: the collector has closed it
	first [2]byte // of what came
}

func watch(c net.Conn) *watched {
	w := &watched{ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		n, err := io.ReadFull(c, w.first[:])
		if err == nil {
			if _, err = io.Copy(io.Discard, c); err == nil {
				err = io.EOF
			}
		} else if n > 0 {
			err = io.EOF
		}
		w.at, w.err = time.Now(), err
		w.dead.Store(true)
	}()
	return w
}

const (
	// brief is how long a connection may have lived that the collector did not want. What was sent on it is lost.
	brief = time.Second
	// afterthought is how long the collector's reason may take to be read, where writing has shown that it has ended the connection.
	afterthought = 100 * time.Millisecond
)

// lost gives up a connection that the collector has ended and says why, if that is a reason not to make another at once; nil if it is none.
func (l *link) lost() error {
	w, to := l.watched, l.sink.cfg.To
	<-w.ended
	_, encrypted := l.conn.(*tls.Conn)
	how := "without TLS"
	if encrypted {
		how = "with TLS"
	}
	lived := w.at.Sub(l.since)
	l.close()
	l.sink.env.Books.Note(ReasonEnded, 1)
	switch {
	case certs.IsRefusal(w.err):
		return explained(to, w.err)
	case !encrypted && w.first[0] == alertRecord && w.first[1] == majorTLS:
		return &sdk.Error{Class: sdk.Transient, Code: "tls", Err: fmt.Errorf("the collector %s speaks TLS on this port, so that it understands nothing of what is sent: say tls.enabled: true", to)}
	case lived < brief:
		return &sdk.Error{Class: sdk.Transient, Code: "closed", Err: fmt.Errorf("the collector %s ended the connection right after its beginning (%w), so that what was sent on it is lost: "+
			"its log should say why; does it take IPFIX over TCP on this port, from this address, and %s as here (tls.enabled)?", to, w.err, how)}
	}
	l.sink.ended(w.at, lived, w.err)
	return nil
}

// The first bytes of an alert of TLS (RFC 8446, 5.1): what a server says to who begins with something else.
const (
	alertRecord = 21
	majorTLS    = 3
)

// add gathers the message of a row, behind what its domain has told if the connection has not got that.
func (l *link) add(ctx context.Context, row int, p []byte) error {
	if l.conn != nil && l.next == 0 && l.watched.dead.Load() { // it ended between two blocks
		if err := l.lost(); err != nil {
			return err
		}
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
	case err == nil && !l.watched.dead.Load():
		return nil
	case err == nil:
		err = errors.New("the collector has closed the connection")
	case errors.Is(err, os.ErrDeadlineExceeded) && !encrypted && !l.watched.dead.Load():
		return &sdk.Error{Class: sdk.Transient, Code: "stalled", Err: fmt.Errorf("the collector %s takes nothing: %w", l.sink.cfg.To, err)}
	}
	if l.ends() {
		if why := l.lost(); why != nil {
			return why
		}
	}
	l.close()
	return &sdk.Error{Class: sdk.Transient, Code: "connection", Err: fmt.Errorf("sending to %s: %w", l.sink.cfg.To, err)}
}

// ends says whether the collector has ended the connection, as soon as can be known.
func (l *link) ends() bool {
	patience := time.NewTimer(afterthought)
	defer patience.Stop()
	select {
	case <-l.watched.ended:
		return true
	case <-patience.C:
		return false
	}
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
		<-l.watched.ended
	}
	if t, ok := l.conn.(*tls.Conn); ok { // it says its end first, and a collector may not read that
		unread := time.AfterFunc(linger, func() { t.NetConn().Close() })
		defer unread.Stop()
	}
	l.conn.Close()
	<-l.watched.ended
	l.conn, l.finishing = nil, false
}
