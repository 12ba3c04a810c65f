//go:build linux

package main_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/formatstest/tshark"
)

// within is how long all of it may take at most: some seconds, but machines are busy.
const within = 3 * time.Minute

// softflowd is what it is started with: versions, what makes a flow, time formats, sampling, labels, both directions in one record.
// Those that say what they have seen must have seen all of it but packets that are tagged twice, which it does not know.
var softflowd = []struct {
	args  string
	saw   func(*seen) bool // nil: a part of it
	exact bool             // times are those of the packets, in milliseconds
}{
	{"-v 1", func(p *seen) bool { return !p.v6 && !p.double }, false},
	{"-v 5", func(p *seen) bool { return !p.v6 && !p.double }, false},
	{"-v 5 -a -s 2", nil, false},
	{"-v 9", func(p *seen) bool { return !p.double }, false},
	{"-v 9 -T ether -a -s 3", nil, false},
	{"-v 9 -s 40", nil, false},
	{"-v 9 -T proto", func(p *seen) bool { return !p.double }, false},
	{"-v 9 -A milli -x 2", func(p *seen) bool { return !p.double }, true},
	{"-v 10", func(p *seen) bool { return !p.double }, false},
	{"-v 10 -b -T ether", func(p *seen) bool { return !p.double }, false},
	{"-v 10 -A sec -x 3", func(p *seen) bool { return !p.double }, false},
	{"-v 10 -A milli -a", func(p *seen) bool { return !p.double }, true},
	{"-v 10 -A micro -s 4", nil, false},
	{"-v 10 -A nano -T vlan", func(p *seen) bool { return !p.double }, false},
	{"-v psamp", func(p *seen) bool { return true }, false},
}

// exporters begins a test of all of them, in parallel to others.
func exporters(t *testing.T) {
	t.Helper()
	t.Parallel()
	if testing.Short() {
		t.Skip("two dozen processes, each of which sends for seconds")
	}
	have(t, "softflowd", "pmacctd", "tshark")
}

// Real exporters read made traffic of all kinds and send what they found to a collector. Each record is what tshark reads in the
// same datagrams, in each of its columns; none is missing and none too many, live as well as from a capture of the datagrams.
func TestRealExporters(t *testing.T) {
	exporters(t)
	at := time.Now().Add(-10 * time.Minute).Truncate(time.Second).Add(136593 * time.Microsecond)
	drive(t, &input{packets: traffic(at), known: true})
}

// So it is when they read what was captured.
func TestRealExportersOfCaptures(t *testing.T) {
	exporters(t)
	at := time.Now().Add(-10 * time.Minute).Truncate(time.Second).Add(271 * time.Microsecond)
	drive(t, &input{packets: captured(t, at), hints: hints(t), low: true})
}

// have skips the test where a tool is not installed.
func have(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not installed")
		}
	}
}

// input is what exporters read.
type input struct {
	packets []seen
	known   bool          // what is said of the packets says what records must be of
	hints   []tshark.Hint // for those that exporters send on
	low     bool          // some exporter's datagrams have low counts
}

// drive has the exporters read an input, and compares.
func drive(t *testing.T, in *input) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	dir := t.TempDir()
	netflow, sflow, admin := freeAddr(t), freeAddr(t), freeAddr(t)
	live := weir(ctx, t, fmt.Sprintf(`{ type: udp, with: { listen: ["%s", "%s"], workers: 2 } }`, netflow, sflow), "--admin", admin.String())
	live.ready(t, admin)
	began := time.Now()
	relays := export(ctx, t, dir, in.packets, netflow, sflow)
	// What the kernel holds for the collector by now, it reads before it stops.
	if err := live.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	liveRows, liveAccount := live.end(t)
	ended := time.Now()

	frames := recorded(relays)
	recording, mended := filepath.Join(dir, "sent.pcap"), filepath.Join(dir, "mended.pcap")
	write(t, recording, tshark.Pcap(frames))
	low := lowCounts(frames)
	write(t, mended, tshark.Pcap(raised(frames, low)))
	again := weir(ctx, t, fmt.Sprintf(`{ type: pcap, with: { path: "%s" } }`, recording), "--admin", "off")
	shown := tshark.Read(t, mended, map[uint16]string{netflow.Port(): "cflow", sflow.Port(): "sflow"}, in.hints...)
	rows, account := again.end(t)

	var want []map[string]string
	for _, d := range shown {
		for _, r := range d.Rows {
			want = append(want, r)
		}
	}
	for i := range low {
		if n := int(be.Uint16(frames[i].Data[payload+2:])); n != len(shown[i].Rows) {
			t.Errorf("datagram %d has %d FlowSets with %d flow records and counts %d, which is known of no exporter: %x", i, low[i], len(shown[i].Rows), n, frames[i].Data[payload:])
		}
	}
	if in.low && len(low) == 0 {
		t.Error("no datagram counts fewer records than it has: tshark needs no other counts")
	}
	liveAccount.check(t, "live", len(shown), len(want))
	account.check(t, "recorded", len(shown), len(want))
	for i, r := range relays {
		t.Run(strings.ReplaceAll(r.name, " ", ""), func(t *testing.T) {
			want, got, live := of(want, r.addr()), of(rows, r.addr()), of(liveRows, r.addr())
			if len(want) < 5 {
				t.Errorf("only %d records were sent in %d datagrams", len(want), len(r.kept))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("records (-tshark +decoded):\n%.20000s", diff)
			}
			if diff := cmp.Diff(timeless(got), timeless(live)); diff != "" {
				t.Errorf("records (-from the capture +live):\n%.20000s", diff)
			}
			for _, row := range live {
				if at := moment(t, row["received"]); at.Before(began) || at.After(ended) {
					t.Errorf("received %v, which is not between %v and %v", at, began, ended)
				}
			}
			if in.known && i < len(softflowd) && softflowd[i].saw != nil {
				truth(t, got, in.packets, softflowd[i].saw, softflowd[i].exact)
			}
			if r.name == "softflowd -v psamp" && len(got) != len(in.packets) { // each has a record of its own
				t.Errorf("%d records of %d packets", len(got), len(in.packets))
			}
			t.Logf("%d datagrams, %d records, %d values", len(r.kept), len(want), values(want))
		})
	}

	// softflowd's numbers of IPFIX count the message's own records and no options: whoever goes by them, as tshark does, sees gaps.
	// The others' have none.
	wrong := func(r *relay) bool { return strings.HasPrefix(r.name, "softflowd -v 10") }
	proper := filepath.Join(dir, "proper.pcap")
	write(t, proper, tshark.Pcap(recorded(slices.DeleteFunc(slices.Clone(relays), wrong))))
	if _, a := weir(ctx, t, fmt.Sprintf(`{ type: pcap, with: { path: "%s" } }`, proper), "--admin", "off").end(t); len(a.Lost) > 0 || a.Received == 0 {
		t.Errorf("of exporters without gaps is lost: %+v", a)
	}
	if len(account.Lost) == 0 || len(liveAccount.Lost) == 0 {
		t.Errorf("no gap was told of exporters with gaps: %v from the capture, %v live", account.Lost, liveAccount.Lost)
	}
}

// export has all exporters read packets, and returns what stood between them and the collector, in softflowd's order first.
func export(ctx context.Context, t *testing.T, dir string, packets []seen, netflow, sflow netip.AddrPort) (relays []*relay) {
	t.Helper()
	capture := filepath.Join(dir, "traffic.pcap")
	write(t, capture, micros(packets))
	relayed := func(name string, to netip.AddrPort) *relay {
		r := newRelay(t, name, byte(2+len(relays)), to)
		relays = append(relays, r)
		return r
	}
	var running sync.WaitGroup
	start := func(name string, args ...string) {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir = dir
		running.Go(func() {
			// pmacctd's processes race to the end, and may call it an error that one was faster.
			if out, err := cmd.CombinedOutput(); err != nil && (name != "pmacctd" || ctx.Err() != nil) {
				t.Errorf("%s %v: %v: %s", name, args, err, out)
			}
		})
	}
	for _, x := range softflowd {
		r := relayed("softflowd "+x.args, netflow)
		start("softflowd", append([]string{"-r", capture, "-n", fmt.Sprintf("127.0.0.1:%d", r.port()), "-c", "none", "-p", "none"}, strings.Fields(x.args)...)...)
	}
	start("pmacctd", "-f", pmacctd(t, dir, capture, func(probe string) *relay {
		if strings.HasPrefix(probe, "sfprobe") {
			return relayed(probe, sflow)
		}
		return relayed(probe, netflow)
	}))
	running.Wait()
	for _, r := range relays {
		r.end(t)
	}
	return relays
}

// recorded is what passed.
func recorded(relays []*relay) (frames []tshark.Frame) {
	for _, r := range relays {
		for _, k := range r.kept {
			frames = append(frames, tshark.Frame{At: k.at, Data: tshark.UDP(k.from, k.to, k.payload)})
		}
	}
	slices.SortStableFunc(frames, func(a, b tshark.Frame) int { return a.At.Compare(b.At) })
	return frames
}

// Where a datagram is in a frame of tshark.UDP.
const payload = 14 + 20 + 8

// lowCounts is the datagrams of NetFlow version 9 that have more FlowSets than the header counts records, and how many. The header is to
// count the records of templates, options and data (RFC 3954, 5.1), and each set has one at least; softflowd counts those of flows alone.
// Where the next set begins the length of a set says (5.3), which a collector goes by; tshark shows no more sets than the count.
func lowCounts(frames []tshark.Frame) map[int]int {
	low := map[int]int{}
	for i, f := range frames {
		b := f.Data[payload:]
		if be.Uint16(b) != 9 {
			continue
		}
		sets := 0
		for at := 20; at+4 <= len(b); sets++ {
			at += max(4, int(be.Uint16(b[at+2:])))
		}
		if sets > int(be.Uint16(b[2:])) {
			low[i] = sets
		}
	}
	return low
}

// raised is the frames with counts of FlowSets where those are more than the header counts, so that tshark shows all records.
func raised(frames []tshark.Frame, low map[int]int) []tshark.Frame {
	frames = slices.Clone(frames)
	for i, sets := range low {
		frames[i].Data = bytes.Clone(frames[i].Data)
		be.PutUint16(frames[i].Data[payload+2:], uint16(sets))
	}
	return frames
}

// truth compares records with the packets that they are of.
func truth(t *testing.T, rows []map[string]string, packets []seen, saw func(*seen) bool, exact bool) {
	t.Helper()
	type sum struct {
		packets     uint64
		first, last time.Time
	}
	var want, got sum
	for i := range packets {
		if p := &packets[i]; saw(p) {
			want.packets++
			if want.first.IsZero() {
				want.first = p.At.Truncate(time.Millisecond).UTC()
			}
			want.last = p.At.Truncate(time.Millisecond).UTC()
		}
	}
	for _, r := range rows {
		if p := r["packets"]; p != "" { // without it nothing went this way
			n, err := strconv.ParseUint(p, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			got.packets += n
		}
		if at := moment(t, r["flow_start"]); got.first.IsZero() || at.Before(got.first) {
			got.first = at
		}
		if at := moment(t, r["flow_end"]); at.After(got.last) {
			got.last = at
		}
	}
	if !exact {
		want.first, want.last, got.first, got.last = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	}
	if want != got {
		t.Errorf("the traffic was %+v, and the records are of %+v", want, got)
	}
}

func moment(t *testing.T, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func values(rows []map[string]string) (n int) {
	for _, r := range rows {
		n += len(r)
	}
	return n
}

// pmacctd writes a configuration of several probes, each with its receiver.
func pmacctd(t *testing.T, dir, capture string, receiver func(probe string) *relay) (file string) {
	t.Helper()
	nets := filepath.Join(dir, "networks")
	if err := os.WriteFile(nets, []byte("64500,192.0.2.0/24\n64501,198.51.100.0/25\n4200000001,203.0.113.0/26\n64502,2001:db8:1::/48\n64503,2001:db8:2::/56\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(dir, "pmacctd.conf")
	var b strings.Builder
	set := func(probe, key string, value any) {
		if _, name, ok := strings.Cut(probe, " "); ok {
			key += "[" + name + "]"
		}
		fmt.Fprintf(&b, "%s: %v\n", key, value)
	}
	set("", "daemonize", "false")
	set("", "pcap_savefile", capture)
	set("", "logfile", filepath.Join(dir, "pmacctd.log"))
	set("", "networks_file", nets)
	set("", "pmacctd_as", "file")
	set("", "pmacctd_net", "file")
	const ends = "src_host,dst_host,src_port,dst_port,proto,tos,tcpflags"
	const all = ends + ",vlan,src_mac,dst_mac,src_as,dst_as,src_mask,dst_mask,in_iface,out_iface"
	var plugins []string
	for _, p := range []struct {
		probe string
		keys  map[string]any
	}{
		{"nfprobe v5", map[string]any{"nfprobe_version": 5, "nfprobe_engine": "3:9", "aggregate": all}},
		{"nfprobe v9", map[string]any{"nfprobe_version": 9, "nfprobe_engine": 4294967295, "aggregate": all}},
		{"nfprobe ipfix", map[string]any{"nfprobe_version": 10, "nfprobe_engine": 7, "aggregate": all, "nfprobe_direction": "out", "nfprobe_ifindex": 4000000000}},
		{"nfprobe labels", map[string]any{"nfprobe_version": 10, "nfprobe_tstamp_usec": true, "nfprobe_direction": "in",
			"aggregate": ends + ",mpls_label_top,mpls_label_bottom,mpls_stack_depth,etype,cos,vlan,flows,peer_dst_ip"}},
		{"nfprobe sampled9", map[string]any{"nfprobe_version": 9, "sampling_rate": 2, "aggregate": ends}},
		{"nfprobe sampled10", map[string]any{"nfprobe_version": 10, "sampling_rate": 3, "aggregate": ends + ",tag,tag2,label"}},
		{"nfprobe uncached", map[string]any{"nfprobe_version": 10, "nfprobe_dont_cache": true, "aggregate": all}},
		{"sfprobe all", map[string]any{"aggregate": all, "sfprobe_agentsubid": 77, "sfprobe_direction": "out", "sfprobe_ifindex": 55, "sfprobe_ifspeed": 1000000000}},
		{"sfprobe plain", map[string]any{"aggregate": ends, "sampling_rate": 2}},
	} {
		r := receiver(p.probe)
		kind, name, _ := strings.Cut(p.probe, " ")
		plugins = append(plugins, kind+"["+name+"]")
		set(p.probe, kind+"_receiver", fmt.Sprintf("127.0.0.1:%d", r.port()))
		if kind == "sfprobe" {
			set(p.probe, "sfprobe_agentip", r.addr())
		}
		for _, k := range slices.Sorted(maps.Keys(p.keys)) {
			set(p.probe, k, p.keys[k])
		}
	}
	set("", "plugins", strings.Join(plugins, ","))
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
