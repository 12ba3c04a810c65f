// Package udp is the sink that sends the payload of each record as a UDP datagram: to a collector, or to several at once.
package udp

import (
	"fmt"
	"net"
	"strconv"

	"github.com/weirflow/weir/sdk"
)

// Config of the sink.
type Config struct {
	To     []string `yaml:"to" doc:"addresses host:port; each gets every datagram" required:"true" example:"[127.0.0.1:2055]"`
	Source Source   `yaml:"source" doc:"address that datagrams come from. own: this host's. keep: the exporter's, with its port, so that the collector sees who sent it; needs Linux and CAP_NET_RAW" enum:"own,keep"`
	GSO    bool     `yaml:"gso" doc:"give datagrams of one size to the kernel as one piece that the network card, or the receiver on this host, cuts (UDP GSO, Linux 4.18): two to three times as fast. For load tests"`
}

// Source is the source address of datagrams.
type Source string

const (
	SourceOwn  Source = "own"
	SourceKeep Source = "keep"
)

// Validate checks what the tags cannot say.
func (c *Config) Validate() error {
	var ps sdk.Problems
	if len(c.To) == 0 {
		ps = append(ps, &sdk.Problem{Path: "to", Message: "there is no address to send to", Help: "name one as host:port"})
	}
	seen := map[string]bool{}
	for i, to := range c.To {
		add := func(format string, args ...any) {
			ps = append(ps, &sdk.Problem{Path: fmt.Sprintf("to[%d]", i), Message: fmt.Sprintf(format, args...), Help: "write host:port, an IPv6 address in brackets"})
		}
		host, port, err := net.SplitHostPort(to)
		switch n, perr := strconv.ParseUint(port, 10, 16); {
		case err != nil:
			add("%q is not host:port", to)
		case host == "":
			add("%q has no host", to)
		case perr != nil || n == 0:
			add("%q has no port from 1 to 65535", to)
		case seen[to]:
			add("%q is listed twice", to)
		}
		seen[to] = true
	}
	if c.Source != SourceOwn && c.Source != SourceKeep {
		ps = append(ps, &sdk.Problem{Path: "source", Message: fmt.Sprintf("%q is neither own nor keep", string(c.Source))})
	}
	if c.GSO && c.Source == SourceKeep {
		ps = append(ps, &sdk.Problem{Path: "gso", Message: "datagrams that keep their source leave by a raw socket, which cuts no pieces", Help: "leave one of the two out"})
	}
	return ps.Err()
}

// ReasonNobodyListens: the kernel has told that a datagram reached no socket. A note beside the ledger, for it was delivered as far as
// UDP can tell; at least so many, for a network need not answer.
const ReasonNobodyListens sdk.Reason = "nobody_listens"

// Columns that are read: the payload, and for datagrams that keep their source, that.
const (
	payload = "payload"
	addr    = "exporter_addr"
	port    = "exporter_port"
)

// Plugin is the sink `udp`.
var Plugin = sdk.Plugin{
	Spec: sdk.Spec{
		Kind: sdk.KindSink,
		Type: "udp",
		Doc:  "sends the payload of each record as a UDP datagram",
		Long: "Its input needs a column `payload`: that of the udp, pcap, kafka and generate sources, or of whatever encodes flows. The\n" +
			"datagrams leave from this host's address in the order of the records; with several addresses each gets all of them.\n\n" +
			"With `gso` datagrams of one size in a row are one piece to the kernel until its end. Nothing of that is seen on the wire. But on this\n" +
			"host, over loopback or into a container, a receiver that spreads datagrams over sockets by what is in them (Weir's `balance:\n" +
			"domain`) sees only the first of each piece, and those behind it go where it goes: exporters then change workers.\n\n" +
			"Delivered means handed to the kernel: UDP has no answer. That nobody listens at the other end (ICMP port unreachable) is\n" +
			"logged and noted as `nobody_listens`: over loopback nearly each time, over a network as often as it answers. Sending goes on. A payload that no datagram can hold is refused with the code `too_long`.\n\n" +
			"With `source: keep` a datagram leaves with the address and port of the exporter that sent it (columns `exporter_addr` and\n" +
			"`exporter_port`): a tee that the collector behind does not notice. It goes out by a raw socket, in fragments where the path is too\n" +
			"narrow, with its checksum. Routers that check sources (RFC 2827) and rp_filter of the collector may drop it: let it\n" +
			"go over links that are yours. Answers, ICMP among them, go to the exporter. A row whose address is none, or of another family than\n" +
			"the collector's, is refused with the code `bad_source`.\n\n" +
			"A block that could not be sent in full is taken up where it stopped as long as the process lives; after a crash it may be\n" +
			"sent again.",
		Config: func() any { return &Config{Source: SourceOwn} },
		Needs: func(cfg any, _ *sdk.Schema, _ [][]string) []string {
			if cfg.(*Config).Source == SourceKeep {
				return []string{payload, addr, port}
			}
			return []string{payload}
		},
		Input: func(cfg any, in *sdk.Schema) error {
			_, err := columnsOf(in, cfg.(*Config).Source)
			return err
		},
	},
	Sink: func(env *sdk.Env, cfg any) (sdk.Sink, error) { return &sink{env: env, cfg: cfg.(*Config)}, nil },
}

// columns of the input; -1 where none is needed.
type columns struct{ payload, addr, port int }

// columnsOf finds the columns that are sent.
func columnsOf(in *sdk.Schema, source Source) (columns, error) {
	c := columns{in.Index(payload), -1, -1}
	if c.payload < 0 {
		return c, &sdk.Problem{Message: fmt.Sprintf("the input has no column %q to send, its columns are %s", payload, in.Listing()),
			Help: "read from a source of datagrams, not from decode"}
	}
	if t := in.Field(c.payload).Type; t != sdk.Bytes {
		return c, &sdk.Problem{Message: fmt.Sprintf("the column %q is %s, and only bytes can be sent", payload, t)}
	}
	if source != SourceKeep {
		return c, nil
	}
	c.addr, c.port = in.Index(addr), in.Index(port)
	if c.addr < 0 || c.port < 0 || in.Field(c.addr).Type != sdk.Addr || in.Field(c.port).Type != sdk.Uint16 {
		return c, &sdk.Problem{Path: "source", Message: fmt.Sprintf("the input has no columns %s and %s to keep, its columns are %s", addr, port, in.Listing()),
			Help: "read from a source of datagrams, or say `source: own`"}
	}
	return c, nil
}
