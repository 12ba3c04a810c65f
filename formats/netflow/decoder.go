package netflow

import (
	"cmp"
	"time"
	"unsafe"

	"github.com/weirflow/weir/formats/packet"
	"github.com/weirflow/weir/formats/sequence"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
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
	// Rate says the sampling rates that are set for an exporter: fallback is that of records for which nobody told one, override
	// that of all its records; 0: not set. It is asked once for each exporter. Nil: none is set for any.
	Rate func(exporter [16]byte) (fallback, override uint64)
	// Window bounds times: to received - Window .. received + Window. 0: they are left as they are.
	Window time.Duration
	// Decapsulate names the tunnels in sampled packets whose inner packet is the flow.
	Decapsulate packet.Decapsulate
	// Biflow says what becomes of records of both directions.
	Biflow Biflow
	// Fields are columns that the table of flow columns lacks.
	Fields []Column
}

// Column says which information element fills a column of the schema that the table of flow columns lacks.
type Column struct {
	Name   string
	PEN    uint32
	ID, V9 uint16 // V9: the field type in NetFlow v9 where it is another, which is then above 32767; else 0
	Enc    flow.Encoding
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
	// Of sessions there are views by number: one map with both as its key made datagrams of 2 records a tenth slower.
	sessions map[Session]*exporterView
	// near are the views met last, by a hash: exporters take turns, and a map's look-up is a tenth of the work on a datagram of two
	// records. Whoever sends so that two share a place finds the map.
	near [256]*exporterView

	v1, v5, v7 *Plan

	// The datagram being decoded.
	h Header
	r Result
	// ks are the constants of the datagrams whose records wait, and of the one at hand, which come last. Records point to them.
	ks    []consts
	k     *consts // the last
	fresh bool    // no record points to it

	groups [groupsMost]group
	used   int        // groups that wait
	at     int        // row of the first record of the first group
	wait   int        // records of all groups
	bytes  int        // payload they look into
	batch  *sdk.Batch // where their rows go; nil: ask

	span     span // of the operation that runs
	packets  []packet.Fields
	scratch  unsafe.Pointer // rows of fillers
	defs     []definition
	changes  []change
	samplers []Sampler
	numbers  []sequence.Seen
	unknown  []Span
}

// exporterView is a lane's own view of an exporter: its snapshot with a plan beside each template.
type exporterView struct {
	exp   *Exporter
	snap  *snapshot
	plans []*Plan // by entry of snap, made when first met
	// met are entries met last, by id and domain; key 0 is none's.
	met [4]struct {
		key   uint64
		index int
	}

	fallback, override uint64 // sampling rates, as Options.Rate says

	seqKey uint64 // of seq
	seq    *sequence.Line
}

// maxViews and maxPlans bound what a lane keeps: beyond, it starts again from the store. Networks have a few dozen different
// templates; a plan of all columns takes 10 KiB.
const (
	maxViews = 1 << 15
	maxPlans = 1 << 11
)

// NewDecoder makes a decoder of rows of schema out. Name columns must have got their dictionaries from flow.Names when a batch
// is opened.
func NewDecoder(store *Store, out *sdk.Schema, opt Options, rows Rows) *Decoder {
	d := &Decoder{store: store, out: out, opt: opt, rows: rows, plans: map[*Template]*Plan{}, lanes: map[[16]byte]*exporterView{}, sessions: map[Session]*exporterView{}}
	d.v1, d.v5, d.v7 = d.compile(templateV1), d.compile(templateV5), d.compile(templateV7)
	d.defs = make([]definition, definitions)
	d.ks = make([]consts, 1, mostConsts)
	d.k, d.fresh = &d.ks[0], true
	if d.span.width = 2 * uint64(opt.Window); opt.Window <= 0 {
		d.span.width = 1<<64 - 1
	}
	d.scratch = unsafe.Pointer(unsafe.SliceData(make([][2]uint64, sdk.MaxRows)))
	return d
}

// Datagram is one UDP payload, and where and when it came from.
type Datagram struct {
	Payload  []byte
	Addr     [16]byte // of the exporter, IPv4 mapped
	Port     uint16
	Received int64   // ns since the Unix epoch
	Session  Session // of the connection it came by, 0 for a datagram
	// Again: it was decoded before and holds only sets whose template was not known. Its sequence number has been seen.
	Again bool
}

// Span is a part of a payload.
type Span struct{ From, To int }

// Result says what became of a datagram.
type Result struct {
	Version uint16
	Domain  uint32
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
	h, r := &d.h, &d.r
	why := h.parse(g.Payload)
	*r = Result{Version: h.Version, Domain: h.Domain, Why: why, Header: h.Len}
	if why != None {
		d.Tally.Rejected[why] += uint64(len(g.Payload))
		return *r
	}
	d.Tally.Header += uint64(h.Len)
	d.Tally.Skipped[Trailing] += uint64(len(g.Payload) - h.End)
	d.begin(g, h)
	d.unknown = d.unknown[:0]
	switch h.Version {
	case V1:
		d.builtIn(d.v1, g, h, r)
		return *r
	case V5:
		d.builtIn(d.v5, g, h, r)
		return *r
	case V7:
		d.builtIn(d.v7, g, h, r)
		return *r
	}
	d.sets(g, h, r)
	r.Unknown = d.unknown
	return *r
}

// Run decodes the group that waits. Afterwards no payload is looked into any more, and the next record asks for the batch to
// go on with.
func (d *Decoder) Run() {
	d.runGroups()
	d.batch = nil
	if len(d.numbers) > 0 {
		d.store.Sequences.Observe(d.numbers)
		d.numbers = d.numbers[:0]
	}
}

// begin sets the constants of a datagram, but for the sampling rate.
func (d *Decoder) begin(g *Datagram, h *Header) {
	if !d.fresh {
		d.next()
	}
	k := d.k
	k.received, k.addr, k.port = g.Received, g.Addr, g.Port
	k.domain, k.sequence, k.format = h.Domain, h.Sequence, formatOf(h.Version)
	k.uptime, k.hasUptime = h.Uptime, h.Version != IPFIX
	k.clock, k.exported = h.Exported, h.Exported
	k.low, k.anyTime = g.Received-int64(d.opt.Window), g.Received == 0
	if w := d.span.width; uint64(h.Exported-k.low) > w && h.Exported != 0 && !k.anyTime {
		k.exported = bound(h.Exported, k.low, w)
		d.Tally.Clamped++
	}
	k.samplers, k.snap = nil, nil
}

// mostConsts bounds the datagrams whose records wait.
const mostConsts = 256

// fork begins new constants, which are the old ones at first; those that records point to stay as they are.
func (d *Decoder) fork() {
	old := d.k
	d.next()
	*d.k = *old
}

// next begins new constants, whose content is undefined.
func (d *Decoder) next() {
	if len(d.ks) == cap(d.ks) {
		d.runGroups()
		return
	}
	d.ks = d.ks[:len(d.ks)+1]
	d.k, d.fresh = &d.ks[len(d.ks)-1], true
}

// keep leaves of the constants those of the datagram at hand.
func (d *Decoder) keep() {
	d.ks[0], d.ks = *d.k, d.ks[:1]
	d.k, d.fresh = &d.ks[0], true
}

// setRates sets the constants of sampling: told is what the exporter has said of records that name no sampler, 0 if it has said
// nothing, and other the same of records that name a sampler it has not told of. v may be nil.
func (d *Decoder) setRates(v *exporterView, addr [16]byte, told, other uint64) {
	var fallback, override uint64
	switch {
	case v != nil:
		fallback, override = v.fallback, v.override
	case d.opt.Rate != nil:
		fallback, override = d.opt.Rate(addr)
	}
	k := d.k
	k.rate, k.unknown, k.override = cmp.Or(override, told, fallback), 0, override != 0
	if k.rate == 0 {
		k.rate, k.unknown = 1, 1
	}
	k.other, k.unnamed = cmp.Or(override, other, fallback), 0
	if k.other == 0 {
		k.other, k.unnamed = 1, 1
	}
}

// view finds the lane's view of an exporter and brings it up to date; nil if the store does not know the exporter.
func (d *Decoder) view(g *Datagram, make bool) *exporterView {
	at := &d.near[nearby(&g.Addr, g.Session)]
	v := *at
	if v == nil || v.exp.Addr != g.Addr || v.exp.Session != g.Session || v.exp.gone.Load() {
		if v = d.find(g, make); v == nil {
			return nil
		}
		*at = v
	}
	if s := v.exp.snap.Load(); s != v.snap {
		v.snap = s
		clear(v.met[:])
		clear(v.plans)
		if cap(v.plans) < len(s.entries) {
			v.plans = append(v.plans[:0], emptyPlans(len(s.entries))...)
		}
		v.plans = v.plans[:len(s.entries)]
	}
	if touch(&v.exp.seen, d.Now) {
		v.exp.ahead.Store(d.h.Exported - g.Received)
	}
	return v
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
	} else if v = d.sessions[g.Session]; v != nil && v.exp.Addr != g.Addr {
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
	e.ahead.Store(d.h.Exported - g.Received)
	if v = (&exporterView{exp: e}); o.session == 0 {
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
			d.forgetViews() // they hold plans too
		}
		p = d.compile(t)
		d.plans[t] = p
	}
	v.plans[i] = p
	return p
}

func (d *Decoder) compile(t *Template) *Plan { return Compile(t, d.out, d.opt.Fields, d.opt.Biflow) }

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
