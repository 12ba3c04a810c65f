package udp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"

	"golang.org/x/net/ipv4"

	"github.com/weirflow/weir/sdk"
)

// burst is how many datagrams go to the kernel in one call (sendmmsg on Linux, one a call elsewhere).
const burst = 64

type sink struct {
	env *sdk.Env
	cfg *Config
}

// Check resolves the addresses.
func (s *sink) Check(ctx context.Context) error {
	w, err := s.dial(ctx)
	if err != nil {
		return err
	}
	return w.Close(ctx)
}

// Open makes a socket for each address.
func (s *sink) Open(ctx context.Context, schema *sdk.Schema) (sdk.Writer, error) {
	cols, err := columnsOf(schema, s.cfg.Source)
	if err != nil {
		return nil, err
	}
	w, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	w.cols = cols
	return w, nil
}

func (s *sink) dial(ctx context.Context) (*writer, error) {
	w := &writer{sink: s}
	for i := range w.msgs {
		w.msgs[i].Buffers = w.bufs[i : i+1 : i+1]
	}
	open := dial
	if s.cfg.Source == SourceKeep {
		open = dialRaw
	}
	for _, to := range s.cfg.To {
		d, err := open(ctx, to)
		if err != nil {
			w.close()
			return nil, err
		}
		d.cuts = s.cfg.GSO && canSegment(d.conn)
		w.dests = append(w.dests, d)
	}
	return w, nil
}

// dial makes a socket that sends from this host's address.
func dial(ctx context.Context, to string) (*destination, error) {
	c, err := new(net.Dialer).DialContext(ctx, "udp", to)
	if err != nil {
		return nil, &sdk.NotReady{What: "no datagrams can be sent to " + to, Do: "check the address, the name server and the routes", Err: err}
	}
	conn := c.(*net.UDPConn)
	// The kernel's send buffer is what a burst fills; more of it is better and its limit is the administrator's.
	_ = conn.SetWriteBuffer(4 << 20)
	d := &destination{to: to, conn: conn, batch: ipv4.NewPacketConn(conn), most: most4}
	if conn.RemoteAddr().(*net.UDPAddr).IP.To4() == nil {
		d.most = most6
	}
	return d, nil
}

const (
	most4 = 65507 // 65535 less the IPv4 and UDP headers
	most6 = 65527 // an IPv6 payload length does not count the IPv6 header
)

func (s *sink) Close(context.Context) error { return nil }

// destination is one connected socket.
type destination struct {
	to      string
	conn    net.Conn
	batch   *ipv4.PacketConn // its WriteBatch serves IPv6 sockets as well
	raw     *rawHeaders      // of a socket that sends from any address; else nil
	most    int              // bytes of payload
	cuts    bool             // the kernel cuts pieces of several datagrams
	refused uint64           // datagrams nobody listened for, as far as the kernel has said
	singly  int              // datagrams that go one by one still, since one was refused
}

// writer sends blocks.
type writer struct {
	sink  *sink
	cols  columns
	dests []*destination
	msgs  [burst]ipv4.Message // of one datagram each
	bufs  [burst][]byte
	at    progress

	cut     [burst]ipv4.Message // pieces
	rows    [burst]int          // datagrams of each
	control [burst][mostControl]byte
}

// progress is how far a block that came to an error has been sent: the same rows must not be sent again when it is retried.
type progress struct {
	key       string
	dest, row int
	bad       []int  // rows that the kernel refused
	code      string // for what, the last one
}

// Write sends every row to every destination.
func (w *writer) Write(ctx context.Context, b *sdk.Block, done func(error)) error {
	at := progress{key: b.Key}
	if b.Key != "" && b.Key == w.at.key {
		at = w.at
	}
	w.at = progress{}
	if at.dest == 0 && at.row == 0 {
		if err := w.tooLong(b); err != nil {
			return err
		}
		if err := w.noSource(b); err != nil {
			return err
		}
	}
	deadline, _ := ctx.Deadline()
	for ; at.dest < len(w.dests); at.dest, at.row = at.dest+1, 0 {
		d := w.dests[at.dest]
		if err := d.conn.SetWriteDeadline(deadline); err != nil {
			return &sdk.Error{Class: sdk.Fatal, Code: "closed", Err: fmt.Errorf("the socket to %s: %w", d.to, err)}
		}
		err := w.send(ctx, d, b, &at)
		if err != nil {
			w.at = at
			return err
		}
	}
	if bad := at.bad; len(bad) > 0 {
		// All else is sent: when the rest comes again under this key, nothing is left to do.
		at.bad = nil
		w.at = at
		slices.Sort(bad)
		bad = slices.Compact(bad)
		what := "are longer than a path to the destination allows"
		if at.code == badSource {
			what = "have a source address that the kernel does not send from"
		}
		return &sdk.Error{Class: sdk.Permanent, Code: at.code, Rows: bad, Err: fmt.Errorf("%d datagrams %s", len(bad), what)}
	}
	done(nil)
	return nil
}

// Codes of rows that cannot be sent.
const (
	tooLong   = "too_long"
	badSource = "bad_source"
)

// tooLong finds rows that no datagram holds before anything is sent.
func (w *writer) tooLong(b *sdk.Block) error {
	most := w.dests[0].most
	for _, d := range w.dests {
		most = min(most, d.most)
	}
	var bad []int
	row := 0
	for _, batch := range b.Batches {
		for _, p := range batch.Bytes(w.cols.payload) {
			if len(p) > most {
				bad = append(bad, row)
			}
			row++
		}
	}
	if len(bad) == 0 {
		return nil
	}
	return &sdk.Error{Class: sdk.Permanent, Code: tooLong, Rows: bad, Err: fmt.Errorf("%d payloads are longer than the %d bytes a datagram holds", len(bad), most)}
}

// noSource finds rows whose source address no datagram to a destination can have, before anything is sent.
func (w *writer) noSource(b *sdk.Block) error {
	if w.cols.addr < 0 {
		return nil
	}
	var bad []int
	row := 0
	for _, batch := range b.Batches {
		for _, a := range sdk.Values[[16]byte](batch, w.cols.addr) {
			if slices.ContainsFunc(w.dests, func(d *destination) bool { return !d.raw.sendable(a) }) {
				bad = append(bad, row)
			}
			row++
		}
	}
	if len(bad) == 0 {
		return nil
	}
	return &sdk.Error{Class: sdk.Permanent, Code: badSource, Rows: bad, Err: fmt.Errorf("%d datagrams have no source address of the family of every destination", len(bad))}
}

// fill makes the messages of up to a burst of rows, from row k of a batch on.
func (w *writer) fill(d *destination, b *sdk.Batch, vals [][]byte, k int) []ipv4.Message {
	if d.singly > 0 {
		vals = vals[:k+1]
	}
	if d.cuts {
		return w.pieces(vals[k:])
	}
	if d.raw == nil {
		return w.msgs[:copy(w.bufs[:], vals[k:])]
	}
	addrs, ports := sdk.Values[[16]byte](b, w.cols.addr), sdk.Values[uint16](b, w.cols.port)
	n := min(burst, len(vals)-k)
	for i := range n {
		d.raw.prepare(i, vals[k+i], &addrs[k+i], ports[k+i])
	}
	return d.raw.msgs[:n]
}

// send sends the rows from at.row on, and moves it. Rows that the kernel refuses are kept in at.
func (w *writer) send(ctx context.Context, d *destination, b *sdk.Block, at *progress) error {
	defer w.release(d)
	skip, first := at.row, 0
	for _, batch := range b.Batches {
		vals := batch.Bytes(w.cols.payload)
		for k := max(0, skip-first); k < len(vals); {
			if err := ctx.Err(); err != nil {
				return err
			}
			msgs := w.fill(d, batch, vals, k)
			sent, err := d.batch.WriteBatch(msgs, 0)
			sent = max(sent, 0)
			short := err == nil && sent < len(msgs)
			cuts := d.cuts
			if cuts {
				sent = total(w.rows[:sent])
			}
			k, at.row, d.singly = k+sent, at.row+sent, max(0, d.singly-sent)
			switch {
			case short && d.raw == nil:
				// The socket's buffer is full, or the answer to an earlier datagram ended the call and is forgotten: the next will show.
				d.singly = max(d.singly, 2)
			case err == nil:
			case cuts && whole(err):
				d.cuts = false // the same again, one by one
				w.sink.env.Log.Debug("datagrams are sent one by one", "to", d.to, "error", err)
			case errors.Is(err, syscall.ECONNREFUSED):
				// The answer to an earlier datagram, handed over once: the one at k is not sent yet. Within a burst it would be
				// forgotten, so that they go one by one until so many as make a burst were not refused.
				if d.refused++; d.refused == 1 {
					w.sink.env.Log.Warn("nobody listens on "+d.to+": datagrams sent there are lost, and nothing but this host's kernel says so", "to", d.to)
				}
				w.sink.env.Books.Note(ReasonNobodyListens, 1)
				d.singly = burst
			case errors.Is(err, syscall.EMSGSIZE):
				at.bad, at.code = append(at.bad, first+k), tooLong
				k, at.row = k+1, at.row+1
			case d.raw != nil && errors.Is(err, syscall.EINVAL):
				at.bad, at.code = append(at.bad, first+k), badSource
				k, at.row = k+1, at.row+1
			default:
				return explain(d.to, err)
			}
		}
		first += len(vals)
	}
	return nil
}

// release lets the payloads go: the block's memory is its owner's.
func (w *writer) release(d *destination) {
	clear(w.bufs[:])
	for i := range w.cut {
		w.cut[i].Buffers = nil
	}
	if d.raw != nil {
		d.raw.release()
	}
}

func total(rows []int) (n int) {
	for _, k := range rows {
		n += k
	}
	return n
}

func explain(to string, err error) error {
	class, code, what := sdk.Transient, "send", "sending to "+to
	switch {
	case errors.Is(err, net.ErrClosed):
		class, code = sdk.Fatal, "closed"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		code, what = "unreachable", "there is no route to "+to
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		code, what = "forbidden", "this host's firewall does not let datagrams go to "+to
	case errors.Is(err, syscall.ENOBUFS), errors.Is(err, syscall.ENOMEM):
		code, what = "no_buffers", "the kernel has no room for more datagrams to "+to
	}
	return &sdk.Error{Class: class, Code: code, Err: fmt.Errorf("%s: %w", what, err)}
}

// Flush has nothing to do: what was written is with the kernel.
func (w *writer) Flush(context.Context) error { return nil }

// Held is 0: nothing is copied.
func (w *writer) Held() int64 { return 0 }

// Close closes the sockets and says how many datagrams were refused.
func (w *writer) Close(context.Context) error {
	for _, d := range w.dests {
		if d.refused > 0 {
			w.sink.env.Log.Warn(fmt.Sprintf("nobody listened on %s: at least %d datagrams were refused there", d.to, d.refused), "to", d.to, "refused", d.refused)
			d.refused = 0
		}
	}
	return w.close()
}

func (w *writer) close() (err error) {
	for _, d := range w.dests {
		if e := d.conn.Close(); !errors.Is(e, net.ErrClosed) {
			err = errors.Join(err, e)
		}
	}
	return err
}
