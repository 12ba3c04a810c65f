package sflow_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/emulate"
	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/formats/sflow"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
)

// counting is a decoder of counters samples with those columns, and of flows if there is a table for them.
func counting(columns *sdk.Schema, flows *formatstest.Table) (*sflow.Decoder, *formatstest.Table) {
	tab := formatstest.NewTable(columns)
	opt := sflow.Options{Counters: columns, CounterRows: tab}
	if flows == nil {
		return sflow.NewDecoder(nil, opt, nil), tab
	}
	return sflow.NewDecoder(flows.Out, opt, flows), tab
}

// countersSample is one of interface 7, the 41st of it.
func countersSample(structures ...[]byte) []byte {
	return sized(2, u32s(41, 7, uint32(len(structures))), cat(structures...))
}

// ascending is n words that all differ.
func ascending(from uint32, n int) []byte {
	var b []byte
	for i := range uint32(n) {
		b = be.AppendUint32(b, from+i)
	}
	return b
}

func long(hi, lo uint32) string { return fmt.Sprint(uint64(hi)<<32 | uint64(lo)) }

func text(s string) []byte {
	b := append(u32s(uint32(len(s))), s...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// numbers are columns whose values ascend.
func numbers(from uint32, names ...string) map[string]string {
	m := map[string]string{}
	for i, n := range names {
		m[n] = fmt.Sprint(from + uint32(i))
	}
	return m
}

func counted(structures string, parts ...map[string]string) map[string]string {
	m := map[string]string{"received": "1760000000000000000", "exported": "1760000000000000000", "exporter_addr": "10.0.0.1", "exporter_port": "6343",
		"sub_agent": "3", "uptime": "1000", "sequence": "9", "sample_sequence": "41", "source_id_index": "7", "structures": structures}
	for _, p := range parts {
		for k, v := range p {
			if m[k] = v; v == "" {
				delete(m, k)
			}
		}
	}
	return m
}

var (
	generic       = cat(u32s(7, 6, 2, 0x540be400, 1, 3), ascending(1000, 16))
	genericValues = map[string]string{"if_index": "7", "if_type": "6", "if_speed": "10000000000", "if_direction": "1", "if_admin_status": "1", "if_oper_status": "1",
		"if_in_octets": long(1000, 1001), "if_in_ucast_pkts": "1002", "if_in_multicast_pkts": "1003", "if_in_broadcast_pkts": "1004", "if_in_discards": "1005",
		"if_in_errors": "1006", "if_in_unknown_protos": "1007", "if_out_octets": long(1008, 1009), "if_out_ucast_pkts": "1010", "if_out_multicast_pkts": "1011",
		"if_out_broadcast_pkts": "1012", "if_out_discards": "1013", "if_out_errors": "1014", "if_promiscuous_mode": "1015"}
	uuidBytes = unhex("00112233445566778899aabbccddeeff")
	loads     = u32s(math.Float32bits(0.5), math.Float32bits(1.25), math.Float32bits(-1))
)

// Every structure that some column is for: the whole row.
func TestCounters(t *testing.T) {
	for _, c := range []struct {
		name       string
		structures [][]byte
		want       map[string]string
	}{
		{"interface", [][]byte{sized(1, generic)}, counted("if_counters", genericValues)},
		{"an interface that is down", [][]byte{sized(1, generic[:20], u32s(0), generic[24:])}, counted("if_counters", genericValues, map[string]string{"if_admin_status": "2", "if_oper_status": "2"})},
		{"an interface that is up without a link", [][]byte{sized(1, generic[:20], u32s(1), generic[24:])}, counted("if_counters", genericValues, map[string]string{"if_oper_status": "2"})},
		{"Ethernet", [][]byte{sized(2, ascending(100, 13))}, counted("ethernet_counters", numbers(100, "dot3_stats_alignment_errors", "dot3_stats_fcs_errors",
			"dot3_stats_single_collision_frames", "dot3_stats_multiple_collision_frames", "dot3_stats_sqe_test_errors", "dot3_stats_deferred_transmissions", "dot3_stats_late_collisions",
			"dot3_stats_excessive_collisions", "dot3_stats_internal_mac_transmit_errors", "dot3_stats_carrier_sense_errors", "dot3_stats_frame_too_longs",
			"dot3_stats_internal_mac_receive_errors", "dot3_stats_symbol_errors"))},
		{"both, and the port's name", [][]byte{sized(2, make([]byte, 52)), sized(1, generic), sized(1005, text("xe-0/0/1"))},
			counted("if_counters ethernet_counters port_name", genericValues, map[string]string{"if_name": "xe-0/0/1"})},
		{"VLAN", [][]byte{sized(5, ascending(100, 7))}, counted("vlan_counters", map[string]string{"vlan_id": "100", "vlan_octets": long(101, 102), "vlan_ucast_pkts": "103",
			"vlan_multicast_pkts": "104", "vlan_broadcast_pkts": "105", "vlan_discards": "106"})},
		{"processor", [][]byte{sized(1001, ascending(100, 7))}, counted("processor", map[string]string{"cpu_5s": "100", "cpu_1m": "101", "cpu_5m": "102",
			"total_memory": long(103, 104), "free_memory": long(105, 106)})},
		{"host", [][]byte{sized(2000, text("web-1"), uuidBytes, u32s(3, 2), text("6.1.0-13"))}, counted("host_descr", map[string]string{"hostname": "web-1",
			"uuid": "00112233-4455-6677-8899-aabbccddeeff", "machine_type": "x86_64", "os_name": "linux", "os_release": "6.1.0-13"})},
		{"host that says little", [][]byte{sized(2000, u32s(0), make([]byte, 16), u32s(99, 99, 0))}, counted("host_descr")},
		{"host's processors", [][]byte{sized(2003, loads, ascending(100, 14))}, counted("host_cpu", numbers(100, "proc_run", "proc_total", "cpu_num", "cpu_speed", "host_uptime",
			"cpu_user", "cpu_nice", "cpu_system", "cpu_idle", "cpu_wio", "cpu_intr", "cpu_sintr", "interrupts", "contexts"),
			map[string]string{"load_one": "0.5", "load_five": "1.25", "load_fifteen": "-1"})},
		{"host's processors, as newer agents tell", [][]byte{sized(2003, loads, ascending(100, 17))}, counted("host_cpu", numbers(100, "proc_run", "proc_total", "cpu_num",
			"cpu_speed", "host_uptime", "cpu_user", "cpu_nice", "cpu_system", "cpu_idle", "cpu_wio", "cpu_intr", "cpu_sintr", "interrupts", "contexts", "cpu_steal", "cpu_guest", "cpu_guest_nice"),
			map[string]string{"load_one": "0.5", "load_five": "1.25", "load_fifteen": "-1"})},
		{"host's memory", [][]byte{sized(2004, ascending(100, 18))}, counted("host_memory", map[string]string{"mem_total": long(100, 101), "mem_free": long(102, 103),
			"mem_shared": long(104, 105), "mem_buffers": long(106, 107), "mem_cached": long(108, 109), "swap_total": long(110, 111), "swap_free": long(112, 113)},
			numbers(114, "page_in", "page_out", "swap_in", "swap_out"))},
		{"host's disks", [][]byte{sized(2005, ascending(100, 13))}, counted("host_disk_io", map[string]string{"disk_total": long(100, 101), "disk_free": long(102, 103),
			"part_max_used": "104", "disk_reads": "105", "disk_bytes_read": long(106, 107), "disk_read_time": "108", "disk_writes": "109", "disk_bytes_written": long(110, 111), "disk_write_time": "112"})},
		{"host's network", [][]byte{sized(2006, ascending(100, 10))}, counted("host_net_io", map[string]string{"net_bytes_in": long(100, 101), "net_pkts_in": "102", "net_errs_in": "103",
			"net_drops_in": "104", "net_bytes_out": long(105, 106), "net_pkts_out": "107", "net_errs_out": "108", "net_drops_out": "109"})},
		{"the first of a kind", [][]byte{sized(1, generic), sized(1, make([]byte, 88))}, counted("if_counters", genericValues)},
		{"others beside it", [][]byte{sized(6, make([]byte, 80)), sized(1, generic), sized(9<<12|1, make([]byte, 7))}, counted("if_counters", genericValues)},
	} {
		t.Run(c.name, func(t *testing.T) {
			payload := datagram(countersSample(c.structures...))
			d, tab := counting(flow.CountersSchema, nil)
			if r := feed(d, payload)[0]; (r != sflow.Result{Used: true}) {
				t.Errorf("%+v", r)
			}
			if diff := cmp.Diff([]map[string]string{c.want}, rowsShown(tab)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if d.Tally.Bytes() != uint64(len(payload)) || d.Tally.CounterRows != 1 || d.Tally.Records != 0 {
				t.Errorf("%d bytes accounted for of %d: %+v", d.Tally.Bytes(), len(payload), d.Tally)
			}
			// Every other column of the plan's: the same values.
			for odd := range 2 {
				n := 0
				some := flow.CountersSchema.Select(func(sdk.Field) bool { n++; return n%2 == odd })
				want := map[string]string{}
				for k, v := range c.want {
					if some.Index(k) >= 0 {
						want[k] = v
					}
				}
				d, tab := counting(some, nil)
				feed(d, payload)
				if diff := cmp.Diff([]map[string]string{want}, rowsShown(tab)); diff != "" {
					t.Errorf("every other column (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// The expanded form tells the same, and has a class of its own.
func TestExpandedCounters(t *testing.T) {
	d, tab := counting(flow.CountersSchema, nil)
	feed(d, datagram(sized(4, u32s(41, 2, 1<<30, 1), sized(1, generic))), datagram(sized(2, u32s(41, 1<<24|100, 1), sized(1, generic))))
	want := []map[string]string{
		counted("if_counters", genericValues, map[string]string{"source_id_class": "2", "source_id_index": fmt.Sprint(1 << 30)}),
		counted("if_counters", genericValues, map[string]string{"source_id_class": "1", "source_id_index": "100"}),
	}
	if diff := cmp.Diff(want, rowsShown(tab)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What is wrong with a structure costs that structure.
func TestCounterFaults(t *testing.T) {
	ok := sized(1, generic)
	for _, c := range []struct {
		name    string
		payload []byte
		rows    int
		bad     sflow.Reason
		want    sflow.Tally // without the header's bytes and what is decoded
	}{
		{"nothing known", datagram(countersSample(sized(3, make([]byte, 72)))), 0, sflow.None, sflow.Tally{Skipped: tally(sflow.UnknownRecord, 80, sflow.NoCounters, 20)}},
		{"nothing at all", datagram(countersSample()), 0, sflow.None, sflow.Tally{Skipped: tally(sflow.NoCounters, 20)}},
		{"a sample too short", datagram(sized(2, u32s(1, 2)), sized(4, u32s(1, 2, 3)), countersSample(ok)), 1, sflow.SampleShort, sflow.Tally{Rejected: tally(sflow.SampleShort, 36)}},
		{"a structure too short", datagram(countersSample(sized(2, make([]byte, 48)), ok)), 1, sflow.RecordShort, sflow.Tally{Rejected: tally(sflow.RecordShort, 56)}},
		{"the only structure is too short", datagram(countersSample(sized(2, make([]byte, 48)))), 0, sflow.RecordShort, sflow.Tally{Rejected: tally(sflow.RecordShort, 76)}},
		{"a structure past the end", datagram(countersSample(ok, u32s(1, 88, 1))), 1, sflow.RecordLength, sflow.Tally{Rejected: tally(sflow.RecordLength, 12)}},
		{"fewer than counted", datagram(sized(2, u32s(41, 7, 0xffffffff), ok)), 1, sflow.RecordCount, sflow.Tally{}},
		{"a name past the end", datagram(countersSample(ok, sized(1005, u32s(0xfffffffe, 1)))), 1, sflow.ListLength, sflow.Tally{Rejected: tally(sflow.ListLength, 16)}},
		{"a host's name past the end", datagram(countersSample(ok, sized(2000, u32s(30), make([]byte, 32)))), 1, sflow.ListLength, sflow.Tally{Rejected: tally(sflow.ListLength, 44)}},
		{"a host's release past the end", datagram(countersSample(ok, sized(2000, u32s(0), make([]byte, 24), u32s(1)))), 1, sflow.ListLength, sflow.Tally{Rejected: tally(sflow.ListLength, 40)}},
		{"bytes behind the structures", datagram(sized(2, u32s(41, 7, 1), ok, u32s(0))), 1, sflow.None, sflow.Tally{Skipped: tally(sflow.Padding, 4)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, tab := counting(flow.CountersSchema, nil)
			r := feed(d, c.payload)[0]
			if r.Bad != c.bad || tab.Rows() != c.rows {
				t.Errorf("%d rows, %+v, want %d and bad %v", tab.Rows(), r, c.rows, c.bad)
			}
			if d.Tally.Bytes() != uint64(len(c.payload)) {
				t.Errorf("%d bytes accounted for of %d", d.Tally.Bytes(), len(c.payload))
			}
			got := d.Tally
			got.Header, got.Decoded, got.CounterRows = 0, 0, 0
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if before := tab.Rows(); feed(d, datagram(countersSample(ok)))[0].Bad != sflow.None || tab.Rows() != before+1 {
				t.Error("a good datagram afterwards makes no row")
			}
		})
	}
}

// tally is bytes by reason.
func tally(pairs ...any) (n [len(sflow.Tally{}.Skipped)]uint64) {
	for i := 0; i < len(pairs); i += 2 {
		n[pairs[i].(sflow.Reason)] = uint64(pairs[i+1].(int))
	}
	return n
}

// What nobody reads is stepped over and counted, and the rest decoded.
func TestUnreadSamples(t *testing.T) {
	payload := datagram(sample(raw(1, 1022, frame())), countersSample(sized(1, generic)), sized(3, u32s(1)))
	flows := formatstest.NewTable(flow.Schema)
	d := sflow.NewDecoder(flows.Out, sflow.Options{}, flows)
	r := feed(d, payload)[0]
	if flows.Rows() != 1 || r.Rows != 1 || d.Tally.Skipped[sflow.Counters] != 116 || d.Tally.CounterRows != 0 || d.Tally.Bytes() != uint64(len(payload)) {
		t.Errorf("flows alone: %d rows, %+v, %+v", flows.Rows(), r, d.Tally)
	}
	d, counters := counting(flow.CountersSchema, nil)
	r = feed(d, payload)[0]
	if counters.Rows() != 1 || (r != sflow.Result{Used: true}) || d.Tally.Skipped[sflow.FlowSamples] != uint64(len(sample(raw(1, 1022, frame()))))+12 || d.Tally.Records != 0 || d.Tally.Bytes() != uint64(len(payload)) {
		t.Errorf("counters alone: %d rows, %+v, %+v", counters.Rows(), r, d.Tally)
	}
	flows = formatstest.NewTable(flow.Schema)
	d, counters = counting(flow.CountersSchema, flows)
	r = feed(d, payload)[0]
	if counters.Rows() != 1 || flows.Rows() != 1 || r.Bad != sflow.SampleShort || d.Tally.Records != 1 || d.Tally.CounterRows != 1 || d.Tally.Bytes() != uint64(len(payload)) {
		t.Errorf("both: %d and %d rows, %+v, %+v", flows.Rows(), counters.Rows(), r, d.Tally)
	}
}

// Every column of the table is filled by something, in the table's type, and batches may be as small as they like.
func TestCounterColumnsAreFilled(t *testing.T) {
	all := [][]byte{sized(1, generic), sized(2, ascending(1, 13)), sized(5, ascending(1, 7)), sized(1001, ascending(1, 7)), sized(1005, text("eth0")),
		sized(2000, text("h"), uuidBytes, u32s(2, 3), text("r")), sized(2003, loads, ascending(1, 17)), sized(2004, ascending(1, 18)), sized(2005, ascending(1, 13)), sized(2006, ascending(1, 10))}
	d, tab := counting(flow.CountersSchema, nil)
	tab.Size = 2
	payload := datagram(sized(4, u32s(41, 2, 7, uint32(len(all))), cat(all...)))
	feed(d, payload, payload, payload)
	rows := rowsShown(tab)
	if len(rows) != 3 {
		t.Fatalf("%d rows, want 3", len(rows))
	}
	for _, f := range flow.Counters {
		if rows[2][f.Name] == "" {
			t.Errorf("%s is empty", f.Name)
		}
	}
	if diff := cmp.Diff(rows[0], rows[2]); diff != "" {
		t.Errorf("the same again differs:\n%s", diff)
	}
}

// A steady stream of counters samples costs no allocation.
func TestCountersAllocateNothing(t *testing.T) {
	payload := datagram(countersSample(sized(1, generic), sized(2, ascending(1, 13)), sized(1005, text("eth0"))),
		countersSample(sized(2000, text("h"), uuidBytes, u32s(2, 3), text("r")), sized(2003, loads, ascending(1, 14)), sized(2004, ascending(1, 18))))
	d, tab := counting(flow.CountersSchema, nil)
	tab.Keep = false
	g := sflow.Datagram{Payload: payload, Addr: sender, Received: arrived}
	run := func() {
		for range 100 {
			d.Decode(&g)
		}
		d.Run()
	}
	for range 200 {
		run()
	}
	if n := testing.AllocsPerRun(50, run); n > 0 {
		t.Errorf("%v allocations for 100 datagrams, want 0", n)
	}
}

func BenchmarkCounters(b *testing.B) {
	payload := datagram(countersSample(sized(1, generic), sized(2, ascending(1, 13))), countersSample(sized(1, generic), sized(2, ascending(1, 13))))
	d, tab := counting(flow.CountersSchema, nil)
	tab.Keep = false
	g := sflow.Datagram{Payload: payload, Addr: sender, Received: arrived}
	b.ReportAllocs()
	for b.Loop() {
		d.Decode(&g)
		d.Run()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(2*b.N), "ns/record")
}

// capture writes datagrams of the sFlow port as a capture of raw IPv4.
func capture(t *testing.T, payloads ...[]byte) string {
	t.Helper()
	le := binary.LittleEndian
	b := []byte{0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 101, 0, 0, 0}
	for _, p := range payloads {
		n := uint32(28 + len(p))
		b = le.AppendUint32(le.AppendUint32(le.AppendUint32(le.AppendUint32(b, 1760000000), 0), n), n)
		b = be.AppendUint16(append(b, 0x45, 0), uint16(n))
		b = append(b, 0, 0, 0x40, 0, 64, 17, 0, 0, 192, 0, 2, 1, 127, 0, 0, 1)
		b = be.AppendUint16(be.AppendUint16(be.AppendUint16(b, 6343), 6343), uint16(8+len(p)))
		b = append(append(b, 0, 0), p...)
	}
	file := filepath.Join(t.TempDir(), "counters.pcap")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// sharkCounters are the columns that tshark knows a field for. It knows none of hosts.
var sharkCounters = map[string]string{
	"exporter_addr": "sflow_245.agent", "sub_agent": "sflow_245.sub_agent_id", "uptime": "sflow_245.sysuptime", "sequence": "sflow_245.sequence_number",
	"sample_sequence": "sflow.counters_sample.sequence_number", "source_id_class": "sflow.counters_sample.source_id_type", "source_id_index": "sflow.counters_sample.source_id_index",
	"if_index": "sflow_245.ifindex", "if_type": "sflow_245.iftype", "if_speed": "sflow_245.ifspeed", "if_direction": "sflow_245.ifdirection",
	"if_admin_status": "sflow_245.ifadmin_status", "if_oper_status": "sflow_245.ifoper_status",
	"if_in_octets": "sflow_245.ifinoct", "if_in_ucast_pkts": "sflow_245.ifinpkt", "if_in_multicast_pkts": "sflow_245.ifinmcast", "if_in_broadcast_pkts": "sflow_245.ifinbcast",
	"if_in_discards": "sflow_245.ifindisc", "if_in_errors": "sflow_245.ifinerr", "if_in_unknown_protos": "sflow_245.ifinunk",
	"if_out_octets": "sflow_245.ifoutoct", "if_out_ucast_pkts": "sflow_245.ifoutpkt", "if_out_multicast_pkts": "sflow_245.ifoutmcast", "if_out_broadcast_pkts": "sflow_245.ifoutbcast",
	"if_out_discards": "sflow_245.ifoutdisc", "if_out_errors": "sflow_245.ifouterr", "if_promiscuous_mode": "sflow_245.ifpromisc",
	"dot3_stats_alignment_errors": "sflow_245.dot3StatsAlignmentErrors", "dot3_stats_fcs_errors": "sflow_245.dot3StatsFCSErrors",
	"dot3_stats_single_collision_frames": "sflow_245.dot3StatsSingleCollisionFrames", "dot3_stats_multiple_collision_frames": "sflow_245.dot3StatsMultipleCollisionFrames",
	"dot3_stats_sqe_test_errors": "sflow_245.dot3StatsSQETestErrors", "dot3_stats_deferred_transmissions": "sflow_245.dot3StatsDeferredTransmissions",
	"dot3_stats_late_collisions": "sflow_245.dot3StatsLateCollisions", "dot3_stats_excessive_collisions": "sflow_245.dot3StatsExcessiveCollisions",
	"dot3_stats_internal_mac_transmit_errors": "sflow_245.dot3StatsInternalMacTransmitErrors", "dot3_stats_carrier_sense_errors": "sflow_245.dot3StatsCarrierSenseErrors",
	"dot3_stats_frame_too_longs": "sflow_245.dot3StatsFrameTooLongs", "dot3_stats_internal_mac_receive_errors": "sflow_245.dot3StatsInternalMacReceiveErrors",
	"dot3_stats_symbol_errors": "sflow_245.dot3StatsSymbolErrors",
	"vlan_id":                  "sflow_245.vlan_id", "vlan_octets": "sflow_245.octets", "vlan_ucast_pkts": "sflow_245.ucastPkts", "vlan_multicast_pkts": "sflow_245.multicastPkts",
	"vlan_broadcast_pkts": "sflow_245.broadcastPkts", "vlan_discards": "sflow_245.discards",
	"cpu_5s": "sflow_5.cpu_5s", "cpu_1m": "sflow_5.cpu_1m", "cpu_5m": "sflow_5.cpu_5m", "total_memory": "sflow_5.total_memory", "free_memory": "sflow_5.free_memory",
}

// sharkRows is what tshark reads in datagrams of one counters sample each.
func sharkRows(t *testing.T, file string) (rows []map[string]string) {
	t.Helper()
	tshark, err := exec.LookPath("tshark")
	if err != nil {
		t.Skip("tshark is not installed")
	}
	var columns []string
	args := []string{"-r", file, "-d", "udp.port==6343,sflow", "-T", "fields", "-E", "occurrence=f"}
	for c, f := range sharkCounters {
		columns = append(columns, c)
		args = append(args, "-e", f)
	}
	out, err := exec.Command(tshark, args...).Output()
	if err != nil {
		t.Skipf("tshark does not read it: %v", err)
	}
	for _, line := range strings.Split(strings.TrimRight(string(out), "\n"), "\n") {
		m := map[string]string{}
		for i, v := range strings.Split(line, "\t") {
			switch c := columns[i]; {
			case v == "":
			case strings.HasSuffix(c, "_status"): // whether it is up
				m[c] = map[string]string{"1": "1", "True": "1", "0": "2", "False": "2"}[v]
			case c == "exporter_addr":
				m[c] = v
			default:
				n, err := strconv.ParseUint(v, 0, 64)
				if err != nil {
					t.Fatalf("%s: %v", c, err)
				}
				if n != 0 {
					m[c] = fmt.Sprint(n)
				}
			}
		}
		rows = append(rows, m)
	}
	return rows
}

// Each value of each row is what tshark reads in the same bytes: of built datagrams, and of those that emulated agents send.
func TestCountersAgreeWithTshark(t *testing.T) {
	payloads := [][]byte{
		datagram(countersSample(sized(1, generic))),
		datagram(countersSample(sized(1, generic[:20], u32s(1), ascending(0xfffffff0, 16)), sized(2, ascending(0x80000000, 13)))),
		datagram(sized(2, u32s(1<<31, 1<<24|4095, 1), sized(5, ascending(0x7fffffff, 7)))),
		datagram(countersSample(sized(1001, ascending(9999, 7)))),
	}
	e, err := emulate.New(emulate.Options{Mix: emulate.Mix{{Protocol: emulate.SFlow, Weight: 1}}, Exporters: 3, Base: formatstest.Base, TemplateInterval: 1e6})
	if err != nil {
		t.Fatal(err)
	}
	for at := formatstest.Base.UnixNano(); len(payloads) < 40; at += 1e6 {
		if p, dg := e.Append(nil, at, 0); dg.Records == 0 {
			payloads = append(payloads, p)
		}
	}
	d, tab := counting(flow.CountersSchema, nil)
	feed(d, payloads...)
	got := rowsShown(tab)
	values := 0
	for _, row := range got {
		for k := range row {
			if sharkCounters[k] == "" {
				delete(row, k)
			}
		}
		values += len(row)
	}
	if diff := cmp.Diff(sharkRows(t, capture(t, payloads...)), got); diff != "" {
		t.Errorf("(-tshark +decoded):\n%s", diff)
	}
	if len(got) != len(payloads) || values < 500 {
		t.Errorf("%d rows and %d values compared, want %d and 500 at least", len(got), values, len(payloads))
	}
}
