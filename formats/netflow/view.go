package netflow

import (
	"cmp"

	"github.com/weirflow/weir/formats/sequence"
)

// exporterView is a lane's own view of an exporter: what each datagram needs of it, side by side, for with many exporters each line of
// memory that is not near costs as much as a record. Until [Store.moved] moves, all of it is as the store has it.
type exporterView struct {
	origin
	moved uint64 // the store's, when the view was brought up to date
	seen  int64  // as of which exp.seen has been touched
	exp   *Exporter
	snap  *snapshot
	plans []*Plan // by entry of snap, made when first met

	dom   *domain // of snap, for domain domID; nil: not yet looked for
	domID uint32

	seq    *sequence.Line
	seqKey uint64 // of seq: version and domain

	fallback, override uint64 // sampling rates, as Options.Rate says

	met [4]met // entries met last, by id and domain
}

// met is an entry that was met.
type met struct {
	key   uint64 // 0: none
	index int    // of snap.entries
	seen  int64  // as of which the entry is said to be in use
	plan  *Plan  // nil: of options
}

// maxViews and maxPlans bound what a lane keeps: beyond, it starts again from the store. Networks have a few dozen different
// templates; a plan of all columns takes 10 KiB.
const (
	maxViews = 1 << 15
	maxPlans = 1 << 11
)

// view finds the lane's view of an exporter and brings it up to date; nil if the store does not know the exporter.
func (d *Decoder) view(g *Datagram, make bool) *exporterView {
	at := &d.near[nearby(&g.Addr, g.Session)]
	v := *at
	moved := d.store.moved.Load() // before what it counts
	if v == nil || v.addr != g.Addr || v.session != g.Session || v.moved != moved && v.exp.gone.Load() {
		if v = d.find(g, make); v == nil {
			return nil
		}
		*at = v
	}
	if v.moved != moved {
		v.moved = moved
		v.update()
	}
	if d.Now-v.seen >= second {
		v.seen = d.Now
		touch(&v.exp.seen, d.Now)
	}
	return v
}

// update brings a view up to date.
func (v *exporterView) update() {
	s := v.exp.snap.Load()
	if s == v.snap {
		return
	}
	v.snap, v.dom = s, nil
	clear(v.met[:])
	clear(v.plans)
	if cap(v.plans) < len(s.entries) {
		v.plans = append(v.plans[:0], make([]*Plan, len(s.entries))...)
	}
	v.plans = v.plans[:len(s.entries)]
}

// nearby is an exporter's place in Decoder.near.
func nearby(addr *[16]byte, s Session) uint8 {
	h := le.Uint64(addr[:]) ^ le.Uint64(addr[8:]) ^ uint64(s)
	return uint8(h * 0x9e3779b97f4a7c15 >> 56)
}

// find is the view of an exporter by the maps, made if the store knows the exporter; nil if it does not.
func (d *Decoder) find(g *Datagram, make bool) *exporterView {
	var v *exporterView
	if g.Session == 0 {
		v = d.lanes[g.Addr]
	} else if v = d.sessions[g.Session]; v != nil && v.addr != g.Addr {
		v = nil
	}
	if v != nil && !v.exp.gone.Load() {
		return v
	}
	o := origin{g.Addr, g.Session}
	var e *Exporter
	if make {
		kind := telling
		if d.h.Version < V9 {
			kind = plain
		}
		e = d.store.exporter(o, kind, d.Now)
	} else {
		e = d.store.lookup(o)
	}
	if e == nil {
		return nil
	}
	if len(d.lanes)+len(d.sessions) >= maxViews {
		d.forgetViews()
	}
	v = &exporterView{origin: o, exp: e, snap: emptySnapshot, moved: d.store.moved.Load() - 1, seen: d.Now - second}
	if o.session == 0 {
		d.lanes[o.addr] = v
	} else {
		d.sessions[o.session] = v
	}
	if d.opt.Rate != nil {
		v.fallback, v.override = d.opt.Rate(g.Addr)
	}
	return v
}

func (d *Decoder) forgetViews() {
	clear(d.lanes)
	clear(d.sessions)
	clear(d.near[:])
}

// entry finds the template of a key, and says that it is in use; nil if the exporter has told none.
func (d *Decoder) entry(v *exporterView, key uint64) *met {
	m := &v.met[(key+key>>24)%uint64(len(v.met))]
	if m.key != key {
		i, ok := v.snap.find(key)
		if !ok {
			return nil
		}
		m.key, m.index, m.seen, m.plan = key, i, d.Now-second, nil
		if !v.snap.entries[i].t.Options {
			m.plan = d.plan(v, i)
		}
	}
	if d.Now-m.seen >= second {
		m.seen = d.Now
		v.snap.entries[m.index].use(v.exp, d.Now)
	}
	return m
}

// plan is the plan of the i-th template of a view.
func (d *Decoder) plan(v *exporterView, i int) *Plan {
	if p := v.plans[i]; p != nil {
		return p
	}
	t := v.snap.entries[i].t
	p := d.plans[t]
	if p == nil {
		if len(d.plans) >= maxPlans {
			clear(d.plans)
			d.forgetViews() // they hold plans too
		}
		p = d.compile(t)
		d.plans[t] = p
	}
	v.plans[i] = p
	return p
}

// setRate sets the constants of sampling: told is what the exporter has said of records that name no sampler, 0: nothing. v may be nil.
func (d *Decoder) setRate(v *exporterView, addr [16]byte, told uint64) {
	k := d.k
	var override uint64
	switch {
	case v != nil:
		k.fallback, override = v.fallback, v.override
	case d.opt.Rate != nil:
		k.fallback, override = d.opt.Rate(addr)
	default:
		k.fallback = 0
	}
	k.override = override != 0
	k.rate, k.unknown = known(cmp.Or(override, told, k.fallback))
}

// known is a sampling rate, and 0; or 1, and 1 for one that nobody has told.
func known(rate uint64) (_, unknown uint64) {
	if rate == 0 {
		return 1, 1
	}
	return rate, 0
}

// number keeps a datagram's sequence number for the end of the batch. It holds so many records, -1: nobody knows.
func (d *Decoder) number(v *exporterView, h *Header, units int) {
	k := uint64(h.Version)<<32 | uint64(h.Domain)
	if v.seq == nil || v.seqKey != k {
		if v.seq = d.store.line(v.exp, h.Version, h.Domain); v.seq == nil {
			return
		}
		v.seqKey = k
	}
	if len(d.numbers) == cap(d.numbers) && len(d.numbers) >= 4096 {
		d.store.Sequences.Observe(d.numbers)
		d.numbers = d.numbers[:0]
	}
	d.numbers = append(d.numbers, sequence.Seen{Line: v.seq, At: h.Sequence, Records: int32(units)})
}
