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
	To []string `yaml:"to" doc:"addresses host:port; each gets every datagram" required:"true" example:"[127.0.0.1:2055]"`
}

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
	return ps.Err()
}

const payload = "payload"

// Plugin is the sink `udp`.
var Plugin = sdk.Plugin{
	Spec: sdk.Spec{
		Kind: sdk.KindSink,
		Type: "udp",
		Doc:  "sends the payload of each record as a UDP datagram",
		Long: "Its input needs a column `payload`: that of the udp, pcap, kafka and generate sources, or of whatever encodes flows. The\n" +
			"datagrams leave from this host's address in the order of the records; with several addresses each gets all of them.\n\n" +
			"Delivered means handed to the kernel: UDP has no answer. That nobody listens at the other end (ICMP port unreachable) is\n" +
			"logged and counted, and sending goes on. A payload that no datagram can hold is refused with the code `too_long`.\n\n" +
			"A block that could not be sent in full is taken up where it stopped as long as the process lives; after a crash it may be\n" +
			"sent again.",
		Config: func() any { return new(Config) },
		Needs:  func(any, *sdk.Schema, [][]string) []string { return []string{payload} },
		Input: func(_ any, in *sdk.Schema) error {
			_, err := payloadOf(in)
			return err
		},
	},
	Sink: func(env *sdk.Env, cfg any) (sdk.Sink, error) { return &sink{env: env, to: cfg.(*Config).To}, nil },
}

// payloadOf finds the column that is sent.
func payloadOf(in *sdk.Schema) (int, error) {
	i := in.Index(payload)
	if i < 0 {
		return 0, &sdk.Problem{Message: fmt.Sprintf("the input has no column %q to send, its columns are %v", payload, in.Names()),
			Help: "read from a source of datagrams, not from decode"}
	}
	if t := in.Field(i).Type; t != sdk.Bytes {
		return 0, &sdk.Problem{Message: fmt.Sprintf("the column %q is %s, and only bytes can be sent", payload, t)}
	}
	return i, nil
}
