package netflow_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/formats/formatstest/tshark"
	"github.com/weirflow/weir/formats/netflow"
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

// Real exporters' captures: each column of each record is what tshark reads in the same bytes, and no record is missing.
func TestAgreesWithTshark(t *testing.T) {
	dir := sdktest.TestData(t, "flows/netflow")
	var ps []packet
	for _, c := range captures {
		ps = append(ps, readPcap(t, filepath.Join(dir, c+".pcap"))...)
	}
	file := filepath.Join(t.TempDir(), "all.pcap")
	writePcap(t, file, ps)
	want := tshark.Read(t, file, map[uint16]string{2100: "cflow", 9990: "cflow"})
	if len(want) != len(ps) {
		t.Fatalf("tshark shows %d packets of %d", len(want), len(ps))
	}

	store := netflow.NewStore(netflow.DefaultLimits)
	records, values := 0, 0
	for i, p := range ps {
		tab := formatstest.NewTable(flow.Schema)
		d := netflow.NewDecoder(store, tab.Out, netflow.Options{}, tab)
		g := p.datagram(t)
		r := d.Decode(&g)
		d.Run()
		if r.Why != netflow.None || r.Bad != netflow.None || d.Tally.Bytes() != uint64(len(g.Payload)) {
			t.Errorf("%s: %+v, %d bytes accounted for of %d", captures[i], r, d.Tally.Bytes(), len(g.Payload))
		}
		if len(r.Unknown) > 0 {
			// Data in front of its template: tshark knows it nevertheless, and so do we when it comes again.
			if captures[i] != "data+templates" || i == len(ps)-1 {
				t.Errorf("%s: unknown sets %v", captures[i], r.Unknown)
			}
			continue
		}
		var rows []map[string]string
		for _, r := range want[i].Rows {
			rows = append(rows, r)
			values += len(r)
		}
		records += len(rows)
		if diff := cmp.Diff(rows, tab.Shown()); diff != "" {
			t.Errorf("%s (-tshark +decoded):\n%s", captures[i], diff)
		}
	}
	t.Logf("%d records, %d values", records, values)
	if records < 60 || values < 1500 {
		t.Errorf("%d records and %d values compared, want 60 and 1500 at least", records, values)
	}
}
