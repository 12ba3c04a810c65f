package pcap

import (
	"bytes"
	"encoding/binary"
)

// Block types of pcapng.
const (
	blockInterface = 1
	blockOldPacket = 2 // obsolete, written by early tools
	blockSimple    = 3
	blockEnhanced  = 6
)

// section parses a section header block, with which a file begins and which may come again: byte order and interfaces start
// anew. pcapng, 4.1.
func (d *Decoder) section(buf []byte) int {
	if !d.have(buf, 28) {
		return 0
	}
	switch {
	case binary.LittleEndian.Uint32(buf[8:]) == 0x1a2b3c4d:
		d.big = false
	case binary.BigEndian.Uint32(buf[8:]) == 0x1a2b3c4d:
		d.big = true
	default:
		why := Corrupt
		if d.offset == 0 {
			why = Format
		}
		d.fail(d.offset, why, "a pcapng section without a byte order mark")
		return 0
	}
	if major := d.u16(buf[12:]); major != 1 {
		d.fail(d.offset, Format, "pcapng version %d.%d is not read, only 1.x", major, d.u16(buf[14:]))
		return 0
	}
	total := d.u32(buf[4:])
	if total < 28 || total%4 != 0 {
		d.fail(d.offset, Corrupt, "a section header that claims %d bytes", total)
		return 0
	}
	d.started, d.ng, d.ifaces = true, true, nil
	// The options of a section (comment, hardware, application) are not needed: skipped like an unknown block.
	d.skip, d.skipAt, d.total = int64(total)-28, d.offset, total
	return 24
}

// skipping consumes what can be skipped of an unknown block without holding it, and at last checks its length, said again.
func (d *Decoder) skipping(buf []byte) int {
	if d.skip > 0 {
		n := min(d.skip, int64(len(buf)))
		d.skip -= n
		return int(n)
	}
	if !d.have(buf, 4) {
		return 0
	}
	if again := d.u32(buf); again != d.total {
		d.fail(d.skipAt, Corrupt, "a block that claims %d bytes at its start and %d at its end", d.total, again)
		return 0
	}
	d.total = 0
	return 4
}

// block parses one block of pcapng, 3.1: type, total length, body, total length.
func (d *Decoder) block(buf []byte, p *Packet) (n int, ok bool) {
	if !d.have(buf, 12) {
		return 0, false
	}
	kind := d.u32(buf)
	if kind == blockSection {
		return d.section(buf), false
	}
	total := d.u32(buf[4:])
	if total < 12 || total%4 != 0 {
		d.fail(d.offset, Corrupt, "a block that claims %d bytes", total)
		return 0, false
	}
	switch kind {
	case blockInterface, blockOldPacket, blockSimple, blockEnhanced:
	default:
		d.skip, d.skipAt, d.total = int64(total)-12, d.offset, total
		return 8, false
	}
	if total > MaxRecord {
		d.fail(d.offset, Corrupt, "a block of %d bytes, more than the %d that are read", total, MaxRecord)
		return 0, false
	}
	if !d.have(buf, int(total)) {
		return 0, false
	}
	if again := d.u32(buf[total-4:]); again != total {
		d.fail(d.offset, Corrupt, "a block that claims %d bytes at its start and %d at its end", total, again)
		return 0, false
	}
	body := buf[8 : total-4]
	switch kind {
	case blockInterface:
		d.describe(body)
	case blockSimple:
		ok = d.simple(body, p)
	default:
		ok = d.packet(kind, body, p)
	}
	return int(total), ok
}

// packet parses an enhanced packet block (4.3) or the obsolete packet block (appendix A), which differ in their first words.
func (d *Decoder) packet(kind uint32, body []byte, p *Packet) bool {
	if len(body) < 20 {
		d.fail(d.offset, Corrupt, "a packet block of %d bytes, too short for its header", len(body)+12)
		return false
	}
	id := d.u32(body)
	if kind == blockOldPacket { // 16 bits of interface, 16 of drops
		id = uint32(d.u16(body))
	}
	f := d.iface(id)
	if f == nil {
		return false
	}
	data := d.data(body[20:], d.u32(body[12:]))
	if data == nil {
		return false
	}
	t := uint64(d.u32(body[4:]))<<32 | uint64(d.u32(body[8:]))
	*p = Packet{Data: data, Length: d.u32(body[16:]), Time: f.nanos(t), Interface: f, Offset: d.offset}
	return true
}

// simple parses a simple packet block (4.4): a length and the data, of the first interface, at no known time.
func (d *Decoder) simple(body []byte, p *Packet) bool {
	if len(body) < 4 {
		d.fail(d.offset, Corrupt, "a simple packet block of %d bytes, too short for its header", len(body)+12)
		return false
	}
	f := d.iface(0)
	if f == nil {
		return false
	}
	length := d.u32(body)
	captured := length
	if f.snap != 0 {
		captured = min(captured, f.snap)
	}
	data := d.data(body[4:], captured)
	if data == nil {
		return false
	}
	*p = Packet{Data: data, Length: length, Interface: f, Offset: d.offset}
	return true
}

// data cuts what was captured from the rest of a packet block; nil, with the error set, if it cannot be there. An empty packet
// is not nil.
func (d *Decoder) data(rest []byte, captured uint32) []byte {
	if captured > MaxPacket {
		d.fail(d.offset, Corrupt, "a packet of %d bytes, more than the %d that are read", captured, MaxPacket)
		return nil
	}
	if int(captured) > len(rest) {
		d.fail(d.offset, Corrupt, "a packet of %d bytes in a block with room for %d", captured, len(rest))
		return nil
	}
	return rest[:captured:captured]
}

func (d *Decoder) iface(id uint32) *Interface {
	if int64(id) >= int64(len(d.ifaces)) {
		d.fail(d.offset, Corrupt, "a packet of interface %d, of which the section has described %d", id, len(d.ifaces))
		return nil
	}
	return d.ifaces[id]
}

// describe parses an interface description block (4.2) with the options that matter: name, clock resolution, clock offset.
func (d *Decoder) describe(body []byte) {
	if len(body) < 8 {
		d.fail(d.offset, Corrupt, "an interface description of %d bytes, too short for its header", len(body)+12)
		return
	}
	if d.known++; d.known > maxInterfaces {
		d.fail(d.offset, Corrupt, "more than %d interfaces", maxInterfaces)
		return
	}
	f := &Interface{Link: LinkType(d.u16(body)), snap: d.u32(body[4:]), res: 6}
	for opt := body[8:]; len(opt) >= 4; {
		code, n := d.u16(opt), int(d.u16(opt[2:]))
		if code == 0 {
			break
		}
		if n > len(opt)-4 {
			d.fail(d.offset, Corrupt, "an interface option of %d bytes where %d are left", n, len(opt)-4)
			return
		}
		val := opt[4 : 4+n]
		switch {
		case code == 2: // if_name; some writers end it with a zero byte
			name, _, _ := bytes.Cut(val, []byte{0})
			f.Name = string(name[:min(len(name), maxName)])
		case code == 9 && n == 1: // if_tsresol
			f.res = val[0]
		case code == 14 && n == 8: // if_tsoffset
			f.offset = d.i64(val)
		}
		opt = opt[min(len(opt), 4+(n+3)&^3):]
	}
	if f.res&0x80 != 0 && f.res&0x7f > 63 || f.res&0x80 == 0 && f.res > 19 {
		d.fail(d.offset, Corrupt, "an interface with a clock resolution (if_tsresol) of %#x, finer than a 64-bit time stamp can be", f.res)
		return
	}
	if f.offset < -1<<40 || f.offset > 1<<40 { // 35,000 years: no real clock, and sums stay in range
		d.fail(d.offset, Corrupt, "an interface with a clock offset (if_tsoffset) of %d seconds", f.offset)
		return
	}
	d.ifaces = append(d.ifaces, f)
}
