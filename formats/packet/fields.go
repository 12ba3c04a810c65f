package packet

import (
	"fmt"
	"slices"
	"strings"
)

// Link is what a frame begins with.
type Link uint8

const (
	Ethernet Link = iota + 1
	IPv4
	IPv6
	IP   // IPv4 or IPv6, by the version in the first four bits
	MPLS // a label stack
)

// Has says which fields a frame had.
type Has uint16

const (
	HasMAC      Has = 1 << iota
	HasVLAN         // VLAN
	HasInner        // CustomerVLAN
	HasLabels       // Labels
	HasIPv4         // addresses, TOS, TTL, Protocol, Length, FragmentID
	HasIPv6         // addresses, TOS, TTL, Protocol, Length, FlowLabel
	HasFragment     // the packet is a fragment: FragmentID, FragmentOffset
	HasPorts        // SrcPort, DstPort
	HasTCP          // TCPFlags
	HasICMP         // ICMPType, ICMPCode
	HasTunnel       // Tunnel*
	Cut             // the bytes ended within a header
	Malformed       // a header contradicts itself: what is behind it was not looked at
)

// HasIP is either version.
const HasIP = HasIPv4 | HasIPv6

// MaxLabels is how many labels of a stack are kept, as many as IPFIX has elements for.
const MaxLabels = 10

// Fields are what a frame says, zero where it does not. They are of the innermost packet that was looked at.
type Fields struct {
	SrcAddr, DstAddr [16]byte // IPv4 mapped into IPv6
	// The end points of the outermost tunnel that was taken off; zero for eompls, which has none.
	TunnelSrc, TunnelDst [16]byte
	TunnelID             uint64 // VNI, GRE key, PPTP call id or TEID of that tunnel
	SrcMAC, DstMAC       uint64 // the 48 bits of the address in the low bits
	Length               uint32 // of the IP packet in bytes, by its own word
	FlowLabel            uint32 // 20 bits
	FragmentID           uint32
	Labels               [MaxLabels]uint32 // 20 bits each, outermost first
	Has                  Has
	Etype                uint16 // behind all tags and labels; of an 802.3 frame that of its SNAP header
	VLAN                 uint16 // of the outermost tag, 12 bits
	CustomerVLAN         uint16 // of the innermost of several tags, 12 bits
	FragmentOffset       uint16 // in units of 8 bytes
	SrcPort, DstPort     uint16 // of TCP, UDP, UDP-Lite, SCTP, DCCP
	TCPFlags             uint16 // 12 bits
	Protocol             uint8  // behind IPv6's extension headers
	TOS                  uint8
	TTL                  uint8 // or hop limit
	ICMPType, ICMPCode   uint8
	LabelCount           uint8 // of Labels
	Tunnel               Tunnel
	depth                uint8 // tunnels taken off
}

// Tunnel is a kind of encapsulation.
type Tunnel uint8

const (
	NoTunnel Tunnel = iota
	GRE             // RFC 2784, 2890; version 1 with PPP: RFC 2637
	IPIP            // IPv4 or IPv6 in IPv4 or IPv6 (RFC 2003, 2473, 4213)
	VXLAN           // RFC 7348, UDP port 4789; VXLAN-GPE, port 4790
	Geneve          // RFC 8926, UDP port 6081
	GTPU            // 3GPP TS 29.281, UDP port 2152
	SRv6            // a packet behind a segment routing header (RFC 8754, 8986)
	EoMPLS          // an Ethernet frame behind a label stack (RFC 4448)
	tunnels
)

var tunnelNames = [tunnels]string{"", "gre", "ipip", "vxlan", "geneve", "gtpu", "srv6", "eompls"}

// String is the tunnel's name in the column tunnel_type; empty for none.
func (t Tunnel) String() string {
	if t < tunnels {
		return tunnelNames[t]
	}
	return "tunnel(?)"
}

// Decapsulate is a set of tunnels: their inner packet is the flow.
type Decapsulate uint8

// Decap is the set of the tunnels given.
func Decap(ts ...Tunnel) (d Decapsulate) {
	for _, t := range ts {
		d |= 1 << t
	}
	return d
}

// All tunnels.
const All = Decapsulate(1<<tunnels - 2)

func (d Decapsulate) has(t Tunnel) bool { return d>>t&1 != 0 }

// TunnelNames are the names of all tunnels.
func TunnelNames() []string { return slices.Clone(tunnelNames[1:]) }

// ParseTunnel finds the tunnel of a name.
func ParseTunnel(name string) (Tunnel, error) {
	if i := slices.Index(tunnelNames[1:], name); i >= 0 {
		return Tunnel(i + 1), nil
	}
	return 0, fmt.Errorf("%q is not a tunnel that can be taken off: write one of %s", name, strings.Join(tunnelNames[1:], ", "))
}

// Ethernet types.
const (
	EtypeIPv4 = 0x0800
	EtypeIPv6 = 0x86dd

	etypeARP      = 0x0806
	etypeTEB      = 0x6558 // transparent Ethernet bridging: a frame in GRE or Geneve
	etypeQ        = 0x8100 // 802.1Q
	etypeQOld     = 0x9100 // QinQ before 802.1ad
	etypeAD       = 0x88a8 // 802.1ad
	etypeMPLS     = 0x8847
	etypeMPLSUp   = 0x8848 // with upstream-assigned labels, once multicast (RFC 5332)
	etypePPPoE    = 0x8864 // session (RFC 2516)
	etypePPPoED   = 0x8863 // discovery
	etypeSlow     = 0x8809 // slow protocols, LACP
	etypeLLDP     = 0x88cc
	etypePPP      = 0x880b
	etypeLoopback = 0x9000
	etypeCFM      = 0x8902
	etypeMACsec   = 0x88e5
)

// Limits of chains.
const (
	maxTags       = 8
	maxStack      = 64 // labels looked at
	maxExtensions = 16
	maxTunnels    = 4
)
