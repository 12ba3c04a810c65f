package netflow

import (
	"time"
	"unsafe"

	"github.com/weirflow/weir/sdk"
)

// Rows is where a [Decoder] puts records: whoever owns the batches being built. It is asked once for each batch.
type Rows interface {
	// Open returns the batch to go on with. It has room for at least one row.
	Open() *sdk.Batch
	// Full says that b, the batch returned last, has no room left.
	Full(b *sdk.Batch)
}

// Options of a decoder.
type Options struct {
	// DefaultRate is the sampling rate of records for which nobody told one; 0 means 1.
	DefaultRate uint64
	// Window bounds times: to received - Window .. received + Window. 0: they are left as they are.
	Window time.Duration
}

// Decoder decodes datagrams into rows of one schema. It is used by one goroutine; several share a [Store].
//
// Sets of one plan wait as a group that looks into the datagrams' payloads: call [Decoder.Run] before they go. A few groups wait
// side by side, since exporters mix IPv4 and IPv6; so records of different templates may change their order.
type Decoder struct {
	// Tally counts bytes and records of all datagrams so far; it is the caller's to read and to reset.
	Tally Tally
	// Now is the caller's clock, ns since the Unix epoch: set before each batch. The ages of what exporters have told are measured
	// by it, for datagrams of an old capture arrived long ago.
	Now int64

	store *Store
	out   *sdk.Schema
	opt   Options
	rows  Rows

	plans map[*Template]*Plan
	lanes map[[16]byte]*exporterView
	last  *exporterView
	v5    *Plan

	// The datagram being decoded.
	h   Header
	r   Result
	k   consts
	kID uint64 // changes with k

	groups [groupsMost]group
	used   int        // groups that wait
	at     int        // row of the first record of the first group
	wait   int        // records of all groups
	bytes  int        // payload they look into
	batch  *sdk.Batch // where their rows go; nil: ask

	span     span           // of the operation that runs
	scratch  unsafe.Pointer // rows of operations that fill
	defs     []definition
	changes  []change
	samplers []Sampler
	numbers  []seen
	unknown  []Span
}

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

// exporterView is a lane's own view of an exporter: its snapshot with a plan beside each template.
type exporterView struct {
	exp   *Exporter
	snap  *snapshot
	plans []*Plan // by entry of snap, made when first met
	key   uint64  // of the template met last; 0 is none's
	index int     // of its entry

	seqKey uint64 // of seq
	seq    *sequence
}

// maxViews and maxPlans bound what a lane keeps of exporters that may be gone: it then starts again from the store.
const (
	maxViews = 1 << 15
	maxPlans = 1 << 14
)

// NewDecoder makes a decoder of rows of schema out. Name columns must have got their dictionaries from flow.Names when a batch
// is opened.
func NewDecoder(store *Store, out *sdk.Schema, opt Options, rows Rows) *Decoder {
	opt.DefaultRate = max(opt.DefaultRate, 1)
	d := &Decoder{store: store, out: out, opt: opt, rows: rows, plans: map[*Template]*Plan{}, lanes: map[[16]byte]*exporterView{}}
	d.v5 = Compile(templateV5, out)
	d.defs = make([]definition, definitions)
	d.scratch = unsafe.Pointer(unsafe.SliceData(make([][2]uint64, sdk.MaxRows)))
	return d
}

// Datagram is one UDP payload, and where and when it came from.
type Datagram struct {
	Payload  []byte
	Addr     [16]byte // of the exporter, IPv4 mapped
	Port     uint16
	Received int64 // ns since the Unix epoch
	// Again: it was decoded before and holds only sets whose template was not known. Its sequence number has been seen.
	Again bool
}

// Span is a part of a payload.
type Span struct{ From, To int }

// Result says what became of a datagram.
type Result struct {
	Version uint16
	Why     Reason // not None: the datagram as a whole is refused
	Used    bool   // something of it was used, or there was nothing in it to use
	Bad     Reason // not None: a part was rejected, first for this
	BadAt   int    // where in the payload
	// Unknown are the data sets whose template is not known, with their headers. They are lent until the next call.
	Unknown []Span
	Header  int // bytes of the message header, which a datagram of the unknown sets must have too
	Rows    int // records decoded
}

// Decode decodes a datagram. Its records are in the batches of Rows once Run has been called.
func (d *Decoder) Decode(g *Datagram) Result {
	h, why := ParseHeader(g.Payload)
	d.h, d.r = h, Result{Version: h.Version, Why: why, Header: h.Len}
	if why != None {
		d.Tally.Rejected[why] += uint64(len(g.Payload))
		return d.r
	}
	d.Tally.Header += uint64(h.Len)
	d.Tally.Skipped[Trailing] += uint64(len(g.Payload) - h.End)
	d.begin(g, &d.h)
	d.unknown = d.unknown[:0]
	if h.Version == V5 {
		d.datagramV5(g, &d.h, &d.r)
		return d.r
	}
	d.sets(g, &d.h, &d.r)
	d.r.Unknown = d.unknown
	return d.r
}

// Run decodes the group that waits. Afterwards no payload is looked into any more, and the next record asks for the batch to
// go on with.
func (d *Decoder) Run() {
	d.runGroups()
	d.batch = nil
	if len(d.numbers) > 0 {
		d.store.observe(d.numbers)
		d.numbers = d.numbers[:0]
	}
}

// begin sets the constants of a datagram.
func (d *Decoder) begin(g *Datagram, h *Header) {
	k := &d.k
	d.kID++
	k.addr = g.Addr
	k.clock = h.Exported
	k.low, k.span = -1<<63, 1<<64-1
	exported := h.Exported
	if w := int64(d.opt.Window); w > 0 && g.Received != 0 {
		k.low, k.span = g.Received-w, uint64(2*w)
		if uint64(exported-k.low) > k.span && exported != 0 {
			exported = bound(exported, k.low, k.span)
			d.Tally.Clamped++
		}
	}
	// One by one: a literal is made elsewhere and copied, and the copy waits for the stores.
	k.n[constReceived] = uint64(g.Received)
	k.n[constExported] = uint64(exported)
	k.n[constDomain] = uint64(h.Domain)
	k.n[constPort] = uint64(g.Port)
	k.n[constSequence] = uint64(h.Sequence)
	k.n[constSampling] = 0
	k.uptime, k.hasUptime = h.Uptime, h.Version != IPFIX
	k.format = formatOf(h.Version)
	k.samplers = nil
}

// view finds the lane's view of an exporter and brings it up to date; nil if the store does not know the exporter.
func (d *Decoder) view(addr [16]byte, make bool) *exporterView {
	v := d.last
	if v == nil || v.exp.Addr != addr || v.exp.gone.Load() {
		if v = d.lanes[addr]; v == nil || v.exp.gone.Load() {
			var e *Exporter
			if make {
				e = d.store.exporter(addr, d.Now)
			} else {
				e = d.store.lookup(addr)
			}
			if e == nil {
				return nil
			}
			if len(d.lanes) >= maxViews {
				clear(d.lanes)
			}
			v = &exporterView{exp: e}
			d.lanes[addr] = v
		}
		d.last = v
	}
	if s := v.exp.snap.Load(); s != v.snap {
		v.snap, v.key = s, 0
		clear(v.plans)
		if cap(v.plans) < len(s.entries) {
			v.plans = append(v.plans[:0], emptyPlans(len(s.entries))...)
		}
		v.plans = v.plans[:len(s.entries)]
	}
	touch(&v.exp.seen, d.Now)
	return v
}

func emptyPlans(n int) []*Plan { return make([]*Plan, n) }

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
		}
		p = Compile(t, d.out)
		d.plans[t] = p
	}
	v.plans[i] = p
	return p
}

// number keeps a datagram's sequence number for the end of the batch.
func (d *Decoder) number(v *exporterView, h *Header, units int) {
	k := uint64(h.Version)<<32 | uint64(h.Domain)
	if v.seq == nil || v.seqKey != k {
		if v.seq = d.store.sequence(v.exp, h.Version, h.Domain); v.seq == nil {
			return
		}
		v.seqKey = k
	}
	if len(d.numbers) == cap(d.numbers) && len(d.numbers) >= 4096 {
		d.store.observe(d.numbers)
		d.numbers = d.numbers[:0]
	}
	d.numbers = append(d.numbers, seen{v.seq, h.Sequence, units})
}

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

// defaultRates fills what nobody told.
func (d *Decoder) defaultRates(g *group, dst unsafe.Pointer) {
	rates := unsafe.Slice((*uint64)(dst), g.rows)
	for i := range g.refs {
		r := &g.refs[i]
		if g.ks[r.k].n[constSampling] == 0 {
			for j, v := range rates[:r.n] {
				if v == 0 {
					rates[j] = d.opt.DefaultRate
					d.Tally.SamplingUnknown++
				}
			}
		}
		rates = rates[r.n:]
	}
}
