//go:build linux

package main

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/weirflow/weir/bench/lab"
	"github.com/weirflow/weir/formats/emulate"
)

// sent is what the sender prints when it has ended.
type sent struct {
	Datagrams uint64  `json:"datagrams"` // all, those with templates too
	Records   uint64  `json:"records"`   // flow records in them
	Templates uint64  `json:"templates"` // of a flood
	Seconds   float64 `json:"seconds"`
	Rate      float64 `json:"datagrams_per_second"`
	Offload   string  `json:"offload"` // with the datagrams of a call
	Bytes     int     `json:"bytes"`   // of a datagram, on average
	CPU       float64 `json:"cpu_seconds"`
	Refused   uint64  `json:"refused"` // sends that failed and were tried again
	calls     uint64
}

// core is the share of its core that the sender had: it is never idle, so the rest was taken by others.
func (s *sent) core() float64 { return s.CPU / s.Seconds }

// exporter is a socket of its own, with an address of its own, and what it sends.
type exporter struct {
	fd       int
	template []byte     // nil: the protocol has none
	tells    uint32     // by how much its number goes on behind the template
	data     []byte     // datagrams back to back, the long ones first: those of one size lie together
	list     []datagram // where they are
	seq      uint32
	at       int // datagram to go on with
}

type datagram struct {
	from, to int
	records  int
	step     uint32 // by how much the number goes on
}

type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// sender sends bursts: one sendmsg of many datagrams that the kernel cuts (gso), or one sendmmsg of many.
type sender struct {
	exporters []exporter
	seqAt     int // where the sequence number is in a datagram
	burst     int
	gso       bool
	control   []byte // where the kernel is to cut
	hdrs      []mmsghdr
	iovs      []unix.Iovec
	flood     *flood // nil: none
	out       sent
}

// send is the child process `collector send`.
func send(args []string) error {
	f := flag.NewFlagSet("send", flag.ContinueOnError)
	to := f.String("to", "127.0.0.1:2055", "collector")
	traffic := f.String("traffic", "v9 x 24", "case")
	rate := f.Float64("rate", 100_000, "datagrams a second; 0: only the flood")
	d := f.Duration("for", time.Second, "how long")
	offload := f.String("offload", "auto", "gso, mmsg, or auto: gso where the kernel has it")
	templates := f.Int("flood", 0, "different templates to send beside it, evenly, from addresses of their own")
	one := f.Bool("one", false, "all exporters send from one socket: one 5-tuple")
	if err := f.Parse(args); err != nil {
		return err
	}
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	addr, err := netip.ParseAddrPort(*to)
	if err != nil {
		return err
	}
	for _, c := range lab.Cases {
		if c.Name == *traffic {
			s, err := newSender(c, addr, *offload, *rate, *one)
			if err != nil {
				return err
			}
			defer s.close()
			if *templates > 0 {
				if err := s.floodWith(*templates, *d, addr); err != nil {
					return err
				}
			}
			if err := s.run(*rate, *d); err != nil {
				return err
			}
			return json.NewEncoder(os.Stdout).Encode(s.out)
		}
	}
	return fmt.Errorf("no traffic %q", *traffic)
}

// newSender builds the ring as it would come now, and gives each exporter its part and a socket, or all of them one.
func newSender(c lab.Case, to netip.AddrPort, offload string, rate float64, one bool) (*sender, error) {
	ring, err := c.Ring(time.Now())
	if err != nil {
		return nil, err
	}
	s := &sender{seqAt: map[emulate.Protocol]int{emulate.NetFlowV5: 16, emulate.NetFlowV9: 12, emulate.IPFIX: 8, emulate.SFlow: 16}[c.Protocol]}
	index := map[[16]byte]int{}
	order := make([]int, len(ring.Payloads))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return len(ring.Payloads[b]) - len(ring.Payloads[a]) })
	bytes, most, n := 0, 0, 0
	for _, i := range order {
		p, d := ring.Payloads[i], &ring.Datagrams[i]
		at, ok := index[d.Exporter]
		if !ok {
			at = len(s.exporters)
			index[d.Exporter] = at
			s.exporters = append(s.exporters, exporter{})
		}
		e := &s.exporters[at]
		step := uint32(1) // counts datagrams
		if d.Records == 0 {
			e.template, e.tells = p, step // of IPFIX one record: the sampler
			continue
		}
		if c.Protocol == emulate.NetFlowV5 || c.Protocol == emulate.IPFIX {
			step = uint32(d.Records) // counts flows
		}
		e.list = append(e.list, datagram{len(e.data), len(e.data) + len(p), d.Records, step})
		e.data = append(e.data, p...)
		bytes, most, n = bytes+len(p), max(most, len(p)), n+1
	}
	s.out.Bytes = bytes / n
	s.burst = max(1, min(32, 65507/most, int(rate/1000))) // a burst a millisecond, at low rates
	s.gso = offload == "gso" || offload == "auto"
	for i := range s.exporters {
		e := &s.exporters[i]
		if one && i > 0 {
			if e.fd, err = unix.FcntlInt(uintptr(s.exporters[0].fd), unix.F_DUPFD_CLOEXEC, 0); err != nil {
				return nil, fmt.Errorf("socket: %w", err)
			}
		} else if err := s.open(e, i, to, offload == "auto"); err != nil {
			return nil, err
		}
	}
	s.control = make([]byte, unix.CmsgSpace(2))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&s.control[0]))
	h.Level, h.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	s.hdrs, s.iovs = make([]mmsghdr, s.burst), make([]unix.Iovec, s.burst)
	for i := range s.hdrs {
		s.hdrs[i].hdr.Iov = &s.iovs[i]
		s.hdrs[i].hdr.SetIovlen(1)
	}
	return s, nil
}

// open makes the socket of exporter i, which has an address of its own in 127.1.0.0/16.
func (s *sender) open(e *exporter, i int, to netip.AddrPort, may bool) (err error) {
	if e.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	_ = unix.SetsockoptInt(e.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 4<<20) // less will do, slower
	if err := unix.Bind(e.fd, &unix.SockaddrInet4{Addr: [4]byte{127, 1, byte(i >> 8), byte(i + 1)}}); err != nil {
		return fmt.Errorf("bind exporter %d: %w", i, err)
	}
	if err := unix.Connect(e.fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}); err != nil {
		return fmt.Errorf("connect %v: %w", to, err)
	}
	if s.gso {
		_, err := unix.GetsockoptInt(e.fd, unix.SOL_UDP, unix.UDP_SEGMENT)
		if err != nil && may {
			s.gso = false
		} else if err != nil {
			return fmt.Errorf("UDP_SEGMENT: %w", err)
		}
	}
	return nil
}

func (s *sender) close() {
	for i := range s.exporters {
		_ = unix.Close(s.exporters[i].fd) // nothing is buffered in a UDP socket
	}
	if s.flood != nil {
		for _, fd := range s.flood.fds {
			_ = unix.Close(fd)
		}
	}
}

// run sends at rate for d, spinning between bursts, templates first and again each second.
func (s *sender) run(rate float64, d time.Duration) error {
	if err := s.templates(); err != nil {
		return err
	}
	time.Sleep(100 * time.Millisecond)
	cpu, err := lab.CPU()
	if err != nil {
		return err
	}
	per := float64(time.Second) / max(rate, 1)
	start := time.Now()
	next, again := 0.0, time.Second
	for i := 0; ; i++ {
		now := time.Since(start)
		for float64(now) < next {
			now = time.Since(start)
		}
		if now >= d {
			break
		}
		// What it is late by more than 2 ms it does not catch up: a burst would be another load than the one asked for.
		next = max(next, float64(now-2*time.Millisecond))
		if now >= again {
			again += time.Second
			if err := s.templates(); err != nil {
				return err
			}
		}
		if s.flood != nil {
			if err := s.flooded(now); err != nil {
				return err
			}
		}
		if rate == 0 { // the flood alone
			next = float64(now + time.Millisecond)
			continue
		}
		n, err := s.send(&s.exporters[i%len(s.exporters)])
		if err != nil {
			return err
		}
		next += per * float64(n)
	}
	for t := d; s.flood != nil && s.flood.left > 0; t += time.Millisecond { // what it is behind by
		if err := s.flooded(t); err != nil {
			return err
		}
	}
	s.out.Seconds = time.Since(start).Seconds()
	s.out.Rate = float64(s.out.Datagrams) / s.out.Seconds
	s.out.Offload = "sendmmsg"
	if s.gso {
		s.out.Offload = "UDP GSO"
	}
	s.out.Offload += fmt.Sprintf(" x %.3g", float64(s.out.Datagrams)/float64(max(s.out.calls, 1)))
	after, err := lab.CPU()
	s.out.CPU = (after - cpu).Seconds()
	return err
}

func (s *sender) templates() error {
	for i := range s.exporters {
		e := &s.exporters[i]
		if e.template == nil {
			continue
		}
		s.number(e, e.template, e.tells)
		if err := s.one(e.fd, e.template); err != nil {
			return err
		}
	}
	return nil
}

// one sends one datagram.
func (s *sender) one(fd int, p []byte) error {
	for {
		_, err := unix.Write(fd, p)
		if err == nil {
			s.out.Datagrams++
			s.out.calls++
			return nil
		}
		if err := s.again(err); err != nil {
			return err
		}
	}
}

// number writes the next sequence number.
func (s *sender) number(e *exporter, p []byte, step uint32) {
	binary.BigEndian.PutUint32(p[s.seqAt:], e.seq)
	e.seq += step
}

// send sends a burst of one exporter: with gso as many datagrams of one size as come, and a shorter one behind them.
func (s *sender) send(e *exporter) (int, error) {
	list := e.list[e.at:min(e.at+s.burst, len(e.list))]
	size := list[0].to - list[0].from
	if s.gso {
		for i, d := range list {
			if i > 0 && d.to-d.from < size {
				list = list[:i+1]
				break
			}
		}
	}
	n := len(list)
	for _, d := range list {
		s.number(e, e.data[d.from:d.to], d.step)
		s.out.Records += uint64(d.records)
	}
	if e.at += n; e.at == len(e.list) {
		e.at = 0
	}
	if s.gso {
		b := e.data[list[0].from:list[n-1].to]
		binary.NativeEndian.PutUint16(s.control[unix.CmsgLen(0):], uint16(size))
		for {
			k, err := unix.SendmsgN(e.fd, b, s.control, nil, 0)
			if err == nil && k == len(b) {
				break
			}
			if err := s.again(err); err != nil {
				return 0, err
			}
		}
		s.out.calls++
	} else {
		for i, d := range list {
			s.iovs[i].Base = &e.data[d.from]
			s.iovs[i].SetLen(d.to - d.from)
		}
		for off := 0; off < n; s.out.calls++ {
			k, _, e1 := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(e.fd), uintptr(unsafe.Pointer(&s.hdrs[off])), uintptr(n-off), 0, 0, 0)
			if e1 != 0 {
				if err := s.again(e1); err != nil {
					return 0, err
				}
				continue
			}
			off += int(k)
		}
	}
	s.out.Datagrams += uint64(n)
	return n, nil
}

// again says whether a failed send may be tried again: a refusal is of an earlier datagram.
func (s *sender) again(err error) error {
	switch err {
	case unix.ECONNREFUSED, unix.ENOBUFS, unix.EAGAIN, unix.EINTR:
		s.out.Refused++
		return nil
	case nil:
		return fmt.Errorf("the kernel took a part of a burst")
	}
	return fmt.Errorf("send: %w", err)
}
