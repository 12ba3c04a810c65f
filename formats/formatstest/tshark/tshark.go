package tshark

import (
	"bytes"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Row is a record: the columns that are not zero, as text. Numbers are decimal, times RFC 3339 in UTC, bytes hexadecimal, the
// numbers of a list separated by spaces.
type Row map[string]string

// Datagram is what tshark reads in one datagram.
type Datagram struct {
	Rows []Row
}

// node is a part of tshark's PDML: a packet, a protocol or a field.
type node struct {
	XMLName  xml.Name
	Name     string `xml:"name,attr"`
	Show     string `xml:"show,attr"`
	ShowName string `xml:"showname,attr"`
	Value    string `xml:"value,attr"`
	Unmasked string `xml:"unmaskedvalue,attr"` // the bytes that a value of some of their bits is taken from
	Kids     []node `xml:",any"`
}

// Hint is what tshark must be told to read a frame within records right: it guesses what a frame does not say, and guesses wrong.
type Hint struct {
	Frame []byte // its beginning, at the least; exporters may pad it
	As    string // what it is, as tshark's option -d has it
}

// Read reads a capture of datagrams: each is of the protocol, cflow or sflow, that ports say for its destination. The test is
// skipped where there is no tshark, and fails if a hint makes no difference.
func Read(t testing.TB, file string, ports map[uint16]string, hints ...Hint) []Datagram {
	t.Helper()
	var args []string
	for _, p := range sortedPorts(ports) {
		args = append(args, "-d", fmt.Sprintf("udp.port==%d,%s", p, ports[p]))
	}
	r := reader{t: t, exporters: map[string]*exporter{}, hints: hints}
	var ds []Datagram
	for _, p := range run(t, file, args...) {
		ds = append(ds, r.packet(&p))
	}
	r.frames()
	return ds
}

func sortedPorts(ports map[uint16]string) (ps []uint16) {
	for p := range 1 << 16 {
		if ports[uint16(p)] != "" {
			ps = append(ps, uint16(p))
		}
	}
	return ps
}

// run is the packets that tshark shows of a file.
func run(t testing.TB, file string, args ...string) []node {
	t.Helper()
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed: it is the independent reader that this test compares with")
	}
	// Names are not looked up; fragments within samples are not put together, and no protocol above theirs is guessed.
	args = append([]string{"-n", "-r", file, "-T", "pdml", "-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE", "-o", "tcp.relative_sequence_numbers:FALSE"}, args...)
	cmd := exec.Command(tshark, args...)
	cmd.Env = append(os.Environ(), "TZ=UTC")
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark does not read %s: %v: %s", file, err, &errs)
	}
	var doc struct {
		Packets []node `xml:"packet"`
	}
	if err := xml.NewDecoder(bytes.NewReader(out)).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	return doc.Packets
}

// reader keeps what exporters have told.
type reader struct {
	t         testing.TB
	exporters map[string]*exporter
	hints     []Hint
	sections  []section // frames within records, which tshark has not looked into
}

// packet reads one.
func (r *reader) packet(p *node) (d Datagram) {
	common := Row{}
	for i := range p.Kids {
		switch proto := &p.Kids[i]; proto.Name {
		case "geninfo":
			seconds, fraction, _ := strings.Cut(proto.find("timestamp").Value, ".")
			s, err := strconv.ParseInt(seconds, 10, 64)
			ns, err2 := strconv.ParseInt(fraction, 10, 64)
			if err != nil || err2 != nil {
				r.t.Fatalf("%q is no time", proto.find("timestamp").Value)
			}
			common.time("received", time.Unix(s, ns))
		case "ip":
			common.addr("exporter_addr", proto.find("ip.src").Value)
		case "ipv6":
			common.addr("exporter_addr", proto.find("ipv6.src").Value)
		case "udp":
			common.number("exporter_port", hexNumber(proto.find("udp.srcport").Value))
		case "cflow":
			r.netflow(&d, proto, common)
			return d // what comes behind it is of packets within its records, which may be of exporters too
		case "sflow":
			r.sflow(&d, proto, common)
			return d
		}
	}
	return d
}

// find is the first field of a name, at any depth; an empty one if there is none.
func (n *node) find(name string) *node {
	if x := n.look(name); x != nil {
		return x
	}
	return &node{}
}

func (n *node) look(name string) *node {
	for i := range n.Kids {
		if n.Kids[i].Name == name {
			return &n.Kids[i]
		}
		if x := n.Kids[i].look(name); x != nil {
			return x
		}
	}
	return nil
}

// walk calls f with all fields below, in order, until it says not to go below one.
func (n *node) walk(f func(*node) (below bool)) {
	for i := range n.Kids {
		if f(&n.Kids[i]) {
			n.Kids[i].walk(f)
		}
	}
}

// hexNumber reads the digits that tshark has as a field's value.
func hexNumber(digits string) uint64 {
	n, err := strconv.ParseUint(digits, 16, 64)
	if err != nil && digits != "" {
		panic(fmt.Sprintf("%q is no number: %v", digits, err)) // tshark's format has changed
	}
	return n
}

func (r Row) number(column string, n uint64) {
	if n != 0 {
		r[column] = strconv.FormatUint(n, 10)
	}
}

func (r Row) addr(column, digits string) {
	b, _ := hex.DecodeString(digits)
	if a, ok := netip.AddrFromSlice(b); ok {
		r[column] = a.String()
	}
}

func (r Row) mac(column, digits string) {
	if hexNumber(digits) == 0 {
		return
	}
	var parts []string
	for ; len(digits) > 1; digits = digits[2:] {
		parts = append(parts, digits[:2])
	}
	r[column] = strings.Join(parts, ":")
}

func (r Row) time(column string, t time.Time) { r[column] = t.UTC().Format(time.RFC3339Nano) }

func (r Row) list(column string, ns []uint64) {
	if len(ns) > 0 {
		r[column] = strings.Trim(fmt.Sprint(ns), "[]")
	}
}

// get is a number of the row, 0 if it is not there.
func (r Row) get(column string) uint64 {
	n, _ := strconv.ParseUint(r[column], 10, 64)
	return n
}

func (r Row) clone() Row { return maps.Clone(r) }
