package endpoint

import (
	"net/netip"

	"github.com/weirflow/weir/sdk"
)

// NoPrefix is the problem of a text that is no network that an exporter could be in.
var NoPrefix = &sdk.Problem{Message: "it is neither a network nor an address", Help: `write "192.0.2.0/24", "2001:db8::/32" or "192.0.2.1"`}

// ParsePrefix reads a network, "192.0.2.0/24", or one address; an IPv4 address mapped into IPv6 is the IPv4 one, as exporters' addresses are.
// Bits behind a network's length are a mistake more often than not, and refused. The problem, nil if there is none, is a sentence for the
// user.
func ParsePrefix(text string) (netip.Prefix, *sdk.Problem) {
	if a, err := netip.ParseAddr(text); err == nil {
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil || p.Addr().Is4In6():
		return p, NoPrefix
	case p != p.Masked():
		return p, &sdk.Problem{Message: p.String() + " has bits set behind its length", Help: "write " + p.Masked().String()}
	}
	return p, nil
}
