//go:build linux

package udp

import (
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirflow/weir/bpf"
)

// balancer is how a group's datagrams are spread; part of the group and under its mutex.
type balancer struct {
	asked  Balance        // by the generation that came last; empty: nothing had to be balanced yet
	used   string         // for people
	why    string         // it is not what was asked for; empty if it is
	prog   *bpf.Reuseport // loaded, if it could be; its maps hold the sockets whatever program is attached
	random bool           // classic BPF is attached, or will be again when nobody is leaving
}

var choices = map[Balance]bpf.Choice{BalancePacket: bpf.ByPacket, BalanceSource: bpf.BySource, BalanceDomain: bpf.ByDomain}

// balance puts what cfg asks for in force; fd is any socket of the group. What cannot be done is done as well as can be, and said.
func (g *group) balance(cfg *Config, fd int, log *slog.Logger) {
	if cfg.Balance == g.asked || g.asked == "" && cfg.workers() == 1 && !cfg.SharePort && len(g.passed) < 2 {
		return
	}
	g.asked, g.used, g.why, g.random = cfg.Balance, string(cfg.Balance), "", false
	if g.passed != nil {
		if g.why = g.alone(fd); g.why != "" {
			g.used = "worker that is free"
			log.Info("balancing by the "+g.used+" instead of by "+string(cfg.Balance), "listen", g.name, "why", g.why)
			return
		}
	}
	choice, program := choices[cfg.Balance]
	if !program {
		// A program of a predecessor, or of the generation before, may be attached.
		if err := bpf.Detach(fd); err != nil && !errors.Is(err, unix.ENOPROTOOPT) {
			g.why = "another program stays attached: " + err.Error()
			log.Warn("another rule of balancing stays in force", "listen", g.bound, "error", err)
		}
		return
	}
	err := g.load()
	if err == nil {
		err = g.prog.Attach(fd, choice)
	}
	if err == nil {
		return
	}
	g.used = "kernel's hash of addresses and ports"
	// A predecessor's sockets would be among those chosen from, by numbers that change as they close.
	if cfg.Balance == BalancePacket && !cfg.SharePort && bpf.AttachRandom(fd, 1) == nil {
		g.random, g.used = true, "random choice"
	} else if derr := bpf.Detach(fd); derr != nil && !errors.Is(derr, unix.ENOPROTOOPT) {
		err = errors.Join(err, derr)
	}
	g.why = bpf.Why(err)
	log.Info("balancing by the "+g.used+" instead of by "+string(cfg.Balance), "listen", g.bound, "why", g.why)
}

var loadPrograms = bpf.LoadReuseport // another in tests of systems that refuse it

// load loads the programs, and puts the sockets that are open in their slots.
func (g *group) load() (err error) {
	if g.prog != nil {
		return nil
	}
	p, err := loadPrograms()
	if err != nil {
		return err
	}
	for w, s := range g.sockets {
		if s != nil {
			if err := g.put(p, w, s.fd); err != nil {
				return errors.Join(err, p.Close())
			}
		}
	}
	g.prog = p
	return g.spread()
}

// joined takes a new socket in.
func (g *group) joined(s *socket) error {
	if g.prog != nil {
		if err := g.put(g.prog, s.worker, s.fd); err != nil {
			return err
		}
		g.prog.Depth(s.worker).Empty()
	}
	return g.spread()
}

// put puts a socket in its slot. One that was passed may be in the map of a predecessor that died, which goes a moment after its
// program was detached: after a grace period of RCU, which takes milliseconds, and on a busy machine has taken a tenth of a second and more.
func (g *group) put(p *bpf.Reuseport, slot, fd int) (err error) {
	for pause, patience := 5*time.Millisecond, 3*time.Second; ; pause *= 2 {
		if err = p.Put(slot, fd); g.passed == nil || !errors.Is(err, unix.EBUSY) || patience <= 0 {
			return err
		}
		time.Sleep(pause)
		patience -= pause
	}
}

// leaving is called when a socket is no longer among g.sockets and before it leaves the kernel's group.
func (g *group) leaving(s *socket) error {
	if g.random {
		// Numbers shift while sockets leave: hash until all have.
		return bpf.Detach(s.fd)
	}
	return g.spread()
}

// spread says among which sockets is chosen: those of the first workers, without a gap.
func (g *group) spread() error {
	n := 0
	for n < len(g.sockets) && g.sockets[n] != nil {
		n++
	}
	if g.prog != nil {
		limit := 0
		if n > 0 {
			// The kernel gives twice of what is asked for. A train that a network card's driver joined is charged half as much again as
			// is counted, so three fifths may be all of it.
			limit = max(128<<10, 2*receiveBuffer(g.sockets[0].fd)/5*3)
		}
		return g.prog.Choose(n, uint32(limit))
	}
	if g.random && n > 0 && n == g.open {
		return bpf.AttachRandom(g.sockets[0].fd, n)
	}
	return nil
}

// depth is where the reader of a worker reports how far it is; nil if nobody asks.
func (g *group) depth(w int) *bpf.Depth {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.prog == nil || g.asked != BalancePacket {
		return nil
	}
	return g.prog.Depth(w)
}
