package lab

import (
	"time"

	"github.com/weirflow/weir/formats/emulate"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
)

// Case is a kind of traffic.
type Case struct {
	Name     string
	Protocol emulate.Protocol
	Records  int // in a datagram
}

// Cases that decoders are compared on.
var Cases = []Case{
	{"v9 x 24", emulate.NetFlowV9, 24},
	{"v9 x 2", emulate.NetFlowV9, 2},
	{"IPFIX", emulate.IPFIX, 24},
	{"IPFIX x 2", emulate.IPFIX, 2},
	{"v5 x 30", emulate.NetFlowV5, 30},
	{"sFlow", emulate.SFlow, 24},
}

const (
	// Exporters of a ring, each with one observation domain.
	Exporters = 50
	// Datagrams of a ring: about 5 MB of payload, more than the caches of one core hold.
	Datagrams = 4096
)

// Base is when rings that are decoded in memory begin. Only the sender of real datagrams lives in the present.
var Base = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// Ring builds the datagrams, the first of them at start. Templates come once for each exporter.
func (c Case) Ring(start time.Time) (*emulate.Ring, error) {
	e, err := emulate.New(emulate.Options{Mix: emulate.Mix{{Protocol: c.Protocol, Weight: 1}}, Exporters: Exporters, Records: c.Records,
		Base: start, TemplateInterval: 24 * time.Hour})
	if err != nil {
		return nil, err
	}
	return e.Ring(Datagrams, start.UnixNano(), 10*time.Microsecond)
}

// Columns20 are the columns of flows that the goals speak of; all that the emulated exporters fill in v9.
var Columns20 = []string{"received", "flow_start", "flow_end", "sampling_rate", "exporter_addr", "observation_domain", "src_addr", "dst_addr", "src_port",
	"dst_port", "protocol", "etype", "tcp_flags", "bytes", "packets", "in_if", "out_if", "src_as", "dst_as", "next_hop"}

// Columns5 are the columns of a small pipeline.
var Columns5 = []string{"src_addr", "dst_addr", "protocol", "bytes", "packets"}

// DefaultSet is the default set of columns.
var DefaultSet = names(flow.Schema.Select(func(f sdk.Field) bool { return !f.Extra }))

func names(s *sdk.Schema) (ns []string) {
	for _, f := range s.Fields() {
		ns = append(ns, f.Name)
	}
	return ns
}
