package tcp

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/weirflow/weir/formats/netflow"
	"github.com/weirflow/weir/sdk/certs"
)

const (
	// handshake is how long the beginning of TLS may take.
	handshake = 10 * time.Second
	// grace is how long bytes already on their way may take to arrive when the source has been told to stop, and stuck how long
	// a connection is read from then on at most: it may never run dry.
	grace = 20 * time.Millisecond
	stuck = time.Second

	versionIPFIX = 10

	// The first bytes of who begins TLS (RFC 8446, 5.1).
	handshakeRecord = 22
	majorTLS        = 3
)

// conn is one exporter's connection. It has a goroutine, which reads only while it may hand over.
type conn struct {
	r       *reader
	raw     net.Conn
	nc      net.Conn // raw, or TLS over it
	from    netip.AddrPort
	place   uint16
	session netflow.Session
	leaving time.Time   // when it saw that the source stops
	shaking atomic.Bool // TLS begins
	tally   tally
	sender  *exporter
}

func newConn(r *reader, raw net.Conn, from netip.AddrPort) *conn {
	c := &conn{r: r, raw: raw, nc: raw, from: from}
	c.place, c.session = r.port.begin()
	c.tally.since = r.src.env.Now()
	c.sender = r.src.senders.enter(from.Addr(), c.tally.since)
	if t := r.src.tls; t != nil {
		c.nc = tls.Server(raw, t)
		c.shaking.Store(true)
	}
	return c
}

// run is the connection's life.
func (c *conn) run() {
	log := c.r.src.env.Log
	log.Debug("connected", "exporter", c.from)
	defer func() {
		unread := time.AfterFunc(stuck, func() { c.raw.Close() }) // TLS says its end first, to who may not read
		c.nc.Close()                                              // a peer that has gone makes it fail; it is closed all the same
		unread.Stop()
		c.r.port.end(c.place)
		c.r.src.senders.leave(c.sender)
		c.r.gone(c)
		log.Debug("disconnected", "exporter", c.from)
	}()
	if t, ok := c.nc.(*tls.Conn); ok {
		c.raw.SetDeadline(time.Now().Add(handshake))
		err := t.HandshakeContext(context.Background())
		c.shaking.Store(false)
		if err != nil {
			if !c.r.stopping.Load() {
				c.r.src.warn("an exporter's TLS failed", "exporter", c.from, "error", err, "advice", certs.AdviceToCollector(err))
				c.r.src.env.Books.Lost(ReasonTLS, 1)
			}
			return
		}
		c.raw.SetDeadline(time.Time{})
	}
	c.read()
}

// wake lets the goroutine see at once that the source stops; in the beginning of TLS, when messages may already be behind it, soon. Deadlines are
// those of writing too: TLS answers some of what it reads (RFC 8446, 4.6.3), and a peer that does not read would hold the goroutine for ever.
func (c *conn) wake() {
	now := time.Now()
	if c.shaking.Load() {
		now = now.Add(stuck)
	}
	c.raw.SetDeadline(now)
}

// read cuts the stream into messages until it ends.
func (c *conn) read() {
	r, most := c.r, c.r.src.cfg.MaxMessage
	s := r.slab(c)
	whole := true // since the deadline was set a message was completed
	for {
		if whole {
			whole = false
			c.raw.SetDeadline(time.Now().Add(r.src.cfg.IdleTimeout))
		}
		if r.stopping.Load() { // after the deadline was set: wake comes later than this is asked, or is not needed
			c.leave()
		}
		n, err := c.nc.Read(s.mem[s.n:])
		s.n += n
		var good bool
		s.ends, good = frame(s.mem[:s.n], most, s.ends)
		if len(s.ends) > 0 {
			whole = true
			if s = c.handOver(s); s == nil {
				return
			}
		}
		switch {
		case !good:
			r.src.env.Books.Received.Add(1)
			r.src.env.Books.Drop(ReasonBadFraming, 1)
			c.sender.malformed.Add(1)
			what := "a connection is closed: it does not send IPFIX messages"
			if _, encrypted := c.nc.(*tls.Conn); !encrypted && s.n >= 3 && s.mem[0] == handshakeRecord && s.mem[1] == majorTLS {
				what = "a connection is closed: the exporter begins TLS, for which tls.cert and tls.key have to be named"
			}
			r.src.warn(what, "exporter", c.from, "got", s.mem[:min(s.n, 16)], "max_message", most)
			r.giveBack(s)
			return
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded) && r.stopping.Load() && c.leaving.IsZero(): // woken
		default:
			c.finish(s, err)
			return
		}
	}
}

// leave bounds how long the stream is read when the source stops: until it is dry, or for a while.
func (c *conn) leave() {
	now := time.Now()
	if c.leaving.IsZero() {
		c.leaving = now
	}
	until := now.Add(grace)
	if last := c.leaving.Add(stuck); last.Before(until) {
		until = last
	}
	c.raw.SetDeadline(until)
}

// finish accounts for what a connection that has ended leaves behind.
func (c *conn) finish(s *slab, err error) {
	src := c.r.src
	if s.n > 0 {
		src.env.Books.Received.Add(1)
		src.env.Books.Drop(ReasonTruncated, 1)
		c.sender.truncated.Add(1)
	}
	c.r.giveBack(s)
	switch {
	case c.r.stopping.Load() || errors.Is(err, io.EOF):
	case errors.Is(err, os.ErrDeadlineExceeded):
		src.warn("a connection is closed: no message was completed for idle_timeout", "exporter", c.from, "idle_timeout", src.cfg.IdleTimeout)
	default:
		src.warn("a connection broke", "exporter", c.from, "error", err)
	}
}

// handOver gives the messages of a slab to the reader, waiting for room, and returns one with what is left; nil: nobody reads any more.
func (c *conn) handOver(s *slab) *slab {
	r := c.r
	n := len(s.ends)
	s.received = r.src.env.Now().UnixNano()
	r.src.env.Books.Received.Add(uint64(n))
	r.src.env.Books.InHand.Add(int64(n))
	c.tally.sent(n, s.ends[n-1], s.received)
	c.sender.sent(n, s.ends[n-1], s.received)
	next := r.slab(c)
	next.n = copy(next.mem, s.mem[s.ends[n-1]:s.n])
	select {
	case <-r.room:
	default:
		began := time.Now()
		c.tally.waiting(r.src.env.Now())
		select {
		case <-r.room:
		case <-r.quit:
			r.drop(s)
			return nil
		}
		after := time.Since(began)
		c.tally.goesOn(after)
		if !c.leaving.IsZero() { // that it had to wait does not count: how long all may take is for the core to say
			c.leaving = c.leaving.Add(after)
		}
	}
	r.full <- s // whoever has room does not wait
	return next
}

// frame finds the whole messages at the start of b and appends their ends. They follow each other without gaps (RFC 7011, 10.4.2):
// good is false where no IPFIX header of a length up to most stands, and the stream is of no use from there on.
func frame(b []byte, most int, ends []int) (_ []int, good bool) {
	at := 0
	for len(b)-at >= 4 {
		version, n := binary.BigEndian.Uint16(b[at:]), int(binary.BigEndian.Uint16(b[at+2:]))
		if version != versionIPFIX || n < minMessage || n > most {
			return ends, false
		}
		if n > len(b)-at {
			break
		}
		at += n
		ends = append(ends, at)
	}
	return ends, true
}
