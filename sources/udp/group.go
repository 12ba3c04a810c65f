//go:build linux

package udp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/endpoint"
)

// group is the sockets of one address: one SO_REUSEPORT group. It is shared by the generations of a node, so that a reload
// changes readers, not sockets: nothing leaves the port while a new generation takes over.
type group struct {
	mu      sync.Mutex
	want    netip.AddrPort // as configured
	passed  []int          // the files of a supervisor's sockets, instead
	name    string         // how the configuration names those
	owner   string         // the node that reads those
	bound   netip.AddrPort // with the port the system chose, once a socket is bound
	sockets []*socket      // by worker, those passed by their order; nil where none is open or the last one is leaving
	open    int            // sockets not closed, those leaving included
	buffer  sdk.Size       // asked for by the generation that came last
	balancer
}

// socket is one member of a group.
type socket struct {
	fd      int
	group   *group
	worker  int  // or which of those passed
	holders int  // readers of it, of this generation and the next; under group.mu
	left    bool // it is out of the group; under group.mu
	gro     bool // the kernel hands over trains; under group.mu

	mu     sync.Mutex
	closed bool
	account

	trains atomic.Bool // datagrams have come in some
}

// open takes hold of a socket of the address for each worker.
func (s *source) open(l listen, cfg *Config) (out []receiver, err error) {
	var files []int
	if l.fd != "" {
		if files, err = inherited(l.fd); err != nil {
			return nil, err
		}
	}
	for w := range max(cfg.workers(), len(files)) {
		r, err := s.worker(l, files, w, cfg)
		if err != nil {
			return out, err
		}
		out = append(out, r)
	}
	first := out[0].socket()
	s.env.Log.Info("receiving", "listen", first.Listen, "workers", len(out), "balance", first.Balance, "receive_buffer", sdk.Size(first.Buffer))
	return out, nil
}

func (s *source) worker(l listen, files []int, w int, cfg *Config) (*reader, error) {
	key, fresh := "udp/"+l.String(), &group{want: l.AddrPort}
	if files != nil { // the process has them once
		key = fmt.Sprintf("/udp/fd/%d", files[0])
		fresh = &group{passed: files, name: "fd:" + l.fd, owner: s.env.Pipeline + "." + s.env.Node}
	}
	shared, err := s.env.Share(key, func(context.Context) (io.Closer, error) { return fresh, nil })
	if err != nil {
		return nil, err
	}
	if g := shared.Object().(*group); g.owner != fresh.owner {
		return nil, errors.Join(&sdk.NotReady{What: fmt.Sprintf("fd:%s is read by %s", l.fd, g.owner), Do: "pass a socket for each source"}, shared.Close())
	}
	sock, err := shared.Object().(*group).hold(w, cfg, s.env.Log)
	if errors.Is(err, unix.EAFNOSUPPORT) && l.Any { // no IPv6 here
		if err := shared.Close(); err != nil {
			return nil, err
		}
		return s.worker(listen{Address: endpoint.Address{AddrPort: netip.AddrPortFrom(netip.IPv4Unspecified(), l.Port())}}, files, w, cfg)
	}
	if err != nil && files != nil {
		return nil, errors.Join(fmt.Errorf("fd:%s: %w", l.fd, err), shared.Close())
	}
	if err != nil {
		w := words
		if cfg.SharePort {
			w.InUse = "the process that has it is another user's, or opened it for itself alone (without SO_REUSEPORT): stop it (`ss -ulpn` shows which), or choose another port"
		}
		return nil, errors.Join(w.NotReady(l.AddrPort, err), shared.Close())
	}
	r, err := newReader(s, sock, w, shared)
	if err != nil {
		if files == nil {
			err = words.NotReady(l.AddrPort, err)
		}
		return nil, errors.Join(err, sock.release(), shared.Close())
	}
	return r, nil
}

// hold returns the socket of worker w with one more holder, opening it if there is none.
func (g *group) hold(w int, cfg *Config, log *slog.Logger) (*socket, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.buffer = cfg.ReceiveBuffer
	if g.passed != nil {
		w %= len(g.passed)
	}
	for len(g.sockets) <= w {
		g.sockets = append(g.sockets, nil)
	}
	if s := g.sockets[w]; s != nil {
		g.balance(cfg, s.fd, log)
		if err := g.spread(); err != nil {
			return nil, fmt.Errorf("balancing by %s: %w", g.used, err)
		}
		setReceiveBuffer(s.fd, int(cfg.ReceiveBuffer))
		if !s.gro && g.join(s, s.fd, cfg, log) {
			s.uncounted = "the socket was open before gro was" // who knows what waits in it
		}
		s.holders++
		return s, nil
	}
	s := &socket{group: g, worker: w, holders: 1}
	fd, err := g.openSocket(s, cfg, log)
	if err == nil {
		if g.bound, err = localAddr(fd); err != nil {
			unix.Close(fd)
		}
	}
	if err != nil {
		return nil, errors.Join(err, s.closeAccount())
	}
	s.fd = fd
	if got := receiveBuffer(fd); w == 0 && got < int(cfg.ReceiveBuffer) {
		log.Warn("the receive buffer is smaller than asked for, so bursts may be lost: raise net.core.rmem_max or give the process CAP_NET_ADMIN",
			"listen", g.bound, "asked", cfg.ReceiveBuffer, "got", sdk.Size(got))
	}
	g.open++
	g.balance(cfg, fd, log)
	if g.passed != nil {
		if m, ok := s.memory(); ok { // not of an earlier life
			s.drops = m[memDrops]
		}
	}
	g.sockets[w] = s
	if err := g.joined(s); err != nil {
		return nil, errors.Join(fmt.Errorf("balancing by %s: %w", g.used, err), g.drop(s))
	}
	return s, nil
}

var setGRO = func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_GRO, 1) } // another in tests

// join has the kernel hand over trains, if that is asked for and it can. It is never taken back: what already waits would lose its seams. A
// socket that was passed stays as it came, for whoever has it next may not expect trains.
func (g *group) join(s *socket, fd int, cfg *Config, log *slog.Logger) bool {
	if !cfg.GRO || g.passed != nil {
		return false
	}
	if err := setGRO(fd); err != nil {
		if s.worker == 0 {
			log.Info("each datagram is received by itself, which costs more: this kernel hands over no trains (UDP_GRO, Linux 5.0)", "listen", g.want, "error", err)
		}
		return false
	}
	s.gro = true
	return true
}

// openSocket makes the kernel's part of s.
func (g *group) openSocket(s *socket, cfg *Config, log *slog.Logger) (int, error) {
	if g.passed != nil {
		return g.takeOver(s.worker, cfg)
	}
	at := g.want
	if g.open > 0 {
		at = g.bound
	} else if !cfg.SharePort {
		// A second process of the same user could join the group unnoticed, and each would get half of the datagrams. Without
		// SO_REUSEPORT the kernel says whether the port is taken.
		fd, err := bind(at, false, nil)
		if err != nil {
			return -1, err
		}
		unix.Close(fd)
	}
	return bind(at, true, func(fd int) error {
		setReceiveBuffer(fd, int(cfg.ReceiveBuffer))
		// Refused before kernel 5.1: the time of the read is taken then.
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_NEW, 1)
		if g.join(s, fd, cfg, log) {
			s.count(fd, log)
		}
		return nil
	})
}

func (g *group) address() netip.AddrPort {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.bound
}

// rule of balancing in force, for people. Called with mu held.
func (g *group) rule() string {
	if g.used == "" {
		return "none"
	}
	return g.used
}

// Close is called when nobody holds the group. Its sockets are closed by then, by those who held them.
func (g *group) Close() error {
	if g.prog != nil {
		return g.prog.Close()
	}
	return nil
}

// leave takes the socket out of its group, if the caller is its only holder: what comes from now on goes to the others of the
// group, of this process or of its successor, and what it has can be read to the end. With another holder there is nothing
// to do, and other is true.
func (s *socket) leave() (other bool, err error) {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	if s.group.passed != nil {
		// It stays where it is, for it is the supervisor's: what is done to it is done to the successor's. Several read it until the
		// first have found it empty.
		return false, nil
	}
	if s.holders > 1 {
		return true, nil
	}
	if s.left {
		return false, nil
	}
	s.left = true
	s.group.sockets[s.worker] = nil // who comes now gets a fresh one
	return false, errors.Join(s.group.leaving(s), disconnect(s.fd))
}

// release gives up one hold; the last one closes the socket.
func (s *socket) release() error {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	if s.holders--; s.holders > 0 {
		return nil
	}
	return s.group.drop(s)
}

// drop closes a socket that nobody holds.
func (g *group) drop(s *socket) error {
	if !s.left {
		g.sockets[s.worker] = nil
	}
	g.open--
	if g.passed != nil {
		g.giveBack(s)
	}
	s.mu.Lock()
	s.closed = true // its number may soon be another file's
	err := s.closeAccount()
	s.mu.Unlock()
	return errors.Join(unix.Close(s.fd), err, g.spread())
}

// Positions in what SO_MEMINFO tells (linux/sock_diag.h).
const (
	memUsed  = 0
	memDrops = 8
)

// memory asks the kernel about the socket. SO_MEMINFO has the drops also when no datagram comes that could carry them
// (SO_RXQ_OVFL), and costs nothing per datagram. Called with mu held.
func (s *socket) memory() (m [9]uint32, ok bool) {
	if s.closed {
		return m, false
	}
	size := uint32(unsafe.Sizeof(m))
	_, _, e := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(s.fd), unix.SOL_SOCKET, unix.SO_MEMINFO, uintptr(unsafe.Pointer(&m)), uintptr(unsafe.Pointer(&size)), 0)
	return m, e == 0
}

// waiting is how many bytes the kernel charges the receive buffer for what waits in it.
func (s *socket) waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, _ := s.memory()
	return int(m[memUsed])
}

// socket tells of the reader's. The drops not yet in the books are in it: they will be within seconds.
func (r *reader) socket() Socket {
	g, s := r.sock.group, r.sock
	g.mu.Lock()
	out := Socket{Listen: g.bound.String(), Worker: r.worker, Inherited: g.name, BufferAsked: int64(g.buffer), BalanceAsked: g.asked, Balance: g.rule(), Why: g.why, GRO: s.gro, DropsWhy: s.uncounted}
	g.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	m, open := s.memory()
	if open {
		out.Waiting = m[memUsed]
		out.Buffer = int64(receiveBuffer(s.fd))
	}
	out.Drops, out.DropsAtLeast = s.tell(&m, open)
	return out
}
