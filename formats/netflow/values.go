package netflow

import (
	"bytes"
	"encoding/binary"
	"unicode/utf8"
	"unsafe"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
)

// consts are what all records of one datagram have in common.
type consts struct {
	n         [constants]uint64
	addr      [16]byte
	samplers  []Sampler
	snap      *snapshot // what the exporter had told, for lists whose records have templates
	fallback  uint64    // sampling rate of records for which nobody told one, and of all records whatever they say; 0: not set
	override  uint64
	clock     int64 // ns since the epoch by the exporter's clock: what uptimes count from
	low       int64 // the window for times: low..low+span
	span      uint64
	uptime    uint32
	hasUptime bool
	format    int
}

// Constants by their place in consts.
const (
	constReceived = iota
	constExported
	constDomain
	constPort
	constSequence
	constSampling
	constants
)

func constOf[D unsigned](which int) kernel {
	return func(dst unsafe.Pointer, rows int, x *span) {
		d := unsafe.Slice((*D)(dst), rows)
		for i := range x.refs {
			r := &x.refs[i]
			v := D(x.ks[r.k].n[which])
			for j := range d[:r.n] {
				d[j] = v
			}
			d = d[r.n:]
		}
	}
}

// constant makes the kernel that stores a constant of the datagram in its column's width.
func constant(which int) kernel {
	switch which {
	case constReceived, constExported, constSampling:
		return constOf[uint64](which)
	case constDomain, constSequence:
		return constOf[uint32](which)
	}
	return constOf[uint16](which)
}

// always makes the kernel that stores one value for all datagrams.
func always(v uint16) kernel {
	return func(dst unsafe.Pointer, rows int, _ *span) {
		d := unsafe.Slice((*uint16)(dst), rows)
		for i := range d {
			d[i] = v
		}
	}
}

// constRate is the rate of records that name no sampler.
var constRate = constant(constSampling)

func constAddr(dst unsafe.Pointer, rows int, x *span) {
	d := unsafe.Slice((*[16]byte)(dst), rows)
	for i := range x.refs {
		r := &x.refs[i]
		v := x.ks[r.k].addr
		for j := range d[:r.n] {
			d[j] = v
		}
		d = d[r.n:]
	}
}

// merge copies rows of src to rows of dst that are zero, or the mapped zero address.
func merge(dst, src unsafe.Pointer, rows, width int) {
	switch width {
	case 1:
		mergeRows[uint8](dst, src, rows)
	case 2:
		mergeRows[uint16](dst, src, rows)
	case 4:
		mergeRows[uint32](dst, src, rows)
	case 8:
		mergeRows[uint64](dst, src, rows)
	case 16:
		var none [16]byte
		d, s := unsafe.Slice((*[16]byte)(dst), rows), unsafe.Slice((*[16]byte)(src), rows)
		zero4 := none
		zero4[10], zero4[11] = 0xff, 0xff
		for i := range d {
			// Two kinds of nothing: what was there stays, so that an IPv4 zero is still seen to be one.
			if (d[i] == none || d[i] == zero4) && s[i] != none && s[i] != zero4 {
				d[i] = s[i]
			}
		}
	}
}

func mergeRows[D unsigned](dst, src unsafe.Pointer, rows int) {
	d, s := unsafe.Slice((*D)(dst), rows), unsafe.Slice((*D)(src), rows)
	for i := range d {
		if d[i] == 0 {
			d[i] = s[i]
		}
	}
}

// clampTimes bounds times to each datagram's window; zero (not known) stays. It returns how many lay outside.
func clampTimes(dst unsafe.Pointer, rows int, refs []ref, ks []consts) (out uint64) {
	d := unsafe.Slice((*int64)(dst), rows)
	for i := range refs {
		r := &refs[i]
		low, width := ks[r.k].low, ks[r.k].span
		for j, v := range d[:r.n] {
			if uint64(v-low) > width && v != 0 {
				d[j] = bound(v, low, width)
				out++
			}
		}
		d = d[r.n:]
	}
	return out
}

func bound(v, low int64, width uint64) int64 {
	if v < low {
		return low
	}
	return low + int64(width)
}

// values fills a column of variable length, or of names, from row at on.
type values func(d *Decoder, b *sdk.Batch, at, rows int, o *op, x *span)

// value j of r for an operation of o.
func (o *op) value(r *ref, rec uintptr, j int) []byte {
	if o.len < 0 {
		return unsafe.Slice((*byte)(unsafe.Add(r.p, uintptr(r.at)-uintptr(r.len))), int(r.len))
	}
	if o.len == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Add(r.p, uintptr(r.at)+o.off+uintptr(j)*rec)), o.len)
}

func nameValues(d *Decoder, b *sdk.Batch, at, rows int, o *op, x *span) {
	dst := sdk.Claim[uint16](b, o.col, at, rows)
	row := 0
	for i := range x.refs {
		r := &x.refs[i]
		for j := range int(r.n) {
			n, ok := flow.Intern(b, o.col, trimZeros(o.value(r, x.rec, j)))
			if !ok {
				d.Tally.NamesFull++
			}
			dst[row] = n
			row++
		}
	}
}

// trimZeros cuts the padding of strings of fixed length.
func trimZeros(v []byte) []byte {
	for len(v) > 0 && v[len(v)-1] == 0 {
		v = v[:len(v)-1]
	}
	return v
}

// textValues are strings that no dictionary keeps: what is not UTF-8 in them becomes U+FFFD.
func textValues(_ *Decoder, b *sdk.Batch, at, rows int, o *op, x *span) {
	row := at
	for i := range x.refs {
		r := &x.refs[i]
		for j := range int(r.n) {
			v := trimZeros(o.value(r, x.rec, j))
			if !utf8.Valid(v) {
				v = bytes.ToValidUTF8(v, []byte("\uFFFD"))
			}
			b.SetBytes(o.col, row, v)
			row++
		}
	}
}

func octetValues(_ *Decoder, b *sdk.Batch, at, rows int, o *op, x *span) {
	row := at
	for i := range x.refs {
		r := &x.refs[i]
		for j := range int(r.n) {
			b.SetBytes(o.col, row, o.value(r, x.rec, j))
			row++
		}
	}
}

// labelValues makes the list of labels of an MPLS stack, from the outermost to the one that says it is the last (RFC 3032,
// 2.1). Exporters fill what they do not know with zeros.
func labelValues(_ *Decoder, b *sdk.Batch, at, _ int, o *op, x *span) {
	var list [4 * maxLabels]byte
	row := at
	// The segments of a plan have the same refs in number and records.
	for i, first := range x.g.segment(o.parts[0].seg) {
		for j := range uintptr(first.n) {
			n := 0
			for k := range o.parts {
				r := &x.g.segment(o.parts[k].seg)[i]
				v := beN(r.p, uintptr(r.at)+o.parts[k].off+j*x.rec, 3)
				if v == 0 {
					continue
				}
				binary.LittleEndian.PutUint32(list[n:], uint32(v>>4))
				n += 4
				if v&1 != 0 {
					break
				}
			}
			b.SetBytes(o.col, row, list[:n])
			row++
		}
	}
}

const maxLabels = 10 // elements 70..79

// icmpPort is a byte of the destination port where the protocol is ICMP or ICMPv6.
func icmpPort(_ *Decoder, b *sdk.Batch, at, rows int, o *op, x *span) {
	dst, rec := sdk.Claim[uint8](b, o.col, at, rows), x.rec
	protocols, ports := x.g.segment(o.parts[0].seg), x.g.segment(o.parts[1].seg)
	for i := range protocols {
		r, s := &protocols[i], &ports[i]
		p, q := unsafe.Add(r.p, uintptr(r.at)+o.parts[0].off), unsafe.Add(s.p, uintptr(s.at)+o.parts[1].off)
		step := uintptr(0)
		for j := range dst[:r.n] {
			dst[j] = 0
			if v := *(*uint8)(unsafe.Add(p, step)); v == 1 || v == 58 {
				dst[j] = *(*uint8)(unsafe.Add(q, step))
			}
			step += rec
		}
		dst = dst[r.n:]
	}
}

func constFormat(d *Decoder, b *sdk.Batch, at, rows int, o *op, x *span) {
	dst := sdk.Claim[uint16](b, o.col, at, rows)
	for i := range x.refs {
		r := &x.refs[i]
		n, ok := flow.Intern(b, o.col, formats[x.ks[r.k].format])
		if !ok {
			d.Tally.NamesFull += uint64(r.n)
		}
		for j := range dst[:r.n] {
			dst[j] = n
		}
		dst = dst[r.n:]
	}
}

// formats are the values of the column format.
var formats = [...][]byte{[]byte("netflow5"), []byte("netflow9"), []byte("ipfix"), []byte("netflow1"), []byte("netflow7")}

func formatOf(version uint16) int {
	switch version {
	case V5:
		return 0
	case V9:
		return 1
	case V1:
		return 3
	case V7:
		return 4
	}
	return 2
}
