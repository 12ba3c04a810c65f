package netflow_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/formats/netflow"
)

// A million different templates, from very many addresses and from few, stay within the limits, end in bounded time, and cost those
// who export flows nothing; one that comes while they do is served too.
func TestMillionTemplates(t *testing.T) {
	limits := netflow.Limits{Exporters: 2000, PerExporter: 200, Templates: 10_000, Age: time.Hour}
	s := netflow.NewStore(limits)
	tab := formatstest.NewTable(formatstest.Columns("bytes"))
	tab.Keep = false
	d := netflow.NewDecoder(s, tab.Out, netflow.Options{}, tab)
	address := func(kind byte, i int) (a [16]byte) {
		a[0], a[1] = 0x20, kind
		be.PutUint32(a[12:], uint32(i))
		return a
	}
	give := func(addr [16]byte, p []byte) netflow.Result {
		r := d.Decode(&netflow.Datagram{Payload: p, Addr: addr})
		d.Run()
		return *r
	}
	const exporters = 100
	data := msg9(1, 1, set(256, commonRecord))
	define := msg9(1, 1, set(0, tmpl(256, common...)))
	for i := range exporters {
		give(address(1, i), define)
		give(address(1, i), data)
	}
	lost, begin, most := 0, time.Now(), 0
	n := 0
	for i := range 125_000 {
		var sets []byte
		for k := range 8 {
			n++
			sets = append(sets, tmpl(uint16(300+k), 1, 4, uint16(1000+n%30000), uint16(1+n/30000), 2, 4)...)
		}
		from := address(2, i)
		if i%8 == 0 {
			from = address(3, i%5)
		}
		give(from, msg9(uint32(i), 1, set(0, sets)))
		if i%1000 == 0 {
			if r := give(address(1, i/1000%exporters), data); r.Rows != 1 {
				lost++
			}
			newcomer := address(4, i)
			give(newcomer, define)
			if r := give(newcomer, data); r.Rows != 1 {
				lost++
			}
			e, templates, different := s.Size()
			if most = max(most, templates); e > limits.Exporters || templates > limits.Templates || different > templates {
				t.Fatalf("%d exporters, %d templates, %d different", e, templates, different)
			}
		}
	}
	took := time.Since(begin)
	t.Logf("%d templates in %v; at most %d kept, %d evicted", n, took, most, s.Evicted())
	if lost > 0 {
		t.Errorf("%d times the data of one who exports was not decoded", lost)
	}
	if n != 1_000_000 || took > 30*time.Second {
		t.Errorf("%d templates took %v", n, took)
	}
}

// Whoever takes all places under addresses that are not his, with datagrams that carry data, shuts others out while he goes on at most:
// those that need no template at no time, the others until he is quiet. Who exports all the time stays.
func TestFloodOfExportersWithData(t *testing.T) {
	for _, c := range []struct {
		name    string
		payload []byte
		quiet   time.Duration
	}{
		{"netflow 5", append(append(u16s(5, 1), make([]byte, 20)...), make([]byte, 48)...), 0},
		{"netflow 9", msg9(1, 1, set(0, tmpl(256, common...)), set(256, commonRecord)), 11 * time.Minute},
	} {
		s := netflow.NewStore(netflow.Limits{Exporters: 1000, PerExporter: 10, Templates: 1500, Age: 24 * time.Hour})
		tab := formatstest.NewTable(formatstest.Columns("bytes"))
		d := netflow.NewDecoder(s, tab.Out, netflow.Options{}, tab)
		d.Now = exportedAt * 1e9
		give := func(kind byte, i int, p []byte) netflow.Result {
			a := [16]byte{0: 0x20, 1: kind}
			be.PutUint32(a[12:], uint32(i))
			r := d.Decode(&netflow.Datagram{Payload: p, Addr: a})
			d.Run()
			return *r
		}
		define, data := msg9(1, 1, set(0, tmpl(256, common...))), msg9(1, 2, set(256, commonRecord))
		give(1, 0, define)
		give(1, 0, data)
		for i := range 5000 {
			give(2, i, c.payload)
			if n, _, _ := s.Size(); n > 1000 {
				t.Fatalf("%s: %d exporters", c.name, n)
			}
		}
		d.Now += int64(c.quiet)
		if r := give(1, 0, data); r.Rows != 1 {
			t.Errorf("%s: who exported before is not decoded: %+v", c.name, r)
		}
		give(3, 0, define)
		if r := give(3, 0, data); r.Rows != 1 {
			t.Errorf("%s: who comes afterwards is not decoded: %+v", c.name, r)
		}
		if r := give(1, 0, data); r.Rows != 1 {
			t.Errorf("%s: who exports is not decoded any more: %+v", c.name, r)
		}
	}
}

// An options template of very many fields of no bytes costs about what its records cost without them.
func TestOptionsOfNoBytes(t *testing.T) {
	least := func(empty uint32) (least time.Duration) {
		fields := [][3]uint32{{34, 1, 0}}
		for i := range empty {
			fields = append(fields, [3]uint32{1000 + i, 0, 9})
		}
		def := tmplE(256, fields...)
		d := newDecoder(formatstest.NewTable(formatstest.Columns("bytes")), netflow.Options{})
		feedAll(d, msg10(1, 1, set(3, def[:4], u16s(1), def[4:])))
		p := msg10(1, 1, set(256, make([]byte, 65000)))
		for range 5 {
			begin := time.Now()
			if r := feedAll(d, p)[0]; r.Bad != netflow.None || len(r.Unknown) > 0 {
				t.Fatalf("%+v", r)
			}
			if took := time.Since(begin); least == 0 || took < least {
				least = took
			}
		}
		return least
	}
	if with, without := least(1000), least(0); with > 20*without {
		t.Errorf("a message takes %v with 1,000 fields of no bytes in its template and %v without", with, without)
	}
}

// A message of very many sets that each tell something makes few snapshots, and what it told holds
// afterwards.
func TestSetsThatTellOneThingEach(t *testing.T) {
	tab := formatstest.NewTable(formatstest.Columns("bytes", "sampling_rate"))
	s := netflow.NewStore(netflow.DefaultLimits)
	d := netflow.NewDecoder(s, tab.Out, netflow.Options{}, tab)
	most := func(what string, n uint64, p []byte) (r netflow.Result) {
		t.Helper()
		was := s.Changes()
		r = feedAll(d, p)[0]
		if made := s.Changes() - was; made > n {
			t.Errorf("%d snapshots of a message of %s, want %d at most", made, what, n)
		}
		return r
	}
	def := tmpl(256, 302, 2, 34, 2)
	feedAll(d, msg10(1, 1, set(3, def[:4], u16s(1), def[4:]), set(2, tmpl(257, 302, 2, 1, 4))))
	const templates, samplers = 700, 1000
	for k := range uint16(5) {
		var defs, told, both [][]byte
		for i := range uint16(4000) {
			defs = append(defs, set(2, tmpl(300+i%templates, 1, 4, 500, 4+k)))
			told = append(told, set(256, u16s(i%samplers, 10+k)))
		}
		// Data behind each definition: most of it is decoded when the message has been read.
		for i := range uint16(2000) {
			id := 300 + i%templates
			both = append(both, set(2, tmpl(id, 1, 4, 500, 100+k)), set(id, u32s(7), make([]byte, 100+k)))
		}
		most("definitions", 4000/64+1, msg10(1, 1, defs...))
		most("samplers", 33, msg10(1, 1, told...))
		r := most("definitions and data", 2*33, msg10(1, 1, both[:600]...))
		if r.Bad != netflow.None || r.Rows < 32 || r.Rows+len(r.Unknown) != 300 {
			t.Fatalf("%d rows, %d sets wait: %+v", r.Rows, len(r.Unknown), r.Bad)
		}
	}
	last := set(257, u16s(samplers-1), u32s(9), u16s(0), u32s(9))
	rows := tab.Rows()
	feedAll(d, msg10(1, 1, last, set(300+templates-1, u32s(5), make([]byte, 8))))
	if diff := cmp.Diff([]uint64{14, 14}, formatstest.Column[uint64](tab, "sampling_rate")[rows:][:2]); diff != "" {
		t.Errorf("sampling rates (-want +got):\n%s", diff)
	}
	if rows := tab.Rows() - rows; rows != 3 {
		t.Errorf("%d rows of what was told, want 3", rows)
	}
}

// What the first message of an exporter takes back, in the same set or another, is not there.
func TestTakenBackAtOnce(t *testing.T) {
	define, withdraw, wrong := tmpl(256, 1, 4), u16s(256, 0), tmpl(256, 8, 65000, 12, 65000)
	for name, p := range map[string][]byte{
		"withdrawn in the set":            msg10(1, 1, set(2, define, withdraw), set(256, u32s(1))),
		"withdrawn in another":            msg10(1, 1, set(2, define), set(2, withdraw), set(256, u32s(1))),
		"redefined as what cannot be":     msg10(1, 1, set(2, define, wrong), set(256, u32s(1))),
		"the same in another set":         msg10(1, 1, set(2, define), set(2, wrong), set(256, u32s(1))),
		"all of the domain are withdrawn": msg10(1, 1, set(2, define), set(2, u16s(2, 0)), set(256, u32s(1))),
	} {
		d := newDecoder(formatstest.NewTable(formatstest.Columns("bytes")), netflow.Options{})
		if r := feedAll(d, p)[0]; r.Rows != 0 || len(r.Unknown) != 1 {
			t.Errorf("%s: %+v", name, r)
		}
		if d.Tally.Bytes() != uint64(len(p)) {
			t.Errorf("%s: %d bytes of %d", name, d.Tally.Bytes(), len(p))
		}
	}
}
