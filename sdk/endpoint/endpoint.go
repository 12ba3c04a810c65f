// Package endpoint is what sources that wait on a port have in common: the address as the configuration writes it, a sentence for
// a port that cannot be had, and the handing out of readers that are opened before anything runs.
package endpoint

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"github.com/weirflow/weir/sdk"
)

// Address is an address to wait on.
type Address struct {
	netip.AddrPort
	Any bool // no address was written: IPv4 alone will do where there is no IPv6
}

// Parse reads "192.0.2.1:2055", "[::]:2055" or ":2055". The error is a sentence for the user.
func Parse(s string) (Address, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return Address{}, fmt.Errorf("%q is not an address and a port", s)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return Address{}, fmt.Errorf("%q is not a port", port)
	}
	if host == "" {
		return Address{netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(n)), true}, nil
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return Address{}, fmt.Errorf("%q is not an IP address", host)
	}
	return Address{netip.AddrPortFrom(a.Unmap(), uint16(n)), false}, nil
}

// Words are what the sentences of one protocol differ in.
type Words struct {
	Protocol string // "UDP"
	Cannot   string // what cannot be done on the port: "receive"
	Forbids  string // what there is no permission for: "receive"
	InUse    string // what to do about a port that another process has
}

// NotReady says in words what a failed bind means: an [sdk.NotReady].
func (w *Words) NotReady(a netip.AddrPort, err error) error {
	on := "all addresses"
	if !a.Addr().IsUnspecified() {
		on = a.Addr().String()
	}
	n := &sdk.NotReady{What: fmt.Sprintf("cannot %s on %s port %d of %s", w.Cannot, w.Protocol, a.Port(), on), Err: err}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		n.What, n.Err = fmt.Sprintf("%s port %d of %s is in use", w.Protocol, a.Port(), on), nil
		n.Do = w.InUse
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		n.What, n.Err = fmt.Sprintf("no permission to %s on %s port %d", w.Forbids, w.Protocol, a.Port()), nil
		n.Do = "choose a port above 1023, or give the process CAP_NET_BIND_SERVICE"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		n.What, n.Err = fmt.Sprintf("%s is not an address of this machine", a.Addr()), nil
		n.Do = "listen on one of its addresses (`ip address` lists them) or on 0.0.0.0"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		n.Do = NoFiles
	case a.Addr().Zone() != "" && !interfaceExists(a.Addr().Zone()):
		n.What, n.Err = fmt.Sprintf("%s is not an address of this machine: there is no interface %s", a.Addr(), a.Addr().Zone()), nil
		n.Do = "name one that there is behind the % (`ip link` lists them)"
	case errors.Is(err, syscall.EAFNOSUPPORT):
		n.What, n.Err = fmt.Sprintf("this machine has no IPv6, and %s needs it", a), nil
		n.Do = "listen on an IPv4 address or on 0.0.0.0"
	}
	return n
}

// NoFiles is what to do where the process or the system has no file number left.
const NoFiles = "raise the limit of open files (LimitNOFILE= in a unit of systemd, `ulimit -n` in a shell)"

func interfaceExists(zone string) bool {
	if n, err := strconv.Atoi(zone); err == nil {
		_, err = net.InterfaceByIndex(n)
		return err == nil
	}
	_, err := net.InterfaceByName(zone)
	return err == nil
}
