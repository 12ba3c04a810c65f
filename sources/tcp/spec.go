// Package tcp is the source that accepts exporters' connections: IPFIX over TCP and TLS (RFC 7011, 10.4 and 11).
//
// An address has one listener and one reader, whose lane serves all its connections. Each connection has a goroutine that cuts
// the stream into messages, in slabs that batches look into, and hands them to the reader. It does so only while few slabs are
// lent: when the pipeline is full nothing is read, and TCP holds the exporter back.
package tcp

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/certs"
	"github.com/weirflow/weir/sdk/endpoint"
)

// Config of the source.
type Config struct {
	Listen         []string      `yaml:"listen" doc:"addresses and ports to accept connections on; without an address, or with [::], IPv4 and IPv6 alike" example:"0.0.0.0:4739" required:"true"`
	TLS            TLS           `yaml:"tls" doc:"encryption; without a certificate connections are plain TCP"`
	MaxConnections int           `yaml:"max_connections" doc:"most connections at a time on each address; further ones are refused. Each takes 64 KiB" example:"1000"`
	MaxPerAddress  int           `yaml:"max_per_address" doc:"most of them that one exporter's address may have, so that none can keep the others out; further ones are refused. The addresses of an IPv6 network of 64 bits count as one, for any exporter in it can have them all; those of a link (fe80::) do not. The sink tcp needs one for each exporter that it passes on" example:"16"`
	MaxMessage     int           `yaml:"max_message" doc:"longest message in bytes; a connection that announces a longer one is closed"`
	IdleTimeout    time.Duration `yaml:"idle_timeout" doc:"a connection is closed when no whole message has come for so long" example:"1h"`
	Allow          []string      `yaml:"allow" doc:"exporters that may connect, as addresses or prefixes; empty: all" example:"[192.0.2.0/24, 2001:db8::1]"`
}

// TLS is how connections are encrypted and who may make them.
type TLS struct {
	Cert              string `yaml:"cert" doc:"file of the certificate and its chain, PEM; read anew when it changes" example:"/etc/weir/collector.crt"`
	Key               string `yaml:"key" doc:"file of the certificate's private key, PEM" example:"/etc/weir/collector.key"`
	ClientCA          string `yaml:"client_ca" doc:"file of the authorities, PEM, that exporters' certificates are checked against; read anew when it changes" example:"/etc/weir/exporters.crt"`
	RequireClientCert bool   `yaml:"require_client_cert" doc:"only exporters with a certificate of client_ca may connect"`
	MinVersion        string `yaml:"min_version" doc:"least version of TLS" enum:"1.2,1.3"`
}

const (
	minMessage     = 16 // the header alone (RFC 7011, 3.1)
	mostMessage    = 1<<16 - 1
	mostConnection = 1 << 15
	mostIdle       = 24 * time.Hour
)

// Validate checks what can be checked without the machine.
func (c *Config) Validate() error {
	var ps sdk.Problems
	wrong := func(path, help, format string, args ...any) {
		ps = append(ps, &sdk.Problem{Path: path, Message: fmt.Sprintf(format, args...), Help: help})
	}
	if len(c.Listen) == 0 {
		wrong("listen", `say for example listen: "0.0.0.0:4739"`, "no address to accept connections on")
	}
	seen := map[netip.AddrPort]bool{}
	for i, text := range c.Listen {
		path := fmt.Sprintf("listen[%d]", i)
		l, err := endpoint.Parse(text)
		switch {
		case err != nil:
			wrong(path, `write an address and a port: "0.0.0.0:4739", "[::]:4739", ":4739"`, "%v", err)
		case seen[l.AddrPort] && l.Port() != 0:
			wrong(path, "", "%q is named twice", text)
		}
		seen[l.AddrPort] = true
	}
	for i, text := range c.Allow {
		switch _, p := endpoint.ParsePrefix(text); p {
		case nil:
		case endpoint.NoPrefix:
			wrong(fmt.Sprintf("allow[%d]", i), "write 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32", "%q is neither an address nor a prefix", text)
		default:
			wrong(fmt.Sprintf("allow[%d]", i), p.Help, "%s", p.Message)
		}
	}
	if c.MaxConnections < 1 || c.MaxConnections > mostConnection {
		wrong("max_connections", "", "%d is outside 1 to %d", c.MaxConnections, mostConnection)
	}
	if c.MaxPerAddress < 1 || c.MaxPerAddress > mostConnection {
		wrong("max_per_address", "", "%d is outside 1 to %d", c.MaxPerAddress, mostConnection)
	}
	if c.MaxMessage < minMessage || c.MaxMessage > mostMessage {
		wrong("max_message", "IPFIX messages are never longer", "%d is outside %d to %d", c.MaxMessage, minMessage, mostMessage)
	}
	if c.IdleTimeout < time.Second || c.IdleTimeout > mostIdle {
		wrong("idle_timeout", "", "%v is outside 1s to %v", c.IdleTimeout, mostIdle)
	}
	ps = append(ps, c.TLS.problems()...)
	return ps.Err()
}

func (t *TLS) problems() (ps sdk.Problems) {
	wrong := func(path, message, help string) {
		ps = append(ps, &sdk.Problem{Path: "tls." + path, Message: message, Help: help})
	}
	switch {
	case t.Cert != "" && t.Key == "":
		wrong("key", "the certificate has no private key", "name the file it is in")
	case t.Cert == "" && t.Key != "":
		wrong("cert", "the private key has no certificate", "name the file it is in")
	case t.Cert == "" && (t.ClientCA != "" || t.RequireClientCert):
		wrong("cert", "exporters' certificates are to be checked, and the collector has none itself", "name a certificate and its key")
	}
	if t.RequireClientCert && t.ClientCA == "" {
		wrong("client_ca", "certificates are required, and no authority is named to check them against", "name the file of the authority that gave exporters their certificates")
	}
	if _, ok := certs.Versions[t.MinVersion]; !ok {
		wrong("min_version", fmt.Sprintf("%q is none of 1.2, 1.3", t.MinVersion), "")
	}
	return ps
}

// Reasons for which messages are dropped.
const (
	ReasonBadFraming sdk.Reason = "bad_framing" // no IPFIX header stood where a message had to begin; the connection was closed
	ReasonTruncated  sdk.Reason = "truncated"   // a connection ended inside a message
)

// Reasons for which connections, not messages, were refused: they stand beside the ledger.
const (
	ReasonTooMany    sdk.Reason = "connections_too_many"
	ReasonAddress    sdk.Reason = "connections_too_many_of_address"
	ReasonNotAllowed sdk.Reason = "connections_not_allowed"
	ReasonTLS        sdk.Reason = "connections_tls_failed"
)

// Schema of what the source hands out: a datagram's, with the number of the connection.
var Schema = sdk.NewSchema(append(slices.Clone(sdk.Datagram.Fields()), sdk.Field{Name: session, Type: sdk.Uint64, Extra: true,
	Doc: "the connection: what an exporter tells on it (templates, samplers) holds for it alone"})...)

const session = "session"

// Plugin is the source `tcp`.
var Plugin = sdk.Plugin{
	Spec: sdk.Spec{
		Kind: sdk.KindSource,
		Type: "tcp",
		Doc:  "accepts connections of IPFIX exporters over TCP and TLS",
		Long: `Each IPFIX message becomes one record: its bytes, the address and port of the exporter, and the time at which its last byte was
read. NetFlow has no framing for TCP and is not accepted.

Templates hold for the connection they came on and end with it (RFC 7011, 8); the column session tells decode which that is.
So they are not kept for the next start, as those of datagrams are: an exporter that connects anew sends them anew, before its
data. When the
pipeline cannot keep up, connections are not read and TCP slows the exporters: nothing is lost.

A connection that does not send IPFIX, announces a message longer than max_message, or completes none for idle_timeout is
closed; what was begun on it is dropped and counted. Refused connections stand beside the ledger as lost{connections_...},
in connections. When the pipeline stops, what has arrived is read first.`,
		Config: func() any {
			return &Config{MaxConnections: 1024, MaxPerAddress: 256, MaxMessage: mostMessage, IdleTimeout: 30 * time.Minute, TLS: TLS{MinVersion: "1.2"}}
		},
		Output:   func(any, *sdk.Schema) ([]*sdk.Schema, error) { return []*sdk.Schema{Schema}, nil },
		Lanes:    func(cfg any) (int, bool) { return len(cfg.(*Config).Listen), true },
		Slowable: true,
		Reasons:  []sdk.Reason{ReasonBadFraming, ReasonTruncated, sdk.ReasonStopped, ReasonTooMany, ReasonAddress, ReasonNotAllowed, ReasonTLS},
	},
	Source: func(env *sdk.Env, cfg any) (sdk.Source, error) { return newSource(env, cfg.(*Config)) },
}
