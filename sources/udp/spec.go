// Package udp is the source that receives UDP datagrams: flow exports (NetFlow, IPFIX, sFlow), syslog, telemetry.
//
// On Linux each address is served by several sockets of one SO_REUSEPORT group, each read by a lane of its own with recvmmsg
// into slabs that batches look into. Elsewhere a plain loop reads one socket an address.
package udp

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/endpoint"
)

// Config of the source.
type Config struct {
	Listen        []string `yaml:"listen" doc:"addresses and ports to receive on; without an address, or with [::], IPv4 and IPv6 alike. fd:0, fd:NAME: sockets that a supervisor passed, by their number from 0 or their name" example:"0.0.0.0:2055" required:"true"`
	Workers       int      `yaml:"workers" doc:"sockets for each address, each read by a lane of its own; 0: one for each CPU, at most 4" example:"4"`
	Balance       Balance  `yaml:"balance" doc:"which worker gets a datagram. packet: each in turn, skipping workers that have fallen behind. source: by the exporter's address. domain: by the exporter's address and observation domain, so that templates stay in front of their data. kernel: by a hash of addresses and ports. What the system does not allow steps down to the next it does, and says so" enum:"packet,source,domain,kernel"`
	ReceiveBuffer sdk.Size `yaml:"receive_buffer" doc:"memory of the kernel for datagrams not yet read, for each socket; more than net.core.rmem_max needs CAP_NET_ADMIN" example:"64MiB"`
	GRO           bool     `yaml:"gro" doc:"let the kernel hand over datagrams of one exporter in trains where they came so (UDP_GRO), for a fraction of the cost; Linux 5.0. Without CAP_BPF a train that it drops counts as one datagram in kernel_drops. From true to false it changes when the process starts anew"`
	Allow         []Prefix `yaml:"allow" doc:"networks and addresses whose datagrams are taken; those of others are dropped as not_allowed. Empty: all" example:"[192.0.2.0/24, 2001:db8::/32]"`
	RateLimit     int      `yaml:"rate_limit" doc:"datagrams a second that each exporter may send, and one second's worth at once; more is dropped as rate_limited, and what passes stands for it. 0: no limit" example:"20000"`
	SharePort     bool     `yaml:"share_port" doc:"start although another process of the same user receives on the port too: for a successor that takes over while its predecessor drains"`
}

const (
	maxWorkers = 64
	maxRate    = 10_000_000
)

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
	seen := map[listen]bool{}
	for i, l := range c.Listen {
		path := fmt.Sprintf("listen[%d]", i)
		a, err := parseListen(l)
		a.Any = false // :2055 and [::]:2055 are one
		switch {
		case err != nil:
			ps = append(ps, &sdk.Problem{Path: path, Message: err.Error(), Help: `write an address and a port: "0.0.0.0:2055", "[::]:2055", ":2055"; or a passed socket: "fd:0", "fd:netflow"`})
		case seen[a] && (a.Port() != 0 || a.fd != ""):
			ps = append(ps, &sdk.Problem{Path: path, Message: fmt.Sprintf("%q is named twice", l)})
		}
		seen[a] = true
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
	for i, p := range c.Allow {
		if i > 0 && slices.Contains(c.Allow[:i], p) {
			ps = append(ps, &sdk.Problem{Path: fmt.Sprintf("allow[%d]", i), Message: fmt.Sprintf("%s is named twice", netip.Prefix(p))})
		}
	}
	if c.RateLimit < 0 || c.RateLimit > maxRate {
		ps = append(ps, &sdk.Problem{Path: "rate_limit", Message: fmt.Sprintf("%d is not between 0 and %d datagrams a second", c.RateLimit, maxRate), Help: "0 sets no limit"})
	}
	return ps.Err()
}

// listen is an address to receive on.
type listen struct {
	endpoint.Address
	fd string // name or number of sockets that a supervisor passed, instead of an address
}

func (l listen) String() string {
	if l.fd != "" {
		return "fd:" + l.fd
	}
	return l.AddrPort.String()
}

func parseListen(s string) (listen, error) {
	if name, ok := strings.CutPrefix(s, "fd:"); ok {
		if name == "" || len(name) > 255 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) {
			return listen{}, fmt.Errorf("%q names no passed socket", s)
		}
		return listen{fd: name}, nil
	}
	a, err := endpoint.Parse(s)
	return listen{Address: a}, err
}

const (
	// ReasonKernelDrops: datagrams that the kernel threw away because the receive buffer was full.
	ReasonKernelDrops sdk.Reason = "kernel_drops"
	// ReasonNotAllowed: datagrams of senders that `allow` does not name.
	ReasonNotAllowed sdk.Reason = "not_allowed"
	// ReasonRateLimited: datagrams of an exporter above `rate_limit`.
	ReasonRateLimited sdk.Reason = "rate_limited"
)

// noteThinned: datagrams that passed and stand for others that a limit dropped.
const noteThinned sdk.Reason = "thinned"

// Thinned is the schema of what the source hands out behind a limit.
var Thinned = sdk.NewSchema(append(slices.Clone(sdk.Datagram.Fields()), sdk.Field{Name: thinning, Type: sdk.Uint32, Extra: true,
	Doc: "how many datagrams of the exporter it stands for, itself and those that a limit dropped; 0 is 1"})...)

const thinning = "thinning"

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

A supervisor may open the sockets and pass them on, as systemd does for a service with a socket unit (LISTEN_FDS): they stay open
while Weir is stopped and started, what comes meanwhile waits in them, and ports below 1024 need no privilege. "fd:netflow" are all
sockets of the name netflow (FileDescriptorName=). Several of one address, with ReusePort=yes, have a worker each and are balanced like
the source's own; else the workers share a socket, and the one that is free takes what comes next, which keeps no order among
datagrams of one exporter. A passed socket is read until it is empty when the pipeline stops, and left as it came.

The source keeps account of every sender: "weir inspect exporters" shows who sends how much, what of it was dropped, and
whom "allow" keeps out. 65,536 exporters and 4,096 strangers are told apart at most, those silent for a day forgotten; what comes
from more is counted together, and shares one "rate_limit".

A "rate_limit" drops datagrams, and flows with them. So that sums over an exporter that is limited stay right, each datagram that passes
stands for those dropped since the one before it: the column thinning says how many it is, and decode multiplies the sampling
rate of its flows by that. Their sum is exactly what came. It is right for sums of many flows, as sampling is; what one dropped
datagram carried is not known. thinned notes how many datagrams stand for more than themselves, and "weir inspect exporters" one in how many passes lately.
What is dropped is missing in the exporter's sequence numbers too. By thinning decode knows how much of that was dropped here, and does not tell
it again as lost before Weir: of NetFlow v9 and sFlow, whose numbers count datagrams, exactly; of NetFlow v5 and IPFIX, whose numbers count flows, as
far as so many datagrams could have held them. The limit protects the others from one that floods; an
exporter that really sends too much is better sampled by itself.

Where datagrams of one exporter come together, and are of one size but for the last, the kernel hands them over in a train (gro): a
network card's driver joins what it finds at one look, so there are trains where it is busy and exporters send in bursts, and none
where datagrams come singly, which costs nothing either. All of a train have one time stamp and go to one worker. When the kernel
drops a train it counts one. What else was in it a program finds out (CAP_BPF, Linux 5.7), as soon as a worker has read all that waits for it; until then,
and where there is no such program, kernel_drops is a bound from below, and "weir inspect sockets" says so; sequence numbers tell the rest.

"balance: packet" passes over a worker that has fallen behind. The others do not: what they are for is that an exporter's datagrams stay
in order on one worker, so a worker that stalls loses what is its own once its buffer is full.

What the kernel has to drop because its buffer is full stands beside the ledger as lost{kernel_drops}; losses before the socket
(network card, backlog of the CPU) do not show there. When the pipeline stops, the sockets leave their group first, so that
another process that listens on the port takes over, and what they already hold is read to the end.`,
		Config: func() any { return &Config{Balance: BalanceDomain, ReceiveBuffer: 16 << 20, GRO: true} },
		Output: func(cfg any, _ *sdk.Schema) ([]*sdk.Schema, error) {
			if cfg.(*Config).RateLimit > 0 {
				return []*sdk.Schema{Thinned}, nil
			}
			return []*sdk.Schema{sdk.Datagram}, nil
		},
		Lanes: func(cfg any) (int, bool) {
			c := cfg.(*Config)
			return len(c.Listen) * c.workers(), true
		},
		Reasons: []sdk.Reason{ReasonNotAllowed, ReasonRateLimited},
		Losses:  []sdk.Reason{ReasonKernelDrops},
	},
	Source: func(env *sdk.Env, cfg any) (sdk.Source, error) { return newSource(env, cfg.(*Config)) },
}
