package netflow

import (
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

// Result says what became of a datagram. It is lent until the next call.
type Result struct {
	Version uint16
	Domain  uint32
	Why     Reason // not None: the datagram as a whole is refused
	Used    bool   // something of it was used, or there was nothing in it to use
	Bad     Reason // not None: a part was rejected, first for this
	BadAt   int    // where in the payload
	// Unknown are the data sets whose template is not known, with their headers.
	Unknown []Span
	Header  int // bytes of the message header, which a datagram of the unknown sets must have too
	Rows    int // records decoded
}

// Decode decodes a datagram. Its records are in the batches of Rows once Run has been called.
func (d *Decoder) Decode(g *Datagram) *Result {
	// The result and what is like it are filled in place, field by field: a copy of what has just been written in other pieces waits
	// until that is out of the processor's hands, which was a sixth of the work on a datagram of two records.
	h, r := &d.h, &d.r
	why := h.parse(g.Payload)
	*r = Result{}
	r.Version, r.Domain, r.Why, r.Header = h.Version, h.Domain, why, h.Len
	if why != None {
		d.Tally.Rejected[why] += uint64(len(g.Payload))
		return r
	}
	d.Tally.Header += uint64(h.Len)
	d.Tally.Skipped[Trailing] += uint64(len(g.Payload) - h.End)
	d.begin(g, h)
	d.unknown = d.unknown[:0]
	switch h.Version {
	case V1:
		d.builtIn(d.v1, g, h, r)
	case V5:
		d.builtIn(d.v5, g, h, r)
	case V7:
		d.builtIn(d.v7, g, h, r)
	default:
		d.sets(g, h, r)
		r.Unknown = d.unknown
	}
	return r
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
	k.snap, k.dom = nil, nil
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

func (d *Decoder) compile(t *Template) *Plan { return Compile(t, d.out, d.opt.Fields, d.opt.Biflow) }
