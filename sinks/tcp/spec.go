// Package tcp is the sink that sends IPFIX messages to a collector over TCP or TLS (RFC 7011, 10.4 and 11).
//
// What an exporter tells holds for its connection, so each exporter of the input has a connection of its own, and a connection
// that is made anew begins with the templates and options data its exporter has told so far.
package tcp

import (
	"fmt"
	"net"
	"strconv"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/certs"
)

// Config of the sink.
type Config struct {
	To             string `yaml:"to" doc:"the collector, host:port" required:"true" example:"collector.example.net:4739"`
	TLS            TLS    `yaml:"tls" doc:"encryption"`
	MaxConnections int    `yaml:"max_connections" doc:"most connections at a time; with more exporters the one that was used longest ago is closed" example:"1000"`
}

// TLS is how the connection is encrypted.
type TLS struct {
	Enabled    bool   `yaml:"enabled" doc:"encrypt the connection and check the collector's certificate"`
	CA         string `yaml:"ca" doc:"file of the authorities, PEM, that the collector's certificate is checked against; empty: the system's. This file and those of cert and key are read anew when they change" example:"/etc/weir/ca.crt"`
	Cert       string `yaml:"cert" doc:"file of the certificate that is shown to the collector, PEM" example:"/etc/weir/exporter.crt"`
	Key        string `yaml:"key" doc:"file of that certificate's private key, PEM" example:"/etc/weir/exporter.key"`
	ServerName string `yaml:"server_name" doc:"name that the collector's certificate must have; empty: the host of to"`
	MinVersion string `yaml:"min_version" doc:"least version of TLS" enum:"1.2,1.3"`
}

const mostConnections = 1 << 15

// ReasonEnded notes connections that the collector has ended.
const ReasonEnded sdk.Reason = "connections_ended"

// Validate checks what the tags cannot say.
func (c *Config) Validate() error {
	var ps sdk.Problems
	wrong := func(path, help, format string, args ...any) {
		ps = append(ps, &sdk.Problem{Path: path, Message: fmt.Sprintf(format, args...), Help: help})
	}
	host, port, err := net.SplitHostPort(c.To)
	n, perr := strconv.ParseUint(port, 10, 16)
	const help = "write host:port, an IPv6 address in brackets; the port of IPFIX is 4739"
	switch {
	case c.To == "":
		wrong("to", help, "there is no collector to send to")
	case err != nil:
		wrong("to", help, "%q is not host:port", c.To)
	case host == "":
		wrong("to", help, "%q has no host", c.To)
	case perr != nil || n == 0:
		wrong("to", help, "%q has no port from 1 to 65535", c.To)
	}
	if c.MaxConnections < 1 || c.MaxConnections > mostConnections {
		wrong("max_connections", "", "%d is outside 1 to %d", c.MaxConnections, mostConnections)
	}
	t := &c.TLS
	if !t.Enabled && (t.CA != "" || t.Cert != "" || t.Key != "" || t.ServerName != "") {
		wrong("tls.enabled", "say tls: { enabled: true, ... }", "TLS is described, and not switched on")
	}
	if t.Cert != "" && t.Key == "" {
		wrong("tls.key", "name the file it is in", "the certificate has no private key")
	}
	if t.Cert == "" && t.Key != "" {
		wrong("tls.cert", "name the file it is in", "the private key has no certificate")
	}
	if _, ok := certs.Versions[t.MinVersion]; !ok {
		wrong("tls.min_version", "", "%q is none of 1.2, 1.3", t.MinVersion)
	}
	return ps.Err()
}

const (
	payload  = "payload"
	exporter = "exporter_addr"
	session  = "session"
)

// Plugin is the sink `tcp`.
var Plugin = sdk.Plugin{
	Spec: sdk.Spec{
		Kind: sdk.KindSink,
		Type: "tcp",
		Doc:  "sends IPFIX messages to a collector over TCP or TLS",
		Long: `Its input needs a column payload that holds one IPFIX message a row: that of the udp, tcp, pcap, kafka and generate sources. NetFlow
and sFlow have no framing for TCP; such rows are refused with the code not_ipfix.

Each exporter_addr (and session) of the input has a connection of its own, so that templates and sequence numbers of different
exporters do not mix. A connection that had to be made anew begins with the templates and sampler tables told before. A collector
that takes nothing holds the pipeline back.

Delivered means handed to the kernel: IPFIX has no answer. Connections that the collector ends are noted as connections_ended; one that
ends right after it began is an error of the block that comes next, for what was sent on it is lost. A collector that asks for a
certificate gets nothing before it has accepted the one of tls.cert. When a connection breaks, the block under way is sent again from its
exporter's first row, so the collector may get some messages twice; what earlier blocks left in the kernel's buffers may not have
reached it.

Each connection has a buffer of 64 KiB and one message; what exporters tell of templates takes at most 16 MiB, for all lanes together.`,
		Config: func() any { return &Config{MaxConnections: 256, TLS: TLS{MinVersion: "1.2"}} },
		Needs: func(_ any, in *sdk.Schema, _ [][]string) []string {
			needs := []string{payload}
			for _, name := range []string{exporter, session} {
				if in.Index(name) >= 0 {
					needs = append(needs, name)
				}
			}
			return needs
		},
		Input: func(_ any, in *sdk.Schema) error {
			_, err := resolve(in)
			return err
		},
		Copies:  func(cfg any) sdk.Size { return sdk.Size(cfg.(*Config).MaxConnections) * mostKept },
		Ordered: true,
	},
	Sink: func(env *sdk.Env, cfg any) (sdk.Sink, error) { return newSink(env, cfg.(*Config)) },
}

// columns are where the input has what is sent and whose it is, -1 where nobody says.
type columns struct{ payload, exporter, session int }

func resolve(in *sdk.Schema) (columns, error) {
	c := columns{in.Index(payload), in.Index(exporter), in.Index(session)}
	if c.payload < 0 {
		return c, &sdk.Problem{Message: fmt.Sprintf("the input has no column %q to send, its columns are %s", payload, in.Listing()),
			Help: "read from a source of datagrams, not from decode"}
	}
	for _, x := range []struct {
		at   int
		want sdk.Type
	}{{c.payload, sdk.Bytes}, {c.exporter, sdk.Addr}, {c.session, sdk.Uint64}} {
		if x.at >= 0 && in.Field(x.at).Type != x.want {
			return c, &sdk.Problem{Message: fmt.Sprintf("the column %q is %s, and has to be %s", in.Field(x.at).Name, in.Field(x.at).Type, x.want)}
		}
	}
	return c, nil
}
