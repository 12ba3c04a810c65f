package udp

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"

	"golang.org/x/net/ipv4"
)

// rawHeaders are the headers and source addresses of a burst.
type rawHeaders struct {
	to      netip.AddrPort
	headers [burst][udpHeader]byte
	control [burst][]byte // IP_PKTINFO or IPV6_PKTINFO: the source address
	source  int           // where in it
	size    int           // of that
	msgs    [burst]ipv4.Message
	bufs    [burst][2][]byte
}

const (
	udpHeader   = 8
	protocolUDP = 17
)

// resolve finds the address that a host and port mean.
func resolve(ctx context.Context, to string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(to)
	if err != nil {
		return netip.AddrPort{}, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, err
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(addrs[0].Unmap(), uint16(n)), nil
}

// sendable says whether a datagram to the destination can have the source address: it is one, and of its family.
func (r *rawHeaders) sendable(source [16]byte) bool {
	a := netip.AddrFrom16(source).Unmap()
	return a.Is4() == r.to.Addr().Is4() && !a.IsUnspecified() && !a.IsMulticast() && a != broadcast
}

var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// prepare makes message i: payload from a source, whose family is the destination's.
func (r *rawHeaders) prepare(i int, payload []byte, addr *[16]byte, port uint16) {
	source := addr[16-r.size:]
	copy(r.control[i][r.source:], source)
	h := &r.headers[i]
	binary.BigEndian.PutUint16(h[0:], port)
	binary.BigEndian.PutUint16(h[2:], r.to.Port())
	binary.BigEndian.PutUint16(h[4:], uint16(udpHeader+len(payload)))
	h[6], h[7] = 0, 0
	to := r.to.Addr().As16()
	// The pseudo header (RFC 768, RFC 8200 section 8.1): addresses, protocol, length.
	sum := uint64(protocolUDP) + uint64(udpHeader+len(payload))
	sum = add(sum, source)
	sum = add(sum, to[16-r.size:])
	sum = add(sum, h[:])
	sum = add(sum, payload)
	binary.BigEndian.PutUint16(h[6:], fold(sum))
	r.bufs[i][1] = payload
}

// release lets the payloads go: they are their block's.
func (r *rawHeaders) release() {
	for i := range r.bufs {
		r.bufs[i][1] = nil
	}
}

// add adds the 16-bit words of b to a sum (RFC 1071).
func add(sum uint64, b []byte) uint64 {
	for len(b) >= 8 {
		v := binary.BigEndian.Uint64(b)
		sum += v>>32 + v&0xffffffff // 32 bits at a time: carries gather above, for 2^32 additions
		b = b[8:]
	}
	for len(b) >= 2 {
		sum += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		sum += uint64(b[0]) << 8
	}
	return sum
}

// fold makes a checksum of a sum. 0 would say that there is none.
func fold(sum uint64) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	if c := ^uint16(sum); c != 0 {
		return c
	}
	return 0xffff
}
