package netflow

import (
	"cmp"
	"encoding/binary"
)

// definitions is how many definitions of a template set are judged before they are published.
const definitions = 64

// The records of NetFlow v1, v5 and v7, whose templates no exporter sends: the same way leads to their columns.
var templateV1 = &Template{Version: V1, fixed: recordV1, Fields: []Field{
	{ID: 8, Len: 4}, {ID: 12, Len: 4}, {ID: 15, Len: 4}, {ID: 10, Len: 2}, {ID: 14, Len: 2}, {ID: 2, Len: 4}, {ID: 1, Len: 4},
	{ID: 22, Len: 4}, {ID: 21, Len: 4}, {ID: 7, Len: 2}, {ID: 11, Len: 2}, {ID: unusedID, Len: 2}, {ID: 4, Len: 1}, {ID: 5, Len: 1},
	{ID: 6, Len: 1}, {ID: unusedID, Len: 7},
}}

var templateV7 = &Template{Version: V7, fixed: recordV7, Fields: []Field{
	{ID: 8, Len: 4}, {ID: 12, Len: 4}, {ID: 15, Len: 4}, {ID: 10, Len: 2}, {ID: 14, Len: 2}, {ID: 2, Len: 4}, {ID: 1, Len: 4},
	{ID: 22, Len: 4}, {ID: 21, Len: 4}, {ID: 7, Len: 2}, {ID: 11, Len: 2}, {ID: unusedID, Len: 1}, {ID: 6, Len: 1}, {ID: 4, Len: 1},
	{ID: 5, Len: 1}, {ID: 16, Len: 2}, {ID: 17, Len: 2}, {ID: 9, Len: 1}, {ID: 13, Len: 1}, {ID: unusedID, Len: 2}, {ID: unusedID, Len: 4},
}}

var templateV5 = &Template{Version: V5, fixed: recordV5, Fields: []Field{
	{ID: 8, Len: 4}, {ID: 12, Len: 4}, {ID: 15, Len: 4}, {ID: 10, Len: 2}, {ID: 14, Len: 2}, {ID: 2, Len: 4}, {ID: 1, Len: 4},
	{ID: 22, Len: 4}, {ID: 21, Len: 4}, {ID: 7, Len: 2}, {ID: 11, Len: 2}, {ID: unusedID, Len: 1}, {ID: 6, Len: 1}, {ID: 4, Len: 1},
	{ID: 5, Len: 1}, {ID: 16, Len: 2}, {ID: 17, Len: 2}, {ID: 9, Len: 1}, {ID: 13, Len: 1}, {ID: unusedID, Len: 2},
}}

// unusedID is paddingOctets (RFC 7011).
const unusedID = 210

// builtIn decodes the records behind a header of v1, v5 or v7. If it counts more than there are, the sequence goes on from those that are:
// what the exporter's next number says beyond them has been lost.
func (d *Decoder) builtIn(p *Plan, g *Datagram, h *Header, r *Result) {
	n := (h.End - h.Len) / p.rec
	if n < int(h.Count) {
		r.Bad, r.BadAt = RecordCount, h.Len+n*p.rec
		d.Tally.Rejected[RecordCount] += uint64(h.End - r.BadAt)
	}
	v := d.view(g, true)
	d.setRate(v, g.Addr, uint64(h.Sampling))
	d.fixed(p, g.Payload, h.Len, n)
	d.Tally.Decoded += uint64(n * p.rec)
	r.Rows, r.Used = n, true
	if v != nil {
		if h.Version != V1 { // which has no sequence
			d.number(v, h, n)
		}
	}
}

// sets walks the sets of a v9 or IPFIX message.
func (d *Decoder) sets(g *Datagram, h *Header, r *Result) {
	be := binary.BigEndian
	p, at, end := g.Payload, h.Len, h.End
	var w walk
	w.d, w.g, w.h, w.r, w.v = d, g, h, r, d.view(g, false)
	d.changes, d.samplers = d.changes[:0], d.samplers[:0]
	if end-at < headerSet {
		r.Used = true // a message without sets is only a sign of life
	}
	for end-at >= headerSet {
		id, n := be.Uint16(p[at:]), int(be.Uint16(p[at+2:]))
		if n < headerSet || n > end-at {
			w.bad(SetLength, at, end-at)
			w.uncounted = true
			at = end
			break
		}
		switch {
		case h.Version == V9 && id < 2, h.Version == IPFIX && (id == 2 || id == 3):
			w.templates(at+headerSet, at+n, id == 1 || id == 3)
		case id < 256:
			d.Tally.Skipped[ReservedSet] += uint64(n)
			r.Used = true
		default:
			w.data(id, at, at+n)
		}
		at += n
	}
	w.apply(at)
	if len(d.samplers) > 0 || w.init != 0 {
		d.store.tell(w.v.exp, h.Domain, d.samplers, w.init)
	}
	d.Tally.Skipped[Padding] += uint64(end - at)
	if g.Again || w.v == nil {
		return
	}
	units := w.records
	if w.uncounted {
		units = -1
	}
	d.number(w.v, h, units)
}

// walk is the way through one message.
type walk struct {
	d *Decoder
	g *Datagram
	h *Header
	r *Result
	v *exporterView // nil: the exporter has told nothing yet

	rated     bool // the sampling constants are those of v.snap
	records   int  // data records of all kinds
	uncounted bool // there were others that could not be counted

	defs      int // of Decoder.defs, that changes wait with
	published int // snapshots that this message has made
	init      uint64
}

// mostPublished bounds the snapshots of one message before its end, each of which costs what its exporter has told. Whoever makes more
// sees data decoded when the message has been read, by the way that data without a template takes, and rates valid from the next on.
const mostPublished = 32

// bad counts n rejected bytes at a place of the payload.
func (w *walk) bad(why Reason, at, n int) {
	w.d.Tally.Rejected[why] += uint64(n)
	if w.r.Bad == None {
		w.r.Bad, w.r.BadAt = why, at
	}
}

// templates takes the definitions in payload[at:end], behind the header of their set.
func (w *walk) templates(at, end int, options bool) {
	d, version := w.d, w.h.Version
	d.Tally.Decoded += headerSet
	for at < end {
		if n := w.again(at, end, options); n > 0 {
			d.Tally.Decoded += uint64(n)
			w.r.Used = true
			at += n
			continue
		}
		def := &d.defs[w.defs]
		*def = parseDefinition(w.g.Payload[at:end], version, options, def.fields)
		if def.len == 0 {
			d.Tally.Skipped[Padding] += uint64(end - at)
			break
		}
		c := change{key: templateKey(version, w.h.Domain, def.id), def: def, size: def.len, all: def.withdraw && def.id < 256 && def.why == None}
		if c.all {
			c.key = templateKey(version, w.h.Domain, 0)
		}
		switch {
		case def.why != None:
			w.bad(def.why, at, def.len)
			c.size = 0
			if def.id >= 256 && (w.v != nil || len(d.changes) > 0) { // what it was to replace is not what the exporter sends any more
				w.change(c)
			}
		case def.withdraw && w.v == nil && len(d.changes) == 0:
			d.Tally.Decoded += uint64(def.len)
			w.r.Used = true
		default:
			w.change(c)
		}
		at += def.len
		if w.defs == len(d.defs) {
			w.apply(at)
		}
	}
}

// change keeps a change until it is needed, with the definition it looks into.
func (w *walk) change(c change) {
	w.d.changes = append(w.d.changes, c)
	w.defs++
}

// changes says whether a change that waits is of a template.
func (w *walk) changes(key uint64) bool {
	for i := range w.d.changes {
		if c := &w.d.changes[i]; c.key == key || c.all {
			return true
		}
	}
	return false
}

// again is the length of the definition at a place of the payload if it says byte for byte what the exporter's template already is,
// which then does not grow old; else 0. Exporters say the same again and again, and most of what they say is this.
func (w *walk) again(at, end int, options bool) int {
	if w.v == nil || len(w.d.changes) > 0 || end-at < 4 {
		return 0
	}
	p := w.g.Payload[at:end]
	i, ok := w.v.snap.find(templateKey(w.h.Version, w.h.Domain, binary.BigEndian.Uint16(p)))
	if !ok {
		return 0
	}
	x := &w.v.snap.entries[i]
	wire := x.t.wire()
	if n := len(wire); x.t.Options != options || n > len(p)-2 || string(p[2:2+n]) != wire {
		return 0
	}
	touch(&x.seen, w.d.Now)
	return 2 + len(wire)
}

// apply publishes the changes collected.
func (w *walk) apply(at int) {
	d := w.d
	if len(d.changes) == 0 {
		return
	}
	w.defs = 0
	w.published++
	if w.v == nil {
		w.v = d.view(w.g, true)
	}
	if w.v != nil {
		fresh, wrong := d.store.apply(w.v.exp, w.h.Version, d.changes, d.Now)
		d.Tally.Templates += uint64(fresh)
		d.Tally.WrongLengths += uint64(wrong)
		w.v = d.view(w.g, false)
		if w.rated { // lists of what follows have their templates from the new snapshot
			w.rated = false
			d.fork()
		}
	}
	for i := range d.changes {
		switch c := &d.changes[i]; {
		case c.size == 0:
		case c.taken:
			d.Tally.Decoded += uint64(c.size)
			w.r.Used = true
		default:
			w.bad(TooManyTemplates, at, c.size)
		}
	}
	d.changes = d.changes[:0]
}

// data decodes the data set in payload[at:end], its header included.
func (w *walk) data(id uint16, at, end int) {
	d := w.d
	key := templateKey(w.h.Version, w.h.Domain, id)
	late := false
	if len(d.changes) > 0 {
		if w.published < mostPublished {
			w.apply(at)
		} else {
			late = w.changes(key)
		}
	}
	var m *met
	if w.v != nil && !late {
		m = d.entry(w.v, key)
	}
	if m == nil {
		d.unknown = append(d.unknown, Span{at, end})
		d.Tally.Unknown += uint64(end - at)
		w.uncounted = true
		return
	}
	plan := m.plan
	if plan == nil {
		w.options(w.v.snap.entries[m.index].t, at, end)
		return
	}
	if !w.rated {
		w.rate()
	}
	from, n, to, rest := at+headerSet, 0, end, Padding
	if plan.rec != 0 {
		n = int(uint32(end-from) / uint32(plan.rec)) // which takes half the time of 64 bits
		d.fixed(plan, w.g.Payload, from, n)
		to = from + n*plan.rec
		if plan.reverse != nil {
			d.reversed(plan.reverse, w.g.Payload, from, n)
		}
	} else {
		var cut bool
		if n, to, cut = d.variable(plan, w.g.Payload, from, end); cut {
			rest = RecordCut
		}
		if plan.reverse != nil {
			d.variable(plan.reverse, w.g.Payload, from, end)
		}
	}
	w.records += n
	w.r.Rows += n
	w.close(at, to, end, n, rest)
}

// close counts the bytes of a data set: records up to to, the rest for a reason.
func (w *walk) close(at, to, end, n int, rest Reason) {
	t := &w.d.Tally
	if n == 0 {
		to = at
		if end-at > headerSet && rest == Padding {
			rest = ShortSet
		}
	}
	t.Decoded += uint64(to - at)
	if rest == Padding {
		t.Skipped[Padding] += uint64(end - to)
		w.r.Used = true
		return
	}
	w.bad(rest, to, end-to)
	w.r.Used = w.r.Used || n > 0
	w.uncounted = true
}

// options reads an options data set.
func (w *walk) options(t *Template, at, end int) {
	d := w.d
	told, init, records, decoded, why := optionsData(w.g.Payload[at+headerSet:end], t, w.h.Domain, d.samplers)
	more := len(told) > len(d.samplers)
	d.samplers = told
	w.records += records
	if why == ShortSet && end-at == headerSet || why == None {
		why = Padding
	}
	if more || init != 0 {
		w.tell(init)
	} else if records > 0 {
		d.Tally.Skipped[OptionsData] += uint64(headerSet + decoded)
		at += headerSet + decoded
		w.r.Used = true
		if why == Padding {
			d.Tally.Skipped[Padding] += uint64(end - at)
		} else {
			w.bad(why, at, end-at)
			w.uncounted = true
		}
		return
	}
	w.close(at, at+headerSet+decoded, end, records, why)
}

// tell publishes what options data has said.
func (w *walk) tell(init uint64) {
	d := w.d
	if w.init = cmp.Or(init, w.init); w.published >= mostPublished {
		return
	}
	if d.store.tell(w.v.exp, w.h.Domain, d.samplers, w.init) {
		w.published++
	}
	d.samplers, w.init = d.samplers[:0], 0
	w.v = d.view(w.g, false)
	w.rated = false
	d.fork()
}

// rate sets the constants that depend on what the exporter has told about itself.
func (w *walk) rate() {
	w.rated = true
	k, v := w.d.k, w.v
	if v.dom == nil || v.domID != w.h.Domain {
		v.dom, v.domID = v.snap.domain(w.h.Domain), w.h.Domain
	}
	k.snap, k.dom = v.snap, v.dom
	w.d.setRate(v, w.g.Addr, v.dom.rate)
	if ms := v.dom.init; w.h.Version == IPFIX && ms != 0 {
		k.uptime, k.hasUptime = uint32(uint64(k.clock/1e6)-ms), true
	}
}
