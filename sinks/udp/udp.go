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
	to  []string
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
	col, err := payloadOf(schema)
	if err != nil {
		return nil, err
	}
	w, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	w.col = col
	return w, nil
}

func (s *sink) dial(ctx context.Context) (*writer, error) {
	w := &writer{sink: s}
	for i := range w.msgs {
		w.msgs[i].Buffers = w.bufs[i : i+1 : i+1]
	}
	for _, to := range s.to {
		c, err := new(net.Dialer).DialContext(ctx, "udp", to)
		if err != nil {
			w.close()
			return nil, &sdk.NotReady{What: "no datagrams can be sent to " + to, Do: "check the address, the name server and the routes", Err: err}
		}
		conn := c.(*net.UDPConn)
		// The kernel's send buffer is what a burst fills; more of it is better and its limit is the administrator's.
		_ = conn.SetWriteBuffer(4 << 20)
		d := &destination{to: to, conn: conn, batch: ipv4.NewPacketConn(conn), most: 65507} // 65535 less the IPv4 and UDP headers
		if conn.RemoteAddr().(*net.UDPAddr).IP.To4() == nil {
			d.most = 65527 // an IPv6 payload length does not count the IPv6 header
		}
		w.dests = append(w.dests, d)
	}
	return w, nil
}

func (s *sink) Close(context.Context) error { return nil }

// destination is one connected socket.
type destination struct {
	to      string
	conn    *net.UDPConn
	batch   *ipv4.PacketConn // its WriteBatch serves IPv6 sockets as well
	most    int              // bytes of payload
	refused uint64           // datagrams nobody listened for
}

// writer sends blocks.
type writer struct {
	sink  *sink
	col   int
	dests []*destination
	msgs  [burst]ipv4.Message
	bufs  [burst][]byte
	at    progress
}

// progress is how far a block that came to an error has been sent: the same rows must not be sent again when it is retried.
type progress struct {
	key       string
	dest, row int
	bad       []int // rows that the kernel refused as too long
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
	}
	deadline, _ := ctx.Deadline()
	for ; at.dest < len(w.dests); at.dest, at.row = at.dest+1, 0 {
		d := w.dests[at.dest]
		if err := d.conn.SetWriteDeadline(deadline); err != nil {
			return &sdk.Error{Class: sdk.Fatal, Code: "closed", Err: fmt.Errorf("the socket to %s: %w", d.to, err)}
		}
		rows, err := w.send(ctx, d, b, &at.row)
		at.bad = append(at.bad, rows...)
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
		return &sdk.Error{Class: sdk.Permanent, Code: "too_long", Rows: bad, Err: fmt.Errorf("%d datagrams are longer than a path to the destination allows", len(bad))}
	}
	done(nil)
	return nil
}

// tooLong finds rows that no datagram holds before anything is sent.
func (w *writer) tooLong(b *sdk.Block) error {
	most := w.dests[0].most
	for _, d := range w.dests {
		most = min(most, d.most)
	}
	var bad []int
	row := 0
	for _, batch := range b.Batches {
		for _, p := range batch.Bytes(w.col) {
			if len(p) > most {
				bad = append(bad, row)
			}
			row++
		}
	}
	if len(bad) == 0 {
		return nil
	}
	return &sdk.Error{Class: sdk.Permanent, Code: "too_long", Rows: bad, Err: fmt.Errorf("%d payloads are longer than the %d bytes a datagram holds", len(bad), most)}
}

// send sends the rows from *row on, and moves it. It returns the rows the kernel refused as too long.
func (w *writer) send(ctx context.Context, d *destination, b *sdk.Block, row *int) (bad []int, err error) {
	defer clear(w.bufs[:]) // the block's memory is its owner's
	skip, first := *row, 0
	for _, batch := range b.Batches {
		vals := batch.Bytes(w.col)
		for k := max(0, skip-first); k < len(vals); {
			if err := ctx.Err(); err != nil {
				return bad, err
			}
			n := copy(w.bufs[:], vals[k:])
			sent, err := d.batch.WriteBatch(w.msgs[:n], 0)
			sent = max(sent, 0)
			k, *row = k+sent, *row+sent
			switch {
			case err == nil:
			case errors.Is(err, syscall.ECONNREFUSED):
				// The answer to an earlier datagram, handed over once: the one at k is not sent yet.
				if d.refused++; d.refused == 1 {
					w.sink.env.Log.Warn("nobody listens for datagrams", "to", d.to)
				}
			case errors.Is(err, syscall.EMSGSIZE):
				bad = append(bad, first+k)
				k, *row = k+1, *row+1
			default:
				return bad, explain(d.to, err)
			}
		}
		first += len(vals)
	}
	return bad, nil
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
			w.sink.env.Log.Warn("datagrams were sent where nobody listened", "to", d.to, "refused", d.refused)
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
