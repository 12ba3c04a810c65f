package netflow

// Groups: sets of one plan that are decoded together, so that each operation of the plan runs over many records.

import "unsafe"

// group is sets of one plan that run together.
type group struct {
	plan *Plan
	rec  int // bytes of a record; 0: segments
	rows int
	refs []ref   // sets
	segs [][]ref // by segment, for templates with fields of variable length
	ks   []consts
	kID  uint64 // of the last of ks
}

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
			g := d.group(p)
			if g.kID != d.kID {
				g.kID = d.kID
				g.ks = append(g.ks, d.k)
			}
			return g, n
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
	g.plan, g.rec, g.kID = p, p.rec, 0
	if len(g.segs) < p.segs {
		g.segs = append(g.segs, make([][]ref, p.segs-len(g.segs))...)
	}
	return g
}

// add takes n records, size bytes from at on, into a group.
func (d *Decoder) add(g *group, payload []byte, at, n, size int) {
	g.refs = append(g.refs, ref{p: unsafe.Pointer(unsafe.SliceData(payload)), at: uint32(at), n: uint32(n), k: uint32(len(g.ks) - 1)})
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
		d.add(g, payload, at, m, m*p.rec)
		n -= m
		at += m * p.rec
	}
}

// reversed adds the other direction of those of n records of fixed length that have any.
func (d *Decoder) reversed(p *Plan, payload []byte, at, n int) {
	base := unsafe.Pointer(unsafe.SliceData(payload))
	for i := 0; i < n; {
		run := 0
		for ; i+run < n && p.counts(base, uintptr(at+(i+run)*p.rec)); run++ {
		}
		d.fixed(p, payload, at+i*p.rec, run)
		i += run + 1
	}
}

// variable walks the records with fields of variable length in payload[at:end] and adds them. It returns the number of
// records, where the last one ended, and whether a value passed the end.
func (d *Decoder) variable(p *Plan, payload []byte, at, end int) (n, to int, cut bool) {
	least := p.t.MinRecord()
	base := unsafe.Pointer(unsafe.SliceData(payload))
	for end-at >= least && !cut {
		g, room := d.room(p)
		m, from := 0, at
		for m < room && end-at >= least {
			next, ok := g.record(p, payload, base, at, end, uint32(len(g.ks)-1))
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
			d.add(g, payload, from, m, at-from)
			n += m
		}
	}
	d.Tally.Records += uint64(n)
	return n, at, cut
}

// record walks one record with fields of variable length and adds its segments. If a value passes the end, some have been
// added.
func (g *group) record(p *Plan, payload []byte, base unsafe.Pointer, at, end int, k uint32) (next int, ok bool) {
	if s := p.steps[0].seg; s >= 0 {
		g.segs[s] = append(g.segs[s], ref{p: base, at: uint32(at), n: 1, k: k})
	}
	for i := range p.steps[1:] {
		st := &p.steps[i+1]
		if at += st.skip; at >= end {
			return 0, false
		}
		n, head, ok := varLen(payload[at:end])
		if at += head + n; !ok || at > end {
			return 0, false
		}
		if st.seg >= 0 {
			g.segs[st.seg] = append(g.segs[st.seg], ref{p: base, at: uint32(at), n: 1, k: k, len: uint32(n)})
		}
	}
	at += p.tail
	return at, at <= end
}

// cutBack takes back the segments of a record that was cut; m of the set's records are whole.
func (g *group) cutBack(m int) {
	for i := range g.segs[:g.plan.segs] {
		if s := g.segs[i]; len(s) > g.rows+m {
			g.segs[i] = s[:g.rows+m]
		}
	}
}

// segment returns the refs from which an operation counts. In a plan of fixed length that is the sets themselves.
func (g *group) segment(i int) []ref {
	if g.rec != 0 {
		return g.refs
	}
	return g.segs[i]
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
			g.segs[i] = g.segs[i][:0]
		}
		g.refs, g.ks, g.rows = g.refs[:0], g.ks[:0], 0
	}
	d.used, d.wait, d.bytes = 0, 0, 0
}

func (d *Decoder) runGroup(g *group) {
	b, x := d.batch, &d.span
	x.g, x.ks, x.rec = g, g.ks, uintptr(g.rec)
	for i := range g.plan.ops {
		o := &g.plan.ops[i]
		x.refs, x.off, x.len = g.refs, o.off, o.len
		if !o.base && o.parts == nil {
			x.refs = g.segment(o.seg)
		}
		if o.values != nil {
			o.values(d, b, d.at, g.rows, o, x)
			continue
		}
		dst := unsafe.Add(b.Claim(o.col, d.at, g.rows), d.at*o.width)
		if o.fill {
			o.run(d.scratch, g.rows, x)
			merge(dst, d.scratch, g.rows, o.width)
		} else {
			o.run(dst, g.rows, x)
		}
		if o.clamp && d.opt.Window > 0 {
			d.Tally.Clamped += clampTimes(dst, g.rows, x.refs, g.ks)
		}
		if o.rate {
			d.defaultRates(g, dst)
		}
	}
}

// defaultRates fills what nobody told, and overrides what is set to be.
func (d *Decoder) defaultRates(g *group, dst unsafe.Pointer) {
	rates := unsafe.Slice((*uint64)(dst), g.rows)
	for i := range g.refs {
		r := &g.refs[i]
		k := &g.ks[r.k]
		switch {
		case k.override != 0:
			for j := range rates[:r.n] {
				rates[j] = k.override
			}
		case k.n[constSampling] == 0:
			for j, v := range rates[:r.n] {
				if v != 0 {
					continue
				}
				if rates[j] = k.fallback; k.fallback == 0 {
					rates[j] = 1
					d.Tally.SamplingUnknown++
				}
			}
		}
		rates = rates[r.n:]
	}
}
