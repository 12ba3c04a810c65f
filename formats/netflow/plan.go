package netflow

import (
	"github.com/weirflow/weir/formats/packet"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
)

// Plan is a template compiled for the columns of one schema: one operation a column, run over the records of a group of sets.
//
// What several elements of a template say about one column is decided here: the first of the column's elements (in the order
// of the table) that the template has fills it. A later one fills the rows in which the earlier left zero, or the mapped zero
// address; its values are made in scratch memory and merged. If a template names one element twice, the last one counts.
type Plan struct {
	t     *Template
	rec   int // bytes of a record; 0 with fields of variable length
	ops   []op
	steps []step // of templates with variable length: how to walk a record
	tail  int    // fixed bytes behind the last field of variable length
	segs  int    // segments that operations read

	reverse *Plan  // of the other direction, where it is a row of its own
	need    []part // of a reverse plan: the counters of which one at least must not be zero
}

// step is one field of variable length and the fixed bytes before it.
type step struct {
	skip int
	seg  int // segment that begins behind it, or -1 if no operation needs it
}

// op fills one column.
type op struct {
	col   int
	width int // of a row in bytes, 0 for values of variable length
	fill  bool
	clamp bool // a time that is bounded to a window around the arrival
	base  bool // reads sets, not records: constants
	rate  bool // the last word on sampling_rate: what is still zero gets the default
	seg   int  // segment of the record that off counts from
	off   uintptr
	len   int // of the value in bytes; -1: of variable length, it ends where the segment begins

	run    kernel        // columns of fixed width
	values values        // columns of variable length, and names
	parts  []part        // of values made of several fields
	enc    flow.Encoding // of lists

	// Of packets that are dissected: what they begin with, the columns of fixed width, and those of labels and tunnels, -1: not wanted.
	link           packet.Link
	seen           []dissected
	labels, tunnel int
}

// part is one field of several.
type part struct {
	seg int
	off uintptr
	len int // of need
}

// place of a field in its record.
type place struct {
	seg int
	off int
	len int // -1: variable
}

// fits says whether the value there can be read so.
func (p place) fits(e flow.Encoding) bool {
	if p.len < 0 {
		return e == flow.String || e == flow.Octets || e == flow.Frame || isList(e)
	}
	return fits(e, uint16(p.len))
}

// Compile makes the plan of a template for the columns of out, those of fields among them. The result must be used by one
// goroutine at a time.
func Compile(t *Template, out *sdk.Schema, fields []Column, b Biflow) *Plan {
	p := &Plan{t: t}
	c := compiler{p: p, out: out, at: map[uint64]place{}, fields: map[string][]flow.Element{}}
	for _, f := range fields {
		es := []flow.Element{{PEN: f.PEN, ID: f.ID, Enc: f.Enc}}
		if f.V9 != 0 {
			es = append(es, flow.Element{ID: f.V9, Enc: f.Enc})
		}
		c.fields[f.Name] = es
	}
	seg, off := 0, 0
	for _, f := range t.Fields {
		pl := place{seg, off, int(f.Len)}
		if f.Len == Variable && t.Version == IPFIX {
			p.steps = append(p.steps, step{skip: off})
			seg, off = seg+1, 0
			pl = place{seg, 0, -1}
		} else {
			off += int(f.Len)
		}
		if !f.Scope {
			c.at[elementKey(f.PEN, f.ID)] = pl // the last of one element wins
		}
	}
	p.tail = off
	if len(p.steps) == 0 {
		p.rec = off
	}
	steps := p.steps
	c.all = c.at
	forward, reverse := directions(c.at, b)
	c.at = forward
	if reverse != nil {
		c.direction = initiator
	}
	c.compile()
	if reverse != nil {
		r := &Plan{t: t, rec: p.rec, steps: steps, tail: p.tail}
		c.p, c.at, c.direction = r, reverse, reverseInitiator
		for _, id := range counters {
			if pl, ok := reverse[elementKey(0, id)]; ok && pl.fits(flow.Unsigned) {
				r.need = append(r.need, part{pl.seg, uintptr(pl.off), pl.len})
			}
		}
		if c.compile(); len(r.need) > 0 {
			p.reverse = r
		}
	}
	return p
}

// compile makes the operations of all columns.
func (c *compiler) compile() {
	for i, f := range c.out.Fields() {
		c.column(i, f)
	}
	c.section()
	c.segments()
}

type compiler struct {
	p   *Plan
	out *sdk.Schema
	at  map[uint64]place // as the direction sees them
	all map[uint64]place // as the template has them
	// direction is what biflow_direction says, 0: what the record says.
	direction uint8
	// fields are the elements of columns that the table lacks.
	fields map[string][]flow.Element
}

func (c *compiler) has(id uint16) (place, bool) {
	pl, ok := c.at[elementKey(0, id)]
	return pl, ok
}

// column adds the operations that fill column i.
func (c *compiler) column(i int, f sdk.Field) {
	w := f.Type.Width()
	switch f.Name {
	case "received":
		c.add(op{col: i, width: w, base: true, run: constant(constReceived)})
		return
	case "exported":
		c.add(op{col: i, width: w, base: true, run: constant(constExported)})
		return
	case "observation_domain":
		c.add(op{col: i, width: w, base: true, run: constant(constDomain)})
		return
	case "exporter_addr":
		c.add(op{col: i, width: w, base: true, run: constAddr})
		return
	case "exporter_port":
		c.add(op{col: i, width: w, base: true, run: constant(constPort)})
		return
	case "sequence":
		c.add(op{col: i, width: w, base: true, run: constant(constSequence)})
		return
	case "format":
		c.add(op{col: i, base: true, values: constFormat})
		return
	}
	if es, ok := c.fields[f.Name]; ok {
		at := c.at
		c.at = c.all
		c.elements(i, f, es)
		c.at = at
		return
	}
	col := flow.Index(f.Name)
	if col < 0 || flow.Columns[col].Type != f.Type {
		return // not ours to fill
	}
	if f.Name == "biflow_direction" && c.direction != 0 {
		c.biflowDirection(i)
		return
	}
	filled := c.elements(i, f, flow.Columns[col].Elements)
	switch f.Name {
	case "sampling_rate":
		if pl, ok := c.has(samplerID); ok {
			filled = c.sampler(i, pl, filled)
		} else if pl, ok := c.has(selectorID); ok {
			filled = c.sampler(i, pl, filled)
		}
		c.add(op{col: i, width: 8, base: true, fill: filled, rate: true, run: constRate})
	case "etype":
		c.etype(i, filled)
	case "icmp_type", "icmp_code":
		// NetFlow exporters without elements for them put both into the destination port.
		protocol, ok := c.has(4)
		port, ok2 := c.has(11)
		if !filled && ok && ok2 && protocol.len == 1 && port.len == 2 {
			code := 0
			if f.Name == "icmp_code" {
				code = 1
			}
			c.add(op{col: i, values: icmpPort, parts: []part{{seg: protocol.seg, off: uintptr(protocol.off)}, {seg: port.seg, off: uintptr(port.off + code)}}})
		}
	}
}

func (c *compiler) sampler(i int, pl place, filled bool) bool {
	if pl.len < 1 {
		return filled
	}
	c.add(op{col: i, width: 8, fill: filled, seg: pl.seg, off: uintptr(pl.off), len: pl.len, run: samplerRate})
	return true
}

// elements adds an operation for each of a column's elements that the template has, the later ones as fillers.
func (c *compiler) elements(i int, f sdk.Field, es []flow.Element) (filled bool) {
	var labels []part
	for _, e := range es {
		pl, ok := c.at[elementKey(e.PEN, e.ID)]
		if !ok || !pl.fits(e.Enc) {
			continue // no fault of the template: another pipeline may know better what the element is
		}
		o := op{col: i, width: f.Type.Width(), fill: filled, seg: pl.seg, off: uintptr(pl.off), len: pl.len, clamp: f.Type == sdk.Timestamp}
		switch e.Enc {
		case flow.Label:
			labels = append(labels, part{seg: pl.seg, off: uintptr(pl.off)})
			continue
		case flow.String:
			o.values, o.width = nameValues, 0
			if f.Type != sdk.Name {
				o.values = textValues
			}
		case flow.Octets, flow.Frame:
			o.values, o.width = octetValues, 0
		case flow.BasicList, flow.SubTemplateList, flow.SubTemplateMultiList:
			if f.Type != sdk.Text {
				continue
			}
			o.values, o.width, o.enc = listValues, 0, e.Enc
		default:
			if o.run = kernelOf(e.Enc, pl.len, o.width); o.run == nil {
				continue
			}
		}
		if o.values != nil && filled {
			continue // values of variable length: the first element alone
		}
		c.add(o)
		filled = true
	}
	if labels != nil {
		c.add(op{col: i, values: labelValues, parts: labels})
		filled = true
	}
	return filled
}

// etype of a record without ethernetType is that of its addresses' family: by ipVersion, else by which addresses the
// template has, and if it has both, by which are not zero.
func (c *compiler) etype(i int, filled bool) {
	if pl, ok := c.has(60); ok && pl.len == 1 {
		c.add(op{col: i, width: 2, fill: filled, seg: pl.seg, off: uintptr(pl.off), len: 1, run: versionEtype})
		filled = true
	}
	has := func(ids ...uint16) (found []place) {
		for _, id := range ids {
			if pl, ok := c.has(id); ok {
				found = append(found, pl)
			}
		}
		return found
	}
	v4, v6 := has(8, 12), has(27, 28)
	switch {
	case v4 != nil && v6 != nil:
		for _, pl := range append(v4, v6...) {
			c.add(op{col: i, width: 2, fill: filled, seg: pl.seg, off: uintptr(pl.off), len: pl.len, run: addrEtype})
			filled = true
		}
	case v4 != nil || has(44, 45) != nil: // addresses or prefixes
		c.add(op{col: i, width: 2, fill: filled, base: true, run: always(etypeIPv4)})
	case v6 != nil || has(169, 170) != nil:
		c.add(op{col: i, width: 2, fill: filled, base: true, run: always(etypeIPv6)})
	}
}

func (c *compiler) add(o op) { c.p.ops = append(c.p.ops, o) }

// segments numbers those segments that operations read; a plan of fixed length has the one.
func (c *compiler) segments() {
	p := c.p
	number := make([]int, len(p.steps)+1)
	for i := range number {
		number[i] = -1
	}
	use := func(seg int) int {
		if number[seg] < 0 {
			number[seg] = p.segs
			p.segs++
		}
		return number[seg]
	}
	for i := range p.ops {
		o := &p.ops[i]
		if o.base {
			continue
		}
		if o.parts != nil {
			for k := range o.parts {
				o.parts[k].seg = use(o.parts[k].seg)
			}
			continue
		}
		o.seg = use(o.seg)
	}
	for i := range p.need {
		p.need[i].seg = use(p.need[i].seg)
	}
	p.steps = append([]step{{seg: number[0]}}, p.steps...)
	for i := range p.steps[1:] {
		p.steps[i+1].seg = number[i+1]
	}
}
