//go:build linux

package udp

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/weirflow/weir/bpf"
	"github.com/weirflow/weir/sdk"
)

// frame is what recvmmsg is called with, and what it gave. Headers, names and control messages stay where they are; only the slab
// changes.
//
// With UDP_GRO a message may be a train: datagrams of one sender and one size, but for the last, which came together and which the
// kernel hands over in a piece, for the price of one. Trains need rooms of 64 KiB, single datagrams are faster in small ones
// that stay in the cache. Both kinds of receive take both; wide is which is expected.
type frame struct {
	hdrs  [slots]mmsghdr
	ctl   [slots][controlBytes / 8]uint64 // control messages are aligned to a word
	iovs  [slots][2]unix.Iovec            // the slot, and room in overflow for what it cannot hold
	names [slots]unix.RawSockaddrInet6
	// overflow has for each slot the longest message there is. Its memory exists only where a long one has been.
	overflow []byte
	slab     *slab
	wide     bool
	mean     int // datagrams a message, moving average times 8

	senders [slots]sender // of the messages of the last receive
	got     []datagram    // by it
	bytes   int           // of payload, in it
	kept    []uint16      // those of them that passed
	weights []uint32      // what they stand for; empty: for themselves
}

// sender is where a message came from, and when.
type sender struct {
	addr  [16]byte
	port  uint16
	bytes int
	from  int   // its first datagram
	at    int64 // the kernel's time stamp in ns since the epoch, 0 if there is none
}

// datagram is one payload.
type datagram struct {
	at, size uint32 // in the slab; of a long message, in overflow
	message  uint8
	long     bool
}

type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

const (
	overflowBytes = 1 << 16
	rooms         = slabBytes / overflowBytes

	// controlBytes has room for a time stamp and the size of a train's datagrams: 32 and 24 bytes.
	controlBytes = 64
	// mostJoined bounds a train, and so the datagrams of a receive.
	mostJoined = bpf.MostJoined

	// A receive is wide when there have been widen datagrams a message lately, and narrow again below narrow. Between a train that is
	// copied out of overflow and a small datagram that has a cold page for itself there is little to choose.
	widen  = 4
	narrow = 2
)

const _ = uint(sdk.MaxRows - slots*mostJoined) // a receive is a batch

func newFrame() (*frame, error) {
	mem, err := unix.Mmap(-1, 0, slots*overflowBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("memory for long datagrams: %w", err)
	}
	f := &frame{overflow: mem, mean: 8, got: make([]datagram, 0, slots), kept: make([]uint16, 0, slots)}
	for i := range f.hdrs {
		v := &f.iovs[i]
		v[1].Base = &f.long(i)[slotBytes]
		v[1].SetLen(overflowBytes - slotBytes)
		h := &f.hdrs[i].hdr
		h.Iov = &v[0]
		h.Name = (*byte)(unsafe.Pointer(&f.names[i]))
		h.Control = (*byte)(unsafe.Pointer(&f.ctl[i]))
	}
	f.rearm(slots)
	f.shape()
	return f, nil
}

func (f *frame) close() error { return unix.Munmap(f.overflow) }

// room is how many messages a receive takes.
func (f *frame) room() int {
	if f.wide {
		return rooms
	}
	return slots
}

// shape says how large the rooms of messages are.
func (f *frame) shape() {
	for i := range f.iovs[:f.room()] {
		if f.wide {
			f.iovs[i][0].SetLen(overflowBytes)
			f.hdrs[i].hdr.SetIovlen(1)
		} else {
			f.iovs[i][0].SetLen(slotBytes)
			f.hdrs[i].hdr.SetIovlen(2)
		}
	}
}

// use makes s the slab that is filled next, and gives the receive the shape that suits what came lately.
func (f *frame) use(s *slab) {
	f.slab = s
	if f.wide && f.mean < narrow*8 || !f.wide && f.mean >= widen*8 {
		f.wide = !f.wide
		f.shape()
	}
	n := f.room()
	for i := range f.iovs[:n] {
		f.iovs[i][0].Base = &s.mem[i*(slabBytes/n)]
	}
}

// rearm sets again what the kernel has overwritten in the first n headers.
func (f *frame) rearm(n int) {
	for i := range f.hdrs[:n] {
		h := &f.hdrs[i].hdr
		h.Namelen = unix.SizeofSockaddrInet6
		h.SetControllen(controlBytes)
	}
}

// receive takes what the socket has, up to as many messages as there is room for, without waiting. The call cannot block, so the
// scheduler need not know of it.
func (f *frame) receive(fd int) (int, unix.Errno) {
	n, _, e := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&f.hdrs)), uintptr(f.room()), unix.MSG_DONTWAIT, 0, 0)
	if e != 0 {
		return 0, e
	}
	f.split(int(n))
	f.rearm(int(n))
	return int(n), 0
}

func (f *frame) long(i int) []byte { return f.overflow[i*overflowBytes : (i+1)*overflowBytes] }

// split finds the datagrams in the n messages of a receive.
func (f *frame) split(n int) {
	f.got, f.bytes = f.got[:0], 0
	room := slabBytes / f.room()
	for i := range n {
		s, size := &f.senders[i], int(f.hdrs[i].n)
		s.addr, s.port = f.from(i)
		s.bytes, s.from = size, len(f.got)
		f.bytes += size
		joined := f.control(i)
		d := datagram{at: uint32(i * room), size: uint32(size), message: uint8(i)}
		if size > room {
			copy(f.long(i), f.slab.mem[i*room:(i+1)*room])
			d.at, d.long = uint32(i*overflowBytes), true
		}
		// More than the kernel ever joins cannot be a train.
		if joined > 0 && joined < size && (size+joined-1)/joined <= mostJoined {
			for ; size > joined; size -= joined {
				d.size = uint32(joined)
				f.got = append(f.got, d)
				d.at += uint32(joined)
			}
			d.size = uint32(size)
		}
		f.got = append(f.got, d)
	}
	f.mean += len(f.got)/n - f.mean/8
}

// from is the sender of message i.
func (f *frame) from(i int) (addr [16]byte, port uint16) {
	s := &f.names[i]
	port = binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&s.Port))[:])
	if s.Family == unix.AF_INET6 {
		return s.Addr, port
	}
	four := (*unix.RawSockaddrInet4)(unsafe.Pointer(s))
	addr = [16]byte{10: 0xff, 11: 0xff}
	copy(addr[12:], four.Addr[:])
	return addr, port
}

// control reads the control messages of message i: the time stamp, and the size of a train's datagrams, which is returned; 0: it is
// none. They are read where they lie: x/sys's general parser takes 320 ns and allocates twice.
func (f *frame) control(i int) (joined int) {
	f.senders[i].at = 0
	all := unsafe.Slice((*byte)(unsafe.Pointer(&f.ctl[i])), controlBytes)
	all = all[:min(int(f.hdrs[i].hdr.Controllen), controlBytes)]
	for len(all) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(unsafe.SliceData(all)))
		size := int(h.Len)
		if size < unix.SizeofCmsghdr || size > len(all) {
			break
		}
		data := all[unix.SizeofCmsghdr:size]
		switch {
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SO_TIMESTAMPNS_NEW && len(data) >= 16:
			t := (*[2]int64)(unsafe.Pointer(unsafe.SliceData(data))) // struct __kernel_timespec: 64 bits everywhere
			f.senders[i].at = t[0]*1e9 + t[1]
		case h.Level == unix.SOL_UDP && h.Type == unix.UDP_GRO && len(data) >= 4:
			joined = int(*(*int32)(unsafe.Pointer(unsafe.SliceData(data))))
		}
		all = all[min(unix.CmsgSpace(len(data)), len(all)):]
	}
	return joined
}

// judge puts the datagrams of the n messages of the last receive to the gate, those of one sender in a row together.
func (f *frame) judge(g *gate, n int, now int64) (p passed) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f.kept, f.weights = f.kept[:0], f.weights[:0]
	for i := 0; i < n; {
		first, end, bytes := &f.senders[i], i+1, f.senders[i].bytes
		for ; end < n && f.senders[end].addr == first.addr; end++ {
			bytes += f.senders[end].bytes
		}
		to := len(f.got)
		if end < n {
			to = f.senders[end].from
		}
		at := f.senders[end-1].at
		if at == 0 {
			at = now
		}
		take := g.take(&p, first.addr, to-first.from, bytes, at)
		if p.thinned > 0 && len(f.weights) == 0 { // the first in this receive
			for range f.kept {
				f.weights = append(f.weights, 1)
			}
		}
		for k := range take.pass {
			f.kept = append(f.kept, uint16(first.from+k))
		}
		if p.thinned > 0 {
			for k := range take.pass {
				f.weights = append(f.weights, take.weight(k))
			}
		}
		i = end
	}
	return p
}

// fill writes the datagrams that passed into b and lends it the slab.
func (f *frame) fill(b *sdk.Batch, c *columns, now int64) {
	if c.payload >= 0 {
		for row, k := range f.kept {
			d := &f.got[k]
			if from, to := d.at, d.at+d.size; !d.long {
				b.SetView(c.payload, row, f.slab.mem[from:to:to])
			} else {
				b.SetBytes(c.payload, row, f.overflow[from:to])
			}
		}
	}
	n := len(f.kept)
	if c.addr >= 0 {
		addrs := sdk.Claim[[16]byte](b, c.addr, 0, n)
		for row, k := range f.kept {
			addrs[row] = f.senders[f.got[k].message].addr
		}
	}
	if c.port >= 0 {
		ports := sdk.Claim[uint16](b, c.port, 0, n)
		for row, k := range f.kept {
			ports[row] = f.senders[f.got[k].message].port
		}
	}
	if c.received >= 0 {
		times := sdk.Claim[int64](b, c.received, 0, n)
		for row, k := range f.kept {
			if times[row] = f.senders[f.got[k].message].at; times[row] == 0 {
				times[row] = now
			}
		}
	}
	if c.thinning >= 0 && len(f.weights) > 0 { // else it is the zero that costs nothing
		copy(sdk.Claim[uint32](b, c.thinning, 0, n), f.weights)
	}
	b.SetRows(n)
	b.Seal()
	b.Lend(slabBytes, f.slab)
	f.slab = nil
}
