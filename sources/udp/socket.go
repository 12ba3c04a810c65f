//go:build linux

package udp

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/sys/unix"
)

// bind opens a socket, prepares and binds it.
func bind(a netip.AddrPort, shared bool, prepare func(fd int) error) (fd int, err error) {
	family, sa, err := sockaddr(a)
	if err != nil {
		return -1, err
	}
	fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	if family == unix.AF_INET6 {
		v6only := 0
		if !a.Addr().IsUnspecified() {
			v6only = 1
		}
		if err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, v6only); err != nil {
			return fd, fmt.Errorf("IPV6_V6ONLY: %w", err)
		}
	}
	if shared {
		if err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return fd, fmt.Errorf("SO_REUSEPORT: %w", err)
		}
	}
	if prepare != nil {
		if err = prepare(fd); err != nil {
			return fd, err
		}
	}
	return fd, unix.Bind(fd, sa)
}

func sockaddr(a netip.AddrPort) (family int, sa unix.Sockaddr, err error) {
	if a.Addr().Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}, nil
	}
	zone := uint32(0)
	if z := a.Addr().Zone(); z != "" {
		n, err := strconv.ParseUint(z, 10, 32)
		if err != nil {
			i, err := net.InterfaceByName(z)
			if err != nil {
				return 0, nil, fmt.Errorf("interface %s: %w", z, err)
			}
			n = uint64(i.Index)
		}
		zone = uint32(n)
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().WithZone("").As16(), ZoneId: zone}, nil
}

func localAddr(fd int) (netip.AddrPort, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, err
	}
	a := addrOf(sa)
	if !a.IsValid() {
		return a, fmt.Errorf("a socket of an unexpected family: %T", sa)
	}
	return a, nil
}

// addrOf is the address that the kernel told; not valid, if it is neither IPv4 nor IPv6.
func addrOf(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		a := netip.AddrFrom16(sa.Addr)
		if sa.ZoneId != 0 {
			a = a.WithZone(strconv.Itoa(int(sa.ZoneId)))
		}
		return netip.AddrPortFrom(a, uint16(sa.Port))
	}
	return netip.AddrPort{}
}

// setReceiveBuffer asks for n bytes of payload. With CAP_NET_ADMIN the kernel gives them whatever net.core.rmem_max says.
func setReceiveBuffer(fd, n int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, n) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, n) // capped, never refused: read back by the caller
	}
}

// receiveBuffer is the size of the buffer as setReceiveBuffer was asked for it: the kernel doubles it for its book-keeping.
func receiveBuffer(fd int) int {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	if err != nil {
		return 0
	}
	return n / 2
}

// disconnect connects a socket to a port that sends nothing. A connected socket is no longer chosen for datagrams of others, by
// hash or program; its queue stays (udp(7); seen on 6.18).
func disconnect(fd int) error {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return err
	}
	const discard = 9
	if _, four := sa.(*unix.SockaddrInet4); four {
		return unix.Connect(fd, &unix.SockaddrInet4{Port: discard, Addr: [4]byte{127, 0, 0, 1}})
	}
	if err = unix.Connect(fd, &unix.SockaddrInet6{Port: discard, Addr: netip.IPv6Loopback().As16()}); err != nil { // no IPv6 loopback
		err = unix.Connect(fd, &unix.SockaddrInet6{Port: discard, Addr: netip.MustParseAddr("127.0.0.1").As16()})
	}
	return err
}
