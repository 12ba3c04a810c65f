package tcp

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirflow/weir/sdk"
)

const (
	slabBytes = 1 << 16 // the longest message fits
	// lent is how many slabs may be between the connections and the release of their batches: 2 MiB.
	lent = 32
	// together is how many slabs one batch looks into at most, so that connections are read on while some batches are held.
	together = 4

	mostRows = slabBytes / minMessage // of a slab
)

// slab is memory that a connection reads into and a batch looks into.
type slab struct {
	mem      []byte
	n        int   // bytes read
	ends     []int // of the whole messages
	conn     *conn
	received int64
}

// loan is the slabs of one batch.
type loan struct {
	r     *reader
	slabs []*slab
}

// Freed takes the slabs back when the batch that looks into them is released.
func (l *loan) Freed(*sdk.Batch) {
	for i, s := range l.slabs {
		l.slabs[i] = nil
		l.r.giveBack(s)
		l.r.room <- struct{}{}
	}
	l.slabs = l.slabs[:0]
	select {
	case l.r.loans <- l:
	default:
	}
}

// reader is what all connections of one address have sent, in the order in which they handed it over.
type reader struct {
	src  *source
	port *port
	hold sdk.Shared
	part *sdk.Partition
	next int64

	full  chan *slab    // with messages; as many as there is room for
	room  chan struct{} // a slab may be handed over
	free  chan *slab
	loans chan *loan
	timer *time.Timer
	ended bool

	stopping atomic.Bool
	quit     chan struct{} // closed when nobody reads any more
	over     chan struct{} // closed when there is no connection and will be none
	mu       sync.Mutex
	conns    map[*conn]struct{}
	from     map[netip.Prefix]int // connections by exporter's address, or network
	closed   bool
}

func newReader(s *source, p *port, hold sdk.Shared) *reader {
	r := &reader{src: s, port: p, hold: hold, full: make(chan *slab, lent), room: make(chan struct{}, lent), free: make(chan *slab, lent),
		loans: make(chan *loan, lent), timer: time.NewTimer(time.Hour), quit: make(chan struct{}), over: make(chan struct{}), conns: map[*conn]struct{}{}, from: map[netip.Prefix]int{}}
	r.timer.Stop()
	for range lent {
		r.room <- struct{}{}
	}
	return r
}

func (r *reader) Partition() *sdk.Partition { return r.part }
func (r *reader) Ready() <-chan struct{}    { return nil }

// whose is who is counted as one: an address of IPv4; of IPv6 a network of 64 bits, for whoever is in one can take any address of it (RFC 4862).
// All that are on a link are in the network fe80::/64, so there it is the address.
func whose(a netip.Addr) netip.Prefix {
	bits := a.BitLen()
	if a.Is6() && !a.IsLinkLocalUnicast() && !a.IsLoopback() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // fails only for more bits than there are
	return p
}

// take begins to read a connection, or refuses it.
func (r *reader) take(nc net.Conn) {
	a := nc.RemoteAddr().(*net.TCPAddr).AddrPort()
	from := netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
	if !r.src.allowed(from.Addr()) {
		nc.Close()
		r.src.env.Books.Lost(ReasonNotAllowed, 1)
		r.src.warn("an exporter may not connect: `allow` does not name its address", "exporter", from)
		return
	}
	r.mu.Lock()
	cfg := r.src.cfg
	whose := whose(from.Addr())
	full, address := len(r.conns) >= cfg.MaxConnections, r.from[whose] >= cfg.MaxPerAddress
	if r.stopping.Load() || full || address {
		r.mu.Unlock()
		nc.Close()
		switch {
		case address:
			r.src.env.Books.Lost(ReasonAddress, 1)
			r.src.warn("a connection is refused: its address (of IPv6 its network) has max_per_address already", "exporter", from, "counted_as", whose, "max_per_address", cfg.MaxPerAddress)
		case full:
			r.src.env.Books.Lost(ReasonTooMany, 1)
			r.src.warn("a connection is refused: there are max_connections already", "exporter", from, "max_connections", cfg.MaxConnections)
		}
		return
	}
	c := newConn(r, nc, from)
	r.conns[c] = struct{}{}
	r.from[whose]++
	r.mu.Unlock()
	go c.run()
}

// gone takes a connection out that has ended.
func (r *reader) gone(c *conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
	if a := whose(c.from.Addr()); r.from[a] > 1 {
		r.from[a]--
	} else {
		delete(r.from, a)
	}
	if r.stopping.Load() && len(r.conns) == 0 {
		close(r.over)
	}
}

// Stop takes nothing new; what has arrived on the connections is read.
func (r *reader) Stop() {
	r.port.leave(r)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopping.Swap(true) {
		return
	}
	for c := range r.conns {
		c.wake()
	}
	if len(r.conns) == 0 {
		close(r.over)
	}
}

// Close ends the connections that still are, and what they have handed over is dropped: there is something only if the pipeline
// was broken off.
func (r *reader) Close(context.Context) error {
	r.mu.Lock()
	closed := r.closed
	r.closed = true
	r.mu.Unlock()
	if closed {
		return nil
	}
	close(r.quit)
	r.Stop()
	r.mu.Lock()
	for c := range r.conns {
		c.raw.Close()
	}
	r.mu.Unlock()
	<-r.over
	for {
		select {
		case s := <-r.full:
			r.drop(s)
			continue
		default:
		}
		return r.hold.Close()
	}
}

// drop counts the messages of a slab that nobody will read.
func (r *reader) drop(s *slab) {
	n := len(s.ends)
	r.src.env.Books.InHand.Add(int64(-n))
	r.src.env.Books.Drop(sdk.ReasonStopped, uint64(n))
}

func (r *reader) slab(c *conn) *slab {
	var s *slab
	select {
	case s = <-r.free:
	default:
		s = &slab{mem: make([]byte, slabBytes)}
	}
	s.conn, s.n, s.ends = c, 0, s.ends[:0]
	return s
}

func (r *reader) giveBack(s *slab) {
	s.conn = nil
	select {
	case r.free <- s:
	default:
	}
}

// Read makes a batch of what the connections have handed over.
func (r *reader) Read(ctx context.Context, wait time.Duration) (*sdk.Batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if r.ended {
		return nil, io.EOF
	}
	s := r.first(ctx, wait)
	if s == nil {
		if r.ended {
			return nil, io.EOF
		}
		return nil, ctx.Err()
	}
	var l *loan
	select {
	case l = <-r.loans:
	default:
		l = &loan{r: r}
	}
	l.slabs = append(l.slabs, s)
	rows := len(s.ends)
gather:
	for len(l.slabs) < together && rows+mostRows <= sdk.MaxRows {
		select {
		case s := <-r.full:
			l.slabs = append(l.slabs, s)
			rows += len(s.ends)
		default:
			break gather
		}
	}
	b := r.src.env.NewBatch(r.src.cols.schema, rows)
	at := 0
	for _, s := range l.slabs {
		r.src.cols.fill(b, at, s)
		at += len(s.ends)
	}
	b.SetRows(rows)
	b.Seal()
	b.Root(sdk.Range{Partition: r.part, First: r.next, Last: r.next + int64(rows) - 1})
	b.Lend(len(l.slabs)*slabBytes, l)
	r.next += int64(rows)
	r.src.env.Books.InHand.Add(int64(-rows))
	return b, nil
}

// first waits for a slab; nil if none came, and ended if none will.
func (r *reader) first(ctx context.Context, wait time.Duration) *slab {
	select {
	case s := <-r.full:
		return s
	default:
	}
	if wait > 0 {
		r.timer.Reset(wait)
		defer r.timer.Stop()
		select {
		case s := <-r.full:
			return s
		case <-r.over:
		case <-r.timer.C:
		case <-ctx.Done():
		}
	}
	select {
	case <-r.over:
	default:
		return nil
	}
	select {
	case s := <-r.full: // the last connection handed over before it ended
		return s
	default:
		r.ended = true
		return nil
	}
}
