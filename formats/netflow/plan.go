package netflow

import (
	"slices"

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

// op fills one column, or two of one kind.
type op struct {
	cols  [3]int // two in a pair, three of arrival
	n     int    // so many
	width int    // of a row in bytes, 0 for values of variable length
	fill  bool
	clamp bool // a time that is bounded to a window around the arrival
	base  bool // reads what datagrams say, not records
	seg   int  // segment of the record that off counts from
	off   uintptr
	off1  uintptr // of the second column
	len   int     // of the value in bytes; -1: of variable length, it ends where the segment begins

	kernels               // columns of fixed width
	values  values        // columns of variable length, names, and what is made of several
	parts   []part        // of values made of several fields
	enc     flow.Encoding // of lists

	// Of packets that are dissected: what they begin with, the columns of fixed width, and those of labels and tunnels, -1: not wanted.
	link           packet.Link
	seen           []dissected
	labels, tunnel int
	frameType      part // says which frames are of Ethernet; len 0: all are
}

// part is one field of several.
type part struct {
	seg int
	off uintptr
	len int
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
	c := compiler{p: p, out: out, at: map[uint64]place{}, all: map[uint64]place{}, fields: map[string][]flow.Element{}}
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
			k := elementKey(f.PEN, f.ID)
			c.all[k] = pl // the last of one element wins
			if !f.WrongLength(t.Version) {
				c.at[k] = pl
			}
		}
	}
	p.tail = off
	if len(p.steps) == 0 {
		p.rec = off
	}
	steps := p.steps
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
	c.together()
	c.segments()
}

type compiler struct {
	p   *Plan
	out *sdk.Schema
	at  map[uint64]place // as the direction sees them
	all map[uint64]place // as the template has them, those of a wrong length too: who describes an element says what it is
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
	if k := constantColumns[f.Name]; k != nil {
		c.add(op{cols: [3]int{i}, width: f.Type.Width(), base: true, kernels: kernels{one: k}})
		return
	}
	if f.Name == "format" {
		c.add(op{cols: [3]int{i}, base: true, values: constFormat})
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
		o := op{cols: [3]int{i}, width: 8, fill: filled, base: true, values: rates}
		pl, ok := c.has(samplerID)
		if !ok {
			pl, ok = c.has(selectorID)
		}
		if ok && pl.fits(flow.Unsigned) {
			o.base, o.seg, o.off, o.len, o.one = false, pl.seg, uintptr(pl.off), pl.len, kernelsOf(flow.Unsigned, pl.len, 8).one
		}
		c.add(o)
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
			c.add(op{cols: [3]int{i}, values: icmpPort, parts: []part{{seg: protocol.seg, off: uintptr(protocol.off)}, {seg: port.seg, off: uintptr(port.off + code)}}})
		}
	}
}

// elements adds an operation for each of a column's elements that the template has, the later ones as fillers.
func (c *compiler) elements(i int, f sdk.Field, es []flow.Element) (filled bool) {
	var labels []part
	for _, e := range es {
		pl, ok := c.at[elementKey(e.PEN, e.ID)]
		if !ok || !pl.fits(e.Enc) {
			continue // no fault of the template: another pipeline may know better what the element is
		}
		o := op{cols: [3]int{i}, width: f.Type.Width(), fill: filled, seg: pl.seg, off: uintptr(pl.off), len: pl.len, clamp: f.Type == sdk.Timestamp}
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
			if o.kernels = kernelsOf(e.Enc, pl.len, o.width); o.one == nil {
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
		c.add(op{cols: [3]int{i}, values: labelValues, parts: labels})
		filled = true
	}
	return filled
}

// etype of a record without ethernetType is that of its addresses' family: by ipVersion, else by which addresses the
// template has, and if it has both, by which are not zero.
func (c *compiler) etype(i int, filled bool) {
	if pl, ok := c.has(60); ok && pl.len == 1 {
		c.add(op{cols: [3]int{i}, width: 2, fill: filled, seg: pl.seg, off: uintptr(pl.off), len: 1, kernels: kernels{one: versionEtype}})
		filled = true
	}
	// The length of an element that only its reverse has made one of these has not been judged with the template.
	has := func(e flow.Encoding, ids ...uint16) (found []place) {
		for _, id := range ids {
			if pl, ok := c.has(id); ok && pl.fits(e) {
				found = append(found, pl)
			}
		}
		return found
	}
	v4, v6 := has(flow.IPv4, 8, 12), has(flow.IPv6, 27, 28)
	switch {
	case v4 != nil && v6 != nil:
		for _, pl := range append(v4, v6...) {
			c.add(op{cols: [3]int{i}, width: 2, fill: filled, seg: pl.seg, off: uintptr(pl.off), len: pl.len, kernels: kernels{one: addrEtype}})
			filled = true
		}
	case v4 != nil || has(flow.IPv4, 44, 45) != nil: // addresses or prefixes
		c.add(op{cols: [3]int{i}, width: 2, fill: filled, base: true, kernels: kernels{one: always[uint16](etypeIPv4)}})
	case v6 != nil || has(flow.IPv6, 169, 170) != nil:
		c.add(op{cols: [3]int{i}, width: 2, fill: filled, base: true, kernels: kernels{one: always[uint16](etypeIPv6)}})
	}
}

func (c *compiler) add(o op) { c.p.ops = append(c.p.ops, o) }

// together makes one operation of those that cost less so: arrival of three constants, pairs of columns of one kind. The order in
// which columns are filled does not matter, that of an operation and its fillers stays.
func (c *compiler) together() {
	ops := c.p.ops
	find := func(name string) int {
		return slices.IndexFunc(ops, func(o op) bool { return o.base && o.n == 0 && c.out.Field(o.cols[0]).Name == name })
	}
	if r, a, d := find("received"), find("exporter_addr"), find("observation_domain"); r >= 0 && a >= 0 && d >= 0 {
		ops[r].cols, ops[r].n, ops[r].values = [3]int{ops[r].cols[0], ops[a].cols[0], ops[d].cols[0]}, 3, arrival
		for _, i := range []int{max(a, d), min(a, d)} {
			ops = slices.Delete(ops, i, i+1)
		}
	}
	for i := 0; i < len(ops); i++ {
		o := &ops[i]
		if o.n > 0 {
			continue
		}
		if o.n = 1; o.two == nil || o.fill {
			continue
		}
		for j := i + 1; j < len(ops); j++ {
			if x := &ops[j]; x.two != nil && !x.fill && x.kind == o.kind && x.seg == o.seg && x.clamp == o.clamp {
				o.cols[1], o.off1, o.n = x.cols[0], x.off, 2
				ops = slices.Delete(ops, j, j+1)
				break
			}
		}
	}
	// The first operation that reads records waits for them to come from memory. With the shortest loop, the processor looks the
	// furthest ahead, and waits the least.
	if i := slices.IndexFunc(ops, func(o op) bool { return o.n == 1 && o.one != nil && !o.base && !o.fill && o.width <= 2 }); i > 0 {
		o := ops[i]
		ops = slices.Insert(slices.Delete(ops, i, i+1), 0, o)
	}
	c.p.ops = ops
}

// segments numbers those segments that operations read, and counts their offsets from where pointers stand.
func (c *compiler) segments() {
	p := c.p
	number := make([]int, len(p.steps)+1)
	for i := range number {
		number[i] = -1
	}
	use := func(seg *int, off *uintptr) {
		if number[*seg] < 0 {
			number[*seg] = p.segs
			p.segs++
		}
		*seg = number[*seg]
		*off += before
	}
	for i := range p.ops {
		o := &p.ops[i]
		for k := range o.parts {
			use(&o.parts[k].seg, &o.parts[k].off)
		}
		if o.frameType.len > 0 {
			use(&o.frameType.seg, &o.frameType.off)
		}
		if !o.base && o.parts == nil {
			use(&o.seg, &o.off)
			o.off1 += before
		}
	}
	for i := range p.need {
		use(&p.need[i].seg, &p.need[i].off)
	}
	p.steps = append([]step{{seg: number[0]}}, p.steps...)
	for i := range p.steps[1:] {
		p.steps[i+1].seg = number[i+1]
	}
}
