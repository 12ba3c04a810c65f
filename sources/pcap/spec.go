// Package pcap is the source that reads capture files: the UDP datagrams in them, with the addresses and times they had when
// they were captured, or the packets themselves.
package pcap

import (
	"fmt"
	"path/filepath"

	"github.com/weirflow/weir/sdk"
)

// Config of the source.
type Config struct {
	Path    []string `yaml:"path" doc:"capture files or patterns of their names (*, ?, [a-z]); pcap or pcapng, also compressed with gzip" example:"captures/*.pcap" required:"true"`
	Payload string   `yaml:"payload" doc:"what a record is: a UDP datagram found in the packets, or a packet" enum:"udp,packets"`
	Port    []int    `yaml:"port" doc:"with payload udp: the destination ports to keep; none: all" example:"[2055, 6343]"`
}

const (
	payloadUDP     = "udp"
	payloadPackets = "packets"
)

// Validate checks what can be checked without the files.
func (c *Config) Validate() error {
	var ps sdk.Problems
	if len(c.Path) == 0 {
		ps = append(ps, &sdk.Problem{Path: "path", Message: "no file to read", Help: "say for example path: captures/*.pcap"})
	}
	for i, p := range c.Path {
		if _, err := filepath.Match(p, ""); err != nil || p == "" {
			ps = append(ps, &sdk.Problem{Path: fmt.Sprintf("path[%d]", i), Message: fmt.Sprintf("%q is not a path or a pattern of paths", p)})
		}
	}
	switch c.Payload {
	case payloadUDP:
	case payloadPackets:
		if len(c.Port) > 0 {
			ps = append(ps, &sdk.Problem{Path: "port", Message: "only datagrams are kept by port, and the records asked for are packets", Help: "say `payload: udp`, or leave `port` out"})
		}
	default:
		ps = append(ps, &sdk.Problem{Path: "payload", Message: fmt.Sprintf("%q is neither udp nor packets", c.Payload)})
	}
	for i, p := range c.Port {
		if p < 1 || p > 65535 {
			ps = append(ps, &sdk.Problem{Path: fmt.Sprintf("port[%d]", i), Message: fmt.Sprintf("%d is not a port", p)})
		}
	}
	return ps.Err()
}

// Why a packet became no record. The first five are those of a packet, by formats/pcap; the last two end a file.
const (
	ReasonLinkType      sdk.Reason = "link_type"      // a link layer that is not understood
	ReasonNotUDP        sdk.Reason = "not_udp"        // another protocol
	ReasonFragment      sdk.Reason = "fragment"       // a part of an IP datagram that did not become whole
	ReasonTruncated     sdk.Reason = "truncated"      // captured with too small a snap length
	ReasonMalformed     sdk.Reason = "malformed"      // header lengths that cannot be
	ReasonFileTruncated sdk.Reason = "file_truncated" // the file stops within a packet
	ReasonFileCorrupt   sdk.Reason = "file_corrupt"   // the file cannot be read on
)

// Plugin is the source `pcap`.
var Plugin = sdk.Plugin{
	Spec: sdk.Spec{
		Kind: sdk.KindSource,
		Type: "pcap",
		Doc:  "reads capture files",
		Long: `Files are read in the order in which they are named, those of a pattern by name, several at a time if there are several lanes.

With payload udp a record is the payload of a UDP datagram with its source address and port and the time at which it was
captured, so that a capture of flow exports is read as if the exporters sent them. Fragmented datagrams are put together, and then
count as one record. Packets that hold no whole datagram are dropped and counted: not_udp, fragment (the rest did not come),
truncated (a snap length below the packet's), malformed, link_type.

With payload packets a record is a packet. Packets of Linux "any" devices, of loopback and of raw IP get an Ethernet header, so
that all begin alike; MAC addresses that were not captured are zero.

A file that stops within a packet (file_truncated) or cannot be read on (file_corrupt) counts as one record dropped; a message
says at which byte.`,
		Config: func() any { return &Config{Payload: payloadUDP} },
		Output: func(cfg any, _ *sdk.Schema) ([]*sdk.Schema, error) {
			if cfg.(*Config).Payload == payloadPackets {
				return []*sdk.Schema{sdk.Packet}, nil
			}
			return []*sdk.Schema{sdk.Datagram}, nil
		},
		Slowable: true,
		Lanes:    func(any) (int, bool) { return 0, false }, // as many as there are files, which is not known yet
		Reasons: []sdk.Reason{ReasonLinkType, ReasonNotUDP, ReasonFragment, ReasonTruncated, ReasonMalformed, ReasonFileTruncated,
			ReasonFileCorrupt},
	},
	Source: func(env *sdk.Env, cfg any) (sdk.Source, error) { return newSource(env, cfg.(*Config)) },
}
