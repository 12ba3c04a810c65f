package tcp

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// size is what a memory should say that it holds.
func (m *memory) size() (n int) {
	for _, t := range m.exporters {
		for _, def := range t.told {
			n += len(def) + entryBytes
		}
		for _, sets := range t.data {
			for _, x := range sets {
				n += len(x.set) + entryBytes
			}
		}
	}
	return n
}

// messages cuts a stream.
func messages(t testing.TB, b []byte) (ms [][]byte) {
	for len(b) > 0 {
		n := len(b)
		if n >= header {
			n = int(be.Uint16(b[2:]))
		}
		if n > len(b) || !isMessage(b[:n]) {
			t.Fatalf("after %d messages: %x", len(ms), b[:min(20, len(b))])
		}
		ms = append(ms, b[:n])
		b = b[n:]
	}
	return ms
}

// Whatever exporters send: what is kept is bounded and counted right, and a prelude is whole messages that tell the same again and
// whose numbers lead up to the next one's.
func FuzzMemory(f *testing.F) {
	f.Add(set(2, u16s(256, 2, 1, 4, 0x8003, 4, 0, 9), u16s(257, 1, 2, 8)), set(3, u16s(258, 2, 1, 149, 4, 34, 4)), uint32(5))
	f.Add(set(3, u16s(258, 2, 1, 149, 4, 82, 0xffff)), set(258, []byte{0, 0, 0, 1, 2, 'a', 'b', 0, 0, 0, 2, 255, 0, 1, 'c'}), uint32(1))
	f.Add(set(2, u16s(256, 1, 1, 4), u16s(256, 0)), set(2, u16s(2, 0)), uint32(0))
	f.Add(set(3, u16s(258, 1, 1, 149, 0)), set(258, make([]byte, 100)), uint32(0))
	f.Fuzz(func(t *testing.T, one, two []byte, sequence uint32) {
		if header+len(one)+len(two) > mostMessage {
			t.Skip("no message is so long")
		}
		m := newMemory()
		next := message(7, sequence)
		var known []templateKey
		for _, p := range [][]byte{message(7, 0, one), message(7, 0, two), message(7, 0, one, two), message(8, 0, two, one)} {
			if tells(p, known) {
				known = m.learn(origin{}, p)
			}
			if m.bytes != m.size() {
				t.Fatalf("%d bytes are counted, %d are kept", m.bytes, m.size())
			}
		}
		b, _ := m.prelude(nil, origin{}, next)
		again := newMemory()
		at := uint32(0)
		for i, p := range messages(t, b) {
			if n := be.Uint32(p[8:]); i > 0 && n != at {
				t.Errorf("message %d has number %d, want %d", i, n, at)
			}
			at = be.Uint32(p[8:])
			again.learn(origin{}, p)
			if id := be.Uint16(p[header:]); id >= leastID {
				at += uint32(records(again.exporters[origin{}].told[templateKey{7, id, options}], p[header+setHeader:]))
			}
		}
		if len(b) > 0 && at != sequence {
			t.Errorf("the prelude leads up to %d, not to %d", at, sequence)
		}
		second, _ := again.prelude(nil, origin{}, next)
		if !slices.Equal(b, second) {
			t.Errorf("told once: %x\ntold again: %x", b, second)
		}
	})
}

// Exporters that tell without end are bounded: in number, each in its templates, and all in bytes. Those met lately are kept.
func TestMemoryIsBounded(t *testing.T) {
	m := newMemory()
	r := rand.New(rand.NewPCG(1, 2))
	long := u16s(0, 16000)
	long = append(long, make([]byte, 16000*4)...)
	for i := range 3000 {
		var o origin
		be.PutUint32(o.addr[:], uint32(r.IntN(10_000)))
		for range 3 {
			be.PutUint16(long, uint16(256+r.IntN(2000)))
			m.learn(o, message(uint32(r.IntN(4)), 0, set(2, long)))
		}
		if m.bytes > mostBytes+3*len(long) || len(m.exporters) > mostExporters || m.bytes != m.size() && i%500 == 0 {
			t.Fatalf("%d exporters with %d bytes, counted as %d", len(m.exporters), m.size(), m.bytes)
		}
		if m.exporters[o] == nil {
			t.Fatal("the exporter at hand was forgotten")
		}
	}
	m = newMemory()
	for id := range uint16(3000) {
		m.learn(origin{}, message(1, 0, set(2, u16s(256+id, 1, 1, 4))))
	}
	if n := len(m.exporters[origin{}].told); n != mostTemplates {
		t.Errorf("%d templates of one exporter", n)
	}
	b, _ := m.prelude(nil, origin{}, message(1, 0))
	n := 0
	for _, p := range messages(t, b) {
		n += (len(p) - header - setHeader) / 8
	}
	if n != mostTemplates {
		t.Errorf("%d templates are told again", n)
	}
}

// Repeated sampler tables are kept once, the newest last; a template told with another meaning takes its data with it.
func TestOptionsData(t *testing.T) {
	m := newMemory()
	record := func(id, rate uint32) []byte { return be.AppendUint32(be.AppendUint32(nil, id), rate) }
	def := set(3, u16s(258, 2, 1, 302, 4, 34, 4))
	known := m.learn(origin{}, message(1, 0, def))
	for _, s := range [][]byte{record(1, 10), record(2, 20), record(1, 10), append(record(3, 30), record(4, 40)...)} {
		p := message(1, 0, set(258, s))
		if !tells(p, known) {
			t.Fatal("data of an options template tells nothing")
		}
		m.learn(origin{}, p)
	}
	b, _ := m.prelude(nil, origin{}, message(1, 100))
	want := [][]byte{message(1, 96, def), message(1, 96, set(258, record(2, 20))), message(1, 97, set(258, record(1, 10))), message(1, 98, set(258, record(3, 30), record(4, 40)))}
	if d := cmp.Diff(want, messages(t, b)); d != "" {
		t.Errorf("prelude (-want +got):\n%s", d)
	}
	m.learn(origin{}, message(1, 0, set(3, u16s(258, 2, 1, 302, 4, 34, 8))))
	b, _ = m.prelude(nil, origin{}, message(1, 100))
	if got := messages(t, b); len(got) != 1 || m.bytes != m.size() {
		t.Errorf("%x; %d bytes counted, %d kept", got, m.bytes, m.size())
	}
}

func TestAllocations(t *testing.T) {
	const most = 18 // a block of 4 calls to the kernel, each with a watch over the context, which takes 4; none a message
	k := collect(t, "127.0.0.1:0")
	k.forget = true
	w := open(t, defaults(k.addr()))
	var rows []item
	for i := range uint32(180) {
		rows = append(rows, item{0, message(1, i, set(300, make([]byte, 1380)))})
	}
	b := block("", rows...)
	done := func(error) {}
	if got := testing.AllocsPerRun(20, func() {
		if err := w.Write(context.Background(), b, done); err != nil {
			t.Fatal(err)
		}
	}); got > most {
		t.Errorf("a block of %d messages allocates %v times", len(rows), got)
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, exporters := range []int{1, 50} {
		b.Run(fmt.Sprintf("%dexporters", exporters), func(b *testing.B) {
			k := collect(b, "127.0.0.1:0")
			w := open(b, defaults(k.addr()))
			k.mu.Lock()
			k.forget = true
			k.mu.Unlock()
			var rows []item
			for i := range 8000 {
				rows = append(rows, item{byte(i % exporters), message(1, uint32(i), set(300, make([]byte, 1380)))})
			}
			blk := block("", rows...)
			b.ReportAllocs()
			for b.Loop() {
				if err := w.Write(context.Background(), blk, func(error) {}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(rows)), "ns/record")
		})
	}
}
