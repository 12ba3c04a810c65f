package emulate

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// writePcap writes the datagrams as a capture of raw IP packets (LINKTYPE_RAW).
func writePcap(t *testing.T, name string, xs []sent) {
	t.Helper()
	ports := map[Protocol]uint16{NetFlowV5: 2055, NetFlowV9: 2055, IPFIX: 4739, SFlow: 6343}
	le := binary.LittleEndian
	b := []byte{0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 101, 0, 0, 0}
	for _, x := range xs {
		n := uint32(28 + len(x.Payload))
		b = le.AppendUint32(b, uint32(x.Sent/1e9))
		b = le.AppendUint32(b, uint32(x.Sent%1e9/1e3))
		b = le.AppendUint32(b, n)
		b = le.AppendUint32(b, n)
		b = append(b, 0x45, 0)
		b = be.AppendUint16(b, uint16(n))
		b = append(b, 0, 0, 0x40, 0, 64, 17, 0, 0)
		b = append(b, x.Exporter[12:]...)
		b = append(b, 127, 0, 0, 1)
		b = be.AppendUint16(b, x.Port)
		b = be.AppendUint16(b, ports[x.Protocol])
		b = be.AppendUint16(b, uint16(8+len(x.Payload)))
		b = append(b, 0, 0)
		b = append(b, x.Payload...)
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// tshark runs the dissector over the capture and returns its lines.
func tshark(t *testing.T, args ...string) []string {
	t.Helper()
	// What the sampled frames carry is a pattern, not the protocol of the port.
	for _, p := range []string{"tls", "quic", "http", "dns", "mdns", "kafka", "mysql", "pgsql", "resp", "ssh", "smtp", "imap", "ntp", "stun", "classicstun",
		"udpencap", "isakmp", "esp"} {
		args = append(args, "--disable-protocol", p)
	}
	cmd := exec.Command("tshark", args...)
	cmd.Env = append(os.Environ(), "TZ=UTC")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("tshark %v: %v: %s", args, err, &errs)
	}
	return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
}

// Severities of tshark's experts.
const warning, fault = "6291456", "8388608"

// Wireshark, which shares no code with us, reads every datagram without complaint and sees the values that Flows says.
func TestTshark(t *testing.T) {
	if _, err := exec.LookPath("tshark"); err != nil {
		t.Skip("tshark is not installed: it is the independent reader that this test compares with")
	}
	for p := range protocols {
		t.Run(p.String(), func(t *testing.T) {
			t.Parallel()
			o := options()
			o.Mix = Mix{{p, 1}}
			xs := play(emulator(t, o), 150, 34*time.Millisecond)
			file := filepath.Join(t.TempDir(), "sent.pcap")
			writePcap(t, file, xs)

			// Of each datagram: what tshark complains of (sequence numbers that do not go on are among it), what was announced, and
			// the values of its flows.
			complaints := []string{"_ws.malformed", "cflow.no_template_found", "cflow.sequence_analysis.expected_sn", "_ws.expert.severity", "_ws.expert.message"}
			sampling := map[Protocol]struct {
				field, want string
				data        bool // in the datagrams of data, not in those of templates
			}{
				NetFlowV5: {"cflow.samplerate", "100", true},
				NetFlowV9: {"cflow.sampler_random_interval", "100,200", false},
				IPFIX:     {"cflow.sampling_packet_space", "99,199", false},
				SFlow:     {"sflow_245.ifspeed", "10000000000", false},
			}[p]
			fields, values := columns(p)
			args := []string{"-r", file, "-T", "fields"}
			for _, f := range slices.Concat(complaints, []string{sampling.field}, fields) {
				args = append(args, "-e", f)
			}
			lines := tshark(t, args...)
			if len(lines) != len(xs) {
				t.Fatalf("%d datagrams read, want %d", len(lines), len(xs))
			}
			compared := 0
			for i, line := range lines {
				cells := strings.Split(line, "\t")
				bad, got := cells[:len(complaints)], cells[len(complaints)]
				cells = cells[len(complaints)+1:]
				if bad[0]+bad[1]+bad[2] != "" || strings.Contains(bad[3], warning) || strings.Contains(bad[3], fault) {
					t.Fatalf("datagram %d: tshark complains: %s", i+1, bad)
				}
				if (xs[i].Records > 0) == sampling.data && got != sampling.want {
					t.Errorf("datagram %d: %s is %q, want %q", i+1, sampling.field, got, sampling.want)
				}
				if xs[i].Records == 0 {
					continue
				}
				for k, f := range fields {
					var want []string
					for j := range xs[i].Flows {
						if v := values[k](&xs[i], &xs[i].Flows[j]); v != "" {
							want = append(want, v)
						}
					}
					if diff := cmp.Diff(strings.Join(want, ","), cells[k]); diff != "" {
						t.Fatalf("datagram %d, %s (-emulate +tshark):\n%s", i+1, f, diff)
					}
					compared += len(want)
				}
			}
			if compared == 0 {
				t.Error("no value was compared")
			}
			t.Logf("%d values compared", compared)
		})
	}
}

// columns are tshark's fields and what each must hold for a flow; empty: the field is absent.
func columns(p Protocol) (fields []string, values []func(x *sent, f *Flow) string) {
	add := func(name string, v func(x *sent, f *Flow) string) {
		fields, values = append(fields, name), append(values, v)
	}
	number := func(name string, v func(f *Flow) uint64) {
		add(name, func(x *sent, f *Flow) string { return strconv.FormatUint(v(f), 10) })
	}
	family := func(name string, v6 bool, v func(f *Flow) [16]byte) {
		add(name, func(x *sent, f *Flow) string {
			if f.v6 != v6 {
				return ""
			}
			return netip.AddrFrom16(v(f)).Unmap().String()
		})
	}
	src, dst, nh := func(f *Flow) [16]byte { return f.Src }, func(f *Flow) [16]byte { return f.Dst }, func(f *Flow) [16]byte { return f.NextHop }
	if p == SFlow {
		number("sflow.flow_sample.sampling_rate", func(f *Flow) uint64 { return uint64(f.SamplingRate) })
		number("sflow.flow_sample.input_interface", func(f *Flow) uint64 { return uint64(f.InIf) })
		add("sflow.flow_sample.output_interface", func(x *sent, f *Flow) string { return fmt.Sprintf("0x%08x", f.OutIf) })
		number("sflow_245.nexthop.src_mask", func(f *Flow) uint64 { return uint64(f.SrcMask) })
		number("sflow_245.nexthop.dst_mask", func(f *Flow) uint64 { return uint64(f.DstMask) })
		family("sflow_245.nexthop", false, nh)
		family("sflow_245.nexthop.v6", true, nh)
		number("sflow_245.header.frame_length", func(f *Flow) uint64 { return f.Bytes })
		number("sflow_245.vlan.in", func(f *Flow) uint64 { return uint64(f.VLAN) })
		mac := func(name string, v func(f *Flow) uint64) {
			add(name, func(x *sent, f *Flow) string {
				m := binary.BigEndian.AppendUint64(nil, v(f))
				return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[2], m[3], m[4], m[5], m[6], m[7])
			})
		}
		mac("eth.src", func(f *Flow) uint64 { return f.SrcMAC })
		mac("eth.dst", func(f *Flow) uint64 { return f.DstMAC })
		v6 := func(name string, v func(f *Flow) int) {
			add(name, func(_ *sent, f *Flow) string {
				if !f.v6 {
					return ""
				}
				return strconv.Itoa(v(f))
			})
		}
		v6("ipv6.plen", func(f *Flow) int { return int(f.PacketLength) - 40 })
		v6("ipv6.hlim", func(f *Flow) int { return int(f.TTL) })
		family("ipv6.src", true, src)
		family("ipv6.dst", true, dst)
		add("tcp.srcport", func(x *sent, f *Flow) string {
			if f.Protocol != tcp {
				return ""
			}
			return fmt.Sprint(f.SrcPort)
		})
		add("tcp.flags", func(x *sent, f *Flow) string {
			if f.Protocol != tcp {
				return ""
			}
			return fmt.Sprintf("0x%04x", f.TCPFlags)
		})
		return fields, values
	}
	family("cflow.srcaddr", false, src)
	family("cflow.dstaddr", false, dst)
	family("cflow.nexthop", false, nh)
	if p != NetFlowV5 {
		family("cflow.srcaddrv6", true, src)
		family("cflow.dstaddrv6", true, dst)
		family("cflow.nexthopv6", true, nh)
		number("cflow.direction", func(f *Flow) uint64 { return uint64(f.Direction) })
	}
	number("cflow.octets", func(f *Flow) uint64 { return f.Bytes })
	number("cflow.packets", func(f *Flow) uint64 { return f.Packets })
	number("cflow.protocol", func(f *Flow) uint64 { return uint64(f.Protocol) })
	number("cflow.srcport", func(f *Flow) uint64 { return uint64(f.SrcPort) })
	number("cflow.dstport", func(f *Flow) uint64 { return uint64(f.DstPort) })
	number("cflow.inputint", func(f *Flow) uint64 { return uint64(f.InIf) })
	number("cflow.outputint", func(f *Flow) uint64 { return uint64(f.OutIf) })
	number("cflow.srcas", func(f *Flow) uint64 { return uint64(f.SrcAS) })
	number("cflow.dstas", func(f *Flow) uint64 { return uint64(f.DstAS) })
	add("cflow.tcpflags", func(x *sent, f *Flow) string { return fmt.Sprintf("0x%02x", f.TCPFlags) })
	add("cflow.tos", func(x *sent, f *Flow) string { return fmt.Sprintf("0x%02x", f.TOS) })
	// Times as the wire has them: uptime in ms, or the date.
	uptime := func(x *sent, ns int64) string {
		return fmt.Sprintf("%.9f", float64(x.Uptime+uint32((ns-x.Exported)/1e6))/1000)
	}
	if p == IPFIX {
		const form = "Jan _2, 2006 15:04:05.000000000 UTC"
		add("cflow.abstimestart", func(x *sent, f *Flow) string { return time.Unix(0, f.Start).UTC().Format(form) })
		add("cflow.abstimeend", func(x *sent, f *Flow) string { return time.Unix(0, f.End).UTC().Format(form) })
	} else {
		add("cflow.timestart", func(x *sent, f *Flow) string { return uptime(x, f.Start) })
		add("cflow.timeend", func(x *sent, f *Flow) string { return uptime(x, f.End) })
	}
	switch p {
	case NetFlowV9:
		number("cflow.sampler_id", func(f *Flow) uint64 { return uint64(f.Sampler) })
	case IPFIX:
		number("cflow.selector_id", func(f *Flow) uint64 { return uint64(f.Sampler) })
		add("cflow.if_name", func(x *sent, f *Flow) string { return f.Interface })
	}
	return fields, values
}
