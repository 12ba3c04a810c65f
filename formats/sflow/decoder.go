package sflow

import (
	"encoding/binary"
	"slices"

	"github.com/weirflow/weir/formats/packet"
	"github.com/weirflow/weir/sdk"
)

var be = binary.BigEndian

// Version is the first 32 bits of a datagram. NetFlow's versions are 16 bits, so that no datagram can be taken for both.
const Version = 5

// Is says whether a payload begins like an sFlow version 5 datagram.
func Is(payload []byte) bool { return len(payload) >= 4 && be.Uint32(payload) == Version }

// Rows is where a [Decoder] puts records: whoever owns the batches being built. It is asked once for each batch.
type Rows interface {
	// Open returns the batch to go on with. It has room for at least one row.
	Open() *sdk.Batch
	// Full says that b, the batch returned last, has no room left.
	Full(b *sdk.Batch)
}

// Options of a decoder.
type Options struct {
	// Rate says the sampling rates that are set for an agent: fallback is that of samples that tell 0, override that of all
	// samples whatever they tell; 0: not set. It is asked once in a while for each agent; nil: nothing is set.
	Rate func(agent [16]byte) (fallback, override uint64)
	// Decapsulate names the tunnels whose inner packet is the flow.
	Decapsulate packet.Decapsulate
	// Agents follows the sequence numbers; nil: nobody does.
	Agents *Agents
	// Counters is the schema of rows of counters samples, whose columns are of flow.CountersSchema, and CounterRows where they go;
	// nil: counters samples are skipped.
	Counters    *sdk.Schema
	CounterRows Rows
}

// Decoder decodes datagrams into rows of one schema. It is used by one goroutine.
//
// Records wait in it that look into the datagrams' payloads: call [Decoder.Run] before they go.
type Decoder struct {
	// Tally counts bytes and records of all datagrams so far; it is the caller's to read and to reset.
	Tally Tally
	// Now is the caller's clock, ns since the epoch, by which [Agents] grow old; datagrams may come of an old capture. It is to
	// be set before the first datagram of a batch.
	Now int64

	opt  Options
	rows Rows
	plan plan

	// The datagram being decoded.
	from    origin
	slot    *slot  // of its agent
	told    uint32 // the last rate that it told
	unknown uint32 // its samples without a rate
	lost    uint32 // its bytes that were rejected
	r       Result

	slots [slots]slot

	recs  *[staged]record
	views []view // of recs; only where a column of variable length is wanted
	n     int    // records that wait
	batch *sdk.Batch
	list  []byte // scratch

	numbers []numbered // of the batch's datagrams

	counters *counters // nil: nobody reads counters samples
	unread   bool      // nobody reads flow samples
}

// staged is how many records wait before they go into columns: few enough that they and what is done with them stay in a
// first-level cache.
const staged = 32

// origin is what all records of a datagram have in common.
type origin struct {
	agent    [16]byte
	received int64
	domain   uint32
	sequence uint32
	uptime   uint32
	port     uint16
}

// NewDecoder makes a decoder of rows of schema out; without one (nil) flow samples are skipped. Name columns must have got their
// dictionaries from flow.Names when a batch is opened.
func NewDecoder(out *sdk.Schema, opt Options, rows Rows) *Decoder {
	d := &Decoder{opt: opt, rows: rows, recs: new([staged]record), unread: out == nil}
	if out != nil {
		d.plan = compile(out)
	}
	if opt.Counters != nil {
		d.counters = &counters{rows: opt.CounterRows, plan: compileCounters(opt.Counters)}
	}
	if d.plan.need&needViews != 0 {
		d.views = make([]view, staged)
	}
	return d
}

// Datagram is one UDP payload, and where and when it came from.
type Datagram struct {
	Payload  []byte
	Addr     [16]byte // of the sender, IPv4 mapped
	Port     uint16
	Received int64 // ns since the Unix epoch
}

// Result says what became of a datagram.
type Result struct {
	Why   Reason // not None: the datagram as a whole is refused
	Used  bool   // something of it was used or skipped, or there was nothing in it to use
	Bad   Reason // not None: a part was rejected, first for this
	BadAt int    // where in the payload
	Rows  int    // flow records decoded
}

// Decode decodes a datagram. Its records are in the batches of Rows once Run has been called.
func (d *Decoder) Decode(g *Datagram) Result {
	d.r = Result{}
	p := g.Payload
	at, samples, why := d.header(g)
	if why != None {
		d.r.Why = why
		d.Tally.Rejected[why] += uint64(len(p))
		return d.r
	}
	d.Tally.Header += uint64(at)
	d.known()
	d.samples(p, at, samples)
	if d.opt.Agents != nil {
		d.number(g)
	}
	return d.r
}

// samples decodes n samples in p[at:].
func (d *Decoder) samples(p []byte, at int, samples uint32) {
	d.r.Used = samples == 0
	for n := uint32(0); n < samples; n++ {
		left := len(p) - at
		if left < 8 {
			d.bad(SampleCount, at, left)
			return
		}
		format, length := be.Uint32(p[at:]), be.Uint32(p[at+4:])
		if uint64(length) > uint64(left-8) {
			d.bad(SampleLength, at, left)
			return
		}
		end := at + 8 + int(length)
		d.sample(format, p[:end], at)
		if at = end; length&3 != 0 {
			pad := min(-int(length)&3, len(p)-end) // of XDR, to units of four bytes
			d.Tally.Skipped[Padding] += uint64(pad)
			at += pad
		}
	}
	d.Tally.Skipped[Trailing] += uint64(len(p) - at)
}

// known finds the lane's own place of the datagram's agent.
func (d *Decoder) known() {
	addr, sub := &d.from.agent, d.from.domain
	h := be.Uint64(addr[:]) ^ be.Uint64(addr[8:]) ^ uint64(sub)<<32
	s := &d.slots[h*0x9e3779b97f4a7c15>>32%slots]
	if s.addr != *addr || s.sub != sub || !s.used {
		*s = slot{agent: agent{*addr, sub}, used: true}
		if d.opt.Rate != nil {
			s.fallback, s.override = d.opt.Rate(*addr)
		}
	}
	d.slot, d.told, d.unknown, d.lost = s, 0, 0, 0
}

// header reads a datagram's header: where the samples begin and how many there are.
func (d *Decoder) header(g *Datagram) (at int, samples uint32, why Reason) {
	p := g.Payload
	if len(p) < 8 {
		return 0, 0, ShortHeader
	}
	if be.Uint32(p) != Version {
		return 0, 0, UnknownVersion
	}
	// Fields are set one by one, here and wherever a datagram or a sample is noted: a copy of several that have just been written waits
	// until they are out of the processor's hands.
	o := &d.from
	o.agent, o.received, o.port = g.Addr, g.Received, g.Port
	switch be.Uint32(p[4:]) {
	case 0: // the agent's address is not known: the datagram's is
		at = 8
	case 1:
		at = 12
	case 2:
		at = 24
	default:
		return 0, 0, AgentAddress
	}
	if len(p) < at+16 {
		return 0, 0, ShortHeader
	}
	if at == 12 {
		if v := be.Uint32(p[8:]); v != 0 {
			setMapped(&o.agent, v)
		}
	} else if agent := p[8:at]; !zero(agent) {
		copy(o.agent[:], agent)
	}
	o.domain, o.sequence, o.uptime = be.Uint32(p[at:]), be.Uint32(p[at+4:]), be.Uint32(p[at+8:])
	return at + 16, be.Uint32(p[at+12:]), None
}

// bad counts n rejected bytes at a place of the payload.
func (d *Decoder) bad(why Reason, at, n int) {
	d.reject(why, n)
	if d.r.Bad == None {
		d.r.Bad, d.r.BadAt = why, at
	}
}

func (d *Decoder) reject(why Reason, n int) {
	d.Tally.Rejected[why] += uint64(n)
	d.lost += uint32(n)
}

// Run puts the records that wait into the batch. Afterwards no payload is looked into any more, and the next record asks for
// the batch to go on with.
func (d *Decoder) Run() {
	d.flush()
	d.batch = nil
	if d.counters != nil {
		d.counters.batch = nil
	}
	d.observe()
}

// number keeps what the agent's followers need to know of a datagram for the end of the batch.
func (d *Decoder) number(g *Datagram) {
	n := len(d.numbers)
	d.numbers = slices.Grow(d.numbers, 1)[:n+1]
	x := &d.numbers[n]
	x.slot, x.agent.addr, x.agent.sub, x.from = d.slot, d.from.agent, d.from.domain, g.Addr
	x.sequence, x.rate, x.unknown, x.rejected = d.from.sequence, d.told, d.unknown, d.lost
	if n+1 >= 4096 {
		d.observe()
	}
}

func (d *Decoder) observe() {
	if len(d.numbers) > 0 {
		d.opt.Agents.observe(d.numbers, d.Now)
		d.numbers = d.numbers[:0]
	}
}

// flush moves the records that wait into columns.
func (d *Decoder) flush() {
	for from := 0; from < d.n; {
		if d.batch == nil {
			d.batch = d.rows.Open()
		}
		b := d.batch
		n := min(d.n-from, b.Room())
		if n == 0 {
			d.batch = nil
			d.rows.Full(b)
			continue
		}
		d.store(b, from, n)
		b.SetRows(b.Rows() + n)
		from += n
	}
	if d.views != nil {
		clear(d.views[:d.n])
		d.batch = nil // frames and lists make it large: whoever owns it may have another to go on with
	}
	d.n = 0
}

func zero(p []byte) bool {
	for _, x := range p {
		if x != 0 {
			return false
		}
	}
	return true
}

// address makes an address of 4 or 16 bytes.
func address(p []byte) [16]byte {
	if len(p) == 4 {
		return mapped(be.Uint32(p))
	}
	return [16]byte(p)
}

// mapped is an IPv4 address mapped into IPv6 (RFC 4291, 2.5.5.2).
func mapped(v4 uint32) (a [16]byte) {
	setMapped(&a, v4)
	return a
}

// setMapped is mapped in place.
func setMapped(a *[16]byte, v4 uint32) {
	be.PutUint64(a[:8], 0)
	be.PutUint32(a[8:], 0xffff) // with what follows in one number, the compiler stores each byte by itself
	be.PutUint32(a[12:], v4)
}
