package emulate

import "math/bits"

// loss draws which datagrams do not arrive. It has a generator of its own: the flows of a seed are the same with and without it.
type loss struct {
	below uint64 // a draw below it is a loss
	state uint64
}

// mostMissing is the most flow records lost in a row: a collector takes a larger step for a restart of the exporter.
const mostMissing = 1 << 16

func newLoss(o *Options) loss {
	return loss{below: uint64(o.Loss * (1 << 53)), state: mix(mix(^o.Seed) + uint64(o.Part))}
}

func (l *loss) strikes() bool {
	l.state += 0xa0761d6478bd642f
	hi, lo := bits.Mul64(l.state, l.state^0xe7037ed1a0b428db)
	return (hi^lo)>>11 < l.below
}

// lose passes over the datagrams of a domain that do not arrive: they take their numbers and are not written.
func (e *Emulator) lose(l *line, s *stream, d *Datagram) {
	if e.loss.below == 0 {
		return
	}
	for d.LostRecords+l.records <= mostMissing && e.loss.strikes() {
		n, _ := l.full(s)
		switch l.protocol {
		case NetFlowV5, IPFIX:
			s.seq += uint32(n)
		case NetFlowV9:
			s.seq++
		default:
			s.seq++
			s.samples += uint32(n)
			s.pool += uint32(n) * uint32(e.opts.Sampling)
		}
		d.Lost++
		d.LostRecords += n
	}
	d.Sequence = s.seq
}
