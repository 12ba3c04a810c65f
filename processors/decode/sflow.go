package decode

import (
	"context"
	"io"
	"slices"

	"github.com/weirflow/weir/formats/sflow"
	"github.com/weirflow/weir/sdk"
)

// samples is what a lane does with sFlow. Its datagrams explain themselves, so none is ever held.
type samples struct {
	d        *decode
	dec      *sflow.Decoder
	agents   *sflow.Agents
	hold     sdk.Shared // on the agents
	wanted   bool
	reported sflow.Tally // as of the last report
}

func (s *samples) init(d *decode) error {
	hold, err := d.env.Share("agents", func(context.Context) (io.Closer, error) {
		a := sflow.NewAgents(d.cfg.Templates.Exporters, d.cfg.Templates.Age)
		a.Sequences = d.store.Sequences // what udp drops of an exporter is of all its protocols
		return agents{a}, nil
	})
	if err != nil {
		return err
	}
	s.d, s.hold, s.agents = d, hold, hold.Object().(agents).Agents
	s.wanted = len(d.cfg.Protocols) == 0 || slices.Contains(d.cfg.Protocols, "sflow")
	opt := sflow.Options{Rate: d.cfg.rateOf(), Agents: s.agents, Decapsulate: d.cfg.decapsulate()}
	if d.counts != nil {
		opt.Counters, opt.CounterRows = d.env.Out[portCounters], d.counts
	}
	flows := d.env.Out[portFlows]
	if !d.reads(portFlows) {
		flows = nil
	}
	s.dec = sflow.NewDecoder(flows, opt, &d.outputs)
	return nil
}

// process decodes those datagrams of the input batch that are sFlow and settles what becomes of them. ports and weights
// may be nil.
func (s *samples) process(in *sdk.Batch, payloads [][]byte, addrs [][16]byte, ports []uint16, weights []uint32, received []int64) {
	d := s.d
	var g sflow.Datagram
	consumed, unwanted := uint64(0), uint64(0)
	for i, p := range payloads {
		if !sflow.Is(p) {
			continue
		}
		if !s.wanted {
			unwanted++
			continue
		}
		g.Payload, g.Addr, g.Received = p, addrs[i], received[i]
		if ports != nil {
			g.Port = ports[i]
		}
		if weights != nil {
			d.weigh(weights[i])
		}
		switch r := s.dec.Decode(&g); {
		case r.Why != sflow.None:
			d.refuse(in, g.Received, p, r.Why.String(), r.Why.Sentence(), false)
		case r.Bad != sflow.None:
			if r.Used {
				consumed++
			}
			d.refuse(in, g.Received, p, r.Bad.String(), r.Bad.Sentence(), r.Used)
		default:
			consumed++
		}
	}
	d.books.Consumed.Add(consumed)
	if unwanted > 0 {
		d.books.Drop(reasonNotSelected, unwanted)
		d.worst = max(d.worst, sdk.Dropped)
	}
}

// report adds what there is to tell of sFlow since the last report.
func (s *samples) report(add func(string, uint64)) {
	now, then := &s.dec.Tally, &s.reported
	add("samples_without_sampling_rate", now.SamplingUnknown-then.SamplingUnknown)
	add("sflow_names_without_room", now.NamesFull-then.NamesFull)
	for _, r := range sflow.Reasons() {
		add("sflow_rejected_bytes_"+r.String(), now.Rejected[r]-then.Rejected[r])
	}
	s.reported = *now
}
