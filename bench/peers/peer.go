package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/netsampler/goflow2/v2/decoders/netflow"
	"github.com/netsampler/goflow2/v2/decoders/netflowlegacy"
	"github.com/netsampler/goflow2/v2/decoders/sflow"
	"github.com/netsampler/goflow2/v2/format"
	_ "github.com/netsampler/goflow2/v2/format/binary"
	_ "github.com/netsampler/goflow2/v2/format/json"
	"github.com/netsampler/goflow2/v2/producer"
	protoproducer "github.com/netsampler/goflow2/v2/producer/proto"
	"github.com/netsampler/goflow2/v2/utils"

	"github.com/weirflow/weir/bench/lab"
	"github.com/weirflow/weir/formats/emulate"
)

// walk hands out a ring's datagrams, again and again.
type walk struct {
	ring *emulate.Ring
	at   int
}

func (w *walk) next() (*emulate.Datagram, []byte) {
	d, p := &w.ring.Datagrams[w.at], w.ring.Payloads[w.at]
	if w.at++; w.at == len(w.ring.Payloads) {
		w.at = 0
	}
	return d, p
}

const peerDecodes = "goflow2 decode"

// newDecoder is the peer's decoder alone: structures in memory, then forgotten. Its template system is one for each exporter, found
// beforehand, so that the peer does not pay for the look-up.
func newDecoder(ring *emulate.Ring) *lab.Contender {
	const chunk = 128
	systems := map[[16]byte]netflow.NetFlowTemplateSystem{}
	each := make([]netflow.NetFlowTemplateSystem, len(ring.Datagrams))
	for i := range ring.Datagrams {
		a := ring.Datagrams[i].Exporter
		if systems[a] == nil {
			systems[a] = netflow.CreateTemplateSystem()
		}
		each[i] = systems[a]
	}
	w := &walk{ring: ring}
	return &lab.Contender{Name: peerDecodes, What: "structures", Datagrams: chunk, Next: func() (records int, err error) {
		for range chunk {
			system := each[w.at]
			d, p := w.next()
			n, err := decode(d.Protocol, p, system)
			if err != nil {
				return records, err
			}
			records += n
		}
		return records, nil
	}}
}

// decode decodes one datagram and counts its flow records.
func decode(protocol emulate.Protocol, p []byte, system netflow.NetFlowTemplateSystem) (n int, err error) {
	switch protocol {
	case emulate.NetFlowV5:
		var m netflowlegacy.PacketNetFlowV5
		err = netflowlegacy.DecodeMessageVersion(bytes.NewBuffer(p), &m)
		return len(m.Records), err
	case emulate.SFlow:
		var m sflow.Packet
		err = sflow.DecodeMessageVersion(bytes.NewBuffer(p), &m)
		for _, s := range m.Samples {
			if _, ok := s.(sflow.FlowSample); ok {
				n++
			}
		}
		return n, err
	}
	var m9 netflow.NFv9Packet
	var m10 netflow.IPFIXPacket
	if err := netflow.DecodeMessageVersion(bytes.NewBuffer(p), system, &m9, &m10); err != nil {
		return 0, err
	}
	sets := m9.FlowSets
	if binary.BigEndian.Uint16(p) == 10 {
		sets = m10.FlowSets
	}
	for _, s := range sets {
		if s, ok := s.(netflow.DataFlowSet); ok {
			n += len(s.Records)
		}
	}
	return n, nil
}

// counting is the peer's producer, and how many messages it has made.
type counting struct {
	producer.ProducerInterface
	n int
}

func (c *counting) Produce(msg interface{}, args *producer.ProduceArgs) ([]producer.ProducerMessage, error) {
	ms, err := c.ProducerInterface.Produce(msg, args)
	c.n += len(ms)
	return ms, err
}

// nowhere is a transport that takes what it is given.
type nowhere struct{}

func (nowhere) Send(_, _ []byte) error { return nil }

// newPipe is the peer's decoder and producer with its default settings; with a format, also what it would send.
func newPipe(ring *emulate.Ring, name, what, formatName string, chunk int) (*lab.Contender, error) {
	cfg, err := (&protoproducer.ProducerConfig{}).Compile()
	if err != nil {
		return nil, err
	}
	p, err := protoproducer.CreateProtoProducer(cfg, protoproducer.CreateSamplingSystem)
	if err != nil {
		return nil, err
	}
	c := &counting{ProducerInterface: p}
	pc := &utils.PipeConfig{Producer: c}
	if formatName != "" {
		f, err := format.FindFormat(formatName)
		if err != nil {
			return nil, fmt.Errorf("format %s: %w", formatName, err)
		}
		pc.Format, pc.Transport = f, nowhere{}
	}
	pipe := utils.NewFlowPipe(pc)
	w := &walk{ring: ring}
	return &lab.Contender{Name: name, What: what, Datagrams: chunk, Next: func() (int, error) {
		before := c.n
		for range chunk {
			d, p := w.next()
			src := netip.AddrPortFrom(netip.AddrFrom16(d.Exporter).Unmap(), d.Port)
			if err := pipe.DecodeFlow(&utils.Message{Src: src, Dst: src, Payload: p, Received: time.Unix(0, d.Sent)}); err != nil {
				return 0, err
			}
		}
		return c.n - before, nil
	}}, nil
}
