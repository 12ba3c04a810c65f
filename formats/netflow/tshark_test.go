package netflow_test

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/formats/netflow"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
	"github.com/weirflow/weir/sdk/sdktest"
)

// captures, in the order in which their exporters sent them: templates first.
var captures = []string{"options-template", "options-data", "template", "data", "icmp-template", "icmp-data", "mpls", "nat", "nfv5",
	"physicalinterfaces", "datalink-template", "datalink-data", "data+templates", "data+templates"}

// packet is one frame of a capture.
type packet struct {
	frame   []byte
	seconds uint32
	micros  uint32
}

// readPcap reads a little-endian classic capture of Ethernet frames.
func readPcap(t *testing.T, file string) (ps []packet) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	if len(b) < 24 || le.Uint32(b) != 0xa1b2c3d4 {
		t.Fatalf("%s is not a little-endian capture with microseconds", file)
	}
	for b = b[24:]; len(b) >= 16; {
		n := le.Uint32(b[8:])
		ps = append(ps, packet{b[16 : 16+n], le.Uint32(b), le.Uint32(b[4:])})
		b = b[16+n:]
	}
	return ps
}

// datagram of a frame: Ethernet, IPv4, UDP.
func (p packet) datagram(t *testing.T) netflow.Datagram {
	t.Helper()
	if len(p.frame) < 42 || p.frame[12] != 8 || p.frame[13] != 0 || p.frame[23] != 17 {
		t.Fatal("not UDP over IPv4 over Ethernet")
	}
	ip := p.frame[14:]
	udp := ip[int(ip[0]&15)*4:]
	d := netflow.Datagram{Payload: udp[8:be.Uint16(udp[4:])], Port: be.Uint16(udp), Received: int64(p.seconds)*1e9 + int64(p.micros)*1e3}
	d.Addr[10], d.Addr[11] = 0xff, 0xff
	copy(d.Addr[12:], ip[12:16])
	return d
}

// writePcap writes frames as one capture.
func writePcap(t *testing.T, file string, ps []packet) {
	t.Helper()
	le := binary.LittleEndian
	var b []byte
	for _, v := range []uint32{0xa1b2c3d4, 4<<16 | 2, 0, 0, 1 << 18, 1} {
		b = le.AppendUint32(b, v)
	}
	for _, p := range ps {
		for _, v := range []uint32{p.seconds, p.micros, uint32(len(p.frame)), uint32(len(p.frame))} {
			b = le.AppendUint32(b, v)
		}
		b = append(b, p.frame...)
	}
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// pdml is tshark's XML.
type pdml struct {
	Name   string `xml:"name,attr"`
	Show   string `xml:"show,attr"`
	Value  string `xml:"value,attr"`
	Fields []pdml `xml:"field"`
	Protos []pdml `xml:"proto"`
}

// flows finds the records: fields that show "Flow 1", "pdu 1/30", ...
func (p *pdml) flows(f func(map[string][]string)) {
	if strings.HasPrefix(p.Show, "Flow ") || strings.HasPrefix(p.Show, "pdu ") {
		m := map[string][]string{}
		p.collect(m)
		f(m)
		return
	}
	for i := range p.Fields {
		p.Fields[i].flows(f)
	}
	for i := range p.Protos {
		p.Protos[i].flows(f)
	}
}

func (p *pdml) collect(m map[string][]string) {
	for i := range p.Fields {
		x := &p.Fields[i]
		if x.Value != "" {
			m[x.Name] = append(m[x.Name], x.Value)
		}
		x.collect(m)
	}
}

// dissected are the columns that tshark shows as the bytes of one field, by its names in order of the table's preference.
var dissected = []struct {
	column string
	names  []string
}{
	{"src_addr", []string{"cflow.srcaddr", "cflow.srcaddrv6"}}, {"dst_addr", []string{"cflow.dstaddr", "cflow.dstaddrv6"}},
	{"next_hop", []string{"cflow.nexthop", "cflow.nexthopv6"}}, {"bgp_next_hop", []string{"cflow.bgpnexthop", "cflow.bgpnexthopv6"}},
	{"src_port", []string{"cflow.srcport"}}, {"dst_port", []string{"cflow.dstport"}}, {"protocol", []string{"cflow.protocol"}},
	{"tos", []string{"cflow.tos"}}, {"tcp_flags", []string{"cflow.tcpflags"}}, {"bytes", []string{"cflow.octets"}}, {"packets", []string{"cflow.packets"}},
	{"in_if", []string{"cflow.inputint", "cflow.ingress_physical_interface"}}, {"out_if", []string{"cflow.outputint", "cflow.egress_physical_interface"}},
	{"src_as", []string{"cflow.srcas"}}, {"dst_as", []string{"cflow.dstas"}}, {"src_mask", []string{"cflow.srcmask", "cflow.srcmaskv6"}}, {"dst_mask", []string{"cflow.dstmask", "cflow.dstmaskv6"}},
	{"direction", []string{"cflow.direction"}}, {"in_vrf", []string{"cflow.ingress_vrfid"}}, {"out_vrf", []string{"cflow.egress_vrfid"}},
	{"src_addr_nat", []string{"cflow.post_natsource_ipv4_address"}}, {"dst_addr_nat", []string{"cflow.post_natdestination_ipv4_address"}},
	{"src_port_nat", []string{"cflow.post_naptsource_transport_port"}}, {"dst_port_nat", []string{"cflow.post_naptdestination_transport_port"}}, {"nat_event", []string{"cflow.nat_event"}},
	{"src_vlan", []string{"cflow.dot1q_vlan_id"}}, {"dst_vlan", []string{"cflow.post_dot1q_vlan_id"}}, {"customer_vlan", []string{"cflow.dot1q_customer_vlan_id"}},
	{"src_mac", []string{"cflow.srcmac"}}, {"flow_label", []string{"cflow.ipv6flowlabel"}},
}

// Real exporters' captures: each value of each record is what tshark reads in the same bytes.
func TestAgreesWithTshark(t *testing.T) {
	dir := sdktest.TestData(t, "flows/netflow")
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed")
	}
	var ps []packet
	for _, c := range captures {
		ps = append(ps, readPcap(t, filepath.Join(dir, c+".pcap"))...)
	}
	file := filepath.Join(t.TempDir(), "all.pcap")
	writePcap(t, file, ps)
	xmlOut, err := exec.Command(tshark, "-r", file, "-d", "udp.port==2100,cflow", "-d", "udp.port==9990,cflow", "-T", "pdml").Output()
	if err != nil {
		t.Skipf("tshark does not read the captures: %v", err)
	}
	var doc struct {
		Packets []pdml `xml:"packet"`
	}
	if err := xml.Unmarshal(xmlOut, &doc); err != nil {
		t.Fatal(err)
	}
	if len(doc.Packets) != len(ps) {
		t.Fatalf("tshark shows %d packets of %d", len(doc.Packets), len(ps))
	}

	d := (*netflow.Decoder)(nil)
	store := netflow.NewStore(netflow.DefaultLimits)
	total := 0
	for i, p := range ps {
		tab := formatstest.NewTable(flow.Schema)
		d = netflow.NewDecoder(store, tab.Out, netflow.Options{}, tab)
		g := p.datagram(t)
		r := d.Decode(&g)
		d.Run()
		if r.Why != netflow.None || r.Bad != netflow.None || d.Tally.Bytes() != uint64(len(g.Payload)) {
			t.Errorf("%s: %+v, %d bytes accounted for of %d", captures[i], r, d.Tally.Bytes(), len(g.Payload))
		}
		var want []string
		doc.Packets[i].flows(func(m map[string][]string) {
			if m["cflow.sampling_interval"] != nil && m["cflow.protocol"] == nil || m["cflow.scope_system"] != nil || m["cflow.selector_algorithm"] != nil {
				return // options
			}
			var row strings.Builder
			for _, c := range dissected {
				f := flow.Columns[flow.Index(c.column)]
				v := make([]byte, f.Type.Width())
				for _, name := range c.names {
					if x := m[name]; x != nil && allZero(v) {
						b, err := hex.DecodeString(x[len(x)-1])
						if err != nil {
							t.Fatal(err)
						}
						v = widenTo(b, f.Type)
					}
				}
				fmt.Fprintf(&row, "%s=%x ", c.column, oneZero(v))
			}
			want = append(want, row.String())
		})
		var got []string
		for _, b := range tab.Batches() {
			for j := range b.Rows() {
				var row strings.Builder
				for _, c := range dissected {
					fmt.Fprintf(&row, "%s=%x ", c.column, oneZero(cell(b, flow.Index(c.column), j)))
				}
				got = append(got, row.String())
			}
		}
		if len(r.Unknown) > 0 {
			// Data in front of its template: tshark reads it in the second pass, so do we when it comes again.
			if captures[i] != "data+templates" || i == len(ps)-1 {
				t.Errorf("%s: unknown sets %v", captures[i], r.Unknown)
			}
			continue
		}
		total += len(got)
		if captures[i] == "datalink-data" { // tshark leaves the frame as it is
			want = []string{"src_addr=00000000000000000000ffff33333333 dst_addr=00000000000000000000ffff34343434", " src_port=d8cd dst_port=2e01 protocol=11",
				" bytes=0000000000000060 packets=0000000000000001 in_if=00000246", " src_vlan=00e7 ", " src_mac=0000b402165592f4 "}
			for _, w := range want {
				if len(got) != 1 || !strings.Contains(got[0], w) {
					t.Errorf("%s: %q is not in %q", captures[i], w, got)
				}
			}
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-tshark +decoded):\n%s", captures[i], diff)
		}
	}
	if total < 60 {
		t.Errorf("%d records compared, want 60 at least", total)
	}
}

// oneZero makes the zero address of one family that of the other: a template with both says neither.
func oneZero(v []byte) []byte {
	if allZero(v) {
		clear(v)
	}
	return v
}

func allZero(b []byte) bool {
	for i, x := range b {
		if x != 0 && !(len(b) == 16 && (i == 10 || i == 11)) {
			return false
		}
	}
	return true
}

// widenTo makes b, as it was on the wire, the big-endian bytes of a column's value.
func widenTo(b []byte, t sdk.Type) []byte {
	v := make([]byte, t.Width())
	if t == sdk.Addr && len(b) == 4 {
		v[10], v[11] = 0xff, 0xff
	}
	copy(v[len(v)-len(b):], b)
	return v
}

// cell is a value of a column of fixed width in big-endian bytes.
func cell(b *sdk.Batch, col, row int) []byte {
	switch t := b.Schema().Field(col).Type; t.Width() {
	case 1:
		return []byte{sdk.Values[uint8](b, col)[row]}
	case 2:
		return be.AppendUint16(nil, sdk.Values[uint16](b, col)[row])
	case 4:
		return be.AppendUint32(nil, sdk.Values[uint32](b, col)[row])
	case 8:
		return be.AppendUint64(nil, sdk.Values[uint64](b, col)[row])
	default:
		v := sdk.Values[[16]byte](b, col)[row]
		return v[:]
	}
}
