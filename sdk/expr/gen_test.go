package expr

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"strings"

	"pgregory.net/rapid"

	"github.com/weirflow/weir/sdk"
)

// flows is a schema with a column of every type.
var flows = sdk.NewSchema(
	sdk.Field{Name: "protocol", Type: sdk.Uint8},
	sdk.Field{Name: "tcp_flags", Type: sdk.Uint8},
	sdk.Field{Name: "src_port", Type: sdk.Uint16},
	sdk.Field{Name: "dst_port", Type: sdk.Uint16},
	sdk.Field{Name: "src_as", Type: sdk.Uint32},
	sdk.Field{Name: "bytes", Type: sdk.Uint64},
	sdk.Field{Name: "packets", Type: sdk.Uint64},
	sdk.Field{Name: "delta", Type: sdk.Int64},
	sdk.Field{Name: "score", Type: sdk.Float64},
	sdk.Field{Name: "flow_start", Type: sdk.Timestamp},
	sdk.Field{Name: "flow_end", Type: sdk.Timestamp},
	sdk.Field{Name: "src_addr", Type: sdk.Addr},
	sdk.Field{Name: "dst_addr", Type: sdk.Addr},
	sdk.Field{Name: "src_mac", Type: sdk.MAC},
	sdk.Field{Name: "dst_mac", Type: sdk.MAC},
	sdk.Field{Name: "exporter_name", Type: sdk.Name},
	sdk.Field{Name: "in_if_name", Type: sdk.Name},
	sdk.Field{Name: "note", Type: sdk.Text},
	sdk.Field{Name: "payload", Type: sdk.Bytes},
	sdk.Field{Name: "as_path", Type: sdk.Uint32s},
)

// Values that expressions and batches share, so that comparisons hold now and then; the edges of each type among them.
var (
	someInts  = []uint64{0, 1, 2, 6, 17, 53, 127, 128, 255, 256, 443, 1023, 1024, 65535, 65536, math.MaxUint32, math.MaxUint32 + 1, 1 << 53, math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64}
	someAddrs = []string{"::", "10.0.0.1", "10.255.255.255", "11.0.0.0", "192.168.1.1", "172.16.0.1", "172.32.0.0", "0.0.0.0", "255.255.255.255", "2001:db8::1", "fe80::1", "fc00::5", "::1", "::fffe:1:1", "::1:0:0:0", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}
	someNets  = []string{"10.0.0.0/8", "10.0.0.1", "0.0.0.0/0", "::/0", "fe80::/10", "192.168.0.0/16", "2001:db8::/32", "::/64", "::fffe:0:0/95", "172.16.0.0/12", "10.0.0.0/31", "8000::/1", "::ffff:0:0/96", "2001:db8::1/128"}
	someTimes = []string{"1970-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00.000000001Z", "1969-12-31T23:59:59Z", "2026-01-02"}
	someNanos = []int64{0, 1767225600e9, 1767225600e9 + 1, -1e9, 1767312000e9, 12345, math.MinInt64, math.MaxInt64}
	someMACs  = []string{"00:11:22:33:44:55", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"}
	someNames = []string{"", "edge-1", "edge-2", "core-1", "EDGE-1", "é", "a b"}
)

func choose[T any](t *rapid.T, from []T) T { return from[rapid.IntRange(0, len(from)-1).Draw(t, "i")] }

// condition writes a random condition whose evaluation cannot fail.
func condition(t *rapid.T, depth int) string {
	if depth > 0 {
		switch rapid.IntRange(0, 5).Draw(t, "logic") {
		case 0, 1:
			return "(" + condition(t, depth-1) + " and " + condition(t, depth-1) + ")"
		case 2:
			return "(" + condition(t, depth-1) + " or " + condition(t, depth-1) + ")"
		case 3:
			return "not (" + condition(t, depth-1) + ")"
		}
	}
	return leaf(t, rapid.IntRange(0, kinds-1).Draw(t, "leaf"))
}

// kinds of leaves.
const kinds = 25

// leaf writes a comparison of one kind.
func leaf(t *rapid.T, kind int) string {
	op := choose(t, []string{"==", "!=", "<", "<=", ">", ">="})
	eq := choose(t, []string{"==", "!="})
	ints := []string{"protocol", "tcp_flags", "src_port", "dst_port", "src_as", "bytes", "packets", "delta"}
	not := choose(t, []string{"", "not "})
	list := func(from []string, quote string) string {
		var s []string
		for range rapid.IntRange(1, 9).Draw(t, "n") {
			s = append(s, quote+choose(t, from)+quote)
		}
		return "[" + strings.Join(s, ", ") + "]"
	}
	str := choose(t, []string{"exporter_name", "in_if_name", "note"})
	switch kind {
	case 0, 1, 2:
		return fmt.Sprintf("%s %s %s", choose(t, ints), op, number(t))
	case 3:
		return fmt.Sprintf("%s %s %s", number(t), op, choose(t, ints))
	case 4:
		return fmt.Sprintf("%s %sin %s..%s", choose(t, ints), not, number(t), number(t))
	case 5:
		var s []string
		for range rapid.IntRange(1, 12).Draw(t, "n") {
			s = append(s, number(t))
		}
		return fmt.Sprintf("%s %sin [%s]", choose(t, ints), not, strings.Join(s, ", "))
	case 6:
		return fmt.Sprintf("%s %s %s", integer(t, 2), op, integer(t, 2))
	case 7:
		return fmt.Sprintf("%s %s %s", fraction(t, 2), op, fraction(t, 2))
	case 8:
		return fmt.Sprintf("%s %s %q", str, eq, choose(t, someNames))
	case 9:
		return fmt.Sprintf("%s %s%s %q", str, not, choose(t, []string{"contains", "startsWith", "endsWith"}), choose(t, []string{"", "edge", "-1", "é", "x"}))
	case 10:
		return fmt.Sprintf("%s %smatches %q", str, not, choose(t, []string{"^edge-", "1$", "(?i)edge", ".", "^$"}))
	case 11:
		return fmt.Sprintf("%s %sin %s", str, not, list(someNames, `"`))
	case 12:
		return fmt.Sprintf("lower(%s) %s %q", str, eq, choose(t, someNames))
	case 13:
		return fmt.Sprintf("src_addr %s %q", eq, choose(t, someAddrs))
	case 14:
		return fmt.Sprintf("dst_addr %sin %s", not, list(someNets, `"`))
	case 15:
		return choose(t, []string{"private(src_addr)", "src_addr == dst_addr", "src_addr != dst_addr", "src_mac != dst_mac", "in_if_name == exporter_name", "len(note) > 2", "private(src_addr) ? bytes > 5 : dst_port == 53"})
	case 16:
		return fmt.Sprintf("src_mac %s %q", eq, choose(t, someMACs))
	case 17:
		return fmt.Sprintf("flow_start %s %q", op, choose(t, someTimes))
	case 18:
		return fmt.Sprintf("flow_end - flow_start %s duration(%q)", op, choose(t, []string{"0s", "1ns", "24h", "-1s"}))
	case 19:
		return fmt.Sprintf("protocol %s %s", eq, choose(t, []string{`"tcp"`, `"udp"`, "6"}))
	case 20:
		return fmt.Sprintf("%s %sin as_path", number(t), not)
	case 21:
		return fmt.Sprintf("len(%s) %s %d", choose(t, []string{"as_path", "payload"}), op, rapid.IntRange(0, 4).Draw(t, "len"))
	case 22:
		return fmt.Sprintf("%s %s %q", str, op, choose(t, someNames))
	case 23: // by the virtual machine, once for each value of a small column
		return fmt.Sprintf("string(%s) %s %q", choose(t, []string{"protocol", "src_port", "src_as"}), op, choose(t, []string{"", "6", "53", "65535"}))
	}
	return fmt.Sprintf("any(as_path, # > %d)", rapid.IntRange(0, 300).Draw(t, "as"))
}

func number(t *rapid.T) string {
	k := choose(t, someInts[:19])
	return choose(t, []string{"", "", "-"}) + fmt.Sprint(k)
}

func integer(t *rapid.T, depth int) string {
	if depth == 0 || rapid.Bool().Draw(t, "column") {
		return choose(t, []string{"protocol", "src_port", "src_as", "bytes", "packets", "delta", number(t), "len(as_path)"})
	}
	l, r := integer(t, depth-1), integer(t, depth-1)
	switch op := choose(t, []string{"+", "-", "*", "%", "bitand", "bitor", "bitxor"}); op {
	case "%":
		return fmt.Sprintf("(%s) %% %d", l, choose(t, []int{1, 2, 7, 1000}))
	case "bitand", "bitor", "bitxor":
		return fmt.Sprintf("%s(%s, %s)", op, l, r)
	default:
		return fmt.Sprintf("(%s %s %s)", l, op, r)
	}
}

func fraction(t *rapid.T, depth int) string {
	if depth == 0 || rapid.Bool().Draw(t, "column") {
		return choose(t, []string{"score", "1.5", "-2.25", "bytes", "src_port", "0.0"})
	}
	return fmt.Sprintf("(%s %s %s)", fraction(t, depth-1), choose(t, []string{"+", "-", "*", "/"}), fraction(t, depth-1))
}

// dicts are shared by the batches of one run, as a lane's are.
type dicts struct{ all []*sdk.Dict }

func (d *dicts) choose(t *rapid.T) *sdk.Dict {
	if len(d.all) == 0 || len(d.all) < 3 && rapid.Bool().Draw(t, "new dict") {
		d.all = append(d.all, sdk.NewDict())
	}
	return choose(t, d.all)
}

// randomBatch fills some columns and leaves the others zero.
func randomBatch(t *rapid.T, pool *sdk.Pool, s *sdk.Schema, d *dicts) *sdk.Batch {
	n := choose(t, []int{0, 1, 63, 64, 65, 130, 300})
	b := pool.Get(s, n)
	seed := rapid.Uint64().Draw(t, "rows")
	next := func(k int) int { // cheap randomness: drawing each value would be slow
		seed = seed*6364136223846793005 + 1442695040888963407
		return int(seed >> 33 % uint64(k))
	}
	for i, f := range s.Fields() {
		if n == 0 || rapid.IntRange(0, 7).Draw(t, "untouched") == 0 {
			continue
		}
		switch f.Type {
		case sdk.Uint8:
			for j := range n {
				sdk.Claim[uint8](b, i, j, 1)[0] = uint8(someInts[next(9)])
			}
		case sdk.Uint16:
			for j := range n {
				sdk.Claim[uint16](b, i, j, 1)[0] = uint16(someInts[next(14)])
			}
		case sdk.Uint32:
			for j := range n {
				sdk.Claim[uint32](b, i, j, 1)[0] = uint32(someInts[next(16)])
			}
		case sdk.Uint64:
			for j := range n {
				sdk.Claim[uint64](b, i, j, 1)[0] = someInts[next(len(someInts))]
			}
		case sdk.Int64:
			for j := range n {
				sdk.Claim[int64](b, i, j, 1)[0] = int64(someInts[next(len(someInts))]) * int64(1-2*next(2))
			}
		case sdk.Float64:
			for j := range n {
				sdk.Claim[float64](b, i, j, 1)[0] = []float64{0, 1.5, -2.25, math.Inf(1), math.NaN(), 443, 1e300}[next(7)]
			}
		case sdk.Timestamp:
			for j := range n {
				sdk.Claim[int64](b, i, j, 1)[0] = someNanos[next(len(someNanos))]
			}
		case sdk.Addr:
			for j := range n {
				sdk.Claim[[16]byte](b, i, j, 1)[0] = netip.MustParseAddr(someAddrs[next(len(someAddrs))]).As16()
			}
		case sdk.MAC:
			for j := range n {
				sdk.Claim[uint64](b, i, j, 1)[0] = []uint64{0, 0x001122334455, 0xffffffffffff, 5}[next(4)]
			}
		case sdk.Name:
			dict := d.choose(t)
			b.SetDict(i, dict)
			for j := range n {
				x, _ := dict.Intern(someNames[next(len(someNames))])
				sdk.Claim[uint16](b, i, j, 1)[0] = x
			}
		case sdk.Text:
			for j := range n {
				b.SetBytes(i, j, []byte(someNames[next(len(someNames))]))
			}
		case sdk.Bytes:
			for j := range n {
				b.SetBytes(i, j, make([]byte, next(4)))
			}
		case sdk.Uint32s:
			for j := range n {
				var l []byte
				for range next(4) {
					l = binary.LittleEndian.AppendUint32(l, uint32(someInts[next(15)]))
				}
				b.SetBytes(i, j, l)
			}
		}
	}
	b.SetRows(n)
	b.Seal()
	return b
}
