// Package generate is the source of emulated flow exporters: datagrams of NetFlow v5, NetFlow v9, IPFIX and sFlow as a network of
// routers and switches would send them, at a chosen rate or as fast as the pipeline takes them.
//
// What the exporters say is package emulate's matter; this package paces it and puts it into batches. With `start` the output is
// the same to the byte in every run, with `ring` it costs nothing to make: what tests and benchmarks need.
package generate

import (
	"fmt"
	"slices"
	"time"

	"github.com/weirflow/weir/formats/emulate"
	"github.com/weirflow/weir/sdk"
)

// Config of the source.
type Config struct {
	Protocol         emulate.Mix   `yaml:"protocol" doc:"v5, v9, ipfix or sflow; or a list of several, with weights for their shares of the records" example:"[v9, ipfix=2]"`
	Exporters        int           `yaml:"exporters" doc:"number of exporters; each protocol gets at least one" example:"50"`
	Rate             int           `yaml:"rate" doc:"flow records per second, of all readers together; 0: as fast as the pipeline takes them" example:"100000"`
	Records          int           `yaml:"records" doc:"flow records after which the source ends; 0: endless. With a ring it ends with the datagram that reaches it"`
	DatagramRecords  int           `yaml:"datagram_records" doc:"most flow records in a datagram"`
	DatagramBytes    int           `yaml:"datagram_bytes" doc:"most bytes in a datagram; 1472 is what Ethernet carries unfragmented"`
	Seed             int           `yaml:"seed" doc:"chooses the hosts and flows: the same seed, the same traffic"`
	IPv6             float64       `yaml:"ipv6" doc:"share of IPv6 flows, 0 to 1" example:"0.3"`
	Domains          int           `yaml:"domains" doc:"observation domains of each exporter"`
	DistinctDomains  bool          `yaml:"distinct_domains" doc:"give no two exporters a domain in common: a collector that hears all from one address, as behind a sink udp, then tells them apart"`
	Sampling         int           `yaml:"sampling" doc:"packets that one sampled packet stands for, as the exporters announce it" example:"1000"`
	TemplateInterval time.Duration `yaml:"template_interval" doc:"how often templates and sampler tables (sFlow: counters) are repeated"`
	Ring             int           `yaml:"ring" doc:"build so many datagrams for each reader first and repeat them, so that making them costs nothing; 0: always new ones" example:"4096"`
	Start            string        `yaml:"start" doc:"let time begin here and advance with the records, so that every run gives the same bytes; empty: the real time" example:"2026-01-01T00:00:00Z"`
	Burst            int           `yaml:"burst" doc:"datagrams of flows that go out back to back each time, the rate being kept on average; 0: what 5 ms bring" example:"64"`
	Loss             float64       `yaml:"loss" doc:"share of the datagrams of flows, 0 to 0.9, that take a sequence number and are not sent" example:"0.01"`
	Reorder          float64       `yaml:"reorder" doc:"share of the datagrams of flows, 0 to 1, that later ones overtake" example:"0.05"`
	ReorderWindow    int           `yaml:"reorder_window" doc:"most datagrams that one is overtaken by; after 250 ms it goes in any case"`
	TemplateFlood    int           `yaml:"template_flood" doc:"different templates a second that exporters announce beside their own; 0: none" example:"10000"`
	FloodExporters   float64       `yaml:"flood_exporters" doc:"share of the exporters of v9 and IPFIX that take part in the template flood; one at least" example:"0.1"`
	Readers          int           `yaml:"readers" doc:"readers side by side, each with exporters of its own"`
}

// Limits of the options, beside those of package emulate.
const (
	maxRate    = 1_000_000_000
	maxReaders = 256
	maxBurst   = 1 << 16
	maxWindow  = 1024

	// virtualRate is how fast time advances with `start` and without `rate`, in records a second.
	virtualRate = 100_000
)

// What the source counts beside the datagrams that it gives out.
const (
	lostFlows      sdk.Reason = "emulated_loss"           // flows of NetFlow v5 and IPFIX that were not sent, as loss asks for
	lostDatagrams  sdk.Reason = "emulated_loss_datagrams" // datagrams of NetFlow v9 and sFlow, likewise
	floodTemplates sdk.Reason = "flood_templates"         // templates of a template flood that were announced
	notSent        sdk.Reason = "not_sent"                // datagrams that waited to be overtaken when the source was closed
)

// Times that fit the 32 bits of the protocols' headers with room on both sides.
var (
	earliest = time.Date(1971, 1, 1, 0, 0, 0, 0, time.UTC)
	latest   = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
)

// Validate finds what is wrong with the options.
func (c *Config) Validate() error {
	var ps sdk.Problems
	wrong := func(path, message, help string) {
		ps = append(ps, &sdk.Problem{Path: path, Message: message, Help: help})
	}
	between := func(path string, v, low, high int) bool {
		if v >= low && v <= high {
			return true
		}
		wrong(path, fmt.Sprintf("%d is outside %d to %d", v, low, high), "")
		return false
	}
	if len(c.Protocol) == 0 {
		wrong("protocol", "no protocol is named", "write v5, v9, ipfix or sflow, or several as in [v9, ipfix=2]")
	}
	for i, s := range c.Protocol {
		if slices.ContainsFunc(c.Protocol[:i], func(o emulate.Share) bool { return o.Protocol == s.Protocol }) {
			wrong(fmt.Sprintf("protocol[%d]", i), fmt.Sprintf("%v is named twice", s.Protocol), "give it a weight instead, as in ipfix=2")
		}
	}
	exporters := between("exporters", c.Exporters, 1, emulate.MaxExporters)
	if exporters && c.Exporters < len(c.Protocol) {
		wrong("exporters", fmt.Sprintf("%d is too few for %d protocols", c.Exporters, len(c.Protocol)), "each exporter speaks one protocol")
	}
	between("rate", c.Rate, 0, maxRate)
	if c.Records < 0 {
		wrong("records", fmt.Sprintf("%d is less than 0", c.Records), "0 means endless")
	}
	between("datagram_records", c.DatagramRecords, 1, emulate.MaxPayload)
	between("datagram_bytes", c.DatagramBytes, emulate.MinPayload, emulate.MaxPayload)
	if !(c.IPv6 >= 0 && c.IPv6 <= 1) {
		wrong("ipv6", fmt.Sprintf("%v is not a share from 0 to 1", c.IPv6), "")
	}
	domains := between("domains", c.Domains, 1, emulate.MaxDomains)
	v5 := slices.ContainsFunc(c.Protocol, func(s emulate.Share) bool { return s.Protocol == emulate.NetFlowV5 })
	if n := c.Exporters * c.Domains; exporters && domains && v5 && c.DistinctDomains && n > emulate.MaxDomainsV5 {
		wrong("distinct_domains", fmt.Sprintf("NetFlow v5 has room for %d domains, and the exporters have %d in all", emulate.MaxDomainsV5, n), "")
	}
	if between("sampling", c.Sampling, 1, emulate.MaxSampling) && v5 && c.Sampling > emulate.MaxSamplingV5 {
		wrong("sampling", fmt.Sprintf("%d does not fit NetFlow v5, whose header has room for %d", c.Sampling, emulate.MaxSamplingV5), "")
	}
	if c.TemplateInterval <= 0 {
		wrong("template_interval", fmt.Sprintf("%v is not more than 0", c.TemplateInterval), "")
	}
	if between("ring", c.Ring, 0, emulate.MaxRing) && c.Ring > 0 && exporters && domains && c.Ring < 2*c.Exporters*c.Domains {
		wrong("ring", fmt.Sprintf("%d datagrams are too few for exporters that have %d domains in all", c.Ring, c.Exporters*c.Domains),
			fmt.Sprintf("each domain sends templates and data: take %d at least", 2*c.Exporters*c.Domains))
	}
	c.impairments(wrong, between)
	if _, err := c.start(); err != nil {
		wrong("start", err.Error(), "write it as 2026-01-01T00:00:00Z")
	}
	if between("readers", c.Readers, 1, maxReaders) && exporters && c.Readers > c.Exporters {
		wrong("readers", fmt.Sprintf("%d readers cannot share %d exporters", c.Readers, c.Exporters), "each reader has exporters of its own")
	}
	return ps.Err()
}

// impairments checks what makes traffic worse than it has to be.
func (c *Config) impairments(wrong func(path, message, help string), between func(path string, v, low, high int) bool) {
	if between("burst", c.Burst, 0, maxBurst) && c.Burst > 0 && c.Rate == 0 {
		wrong("burst", "bursts are what a rate is sent in, and there is none", "give a rate, or leave burst out")
	}
	share := func(path string, v, most float64) {
		if !(v >= 0 && v <= most) {
			wrong(path, fmt.Sprintf("%v is not a share from 0 to %v", v, most), "")
		}
	}
	share("loss", c.Loss, emulate.MaxLoss)
	share("reorder", c.Reorder, 1)
	between("reorder_window", c.ReorderWindow, 1, maxWindow)
	if !(c.FloodExporters > 0 && c.FloodExporters <= 1) {
		wrong("flood_exporters", fmt.Sprintf("%v is not a share of more than 0, and 1 at most", c.FloodExporters), "")
	}
	flood := between("template_flood", c.TemplateFlood, 0, emulate.MaxFlood) && c.TemplateFlood > 0
	if flood && !slices.ContainsFunc(c.Protocol, func(s emulate.Share) bool { return s.Protocol == emulate.NetFlowV9 || s.Protocol == emulate.IPFIX }) {
		wrong("template_flood", "none of the protocols has templates", "name v9 or ipfix among them")
	}
	if c.Ring > 0 && (c.Loss > 0 || c.Reorder > 0 || flood) {
		wrong("ring", "a ring is repeated as it is, and its numbers go back each time: no loss, order or flood could be told", "leave it out")
	}
}

// start is the time at which virtual time begins; zero: time is real.
func (c *Config) start() (time.Time, error) {
	if c.Start == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, c.Start)
	if err != nil {
		return t, fmt.Errorf("%q is not a time", c.Start)
	}
	if t.Before(earliest) || !t.Before(latest) {
		return t, fmt.Errorf("%s is not between %d and %d", c.Start, earliest.Year(), latest.Year())
	}
	return t, nil
}

// options of the emulator of one reader.
func (c *Config) options(reader int, base time.Time) emulate.Options {
	return emulate.Options{
		Mix: c.Protocol, Exporters: c.Exporters, Seed: uint64(c.Seed), Records: c.DatagramRecords, Payload: c.DatagramBytes, Base: base,
		IPv6: c.IPv6, Domains: c.Domains, DistinctDomains: c.DistinctDomains, TemplateInterval: c.TemplateInterval, Sampling: c.Sampling,
		Loss: c.Loss, Flood: c.TemplateFlood, FloodShare: c.FloodExporters, Part: reader, Parts: c.Readers,
	}
}

// Plugin is the source as the core knows it.
var Plugin = sdk.Plugin{
	Spec: sdk.Spec{
		Kind: sdk.KindSource,
		Type: "generate",
		Doc:  "emulated exporters of NetFlow v5, NetFlow v9, IPFIX and sFlow",
		Long: "Plays a network of exporters: templates, sampler tables, sequence numbers, uptimes and flows whose hosts, ports and sizes are spread as in " +
			"real traffic. Every eighth exporter's uptime wraps soon after the start. Exporters have addresses of 192.0.2.0/24, 198.51.100.0/24, " +
			"203.0.113.0/24 and 198.18.0.0/15, which are reserved for documentation and tests.\n\n" +
			"With `ring` each reader builds its datagrams once and repeats them. The exporters' sequence numbers and clocks go back where it begins anew.\n\n" +
			"`loss`, `reorder` and `template_flood` play what goes wrong on the way to a collector; all of it follows from `seed`. `rate` and `records` " +
			"speak of what is sent. A lost datagram takes a sequence number and is not sent: it is no record of the ledger but stands beside it, as " +
			"`emulated_loss` (flows, of NetFlow v5 and IPFIX) and `emulated_loss_datagrams` (of NetFlow v9 and sFlow). That is what a collector must " +
			"find missing: the `sequence_gap` and `sequence_gap_datagrams` of decode. Templates, tables and counters, and what opens a stream, are neither " +
			"lost nor overtaken. A template flood's datagrams come beside the rate; its templates are noted as `flood_templates`, no two have the same layout.\n\n" +
			"A source that falls behind its `rate` by more than a second, because the pipeline is slower, gives up what is older: the rate is then a ceiling.",
		Config: func() any {
			return &Config{
				Protocol: emulate.Mix{{Protocol: emulate.NetFlowV9, Weight: 1}}, Exporters: 8, DatagramRecords: 24, DatagramBytes: 1472, Seed: 1,
				Domains: 1, Sampling: 1, TemplateInterval: time.Minute, Readers: 1,
				ReorderWindow: 16, FloodExporters: 1,
			}
		},
		Output:   func(any, *sdk.Schema) ([]*sdk.Schema, error) { return []*sdk.Schema{sdk.Datagram}, nil },
		Reasons:  []sdk.Reason{notSent},
		Losses:   []sdk.Reason{lostFlows, lostDatagrams},
		Slowable: true,
		Lanes:    func(cfg any) (int, bool) { return cfg.(*Config).Readers, true },
	},
	Source: func(env *sdk.Env, cfg any) (sdk.Source, error) { return newSource(env, cfg.(*Config)) },
}
