package emulate

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Protocol that an exporter speaks.
type Protocol uint8

const (
	NetFlowV5 Protocol = iota // fixed records, IPv4 only
	NetFlowV9                 // RFC 3954
	IPFIX                     // RFC 7011
	SFlow                     // sflow.org, version 5
	protocols
)

var protocolNames = [protocols]string{"v5", "v9", "ipfix", "sflow"}

// String is the name of the protocol as users write it.
func (p Protocol) String() string {
	if p < protocols {
		return protocolNames[p]
	}
	return fmt.Sprintf("protocol(%d)", uint8(p))
}

// Share is one protocol's part of all flow records, in proportion to the weights of the others.
type Share struct {
	Protocol Protocol
	Weight   int
}

// MaxWeight is the largest weight of a share.
const MaxWeight = 1000

// UnmarshalText reads a protocol, "v9", or one with its weight, "ipfix=2".
func (s *Share) UnmarshalText(text []byte) error {
	name, weight, weighted := strings.Cut(string(text), "=")
	name = strings.TrimSpace(name)
	p := slices.Index(protocolNames[:], name)
	if p < 0 {
		return fmt.Errorf("%q is not a protocol: write v5, v9, ipfix or sflow, or one with a weight as in ipfix=2", name)
	}
	n := 1
	if weighted {
		var err error
		if n, err = strconv.Atoi(strings.TrimSpace(weight)); err != nil || n < 1 || n > MaxWeight {
			return fmt.Errorf("the weight of %s is %q and must be a whole number from 1 to %d", name, strings.TrimSpace(weight), MaxWeight)
		}
	}
	*s = Share{Protocol(p), n}
	return nil
}

// String is what UnmarshalText reads.
func (s Share) String() string {
	if s.Weight == 1 {
		return s.Protocol.String()
	}
	return s.Protocol.String() + "=" + strconv.Itoa(s.Weight)
}

// MarshalText is String.
func (s Share) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Mix of protocols; each is named once.
type Mix []Share

func (m Mix) has(p Protocol) bool {
	return slices.ContainsFunc(m, func(s Share) bool { return s.Protocol == p })
}

// Limits of the options.
const (
	MaxExporters = 1 << 16
	MaxDomains   = 255       // an engine id of NetFlow v5 has 8 bits
	MaxDomainsV5 = 1<<16 - 1 // with the engine type
	MaxSampling  = 1 << 28   // times MaxSamplers it fits 32 bits
	MaxSamplers  = 4
	MinPayload   = 512
	MaxPayload   = 65507 // of a UDP datagram over IPv4
	MaxLoss      = 0.9
	MaxFlood     = 10_000_000

	MaxSamplingV5 = 1<<14 - 1 // the low 14 bits of the header's field
	maxRecordsV5  = 30        // collectors refuse more
)

// Options of an emulator. The zero value of each stands for its default.
type Options struct {
	Mix       Mix    // default: NetFlow v9 alone
	Exporters int    // default 8; each protocol gets at least one
	Seed      uint64 // of all that is drawn
	// Records is the most flow records in a datagram, default 24. Fewer go where Payload or the protocol (v5: 30) asks for it.
	Records int
	// Payload is the most bytes of a datagram, default 1,472: what Ethernet carries without fragments.
	Payload int
	Base    time.Time // of the exporters' uptimes; default 2026-01-01. Datagrams are sent at it or later
	IPv6    float64   // share of IPv6 flows, 0 to 1; NetFlow v5 has none
	Domains int       // observation domains (v9 source ids, v5 engines, sFlow sub-agents) of each exporter, default 1
	// DistinctDomains gives no two exporters a domain in common, so that a collector that hears all of them from one address still
	// tells them apart. Else the domains of each are 1 to Domains. NetFlow v5 has room for 65,535 domains in all.
	DistinctDomains bool
	// TemplateInterval is the time after which templates and sampler tables (sFlow: counters) are sent again, default one
	// minute. They open each domain's stream in any case.
	TemplateInterval time.Duration
	// Sampling is how many packets one sampled packet stands for, default 1. NetFlow v5 has room for 16,383.
	Sampling int
	// Samplers is how many samplers each v9 or IPFIX domain has, default 1. Sampler k has the rate k x Sampling, and each flow
	// names its own.
	Samplers int
	// Loss is the share of the datagrams of flows, 0 to MaxLoss, that have a sequence number and are not written: what a network
	// loses. Each is followed by one of the same domain that is, so that a collector can count all of them. Templates, tables and
	// counters are not lost, nor is what opens a stream.
	Loss float64
	// Flood is how many templates a second exporters announce beside their own, each with a layout that none had before; 0: none.
	// They go out in datagrams of their own, in the time of Append, a second's worth at once at most.
	Flood int
	// FloodShare is the share of the exporters of v9 and IPFIX that do so, 0 to 1: one at least. Default: all.
	FloodShare float64
	// Part and Parts choose a subset of the exporters, so that several emulators play one network: of the exporters, dealt out
	// in order of their protocols, this one plays every Parts-th from Part on. Default: all.
	Part, Parts int
}

// withDefaults fills in what is zero and checks the rest.
func (o Options) withDefaults() (Options, error) {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	if len(o.Mix) == 0 {
		o.Mix = Mix{{NetFlowV9, 1}}
	}
	def(&o.Exporters, 8)
	def(&o.Records, 24)
	def(&o.Payload, 1472)
	def(&o.Domains, 1)
	def(&o.Sampling, 1)
	def(&o.Samplers, 1)
	def(&o.Parts, 1)
	if o.FloodShare == 0 {
		o.FloodShare = 1
	}
	if o.Base.IsZero() {
		o.Base = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	if o.TemplateInterval == 0 {
		o.TemplateInterval = time.Minute
	}
	seen := [protocols]bool{}
	for _, s := range o.Mix {
		if s.Protocol >= protocols || seen[s.Protocol] || s.Weight < 1 || s.Weight > MaxWeight {
			return o, fmt.Errorf("emulate: share %v of the mix %v is unknown, repeated or has a weight outside 1 to %d", s, o.Mix, MaxWeight)
		}
		seen[s.Protocol] = true
	}
	between := func(name string, v, low, high int) error {
		if v < low || v > high {
			return fmt.Errorf("emulate: %s is %d and must be from %d to %d", name, v, low, high)
		}
		return nil
	}
	err := errors.Join(
		between("Exporters", o.Exporters, len(o.Mix), MaxExporters),
		between("Records", o.Records, 1, MaxPayload),
		between("Payload", o.Payload, MinPayload, MaxPayload),
		between("Domains", o.Domains, 1, MaxDomains),
		between("Sampling", o.Sampling, 1, MaxSampling),
		between("Samplers", o.Samplers, 1, MaxSamplers),
		between("Flood", o.Flood, 0, MaxFlood),
		between("Parts", o.Parts, 1, o.Exporters),
		between("Part", o.Part, 0, o.Parts-1),
	)
	if err == nil && o.Mix.has(NetFlowV5) {
		err = between("Sampling of NetFlow v5", o.Sampling, 1, MaxSamplingV5)
	}
	if err == nil && !(o.IPv6 >= 0 && o.IPv6 <= 1) {
		err = fmt.Errorf("emulate: IPv6 is %v and must be from 0 to 1", o.IPv6)
	}
	if err == nil && !(o.Loss >= 0 && o.Loss <= MaxLoss) {
		err = fmt.Errorf("emulate: Loss is %v and must be from 0 to %v", o.Loss, MaxLoss)
	}
	if err == nil && !(o.FloodShare > 0 && o.FloodShare <= 1) {
		err = fmt.Errorf("emulate: FloodShare is %v and must be more than 0 and 1 at most", o.FloodShare)
	}
	if err == nil && o.DistinctDomains && o.Mix.has(NetFlowV5) {
		err = between("Exporters x Domains of NetFlow v5 with DistinctDomains", o.Exporters*o.Domains, 1, MaxDomainsV5)
	}
	if err == nil && o.Flood > 0 && !o.Mix.has(NetFlowV9) && !o.Mix.has(IPFIX) {
		err = fmt.Errorf("emulate: Flood is %d, and the mix %v has no protocol with templates", o.Flood, o.Mix)
	}
	if err == nil && o.TemplateInterval < 0 {
		err = fmt.Errorf("emulate: TemplateInterval is %v and must be more than 0", o.TemplateInterval)
	}
	return o, err
}

// records is the number of flow records in a full datagram of protocol p: as many as asked for and as fit.
// With variable, each IPv4 record has fields of variable length too.
func (o *Options) records(p Protocol, variable bool) int {
	n := o.Records
	for ; n > 1; n-- {
		n6 := 0
		if o.IPv6 > 0 {
			n6 = min(n, int(o.IPv6*float64(n))+1)
		}
		if worstSize(p, n-n6, n6, variable) <= o.Payload {
			break
		}
	}
	if p == NetFlowV5 {
		n = min(n, maxRecordsV5, (o.Payload-v5Header)/v5Record)
	}
	return n
}

// worstSize is the largest payload of a datagram with n4 IPv4 and n6 IPv6 records.
func worstSize(p Protocol, n4, n6 int, variable bool) int {
	sets, record4 := min(n4, 1)+min(n6, 1), ipfixRecord4
	if variable {
		record4 += maxVariable
	}
	switch p {
	case NetFlowV5:
		return v5Header + n4*v5Record
	case NetFlowV9:
		return v9Header + sets*(setHeader+3) + n4*v9Record4 + n6*v9Record6
	case IPFIX:
		return ipfixHeader + sets*setHeader + n4*record4 + n6*ipfixRecord6
	default:
		return sflowHeader + n4*sflowSample4 + n6*sflowSample6
	}
}
