package pcap

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
)

const (
	// MaxPacket is the most bytes of one packet that are accepted: what libpcap captures at most.
	MaxPacket = 256 << 10
	// MaxRecord is the most bytes a caller of [Decoder] must hold at once: a packet of pcapng with its options.
	MaxRecord = 2 * MaxPacket

	maxInterfaces = 1 << 15 // in a file: names stay fewer than a dictionary holds
	maxName       = 256
)

// LinkType says what a frame begins with: one of the LINKTYPE_ values of tcpdump.org/linktypes.html.
type LinkType uint16

const (
	LinkNull     LinkType = 0   // BSD loopback: address family in the byte order of the machine
	LinkEthernet LinkType = 1   //
	LinkRawBSD   LinkType = 12  // raw IP, the value BSD writes
	LinkRawOpen  LinkType = 14  // raw IP, the value OpenBSD writes
	LinkRaw      LinkType = 101 // raw IP
	LinkLoop     LinkType = 108 // OpenBSD loopback: address family in network byte order
	LinkSLL      LinkType = 113 // Linux "any" device, version 1
	LinkIPv4     LinkType = 228
	LinkIPv6     LinkType = 229
	LinkSLL2     LinkType = 276 // Linux "any" device, version 2
)

// Packet is one captured frame.
type Packet struct {
	Data      []byte     // what was captured; looks into the bytes the decoder was given
	Length    uint32     // bytes on the wire
	Time      int64      // nanoseconds since the Unix epoch; 0: not known
	Interface *Interface // never nil
	Offset    int64      // of the packet's record in the file, bytes
}

// Interface is what a packet was captured on. A classic pcap file has one, without a name.
type Interface struct {
	Link LinkType
	Name string // if_name of pcapng, empty where there is none
	// Mark is the caller's own, 0 at first: what it keeps with an interface without looking it up for each packet.
	Mark uint32

	snap   uint32 // 0: no limit
	res    uint8  // if_tsresol: a negative power of ten, or with the top bit set of two
	offset int64  // if_tsoffset, seconds
}

// Why a file ends before its end.
type Why string

const (
	// Truncated: the file stops within a record, as when the capture was cut off or its disk was full.
	Truncated Why = "truncated"
	// Corrupt: a record that cannot be; where the next one begins is not known.
	Corrupt Why = "corrupt"
	// Format: not a capture file, or one of a form that is not read.
	Format Why = "format"
)

// Error ends a file: nothing after Offset was read.
type Error struct {
	Offset int64 // of the record at fault, bytes from the start of the (uncompressed) file
	Why    Why
	What   string // a sentence without a full stop
}

func (e *Error) Error() string { return fmt.Sprintf("at byte %d: %s", e.Offset, e.What) }

// Decoder parses one file from its first byte on. The zero value is ready.
type Decoder struct {
	started bool
	big     bool // the file is in big-endian order
	ng      bool
	nano    bool         // classic: fractions of a second are nanoseconds
	ifaces  []*Interface // of the section; classic: the one
	known   int          // interfaces of the whole file
	offset  int64        // of the next byte
	skip    int64        // bytes of an unknown block still to be skipped
	skipAt  int64        // where it began
	total   uint32       // its length, to be repeated at its end; 0: no block is being skipped
	need    int
	err     error
}

// Next parses what buf begins with, which is the file from [Decoder.Offset] on. It consumes n bytes; ok says whether they held
// a packet, which is then in p. If n is 0 and there is no error, buf is too short: call again with at least [Decoder.Need]
// bytes (never more than MaxRecord), or call End if there are no more. An error is an [Error], and final.
func (d *Decoder) Next(buf []byte, p *Packet) (n int, ok bool, err error) {
	if d.err != nil {
		return 0, false, d.err
	}
	d.need = 0
	switch {
	case !d.started:
		n = d.start(buf)
	case d.total != 0:
		n = d.skipping(buf)
	case d.ng:
		n, ok = d.block(buf, p)
	default:
		n, ok = d.record(buf, p)
	}
	if d.err != nil {
		return 0, false, d.err
	}
	d.offset += int64(n)
	return n, ok, nil
}

// Need is how many bytes Next must be given to go on, when it consumed none.
func (d *Decoder) Need() int { return max(d.need, 1) }

// Offset is how many bytes of the file have been consumed.
func (d *Decoder) Offset() int64 { return d.offset }

// End says that the file ends here and rest bytes of it could not be consumed. It is an error unless a record ends here.
func (d *Decoder) End(rest int) error {
	switch {
	case d.err != nil:
	case !d.started && rest == 0:
		d.fail(d.offset, Format, "the file is empty")
	case !d.started:
		d.fail(d.offset, Format, "the file of %d bytes is too short for a pcap or pcapng file", rest)
	case d.total != 0:
		d.fail(d.skipAt, Truncated, "the file ends within a block of %d bytes", d.total)
	case rest > 0:
		d.fail(d.offset, Truncated, "the file ends within a record, of which it has %d bytes", rest)
	}
	return d.err
}

func (d *Decoder) fail(at int64, why Why, format string, args ...any) {
	d.err = &Error{Offset: at, Why: why, What: fmt.Sprintf(format, args...)}
}

// have says whether buf holds n bytes, and if not, that so many are needed.
func (d *Decoder) have(buf []byte, n int) bool {
	if len(buf) >= n {
		return true
	}
	d.need = n
	return false
}

// u16, u32 and i64 read a number in the file's byte order. A swap costs less than a call of an interface.
func (d *Decoder) u16(b []byte) uint16 {
	v := binary.LittleEndian.Uint16(b)
	if d.big {
		v = bits.ReverseBytes16(v)
	}
	return v
}

func (d *Decoder) u32(b []byte) uint32 {
	v := binary.LittleEndian.Uint32(b)
	if d.big {
		v = bits.ReverseBytes32(v)
	}
	return v
}

func (d *Decoder) i64(b []byte) int64 {
	v := binary.LittleEndian.Uint64(b)
	if d.big {
		v = bits.ReverseBytes64(v)
	}
	return int64(v)
}

const (
	magicMicro   = 0xa1b2c3d4
	magicNano    = 0xa1b23c4d
	magicKuz     = 0xa1b2cd34 // Kuznetzov's patch: longer record headers
	magicIXIAHW  = 0x1c0001ac
	magicIXIASW  = 0x1c0001ab
	blockSection = 0x0a0d0d0a
)

// start reads the first bytes of a file: its format and its byte order.
func (d *Decoder) start(buf []byte) int {
	if !d.have(buf, 4) {
		return 0
	}
	le, be := binary.LittleEndian.Uint32(buf), binary.BigEndian.Uint32(buf)
	magic := le
	switch be {
	case magicMicro, magicNano, magicKuz, magicIXIAHW, magicIXIASW:
		d.big, magic = true, be
	}
	switch magic {
	case blockSection:
		return d.section(buf)
	case magicMicro, magicNano:
	case magicKuz:
		d.fail(0, Format, "a pcap file of the modified (Kuznetzov) form is not read: convert it with `editcap -F pcapng`")
		return 0
	case magicIXIAHW, magicIXIASW:
		d.fail(0, Format, "a pcap file of the IXIA form is not read: convert it with `editcap -F pcapng`")
		return 0
	default:
		d.fail(0, Format, "not a pcap or pcapng file: it begins with %08x", be)
		return 0
	}
	if !d.have(buf, 24) {
		return 0
	}
	if major := d.u16(buf[4:]); major != 2 {
		d.fail(0, Format, "pcap version %d.%d is not read, only 2.x", major, d.u16(buf[6:]))
		return 0
	}
	d.started, d.nano = true, magic == magicNano
	// The upper half of the last word says how long a frame check sequence is, not what the frames begin with.
	d.ifaces = []*Interface{{Link: LinkType(d.u32(buf[20:]))}}
	return 24
}

// record parses a record of classic pcap: seconds, fraction, captured length, length, data.
func (d *Decoder) record(buf []byte, p *Packet) (int, bool) {
	if !d.have(buf, 16) {
		return 0, false
	}
	captured, length := d.u32(buf[8:]), d.u32(buf[12:])
	if captured > MaxPacket {
		d.fail(d.offset, Corrupt, "a packet of %d bytes, more than the %d that are read", captured, MaxPacket)
		return 0, false
	}
	n := 16 + int(captured)
	if !d.have(buf, n) {
		return 0, false
	}
	frac := int64(d.u32(buf[4:]))
	if !d.nano {
		frac *= 1000
	}
	*p = Packet{Data: buf[16:n:n], Length: length, Time: int64(d.u32(buf))*1e9 + frac, Interface: d.ifaces[0], Offset: d.offset}
	return n, true
}

// nanos turns a time stamp of pcapng into nanoseconds since the epoch; 0 if that cannot be told in an int64.
func (f *Interface) nanos(t uint64) int64 {
	sec, ns := uint64(0), uint64(0)
	if f.res&0x80 != 0 {
		n := uint(f.res & 0x7f) // at most 63, checked when the interface was described
		sec = t >> n
		frac := t & (1<<n - 1)
		if n > 32 { // so that frac * 1e9 fits; 2^-32 s is finer than a nanosecond
			frac, n = frac>>(n-32), 32
		}
		ns = frac * 1e9 >> n
	} else {
		unit := pow10[f.res]
		sec = t / unit
		if f.res <= 9 {
			ns = t % unit * pow10[9-f.res]
		} else {
			ns = t % unit / pow10[f.res-9]
		}
	}
	const most = math.MaxInt64/1_000_000_000 - 1
	if sec > most {
		return 0
	}
	s := int64(sec) + f.offset // the offset is bounded when the interface is described
	if s < 0 || s > most {
		return 0
	}
	return s*1e9 + int64(ns)
}

var pow10 = func() (p [20]uint64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = p[i-1] * 10
	}
	return p
}()
