// Package expr compiles conditions over the columns of a schema and evaluates them a batch at a time.
//
// The language is that of github.com/expr-lang/expr. [Compile] checks a condition against a schema and says everything that is
// wrong with it as [sdk.Problems], with byte offsets; [Program.Select] gives the rows of a batch for which it holds.
//
// # The language
//
//	and or not ( )                     also && || !
//	== != < <= > >=                    numbers, times; == and != also strings, addresses, MAC addresses
//	in [1, 2, 3]   in 1024..65535      numbers
//	in ["a", "b"]                      strings
//	+ - * / %   bitand(a, b) ...       numbers; / always gives a fraction, and dividing by zero an infinity
//	contains startsWith endsWith       strings
//	matches "^edge-"                   strings; a regular expression in Go's syntax, literal
//
// Columns of integer types are integers of 64 bits (a uint64 above 2^63-1 counts as 2^63-1), float64 columns floats, name and
// text columns strings. The rest is written as a string beside its column:
//
//	src_addr == "10.0.0.1"   src_addr in "10.0.0.0/8"   src_addr in ["10.0.0.0/8", "fe80::/10"]   private(src_addr)
//	src_mac == "00:11:22:33:44:55"
//	flow_start > "2026-01-01T00:00:00Z"   flow_end - flow_start > duration("1s")
//	protocol == "tcp"        (of the column `protocol` only: tcp udp icmp icmp6 gre esp ah sctp ...)
//
// An IPv4 network holds IPv4 addresses only and an IPv6 network IPv6 addresses only: `in "::/0"` says "is IPv6" ("::", the
// address that is not known, included). private is true of RFC 1918 and RFC 4193 addresses.
//
// Everything else that expr-lang can say works too, but for `let`, `;`, `$env` and now(): a condition gives the same answer at
// every reading.
//
// # How it runs
//
// `and`, `or` and `not` work on bitmaps, 64 rows a word. What stands between them is evaluated by a kernel, a loop over a
// column; or, where there is no kernel, by expr's virtual machine: once per distinct value if its only input is a name column or
// an integer column of 8 or 16 bits, else once per row that is still undecided. [Program.Explain] says which. Sides of `and` and
// `or` are evaluated cheapest first.
//
// A comparison that fails while it runs (a % b with b = 0, an index beyond a list) does not hold for that row. Kernels cannot
// fail.
package expr
