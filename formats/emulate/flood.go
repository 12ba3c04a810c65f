package emulate

import (
	"math"
	"math/bits"
)

// flood is what some exporters announce beside their own templates, as a broken or hostile one does: each time another layout.
// Only counters are kept of it.
type flood struct {
	total, chosen int      // exporters that have templates, of all parts; those of them that flood
	met           int      // of total, while they are made
	from          []source // streams of this part that flood
	next          int      // of from
	rate, per     uint64   // templates of this part: rate in per ns
	least         uint64   // that are worth a datagram
	sent          uint64   // since the base, or given up
	made          uint64   // each has its own layout
	parts, part   uint64
}

// source is a stream of a line.
type source struct{ line, stream int }

const (
	floodFields   = 4
	floodTemplate = 4 + 4*floodFields // bytes
	floodID       = 1024              // the first of their template ids
	// Elements of no registry's, from which layouts are made, and how many lengths they have.
	floodElement, floodElements, floodLengths = 1000, 20_000, 50
)

// newFlood chooses how many exporters flood.
func newFlood(o *Options, dealt []int) (f flood) {
	if o.Flood == 0 {
		return f
	}
	for i, n := range dealt {
		if p := o.Mix[i].Protocol; p == NetFlowV9 || p == IPFIX {
			f.total += n
		}
	}
	f.chosen = min(max(int(math.Ceil(o.FloodShare*float64(f.total))), 1), f.total)
	f.parts, f.part = uint64(o.Parts), uint64(o.Part)
	return f
}

// joins says whether the next exporter floods: they are spread evenly over those that have templates.
func (f *flood) joins(p Protocol) bool {
	if f.chosen == 0 || p != NetFlowV9 && p != IPFIX {
		return false
	}
	f.met++
	return f.met*f.chosen/f.total > (f.met-1)*f.chosen/f.total
}

// divide gives this part its share of the rate.
func (f *flood) divide(o *Options) {
	if len(f.from) == 0 {
		return
	}
	f.rate, f.per = uint64(o.Flood)*uint64(len(f.from)), uint64(f.chosen)*1e9
	// A hundredth of a second's, if that is less than fills a datagram.
	f.least = min(max(f.rate/(uint64(f.chosen)*100), 1), uint64(o.floodTemplates()))
}

// floodTemplates is how many templates fit a datagram.
func (o *Options) floodTemplates() int { return (o.Payload - v9Header - setHeader) / floodTemplate }

// owed is how many templates are due at at, a second's at most; what is older is given up.
func (f *flood) owed(ns int64) uint64 {
	hi, lo := bits.Mul64(uint64(max(ns, 0)), f.rate)
	all, _ := bits.Div64(hi, lo, f.per)
	owed := all - f.sent
	if most := max(f.rate*1e9/f.per, f.least); owed > most {
		f.sent += owed - most
		owed = most
	}
	return owed
}

// FloodDue says whether the next datagram at at (ns since the epoch) is one of a template flood, whatever else is due.
func (e *Emulator) FloodDue(at int64) bool {
	f := &e.flood
	return f.rate > 0 && f.owed(at-e.base) >= f.least
}

// appendFlood writes a datagram of new templates.
func (e *Emulator) appendFlood(dst []byte, at int64) ([]byte, Datagram) {
	f := &e.flood
	from := f.from[f.next]
	if f.next++; f.next == len(f.from) {
		f.next = 0
	}
	l := &e.lines[from.line]
	s := &l.streams[from.stream]
	d := e.stamp(l, s, at)
	d.Templates = min(int(f.owed(at-e.base)), e.opts.floodTemplates())
	f.sent += uint64(d.Templates)

	start, header, kind := len(dst), v9Header, byte(0)
	if l.protocol == IPFIX {
		header, kind = ipfixHeader, 2
	}
	dst = append(dst, zeros[:header]...)
	if l.protocol == IPFIX {
		e.header10(dst[start:], s, &d)
	} else {
		e.header9(dst[start:], s, &d, d.Templates)
	}
	set := len(dst)
	dst = append(dst, 0, kind, 0, 0)
	for range d.Templates {
		k := f.made*f.parts + f.part
		f.made++
		dst = be.AppendUint16(dst, floodID+uint16(k%(1<<16-floodID)))
		dst = be.AppendUint16(dst, floodFields)
		dst = appendElements(dst, element{id: 8, length: 4}, element{id: 12, length: 4})
		for range floodFields - 2 { // the digits of k
			e := element{id: floodElement + uint16(k%floodElements)}
			k /= floodElements
			e.length = 1 + uint16(k%floodLengths)
			k /= floodLengths
			dst = appendElements(dst, e)
		}
	}
	dst = closeSet(dst, set)
	if l.protocol == IPFIX {
		be.PutUint16(dst[start+2:], uint16(len(dst)-start))
	}
	e.flows = e.flows[:0]
	return dst, d
}

var zeros [v9Header]byte
