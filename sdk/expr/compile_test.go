package expr

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weirflow/weir/sdk"
)

// Guarantees: all faults of an expression are found at once, each with its place and what to do.
func TestProblems(t *testing.T) {
	for text, want := range map[string]sdk.Problems{
		`proto == 6`:    {{Offset: 0, Message: "no column `proto`", Help: "did you mean `protocol`?"}},
		`dst_prt == 53`: {{Offset: 0, Message: "no column `dst_prt`", Help: "did you mean `dst_port`?"}},
		`"é" == note and dst_prt == 53 or src_prt > 1`: {
			{Offset: 17, Message: "no column `dst_prt`", Help: "did you mean `dst_port`?"},
			{Offset: 34, Message: "no column `src_prt`", Help: "did you mean `src_port`?"}},
		`bytes == "x" and src_port < "a" and bytes + 1`: {
			{Offset: 6, Message: "`==` cannot be used between an integer and a string", Help: "numbers are written without quotes, strings in quotes"},
			{Offset: 26, Message: "`<` cannot be used between an integer and a string", Help: "numbers are written without quotes, strings in quotes"},
			{Offset: 42, Message: "`bytes + 1` is not a condition: it is an integer", Help: "compare it with something, as in `bytes > 1000`"}},
		`src_addr == "10.0.0.300" and src_addr in ["x", "10.0.0.0/8"]`: {
			{Offset: 12, Message: `"10.0.0.300" is not an IP address or network`, Help: "write 10.0.0.1, 10.0.0.0/8, 2001:db8::1 or 2001:db8::/32"},
			{Offset: 42, Message: `"x" is not an IP address or network`, Help: "write 10.0.0.1, 10.0.0.0/8, 2001:db8::1 or 2001:db8::/32"}},
		`src_addr == "10.0.0.0/8"`: {{Offset: 12, Message: `"10.0.0.0/8" is a network, not an address`, Help: `src_addr in "10.0.0.0/8"`}},
		`src_addr < "10.0.0.0"`: {{Offset: 9, Message: "`src_addr` is an address: it goes with == and != an address or `in` networks",
			Help: `src_addr in ["10.0.0.0/8", "2001:db8::/32"]`}},
		`bytes == src_addr or flow_start > 5 or src_mac in bytes or note == as_path`: {
			{Offset: 6, Message: "`==` cannot be used between an integer and an address", Help: "an address goes with another address, or with networks, as in src_addr in \"10.0.0.0/8\""},
			{Offset: 32, Message: "`>` cannot be used between a time and an integer", Help: "a time is compared with one such as \"2026-01-01T00:00:00Z\""},
			{Offset: 47, Message: "`src_mac` is a MAC address: it goes with ==, != and `in [...]`", Help: `src_mac == "00:11:22:33:44:55"`},
			{Offset: 64, Message: "`==` cannot be used between a string and a list of integers", Help: "a list is searched with `in`, as in 64512 in as_path"}},
		`src_mac == "00:11"`:           {{Offset: 11, Message: `"00:11" is not a MAC address`, Help: "write 00:11:22:33:44:55"}},
		`src_mac > "00:11:22:33:44:5"`: {{Offset: 8, Message: "`src_mac` is a MAC address: it goes with ==, != and `in [...]`", Help: `src_mac == "00:11:22:33:44:55"`}},
		`flow_start > "yesterday"`:     {{Offset: 13, Message: `"yesterday" is not a time between 1678 and 2262`, Help: "write 2026-01-01T00:00:00Z (RFC 3339) or 2026-01-01"}},
		`flow_start > "1066-10-14"`:    {{Offset: 13, Message: `"1066-10-14" is not a time between 1678 and 2262`, Help: "write 2026-01-01T00:00:00Z (RFC 3339) or 2026-01-01"}},
		`flow_start contains "2026"`:   {{Offset: 11, Message: "`flow_start` is a time: it goes with == != < <= > >=", Help: `flow_start > "2026-01-01T00:00:00Z"`}},
		`protocol == "tpc"`:            {{Offset: 12, Message: `no protocol "tpc"`, Help: "did you mean `tcp`?"}},
		`note matches "("`:             {{Offset: 13, Message: "`(` is not a regular expression: missing closing )", Help: "the syntax is Go's: https://pkg.go.dev/regexp/syntax"}},
		`note matches exporter_name`:   {{Offset: 13, Message: "the pattern of `matches` must be written out as a string", Help: "to compare two columns use `contains`, `startsWith` or `endsWith`"}},
		`privat(src_addr)`:             {{Offset: 0, Message: "no function `privat`", Help: "did you mean `private`?"}},
		`flow_start > now()`:           {{Offset: 13, Message: "now() cannot be used: a condition must give the same answer at every reading", Help: `compare with a time such as "2026-01-01T00:00:00Z"`}},
		`let x = bytes; x > 1`:         {{Offset: 4, Message: "`let` and `;` cannot be used", Help: "write one condition"}},
		`$env["bytes"] == 1`:           {{Offset: 0, Message: "`$env` cannot be used", Help: "name the column itself"}},
		`bytes > `:                     {{Offset: 7, Message: "the expression ends where something is missing", Help: "write what the last operator goes with, and close every bracket"}},
		``:                             {{Offset: 0, Message: "the expression is empty", Help: "write a condition, as in `bytes > 1000`"}},
		`bytes`:                        {{Offset: 0, Message: "`bytes` is not a condition: it is an integer", Help: "compare it with something, as in `bytes > 1000`"}},
		"bytes == \xff":                {{Offset: 0, Message: "the expression is not valid UTF-8", Help: "save the file as UTF-8"}},
		strings.Repeat("x", MaxText+1): {{Offset: 0, Message: "the expression is longer than 64 KiB", Help: "split it over several filters"}},
	} {
		_, err := Compile(sdk.Expr(text), flows, Bool)
		got, _ := errors.AsType[sdk.Problems](err)
		for _, p := range want {
			p.Code = codeExpression
			if strings.HasPrefix(p.Message, "no column") {
				p.Code = codeColumn
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%.80s: (-want +got)\n%s", text, diff)
		}
	}
}

func TestColumns(t *testing.T) {
	for text, want := range map[string][]string{
		`dst_port == 53 and (bytes > 100 or lower(exporter_name) in ["a"])`: {"bytes", "dst_port", "exporter_name"},
		`any(as_path, # > 64511) and private(anything) and dst_port != 1`:   {"anything", "as_path", "dst_port"},
		`src_addr.IsPrivate() and as_path[first] == 1`:                      {"as_path", "first", "src_addr"},
		`true`: nil,
	} {
		got, err := Columns(sdk.Expr(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", text, diff)
		}
	}
	if _, err := Columns(`bytes >`); err == nil {
		t.Error("a broken expression has columns")
	}
}

// Guarantees: what `weir plan` prints of a condition is what is run.
func TestExplain(t *testing.T) {
	p, err := Compile(`lower(exporter_name) == "a" and in_if_name matches "^e" and note == exporter_name and not (dst_port in 1..1023 or bitand(tcp_flags, 2) != 0) and protocol != 300`, flows, Bool)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"always true: protocol != 300",
		"kernel, once per value of in_if_name: in_if_name matches \"^e\"",
		"virtual machine, once per value of exporter_name: lower(exporter_name) == \"a\"",
		"kernel: dst_port in 1..1023",
		"kernel: bitand(tcp_flags, 2) != 0",
		"virtual machine, row by row: note == exporter_name",
	}, "\n")
	if diff := cmp.Diff(want, p.Explain()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if p.Kernels() {
		t.Error("a program with the virtual machine says that it has kernels only")
	}
	if p, _ = Compile(`src_port == 443 and protocol == "tcp" and private(src_addr)`, flows, Bool); !p.Kernels() {
		t.Errorf("no kernel for one of\n%s", p.Explain())
	}
}

// Guarantees: an address is in a set exactly if netip says it is in one of the networks, however many there are.
func TestAddressSets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var set addrSet
		var nets []netip.Prefix
		for range rapid.IntRange(0, 12).Draw(t, "networks") {
			n, err := parseNet(choose(t, someNets))
			if err != nil {
				t.Fatal(err)
			}
			set.add(n)
			nets = append(nets, n.prefix)
		}
		set.seal()
		for _, s := range someAddrs {
			a, want := netip.MustParseAddr(s).Unmap(), false
			for _, p := range nets {
				// ::ffff:0:0/96 is the one IPv6 network that is written to mean IPv4 addresses.
				want = want || p.Contains(a) || p.Addr().Is4In6() && a.Is4()
			}
			if got := set.contains(a.As16()); got != want {
				t.Fatalf("%s in %v: %v, want %v", s, nets, got, want)
			}
		}
	})
}

// Guarantees: the longest and deepest expressions are compiled or refused in a moment.
func TestHostileExpressions(t *testing.T) {
	for name, text := range map[string]string{
		"deep brackets":    strings.Repeat("(", MaxText/2-3) + "1 < 2" + strings.Repeat(")", MaxText/2-3),
		"open brackets":    strings.Repeat("(", MaxText),
		"nots":             strings.Repeat("not ", 4000) + "true",
		"many ands":        strings.Repeat("bytes > 1 and ", 1000) + "true",
		"unknown names":    strings.Repeat("x > 1 and ", 1000) + "true",
		"alternating":      strings.Repeat("(bytes > 1 and (bytes > 2 or ", 500) + "true" + strings.Repeat("))", 500),
		"a long list":      "src_as in [" + strings.Repeat("77, ", 4000) + "1]",
		"a long sum":       strings.Repeat("bytes + ", 2000) + "1 > 2",
		"a long string":    `note == "` + strings.Repeat("x", MaxText-20) + `"`,
		"loops in loops":   "count(1..100000, count(1..100000, # > 1) > 1) > 1",
		"much memory":      `len(repeat(repeat("x", 1000000), 1000000)) > 1`,
		"a huge range":     "bytes in 1..9223372036854775807",
		"a range of items": "len(1..1000000000) > 1",
		"a huge pattern":   `note matches "((((x{1000}){1000}){1000}){1000})"`,
	} {
		start := time.Now()
		p, err := Compile(sdk.Expr(text), flows, Bool)
		if err == nil {
			p.Select(traffic(sdk.NewPool(nil)), nil)
		} else if ps, ok := errors.AsType[sdk.Problems](err); !ok || len(ps) == 0 {
			t.Errorf("%s: %v", name, err)
		}
		if d := time.Since(start); d > 20*time.Second {
			t.Errorf("%s: took %v", name, d)
		}
		t.Logf("%s: %v %.100v", name, time.Since(start), err)
	}
}

// Guarantees: compiling what a stranger wrote neither panics nor hangs; there is a program that runs, or there are problems whose
// places lie in the text; and Columns names what Compile needs.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{`src_port == 443 and protocol == "tcp" and bytes > 1000`, `private(src_addr) or src_addr in ["10.0.0.0/8"]`,
		`exporter_name matches "^edge-"`, `flow_end - flow_start > duration("1s")`, `bitand(tcp_flags, 2) != 0`, `any(as_path, # > 1) ? true : false`,
		`let x = 1; x`, `"é" in note`, `bytes % 0 == 1`, `as_path[9] == 1`, `not not (score / 0 > 1.5e3)`, `src_mac in ["00:11:22:33:44:55"]`, `[1, 2`, `map(1..9, #)`} {
		f.Add(s)
	}
	pool := sdk.NewPool(nil)
	b := pool.Get(flows, 1)
	b.SetRows(1)
	b.Seal()
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Compile(sdk.Expr(text), flows, Bool)
		if err != nil {
			ps, ok := errors.AsType[sdk.Problems](err)
			if !ok || len(ps) == 0 {
				t.Fatalf("not Problems: %v", err)
			}
			for _, p := range ps {
				if p.Offset < 0 || p.Offset > len(text) {
					t.Fatalf("problem %+v in a text of %d bytes", p, len(text))
				}
				readable(t, p)
			}
			return
		}
		if rows := p.Select(b, nil); len(rows) > 1 {
			t.Fatalf("%d rows of 1", len(rows))
		}
		columns, err := Columns(sdk.Expr(text))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range columns {
			if flows.Index(c) < 0 {
				t.Fatalf("column %q", c)
			}
		}
	})
}
