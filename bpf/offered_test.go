//go:build linux

package bpf

import (
	"errors"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// pair is a UDP socket that counts what it is offered, and one that sends to it. The receiver hands over trains.
func pair(t *testing.T, family int, sa unix.Sockaddr) (from, to int, o *Offered) {
	t.Helper()
	var fds [2]int
	for i := range fds {
		fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			t.Skip("no such sockets here: ", err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		fds[i] = fd
	}
	from, to = fds[0], fds[1]
	o, err := CountOffered(to)
	if err != nil {
		t.Skip("the program cannot be loaded here: ", Why(err))
	}
	t.Cleanup(func() { o.Close() })
	if err := unix.SetsockoptInt(to, unix.SOL_UDP, unix.UDP_GRO, 1); err != nil {
		t.Skip("this kernel hands over no trains: ", err)
	}
	if err := unix.SetsockoptInt(to, unix.SOL_SOCKET, unix.SO_RCVBUF, 64<<10); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(to, sa); err != nil {
		t.Skip("no such address here: ", err)
	}
	bound, err := unix.Getsockname(to)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(from, bound); err != nil {
		t.Fatal(err)
	}
	return from, to, o
}

// What is offered is counted whether the socket has room for it or not, and comes whole.
func TestOfferedCounts(t *testing.T) {
	for name, sa := range map[string]unix.Sockaddr{
		"IPv4": &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}},
		"IPv6": &unix.SockaddrInet6{Addr: [16]byte{15: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			family := unix.AF_INET
			if name == "IPv6" {
				family = unix.AF_INET6
			}
			from, to, o := pair(t, family, sa)
			type counts struct{ Messages, More uint64 }
			var want counts
			buf := make([]byte, 1<<16)
			for i, c := range []struct{ size, segment, more int }{
				{1, 0, 0}, {0, 0, 0}, {1400, 0, 0}, {20000, 0, 0}, {1000, 1000, 0}, {1001, 1000, 1}, {2000, 1000, 1}, {20 * 1000, 1000, 19}, {20*1000 - 1, 1000, 19},
				{127, 1, 126}, {128, 2, 63}, {700, 1400, 0}, {64, 1, 63},
			} {
				if err := unix.SetsockoptInt(from, unix.SOL_UDP, unix.UDP_SEGMENT, c.segment); err != nil {
					t.Skip("this kernel sends no trains: ", err)
				}
				for k := range 8 { // the last of them find the buffer full
					if _, err := unix.Write(from, make([]byte, c.size)); err != nil {
						t.Fatal(i, err)
					}
					want.Messages++
					want.More += uint64(c.more)
					if k == 0 {
						if n, _, err := unix.Recvfrom(to, buf, 0); err != nil || n != c.size {
							t.Errorf("%d bytes of %d: %v", n, c.size, err)
						}
					}
				}
				for {
					if _, _, err := unix.Recvfrom(to, buf, 0); err != nil {
						break
					}
				}
				if d := cmp.Diff(want, counts{o.Messages(), o.More()}); d != "" {
					t.Fatalf("%+v (-want +got): %s", c, d)
				}
			}
			if err := unix.SetsockoptInt(from, unix.SOL_UDP, unix.UDP_SEGMENT, 0); err != nil {
				t.Fatal(err)
			}
			for range 200 {
				if _, err := unix.Write(from, make([]byte, 1000)); err != nil {
					t.Fatal(err)
				}
				want.Messages++
			}
			taken := uint64(0)
			for {
				if _, _, err := unix.Recvfrom(to, buf, 0); err != nil {
					break
				}
				taken++
			}
			if d := cmp.Diff(want, counts{o.Messages(), o.More()}); d != "" || taken == 200 {
				t.Errorf("%d of 200 taken; (-want +got): %s", taken, d)
			}
		})
	}
}

func TestOfferedNeedsCapBPFOnly(t *testing.T) {
	fds := group(t, 2)
	with(t, []int{unix.CAP_BPF}, func() {
		o, err := CountOffered(fds[0])
		if err != nil {
			t.Errorf("%+v", err)
			return
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
	with(t, nil, func() {
		if o, err := CountOffered(fds[1]); err == nil {
			t.Log("this system lets anybody load programs")
			o.Close()
		} else if Why(err) != "it needs CAP_BPF" {
			t.Error(Why(err), err)
		}
	})
}

// What the program costs a message, with what it costs to run one by hand; and one that does nothing, to compare.
func BenchmarkOffered(b *testing.B) {
	spec, err := loadOffered()
	if err != nil {
		b.Fatal(err)
	}
	coll, err := ebpf.NewCollection(spec)
	if err != nil {
		b.Skip("the program cannot be loaded here: ", Why(err))
	}
	defer coll.Close()
	nothing, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SocketFilter, Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, -1), asm.Return()}})
	if err != nil {
		b.Fatal(err)
	}
	defer nothing.Close()
	frame := make([]byte, 14+20+8+1400) // Ethernet, IPv4, UDP
	frame[12], frame[14] = 0x08, 0x45
	for name, p := range map[string]*ebpf.Program{"counting": coll.Programs[offeredProgCountOffered], "nothing": nothing} {
		b.Run(name, func(b *testing.B) {
			var sum, n float64
			for b.Loop() {
				ret, took, err := p.Benchmark(frame, 100_000, nil)
				if errors.Is(err, ebpf.ErrNotSupported) {
					b.Skip("programs cannot be run by hand here: ", err)
				}
				if err != nil || ret != ^uint32(0) {
					b.Fatal(ret, err)
				}
				sum, n = sum+float64(took.Nanoseconds()), n+1
			}
			b.ReportMetric(sum/n, "ns/message")
		})
	}
}
