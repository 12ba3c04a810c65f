package udp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/weirflow/weir/sdk"
)

const (
	maxDatagram   = 65535 // no payload of UDP is longer
	portableRows  = 64
	portableBytes = 256 << 10

	// grace is how long datagrams already on their way into a socket may take to arrive when it has been told to stop.
	grace = 20 * time.Millisecond
)

// portable reads one socket datagram by datagram with what the standard library has: for systems without recvmmsg. Datagrams
// are copied, and kernel drops cannot be seen.
type portable struct {
	src     *source
	conn    *net.UDPConn
	part    *sdk.Partition
	next    int64
	buf     []byte
	stopped atomic.Bool
	ending  bool // stopped, and the last read found nothing
	ended   bool
}

func openPortable(s *source, l listen, cfg *Config) (*portable, error) {
	if l.fd != "" {
		return nil, &sdk.NotReady{What: "sockets that a supervisor passes are taken on Linux only", Do: "listen on an address"}
	}
	network := "udp"
	if l.Addr().Is4() {
		network = "udp4"
	}
	conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(l.AddrPort))
	if err != nil {
		return nil, words.NotReady(l.AddrPort, err)
	}
	if err := conn.SetReadBuffer(int(cfg.ReceiveBuffer)); err != nil {
		s.env.Log.Warn("the system refuses the receive buffer asked for; bursts may be lost", "listen", l.AddrPort, "asked", cfg.ReceiveBuffer, "error", err)
	}
	p := &portable{src: s, conn: conn, buf: make([]byte, maxDatagram)}
	p.part = s.partition(p.local(), 0)
	return p, nil
}

func (p *portable) local() netip.AddrPort {
	a := p.conn.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

func (p *portable) Stop() {
	p.stopped.Store(true)
	p.conn.SetReadDeadline(time.Now().Add(time.Millisecond)) // wakes a Read under way; a closed socket needs no waking
}

func (p *portable) Partition() *sdk.Partition       { return p.part }
func (p *portable) Ready() <-chan struct{}          { return nil }
func (p *portable) Close(ctx context.Context) error { return p.conn.Close() }

func (p *portable) Read(ctx context.Context, wait time.Duration) (*sdk.Batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if p.ended {
		return nil, io.EOF
	}
	stopped := p.stopped.Load()
	if stopped {
		wait = grace
	}
	// A deadline that has passed fails the read even if a datagram is there: the end is believed at the second time only.
	p.conn.SetReadDeadline(time.Now().Add(max(wait, time.Millisecond)))
	var b *sdk.Batch
	var got passed
	read, bytes := 0, 0
	for read < portableRows && bytes < portableBytes {
		n, from, err := p.conn.ReadFromUDPAddrPort(p.buf)
		if err != nil {
			if read > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
				break // what is wrong with the socket will be so the next time
			}
			return nil, fmt.Errorf("reading UDP on %s: %w", p.local(), err)
		}
		if read == 0 {
			p.conn.SetReadDeadline(time.Now().Add(time.Millisecond)) // what is here already
		}
		now := p.src.env.Now().UnixNano()
		row := got.kept
		if to := p.take(&got, from, n, now); to.pass == 1 {
			if b == nil {
				b = p.src.env.NewBatch(p.src.cols.schema, portableRows)
			}
			p.src.cols.set(b, row, p.buf[:n], from, now, to.weight(0))
		}
		read++
		bytes += n
	}
	if read == 0 {
		if p.ending {
			p.ended = true
			return nil, io.EOF
		}
		p.ending = stopped
		return nil, nil
	}
	p.ending = false
	p.src.received(&got)
	if b == nil {
		return nil, nil
	}
	rows := got.kept
	b.SetRows(rows)
	b.Seal()
	b.Root(sdk.Range{Partition: p.part, First: p.next, Last: p.next + int64(rows) - 1})
	p.next += int64(rows)
	return b, nil
}

// take puts a datagram to the gate. One worker reads, so nobody contends for the lock.
func (p *portable) take(got *passed, from netip.AddrPort, bytes int, now int64) share {
	p.src.gate.mu.Lock()
	defer p.src.gate.mu.Unlock()
	return p.src.gate.take(got, from.Addr().As16(), 1, bytes, now)
}

func (p *portable) socket() Socket {
	return Socket{Listen: p.local().String(), Balance: "none"}
}

// set writes one row, copying the payload.
func (c *columns) set(b *sdk.Batch, row int, payload []byte, from netip.AddrPort, received int64, weight uint32) {
	if c.payload >= 0 {
		b.SetBytes(c.payload, row, payload)
	}
	if c.addr >= 0 {
		sdk.Claim[[16]byte](b, c.addr, row, 1)[0] = from.Addr().As16()
	}
	if c.port >= 0 {
		sdk.Claim[uint16](b, c.port, row, 1)[0] = from.Port()
	}
	if c.received >= 0 {
		sdk.Claim[int64](b, c.received, row, 1)[0] = received
	}
	if c.thinning >= 0 && weight > 1 {
		sdk.Claim[uint32](b, c.thinning, row, 1)[0] = weight
	}
}
