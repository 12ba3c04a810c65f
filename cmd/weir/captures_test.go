package main_test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/formats/formatstest/tshark"
	"github.com/weirflow/weir/formats/pcap"
	"github.com/weirflow/weir/sdk/sdktest"
)

// late is a capture whose first set comes before its template, in the same datagram. It waits for that here; tshark does not.
const late = "netflow/data+templates"

// captures of exporters, each with the files in front of it that have its templates and samplers.
var captures = [][]string{
	{"netflow/options-template", "netflow/options-data", "netflow/template", "netflow/data"}, {"netflow/icmp-template", "netflow/icmp-data"},
	{"netflow/mpls"}, {"netflow/nat"}, {"netflow/nfv5"}, {"netflow/physicalinterfaces"}, {"netflow/datalink-template", "netflow/datalink-data"},
	{"sflow/data-1140"}, {"sflow/data-discard-interface"}, {"sflow/data-icmpv4"}, {"sflow/data-icmpv6"}, {"sflow/data-local-interface"},
	{"sflow/data-qinq"}, {"sflow/data-sflow-raw-ipv4"}, {late},
}

// datagrams of a capture, as a capture of IPv4 in Ethernet.
func datagrams(t *testing.T, file string) (frames []tshark.Frame) {
	t.Helper()
	formatstest.Capture(t, file, func(p *pcap.Packet) {
		var d pcap.Datagram
		if why := pcap.UDP(p.Interface.Link, p.Data, &d); why != pcap.OK {
			t.Fatalf("%s: no datagram: %v", file, why)
		}
		end := func(a [16]byte, port uint16) netip.AddrPort {
			return netip.AddrPortFrom(netip.AddrFrom16(a).Unmap(), port)
		}
		frames = append(frames, tshark.Frame{At: time.Unix(0, p.Time), Data: tshark.UDP(end(d.Src, d.SrcPort), end(d.Dst, d.DstPort), d.Payload)})
	})
	return frames
}

// Each capture of exporters gives as many records as tshark finds in it, and each has what tshark reads in it; nothing is dropped.
func TestCapturesOfExporters(t *testing.T) {
	t.Parallel()
	dir := sdktest.TestData(t, "flows")
	var all []tshark.Frame
	var of []int // which capture a datagram of all is of
	var sources []string
	for i, files := range captures {
		var paths []string
		for _, name := range files {
			file := filepath.Join(dir, name+".pcap")
			paths = append(paths, `"`+file+`"`)
			frames := datagrams(t, file)
			if name == late { // once more in front, of none: tshark then has its templates
				all, of = append(all, frames...), append(of, slices.Repeat([]int{-1}, len(frames))...)
			}
			all = append(all, frames...)
			of = append(of, slices.Repeat([]int{i}, len(frames))...)
		}
		sources = append(sources, fmt.Sprintf("{ type: pcap, with: { path: [%s] } }", strings.Join(paths, ", ")))
	}
	file := filepath.Join(t.TempDir(), "all.pcap")
	write(t, file, tshark.Pcap(all))
	shown := tshark.Read(t, file, map[uint16]string{2100: "cflow", 9990: "cflow", 6343: "sflow"})
	if len(shown) != len(all) {
		t.Fatalf("tshark shows %d datagrams of %d", len(shown), len(all))
	}
	want := make([][]map[string]string, len(captures))
	for i, d := range shown {
		if of[i] < 0 {
			continue
		}
		for _, r := range d.Rows {
			want[of[i]] = append(want[of[i]], r)
		}
	}
	records := 0
	for i, files := range captures {
		rows, a := weir(t.Context(), t, sources[i], "--admin", "off").end(t)
		datagrams := 0
		for _, o := range of {
			if o == i {
				datagrams++
			}
		}
		name := files[len(files)-1]
		a.check(t, name, datagrams, len(want[i]))
		if diff := cmp.Diff(sorted(want[i]), sorted(rows)); diff != "" {
			t.Errorf("%s: records (-tshark +decoded):\n%.10000s", name, diff)
		}
		records += len(rows)
	}
	if records < 85 {
		t.Errorf("%d records compared, want 85 at least", records)
	}
	t.Logf("%d records in %d datagrams", records, len(all))
}
