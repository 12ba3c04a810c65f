package tcp

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weirflow/weir/formats/netflow"
	"github.com/weirflow/weir/sdk/endpoint"
)

// port is a listener and the places of its connections. It is shared by the generations of a node: a new one takes the
// connections that come from then on, while the old one drains those it has.
type port struct {
	want endpoint.Address

	mu     sync.Mutex
	ln     *net.TCPListener // nil while nobody takes connections
	bound  netip.AddrPort
	takers []*reader     // the last one gets what comes
	ended  chan struct{} // closed when the loop of ln has ended

	acceptor uint16
	serial   uint32
	places   int      // that exist
	free     []uint16 // the one left longest ago first
}

// acceptors numbers the ports of this process. It begins anywhere, so that the sessions of two processes do not look alike where
// one decodes what both have accepted.
var acceptors = func() *atomic.Uint32 {
	n := new(atomic.Uint32)
	n.Store(rand.Uint32())
	return n
}()

func newPort(l endpoint.Address) *port { return &port{want: l, acceptor: uint16(acceptors.Add(1))} }

// Close has nothing to do: the listener went with its last taker.
func (p *port) Close() error { return nil }

func (p *port) local() netip.AddrPort {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bound
}

// join makes r the reader that gets the connections.
func (p *port) join(r *reader) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ln == nil {
		ln, err := p.open()
		if err != nil {
			return words.NotReady(p.want.AddrPort, err)
		}
		a := ln.Addr().(*net.TCPAddr).AddrPort()
		p.ln, p.ended, p.bound = ln, make(chan struct{}), netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
		go p.accept(ln, p.ended)
	}
	p.takers = append(p.takers, r)
	return nil
}

func (p *port) open() (*net.TCPListener, error) {
	network := "tcp"
	switch {
	case p.want.Addr().Is4():
		network = "tcp4"
	case !p.want.Any && !p.want.Addr().IsUnspecified():
		network = "tcp6"
	}
	a := net.TCPAddrFromAddrPort(p.want.AddrPort)
	if p.want.Any {
		a.IP = nil
	}
	return net.ListenTCP(network, a)
}

// leave gives r no more connections. With the last reader the listener is closed, so that exporters are refused by the system; those
// that the system has connected by then are r's, for they may have sent something.
func (p *port) leave(r *reader) {
	p.mu.Lock()
	ln, ended := p.ln, p.ended
	if len(p.takers) == 1 && p.takers[0] == r && ln != nil {
		p.ln = nil
		p.mu.Unlock()
		ln.SetDeadline(time.Now().Add(grace))
		<-ended
		p.mu.Lock()
	}
	p.takers = slices.DeleteFunc(p.takers, func(x *reader) bool { return x == r })
	p.mu.Unlock()
}

// shortage is how long the loop waits when the system has no room for another connection.
const shortage = 100 * time.Millisecond

func (p *port) accept(ln *net.TCPListener, ended chan struct{}) {
	defer close(ended)
	defer ln.Close()
	for over := false; ; {
		c, err := ln.Accept()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if over {
				return
			}
			// On a busy machine this goroutine may not have run between a connection and the deadline, behind which none is taken.
			over = true
			ln.SetDeadline(time.Now().Add(grace))
			continue
		}
		r := p.taker()
		switch {
		case err == nil:
			r.take(c)
		default:
			r.src.warn("the system has no room for another connection, which waits: "+endpoint.NoFiles, "error", err)
			time.Sleep(shortage)
		}
	}
}

// taker is the newest reader. While the listener is open there is one.
func (p *port) taker() *reader {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.takers[len(p.takers)-1]
}

// spare is how many places there are before one is used again: what an ended connection has sent may still be on its way to
// decode when the next one begins.
const spare = 16

// begin gives a new connection its place. Whoever begins ends, so there are never more places than connections or spare ones.
func (p *port) begin() (place uint16, s netflow.Session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.places < spare || len(p.free) == 0 {
		place = uint16(p.places)
		p.places++
	} else {
		place = p.free[0]
		p.free = slices.Delete(p.free, 0, 1)
	}
	p.serial++
	return place, netflow.NewSession(p.acceptor, place, p.serial)
}

func (p *port) end(place uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, place)
}
