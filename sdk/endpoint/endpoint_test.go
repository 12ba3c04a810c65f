package endpoint

import (
	"errors"
	"net/netip"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/sdk"
)

func TestParse(t *testing.T) {
	type result struct {
		Addr string
		Any  bool
		Err  string
	}
	for text, want := range map[string]result{
		"192.0.2.1:2055":          {Addr: "192.0.2.1:2055"},
		"0.0.0.0:0":               {Addr: "0.0.0.0:0"},
		"[::]:2055":               {Addr: "[::]:2055"},
		"[::ffff:192.0.2.1]:2055": {Addr: "192.0.2.1:2055"},
		":2055":                   {Addr: "[::]:2055", Any: true},
		"192.0.2.1":               {Err: `"192.0.2.1" is not an address and a port`},
		"192.0.2.1:65536":         {Err: `"65536" is not a port`},
		"192.0.2.1:-1":            {Err: `"-1" is not a port`},
		"router:2055":             {Err: `"router" is not an IP address`},
	} {
		a, err := Parse(text)
		got := result{Any: a.Any}
		if err == nil {
			got.Addr = a.String()
		} else {
			got.Err = err.Error()
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}

func TestNotReady(t *testing.T) {
	w := &Words{Protocol: "UDP", Cannot: "receive", Forbids: "receive", InUse: "choose another port"}
	for cause, want := range map[error]string{
		syscall.EADDRINUSE:    "UDP port 53 of 192.0.2.1 is in use: choose another port",
		syscall.EACCES:        "no permission to receive on UDP port 53: choose a port above 1023, or give the process CAP_NET_BIND_SERVICE",
		syscall.EPERM:         "no permission to receive on UDP port 53: choose a port above 1023, or give the process CAP_NET_BIND_SERVICE",
		syscall.EADDRNOTAVAIL: "192.0.2.1 is not an address of this machine: listen on one of its addresses (`ip address` lists them) or on 0.0.0.0",
		syscall.EAFNOSUPPORT:  "this machine has no IPv6, and 192.0.2.1:53 needs it: listen on an IPv4 address or on 0.0.0.0",
		syscall.EMFILE:        "cannot receive on UDP port 53 of 192.0.2.1 (" + syscall.EMFILE.Error() + "): " + NoFiles,
		syscall.EIO:           "cannot receive on UDP port 53 of 192.0.2.1 (" + syscall.EIO.Error() + ")",
	} {
		err := w.NotReady(netip.MustParseAddrPort("192.0.2.1:53"), cause)
		if _, ok := errors.AsType[*sdk.NotReady](err); !ok {
			t.Errorf("%T", err)
		}
		if diff := cmp.Diff(want, err.Error()); diff != "" {
			t.Errorf("%v (-want +got):\n%s", cause, diff)
		}
	}
	for addr, want := range map[string]string{
		"[fe80::1%none]:53":       "fe80::1%none is not an address of this machine: there is no interface none: name one that there is behind the % (`ip link` lists them)",
		"[fe80::1%1000000000]:53": "fe80::1%1000000000 is not an address of this machine: there is no interface 1000000000: name one that there is behind the % (`ip link` lists them)",
	} {
		if got := w.NotReady(netip.MustParseAddrPort(addr), syscall.EINVAL).Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got, want := w.NotReady(netip.MustParseAddrPort("[::]:53"), syscall.EADDRINUSE).Error(), "UDP port 53 of all addresses is in use: choose another port"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
