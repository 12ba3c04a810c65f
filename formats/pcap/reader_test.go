package pcap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// seen is a packet as a test compares it.
type seen struct {
	Data   string
	Length uint32
	Time   int64
	Link   LinkType
	Name   string
	Offset int64
}

// read reads all packets of a file; fault is the text of the error that ended it, empty at a clean end.
func read(r *Reader) (out []seen, fault string) {
	var p Packet
	for {
		err := r.Next(&p)
		if err == io.EOF {
			return out, ""
		}
		if err != nil {
			return out, err.Error()
		}
		out = append(out, seen{string(p.Data), p.Length, p.Time, p.Interface.Link, p.Interface.Name, p.Offset})
	}
}

func TestClassic(t *testing.T) {
	for name, c := range map[string]struct {
		order binary.AppendByteOrder
		magic uint32
		unit  int64
	}{
		"microseconds little endian": {binary.LittleEndian, 0xa1b2c3d4, 1000},
		"microseconds big endian":    {binary.BigEndian, 0xa1b2c3d4, 1000},
		"nanoseconds little endian":  {binary.LittleEndian, 0xa1b23c4d, 1},
		"nanoseconds big endian":     {binary.BigEndian, 0xa1b23c4d, 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := classic(c.order, c.magic, LinkEthernet)
			f.record(1_700_000_000, 123_456, 60, []byte("first"))
			f.record(4_000_000_000, 999_999, 1514, nil)
			want := []seen{
				{"first", 60, 1_700_000_000e9 + 123_456*c.unit, LinkEthernet, "", 24},
				{"", 1514, 4_000_000_000e9 + 999_999*c.unit, LinkEthernet, "", 45},
			}
			got, fault := read(NewReader(bytes.NewReader(f.b)))
			if diff := cmp.Diff(want, got); diff != "" || fault != "" {
				t.Error(fault, diff)
			}
		})
	}
}

func TestNextGeneration(t *testing.T) {
	f := &file{order: binary.LittleEndian}
	f.section()
	f.iface(LinkEthernet, 0, func(b *file) { b.option(2, []byte("eth0")) })
	f.iface(LinkRaw, 5, func(b *file) {
		b.option(9, []byte{9})
		b.option(2, []byte("tun0\x00"))
		b.option(14, binary.LittleEndian.AppendUint64(nil, 1000))
	})
	f.iface(LinkEthernet, 0, func(b *file) { b.option(9, []byte{0x80 | 20}) })
	a := len(f.b)
	f.enhanced(0, 1_700_000_000_123_456, 60, []byte("micro"))
	b := len(f.b)
	f.block(5, func(b *file) { b.raw(make([]byte, 700<<10)...) }) // of no interest and longer than any buffer
	c := len(f.b)
	f.enhanced(1, 1_700_000_000_123_456_789, 60, []byte("nano"))
	d := len(f.b)
	f.enhanced(2, 1_700_000_000<<20|1<<19, 60, []byte("binary"))
	e := len(f.b)
	f.block(blockOldPacket, func(b *file) {
		b.u16(1, 7)
		b.u32(0, 5_000_000, 3, 90)
		b.raw('o', 'l', 'd')
	})
	g := len(f.b)
	f.order = binary.BigEndian // a second section, as when files are put one behind the other
	f.section()
	f.iface(LinkNull, 5, nil)
	h := len(f.b)
	f.block(blockSimple, func(b *file) {
		b.u32(900)
		b.raw([]byte("simpl")...)
	})
	_ = b
	_ = g
	want := []seen{
		{"micro", 60, 1_700_000_000_123_456_000, LinkEthernet, "eth0", int64(a)},
		{"nano", 60, 1_700_001_000_123_456_789, LinkRaw, "tun0", int64(c)},
		{"binary", 60, 1_700_000_000_500_000_000, LinkEthernet, "", int64(d)},
		{"old", 90, 1_000_005_000_000, LinkRaw, "tun0", int64(e)},
		{"simpl", 900, 0, LinkNull, "", int64(h)},
	}
	for name, src := range map[string]io.Reader{
		"at once":      bytes.NewReader(f.b),
		"byte by byte": iotest.OneByteReader(bytes.NewReader(f.b)),
		"data and EOF": iotest.DataErrReader(bytes.NewReader(f.b)),
	} {
		r := NewReader(src)
		got, fault := read(r)
		if diff := cmp.Diff(want, got); diff != "" || fault != "" {
			t.Error(name, fault, diff)
		}
		if r.Offset() != int64(len(f.b)) {
			t.Errorf("%s: consumed %d of %d bytes", name, r.Offset(), len(f.b))
		}
	}
}

func TestFaultsNameTheirByte(t *testing.T) {
	good := func() *file {
		f := classic(binary.LittleEndian, magicMicro, LinkEthernet)
		f.record(1, 2, 3, []byte("abc"))
		return f
	}
	ng := func() *file {
		f := &file{order: binary.LittleEndian}
		f.section()
		f.iface(LinkEthernet, 0, nil)
		return f
	}
	for name, c := range map[string]struct {
		file func() []byte
		why  Why
		want string
		n    int
	}{
		"empty": {func() []byte { return nil }, Format, "at byte 0: the file is empty", 0},
		"short": {func() []byte { return good().b[:10] }, Format, "at byte 0: the file of 10 bytes is too short for a pcap or pcapng file", 0},
		"text":  {func() []byte { return []byte("hello, world, this is text") }, Format, "at byte 0: not a pcap or pcapng file: it begins with 68656c6c", 0},
		"kuznetzov": {func() []byte { return classic(binary.BigEndian, magicKuz, 1).b }, Format,
			"at byte 0: a pcap file of the modified (Kuznetzov) form is not read: convert it with `editcap -F pcapng`", 0},
		"cut": {func() []byte { f := good(); f.record(1, 2, 3, []byte("defg")); return f.b[:len(f.b)-1] }, Truncated,
			"at byte 43: the file ends within a record, of which it has 19 bytes", 1},
		"cut in a header": {func() []byte { f := good(); f.raw(1, 2, 3); return f.b }, Truncated,
			"at byte 43: the file ends within a record, of which it has 3 bytes", 1},
		"long packet": {func() []byte { f := good(); f.u32(0, 0, 1<<31, 9); return f.b }, Corrupt,
			"at byte 43: a packet of 2147483648 bytes, more than the 262144 that are read", 1},
		"unknown interface": {func() []byte { f := ng(); f.enhanced(1, 0, 0, nil); return f.b }, Corrupt,
			"at byte 64: a packet of interface 1, of which the section has described 1", 0},
		"long block": {func() []byte { f := ng(); f.u32(blockEnhanced, 1<<30, 0); return f.b }, Corrupt,
			"at byte 64: a block of 1073741824 bytes, more than the 524288 that are read", 0},
		"odd block": {func() []byte { f := ng(); f.u32(99, 13, 0); return f.b }, Corrupt, "at byte 64: a block that claims 13 bytes", 0},
		"two lengths": {func() []byte { f := ng(); f.u32(99, 16, 0, 20); return f.b }, Corrupt,
			"at byte 64: a block that claims 16 bytes at its start and 20 at its end", 0},
		"cut in a skipped block": {func() []byte { f := ng(); f.u32(99, 1<<31, 0, 0); return f.b }, Truncated,
			"at byte 64: the file ends within a block of 2147483648 bytes", 0},
		"fine clock": {func() []byte { f := ng(); f.iface(1, 0, func(b *file) { b.option(9, []byte{0xff}) }); return f.b }, Corrupt,
			"at byte 64: an interface with a clock resolution (if_tsresol) of 0xff, finer than a 64-bit time stamp can be", 0},
		"IXIA": {func() []byte { return classic(binary.BigEndian, magicIXIAHW, 1).b }, Format,
			"at byte 0: a pcap file of the IXIA form is not read: convert it with `editcap -F pcapng`", 0},
		"pcap version": {func() []byte { f := good(); f.b[4], f.b[6] = 3, 1; return f.b }, Format,
			"at byte 0: pcap version 3.1 is not read, only 2.x", 0},
		"pcapng version": {func() []byte { f := ng(); f.b[12], f.b[14] = 2, 7; return f.b }, Format,
			"at byte 0: pcapng version 2.7 is not read, only 1.x", 0},
		"no byte order": {func() []byte { f := ng(); f.b[8] = 0; return f.b }, Format,
			"at byte 0: a pcapng section without a byte order mark", 0},
		"no byte order later": {func() []byte { f := ng(); f.u32(blockSection, 28, 0, 0, 0, 0, 28); return f.b }, Corrupt,
			"at byte 64: a pcapng section without a byte order mark", 0},
		"short section": {func() []byte { f := ng(); f.u32(blockSection, 24, 0x1a2b3c4d, 1, 0, 0, 24); return f.b }, Corrupt,
			"at byte 64: a section header that claims 24 bytes", 0},
		"odd section": {func() []byte { f := ng(); f.u32(blockSection, 30, 0x1a2b3c4d, 1, 0, 0, 30); return f.b }, Corrupt,
			"at byte 64: a section header that claims 30 bytes", 0},
		"two lengths of a section": {func() []byte { f := ng(); f.u32(blockSection, 28, 0x1a2b3c4d, 1, 0, 0, 32); return f.b }, Corrupt,
			"at byte 64: a block that claims 28 bytes at its start and 32 at its end", 0},
		"short block": {func() []byte { f := ng(); f.u32(99, 8, 8, 0); return f.b }, Corrupt, "at byte 64: a block that claims 8 bytes", 0},
		"short packet block": {func() []byte { f := ng(); f.block(blockEnhanced, func(b *file) { b.u32(0, 0, 0, 0) }); return f.b }, Corrupt,
			"at byte 64: a packet block of 28 bytes, too short for its header", 0},
		"short simple block": {func() []byte { f := ng(); f.block(blockSimple, func(*file) {}); return f.b }, Corrupt,
			"at byte 64: a simple packet block of 12 bytes, too short for its header", 0},
		"short interface": {func() []byte { f := ng(); f.block(blockInterface, func(b *file) { b.u32(1) }); return f.b }, Corrupt,
			"at byte 64: an interface description of 16 bytes, too short for its header", 0},
		"long option": {func() []byte { f := ng(); f.iface(1, 0, func(b *file) { b.u16(2, 9) }); return f.b }, Corrupt,
			"at byte 64: an interface option of 9 bytes where 4 are left", 0},
		"far clock": {func() []byte {
			f := ng()
			f.iface(1, 0, func(b *file) { b.option(14, binary.LittleEndian.AppendUint64(nil, 1<<40)) })
			f.iface(1, 0, func(b *file) { b.option(14, binary.LittleEndian.AppendUint64(nil, 1<<40+1)) })
			return f.b
		}, Corrupt, "at byte 100: an interface with a clock offset (if_tsoffset) of 1099511627777 seconds", 0},
		"far clock, before": {func() []byte {
			f, least := ng(), -int64(1)<<40
			f.iface(1, 0, func(b *file) { b.option(14, binary.LittleEndian.AppendUint64(nil, uint64(least))) })
			f.iface(1, 0, func(b *file) { b.option(14, binary.LittleEndian.AppendUint64(nil, uint64(least-1))) })
			return f.b
		}, Corrupt, "at byte 100: an interface with a clock offset (if_tsoffset) of -1099511627777 seconds", 0},
		"fine clock, decimal": {func() []byte {
			f := ng()
			f.iface(1, 0, func(b *file) { b.option(9, []byte{19}) })
			f.iface(1, 0, func(b *file) { b.option(9, []byte{20}) })
			return f.b
		}, Corrupt, "at byte 96: an interface with a clock resolution (if_tsresol) of 0x14, finer than a 64-bit time stamp can be", 0},
		"fine clock, binary": {func() []byte {
			f := ng()
			f.iface(1, 0, func(b *file) { b.option(9, []byte{0x80 | 63}) })
			f.iface(1, 0, func(b *file) { b.option(9, []byte{0x80 | 64}) })
			return f.b
		}, Corrupt, "at byte 96: an interface with a clock resolution (if_tsresol) of 0xc0, finer than a 64-bit time stamp can be", 0},
		"no room": {func() []byte {
			f := ng()
			f.block(blockEnhanced, func(b *file) { b.u32(0, 0, 0, 4, 4, 0) })
			f.block(blockEnhanced, func(b *file) { b.u32(0, 0, 0, 5, 5, 0) })
			return f.b
		}, Corrupt, "at byte 100: a packet of 5 bytes in a block with room for 4", 1},
		"longest packet": {func() []byte {
			f := good()
			f.record(1, 2, 3, make([]byte, 262144))
			f.u32(0, 0, 262145, 9)
			return f.b
		}, Corrupt, "at byte 262203: a packet of 262145 bytes, more than the 262144 that are read", 2},
		"longest packet, pcapng": {func() []byte {
			f := ng()
			f.enhanced(0, 0, 9, make([]byte, 262144))
			f.enhanced(0, 0, 9, make([]byte, 262145))
			return f.b
		}, Corrupt, "at byte 262248: a packet of 262145 bytes, more than the 262144 that are read", 1},
		"longest block": {func() []byte {
			f := ng()
			f.block(blockEnhanced, func(b *file) { b.u32(0, 0, 0, 0, 0); b.raw(make([]byte, 524288-32)...) })
			f.u32(blockEnhanced, 524292, 0)
			return f.b
		}, Corrupt, "at byte 524352: a block of 524292 bytes, more than the 524288 that are read", 1},
		"many interfaces": {func() []byte {
			f := ng()
			for range maxInterfaces {
				f.iface(1, 0, nil)
			}
			return f.b
		}, Corrupt, "at byte 655404: more than 32768 interfaces", 0},
	} {
		t.Run(name, func(t *testing.T) {
			r := NewReader(bytes.NewReader(c.file()))
			got, fault := read(r)
			if diff := cmp.Diff(c.want, fault); diff != "" || len(got) != c.n {
				t.Errorf("%d packets, %s", len(got), diff)
			}
			var e *Error
			if err := r.Next(new(Packet)); !errors.As(err, &e) || e.Why != c.why {
				t.Errorf("the error stays and says %q: %v", c.why, err)
			}
		})
	}
}

// A time stamp is seconds and nanoseconds in whatever unit an interface counts; what no int64 of nanoseconds tells is 0, which is no time.
func TestClocks(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		f := Interface{res: uint8(r.IntN(20))}
		unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(f.res)), nil)
		exact := true
		if r.IntN(2) == 0 {
			n := r.IntN(64)
			f.res = 0x80 | uint8(n)
			unit.Lsh(big.NewInt(1), uint(n))
			exact = n <= 32 // a finer clock is read as one of 2^-32 s
		}
		stamp := r.Uint64() >> r.IntN(64)
		if r.IntN(3) > 0 {
			f.offset = r.Int64N(1<<41+1) - 1<<40
			f.offset >>= r.IntN(40)
		}
		whole, rest := new(big.Int).DivMod(new(big.Int).SetUint64(stamp), unit, new(big.Int))
		sec := new(big.Int).Add(whole, big.NewInt(f.offset))
		ns := new(big.Int).Mul(rest, big.NewInt(1e9))
		ns.Div(ns, unit)
		want := new(big.Int).Mul(sec, big.NewInt(1e9))
		want.Add(want, ns)
		const most = math.MaxInt64 / 1_000_000_000 // seconds; the last, which is not whole, is left out
		got := f.nanos(stamp)
		if sec.Sign() < 0 || sec.Cmp(big.NewInt(most-1)) > 0 || whole.Cmp(big.NewInt(most-1)) > 0 {
			if got != 0 {
				t.Fatalf("stamp %d of a clock %#x at %+d s is %d, and cannot be told", stamp, f.res, f.offset, got)
			}
			continue
		}
		if w := want.Int64(); got != w && (exact || got != w-1) {
			t.Fatalf("stamp %d of a clock %#x at %+d s is %d, want %d", stamp, f.res, f.offset, got, w)
		}
	}
}

// A simple packet is captured whole where the interface has no limit; names are clipped; options of odd lengths are passed over.
func TestInterfaces(t *testing.T) {
	f := &file{order: binary.BigEndian}
	f.section()
	f.iface(LinkRaw, 0, func(b *file) {
		b.option(9, []byte{9, 9})                   // no resolution has two bytes
		b.option(14, []byte{0, 0, 0, 1})            // no offset has four
		b.option(3, []byte("a"))                    // a description
		b.option(2, bytes.Repeat([]byte("n"), 257)) // the name
	})
	at := len(f.b)
	f.block(blockSimple, func(b *file) { b.u32(5); b.raw([]byte("whole")...) })
	second := len(f.b)
	f.enhanced(0, 7, 9, []byte("micro"))
	want := []seen{
		{"whole", 5, 0, LinkRaw, strings.Repeat("n", 256), int64(at)},
		{"micro", 9, 7000, LinkRaw, strings.Repeat("n", 256), int64(second)},
	}
	for name, src := range map[string]io.Reader{"at once": bytes.NewReader(f.b), "byte by byte": iotest.OneByteReader(bytes.NewReader(f.b))} {
		got, fault := read(NewReader(src))
		if diff := cmp.Diff(want, got); diff != "" || fault != "" {
			t.Error(name, fault, diff)
		}
	}
}

// silent gives nothing, and does not end.
type silent struct{}

func (silent) Read([]byte) (int, error) { return 0, nil }

// What a stream reports goes to the caller as it is, after the packets before it; one that gives nothing for ever ends too.
func TestStreamsFail(t *testing.T) {
	f := classic(binary.LittleEndian, magicMicro, LinkEthernet)
	f.record(1, 2, 3, []byte("abc"))
	for want, rest := range map[error]io.Reader{io.ErrNoProgress: silent{}, io.ErrClosedPipe: iotest.ErrReader(io.ErrClosedPipe)} {
		r := NewReader(io.MultiReader(bytes.NewReader(f.b), rest))
		var p Packet
		if err := r.Next(&p); err != nil || string(p.Data) != "abc" {
			t.Errorf("%q, %v", p.Data, err)
		}
		for range 2 {
			if err := r.Next(&p); err != want {
				t.Errorf("got %v, want %v", err, want)
			}
		}
	}
}

// What every file must satisfy, however broken: no panic, bounded memory, and it is read to its end or to an error that says
// where; reading by pieces changes nothing.
func check(t *testing.T, b []byte) {
	r := NewReader(iotest.HalfReader(bytes.NewReader(b)))
	got, fault := read(r)
	if fault == "" && r.Offset() != int64(len(b)) {
		t.Fatalf("clean end at %d of %d bytes", r.Offset(), len(b))
	}
	if fault != "" {
		var e *Error
		if err := r.Next(new(Packet)); !errors.As(err, &e) || e.Offset < 0 || e.Offset > int64(len(b)) {
			t.Fatalf("fault without a place: %v", err)
		}
	}
	if cap(r.buf) > MaxRecord {
		t.Fatalf("buffer of %d bytes", cap(r.buf))
	}
	sum := 0
	for _, p := range got {
		sum += len(p.Data)
	}
	if sum > len(b) {
		t.Fatalf("%d bytes of packets out of %d", sum, len(b))
	}
	var d Decoder
	var p Packet
	var whole []seen
	rest, text := b, ""
	for {
		n, ok, err := d.Next(rest, &p)
		if err == nil && n == 0 {
			if d.Need() <= len(rest) || d.Need() > MaxRecord {
				t.Fatalf("needs %d bytes and has %d", d.Need(), len(rest))
			}
			if err = d.End(len(rest)); err == nil {
				break
			}
		}
		if err != nil {
			text = err.Error()
			break
		}
		if ok {
			whole = append(whole, seen{string(p.Data), p.Length, p.Time, p.Interface.Link, p.Interface.Name, p.Offset})
			var u Datagram
			if r := UDP(p.Interface.Link, p.Data, &u); r == OK && len(u.Payload)+28 > len(p.Data) {
				t.Fatalf("a payload of %d bytes in a frame of %d", len(u.Payload), len(p.Data))
			}
			Ethernet(p.Interface.Link, p.Data)
		}
		rest = rest[n:]
	}
	if diff := cmp.Diff(whole, got); diff != "" || text != fault {
		t.Fatalf("read at once %q, by pieces %q: %s", text, fault, diff)
	}
}

func FuzzReader(f *testing.F) {
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		c := classic(order, magicMicro, LinkEthernet)
		c.record(1, 2, 60, eth(etherIPv4, udp4(a1, b1, []byte("payload"))))
		f.Add(c.b)
		n := &file{order: order}
		n.section()
		n.iface(LinkRaw, 0, func(b *file) { b.option(9, []byte{0x89}); b.option(2, []byte("x")) })
		n.enhanced(0, 1<<60, 60, udp4(a1, b1, []byte("payload")))
		n.block(blockSimple, func(b *file) { b.u32(4, 0) })
		n.block(blockOldPacket, func(b *file) { b.u32(0, 0, 0, 4, 4, 5) })
		n.block(77, func(b *file) { b.u32(0, 0, 0, 4, 4, 5) })
		f.Add(n.b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { check(t, b) })
}

func BenchmarkReader(b *testing.B) {
	f := classic(binary.LittleEndian, magicNano, LinkEthernet)
	frame := eth(etherIPv4, udp4(a1, b1, make([]byte, 1400)))
	const packets = 1000
	for range packets {
		f.record(1, 2, uint32(len(frame)), frame)
	}
	src := bytes.NewReader(f.b)
	r := NewReader(src)
	buf := r.buf
	var p Packet
	var d Datagram
	b.SetBytes(int64(len(f.b)))
	b.ReportAllocs()
	for b.Loop() {
		src.Reset(f.b)
		*r = Reader{src: src, buf: buf[:0]}
		n := 0
		for r.Next(&p) == nil {
			if UDP(p.Interface.Link, p.Data, &d) == OK {
				n++
			}
		}
		if n != packets {
			b.Fatal(n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/packets, "ns/record")
}

// A reader allocates when it starts and when its buffer grows, never for a packet.
func TestPacketsCostNoAllocation(t *testing.T) {
	f := classic(binary.LittleEndian, magicNano, LinkEthernet)
	for range 2000 {
		f.record(1, 2, 60, eth(etherIPv4, udp4(a1, b1, make([]byte, 100))))
	}
	r := NewReader(bytes.NewReader(f.b))
	var p Packet
	var d Datagram
	if n := testing.AllocsPerRun(1000, func() {
		if err := r.Next(&p); err != nil || UDP(p.Interface.Link, p.Data, &d) != OK {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
}
