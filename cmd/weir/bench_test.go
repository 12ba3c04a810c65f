package main

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/core/engine"
	"github.com/weirflow/weir/formats/emulate"
	"github.com/weirflow/weir/formats/formatstest/tshark"
	"github.com/weirflow/weir/sources/generate"
)

// capture writes a pcap file of n datagrams of NetFlow v5, in Ethernet and IPv4, and returns its flow records.
func capture(t *testing.T, name string, n int) (records int) {
	t.Helper()
	e, err := emulate.New(emulate.Options{Mix: emulate.Mix{{Protocol: emulate.NetFlowV5, Weight: 1}}, Exporters: 2, Seed: 1, Records: 10, Payload: 1472,
		Base: time.Unix(1_700_000_000, 0), Domains: 1, TemplateInterval: time.Minute, Sampling: 1, Parts: 1})
	if err != nil {
		t.Fatal(err)
	}
	var frames []tshark.Frame
	from, to := netip.MustParseAddrPort("192.0.2.1:49152"), netip.MustParseAddrPort("192.0.2.9:2055")
	for i := range n {
		at := time.Unix(1_700_000_100, int64(i)*1000)
		payload, d := e.Append(nil, at.UnixNano(), 0)
		records += d.Records
		frames = append(frames, tshark.Frame{At: at, Data: tshark.UDP(from, to, payload)})
	}
	if err := os.WriteFile(name, tshark.Pcap(frames), 0o644); err != nil {
		t.Fatal(err)
	}
	return records
}

const benched = "sources: {in: {type: udp, with: {listen: 127.0.0.1:2055, rate_limit: 1000}}}\nprocessors: [{id: decode, type: decode}]\nsinks: {out: {type: discard}}\n"

func benchApp(t *testing.T) (a *app, out *bytes.Buffer, file string) {
	t.Helper()
	out = &bytes.Buffer{}
	file = filepath.Join(t.TempDir(), "p.yaml")
	if err := os.WriteFile(file, []byte(benched), 0o644); err != nil {
		t.Fatal(err)
	}
	return &app{out: out, err: t.Output(), plugins: builtIn()}, out, file
}

// A capture file is read into memory once and given again and again: the records measured are its flows many times over, and the
// parts of the cost add up to the whole.
func TestBenchCapture(t *testing.T) {
	a, out, file := benchApp(t)
	name := filepath.Join(t.TempDir(), "flows.pcap")
	flows := capture(t, name, 50)
	cmd := a.benchCommand()
	cmd.SetArgs([]string{file, "--input", name, "--for", "200ms", "-o", "json"})
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	var m measurement
	if err := json.Unmarshal(out.Bytes(), &m); err != nil {
		t.Fatal(err)
	}
	if m.Records < uint64(10*flows) {
		t.Errorf("%d records of a capture with %d: it was not repeated", m.Records, flows)
	}
	sum := 0.0
	for _, n := range m.Nodes {
		sum += n.CPU
	}
	if d := sum - m.CPUPerRecord; d < -0.1 || d > 0.1*m.CPUPerRecord+0.1 {
		t.Errorf("nodes and engine cost %.2f ns together, a record %.2f: %+v", sum, m.CPUPerRecord, m.Nodes)
	}
}

// Of a record's cost the nodes get what they were busy, scaled from wall time to CPU time, and the engine the rest.
func TestCompare(t *testing.T) {
	at := time.Now()
	node := func(busy time.Duration, batches uint64) engine.Times {
		return engine.Times{Active: 4 * busy, Nodes: []engine.NodeTime{{ID: "a", Busy: busy}, {ID: "b", Busy: 2 * busy, Batches: batches}}}
	}
	before := sample{at: at, cpu: time.Second, mallocs: 100, records: 1000, batches: 10, times: node(time.Second, 10)}
	after := sample{at: at.Add(2 * time.Second), cpu: 3 * time.Second, mallocs: 500, records: 101_000, batches: 30, times: node(2*time.Second, 30)}
	got, err := compare(before, after)
	if err != nil {
		t.Fatal(err)
	}
	// 4 s of lanes' time for 2 s of CPU: half of the time somebody else had the CPU.
	want := &measurement{Seconds: 2, Records: 100_000, RecordsPerSecond: 50_000, CPUPerRecord: 20_000, Batches: 20, AllocsPerBatch: 20, AllocsPerRecord: 0.004,
		Nodes: []nodeCost{{"a", 5000}, {"b", 10_000}, {engineID, 5000}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if _, err := compare(before, before); err == nil || !strings.Contains(err.Error(), "no record came through") {
		t.Errorf("without a record: %v", err)
	}
}

func TestGeneratedInput(t *testing.T) {
	in, err := generated("v9,ipfix=2,exporters=50,records=30,ipv6=0.5")
	if err != nil {
		t.Fatal(err)
	}
	c := in.config.(*generate.Config)
	want := emulate.Mix{{Protocol: emulate.NetFlowV9, Weight: 1}, {Protocol: emulate.IPFIX, Weight: 2}}
	if d := cmp.Diff(want, c.Protocol); d != "" || c.Exporters != 50 || c.DatagramRecords != 30 || c.IPv6 != 0.5 || c.Ring != leastRing || c.Rate != 0 || c.Readers != 1 {
		t.Errorf("%+v %s", c, d)
	}
	// Each exporter's templates and data must fit.
	if in, err = generated("exporters=5000"); err != nil || in.config.(*generate.Config).Ring != 10_000 {
		t.Errorf("%+v, %v", in, err)
	}
	for text, want := range map[string]string{"v8": "v8", "exporters=0": "exporters: 0 is outside", "seed=x": `"x" is not a number`, "": ""} {
		if _, err := generated(text); err == nil || code(err) != exitUsage || !strings.Contains(err.Error(), want) {
			t.Errorf("generate:%s: %v", text, err)
		}
	}
}
