//go:build linux

package udp

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/weirflow/weir/sdk"
)

// The slabs of a reader are 1 MiB together, which stays in a core's second-level cache: 16 of 32 slots was the best of 4, 16
// and 64. A slot holds what fits into any usual frame; the rest of a longer datagram goes to the frame's overflow.
const (
	slots     = 32
	slotBytes = 2048
	slabs     = 16
	cmsgBytes = 32 // one time stamp: a header of 16 bytes (12 on 32-bit systems) and two int64
)

// slab is memory that one recvmmsg fills and one batch looks into.
type slab struct {
	mem  []byte
	home chan *slab
}

// Freed gives the slab back when the batch that looks into it is released.
func (s *slab) Freed(*sdk.Batch) { s.home <- s }

func newSlabs() chan *slab {
	home := make(chan *slab, slabs)
	for range slabs {
		home <- &slab{mem: make([]byte, slots*slotBytes), home: home}
	}
	return home
}

// frame is what recvmmsg is called with. Headers, names and control messages stay where they are; only the slab changes.
type frame struct {
	hdrs  [slots]mmsghdr
	iovs  [slots][2]unix.Iovec // the slot, and room in overflow for what it cannot hold
	names [slots]unix.RawSockaddrInet6
	ctl   [slots][cmsgBytes]byte
	// overflow has for each slot the longest datagram there is. Its memory exists only where a long one has been.
	overflow []byte
	slab     *slab
	kept     [slots]uint8 // the datagrams of the last receive that passed
}

type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

const overflowBytes = 1 << 16

func newFrame() (*frame, error) {
	mem, err := unix.Mmap(-1, 0, slots*overflowBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("memory for long datagrams: %w", err)
	}
	f := &frame{overflow: mem}
	for i := range f.hdrs {
		v := &f.iovs[i]
		v[0].SetLen(slotBytes)
		v[1].Base = &f.long(i)[slotBytes]
		v[1].SetLen(overflowBytes - slotBytes)
		h := &f.hdrs[i].hdr
		h.Iov = &v[0]
		h.SetIovlen(len(v))
		h.Name = (*byte)(unsafe.Pointer(&f.names[i]))
		h.Control = &f.ctl[i][0]
	}
	f.rearm(slots)
	return f, nil
}

func (f *frame) close() error { return unix.Munmap(f.overflow) }

// use makes s the slab that is filled next.
func (f *frame) use(s *slab) {
	f.slab = s
	for i := range f.iovs {
		f.iovs[i][0].Base = &s.mem[i*slotBytes]
	}
}

// rearm sets again what the kernel has overwritten in the first n headers.
func (f *frame) rearm(n int) {
	for i := range f.hdrs[:n] {
		h := &f.hdrs[i].hdr
		h.Namelen = unix.SizeofSockaddrInet6
		h.SetControllen(cmsgBytes)
	}
}

// receive takes what the socket has, up to slots datagrams, without waiting. The call cannot block, so the scheduler need not
// know of it.
func (f *frame) receive(fd int) (int, unix.Errno) {
	n, _, e := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&f.hdrs)), slots, unix.MSG_DONTWAIT, 0, 0)
	if e != 0 {
		return 0, e
	}
	return int(n), 0
}

func (f *frame) long(i int) []byte { return f.overflow[i*overflowBytes : (i+1)*overflowBytes] }

// from is the sender of datagram i.
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

// received is the kernel's time stamp of datagram i in nanoseconds since the epoch, 0 if there is none. One
// message is asked for, so nothing is searched: 12 ns, where x/sys's general parser takes 320 and allocates twice.
func (f *frame) received(i int) int64 {
	h := (*unix.Cmsghdr)(unsafe.Pointer(&f.ctl[i]))
	if uint64(f.hdrs[i].hdr.Controllen) < unix.SizeofCmsghdr+16 || h.Level != unix.SOL_SOCKET || h.Type != unix.SO_TIMESTAMPNS_NEW {
		return 0
	}
	t := (*[2]int64)(unsafe.Pointer(&f.ctl[i][unix.SizeofCmsghdr])) // struct __kernel_timespec: 64 bits everywhere
	return t[0]*1e9 + t[1]
}

// judge puts the n datagrams of the last receive to the gate, those of one sender in a row together.
func (f *frame) judge(g *gate, n int, now int64) (p passed) {
	g.mu.Lock()
	defer g.mu.Unlock()
	addr, _ := f.from(0)
	for i := 0; i < n; {
		end, bytes := i+1, int(f.hdrs[i].n)
		var next [16]byte
		for ; end < n; end++ {
			if next, _ = f.from(end); next != addr {
				break
			}
			bytes += int(f.hdrs[end].n)
		}
		at := f.received(end - 1)
		if at == 0 {
			at = now
		}
		to := p.kept
		for k := range g.take(&p, addr, end-i, bytes, at) {
			f.kept[to+k] = uint8(i + k)
		}
		i, addr = end, next
	}
	return p
}

// fill writes the n datagrams that passed into b and lends it the slab.
func (f *frame) fill(b *sdk.Batch, n int, c *columns, now int64) {
	if c.payload >= 0 {
		for row, k := range f.kept[:n] {
			i := int(k)
			if size := int(f.hdrs[i].n); size <= slotBytes {
				at := i * slotBytes
				b.SetView(c.payload, row, f.slab.mem[at:at+size:at+size])
			} else {
				whole := f.long(i)[:size]
				copy(whole, f.slab.mem[i*slotBytes:(i+1)*slotBytes])
				b.SetBytes(c.payload, row, whole)
			}
		}
	}
	var addrs [][16]byte
	var ports []uint16
	if c.addr >= 0 {
		addrs = sdk.Claim[[16]byte](b, c.addr, 0, n)
	}
	if c.port >= 0 {
		ports = sdk.Claim[uint16](b, c.port, 0, n)
	}
	if addrs != nil || ports != nil {
		for row, i := range f.kept[:n] {
			addr, port := f.from(int(i))
			if addrs != nil {
				addrs[row] = addr
			}
			if ports != nil {
				ports[row] = port
			}
		}
	}
	if c.received >= 0 {
		times := sdk.Claim[int64](b, c.received, 0, n)
		for row, i := range f.kept[:n] {
			if times[row] = f.received(int(i)); times[row] == 0 {
				times[row] = now
			}
		}
	}
	b.SetRows(n)
	b.Seal()
	b.Lend(len(f.slab.mem), f.slab)
	f.slab = nil
}
