package main_test

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/weirflow/weir/formats/emulate"
	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/formats/formatstest/tshark"
	"github.com/weirflow/weir/formats/pcap"
	"github.com/weirflow/weir/sdk/sdktest"
)

// captured is the traffic of all test captures: frames with encapsulations, sessions of BMP, the datagrams of exporters, which are
// traffic too, and what is in those of sFlow: frames cut short by switches, and by the emulator of weir generate. Each is there three
// times, a round after the other, so that there are flows of several packets.
func captured(t *testing.T, from time.Time) (packets []seen) {
	t.Helper()
	dir := sdktest.TestData(t, "flows")
	var frames []tshark.Frame
	for _, folder := range []string{"frames", "bmp", "netflow", "sflow"} {
		for _, file := range pcaps(t, dir, folder) {
			frames = append(frames, ethernet(t, file)...)
		}
	}
	frames = append(frames, sampled(t, pcaps(t, dir, "sflow"))...)
	for range 3 {
		for _, f := range frames {
			from = from.Add(7 * time.Millisecond)
			f.At = from
			packets = append(packets, seen{Frame: f})
		}
	}
	return packets
}

// pcaps is the captures of a folder.
func pcaps(t *testing.T, dir, folder string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, folder, "*.pcap"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no captures in %s: %v", filepath.Join(dir, folder), err)
	}
	return files
}

// ethernet is the frames of a capture.
func ethernet(t *testing.T, file string) (frames []tshark.Frame) {
	t.Helper()
	formatstest.Capture(t, file, func(p *pcap.Packet) {
		head, rest, refusal := pcap.Ethernet(p.Interface.Link, p.Data)
		if refusal != pcap.OK {
			t.Fatalf("%s: %v", file, refusal)
		}
		frames = append(frames, tshark.Frame{Data: append(head[:], rest...), Length: int(p.Length)})
	})
	return frames
}

// sampled is the Ethernet frames in the flow samples of captures, and in some that are generated.
func sampled(t *testing.T, files []string) (frames []tshark.Frame) {
	t.Helper()
	base := time.Now().Truncate(time.Second)
	e, err := emulate.New(emulate.Options{Mix: emulate.Mix{{Protocol: emulate.SFlow, Weight: 1}}, Exporters: 1, IPv6: 0.3, Base: base, Seed: 5})
	if err != nil {
		t.Fatal(err)
	}
	var made []tshark.Frame
	records := 0
	for at := base; records < 40; at = at.Add(time.Millisecond) {
		b, d := e.Append(nil, at.UnixNano(), 0)
		records += d.Records
		from, to := netip.AddrPortFrom(netip.AddrFrom16(d.Exporter).Unmap(), d.Port), netip.MustParseAddrPort("192.0.2.250:6343")
		made = append(made, tshark.Frame{At: at, Data: tshark.UDP(from, to, b)})
	}
	file := filepath.Join(t.TempDir(), "generated.pcap")
	write(t, file, tshark.Pcap(made))
	quoted := strconv.Quote(file)
	for _, f := range files {
		quoted += ", " + strconv.Quote(f)
	}
	rows, _ := weir(t.Context(), t, fmt.Sprintf("{ type: pcap, with: { path: [%s] } }", quoted), "--admin", "off").end(t)
	for _, r := range rows {
		if r["src_mac"] == "" {
			continue // sampled from its IP header on
		}
		b, err := hex.DecodeString(r["frame"])
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(r["bytes"])
		if err != nil {
			t.Fatal(err)
		}
		frames = append(frames, tshark.Frame{Data: b, Length: n})
	}
	if len(frames) < records+10 {
		t.Fatalf("%d frames, and %d were generated", len(frames), records)
	}
	return frames
}

// pseudowires are captured frames with another frame behind their labels and a control word, which tshark does not see unless it is told.
// Nothing in a packet says what is behind a label (RFC 3032, 2.2), so each reader guesses. tshark goes by the vendors of the MAC
// addresses, and these, locally administered, are of none: it takes the frame to begin where the control word does. What would then
// be the frame's type is 0, the length of an 802.3 frame without anything in it. Four bytes on there are IPv4's type and a packet of
// as many bytes as its header says.
var pseudowires = []struct{ file, as string }{
	{"mpls-eompls-cw", "mpls.label==17,pwethcw"},          // the word is 0: no sequence numbers (RFC 4448, 4.6)
	{"mpls-eompls-invalid-cw", "mpls.label==100,pwethcw"}, // number 1: a control word too, for its first four bits are 0 (RFC 4385, 3)
}

// hints is what tshark must be told of frames within records.
func hints(t *testing.T) (hs []tshark.Hint) {
	t.Helper()
	dir := sdktest.TestData(t, "flows/frames")
	for _, p := range pseudowires {
		for _, f := range ethernet(t, filepath.Join(dir, p.file+".pcap")) {
			hs = append(hs, tshark.Hint{Frame: f.Data, As: p.as})
		}
	}
	return hs
}
