package sflow_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/formats/packet"
	"github.com/weirflow/weir/formats/sflow"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
	"github.com/weirflow/weir/sdk/sdktest"
)

// verdict is what a datagram came to, short: rows, and the reasons for bytes that were not used.
func verdict(d *sflow.Decoder, r sflow.Result) string {
	s := fmt.Sprintf("rows=%d", r.Rows)
	if r.Why != sflow.None {
		s += fmt.Sprintf(" refused{%v}", r.Why)
	}
	if r.Bad != sflow.None {
		s += fmt.Sprintf(" bad{%v}", r.Bad)
	}
	for _, why := range sflow.Reasons() {
		if n := d.Tally.Skipped[why]; n > 0 {
			s += fmt.Sprintf(" skipped{%v}=%d", why, n)
		}
		if n := d.Tally.Rejected[why]; n > 0 {
			s += fmt.Sprintf(" rejected{%v}=%d", why, n)
		}
	}
	return s
}

// good is a datagram that must be decoded whatever came before.
var good = datagram(sample(raw(1, 1022, frame())), sample(raw(1, 1022, frame())))

func checkGood(t *testing.T, d *sflow.Decoder, tab *formatstest.Table) {
	t.Helper()
	before := tab.Rows()
	r := feed(d, good)[0]
	if got := formatstest.Column[uint64](tab, "bytes"); (r != sflow.Result{Used: true, Rows: 2}) || tab.Rows() != before+2 || got[len(got)-1] != 1022 {
		t.Errorf("a good datagram afterwards: %+v", r)
	}
}

// Inputs that stop, crash or mislead released collectors: what each must come to, and that the next good one is decoded as if
// nothing had been.
func TestMalformed(t *testing.T) {
	want := map[string]string{
		"sf-agent-v3":                 "rows=0 refused{agent_address} rejected{agent_address}=156",
		"sf-agent-v6-cut":             "rows=0 refused{short_header} rejected{short_header}=12",
		"sf-cut-ip":                   "rows=1",
		"sf-expanded-ok":              "rows=1",
		"sf-expanded-records-4G-lie":  "rows=1 bad{record_count}",
		"sf-expanded-records-50M-lie": "rows=1 bad{record_count}",
		"sf-gw-aspath-lie":            "rows=0 bad{list_length} rejected{list_length}=92",
		"sf-gw-comm-lie":              "rows=0 bad{list_length} rejected{list_length}=88",
		"sf-hdrproto-ipv4":            "rows=1",
		"sf-header-len-lie":           "rows=0 bad{header_length} rejected{header_length}=128",
		"sf-ipopts":                   "rows=1",
		"sf-mpls-deep":                "rows=1",
		"sf-ok":                       "rows=1",
		"sf-qinq":                     "rows=1",
		"sf-record-len>sample":        "rows=0 bad{record_length} rejected{record_length}=128",
		"sf-records-1000-lie":         "rows=1 bad{record_count}",
		"sf-records-4G-lie":           "rows=1 bad{record_count}",
		"sf-sample-len-0":             "rows=1 bad{sample_short} rejected{sample_short}=8",
		"sf-sample-len>packet":        "rows=0 bad{sample_length} rejected{sample_length}=128",
		"sf-samples-1000-lie":         "rows=1 bad{sample_count}",
		"sf-samples-4G-lie":           "rows=1 bad{sample_count}",
		"sf-unknown-sample-fmt":       "rows=1 skipped{unknown_sample}=16",
	}
	// What the frames of some of them say, where released collectors show something else.
	shown := map[string]map[string]string{
		"sf-qinq":          {"src_vlan": "100", "customer_vlan": "200", "src_port": "1234", "dst_port": "53"},
		"sf-ipopts":        {"src_addr": "10.0.0.1", "src_port": "1234", "dst_port": "53"},
		"sf-hdrproto-ipv4": {"src_addr": "10.0.0.1", "src_port": "1234", "dst_port": "53"},
		"sf-mpls-deep":     {"mpls_labels": "16 16 16 16 16 16 16 16 16 16"},
		"sf-cut-ip":        {"etype": "2048", "src_addr": ""},
		"sf-expanded-ok":   {"in_if": "1", "out_if": "2", "bytes": "64", "sampling_rate": "1000"},
	}
	cases := malformed(t)
	if len(cases) != len(want) {
		t.Errorf("%d examples, %d known", len(cases), len(want))
	}
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		t.Run(name, func(t *testing.T) {
			tab := formatstest.NewTable(flow.Schema)
			d := sflow.NewDecoder(tab.Out, sflow.Options{}, tab)
			r := feed(d, cases[name])[0]
			if got := verdict(d, r); got != want[name] {
				t.Errorf("got  %s\nwant %s", got, want[name])
			}
			for column, v := range shown[name] {
				if got := rowsShown(tab)[0][column]; got != v {
					t.Errorf("%s is %q, want %q", column, got, v)
				}
			}
			if n := uint64(len(cases[name])); d.Tally.Bytes() != n {
				t.Errorf("%d bytes accounted for of %d", d.Tally.Bytes(), n)
			}
			checkGood(t, d, tab)
		})
	}
}

// A bad record costs that record, a bad sample that sample.
func TestFaultsStayWhereTheyAre(t *testing.T) {
	ok := raw(1, 1022, frame())
	for _, c := range []struct {
		name    string
		payload []byte
		want    string
	}{
		{"bad gateway, good header", datagram(sample(ok, sized(1003, u32s(1, 1, 2, 3, 4, 1, 2, 900, 1)))), "rows=1 bad{list_length} rejected{list_length}=44"},
		{"bad address, good header", datagram(sample(sized(1002, u32s(3, 1, 2, 3)), ok)), "rows=1 bad{address_type} rejected{address_type}=24"},
		{"bad header alone, then a good sample", datagram(sample(sized(1, u32s(1, 64, 4, 900), frame())), sample(ok)), "rows=1 bad{header_length} rejected{header_length}=124"},
		{"short records", datagram(sample(sized(1, u32s(1)), sized(2, u32s(1)), sized(3, u32s(1)), sized(4, u32s(1)), sized(1001, u32s(1)), sized(1020, u32s(1)), ok)), "rows=1 bad{record_short} rejected{record_short}=72"},
		{"short lists", datagram(sample(ok, sized(1006, u32s(0, 9, 1)), sized(1007, u32s(1, 9, 2, 1)), sized(1012, u32s(2, 1)), sized(1012))),
			"rows=1 bad{list_length} rejected{record_short}=32 rejected{list_length}=36"},
		{"short tunnels and texts", datagram(sample(ok, sized(1023, u32s(1)), sized(1026, make([]byte, 52)), sized(1030), sized(1004, u32s(0, 9, 1)), sized(1005, u32s(0, 0)), sized(1009, text("vc"), u32s(1)))),
			"rows=1 bad{record_short} rejected{record_short}=116 rejected{list_length}=20"},
		{"texts past the end", datagram(sample(ok, sized(1004, u32s(0, 0, 0, 0xffffffff)), sized(1005, u32s(0, 0xfffffffd, 1)), sized(1005, u32s(0, 0, 1)), sized(1009, u32s(1)))),
			"rows=1 bad{list_length} rejected{list_length}=76"},
		{"sample with no packet", datagram(sample(sized(1001, u32s(1, 2, 3, 4))), sample(ok)), "rows=1 skipped{no_packet}=64"},
		{"sample with nothing", datagram(sample(), sample(ok)), "rows=1 skipped{no_packet}=40"},
		{"counters, expanded too, and unknown ones", datagram(sized(2, u32s(1, 2, 0)), sized(4, u32s(1, 2, 3, 0)), sized(4096|1, u32s(1)), sample(ok)), "rows=1 skipped{counters}=44 skipped{unknown_sample}=12"},
		{"sample too short", datagram(sized(1, u32s(1, 2, 3)), sized(3, u32s(1, 2, 3)), sized(5, u32s(1, 2, 3)), sample(ok)), "rows=1 bad{sample_short} rejected{sample_short}=60"},
		{"bytes behind the records", datagram(sized(1, u32s(1, 7, 100, 1000, 0, 7, 8, 1), ok, u32s(0, 0))), "rows=1 skipped{padding}=8"},
		{"bytes behind the samples", append(datagram(sample(ok)), 1, 2, 3), "rows=1 skipped{trailing}=3"},
		{"no samples", datagram(), "rows=0"},
		{"cut in a sample", datagram(sample(ok), sample(ok))[:200], "rows=1 bad{sample_length} rejected{sample_length}=48"},
		{"cut behind a sample", datagram(sample(ok), sample(ok))[:28+124+4], "rows=1 bad{sample_count} rejected{sample_count}=4"},
		{"version 4", u32s(4, 1, 2, 3, 4, 5, 6), "rows=0 refused{unknown_version} rejected{unknown_version}=28"},
		{"nothing", nil, "rows=0 refused{short_header}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tab := formatstest.NewTable(flow.Schema)
			d := sflow.NewDecoder(tab.Out, sflow.Options{}, tab)
			r := feed(d, c.payload)[0]
			if got := verdict(d, r); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if d.Tally.Bytes() != uint64(len(c.payload)) || tab.Rows() != r.Rows {
				t.Errorf("%d bytes accounted for of %d, %d rows", d.Tally.Bytes(), len(c.payload), tab.Rows())
			}
			checkGood(t, d, tab)
		})
	}
}

// The largest datagram full of the smallest samples and records takes little time.
func TestManySmallThings(t *testing.T) {
	tiny := sized(1, u32s(1, 7, 100, 1000, 0, 7, 8, 1), sized(3, make([]byte, 32)))
	empty := make([]byte, 8*5000)
	for name, p := range map[string][]byte{
		"samples": datagram(slices.Repeat([][]byte{tiny}, 65000/len(tiny))...),
		"records": datagram(sized(1, u32s(1, 7, 100, 1000, 0, 7, 8, 0xffffffff), empty)),
		"paths":   datagram(sample(raw(1, 1022, frame()), sized(1003, u32s(1, 1, 2, 3, 4, 0xffffffff), empty))),
	} {
		tab := formatstest.NewTable(flow.Schema)
		d := sflow.NewDecoder(tab.Out, sflow.Options{}, tab)
		start := time.Now()
		feed(d, p)
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("%s: %v", name, took)
		}
		if d.Tally.Bytes() != uint64(len(p)) {
			t.Errorf("%s: %d bytes accounted for of %d", name, d.Tally.Bytes(), len(p))
		}
		checkGood(t, d, tab)
	}
}

// FuzzDecode: any datagram accounts for every byte, makes no more records than it has room for, whatever columns are wanted, and
// leaves the decoder as it was for the next.
func FuzzDecode(f *testing.F) {
	var files []string // none: fewer seeds
	if dir, err := sdktest.FindTestData("flows/malformed"); err == nil {
		files, _ = filepath.Glob(filepath.Join(dir, "sf-*.bin"))
	}
	for _, file := range files {
		if p, err := os.ReadFile(file); err == nil {
			f.Add(p)
		}
	}
	f.Add(good)
	f.Add(datagram(sample(raw(1, 1022, frame()), sized(1003, u32s(1, 1, 2, 3, 4, 1, 2, 1, 5, 1, 6, 7)), sized(1006, u32s(1, 5, 1, 1<<12, 0)), sized(1007, u32s(1, 1, 1, 2)), sized(1012, u32s(2, 3, 4)))))
	f.Add(datagram(sized(3, u32s(1, 0, 7, 100, 1000, 0, 0, 7, 0, 8, 2), raw(12, 90, make([]byte, 33)), sized(1002, u32s(2, 1, 2, 3, 4, 24, 16)))))
	f.Add(datagram(countersSample(sized(1, generic), sized(2, ascending(1, 13)), sized(1005, text("eth0"))), sized(4, u32s(41, 2, 7, 1), sized(5, ascending(1, 7)))))
	f.Add(datagram(countersSample(sized(1001, ascending(1, 7)), sized(2000, text("host"), uuidBytes, u32s(2, 3), text("6.1")), sized(2003, loads, ascending(1, 17)),
		sized(2004, ascending(1, 18)), sized(2005, ascending(1, 13)), sized(2006, ascending(1, 10)), sized(2001, ascending(1, 4))), sample(raw(1, 1022, frame()))))
	f.Add(datagram(sample(raw(1, 1022, frame()), sized(1023, u32s(1072, 17, 1, 2, 3, 4789, 0, 0)), sized(1026, make([]byte, 56)), sized(1030, u32s(77)), sized(1004, u32s(106), text("alice"), u32s(0, 0)),
		sized(1005, u32s(1), text("/"), text("host")), sized(1009, text("vc"), u32s(1, 2)))))
	few := formatstest.Columns("in_if", "bytes")
	counts := flow.CountersSchema.Select(func(f sdk.Field) bool { return f.Name == "hostname" || f.Name == "if_in_octets" })
	f.Fuzz(func(t *testing.T, p []byte) {
		p = append(make([]byte, 0, len(p)), p...)
		rows, counted := -1, -1 // as the first decoders have it that make such rows
		for _, want := range []struct{ flows, counters *sdk.Schema }{{flow.Schema, nil}, {few, flow.CountersSchema}, {nil, counts}} {
			tab, ctab := formatstest.NewTable(few), formatstest.NewTable(counts)
			opt := sflow.Options{Decapsulate: packet.All}
			if want.flows != nil {
				tab = formatstest.NewTable(want.flows)
			}
			if want.counters != nil {
				ctab = formatstest.NewTable(want.counters)
				opt.Counters, opt.CounterRows = want.counters, ctab
			}
			tab.Size, ctab.Size = 256, 256 // memory to clear is what a run costs
			d := sflow.NewDecoder(want.flows, opt, tab)
			rs := feed(d, p, p)
			if d.Tally.Bytes() != uint64(2*len(p)) {
				t.Errorf("%d bytes accounted for of %d: %+v", d.Tally.Bytes(), 2*len(p), d.Tally)
			}
			n, c := tab.Rows(), ctab.Rows()
			if d.Tally.Records != uint64(n) || n != rs[0].Rows+rs[1].Rows || n > 2*len(p)/48 || d.Tally.CounterRows != uint64(c) || c > 2*len(p)/32 {
				t.Errorf("%d and %d records counted, %d and %d rows of %d bytes", d.Tally.Records, d.Tally.CounterRows, n, c, 2*len(p))
			}
			if want.flows != nil {
				if rows < 0 {
					rows = n
				}
				if n != rows {
					t.Errorf("%d rows of %v, %d of others", n, want.flows, rows)
				}
				checkGood(t, d, tab)
			}
			if want.counters != nil {
				if counted < 0 {
					counted = c
				}
				if c != counted {
					t.Errorf("%d rows of %v, %d of others", c, want.counters, counted)
				}
			}
		}
	})
}

func TestReasonsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range sflow.Reasons() {
		s := r.String()
		if s == "" || seen[s] || strings.Contains(s, "(") {
			t.Errorf("reason %d is named %q", r, s)
		}
		seen[s] = true
		if fault := r >= sflow.SampleLength; fault != (r.Sentence() != "") {
			t.Errorf("reason %v has the sentence %q", r, r.Sentence())
		}
	}
}
