package netflow

// Groups: sets of one plan that are decoded together, so that each operation of the plan runs over many records.

import (
	"slices"
	"unsafe"
)

// group is sets of one plan that run together.
type group struct {
	plan *Plan
	rows int
	segs []segment
	runs []run // of each datagram, or a part of it
}

// segment is one part of each record of a group: the record up to its first field of variable length, or what is between two of
// them. Only those are kept that an operation reads.
type segment struct {
	// ps are pointers to the byte before the segment: a segment may be empty at the end of a payload, and a pointer behind the end
	// would be one into other memory. There is always a byte, for a header comes first.
	ps   []unsafe.Pointer
	lens []uint32 // of the value of variable length before the segment
}

// before is how far behind its pointer a segment begins.
const before = 1

const (
	// groupBytes is how much payload groups look into: half of a first-level cache, so that each operation finds the bytes there
	// that the one before it read.
	groupBytes = 16 << 10
	groupsMost = 4
)

// room finds the group for a set of plan p, and says how many records the batch has room for: one at least.
func (d *Decoder) room(p *Plan) (*group, int) {
	for {
		if d.batch == nil {
			d.batch = d.rows.Open()
			d.at = d.batch.Rows()
		}
		if d.bytes >= groupBytes {
			d.runGroups()
		}
		if n := d.batch.Size() - d.at - d.wait; n > 0 {
			return d.group(p), n
		}
		d.runGroups()
		b := d.batch
		d.batch = nil
		d.rows.Full(b)
	}
}

// group finds the group of a plan, or begins it.
func (d *Decoder) group(p *Plan) *group {
	for i := range d.groups[:d.used] {
		if d.groups[i].plan == p {
			return &d.groups[i]
		}
	}
	if d.used == len(d.groups) {
		d.runGroups()
	}
	g := &d.groups[d.used]
	d.used++
	g.plan = p
	if len(g.segs) < p.segs {
		g.segs = append(g.segs, make([]segment, p.segs-len(g.segs))...)
	}
	return g
}

// add takes the n records into account whose segments have been added, size bytes of payload.
func (d *Decoder) add(g *group, n, size int) {
	if i := len(g.runs) - 1; i >= 0 && g.runs[i].k == d.k {
		g.runs[i].n += n
	} else {
		g.runs = append(g.runs, run{n, d.k})
	}
	d.fresh = false
	g.rows += n
	d.wait += n
	d.bytes += size
}

// fixed adds n records of fixed length at a place of a payload.
func (d *Decoder) fixed(p *Plan, payload []byte, at, n int) {
	d.Tally.Records += uint64(n)
	for n > 0 {
		g, room := d.room(p)
		m := min(n, room)
		g.fixed(payload, at, m)
		d.add(g, m, m*p.rec)
		n -= m
		at += m * p.rec
	}
}

// fixed adds n records of fixed length.
func (g *group) fixed(payload []byte, at, n int) {
	if g.plan.segs == 0 { // only what the datagram says is wanted
		return
	}
	s := &g.segs[0]
	have := len(s.ps)
	if cap(s.ps)-have < n {
		s.ps = slices.Grow(s.ps, n)
	}
	s.ps = s.ps[:have+n]
	ps, rec := s.ps[have:], g.plan.rec
	base := unsafe.Pointer(unsafe.SliceData(payload))
	at -= before
	for i := range ps {
		ps[i] = unsafe.Add(base, at)
		at += rec
	}
}

// reversed adds the other direction of those of n records of fixed length that have any.
func (d *Decoder) reversed(p *Plan, payload []byte, at, n int) {
	base := unsafe.Pointer(unsafe.SliceData(payload))
	counts := func(i int) bool {
		return p.counts(func(int) unsafe.Pointer { return unsafe.Add(base, at+i*p.rec-before) })
	}
	for i := 0; i < n; {
		run := 0
		for ; i+run < n && counts(i+run); run++ {
		}
		d.fixed(p, payload, at+i*p.rec, run)
		i += run + 1
	}
}

// variable walks the records with fields of variable length in payload[at:end] and adds them. It returns the number of
// records, where the last one ended, and whether a value passed the end.
func (d *Decoder) variable(p *Plan, payload []byte, at, end int) (n, to int, cut bool) {
	least := p.t.MinRecord()
	payload = payload[:end]
	for end-at >= least && !cut {
		g, room := d.room(p)
		m, from := 0, at
		for m < room && end-at >= least {
			next, ok := g.record(p, payload, at)
			if !ok {
				g.cutBack(m)
				cut = true
				break
			}
			at = next
			if p.need != nil && !g.counts(p) {
				g.cutBack(m)
				continue
			}
			m++
		}
		if m > 0 {
			d.add(g, m, at-from)
			n += m
		}
	}
	d.Tally.Records += uint64(n)
	return n, at, cut
}

// record walks one record with fields of variable length, of a set that ends with the payload, and adds its segments. If a value
// passes the end, some have been added.
func (g *group) record(p *Plan, payload []byte, at int) (next int, ok bool) {
	base := unsafe.Pointer(unsafe.SliceData(payload))
	if s := p.steps[0].seg; s >= 0 {
		g.segs[s].ps = append(g.segs[s].ps, unsafe.Add(base, at-before))
	}
	for i := range p.steps[1:] {
		st := &p.steps[i+1]
		if at += st.skip; at >= len(payload) {
			return 0, false
		}
		n, head, ok := varLen(payload[at:])
		if at += head + n; !ok || at > len(payload) {
			return 0, false
		}
		if st.seg >= 0 {
			s := &g.segs[st.seg]
			s.ps, s.lens = append(s.ps, unsafe.Add(base, at-before)), append(s.lens, uint32(n))
		}
	}
	at += p.tail
	return at, at <= len(payload)
}

// cutBack takes back the segments of a record that was cut; m of the set's records are whole.
func (g *group) cutBack(m int) {
	for i := range g.segs[:g.plan.segs] {
		g.segs[i].cut(g.rows + m)
	}
}

// cut leaves the first n records at most.
func (s *segment) cut(n int) {
	s.ps, s.lens = s.ps[:min(n, len(s.ps))], s.lens[:min(n, len(s.lens))]
}

// counts says whether the record whose segments were added last has anything of the plan's direction.
func (g *group) counts(p *Plan) bool {
	return p.counts(func(seg int) unsafe.Pointer {
		ps := g.segs[seg].ps
		return ps[len(ps)-1]
	})
}

// runGroups decodes the sets that wait into the batch.
func (d *Decoder) runGroups() {
	for i := range d.groups[:d.used] {
		g := &d.groups[i]
		if g.rows > 0 {
			d.runGroup(g)
			d.at += g.rows
			d.batch.SetRows(d.at)
		}
		for i := range g.segs {
			g.segs[i].cut(0)
		}
		g.runs, g.rows = g.runs[:0], 0
	}
	d.used, d.wait, d.bytes = 0, 0, 0
	d.keep()
}

func (d *Decoder) runGroup(g *group) {
	b, x, rows := d.batch, &d.span, g.rows
	x.g, x.n, x.runs, x.clamped = g, rows, g.runs, 0
	for i := range g.plan.ops {
		o := &g.plan.ops[i]
		if x.ps, x.lens, x.len = nil, nil, o.len; !o.base && o.parts == nil {
			x.ps, x.lens = g.segs[o.seg].ps, g.segs[o.seg].lens
		}
		if o.values != nil {
			o.values(d, b, d.at, o, x)
			continue
		}
		x.any = !o.clamp || o.fill
		x.to[0] = target{unsafe.Add(b.Claim(o.cols[0], d.at, rows), d.at*o.width), o.off}
		switch {
		case o.n == 2:
			x.to[1] = target{unsafe.Add(b.Claim(o.cols[1], d.at, rows), d.at*o.width), o.off1}
			o.two(x)
		case o.fill:
			d.filler(o, x)
		default:
			o.one(x)
		}
	}
	d.Tally.Clamped += x.clamped
}

// filler fills the rows of a column that are still zero.
func (d *Decoder) filler(o *op, x *span) {
	dst := x.to[0].dst
	x.to[0].dst = d.scratch
	o.one(x)
	merge(dst, d.scratch, x.n, o.width)
	if x.any = !o.clamp; o.clamp {
		x.clamp(unsafe.Slice((*int64)(dst), x.n))
	}
}
