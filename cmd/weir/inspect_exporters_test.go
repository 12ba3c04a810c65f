package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/core/admin"
	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/processors/decode"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sources/tcp"
	"github.com/weirflow/weir/sources/udp"
)

// What two sources and a decoder know of an exporter is one line.
func TestInspectExporters(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	before := func(d time.Duration) time.Time { return now.Add(-d) }
	seen := before(2 * time.Second)
	told := admin.Inspection{Topic: "exporters", Time: now}
	add := func(node string, answer any) {
		text, err := json.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		told.Nodes = append(told.Nodes, admin.Told{Pipeline: "p", Node: node, Answer: text})
	}
	add("a", &udp.Exporters{Exporters: []udp.Exporter{
		{Addr: "192.0.2.1", Datagrams: 1000, Bytes: 3 << 20, Rate: 12000, First: before(time.Hour), Last: before(3 * time.Second), Dropped: map[sdk.Reason]uint64{"rate_limited": 7}},
		{Addr: "2001:db8::1", Datagrams: 5, Bytes: 100, First: before(time.Hour), Last: before(time.Hour), Dropped: map[sdk.Reason]uint64{"not_allowed": 5}},
	}, Others: []udp.Exporter{{Datagrams: 3, Last: before(0)}}})
	add("b", &udp.Exporters{Exporters: []udp.Exporter{{Addr: "192.0.2.1", Datagrams: 500, Bytes: 1 << 20, Rate: 3000, First: before(time.Minute), Last: before(time.Second)}}})
	add("c", &tcp.Exporters{Exporters: []tcp.Exporter{
		{Addr: "192.0.2.1", Connections: 2, Messages: 20, Bytes: 1 << 20, First: before(time.Minute), Last: before(time.Minute), Dropped: map[sdk.Reason]uint64{"truncated": 1}},
		{Addr: "192.0.2.30", Messages: 7, Bytes: 2 << 20, First: before(time.Hour), Last: before(time.Minute)},
	}, Others: []tcp.Exporter{{Messages: 1, Bytes: 200, Last: before(time.Hour)}}})
	add("decode", &decode.Exporters{Exporters: []decode.Exporter{
		{Addr: "192.0.2.1", Last: &seen, ClockAhead: 200000, Templates: 2, Domains: 1, SamplingRates: []uint64{100, 1000}, LostDatagrams: 9, LostFlows: 1, LimitedFlows: 50, LimitedDatagrams: 6, Waited: 4, NoTemplate: 1, Missing: &decode.Missing{Version: 9, Domain: 7, ID: 260}},
		{Addr: "192.0.2.9", Waited: 1, Missing: &decode.Missing{Version: 10, Domain: 1, ID: 300},
			WrongLengths: 3, WrongLength: &decode.WrongLength{Domain: 1, ID: 301, Element: "sourceIPv4Address", Length: 5}},
	}})
	add("decode", &decode.Exporters{Exporters: []decode.Exporter{
		{Addr: "192.0.2.20", Last: &seen, SamplingRates: []uint64{512, 1024, 2048, 4096}, LostDatagrams: 2, SubAgents: 2, Unrated: 3, From: "192.0.2.1"}}})
	told.Nodes = append(told.Nodes, admin.Told{Pipeline: "p", Node: "broken", Error: "no memory"})
	var asked string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.URL.String()
		json.NewEncoder(w).Encode(&told)
	}))
	defer srv.Close()
	live := strings.TrimPrefix(srv.URL, "http://")
	var out, errs bytes.Buffer
	if code := execute([]string{"inspect", "exporters", "p", "--live", live}, &out, &errs); code != 0 || asked != "/api/v1/inspect/exporters?pipeline=p" {
		t.Fatal(code, asked, errs.String())
	}
	want := `
exporter from datagrams messages per s MiB dropped datagrams lost flows lost templates sampling clock heard
192.0.2.1 1,500 20 15k 5.0 8 9 1 2 1:100 1:1,000 +2d 1s ago
192.0.2.30 7 2.0 60s ago
2001:db8::1 5 0 0.0 5 60m ago
(others) 3 1 0 0.0 now
192.0.2.9
192.0.2.20 192.0.2.1 2 1:512 1:1,024 1:2,048 … 2s ago

192.0.2.1: dropped 7 rate_limited, 1 truncated
192.0.2.1: not lost but dropped by rate_limit are 6 datagrams and 50 flows that are missing in its
numbers
192.0.2.1: template 260 of domain 7 has not come; its data waits for it
192.0.2.1: 1 datagram given up, for want of a template
192.0.2.1: its clock is 2d ahead: set it by NTP, or flows have wrong times
2001:db8::1: dropped 5 not_allowed
192.0.2.9: template 300 of domain 1 has not come; its data waits for it
192.0.2.9: passed over, for it cannot have this length: sourceIPv4Address of 5 bytes in template
301 of domain 1, and 2 more
192.0.2.20: 3 samples without a sampling rate
`
	squeeze := func(s string) (lines []string) {
		for l := range strings.Lines(strings.TrimSpace(s)) {
			lines = append(lines, strings.Join(strings.Fields(l), " "))
		}
		return lines
	}
	if d := cmp.Diff(squeeze(want), squeeze(out.String())); d != "" {
		t.Errorf("(-want +got): %s\n%s", d, out.String())
	}
	out.Reset()
	if code := execute([]string{"inspect", "exporters", "--live", live, "-o", "json"}, &out, &errs); code != 0 {
		t.Fatal(code, errs.String())
	}
	var list struct{ Exporters []exporter }
	if err := json.Unmarshal(out.Bytes(), &list); err != nil {
		t.Fatal(err, out.String())
	}
	first, last := before(time.Hour), before(time.Second)
	if d := cmp.Diff(exporter{Addr: "192.0.2.1", Datagrams: 1500, Messages: 20, Connections: 2, Bytes: 5 << 20, Rate: 15000, First: &first, Last: &last, Dropped: map[sdk.Reason]uint64{"rate_limited": 7, "truncated": 1},
		Clock: 200000, Templates: 2, SamplingRates: []uint64{100, 1000}, LostFlows: 1, LostDatagrams: 9, LimitedFlows: 50, LimitedDatagrams: 6, Waited: 4, NoTemplate: 1, Missing: &decode.Missing{Version: 9, Domain: 7, ID: 260},
		Nodes: []string{"p.a", "p.b", "p.c", "p.decode"}}, list.Exporters[0]); d != "" || len(list.Exporters) != 6 {
		t.Error("(-want +got):", d)
	}
	// Who says nothing of it asks where `weir run` would listen.
	t.Setenv(config.EnvPrefix+"ADMIN", live)
	if code := execute([]string{"inspect", "exporters"}, &out, &errs); code != 0 || asked != "/api/v1/inspect/exporters" {
		t.Error(code, asked, errs.String())
	}
}

func TestInspectSockets(t *testing.T) {
	answer := `{"topic": "sockets", "nodes": [{"pipeline": "p", "node": "in", "answer": {"sockets": [
		{"listen": "127.0.0.1:2055", "worker": 0, "receive_buffer_asked": 67108864, "receive_buffer": 4194304, "receive_buffer_used": 838861, "balance_asked": "packet", "balance": "random choice", "balance_reason": "it needs CAP_BPF", "kernel_drops": 1234},
		{"listen": "127.0.0.1:2056", "worker": 0, "receive_buffer_asked": 1048576, "receive_buffer": 1048576, "gro": true, "balance": "none", "kernel_drops": 3, "kernel_drops_at_least": true},
		{"listen": "127.0.0.1:2057", "worker": 0, "receive_buffer_asked": 1048576, "receive_buffer": 1048576, "gro": true, "balance": "none", "kernel_drops": 560},
		{"listen": "127.0.0.1:2058", "worker": 0, "receive_buffer_asked": 1048576, "receive_buffer": 1048576, "gro": true, "balance": "none", "kernel_drops": 28, "kernel_drops_at_least": true, "kernel_drops_reason": "it needs CAP_BPF"},
		{"listen": "[::]:6343", "worker": 1, "inherited": "fd:sflow", "receive_buffer_asked": 1048576, "receive_buffer": 1048576, "balance_asked": "domain", "balance": "domain"}]}}]}`
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.String() != "/api/v1/inspect/sockets" {
			t.Error(r.URL)
		}
		w.Write([]byte(answer))
	}))
	defer srv.Close()
	var out, errs bytes.Buffer
	t.Setenv(config.EnvPrefix+"ADMIN", strings.TrimPrefix(srv.URL, "http://"))
	if code := execute([]string{"inspect", "sockets"}, &out, &errs); code != 0 {
		t.Fatal(code, errs.String())
	}
	want := []string{
		"source listen worker buffer used kernel drops trains balance",
		"p.in 127.0.0.1:2055 0 4MiB 10% 1,234 not as asked",
		"p.in 127.0.0.1:2056 0 1MiB 0% at least 3 yes none",
		"p.in 127.0.0.1:2057 0 1MiB 0% 560 yes none",
		"p.in 127.0.0.1:2058 0 1MiB 0% at least 28 yes none",
		"p.in [::]:6343 (fd:sflow) 1 1MiB 0% domain",
		"",
		"p.in: a receive buffer of 4MiB instead of 64MiB: raise net.core.rmem_max, or give the process",
		"CAP_NET_ADMIN",
		"p.in: balance by random choice instead of packet: it needs CAP_BPF",
		"p.in: of a train of datagrams that the kernel drops one is counted: it needs CAP_BPF",
	}
	var got []string
	for l := range strings.Lines(out.String()) {
		got = append(got, strings.Join(strings.Fields(l), " "))
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got): %s", d)
	}
}
