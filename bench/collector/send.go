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
	Seconds   float64 `json:"seconds"`
	Rate      float64 `json:"datagrams_per_second"`
	Offload   string  `json:"offload"`
	Bytes     int     `json:"bytes"` // of a datagram
	CPU       float64 `json:"cpu_seconds"`
	Refused   uint64  `json:"refused"` // sends that failed and were tried again
}

// core is the share of its core that the sender had: it is never idle, so the rest was taken by others.
func (s *sent) core() float64 { return s.CPU / s.Seconds }

// exporter is a socket of its own, with an address of its own, and what it sends.
type exporter struct {
	fd        int
	template  []byte // nil: the protocol has none
	data      []byte // datagrams of one size, back to back
	records   int    // in a datagram
	seq, step uint32 // step: of a datagram
	at        int    // datagram to go on with
}

type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// sender sends bursts: one sendmsg of many datagrams that the kernel cuts (gso), or one sendmmsg of many.
type sender struct {
	exporters []exporter
	size      int // of a data datagram
	seqAt     int // where the sequence number is in it
	burst     int
	gso       bool
	hdrs      []mmsghdr
	iovs      []unix.Iovec
	out       sent
}

// send is the child process `collector send`.
func send(args []string) error {
	f := flag.NewFlagSet("send", flag.ContinueOnError)
	to := f.String("to", "127.0.0.1:2055", "collector")
	traffic := f.String("traffic", "v9 x 24", "case")
	rate := f.Float64("rate", 100_000, "datagrams a second")
	d := f.Duration("for", time.Second, "how long")
	offload := f.String("offload", "auto", "gso, mmsg, or auto: gso where the kernel has it")
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
			s, err := newSender(c, addr, *offload, *rate)
			if err != nil {
				return err
			}
			defer s.close()
			if err := s.run(*rate, *d); err != nil {
				return err
			}
			return json.NewEncoder(os.Stdout).Encode(s.out)
		}
	}
	return fmt.Errorf("no traffic %q", *traffic)
}

// newSender builds the ring as it would come now, and gives each exporter its part and a socket.
func newSender(c lab.Case, to netip.AddrPort, offload string, rate float64) (*sender, error) {
	ring, err := c.Ring(time.Now())
	if err != nil {
		return nil, err
	}
	s := &sender{seqAt: map[emulate.Protocol]int{emulate.NetFlowV5: 16, emulate.NetFlowV9: 12, emulate.IPFIX: 8, emulate.SFlow: 16}[c.Protocol]}
	index := map[[16]byte]int{}
	for i, p := range ring.Payloads {
		d := &ring.Datagrams[i]
		at, ok := index[d.Exporter]
		if !ok {
			at = len(s.exporters)
			index[d.Exporter] = at
			s.exporters = append(s.exporters, exporter{seq: d.Sequence, step: 1})
		}
		e := &s.exporters[at]
		if d.Records == 0 {
			e.template = p
			continue
		}
		if s.size == 0 {
			s.size = len(p)
		}
		if len(p) != s.size {
			return nil, fmt.Errorf("%s has datagrams of %d and of %d bytes, and is sent in equal ones only", c.Name, s.size, len(p))
		}
		e.data = append(e.data, p...)
		e.records = d.Records
		if c.Protocol == emulate.NetFlowV5 {
			e.step = uint32(d.Records) // counts flows
		}
	}
	s.out.Bytes = s.size
	s.burst = max(1, min(32, 65507/s.size, int(rate/1000))) // a burst a millisecond, at low rates
	s.gso = offload == "gso" || offload == "auto"
	for i := range s.exporters {
		if err := s.open(&s.exporters[i], i, to, offload == "auto"); err != nil {
			return nil, err
		}
	}
	s.out.Offload = "sendmmsg"
	if s.gso {
		s.out.Offload = "UDP GSO"
	}
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
		err := unix.SetsockoptInt(e.fd, unix.SOL_UDP, unix.UDP_SEGMENT, s.size)
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
	per := float64(time.Second) / rate
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
		n, err := s.send(&s.exporters[i%len(s.exporters)])
		if err != nil {
			return err
		}
		next += per * float64(n)
	}
	s.out.Seconds = time.Since(start).Seconds()
	s.out.Rate = float64(s.out.Datagrams) / s.out.Seconds
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
		s.number(e, e.template)
		for {
			_, err := unix.Write(e.fd, e.template)
			if err == nil {
				break
			}
			if err := s.again(err); err != nil {
				return err
			}
		}
		s.out.Datagrams++
	}
	return nil
}

// number writes the next sequence number.
func (s *sender) number(e *exporter, p []byte) {
	binary.BigEndian.PutUint32(p[s.seqAt:], e.seq)
	e.seq += e.step
}

// send sends a burst of one exporter.
func (s *sender) send(e *exporter) (int, error) {
	n := min(s.burst, len(e.data)/s.size-e.at)
	b := e.data[e.at*s.size : (e.at+n)*s.size]
	for at := 0; at < len(b); at += s.size {
		s.number(e, b[at:at+s.size])
	}
	if e.at += n; e.at*s.size == len(e.data) {
		e.at = 0
	}
	if s.gso {
		for {
			k, err := unix.Write(e.fd, b)
			if err == nil && k == len(b) {
				break
			}
			if err := s.again(err); err != nil {
				return 0, err
			}
		}
	} else {
		for i := range n {
			s.iovs[i].Base = &b[i*s.size]
			s.iovs[i].SetLen(s.size)
		}
		for off := 0; off < n; {
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
	s.out.Records += uint64(n * e.records)
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
