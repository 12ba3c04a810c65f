package decode

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/weirflow/weir/formats/elements"
	"github.com/weirflow/weir/formats/netflow"
	"github.com/weirflow/weir/formats/sflow"
	"github.com/weirflow/weir/sdk"
)

// exporters is what lanes and generations share: the store of what exporters told, and who has sent data without a template.
type exporters struct {
	*netflow.Store
	keeper *keeper // nil: nothing is kept over a restart

	mu     sync.Mutex
	misses map[[16]byte]*missing
}

// maxMissing is of how many exporters it is known what they miss. One more takes the place of any other: who still misses
// something is back with its next datagram.
const maxMissing = 4096

// missing is what one exporter has not told.
type missing struct {
	waited, lost uint64
	template     Missing
}

// miss is one datagram with a set that has no template, as a lane notes it until the end of the call.
type miss struct {
	addr     [16]byte
	lost     bool // it was given up
	template Missing
}

func newExporters(l netflow.Limits) *exporters {
	return &exporters{Store: netflow.NewStore(l), misses: map[[16]byte]*missing{}}
}

// Close writes what is not written yet.
func (x *exporters) Close() error { return x.keeper.close() }

// missOf names the first template that a datagram misses.
func missOf(g *netflow.Datagram, r *netflow.Result) miss {
	h, _ := netflow.ParseHeader(g.Payload)
	return miss{addr: g.Addr, template: Missing{Version: h.Version, Domain: h.Domain, ID: binary.BigEndian.Uint16(g.Payload[r.Unknown[0].From:])}}
}

// tell brings what a lane noted to the others. It is called once a batch.
func (k *park) tell() {
	if len(k.misses) == 0 {
		return
	}
	x := k.d.told
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range k.misses {
		m := &k.misses[i]
		e := x.misses[m.addr]
		if e == nil {
			if len(x.misses) >= maxMissing {
				for other := range x.misses {
					delete(x.misses, other)
					break
				}
			}
			e = &missing{}
			x.misses[m.addr] = e
		}
		if m.lost {
			e.lost++
			continue
		}
		e.waited++
		e.template = m.template
	}
	k.misses = k.misses[:0]
}

// Exporters is what decode answers under the topic `exporters`.
type Exporters struct {
	Exporters []Exporter `json:"exporters"` // by address; behind them those that have told nothing yet
}

// Exporter is what is known of one address that speaks a protocol of the NetFlow family, or of one sFlow agent.
type Exporter struct {
	Addr          string     `json:"exporter_addr"`
	Last          *time.Time `json:"last_seen,omitempty"` // to a second; not there if it has told nothing yet
	ClockAhead    float64    `json:"clock_ahead_seconds"` // of the arrival of its datagrams, to a second or so; sFlow tells no time
	Templates     int        `json:"templates"`
	Domains       int        `json:"observation_domains"` // that have templates
	SamplingRates []uint64   `json:"sampling_rates,omitempty"`
	LostFlows     uint64     `json:"lost_flows"`     // by the sequence numbers of NetFlow v5 and IPFIX
	LostDatagrams uint64     `json:"lost_datagrams"` // by those of NetFlow v9 and sFlow
	// What is missing beside these because datagrams were dropped on purpose before they came here: datagrams, and flows that may have been in them.
	LimitedFlows     uint64 `json:"limited_flows,omitempty"`
	LimitedDatagrams uint64 `json:"limited_datagrams,omitempty"`

	Waited     uint64   `json:"datagrams_waited"`
	NoTemplate uint64   `json:"datagrams_no_template"` // of those, with sets that were given up
	Missing    *Missing `json:"missing_template,omitempty"`

	// Fields of its templates that are passed over, for their element cannot have their length, and the first of them.
	WrongLengths int          `json:"fields_of_wrong_length,omitempty"`
	WrongLength  *WrongLength `json:"field_of_wrong_length,omitempty"`

	// Of sFlow agents.
	From      string `json:"source_addr,omitempty"` // where the last datagram came from, if not from the agent's own address
	SubAgents int    `json:"sub_agents,omitempty"`
	Unrated   uint64 `json:"samples_without_sampling_rate,omitempty"`
	Rejected  uint64 `json:"rejected_bytes,omitempty"`
}

// Missing is a template that was not known when data for it came; the last one.
type Missing struct {
	Version uint16 `json:"version"`
	Domain  uint32 `json:"observation_domain"`
	ID      uint16 `json:"template_id"`
}

// WrongLength is a field of a template.
type WrongLength struct {
	Domain  uint32 `json:"observation_domain"`
	ID      uint16 `json:"template_id"`
	Element string `json:"element"` // its name, or number
	Length  uint16 `json:"length"`  // bytes; 65535: of variable length, in IPFIX
}

// maxRates is how many different sampling rates of one exporter are listed.
const maxRates = 8

// Inspect tells about exporters.
func (x *exporters) Inspect(topic string) (any, error) {
	if topic != sdk.TopicExporters {
		return nil, nil
	}
	x.mu.Lock()
	misses := make(map[[16]byte]missing, len(x.misses))
	for a, m := range x.misses {
		misses[a] = *m
	}
	x.mu.Unlock()
	out := &Exporters{Exporters: []Exporter{}}
	for _, k := range x.Store.Exporters() {
		seen := time.Unix(0, k.Seen).UTC()
		e := Exporter{Last: &seen, ClockAhead: (time.Duration(k.Ahead) / time.Millisecond * time.Millisecond).Seconds(), Templates: len(k.Templates), LostFlows: k.Lost.Flows, LostDatagrams: k.Lost.Messages,
			LimitedFlows: k.Lost.LimitedFlows, LimitedDatagrams: k.Lost.LimitedMessages}
		for i, t := range k.Templates { // in the order of domains
			if i == 0 || t.Domain != k.Templates[i-1].Domain {
				e.Domains++
			}
			for _, f := range t.Template.WrongLengths() {
				if e.WrongLengths++; e.WrongLength == nil {
					e.WrongLength = &WrongLength{t.Domain, t.ID, elementName(f), f.Len}
				}
			}
		}
		for _, s := range k.Samplers {
			if len(e.SamplingRates) < maxRates && !slices.Contains(e.SamplingRates, s.Rate) {
				e.SamplingRates = append(e.SamplingRates, s.Rate)
			}
		}
		m := misses[k.Addr]
		delete(misses, k.Addr)
		e.add(k.Addr, m)
		// It may have been told meanwhile.
		if e.Missing != nil && slices.ContainsFunc(k.Templates, func(t netflow.KnownTemplate) bool {
			return t.Version == e.Missing.Version && t.Domain == e.Missing.Domain && t.ID == e.Missing.ID
		}) {
			e.Missing = nil
		}
		out.Exporters = append(out.Exporters, e)
	}
	for _, addr := range slices.SortedFunc(maps.Keys(misses), func(a, b [16]byte) int { return slices.Compare(a[:], b[:]) }) {
		var e Exporter
		e.add(addr, misses[addr])
		out.Exporters = append(out.Exporters, e)
	}
	return out, nil
}

func elementName(f netflow.Field) string {
	if x, ok := elements.Lookup(f.PEN, f.ID); ok {
		return x.String()
	}
	return fmt.Sprintf("%d/%d", f.PEN, f.ID)
}

func (e *Exporter) add(addr [16]byte, m missing) {
	e.Addr = netip.AddrFrom16(addr).Unmap().String()
	e.Waited, e.NoTemplate = m.waited, m.lost
	if m.template != (Missing{}) {
		e.Missing = &m.template
	}
}

// agents are the sFlow agents, which lanes and generations share.
type agents struct{ *sflow.Agents }

// maxAgents is how many of them are told.
const maxAgents = 1 << 16

// Inspect tells about sFlow agents, as exporters.
func (a agents) Inspect(topic string) (any, error) {
	if topic != sdk.TopicExporters {
		return nil, nil
	}
	list := a.List()
	out := &Exporters{Exporters: []Exporter{}}
	for i := range list[:min(len(list), maxAgents)] {
		x := &list[i]
		seen := time.Unix(0, x.Seen).Truncate(time.Second).UTC()
		e := Exporter{Addr: netip.AddrFrom16(x.Addr).Unmap().String(), Last: &seen, LostDatagrams: x.Lost.Messages, LimitedDatagrams: x.Lost.LimitedMessages, SubAgents: x.SubAgents,
			SamplingRates: x.Rates, Unrated: x.Unknown, Rejected: x.Rejected}
		if x.From != x.Addr {
			e.From = netip.AddrFrom16(x.From).Unmap().String()
		}
		out.Exporters = append(out.Exporters, e)
	}
	return out, nil
}
