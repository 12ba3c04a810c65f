package netflow

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"unicode/utf8"
	"unsafe"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
)

// consts are what all records of one datagram have in common; first, in 64 bytes, what nearly all plans read.
type consts struct {
	received  int64
	addr      [16]byte
	clock     int64  // ns since the epoch by the exporter's clock: what uptimes count from
	low       int64  // the least time of the window
	rate      uint64 // sampling rate of records that neither state one nor name a sampler
	domain    uint32
	uptime    uint32
	sequence  uint32
	port      uint16
	hasUptime bool
	format    uint8

	exported int64
	unknown  uint64    // 1: nobody told rate
	fallback uint64    // sampling rate for when nobody tells, 0: none is set
	dom      *domain   // what the exporter had told of its samplers
	snap     *snapshot // what it had told, for lists whose records have templates
	override bool      // rate is that of all records, whatever they say
	anyTime  bool      // it is not known when the datagram came, so there is no window
}

// constant makes the kernel of a column that has one value for a datagram, which stands in consts at an offset.
func constant[D any](at uintptr) kernel {
	return func(x *span) {
		d, i := rowsOf[D](x), 0
		for _, r := range x.runs {
			v := *(*D)(unsafe.Add(unsafe.Pointer(r.k), at))
			for end := i + r.n; i < end; i++ {
				d[i] = v
			}
		}
	}
}

// constantColumns are those that say something of the datagram.
var constantColumns = map[string]kernel{
	"received":           constant[int64](unsafe.Offsetof(consts{}.received)),
	"exported":           constant[int64](unsafe.Offsetof(consts{}.exported)),
	"observation_domain": constant[uint32](unsafe.Offsetof(consts{}.domain)),
	"exporter_addr":      constant[[16]byte](unsafe.Offsetof(consts{}.addr)),
	"exporter_port":      constant[uint16](unsafe.Offsetof(consts{}.port)),
	"sequence":           constant[uint32](unsafe.Offsetof(consts{}.sequence)),
}

// always makes the kernel that stores one value for all datagrams.
func always[D unsigned](v D) kernel {
	return func(x *span) {
		d := rowsOf[D](x)
		n := copy(d, []D{v, v, v, v, v, v, v, v})
		for n < len(d) {
			n += copy(d[n:], d[:n])
		}
	}
}

// claim is sdk.Claim of n rows that the compiler sees to be as many in each column: a loop over several then checks one.
func claim[D any](b *sdk.Batch, col, at, n int) []D {
	var d D
	return unsafe.Slice((*D)(unsafe.Add(b.Claim(col, at, n), at*int(unsafe.Sizeof(d)))), n)
}

// arrival fills received, exporter_addr and observation_domain, which nearly all want, in one loop.
func arrival(_ *Decoder, b *sdk.Batch, at int, o *op, x *span) {
	n, i := x.n, 0
	received, addr, domain := claim[int64](b, o.cols[0], at, n), claim[[16]byte](b, o.cols[1], at, n), claim[uint32](b, o.cols[2], at, n)
	for _, r := range x.runs {
		t, a, d := r.k.received, r.k.addr, r.k.domain
		for end := i + r.n; i < end; i++ {
			received[i] = t
			addr[i] = a
			domain[i] = d
		}
	}
}

// rates is the last word on sampling_rate, in this order: what is set to override all; what the record says (which is there
// already, if it says anything); the rate of the sampler that it names; what the exporter told without the name of a sampler; of
// records that name none, what all samplers agree on; what is set for when nobody tells; 1, which is counted. A record that names a
// sampler which is not known never gets the rate of others: they may look at a thousand times as many packets.
func rates(d *Decoder, b *sdk.Batch, at int, o *op, x *span) {
	var ids []uint64 // of samplers, that the records name
	if o.one != nil {
		x.to[0] = target{d.scratch, o.off}
		o.one(x)
		ids = rowsOf[uint64](x)
	}
	all := sdk.Claim[uint64](b, o.cols[0], at, x.n)
	unknown, i := uint64(0), 0
	for _, r := range x.runs {
		k, dst := r.k, all[i:][:r.n]
		rate, its1 := k.rate, k.unknown // its1: 1 if nobody told the rate
		switch {
		case !k.override && ids != nil && k.dom != nil && k.dom.samplers != nil:
			ids := ids[i:][:len(dst)]
			id := ids[0]
			rate, its1 = k.sampler(id)
			for j, n := range ids {
				if n != id {
					id = n
					rate, its1 = k.sampler(n)
				}
				if o.fill && dst[j] != 0 {
					continue
				}
				dst[j] = rate
				unknown += its1
			}
		case !k.override && o.fill:
			for j, v := range dst {
				if v == 0 {
					dst[j] = rate
					unknown += its1
				}
			}
		default:
			for j := range dst {
				dst[j] = rate
			}
			unknown += its1 * uint64(len(dst))
		}
		i += r.n
	}
	d.Tally.SamplingUnknown += unknown
}

// sampler is the rate of records that name a sampler; unknown is 1 if nobody told it. A record that names sampler 0 and finds none
// was not made by a sampler that has a number: its rate is that of records that name none.
func (k *consts) sampler(id uint64) (rate, unknown uint64) {
	for _, s := range k.dom.samplers {
		switch {
		case s.ID != id || !s.Named || s.Rate == rate:
		case rate != 0: // domains that are not the record's do not agree
			return known(cmp.Or(k.dom.unnamed, k.fallback))
		default:
			rate = s.Rate
		}
	}
	switch {
	case rate != 0:
		return rate, 0
	case id == 0:
		return k.rate, k.unknown
	}
	return known(cmp.Or(k.dom.unnamed, k.fallback))
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

// values fills a column of variable length, or of names, from row at on.
type values func(d *Decoder, b *sdk.Batch, at int, o *op, x *span)

// value of record i for an operation of o.
func (o *op) value(x *span, i int) []byte {
	p, off, n := x.ps[i], o.off, o.len
	if n < 0 {
		n = int(x.lens[i])
		off = 1 - uintptr(n)
	}
	if n == 0 { // what has no bytes may stand where the payload ends, and nothing may point there
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Add(p, off)), n)
}

func nameValues(d *Decoder, b *sdk.Batch, at int, o *op, x *span) {
	dst := sdk.Claim[uint16](b, o.cols[0], at, x.n)
	for i := range dst {
		n, ok := flow.Intern(b, o.cols[0], trimZeros(o.value(x, i)))
		if !ok {
			d.Tally.NamesFull++
		}
		dst[i] = n
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
func textValues(_ *Decoder, b *sdk.Batch, at int, o *op, x *span) {
	for i := range x.ps {
		v := trimZeros(o.value(x, i))
		if !utf8.Valid(v) {
			v = bytes.ToValidUTF8(v, []byte("\uFFFD"))
		}
		b.SetBytes(o.cols[0], at+i, v)
	}
}

func octetValues(_ *Decoder, b *sdk.Batch, at int, o *op, x *span) {
	for i := range x.ps {
		b.SetBytes(o.cols[0], at+i, o.value(x, i))
	}
}

// labelValues makes the list of labels of an MPLS stack, from the outermost to the one that says it is the last (RFC 3032,
// 2.1). Exporters fill what they do not know with zeros.
func labelValues(_ *Decoder, b *sdk.Batch, at int, o *op, x *span) {
	var list [4 * maxLabels]byte
	for i := range x.n {
		n := 0
		for k := range o.parts {
			v := beN(x.g.segs[o.parts[k].seg].ps[i], o.parts[k].off, 3)
			if v == 0 {
				continue
			}
			binary.LittleEndian.PutUint32(list[n:], uint32(v>>4))
			n += 4
			if v&1 != 0 {
				break
			}
		}
		b.SetBytes(o.cols[0], at+i, list[:n])
	}
}

const maxLabels = 10 // elements 70..79

// icmpPort is a byte of the destination port where the protocol is ICMP or ICMPv6.
func icmpPort(_ *Decoder, b *sdk.Batch, at int, o *op, x *span) {
	dst := sdk.Claim[uint8](b, o.cols[0], at, x.n)
	protocols, ports := x.g.segs[o.parts[0].seg].ps, x.g.segs[o.parts[1].seg].ps
	for i := range dst {
		dst[i] = 0
		if v := *(*uint8)(unsafe.Add(protocols[i], o.parts[0].off)); v == 1 || v == 58 {
			dst[i] = *(*uint8)(unsafe.Add(ports[i], o.parts[1].off))
		}
	}
}

func constFormat(d *Decoder, b *sdk.Batch, at int, o *op, x *span) {
	// A group is of one template, and that of one version.
	dst := sdk.Claim[uint16](b, o.cols[0], at, x.n)
	n, ok := flow.Intern(b, o.cols[0], formats[x.runs[0].k.format])
	for i := range dst {
		dst[i] = n
	}
	if !ok {
		d.Tally.NamesFull += uint64(x.n)
	}
}

// formats are the values of the column format.
var formats = [...][]byte{[]byte("netflow5"), []byte("netflow9"), []byte("ipfix"), []byte("netflow1"), []byte("netflow7")}

func formatOf(version uint16) uint8 {
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
