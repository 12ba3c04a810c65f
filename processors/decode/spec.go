// Package decode is the processor that makes flows of datagrams: NetFlow v5, NetFlow v9, IPFIX and sFlow v5, told apart by
// their first bytes. Exporters may speak any of them, all at once, through the same source.
//
// The wire formats are the codecs' matter (formats/netflow, formats/sflow, formats/packet). This package owns what is between them and the pipeline: the open
// output batches, one for each partition; the datagrams that wait for their template (parked, bounded in bytes and age); and
// the books, in which each datagram is consumed, held, dropped or refused, and each flow produced.
package decode

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirflow/weir/formats/netflow"
	"github.com/weirflow/weir/formats/packet"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
)

// Config of the processor.
type Config struct {
	Protocols            []string      `yaml:"protocols" doc:"protocols that are decoded, of netflow1, netflow5, netflow7, netflow9, ipfix and sflow; datagrams of the others are dropped and counted. Empty: all" example:"[netflow9, ipfix]"`
	Fields               []Field       `yaml:"fields" doc:"columns of further information elements: their names (weir inspect elements), or descriptions by pen, id, name and type" example:"[cisco.ingressAclId, {name: httpHost, type: text}]"`
	Biflow               string        `yaml:"biflow" doc:"what becomes of records of both directions (RFC 5103, Cisco ASA): rows, a second row of the other direction where that has bytes or packets; columns, one row with out_bytes and out_packets" enum:"rows,columns"`
	DefaultSamplingRate  Rates         `yaml:"default_sampling_rate" doc:"sampling rate of flows whose exporter told none, one packet in so many: a number, or numbers by the exporter's subnet, of which the narrowest counts" example:"{10.0.0.0/8: 1000, 10.1.0.0/16: 100}"`
	OverrideSamplingRate Rates         `yaml:"override_sampling_rate" doc:"sampling rate that is believed whatever the exporter tells: a number, or numbers by the exporter's subnet" example:"{192.0.2.7: 512}"`
	Decapsulate          []string      `yaml:"decapsulate" doc:"tunnels in sampled packets whose inner packet is the flow, of gre, ipip, vxlan, geneve, gtpu, srv6 and eompls; the outer one goes to tunnel_type, tunnel_src_addr, tunnel_dst_addr and tunnel_id" example:"[gre, vxlan]"`
	TimeWindow           time.Duration `yaml:"time_window" doc:"times of flows further than this from the datagram's arrival are moved to the window's edge and counted, so that one silly clock does not scatter a table's partitions; 0: they are left" example:"24h"`
	Park                 Park          `yaml:"park" doc:"data that arrived before its template"`
	Templates            Templates     `yaml:"templates" doc:"limits of what exporters can make Weir remember; all lanes together"`
}

// Park bounds what waits for templates.
type Park struct {
	Bytes sdk.Size      `yaml:"bytes" doc:"most memory of waiting datagrams in each lane" example:"4MiB"`
	Age   time.Duration `yaml:"age" doc:"how long a datagram waits for its template; then it is dropped as no_template" example:"10s"`
}

// Templates bounds what is remembered of exporters.
type Templates struct {
	Exporters   int           `yaml:"exporters" doc:"most exporters known at a time, and most sFlow sub-agents"`
	PerExporter int           `yaml:"per_exporter" doc:"most templates, and most samplers, of one exporter"`
	Total       int           `yaml:"total" doc:"most templates of all exporters"`
	Age         time.Duration `yaml:"age" doc:"a template that was neither sent nor used for so long is forgotten, and so is a silent exporter" example:"1h"`
	Save        bool          `yaml:"save" doc:"keep what exporters have told in the state directory, for the next start"`
}

// Reasons for which datagrams are dropped, what is noted of them and of flows, and for which records are lost before Weir.
const (
	reasonNoTemplate  sdk.Reason = "no_template"  // its template did not come in time, or there was no room to wait
	reasonNotSelected sdk.Reason = "not_selected" // of a protocol that `protocols` does not name, or whose records nobody reads

	noteClamped  sdk.Reason = "times_clamped"          // flow times outside the window
	noteNames    sdk.Reason = "names_without_room"     // strings that found their dictionary full
	noteSampling sdk.Reason = "sampling_rate_unknown"  // flows of which nobody knows the rate
	noteFrames   sdk.Reason = "frames_not_ethernet"    // packets in records that were not dissected, being of another kind
	noteEvicted  sdk.Reason = "templates_evicted"      // templates that never carried data and gave room to others
	noteLengths  sdk.Reason = "fields_of_wrong_length" // fields of templates that are passed over, for their element cannot have their length
	noteRejected sdk.Reason = "rejected_bytes"         // bytes of sets, samples and records that could not be decoded
	noteNotKept  sdk.Reason = "state_not_kept"         // writings of what exporters have told that failed, and are tried again

	noteLimitedFlows     sdk.Reason = "sequence_gap_limited"           // flows that are missing and may be of datagrams that a limit dropped
	noteLimitedDatagrams sdk.Reason = "sequence_gap_limited_datagrams" // datagrams that are missing because a limit dropped them

	lostFlows     sdk.Reason = "sequence_gap"           // flows, by the sequence numbers of NetFlow v5 and IPFIX
	lostDatagrams sdk.Reason = "sequence_gap_datagrams" // datagrams, by those of NetFlow v9 and sFlow
)

// Ports of the processor.
const (
	portFlows = iota
	portCounters
)

// biflows are the values of the option.
var biflows = map[string]netflow.Biflow{"": netflow.BiflowRows, "rows": netflow.BiflowRows, "columns": netflow.BiflowColumns}

// protocols that can be named.
var protocols = []string{"netflow1", "netflow5", "netflow7", "netflow9", "ipfix", "sflow"}

// Validate finds what is wrong with the options.
func (c *Config) Validate() error {
	var ps sdk.Problems
	wrong := func(path, message, help string) {
		ps = append(ps, &sdk.Problem{Path: path, Message: message, Help: help})
	}
	for i, p := range c.Protocols {
		if !slices.Contains(protocols, p) {
			wrong(fmt.Sprintf("protocols[%d]", i), fmt.Sprintf("%q is not a protocol that is decoded", p), "write "+strings.Join(protocols, ", ")+"; or leave `protocols` out for all")
		}
	}
	if _, ok := biflows[c.Biflow]; !ok {
		wrong("biflow", fmt.Sprintf("%q is not known", c.Biflow), "write rows or columns")
	}
	_, wrongFields := c.fields()
	ps = append(ps, wrongFields...)
	_, wrongDefaults := c.DefaultSamplingRate.rates("default_sampling_rate")
	_, wrongOverrides := c.OverrideSamplingRate.rates("override_sampling_rate")
	ps = append(append(ps, wrongDefaults...), wrongOverrides...)
	for i, name := range c.Decapsulate {
		if _, err := packet.ParseTunnel(name); err != nil {
			wrong(fmt.Sprintf("decapsulate[%d]", i), fmt.Sprintf("%q is not a tunnel that can be taken off", name), "write "+strings.Join(packet.TunnelNames(), ", "))
		}
	}
	if c.TimeWindow < 0 {
		wrong("time_window", fmt.Sprintf("%v is less than 0", c.TimeWindow), "0 leaves all times as they are")
	}
	if c.Park.Bytes < 0 || c.Park.Bytes > maxPark {
		wrong("park.bytes", fmt.Sprintf("%v is outside 0 to %v", c.Park.Bytes, sdk.Size(maxPark)), "0 drops data that has no template at once")
	}
	if c.Park.Age < 0 {
		wrong("park.age", fmt.Sprintf("%v is less than 0", c.Park.Age), "")
	}
	for _, n := range []struct {
		path string
		v    int
	}{{"templates.exporters", c.Templates.Exporters}, {"templates.per_exporter", c.Templates.PerExporter}, {"templates.total", c.Templates.Total}} {
		if n.v < 1 || n.v > maxTemplates {
			wrong(n.path, fmt.Sprintf("%d is outside 1 to %d", n.v, maxTemplates), "")
		}
	}
	if c.Templates.Age < time.Second {
		wrong("templates.age", fmt.Sprintf("%v is less than a second", c.Templates.Age), "exporters send their templates every few minutes: take an hour at least")
	}
	return ps.Err()
}

// decapsulate is the tunnels that are taken off.
func (c *Config) decapsulate() (d packet.Decapsulate) {
	for _, name := range c.Decapsulate {
		t, _ := packet.ParseTunnel(name) // Validate knows them all
		d |= packet.Decap(t)
	}
	return d
}

// session is the column that tells connections apart, of sources that have them: netflow.Session.
const session = "session"

const (
	maxPark      = 1 << 30
	maxTemplates = 10_000_000
)

// Plugin declares the processor.
var Plugin = sdk.Plugin{
	Spec: sdk.Spec{
		Kind: sdk.KindProcessor,
		Type: "decode",
		Doc:  "makes flows of datagrams: NetFlow v1, v5, v7 and v9, IPFIX, sFlow v5",
		Long: `Reads datagrams and gives out flows, in the columns that somebody downstream needs and no others.

Templates and sampler tables are kept for each exporter address and observation domain, shared by all lanes, and bounded in
number and age; of sources with connections, for each connection (column session), and no longer than that. Data that arrives before its template waits for it a while; one set that cannot be decoded never costs the
others of its datagram. Bytes and packets are not multiplied by the sampling rate. A number that is too big for its column
becomes the column's largest.

sFlow's sampled packets and discarded packets are a flow each, of the bytes on the wire and one packet.
sFlow tells no time, so the times of its flows are that of arrival, and each sample its rate: ` + "`override_sampling_rate`" + ` by the agent's
address wins over it, and only a sample that tells 0 takes ` + "`default_sampling_rate`" + `. A discarded packet stands for itself: its rate is 1.

sFlow's counters samples go to an output of their own, ` + "`counters`" + `, a row each: of an interface, a VLAN, the device's processor or a
host, in the columns that somebody needs. A datagram is consumed whatever is read of it: where nobody reads ` + "`counters`" + `, counters samples
are stepped over, and one that holds nothing else is consumed without a record; where nobody reads the flows, so are its flow samples, and
datagrams of other protocols are dropped as not_selected.

The sampling rate of a flow of the NetFlow family is the first of these that is known: ` + "`override_sampling_rate`" + `; what the record itself says; what the
options of its observation domain say of the sampler that the record names; the rate that the domain's options give without a
sampler's name; for a record that names none, the rate that all samplers of the domain agree on; the
header of NetFlow v5; ` + "`default_sampling_rate`" + `. A flow of which none is known has the rate 1, and is noted as sampling_rate_unknown.
Where the domain has told nothing at all, what all domains of the exporter have told and agree on stands for it, since some routers send
options from another domain than their data. A record that names a sampler which is not known never gets the rate of other samplers.
Where a source had to leave datagrams out and says for how many one stands (column thinning of udp with a rate_limit), the rates of all
protocols are multiplied by that.

What is missing in exporters' sequence numbers when datagrams come here, and does not come within one to two seconds, is lost before Weir: sequence_gap
counts flows, by the numbers of NetFlow v5 and IPFIX, sequence_gap_datagrams datagrams, by those of NetFlow v9 and sFlow. That holds for any order
of arrival, over any lanes, for datagrams that come twice and for exporters that begin anew; while a lane is held up it waits up to ten seconds. It is all that
was lost on the way to decode, so what the kernel dropped (kernel_drops) or a queue that may drop (overflow) is in it as well. What a rate_limit
dropped (column thinning) is not: of datagrams that are missing so many are noted as sequence_gap_limited_datagrams, and flows that may have been in
what was dropped as sequence_gap_limited. An exporter whose numbers count something else than its protocol says, as some do, is found out by their steps after a few datagrams.
Two behind one address and domain are told apart where their numbers are.

Noted beside the records, and shown where they are: times_clamped, times moved to the edge of the window; names_without_room,
strings that found their column's dictionary full; rejected_bytes, bytes of sets and samples that could not be decoded; templates_evicted,
templates that gave room to others at a limit, which only those do that never carried data, or whose exporter has been silent for ten minutes; sampling_rate_unknown;
fields_of_wrong_length, fields of new templates whose element cannot have their length (an address of 5 bytes), which are passed over as those that are not
known, and which "weir inspect exporters" names; frames_not_ethernet, frames that their exporter says are of another kind (dataLinkFrameType), which are not dissected.

What exporters have told is kept in the state directory, written within seconds of a change, so that after a restart or a crash data
decodes at once. A file that is damaged is left out with a line in the log; a directory that cannot be written ends the start. One that cannot be
written any more does not stop decode: that is logged, tried again, noted as state_not_kept, and logged when it is over.

` + "`fields`" + ` makes columns of further information elements, IANA's or a vendor's: each is decoded wherever an exporter's template has
it, and is zero elsewhere. Strings with few different values are kept once (type name); those with many take type text.`,
		Config: func() any {
			l := netflow.DefaultLimits
			return &Config{
				Biflow:     "rows",
				TimeWindow: 24 * time.Hour,
				Park:       Park{Bytes: 1 << 20, Age: 2 * time.Second},
				Templates:  Templates{Exporters: l.Exporters, PerExporter: l.PerExporter, Total: l.Templates, Age: l.Age, Save: true},
			}
		},
		Ports: func(any) []string { return []string{"out", "counters"} },
		Output: func(cfg any, _ *sdk.Schema) ([]*sdk.Schema, error) {
			s, err := cfg.(*Config).schema()
			return []*sdk.Schema{s, flow.CountersSchema}, err
		},
		Needs: func(_ any, in *sdk.Schema, wanted [][]string) []string {
			needs := []string{"payload", "exporter_addr", "received"}
			if slices.ContainsFunc(wanted, func(columns []string) bool { return slices.Contains(columns, "exporter_port") }) {
				needs = append(needs, "exporter_port")
			}
			if in.Index(session) >= 0 {
				needs = append(needs, session)
			}
			if in.Index(thinning) >= 0 {
				needs = append(needs, thinning)
			}
			return needs
		},
		Input: func(_ any, in *sdk.Schema) error {
			for _, f := range sdk.Datagram.Fields() {
				if i := in.Index(f.Name); f.Name != "exporter_port" && (i < 0 || in.Field(i).Type != f.Type) {
					return &sdk.Problem{Message: fmt.Sprintf("decode reads datagrams, and its input has no column %s of type %s", f.Name, f.Type),
						Help: "put it directly behind a source of datagrams: udp, pcap, kafka or generate"}
				}
			}
			if i := in.Index(session); i >= 0 && in.Field(i).Type != sdk.Uint64 {
				return &sdk.Problem{Message: fmt.Sprintf("the column session of the input is %s, and the number of a connection is uint64", in.Field(i).Type),
					Help: "give that column another name"}
			}
			if i := in.Index(thinning); i >= 0 && in.Field(i).Type != sdk.Uint32 {
				return &sdk.Problem{Message: fmt.Sprintf("the column thinning of the input is %s, and what a datagram stands for is uint32", in.Field(i).Type),
					Help: "give that column another name"}
			}
			return nil
		},
		KeepsRange: true,
		Parks:      true,
		Reasons:    []sdk.Reason{reasonNoTemplate, reasonNotSelected},
		Losses:     []sdk.Reason{lostFlows, lostDatagrams},
	},
	Processor: func(env *sdk.Env, cfg any) (sdk.Processor, error) { return newDecode(env, cfg.(*Config)) },
}
