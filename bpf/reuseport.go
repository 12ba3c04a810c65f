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

// MaxSockets is the most sockets that one Reuseport chooses among.
const MaxSockets = 64

// Choice is a rule by which a socket is chosen: the name of a program in reuseport.c.
type Choice string

const (
	ByPacket Choice = "balance_packet" // in turn, skipping sockets that have fallen behind
	BySource Choice = "balance_source" // by source address
	ByDomain Choice = "balance_domain" // by source address and observation domain
)

// Reuseport chooses the sockets of one SO_REUSEPORT group. Loaded, it does nothing until Attach; programs and maps live on in
// the kernel as long as a socket of the group they are attached to.
type Reuseport struct {
	coll   *ebpf.Collection
	depths []byte // mapped from the kernel
}

// LoadReuseport loads the programs. It needs CAP_BPF, or root before kernel 5.8.
func LoadReuseport() (*Reuseport, error) {
	// Maps count against RLIMIT_MEMLOCK before kernel 5.11; where that cannot be raised, loading says so itself.
	_ = rlimit.RemoveMemlock()
	spec, err := loadReuseport()
	if err != nil {
		return nil, err
	}
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, err
	}
	size := (MaxSockets*depthBytes + unix.Getpagesize() - 1) &^ (unix.Getpagesize() - 1)
	depths, err := unix.Mmap(coll.Maps["depths"].FD(), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		coll.Close()
		return nil, fmt.Errorf("mapping the depths of sockets: %w", err)
	}
	return &Reuseport{coll, depths}, nil
}

// Put makes fd the socket of a slot. A socket can be in one slot only, and leaves it when it is closed.
func (r *Reuseport) Put(slot, fd int) error {
	return r.coll.Maps["sockets"].Put(uint32(slot), uint64(fd))
}

// Remove empties a slot, of a socket that lives on. A slot that is empty is an error.
func (r *Reuseport) Remove(slot int) error { return r.coll.Maps["sockets"].Delete(uint32(slot)) }

// Choose says among how many slots is chosen, from the first on, and how many bytes, as Charge counts them, may wait at a socket
// before ByPacket skips it.
func (r *Reuseport) Choose(slots int, limit uint32) error {
	return r.coll.Maps["settings"].Put(uint32(0), reuseportConfig{Sockets: uint32(slots), Limit: limit})
}

// Attach makes a program decide for the whole group that the socket fd is in. It replaces the one before in one step.
func (r *Reuseport) Attach(fd int, c Choice) error {
	return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_EBPF, r.coll.Programs[string(c)].FD())
}

// Close unloads what is not attached. No Depth may be used afterwards.
func (r *Reuseport) Close() error {
	r.coll.Close()
	return unix.Munmap(r.depths)
}

const depthBytes = int(unsafe.Sizeof(reuseportDepth{}))

// Depth tells the program how far the reader of a slot has come.
type Depth struct{ d *reuseportDepth }

// Depth of a slot.
func (r *Reuseport) Depth(slot int) *Depth {
	return &Depth{(*reuseportDepth)(unsafe.Pointer(&r.depths[slot*depthBytes]))}
}

// Took says that so many bytes, as Charge counts them, have been read, or were dropped.
func (d *Depth) Took(bytes int) { atomic.AddUint64(&d.d.Taken, uint64(bytes)) }

// Charge is what the program counts for messages (datagrams, or trains of them that the kernel hands over in a piece) with payloads
// of so many bytes together: about what the kernel charges a receive buffer, which is 832 bytes for one of up to 64, 1280
// up to 512, 2304 for 1000 to 1472, 20,832 for a train of 20,000.
func Charge(messages, payload int) int { return payload + messages*(header+overhead) }

const (
	header   = 8   // of UDP
	overhead = 900 // OVERHEAD in reuseport.c
)

// Empty says that none is waiting. It corrects what was miscounted: drops, and choices that could not be carried out.
func (d *Depth) Empty() { atomic.StoreUint64(&d.d.Taken, atomic.LoadUint64(&d.d.Given)) }

// AttachRandom chooses one of the first n sockets of fd's group, in the order they were bound, at random. It is classic BPF,
// which needs no privilege.
func AttachRandom(fd, n int) error {
	const random = 0xfffff000 + 56 // SKF_AD_OFF + SKF_AD_RANDOM
	f := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: random},
		{Code: unix.BPF_ALU | unix.BPF_MOD | unix.BPF_K, K: uint32(n)},
		{Code: unix.BPF_RET | unix.BPF_A},
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]})
}

// Detach leaves the choice to the kernel's hash again.
func Detach(fd int) error {
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF, 0)
	if errors.Is(err, unix.ENOENT) { // none was attached
		return nil
	}
	return err
}

// Why says in words why a program could not be loaded or attached.
func Why(err error) string {
	switch {
	case errors.Is(err, ebpf.ErrNotSupported), errors.Is(err, unix.ENOPROTOOPT):
		return "this kernel is too old for it"
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return "it needs CAP_BPF"
	}
	return err.Error()
}
