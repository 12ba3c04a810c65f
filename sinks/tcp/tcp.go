package tcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirflow/weir/sdk"
)

// sink is one collector.
type sink struct {
	env *sdk.Env
	cfg *Config
	tls *security // nil: plain TCP

	told *memory
	hold sdk.Shared // of told: templates outlive writers and generations
	once sync.Once

	lastEnd atomic.Int64 // ns since the epoch, of the end of a connection that was told last
}

func newSink(env *sdk.Env, cfg *Config) (sdk.Sink, error) {
	s := &sink{env: env, cfg: cfg}
	if cfg.TLS.Enabled {
		c, err := secure(cfg, env.Log)
		if err != nil {
			return nil, err
		}
		s.tls = c
	}
	hold, err := env.Share("told", func(context.Context) (io.Closer, error) { return newMemory(), nil })
	if err != nil {
		return nil, err
	}
	s.hold, s.told = hold, hold.Object().(*memory)
	return s, nil
}

// Check connects to the collector and closes the connection.
func (s *sink) Check(ctx context.Context) error {
	l := &link{sink: s}
	if err := l.connect(ctx); err != nil {
		return &sdk.NotReady{What: "the collector cannot be reached", Do: "check the address, the collector and the firewalls between", Err: err}
	}
	l.finish()
	l.close()
	return nil
}

// Open makes a writer. It connects when there is something to send, for each exporter it meets.
func (s *sink) Open(_ context.Context, schema *sdk.Schema) (sdk.Writer, error) {
	cols, err := resolve(schema)
	if err != nil {
		return nil, err
	}
	return &writer{sink: s, cols: cols, links: map[origin]*link{}}, nil
}

// Close gives up the templates.
func (s *sink) Close(context.Context) (err error) {
	s.once.Do(func() { err = s.hold.Close() })
	return err
}

// quiet is how long the end of a connection is not told again: a collector that starts anew ends all of them.
const quiet = time.Second

// ended tells of a connection that was in use.
func (s *sink) ended(at time.Time, lived time.Duration, err error) {
	if last := s.lastEnd.Load(); at.UnixNano()-last < int64(quiet) || !s.lastEnd.CompareAndSwap(last, at.UnixNano()) {
		return
	}
	s.env.Log.Info("the collector has ended a connection, or several: new ones are made", "to", s.cfg.To, "after", lived.Round(time.Millisecond), "reason", err)
}

// origin is one exporter, in one session where there are sessions.
type origin struct {
	addr    [16]byte
	session uint64
}

// writer sends blocks.
type writer struct {
	sink  *sink
	cols  columns
	links map[origin]*link
	last  *link
	uses  uint64
	key   string // of the block that came to an error: what was sent of it on connections that stand is not sent again
	shut  bool
}

// Write sends each row on its exporter's connection.
func (w *writer) Write(ctx context.Context, b *sdk.Block, done func(error)) error {
	if w.shut {
		return &sdk.Error{Class: sdk.Fatal, Code: "closed", Err: errors.New("the writer is closed")}
	}
	if b.Key == "" || b.Key != w.key {
		w.begin()
		if err := w.check(b); err != nil {
			return err
		}
	}
	w.key = b.Key
	if err := w.send(ctx, b); err != nil {
		w.prune()
		return err
	}
	w.key = ""
	done(nil)
	return nil
}

// begin forgets the block that was being sent. A connection on which a part of a message may have been sent is of no use any more.
func (w *writer) begin() {
	for _, l := range w.links {
		l.next = 0
		if len(l.buf) > 0 {
			l.close()
		}
	}
}

// prune gives up the connections that the collector has ended, after one of them made a block fail: what ended one mostly ended all, and the
// block should not come again for each.
func (w *writer) prune() {
	for _, l := range w.links {
		if l.conn != nil && l.watched.dead.Load() {
			_ = l.lost() // the block fails for a reason already
		}
	}
}

// check finds rows that cannot be framed before anything is sent.
func (w *writer) check(b *sdk.Block) error {
	var bad []int
	row := 0
	for _, batch := range b.Batches {
		for _, p := range batch.Bytes(w.cols.payload) {
			if !isMessage(p) {
				bad = append(bad, row)
			}
			row++
		}
	}
	if bad == nil {
		return nil
	}
	return &sdk.Error{Class: sdk.Permanent, Code: "not_ipfix", Rows: bad, Err: fmt.Errorf("%d payloads are not one IPFIX message each, and over TCP nothing else can be told apart", len(bad))}
}

func (w *writer) send(ctx context.Context, b *sdk.Block) error {
	row := 0
	for _, batch := range b.Batches {
		var addrs [][16]byte
		var sessions []uint64
		if w.cols.exporter >= 0 {
			addrs = sdk.Values[[16]byte](batch, w.cols.exporter)
		}
		if w.cols.session >= 0 {
			sessions = sdk.Values[uint64](batch, w.cols.session)
		}
		for i, p := range batch.Bytes(w.cols.payload) {
			var o origin
			if addrs != nil {
				o.addr = addrs[i]
			}
			if sessions != nil {
				o.session = sessions[i]
			}
			l := w.last
			if l == nil || l.origin != o {
				var err error
				if l, err = w.link(ctx, o); err != nil {
					return err
				}
			}
			if row >= l.next {
				if err := l.add(ctx, row, p); err != nil {
					return err
				}
			}
			row++
		}
	}
	for _, l := range w.links {
		if l.next > 0 {
			if err := l.flush(ctx); err != nil {
				return err
			}
		}
	}
	for _, l := range w.links {
		l.next = 0
	}
	return nil
}

// link finds or makes the connection of an exporter.
func (w *writer) link(ctx context.Context, o origin) (*link, error) {
	l := w.links[o]
	if l == nil {
		if len(w.links) >= w.sink.cfg.MaxConnections {
			var oldest *link
			for _, x := range w.links {
				if oldest == nil || x.used < oldest.used {
					oldest = x
				}
			}
			if err := oldest.flush(ctx); err != nil {
				return nil, err
			}
			oldest.finish()
			oldest.close()
			delete(w.links, oldest.origin)
		}
		l = &link{sink: w.sink, origin: o}
		w.links[o] = l
	}
	w.uses++
	l.used, w.last = w.uses, l
	return l, nil
}

// Flush has nothing to do: what was written is with the kernel.
func (w *writer) Flush(context.Context) error { return nil }

// Held is what was gathered and could not be sent.
func (w *writer) Held() (n int64) {
	for _, l := range w.links {
		n += int64(cap(l.buf))
	}
	return n
}

// Close ends the connections, and gives the collector a while to take what is under way.
func (w *writer) Close(context.Context) error {
	w.shut = true
	for _, l := range w.links {
		l.finish()
	}
	for o, l := range w.links {
		l.close()
		delete(w.links, o)
	}
	w.last = nil
	return nil
}

// linger is how long the collector may take to close a connection from its side.
const linger = time.Second

func dialer() *net.Dialer { return &net.Dialer{Timeout: 10 * time.Second} }
