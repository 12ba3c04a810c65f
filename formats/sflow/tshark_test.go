package sflow_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/formats/formatstest/tshark"
	"github.com/weirflow/weir/formats/pcap"
	"github.com/weirflow/weir/formats/sflow"
	"github.com/weirflow/weir/sdk/flow"
	"github.com/weirflow/weir/sdk/sdktest"
)

// datagrams of a capture.
func datagrams(t *testing.T, file string) (gs []sflow.Datagram) {
	t.Helper()
	formatstest.Capture(t, file, func(p *pcap.Packet) {
		var d pcap.Datagram
		if why := pcap.UDP(p.Interface.Link, p.Data, &d); why != 0 {
			t.Fatalf("%s: no datagram: %v", file, why)
		}
		gs = append(gs, sflow.Datagram{Payload: bytes.Clone(d.Payload), Addr: d.Src, Port: d.SrcPort, Received: p.Time})
	})
	return gs
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

// Real exporters' captures: each column of each sample is what tshark reads in the same bytes, and no sample is missing.
func TestAgreesWithTshark(t *testing.T) {
	dir := sdktest.TestData(t, "flows/sflow")
	files, _ := filepath.Glob(filepath.Join(dir, "*.pcap"))
	shown := tshark.Read(t, joined(t, files), map[uint16]string{6343: "sflow"}) // one start of tshark takes a second
	rows, values := 0, 0
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			tab := formatstest.NewTable(flow.Schema)
			d := sflow.NewDecoder(tab.Out, sflow.Options{}, tab)
			size := 0
			var want []map[string]string
			for _, g := range datagrams(t, file) {
				if r := d.Decode(&g); r.Why != sflow.None || r.Bad != sflow.None {
					t.Errorf("%+v", r)
				}
				d.Run()
				size += len(g.Payload)
				if len(shown) == 0 {
					t.Fatal("tshark shows fewer datagrams")
				}
				for _, r := range shown[0].Rows {
					want = append(want, r)
					values += len(r)
				}
				shown = shown[1:]
			}
			if d.Tally.Bytes() != uint64(size) || d.Tally.Skipped[sflow.Trailing] != d.Tally.Bytes()-d.Tally.Header-d.Tally.Decoded {
				t.Errorf("%d bytes accounted for of %d: %+v", d.Tally.Bytes(), size, d.Tally)
			}
			rows += len(want)
			if diff := cmp.Diff(want, tab.Shown()); diff != "" {
				t.Errorf("(-tshark +decoded):\n%s", diff)
			}
		})
	}
	if len(shown) > 0 {
		t.Errorf("tshark shows %d more datagrams", len(shown))
	}
	if rows < 12 || values < 330 {
		t.Errorf("%d rows and %d values compared, want 12 and 330 at least", rows, values)
	}
	t.Logf("%d samples, %d values", rows, values)
}
