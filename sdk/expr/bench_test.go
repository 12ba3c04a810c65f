package expr

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/weirflow/weir/sdk"
)

// traffic is a full batch: 64 exporters, well-known ports on one side of each flow, three protocols.
func traffic(pool *sdk.Pool) *sdk.Batch {
	r := rand.New(rand.NewPCG(1, 2))
	b := pool.Get(flows, sdk.MaxRows)
	col := flows.Index
	names, ports := sdk.NewDict(), []uint16{443, 80, 53, 22, 123, 8080}
	b.SetDict(col("exporter_name"), names)
	for i := range sdk.MaxRows {
		src, dst := ports[r.IntN(6)], uint16(r.IntN(65536))
		if r.IntN(2) == 0 {
			src, dst = dst, src
		}
		packets := uint64(r.IntN(1000) + 1)
		name, _ := names.Intern(fmt.Sprintf("%s-%04d.example.net", []string{"core", "edge", "edge", "edge"}[r.IntN(4)], r.IntN(64)))
		sdk.Claim[uint16](b, col("src_port"), i, 1)[0] = src
		sdk.Claim[uint16](b, col("dst_port"), i, 1)[0] = dst
		sdk.Claim[uint8](b, col("protocol"), i, 1)[0] = []uint8{6, 6, 6, 17, 17, 1}[r.IntN(6)]
		sdk.Claim[uint8](b, col("tcp_flags"), i, 1)[0] = uint8(r.IntN(64))
		sdk.Claim[uint64](b, col("packets"), i, 1)[0] = packets
		sdk.Claim[uint64](b, col("bytes"), i, 1)[0] = packets * uint64(r.IntN(1400)+64)
		sdk.Claim[uint16](b, col("exporter_name"), i, 1)[0] = name
		sdk.Claim[[16]byte](b, col("src_addr"), i, 1)[0] = [16]byte{10: 0xff, 11: 0xff, 12: []byte{10, 192, 172, 8}[r.IntN(4)], 13: byte(r.IntN(256)), 14: byte(r.IntN(256)), 15: byte(r.IntN(256))}
		b.SetBytes(col("note"), i, []byte(names.Values()[name]))
	}
	b.SetRows(sdk.MaxRows)
	b.Seal()
	return b
}

var benchmarked = []struct{ name, text string }{
	{"three comparisons", `src_port == 443 and protocol == 6 and bytes > 1000`},
	{"three that hold often", `src_port > 50 and protocol != 1 and bytes > 1000`},
	{"regexp on a name", `exporter_name matches "^edge-"`},
	{"strings on a text", `note startsWith "edge-"`},
	{"ranges of ports", `(src_port in 1..1023 or dst_port in 1..1023) and protocol not in [1, 58]`},
	{"ratio", `bytes / packets >= 64`},
	{"bits", `bitand(tcp_flags, 2) != 0`},
	{"network", `src_addr in "10.0.0.0/8" and protocol == "udp"`},
	{"private", `private(src_addr)`},
	{"ten networks", `src_addr in ["1.0.0.0/8", "3.0.0.0/8", "5.0.0.0/8", "7.0.0.0/8", "9.0.0.0/8", "11.0.0.0/8", "10.0.0.0/8", "13.0.0.0/8", "172.0.0.0/8", "fe80::/10"]`},
	{"machine on a name", `lower(exporter_name) contains "edge-00"`},
	{"machine row by row", `note == exporter_name`},
}

func BenchmarkSelect(b *testing.B) {
	batch := traffic(sdk.NewPool(nil))
	for _, c := range benchmarked {
		b.Run(c.name, func(b *testing.B) {
			p, err := Compile(sdk.Expr(c.text), flows, Bool)
			if err != nil {
				b.Fatal(err)
			}
			rows := p.Select(batch, nil)
			b.ReportAllocs()
			for b.Loop() {
				rows = p.Select(batch, rows[:0])
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/sdk.MaxRows, "ns/record")
			b.ReportMetric(float64(len(rows))/sdk.MaxRows, "kept")
		})
	}
}

func BenchmarkCompile(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile(sdk.Expr(benchmarked[0].text), flows, Bool); err != nil {
			b.Fatal(err)
		}
	}
}

// Guarantees: a batch costs no allocation once the rows have their capacity and the names have been met, unless the virtual
// machine runs row by row.
func TestSelectDoesNotAllocate(t *testing.T) {
	batch := traffic(sdk.NewPool(nil))
	for _, c := range benchmarked[:len(benchmarked)-1] {
		p, err := Compile(sdk.Expr(c.text), flows, Bool)
		if err != nil {
			t.Fatal(err)
		}
		rows := p.Select(batch, nil)
		if n := testing.AllocsPerRun(10, func() { rows = p.Select(batch, rows[:0]) }); n != 0 {
			t.Errorf("%s: %v allocations a batch, want 0", c.name, n)
		}
	}
}
