package lab

import (
	"fmt"
	"time"

	"github.com/weirflow/weir/formats/emulate"
	"github.com/weirflow/weir/sdk"
)

// Flood is what a flood of templates costs those who export flows.
type Flood struct {
	Alone, Beside float64 // CPU ns a flow: without the flood, and with it, the flood's own cost apart
	Template      float64 // CPU ns a template
	Templates     int     // different ones
}

// floodDatagrams come with each batch of flows, from so many exporters: with 12,288 flows about 1,000 templates.
const (
	floodDatagrams = 14
	flooders       = 128
)

// MeasureFlood decodes a ring without a flood of templates, with it, and the flood alone, by turns in one process, for n templates or
// more. That every flow is decoded is checked as in [Compare].
func MeasureFlood(c Case, n int) (f Flood, err error) {
	ring, err := c.Ring(Base)
	if err != nil {
		return f, err
	}
	alone, err := NewWeir(ring, "alone", Columns20)
	if err != nil {
		return f, err
	}
	cs := []*Contender{alone}
	var streams []*stream
	for _, quiet := range []bool{false, true} {
		c, err := NewWeir(ring, "with a flood", Columns20)
		if err != nil {
			return f, err
		}
		s, err := newStream(c.weir)
		if err != nil {
			return f, err
		}
		c.weir.quiet = quiet
		streams, cs = append(streams, s), append(cs, c)
	}
	// Rounds by hand: the one that floods alone makes no record, which Compare would call wrong.
	costs := make([]float64, len(cs))
	flows, templates := make([]int, len(cs)), make([]int, len(cs))
	for round := 0; round < 3 || streams[0].templates < n; round++ {
		for i, c := range cs {
			before, from := 0, time.Duration(0)
			if i > 0 {
				before = streams[i-1].templates
			}
			if from, err = CPU(); err != nil {
				return f, err
			}
			made := 0
			const chunks = 8 * Datagrams / weirDatagrams
			for range chunks {
				k, err := c.Next()
				if err != nil {
					return f, err
				}
				made += k
			}
			to, err := CPU()
			if err != nil {
				return f, err
			}
			if want := 8 * ring.Records; made != want && i < 2 {
				return f, fmt.Errorf("%d of %d flows were decoded", made, want)
			}
			cost := float64(to - from)
			if round == 0 { // warm
				continue
			}
			if costs[i] == 0 || cost < costs[i] {
				costs[i], flows[i] = cost, made
				if i > 0 {
					templates[i] = streams[i-1].templates - before
				}
			}
		}
	}
	for _, c := range cs {
		if err := c.Close(); err != nil {
			return f, err
		}
	}
	f.Alone = costs[0] / float64(flows[0])
	f.Beside = (costs[1] - costs[2]) / float64(flows[1])
	f.Template = costs[2] / float64(templates[2])
	f.Templates = streams[0].templates
	return f, nil
}

// stream is a flood that goes to a decoder.
type stream struct {
	to        *weir
	emulator  *emulate.Emulator
	at        int64 // ns since the epoch
	templates int
	buf       []byte
}

func newStream(to *weir) (*stream, error) {
	e, err := emulate.New(emulate.Options{Mix: emulate.Mix{{Protocol: emulate.NetFlowV9, Weight: 1}}, Exporters: flooders, Flood: emulate.MaxFlood, Base: Base})
	if err != nil {
		return nil, err
	}
	s := &stream{to: to, emulator: e, at: Base.UnixNano()}
	to.flood = s.next
	return s, nil
}

// next gives a batch of the flood to the decoder.
func (s *stream) next() error {
	b := s.to.env.Pool.Get(sdk.Datagram, floodDatagrams)
	for n := 0; n < floodDatagrams; {
		s.at += int64(time.Millisecond)
		if !s.emulator.FloodDue(s.at) {
			continue
		}
		var d emulate.Datagram
		s.buf, d = s.emulator.Append(s.buf[:0], s.at, 0)
		d.Exporter[11] ^= 1 // none of the ring's addresses
		s.templates += d.Templates
		addRow(b, s.buf, &d)
		n++
	}
	b.Seal()
	return s.to.processor.Process(b, s.to)
}
