// Package udp is the source that receives UDP datagrams: flow exports (NetFlow, IPFIX, sFlow), syslog, telemetry.
//
// On Linux each address is served by several sockets of one SO_REUSEPORT group, each read by a lane of its own with recvmmsg
// into slabs that batches look into. Elsewhere a plain loop reads one socket an address.
package udp

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"strconv"

	"github.com/weirflow/weir/sdk"
)

// Config of the source.
type Config struct {
	Listen        []string `yaml:"listen" doc:"addresses and ports to receive on; without an address, or with [::], IPv4 and IPv6 alike" example:"0.0.0.0:2055" required:"true"`
	Workers       int      `yaml:"workers" doc:"sockets for each address, each read by a lane of its own; 0: one for each CPU, at most 4" example:"4"`
	Balance       Balance  `yaml:"balance" doc:"which worker gets a datagram. packet: each in turn, skipping workers that have fallen behind. source: by the exporter's address. domain: by the exporter's address and observation domain, so that templates stay in front of their data. kernel: by a hash of addresses and ports. What the system does not allow steps down to the next it does, and says so" enum:"packet,source,domain,kernel"`
	ReceiveBuffer sdk.Size `yaml:"receive_buffer" doc:"memory of the kernel for datagrams not yet read, for each socket; more than net.core.rmem_max needs CAP_NET_ADMIN" example:"64MiB"`
	SharePort     bool     `yaml:"share_port" doc:"start although another process of the same user receives on the port too: for a successor that takes over while its predecessor drains"`
}

const maxWorkers = 64

// Balance is how datagrams are spread over the workers of an address.
type Balance string

const (
	BalancePacket Balance = "packet"
	BalanceSource Balance = "source"
	BalanceDomain Balance = "domain"
	BalanceKernel Balance = "kernel"
)

// workers for each address on this machine.
func (c *Config) workers() int {
	if c.Workers > 0 {
		return c.Workers
	}
	return min(4, runtime.GOMAXPROCS(0))
}

// Validate checks what can be checked without the machine.
func (c *Config) Validate() error {
	var ps sdk.Problems
	if len(c.Listen) == 0 {
		ps = append(ps, &sdk.Problem{Path: "listen", Message: "no address to receive on", Help: `say for example listen: "0.0.0.0:2055"`})
	}
	seen := map[netip.AddrPort]bool{}
	for i, l := range c.Listen {
		path := fmt.Sprintf("listen[%d]", i)
		a, err := parseListen(l)
		switch {
		case err != nil:
			ps = append(ps, &sdk.Problem{Path: path, Message: err.Error(), Help: `write an address and a port: "0.0.0.0:2055", "[::]:2055", ":2055"`})
		case seen[a.AddrPort] && a.Port() != 0:
			ps = append(ps, &sdk.Problem{Path: path, Message: fmt.Sprintf("%q is named twice", l)})
		}
		seen[a.AddrPort] = true
	}
	if c.Workers < 0 || c.Workers > maxWorkers {
		ps = append(ps, &sdk.Problem{Path: "workers", Message: fmt.Sprintf("%d workers: between 1 and %d can be asked for, or 0 for a choice by the number of CPUs", c.Workers, maxWorkers)})
	}
	switch c.Balance {
	case BalancePacket, BalanceSource, BalanceDomain, BalanceKernel:
	default:
		ps = append(ps, &sdk.Problem{Path: "balance", Message: fmt.Sprintf("%q is none of packet, source, domain, kernel", string(c.Balance))})
	}
	if c.ReceiveBuffer < 64<<10 || c.ReceiveBuffer > 1<<30 {
		ps = append(ps, &sdk.Problem{Path: "receive_buffer", Message: fmt.Sprintf("%s is not between 64KiB and 1GiB", c.ReceiveBuffer)})
	}
	return ps.Err()
}

// listen is an address to receive on.
type listen struct {
	netip.AddrPort
	any bool // no address was written: IPv4 alone will do where there is no IPv6
}

func parseListen(s string) (listen, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return listen{}, fmt.Errorf("%q is not an address and a port", s)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return listen{}, fmt.Errorf("%q is not a port", port)
	}
	if host == "" {
		return listen{netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(n)), true}, nil
	}
	a, err := netip.ParseAddr(host)
	if err != nil {
		return listen{}, fmt.Errorf("%q is not an IP address", host)
	}
	return listen{netip.AddrPortFrom(a.Unmap(), uint16(n)), false}, nil
}

// ReasonKernelDrops: datagrams that the kernel threw away because the receive buffer was full.
const ReasonKernelDrops sdk.Reason = "kernel_drops"

// Plugin is the source `udp`.
var Plugin = sdk.Plugin{
	Spec: sdk.Spec{
		Kind: sdk.KindSource,
		Type: "udp",
		Doc:  "receives UDP datagrams",
		Long: `Each datagram becomes one record: its payload, the address and port it came from, and the time at which the kernel received it.
Datagrams of any length UDP can carry are taken whole.

The workers of an address share its datagrams. By default those of one observation domain of one exporter go to one worker; one
exporter that is too much for a worker wants "balance: packet", where templates and data may overtake each other and decode
puts them in order again. These rules run in the kernel and need CAP_BPF; without it packet chooses at random, which is as even,
and source and domain leave it to the kernel's hash of addresses and ports.

What the kernel has to drop because its buffer is full stands beside the ledger as lost{kernel_drops}; losses before the socket
(network card, backlog of the CPU) do not show there. When the pipeline stops, the sockets leave their group first, so that
another process that listens on the port takes over, and what they already hold is read to the end.`,
		Config: func() any { return &Config{Balance: BalanceDomain, ReceiveBuffer: 16 << 20} },
		Output: func(any, *sdk.Schema) ([]*sdk.Schema, error) { return []*sdk.Schema{sdk.Datagram}, nil },
		Lanes: func(cfg any) (int, bool) {
			c := cfg.(*Config)
			return len(c.Listen) * c.workers(), true
		},
		Reasons: []sdk.Reason{ReasonKernelDrops},
	},
	Source: func(env *sdk.Env, cfg any) (sdk.Source, error) { return newSource(env, cfg.(*Config)) },
}
