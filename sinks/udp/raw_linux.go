package udp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"github.com/weirflow/weir/sdk"
)

// dialRaw makes a socket that sends UDP datagrams with any source address: a raw one whose UDP header is written here. The IP
// header is left to the kernel, which fragments what is too long for the path; with a header of our own it would refuse it.
// IP_TRANSPARENT lets it take a source that is not this host's (ip(7), raw(7)); both need CAP_NET_RAW.
func dialRaw(ctx context.Context, to string) (*destination, error) {
	fail := func(err error) (*destination, error) {
		n := &sdk.NotReady{What: "no datagrams can be sent to " + to, Do: "check the address, the name server and the routes", Err: err}
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
			n.What, n.Err = "sending with the exporters' addresses (source: keep) needs CAP_NET_RAW", nil
			n.Do = "give the process that capability (AmbientCapabilities=CAP_NET_RAW in a unit of systemd), or say `source: own`"
		}
		return nil, n
	}
	addr, err := resolve(ctx, to)
	if err != nil {
		return fail(err)
	}
	network, level, transparent, discover, off := "ip4:udp", unix.SOL_IP, unix.IP_TRANSPARENT, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DONT
	if addr.Addr().Is6() {
		network, level, transparent, discover, off = "ip6:udp", unix.SOL_IPV6, unix.IPV6_TRANSPARENT, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DONT
	}
	// Connected: nothing else reaches the socket than what the collector sends to this host over UDP, which the kernel would copy to it.
	conn, err := net.DialIP(network, nil, &net.IPAddr{IP: addr.Addr().AsSlice(), Zone: addr.Addr().Zone()})
	if err != nil {
		return fail(err)
	}
	raw, err := conn.SyscallConn()
	if err == nil {
		var serr error
		if err = raw.Control(func(fd uintptr) {
			serr = errors.Join(named("transparent", unix.SetsockoptInt(int(fd), level, transparent, 1)), named("fragmentation", unix.SetsockoptInt(int(fd), level, discover, off)), deaf(int(fd)))
		}); err == nil {
			err = serr
		}
	}
	if err != nil {
		conn.Close()
		return fail(err)
	}
	_ = conn.SetWriteBuffer(4 << 20)
	d := &destination{to: to, conn: conn, batch: ipv4.NewPacketConn(conn), most: most4, raw: &rawHeaders{to: addr}}
	if addr.Addr().Is6() {
		d.most = most6
	}
	d.raw.init()
	return d, nil
}

func named(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// deaf makes the kernel throw away what comes in, before it is queued.
func deaf(fd int) error {
	none := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	return named("filter", unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &none[0]}))
}

// init makes the control messages and headers; what changes is written over.
func (r *rawHeaders) init() {
	level, kind, size := int32(unix.SOL_IP), int32(unix.IP_PKTINFO), unix.SizeofInet4Pktinfo
	r.source, r.size = unix.CmsgLen(0)+int(unsafe.Offsetof(unix.Inet4Pktinfo{}.Spec_dst)), 4
	if r.to.Addr().Is6() {
		level, kind, size = unix.SOL_IPV6, unix.IPV6_PKTINFO, unix.SizeofInet6Pktinfo
		r.source, r.size = unix.CmsgLen(0), 16
	}
	for i := range r.msgs {
		c := make([]byte, unix.CmsgSpace(size))
		h := (*unix.Cmsghdr)(unsafe.Pointer(&c[0]))
		h.Level, h.Type = level, kind
		h.SetLen(unix.CmsgLen(size))
		r.control[i] = c
		r.bufs[i][0] = r.headers[i][:]
		r.msgs[i] = ipv4.Message{Buffers: r.bufs[i][:], OOB: c}
	}
}
