package sflow_test

import (
	"bytes"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/formats/pcap"
	"github.com/weirflow/weir/formats/sflow"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
	"github.com/weirflow/weir/sdk/sdktest"
)

// datagrams of a capture.
func datagrams(t *testing.T, file string) (gs []sflow.Datagram) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := pcap.NewReader(f)
	for {
		var p pcap.Packet
		err := r.Next(&p)
		if errors.Is(err, io.EOF) {
			return gs
		}
		if err != nil {
			t.Fatal(err)
		}
		var d pcap.Datagram
		if why := pcap.UDP(p.Interface.Link, p.Data, &d); why != 0 {
			t.Fatalf("%s: no datagram: %v", file, why)
		}
		gs = append(gs, sflow.Datagram{Payload: bytes.Clone(d.Payload), Addr: d.Src, Port: d.SrcPort, Received: p.Time})
	}
}

// joined is one capture of those of files, which are little-endian, classic and of Ethernet.
func joined(t *testing.T, files []string) string {
	t.Helper()
	var all []byte
	for i, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) < 24 || i > 0 && !bytes.Equal(b[:4], all[:4]) {
			t.Fatalf("%s is not such a capture", f)
		}
		if i > 0 {
			b = b[24:]
		}
		all = append(all, b...)
	}
	file := filepath.Join(t.TempDir(), "all.pcap")
	if err := os.WriteFile(file, all, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// samples of what tshark shows: by each field's name its values in order, as hexadecimal digits.
func tsharkSamples(t *testing.T, tshark, file string) (samples []map[string][]string) {
	t.Helper()
	out, err := exec.Command(tshark, "-r", file, "-d", "udp.port==6343,sflow", "-T", "pdml").Output()
	if err != nil {
		t.Skipf("tshark does not read %s: %v", file, err)
	}
	agent := ""
	m := map[string][]string(nil) // of the sample; nil before a packet's first
	for d := xml.NewDecoder(bytes.NewReader(out)); ; {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			return samples
		}
		if err != nil {
			t.Fatal(err)
		}
		e, ok := tok.(xml.StartElement)
		if ok && e.Name.Local == "packet" {
			m = nil
		}
		if !ok || e.Name.Local != "field" {
			continue
		}
		var name, show, value string
		for _, a := range e.Attr {
			switch a.Name.Local {
			case "name":
				name = a.Value
			case "show":
				show = a.Value
			case "value":
				value = a.Value
			}
		}
		switch {
		case strings.Contains(strings.ToLower(show), "flow sample, seq"):
			m = map[string][]string{"agent": {agent}}
			samples = append(samples, m)
		case name == "sflow_245.agent":
			agent = value
		case name != "" && m != nil:
			m[name] = append(m[name], value)
		}
	}
}

// dissected are the columns that tshark shows as one field, by its names.
var dissected = []struct {
	column string
	names  []string
}{
	{"exporter_addr", []string{"agent"}}, {"sampling_rate", []string{"sflow.flow_sample.sampling_rate"}}, {"bytes", []string{"sflow_245.header.frame_length"}},
	{"bgp_next_hop", []string{"sflow_245.nexthop"}}, {"next_hop", []string{"sflow_245.nexthop#2"}}, {"src_mask", []string{"sflow_245.nexthop.src_mask"}}, {"dst_mask", []string{"sflow_245.nexthop.dst_mask"}},
	{"src_as", []string{"sflow_245.srcAS"}}, {"prev_as", []string{"sflow_245.peerAS"}}, {"next_as", []string{"sflow_245.dstAS"}}, {"local_pref", []string{"sflow_245.localpref"}}, {"customer_vlan", []string{"vlan.id#2"}},
	{"src_mac", []string{"eth.src"}}, {"dst_mac", []string{"eth.dst"}}, {"src_addr", []string{"ip.src", "ipv6.src"}}, {"dst_addr", []string{"ip.dst", "ipv6.dst"}},
	{"protocol", []string{"ip.proto", "ipv6.nxt"}}, {"tos", []string{"ip.dsfield", "ipv6.tclass"}}, {"ttl", []string{"ip.ttl", "ipv6.hlim"}}, {"fragment_id", []string{"ip.id"}},
	{"flow_label", []string{"ipv6.flow"}}, {"src_port", []string{"tcp.srcport", "udp.srcport"}}, {"dst_port", []string{"tcp.dstport", "udp.dstport"}}, {"tcp_flags", []string{"tcp.flags"}},
	{"icmp_type", []string{"icmp.type", "icmpv6.type"}}, {"icmp_code", []string{"icmp.code", "icmpv6.code"}}, {"etype", []string{"eth.type", "vlan.etype#2"}},
}

// number is the value of the first of tshark's fields that there is; "x#2" is the second of a name.
func number(t *testing.T, m map[string][]string, names ...string) (digits string) {
	t.Helper()
	for _, n := range names {
		n, second := strings.CutSuffix(n, "#2")
		switch v := m[n]; {
		case second && len(v) > 1:
			return v[1]
		case !second && len(v) > 0:
			digits = v[0]
			if n == "eth.type" && len(m["vlan.etype"]) > 0 { // the tag's
				digits = m["vlan.etype"][len(m["vlan.etype"])-1]
			}
			return digits
		}
	}
	return ""
}

// Real exporters' captures: each value of each sample is what tshark reads in the same bytes.
func TestAgreesWithTshark(t *testing.T) {
	dir := sdktest.TestData(t, "flows/sflow")
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed")
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.pcap"))
	shown := tsharkSamples(t, tshark, joined(t, files)) // one start of tshark takes a second
	rows, values := 0, 0
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			tab := formatstest.NewTable(flow.Schema)
			d := sflow.NewDecoder(tab.Out, sflow.Options{}, tab)
			size := 0
			for _, g := range datagrams(t, file) {
				if r := d.Decode(&g); r.Why != sflow.None || r.Bad != sflow.None {
					t.Errorf("%+v", r)
				}
				d.Run()
				size += len(g.Payload)
			}
			if d.Tally.Bytes() != uint64(size) || d.Tally.Skipped[sflow.Trailing] != d.Tally.Bytes()-d.Tally.Header-d.Tally.Decoded {
				t.Errorf("%d bytes accounted for of %d: %+v", d.Tally.Bytes(), size, d.Tally)
			}
			got, want := rowsShown(tab), []map[string]string{}
			n := min(len(got), len(shown))
			samples := shown[:n]
			shown = shown[n:]
			for _, m := range samples {
				w := map[string]string{}
				for _, c := range dissected {
					v := number(t, m, c.names...)
					if v == "" {
						continue
					}
					switch f := flow.Columns[flow.Index(c.column)]; f.Type {
					case sdk.Addr:
						b, _ := hex.DecodeString(v)
						a, _ := netip.AddrFromSlice(b)
						w[c.column] = a.String()
					case sdk.MAC:
						w[c.column] = v
					default:
						n, err := strconv.ParseUint(v, 16, 64)
						if err != nil {
							t.Fatalf("%s: %v", c.column, err)
						}
						if n != 0 {
							w[c.column] = fmt.Sprint(n)
						}
					}
				}
				number := func(names ...string) uint64 { n, _ := strconv.ParseUint(number(t, m, names...), 16, 64); return n }
				in, out := number("sflow.flow_sample.input_interface", "sflow.flow_sample.input_interface_value"), number("sflow.flow_sample.output_interface", "sflow.flow_sample.output_interface_value")
				if in != 0 && in != 0x3fffffff {
					w["in_if"] = fmt.Sprint(in)
				}
				switch {
				case out == 1<<30|1: // host unreachable
					w["forwarding_status"] = "131"
				case out != 0 && out != 0x3fffffff:
					w["out_if"] = fmt.Sprint(out)
				}
				if vlan := number("sflow_245.vlan.in"); vlan != 0 && vlan <= 0xfff {
					w["src_vlan"] = fmt.Sprint(vlan)
				} else if vlan := number("vlan.id"); vlan != 0 {
					w["src_vlan"] = fmt.Sprint(vlan)
				}
				if vlan := number("sflow_245.vlan.out"); vlan != 0 && vlan <= 0xfff {
					w["dst_vlan"] = fmt.Sprint(vlan)
				}
				var numbers []string // of the path, then the communities, which tshark shows by the same name
				for _, v := range m["sflow_245.dstAS"] {
					n, _ := strconv.ParseUint(v, 16, 32)
					numbers = append(numbers, fmt.Sprint(n))
				}
				if path := len(numbers) - int(number("sflow_245.communityEntries")); path > 0 {
					w["dst_as_path"], w["dst_communities"] = strings.Join(numbers[:path], " "), strings.Join(numbers[path:], " ")
					w["dst_as"] = numbers[path-1]
				}
				if w["etype"] == "" { // raw IPv4
					w["etype"] = "2048"
				}
				if length := number("ip.len"); length != 0 {
					w["packet_length"] = fmt.Sprint(length)
				} else {
					w["packet_length"] = fmt.Sprint(number("ipv6.plen") + 40)
				}
				if source := number("sflow.flow_sample.index", "sflow.flow_sample.source_id_index"); fmt.Sprint(source) == w["out_if"] && w["in_if"] != w["out_if"] {
					w["direction"] = "1"
				}
				w["packets"], w["format"] = "1", "sflow"
				want = append(want, w)
				values += len(w)
			}
			for _, g := range got {
				for _, not := range []string{"received", "exported", "flow_start", "flow_end", "exporter_port", "observation_domain", "sequence", "frame"} {
					delete(g, not) // tshark shows them once a datagram, or elsewhere
				}
			}
			rows += len(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-tshark +decoded):\n%s", diff)
			}
		})
	}
	if len(shown) > 0 {
		t.Errorf("tshark shows %d more samples", len(shown))
	}
	if rows < 12 || values < 200 {
		t.Errorf("%d rows and %d values compared, want 12 and 200 at least", rows, values)
	}
}
