package decode

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/emulate"
	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
	"github.com/weirflow/weir/sdk/sdktest"
)

var be = binary.BigEndian

// catch is the core's side of a lane: it counts, keeps the rows that a test looks at, and gives batches back.
type catch struct {
	t       testing.TB
	env     *sdk.Env
	clock   *sdktest.Clock
	proc    sdk.Processor
	ports   []uint16 // src_port of each flow, in order
	rates   []uint64 // sampling_rate
	sizes   []int    // size class of each batch given out
	ranges  []string
	faults  []string
	in      uint64
	out     uint64
	counts  []uint32 // if_index of each counters sample
	refused uint64
	settled []string // of inputs, as they settle
}

func (c *catch) Emit(_ int, b *sdk.Batch) {
	if i := b.Schema().Index("src_port"); i >= 0 {
		c.ports = append(c.ports, sdk.Values[uint16](b, i)...)
	}
	if i := b.Schema().Index("sampling_rate"); i >= 0 {
		c.rates = append(c.rates, sdk.Values[uint64](b, i)...)
	}
	if i := b.Schema().Index("if_index"); i >= 0 {
		c.counts = append(c.counts, sdk.Values[uint32](b, i)...)
	}
	c.sizes = append(c.sizes, b.Size())
	c.ranges = append(c.ranges, b.Range().String())
	c.out += uint64(b.Rows())
	b.Done(sdk.Delivered)
	b.Release()
}

func (c *catch) Error(_ *sdk.Batch, f sdk.Fault) {
	s := f.Code
	if f.Part {
		s += " part"
	} else {
		c.refused++
	}
	c.faults = append(c.faults, s)
}

// Settled is [sdk.Settler]'s.
func (c *catch) Settled(r sdk.Range, o sdk.Outcome) {
	c.settled = append(c.settled, fmt.Sprintf("%v %v", r, o))
}

// lane makes a processor with a clock of its own, whose flows alone are read.
func lane(t testing.TB, change func(*Config), out *sdk.Schema) *catch {
	t.Helper()
	return laneOf(t, change, sdktest.WithOut(out))
}

func laneOf(t testing.TB, change func(*Config), o ...sdktest.Option) *catch {
	t.Helper()
	c := &catch{t: t, clock: sdktest.NewClock(base)}
	c.env = sdktest.Env(t, append([]sdktest.Option{sdktest.WithIn(sdk.Datagram), sdktest.WithClock(c.clock)}, o...)...)
	cfg := Plugin.Spec.Config().(*Config)
	if change != nil {
		change(cfg)
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	p, err := Plugin.Processor(c.env, cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.proc = p
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// give makes a batch of payloads of one exporter and has it processed.
func (c *catch) give(r sdk.Range, payloads ...[]byte) {
	c.t.Helper()
	b := c.env.NewBatch(sdk.Datagram, len(payloads))
	for _, p := range payloads {
		row(b, p, router, 2055, c.clock.Now().UnixNano())
	}
	b.Seal()
	b.Root(r)
	b.Track(c)
	c.in += uint64(len(payloads))
	if err := c.proc.Process(b, c); err != nil {
		c.t.Fatal(err)
	}
	c.balance()
}

func (c *catch) tick(d time.Duration) {
	c.t.Helper()
	c.clock.Advance(d)
	for more := true; more; {
		var err error
		if more, err = c.proc.Tick(c.clock.Now(), false, c); err != nil {
			c.t.Fatal(err)
		}
	}
	c.balance()
}

func (c *catch) flush(p *sdk.Partition, force bool) (held int) {
	c.t.Helper()
	for more := true; more; {
		var err error
		if held, more, err = c.proc.Flush(p, force, c); err != nil {
			c.t.Fatal(err)
		}
	}
	c.balance()
	return held
}

func (c *catch) dropped() map[sdk.Reason]uint64 {
	m := map[sdk.Reason]uint64{}
	c.env.Books.Dropped(func(r sdk.Reason, n uint64) { m[r] = n })
	return m
}

// balance checks the two equations of the ledger.
func (c *catch) balance() {
	c.t.Helper()
	b := c.env.Books
	dropped := uint64(0)
	for _, n := range c.dropped() {
		dropped += n
	}
	if got := b.Consumed.Load() + dropped + c.refused + uint64(b.Held.Load()); got != c.in {
		c.t.Fatalf("%d datagrams in, %d consumed + %d dropped + %d refused + %d held", c.in, b.Consumed.Load(), dropped, c.refused, b.Held.Load())
	}
	if got := c.out + uint64(b.Open.Load()); got != b.Produced.Load() {
		c.t.Fatalf("%d flows produced, %d out + %d open", b.Produced.Load(), c.out, b.Open.Load())
	}
}

func (c *catch) want(what string, want, got any) {
	c.t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		c.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

var router = [16]byte{10: 0xff, 11: 0xff, 12: 192, 13: 0, 14: 2, 15: 1}

// v9 is a message of sets, numbered one with a sequence number; template defines id as a source port of 2 bytes; data is records of it.
func v9(sets ...[]byte) []byte { return numbered(0, sets...) }

func numbered(sequence uint32, sets ...[]byte) []byte {
	return formatstest.NetFlow9(1, uint32(base.Unix()), domain, sequence, sets...)
}

const domain = 0 // of observation

func template(id uint16) []byte { return define(id, 7, 2) }

func data(id uint16, ports ...uint16) []byte {
	return formatstest.Set(id, formatstest.Uint16s(ports...))
}

// define is a template of fields, each an element and a length.
func define(id uint16, fields ...uint16) []byte {
	return formatstest.Set(0, formatstest.Uint16s(id, uint16(len(fields)/2)), formatstest.Uint16s(fields...))
}

var ports = columns("src_port")

// columns is the schema of the named flow columns.
func columns(names ...string) *sdk.Schema {
	var fs []sdk.Field
	for _, n := range names {
		fs = append(fs, flow.Columns[flow.Index(n)].Field)
	}
	return sdk.NewSchema(fs...)
}

var none sdk.Range

// Data before its template waits, comes out when the template has come, and only then is its input settled.
func TestDataWaitsForItsTemplate(t *testing.T) {
	c := lane(t, nil, ports)
	part := &sdk.Partition{Source: "s", Name: "p"}
	c.give(sdk.Range{Partition: part, First: 1, Last: 2}, v9(data(256, 1, 2)), v9(data(256, 3)))
	if h := c.flush(part, false); h != 2 {
		t.Errorf("%d held, want 2", h)
	}
	c.give(sdk.Range{Partition: part, First: 3, Last: 3}, v9(template(256)))
	c.want("settled", []string{"s/p 3-3 delivered"}, c.settled)
	c.tick(100 * time.Millisecond)
	c.want("held", int64(0), c.env.Books.Held.Load())
	c.want("given out on a tick behind a partition", []uint16(nil), c.ports)
	c.flush(part, false)
	c.want("flows", []uint16{1, 2, 3}, c.ports)
	c.want("ranges", []string{"s/p 1-2"}, c.ranges)
	c.want("settled", []string{"s/p 3-3 delivered", "s/p 1-2 delivered"}, c.settled)
}

// An unknown set costs the known ones of its datagram nothing; when its time is over, it alone is refused.
func TestUnknownSetBesideKnownOnes(t *testing.T) {
	c := lane(t, nil, ports)
	c.give(none, v9(template(256)), v9(data(256, 1), data(300, 7, 8), data(256, 2)))
	c.tick(100 * time.Millisecond)
	c.want("flows at once", []uint16{1, 2}, c.ports)
	c.want("held", int64(1), c.env.Books.Held.Load())
	c.tick(3 * time.Second)
	c.want("faults", []string{"no_template part"}, c.faults)
	c.want("dropped", map[sdk.Reason]uint64{}, c.dropped())
	c.want("settled", []string{"no range delivered"}, c.settled)
	// The other way round: the template comes, and what waited holds a set for yet another.
	c.give(none, v9(data(300, 7), data(301, 9)))
	c.give(none, v9(template(300)))
	c.tick(100 * time.Millisecond)
	c.want("held", int64(1), c.env.Books.Held.Load())
	c.give(none, v9(template(301)))
	c.tick(100 * time.Millisecond)
	c.want("flows", []uint16{1, 2, 7, 9}, c.ports)
	c.want("held", int64(0), c.env.Books.Held.Load())
}

// What no template comes for is dropped for that reason: by age, for want of room, or at a forced flush.
func TestNoTemplate(t *testing.T) {
	c := lane(t, nil, ports)
	c.give(none, v9(data(256, 1)))
	c.tick(time.Second)
	c.want("early", map[sdk.Reason]uint64{}, c.dropped())
	c.tick(time.Second)
	c.want("by age", map[sdk.Reason]uint64{"no_template": 1}, c.dropped())
	c.give(none, v9(data(256, 1)))
	c.flush(nil, true)
	c.want("by force", map[sdk.Reason]uint64{"no_template": 2}, c.dropped())
	c.want("settled", []string{"no range dropped", "no range dropped"}, c.settled)

	c = lane(t, func(cfg *Config) { cfg.Park.Bytes = 1000 }, ports)
	for range 100 {
		c.give(none, v9(data(256, 1)))
	}
	if held := c.env.Books.Held.Load(); held < 1 || held > 4 {
		t.Errorf("%d held in 1,000 bytes", held)
	}
	c.flush(nil, true)
	c.want("for want of room and by force", map[sdk.Reason]uint64{"no_template": 100}, c.dropped())
}

// A datagram that is wrong as a whole is refused whole; one with a wrong part, in part.
func TestRefused(t *testing.T) {
	c := lane(t, nil, ports)
	bad := []byte{1, 0, 0, 3} // a set of length 3
	c.give(none, v9(template(256)), v9(data(256, 1), bad), v9(bad), []byte("x"), []byte("hello, world"), v9(data(256, 2)), v9(data(256), bad))
	c.tick(0)
	c.want("faults", []string{"set_length part", "set_length", "short_header", "unknown_version", "set_length part"}, c.faults)
	c.want("flows", []uint16{1, 2}, c.ports)
	// A set that turns out bad when its template has come: with nothing used the datagram is refused, else the part.
	c = lane(t, nil, ports)
	c.give(none, v9(data(300, 1), append(be.AppendUint16(nil, 301), 0, 5, 9)), v9(append(be.AppendUint16(nil, 301), 0, 5, 9)), v9(data(302, 1), bad))
	c.give(none, v9(template(300), template(301)))
	c.tick(0)
	c.want("faults", []string{"short_set part", "short_set"}, c.faults)
	c.tick(3 * time.Second)
	c.want("faults", []string{"short_set part", "short_set", "set_length"}, c.faults)
}

// Only protocols asked for are decoded.
func TestProtocols(t *testing.T) {
	c := lane(t, func(cfg *Config) { cfg.Protocols = []string{"ipfix"} }, ports)
	c.give(none, v9(template(256)), v9(data(256, 1)))
	c.want("dropped", map[sdk.Reason]uint64{"not_selected": 2}, c.dropped())
	cfg := Plugin.Spec.Config().(*Config)
	cfg.Protocols = []string{"netflow8"}
	if err := cfg.Validate(); err == nil {
		t.Error("an unknown protocol is taken")
	}
}

// Batches are as large as the stream: small for a trickle, whole under load; rows that move between them stay as they are.
func TestBatchesGrowWithTheStream(t *testing.T) {
	c := lane(t, nil, ports)
	c.give(none, v9(template(256)))
	next, want := uint16(0), []uint16(nil)
	records := func(n int) []byte {
		ps := make([]uint16, n)
		for i := range ps {
			ps[i] = next
			want = append(want, next)
			next++
		}
		return v9(data(256, ps...))
	}
	c.give(none, records(10))
	c.tick(0)
	c.give(none, records(700))
	c.tick(0)
	for range 30 {
		c.give(none, records(1000))
	}
	c.tick(0)
	c.want("size classes", []int{256, 1024, 8192, 8192, 8192, 8192}, c.sizes)
	c.want("flows", want, c.ports)
}

// One open batch a partition, none that mixes them; a forced flush of one leaves the others.
func TestPartitionsAreKeptApart(t *testing.T) {
	c := lane(t, nil, ports)
	a, b := &sdk.Partition{Source: "s", Name: "a"}, &sdk.Partition{Source: "s", Name: "b"}
	c.give(none, v9(template(256)))
	for i := range int64(3) {
		c.give(sdk.Range{Partition: a, First: 10 * i, Last: 10*i + 1}, v9(data(256, 1)))
		c.give(sdk.Range{Partition: b, First: 100 * i, Last: 100*i + 1}, v9(data(256, 2)))
	}
	c.flush(b, true)
	c.want("flows", []uint16{2, 2, 2}, c.ports)
	c.want("ranges", []string{"s/b 0-201"}, c.ranges)
	c.want("open", int64(3), c.env.Books.Open.Load())
	c.flush(a, true)
	c.want("ranges", []string{"s/b 0-201", "s/a 0-21"}, c.ranges)
}

// A drain at the end gives out all; behind a committing source that stops, what waits goes unsettled and is read again.
func TestDrain(t *testing.T) {
	drain := func(c *catch, why sdk.Why) {
		for more := true; more; {
			var err error
			if more, err = c.proc.Drain(why, true, c); err != nil {
				t.Fatal(err)
			}
		}
		c.balance()
	}
	part := &sdk.Partition{Source: "s", Name: "p"}
	c := lane(t, nil, ports)
	c.give(sdk.Range{Partition: part, First: 1, Last: 1}, v9(data(999, 1)))
	drain(c, sdk.Stopping)
	c.want("held", int64(1), c.env.Books.Held.Load())
	c.want("settled", []string(nil), c.settled)
	c = lane(t, nil, ports)
	c.give(sdk.Range{Partition: part, First: 1, Last: 1}, v9(data(999, 1)))
	drain(c, sdk.InputEnded)
	c.want("held", int64(0), c.env.Books.Held.Load())
	c.want("settled", []string{"s/p 1-1 dropped"}, c.settled)
}

// Templates are the node's, not the lane's, and outlive a lane.
func TestLanesShareTemplates(t *testing.T) {
	first := lane(t, nil, ports)
	first.give(none, v9(template(256)))
	env := sdktest.Env(t, sdktest.WithIn(sdk.Datagram), sdktest.WithOut(ports), sdktest.WithSharesOf(first.env))
	second := &catch{t: t, env: env, clock: first.clock}
	var err error
	if second.proc, err = Plugin.Processor(env, Plugin.Spec.Config()); err != nil {
		t.Fatal(err)
	}
	second.give(none, v9(data(256, 5)))
	second.tick(0)
	second.want("flows", []uint16{5}, second.ports)
	if err := second.proc.Close(); err != nil {
		t.Error(err)
	}
}

// Each of the malformed examples, then a good datagram: it is decoded, and every datagram is in the books.
func TestGoodAfterAnyMalformed(t *testing.T) {
	files, _ := filepath.Glob(filepath.Join(testdata(t), "flows/malformed/*.bin"))
	if len(files) == 0 {
		t.Skip("no malformed examples")
	}
	c := lane(t, nil, ports)
	for i, f := range files {
		p, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		c.ports = c.ports[:0]
		c.give(none, p)
		c.give(none, v9(template(500)), v9(data(500, uint16(i), 9)))
		c.tick(10 * time.Millisecond)
		if n := len(c.ports); n < 2 || c.ports[n-2] != uint16(i) || c.ports[n-1] != 9 {
			t.Errorf("after %s: flows %v", filepath.Base(f), c.ports)
		}
	}
	c.tick(5 * time.Second)
	c.want("held", int64(0), c.env.Books.Held.Load())
}

// testdata is the directory of shared test data.
func testdata(t *testing.T) string {
	dir := os.Getenv("WEIR_TESTDATA")
	for at, _ := os.Getwd(); dir == "" && at != filepath.Dir(at); at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			dir = filepath.Join(at, "..", "shared", "testdata")
		}
	}
	return dir
}

// replay is emulated datagrams in batches as a source makes them, to be given again and again.
type replay struct {
	c       *catch
	batches []*sdk.Batch
	records []int
	at      int
}

func newReplay(tb testing.TB, c *catch, o emulate.Options, datagrams, rows int) *replay {
	tb.Helper()
	o.Base = base
	if o.TemplateInterval == 0 {
		o.TemplateInterval = 24 * time.Hour
	}
	e, err := emulate.New(o)
	if err != nil {
		tb.Fatal(err)
	}
	ring, err := e.Ring(datagrams, base.UnixNano(), 10*time.Microsecond)
	if err != nil {
		tb.Fatal(err)
	}
	r := &replay{c: c}
	for i := 0; i < datagrams; i += rows {
		b := sdk.NewPool(nil).Get(sdk.Datagram, rows)
		n := 0
		for j := i; j < min(i+rows, datagrams); j++ {
			d := &ring.Datagrams[j]
			row(b, ring.Payloads[j], d.Exporter, d.Port, d.Sent)
			n += d.Records
		}
		b.Seal()
		r.batches, r.records = append(r.batches, b), append(r.records, n)
	}
	return r
}

// allocations is how many a batch costs: the least of some runs, for what exporters told is written beside them once in a while.
func (r *replay) allocations() float64 {
	n := testing.AllocsPerRun(10, func() { r.next() })
	for range 4 {
		n = min(n, testing.AllocsPerRun(10, func() { r.next() }))
	}
	return n
}

// next has the next batch processed: a share of it, since the processor owns what it is given.
func (r *replay) next() int {
	i := r.at
	if r.at++; r.at == len(r.batches) {
		r.at = 0
	}
	if err := r.c.proc.Process(r.batches[i].Share(nil, false), sink{}); err != nil {
		r.c.t.Fatal(err)
	}
	return r.records[i]
}

// sink takes batches and gives them back.
type sink struct{}

func (sink) Emit(_ int, b *sdk.Batch)        { b.Done(sdk.Delivered); b.Release() }
func (sink) Error(_ *sdk.Batch, _ sdk.Fault) {}

var columns20 = flow.Schema.Select(func(f sdk.Field) bool {
	switch f.Name {
	case "received", "flow_start", "flow_end", "sampling_rate", "exporter_addr", "observation_domain", "src_addr", "dst_addr", "src_port", "dst_port",
		"protocol", "etype", "tcp_flags", "bytes", "packets", "in_if", "out_if", "src_as", "dst_as", "next_hop":
		return true
	}
	return false
})

func BenchmarkProcess(b *testing.B) {
	for _, c := range []struct {
		name string
		o    emulate.Options
	}{
		{"v9-20cols-24rec", emulate.Options{Exporters: 50}},
		{"v9-20cols-2rec", emulate.Options{Exporters: 50, Records: 2}},
		{"ipfix-20cols-24rec", emulate.Options{Exporters: 50, Mix: emulate.Mix{{Protocol: emulate.IPFIX, Weight: 1}}}},
		{"sflow-20cols-6rec", emulate.Options{Exporters: 50, Mix: emulate.Mix{{Protocol: emulate.SFlow, Weight: 1}}}},
		{"v5-20cols-30rec", emulate.Options{Exporters: 50, Records: 30, Mix: emulate.Mix{{Protocol: emulate.NetFlowV5, Weight: 1}}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := newReplay(b, lane(b, nil, columns20), c.o, 4096, 512)
			for range 2 * len(r.batches) {
				r.next()
			}
			b.ReportAllocs()
			b.ResetTimer()
			records := 0
			for b.Loop() {
				records += r.next()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(records), "ns/record")
			b.ReportMetric(float64(records)/float64(b.N), "records/op")
		})
	}
}

// A batch in a steady stream costs no allocation.
func TestSteadyStreamAllocatesNothing(t *testing.T) {
	mix := emulate.Mix{{Protocol: emulate.NetFlowV5, Weight: 1}, {Protocol: emulate.NetFlowV9, Weight: 1}, {Protocol: emulate.IPFIX, Weight: 1}}
	r := newReplay(t, lane(t, nil, flow.Schema), emulate.Options{Exporters: 50, Mix: mix}, 2048, 512)
	for range 8 * len(r.batches) {
		r.next()
	}
	if n := r.allocations(); n > 0 {
		t.Errorf("%v allocations for a batch of 512 datagrams, want 0", n)
	}
}

// FuzzProcess: whatever two datagrams say, in whatever order, and whenever the clock moves on, the books balance and in the end
// nothing is held or open.
func FuzzProcess(f *testing.F) {
	f.Add(v9(data(256, 1, 2)), v9(template(256)), uint8(0))
	f.Add(v9(template(256), data(256, 1), data(300, 2)), v9(template(300), []byte{1, 0, 0, 3}), uint8(3))
	f.Add([]byte("x"), []byte{}, uint8(1))
	f.Add(sample(), counters(2), uint8(1))
	f.Fuzz(func(t *testing.T, a, b []byte, ticks uint8) {
		c := laneOf(t, nil, sdktest.WithOut(flow.Schema, flow.CountersSchema))
		part := &sdk.Partition{Source: "s", Name: "p"}
		c.give(none, a, b)
		for range ticks % 4 {
			c.tick(time.Second)
		}
		c.give(sdk.Range{Partition: part, First: 1, Last: 1}, b)
		c.give(none, a)
		c.flush(part, true)
		c.flush(nil, true)
		c.give(none, v9(template(500)), v9(data(500, 77)))
		c.flush(nil, true)
		if c.env.Books.Held.Load() != 0 || c.env.Books.Open.Load() != 0 {
			t.Errorf("%d held, %d open after a forced flush", c.env.Books.Held.Load(), c.env.Books.Open.Load())
		}
		if n := len(c.settled); n != 4 {
			t.Errorf("%d of 4 inputs settled", n)
		}
		if !slices.Contains(c.ports, 77) { // perhaps not as the last: what waited for a template comes when there is one
			t.Error("a good datagram was not decoded afterwards")
		}
	})
}

// A batch whose rows carry long values ends by its bytes, not by its rows.
func TestBatchesAreBoundedInBytes(t *testing.T) {
	out := sdk.NewSchema(flow.Columns[flow.Index("frame")].Field)
	c := lane(t, nil, out)
	c.give(none, v9(define(256, 315, 0x8000)))
	for range 3000 {
		c.give(none, v9(formatstest.Set(256, make([]byte, 0x8000))))
	}
	c.flush(nil, true)
	if c.out != 3000 || len(c.sizes) < 3 {
		t.Errorf("%d rows of 32 KiB in %d batches", c.out, len(c.sizes))
	}
}
