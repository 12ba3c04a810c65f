//go:build linux

package bpf

import (
	"errors"
	"fmt"
	"sync/atomic"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

// MostJoined is how many datagrams a train has at most: 64 that a driver joined (net/ipv4/udp_offload.c: UDP_GRO_CNT_MAX), 128 of a local
// sender (include/linux/udp.h: UDP_MAX_SEGMENTS). What says it has more is counted as one.
const MostJoined = 128 // MOST_JOINED in offered.c

// Offered counts what the kernel offers a UDP socket, before it looks whether the receive buffer has room.
type Offered struct{ mem []byte } // mapped from the kernel

// CountOffered begins to count at a socket. Only on one that is not yet bound everything is counted. The program stays with the socket. It
// needs kernel 5.7 and CAP_BPF.
func CountOffered(fd int) (*Offered, error) {
	_ = rlimit.RemoveMemlock() // see LoadReuseport
	spec, err := loadOffered()
	if err != nil {
		return nil, err
	}
	coll, err := ebpf.NewCollection(spec)
	if v, ok := errors.AsType[*ebpf.VerifierError](err); ok && len(v.Log) > 0 {
		return nil, fmt.Errorf("%w: %w", ebpf.ErrNotSupported, err) // before 5.7: it reads a field that is not there
	}
	if err != nil {
		return nil, err
	}
	defer coll.Close() // the socket holds the program, and the mapping the map
	mem, err := unix.Mmap(coll.Maps[offeredMapOffers].FD(), 0, unix.Getpagesize(), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mapping the count of datagrams offered: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ATTACH_BPF, coll.Programs[offeredProgCountOffered].FD()); err != nil {
		return nil, errors.Join(fmt.Errorf("SO_ATTACH_BPF: %w", err), unix.Munmap(mem))
	}
	return &Offered{mem}, nil
}

func (o *Offered) offer() *offeredOffer { return (*offeredOffer)(unsafe.Pointer(&o.mem[0])) }

// Messages is how many there were: datagrams, or trains of them.
func (o *Offered) Messages() uint64 { return atomic.LoadUint64(&o.offer().Messages) }

// More is how many datagrams the trains among them have beyond their first. One that is in neither count is in this one last.
func (o *Offered) More() uint64 { return atomic.LoadUint64(&o.offer().More) }

// Close stops looking at the counts.
func (o *Offered) Close() error { return unix.Munmap(o.mem) }
