package sflow

import (
	"encoding/hex"
	"math"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
)

// counters is what a decoder does with counters samples, if somebody reads them.
type counters struct {
	rows  Rows
	plan  counterPlan
	batch *sdk.Batch

	found [structures][]byte // of the sample at hand; valid where the sample has them
	uuid  [36]byte
	names [1 << structures]uint16 // index of a set of structures in the dictionary at hand, plus one; 0: not asked for yet
	dict  *sdk.Dict               // that names are of
	text  []byte
}

const (
	fixedCounters         = 12 // bytes of a counters sample before its structures
	fixedExpandedCounters = 16
)

// counted decodes the counters sample in payload[at:], which ends where payload does: a row, if it has a structure that is known.
func (d *Decoder) counted(format uint32, payload []byte, at int) {
	c := d.counters
	p, size := payload[at+8:], len(payload)-at
	least := fixedCounters
	if format == expandedCounter {
		least = fixedExpandedCounters
	}
	if len(p) < least {
		d.bad(SampleShort, at, size)
		return
	}
	s := counterSource{sequence: be.Uint32(p)}
	if format == expandedCounter {
		s.class, s.index = be.Uint32(p[4:]), be.Uint32(p[8:])
	} else {
		s.class, s.index = uint32(p[4]), be.Uint32(p[4:])&0xffffff
	}
	has, decoded, lost := c.find(d, payload, at+8+least, be.Uint32(p[least-4:]))
	decoded += 8 + least
	switch {
	case has != 0:
		d.Tally.Decoded += uint64(decoded)
	case lost != None: // the structure that was bad may have been the one that is known
		d.reject(lost, decoded)
		return
	default:
		d.Tally.Skipped[NoCounters] += uint64(decoded)
		d.r.Used = true
		return
	}
	c.store(d, has, &s)
	d.Tally.CounterRows++
	d.r.Used = true
}

// counterSource is what the head of a counters sample says.
type counterSource struct{ sequence, class, index uint32 }

// find walks the structures of a sample in payload[at:] and notes the first of each kind. It returns which it has, how many bytes
// they are, and why others are not among them: the first reason.
func (c *counters) find(d *Decoder, payload []byte, at int, count uint32) (has uint16, decoded int, lost Reason) {
	for n := uint32(0); n < count; n++ {
		left := len(payload) - at
		if left < 8 {
			d.bad(RecordCount, at, left)
			return has, decoded, first(lost, RecordCount)
		}
		format, length := be.Uint32(payload[at:]), be.Uint32(payload[at+4:])
		if uint64(length) > uint64(left-8) {
			d.bad(RecordLength, at, left)
			return has, decoded, first(lost, RecordLength)
		}
		begin := at
		p := payload[at+8 : at+8+int(length)]
		at += 8 + len(p) + min(-len(p)&3, left-8-len(p))
		s, ok := structureOf(format)
		switch {
		case !ok || has>>s&1 != 0:
			d.Tally.Skipped[UnknownRecord] += uint64(at - begin)
			continue
		case len(p) < structureSizes[s]:
			d.bad(RecordShort, begin, at-begin)
			lost = first(lost, RecordShort)
			continue
		case s == hostDescr || s == portName:
			if !soundStrings(s, p) {
				d.bad(ListLength, begin, at-begin)
				lost = first(lost, ListLength)
				continue
			}
		}
		has |= 1 << s
		c.found[s] = p
		decoded += at - begin
	}
	d.Tally.Skipped[Padding] += uint64(len(payload) - at)
	return has, decoded, lost
}

// soundStrings says whether the strings of a structure end within it.
func soundStrings(s structure, p []byte) bool {
	_, rest, ok := stringAt(p)
	if ok && s == hostDescr {
		if len(rest) < 24 {
			return false
		}
		_, _, ok = stringAt(rest[24:])
	}
	return ok
}

// stringAt reads a string of XDR and what is behind it and its padding.
func stringAt(p []byte) (s, rest []byte, ok bool) {
	if len(p) < 4 {
		return nil, nil, false
	}
	n := uint64(be.Uint32(p))
	if p = p[4:]; n > uint64(len(p)) {
		return nil, nil, false
	}
	return p[:n], p[min(int(n)+(-int(n)&3), len(p)):], true
}

// store writes a row.
func (c *counters) store(d *Decoder, has uint16, s *counterSource) {
	for c.batch == nil || c.batch.Room() == 0 {
		if c.batch != nil {
			c.rows.Full(c.batch)
		}
		c.batch = c.rows.Open()
	}
	b, at, o := c.batch, c.batch.Rows(), &d.from
	for i := range c.plan.heads {
		h := &c.plan.heads[i]
		switch h.what {
		case headReceived:
			sdk.Claim[int64](b, h.col, at, 1)[0] = o.received
		case headAgent:
			sdk.Claim[[16]byte](b, h.col, at, 1)[0] = o.agent
		case headPort:
			sdk.Claim[uint16](b, h.col, at, 1)[0] = o.port
		case headStructures:
			sdk.Claim[uint16](b, h.col, at, 1)[0] = c.named(d, b, h.col, has)
		default:
			sdk.Claim[uint32](b, h.col, at, 1)[0] = [...]uint32{headSubAgent: o.domain, headUptime: o.uptime, headSequence: o.sequence,
				headSampleSequence: s.sequence, headClass: s.class, headIndex: s.index}[h.what]
		}
	}
	for i := range c.plan.values {
		v := &c.plan.values[i]
		p := c.found[v.of]
		if has>>v.of&1 == 0 || len(p) < v.at+v.kind.width() {
			continue
		}
		c.value(d, b, at, v, p[v.at:], p)
	}
	b.SetRows(at + 1)
}

// value writes one value of a row: p begins with it, of is its whole structure.
func (c *counters) value(d *Decoder, b *sdk.Batch, at int, v *counterValue, p, of []byte) {
	switch v.kind {
	case u32:
		sdk.Claim[uint32](b, v.col, at, 1)[0] = be.Uint32(p)
	case u64:
		sdk.Claim[uint64](b, v.col, at, 1)[0] = be.Uint64(p)
	case float:
		sdk.Claim[float64](b, v.col, at, 1)[0] = float64(math.Float32frombits(be.Uint32(p)))
	case adminBit, operBit:
		status := be.Uint32(p)
		if v.kind == operBit {
			status >>= 1
		}
		sdk.Claim[uint8](b, v.col, at, 1)[0] = 2 - uint8(status&1)
	default:
		name := c.nameOf(v.kind, p, of)
		n, ok := flow.Intern(b, v.col, name)
		if !ok {
			d.Tally.NamesFull++
		}
		sdk.Claim[uint16](b, v.col, at, 1)[0] = n
	}
}

// nameOf is a value that is text; valid until the next call. Strings have been found sound.
func (c *counters) nameOf(k kind, p, of []byte) []byte {
	switch k {
	case str:
		s, _, _ := stringAt(p)
		return s
	case uuid:
		_, rest, _ := stringAt(of)
		return c.uuidOf(rest)
	case machineType:
		_, rest, _ := stringAt(of)
		return word(machineTypes[:], be.Uint32(rest[16:]))
	case osName:
		_, rest, _ := stringAt(of)
		return word(osNames[:], be.Uint32(rest[20:]))
	default: // osRelease
		_, rest, _ := stringAt(of)
		s, _, _ := stringAt(rest[24:])
		return s
	}
}

func word(words [][]byte, n uint32) []byte {
	if n < uint32(len(words)) {
		return words[n]
	}
	return nil
}

// uuidOf writes a UUID as text (RFC 9562, 4); empty if it is all zero, which means that the host has none.
func (c *counters) uuidOf(p []byte) []byte {
	if zero(p[:16]) {
		return nil
	}
	to := c.uuid[:0]
	for i, n := range [...]int{4, 2, 2, 2, 6} {
		if i > 0 {
			to = append(to, '-')
		}
		to = hex.AppendEncode(to, p[:n])
		p = p[n:]
	}
	return to
}

// named is the index of the names of a set of structures.
func (c *counters) named(d *Decoder, b *sdk.Batch, col int, has uint16) uint16 {
	if dict := b.Dict(col); dict != c.dict {
		clear(c.names[:])
		c.dict = dict
	}
	if n := c.names[has]; n != 0 {
		return n - 1
	}
	c.text = c.text[:0]
	for s := range structures {
		if has>>s&1 != 0 {
			if len(c.text) > 0 {
				c.text = append(c.text, ' ')
			}
			c.text = append(c.text, structureNames[s]...)
		}
	}
	n, ok := flow.Intern(b, col, c.text)
	if !ok {
		d.Tally.NamesFull++
		return 0
	}
	c.names[has] = n + 1
	return n
}
