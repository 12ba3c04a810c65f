package emulate_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/emulate"
	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/formats/netflow"
)

// layouts reads the templates of a datagram of a flood: each layout, and its number.
func layouts(t testing.TB, p []byte) (found []string, ids []uint16) {
	t.Helper()
	at := 20
	if p[1] == 10 {
		at = 16
	}
	if n := int(binary.BigEndian.Uint16(p[at+2:])); at+n != len(p) {
		t.Fatalf("the set has %d bytes of %d", n, len(p)-at)
	}
	for at += 4; at < len(p); {
		n := 4 * int(binary.BigEndian.Uint16(p[at+2:]))
		ids = append(ids, binary.BigEndian.Uint16(p[at:]))
		found = append(found, string(p[at+4:at+4+n]))
		at += 4 + n
	}
	return found, ids
}

// A flood has the rate that was asked for, no layout twice in all parts together, comes from the share of exporters that was asked for,
// and leaves the flows as they are.
func TestFlood(t *testing.T) {
	for _, c := range []struct {
		rate, parts int
		share       float64
		exporters   int // of the ten that have templates
	}{{50_000, 1, 1, 10}, {50_000, 3, 0.5, 5}, {20, 1, 0.01, 1}, {333, 2, 0.3, 3}} {
		t.Run(fmt.Sprintf("%d a second, %d parts, %v", c.rate, c.parts, c.share), func(t *testing.T) {
			seen, from := map[string]bool{}, map[[16]byte]bool{}
			flows, want, templates := 0, 0, 0
			for part := range c.parts {
				e := network(t, func(o *emulate.Options) {
					o.Flood, o.FloodShare, o.Part, o.Parts = c.rate, c.share, part, c.parts
				})
				plain := network(t, func(o *emulate.Options) { o.Part, o.Parts = part, c.parts })
				for ms := range int64(1000) { // a datagram of the plain network each millisecond
					at := start.UnixNano() + ms*1e6
					for e.FloodDue(at) {
						p, d := e.Append(nil, at, 0)
						found, ids := layouts(t, p)
						if len(found) != d.Templates || d.Records != 0 || len(e.Flows()) != 0 || len(p) > 1472 {
							t.Fatalf("%d templates in %d bytes; said were %d, and %d records", len(found), len(p), d.Templates, d.Records)
						}
						for i, f := range found {
							if seen[f] || ids[i] < 1024 {
								t.Fatalf("template %d has a layout that was there before", ids[i])
							}
							seen[f] = true
						}
						from[d.Exporter] = true
						templates += d.Templates
					}
					_, d := e.Append(nil, at, 0)
					_, x := plain.Append(nil, at, 0)
					flows, want = flows+d.Records, want+x.Records
				}
			}
			if diff := math.Abs(float64(templates - c.rate)); diff > 0.02*float64(c.rate)+float64(c.parts) {
				t.Errorf("%d templates in a second of %d a second", templates, c.rate)
			}
			if len(from) != c.exporters || flows != want {
				t.Errorf("%d exporters flood, want %d; %d flows, %d without the flood", len(from), c.exporters, flows, want)
			}
		})
	}
}

// A flood that was not asked for ten seconds goes on with one second's worth.
func TestFloodCatchesUpASecond(t *testing.T) {
	e := network(t, func(o *emulate.Options) { o.Flood = 1000 })
	n, at := 0, start.Add(10*time.Second).UnixNano()
	for e.FloodDue(at) {
		_, d := e.Append(nil, at, 0)
		n += d.Templates
	}
	if n < 990 || n > 1000 {
		t.Errorf("%d templates after ten seconds' standstill, want a second's 1000", n)
	}
}

// To a decoder with limits, a flood from one exporter of ten costs the others nothing: not a flow, not a number.
func TestFloodLeavesOthersAlone(t *testing.T) {
	limits := netflow.Limits{Exporters: 100, PerExporter: 50, Templates: 500, Age: time.Hour}
	e := network(t, func(o *emulate.Options) { o.Flood, o.FloodShare = 100_000, 0.1 })
	c := formatstest.NewCollector(limits)
	written, flooders, templates := map[[16]byte]int{}, map[[16]byte]bool{}, 0
	at := start.UnixNano()
	for i := range 4000 {
		if i%4 == 0 {
			at += int64(time.Millisecond)
		}
		p, d := e.Append(nil, at, 0)
		c.Take(p, d.Exporter, d.Port, at)
		written[d.Exporter] += d.Records
		if templates += d.Templates; d.Templates > 0 {
			flooders[d.Exporter] = true
		}
	}
	if templates < 30_000 || len(flooders) != 1 {
		t.Fatalf("%d templates of %d exporters", templates, len(flooders))
	}
	for addr := range flooders { // what it does to its own is its own matter
		delete(written, addr)
		delete(c.Rows, addr)
	}
	if diff := cmp.Diff(written, c.Rows); diff != "" {
		t.Errorf("flows of the others (-written +decoded):\n%s", diff)
	}
	if flows, datagrams := c.Lost(at); flows+datagrams > 0 {
		t.Errorf("%d flows and %d datagrams are missing", flows, datagrams)
	}
	if exporters, kept, _ := c.Store.Size(); kept > limits.Templates || exporters > limits.Exporters {
		t.Errorf("%d templates of %d exporters are kept", kept, exporters)
	}
}

// Options that no network can have are refused, each by its name.
func TestImpairmentsRefused(t *testing.T) {
	for _, c := range []struct {
		o    emulate.Options
		want string
	}{
		{emulate.Options{Loss: 0.95}, "emulate: Loss is 0.95 and must be from 0 to 0.9"},
		{emulate.Options{Loss: math.NaN()}, "emulate: Loss is NaN and must be from 0 to 0.9"},
		{emulate.Options{DistinctDomains: true, Exporters: 1000, Domains: 66, Mix: emulate.Mix{{Protocol: emulate.NetFlowV5, Weight: 1}}}, "emulate: Exporters x Domains of NetFlow v5 with DistinctDomains is 66000 and must be from 1 to 65535"},
		{emulate.Options{Flood: -1}, "emulate: Flood is -1 and must be from 0 to 10000000"},
		{emulate.Options{Flood: 1, FloodShare: 2}, "emulate: FloodShare is 2 and must be more than 0 and 1 at most"},
		{emulate.Options{Flood: 1, Mix: emulate.Mix{{Protocol: emulate.SFlow, Weight: 1}}}, "emulate: Flood is 1, and the mix [sflow] has no protocol with templates"},
	} {
		if _, err := emulate.New(c.o); err == nil || err.Error() != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

// A flood allocates nothing but to grow what it is written to.
func TestFloodAllocates(t *testing.T) {
	e := network(t, func(o *emulate.Options) { o.Flood = emulate.MaxFlood })
	buf, at := make([]byte, 0, 4096), start.UnixNano()
	if n := testing.AllocsPerRun(1000, func() {
		at += int64(time.Millisecond)
		var d emulate.Datagram
		if buf, d = e.Append(buf[:0], at, 0); d.Templates == 0 {
			t.Fatal("no flood")
		}
	}); n > 0 {
		t.Errorf("%v allocations a datagram", n)
	}
}

func BenchmarkFlood(b *testing.B) {
	e := network(b, func(o *emulate.Options) { o.Flood = emulate.MaxFlood })
	buf, at, n := make([]byte, 0, 4096), start.UnixNano(), 0
	b.ReportAllocs()
	for b.Loop() {
		at += int64(time.Millisecond)
		var d emulate.Datagram
		buf, d = e.Append(buf[:0], at, 0)
		n += d.Templates
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/template")
}
