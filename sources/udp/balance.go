//go:build linux

package udp

import (
	"errors"
	"log/slog"

	"golang.org/x/sys/unix"

	"github.com/weirflow/weir/bpf"
)

// balancer is how a group's datagrams are spread. All is under group.mu.
type balancer struct {
	asked  Balance        // by the generation that came last; empty: nothing had to be balanced yet
	used   string         // for people
	prog   *bpf.Reuseport // loaded, if it could be; its maps hold the sockets whatever program is attached
	random bool           // classic BPF is attached, or will be again when nobody is leaving
}

var choices = map[Balance]bpf.Choice{BalancePacket: bpf.ByPacket, BalanceSource: bpf.BySource, BalanceDomain: bpf.ByDomain}

// balance puts what cfg asks for in force; fd is any socket of the group. What cannot be done is done as well as can be, and said.
func (g *group) balance(cfg *Config, fd int, log *slog.Logger) {
	b := &g.balancer
	if cfg.Balance == b.asked || b.asked == "" && cfg.workers() == 1 && !cfg.SharePort {
		return
	}
	b.asked, b.used, b.random = cfg.Balance, string(cfg.Balance), false
	choice, program := choices[cfg.Balance]
	if !program {
		// A program of a predecessor, or of the generation before, may be attached.
		if err := bpf.Detach(fd); err != nil && !errors.Is(err, unix.ENOPROTOOPT) {
			log.Warn("another rule of balancing stays in force", "listen", g.bound, "error", err)
		}
		return
	}
	err := b.load(g)
	if err == nil {
		err = b.prog.Attach(fd, choice)
	}
	if err == nil {
		return
	}
	b.used = "kernel's hash of addresses and ports"
	// A predecessor's sockets would be among those chosen from, by numbers that change as they close.
	if cfg.Balance == BalancePacket && !cfg.SharePort && bpf.AttachRandom(fd, 1) == nil {
		b.random, b.used = true, "random choice"
	} else if derr := bpf.Detach(fd); derr != nil && !errors.Is(derr, unix.ENOPROTOOPT) {
		err = errors.Join(err, derr)
	}
	log.Info("balancing by the "+b.used+" instead of by "+string(cfg.Balance), "listen", g.bound, "why", bpf.Why(err))
}

var loadPrograms = bpf.LoadReuseport // another in tests of systems that refuse it

// load loads the programs, and puts the sockets that are open in their slots.
func (b *balancer) load(g *group) (err error) {
	if b.prog != nil {
		return nil
	}
	p, err := loadPrograms()
	if err != nil {
		return err
	}
	for w, s := range g.sockets {
		if s != nil {
			if err := p.Put(w, s.fd); err != nil {
				return errors.Join(err, p.Close())
			}
		}
	}
	b.prog = p
	return b.spread(g)
}

// joined takes a new socket in.
func (b *balancer) joined(g *group, s *socket) error {
	if b.prog != nil {
		if err := b.prog.Put(s.worker, s.fd); err != nil {
			return err
		}
		b.prog.Depth(s.worker).Empty()
	}
	return b.spread(g)
}

// leaving is called when a socket is no longer among g.sockets and before it leaves the kernel's group.
func (b *balancer) leaving(g *group, s *socket) error {
	if b.random {
		// Numbers shift while sockets leave: hash until all have.
		return bpf.Detach(s.fd)
	}
	return b.spread(g)
}

// spread says among which sockets is chosen: those of the first workers, without a gap.
func (b *balancer) spread(g *group) error {
	n := 0
	for n < len(g.sockets) && g.sockets[n] != nil {
		n++
	}
	if b.prog != nil {
		limit := uint32(0)
		if n > 0 {
			limit = uint32(max(64, receiveBuffer(g.sockets[0].fd)*2/4*3/truesize))
		}
		return b.prog.Choose(n, limit)
	}
	if b.random && n > 0 && n == g.open {
		return bpf.AttachRandom(g.sockets[0].fd, n)
	}
	return nil
}

// truesize is what the kernel charges a receive buffer for a datagram of 1000 to 1472 bytes.
const truesize = 2304

// depth is where the reader of a worker reports how far it is; nil if nobody asks.
func (g *group) depth(w int) *bpf.Depth {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.balancer.prog == nil || g.balancer.asked != BalancePacket {
		return nil
	}
	return g.balancer.prog.Depth(w)
}
