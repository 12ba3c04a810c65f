package pcap

import (
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/sdk/sdktest"
)

var (
	a1 = netip.MustParseAddrPort("192.0.2.1:40000")
	b1 = netip.MustParseAddrPort("198.51.100.2:2055")
	a6 = netip.MustParseAddr("2001:db8::1")
	b6 = netip.MustParseAddr("2001:db8::2")
)

func TestUDP(t *testing.T) {
	four := udp4(a1, b1, []byte("payload"))
	six := ip6(a6, b6, protoUDP, udpPart(40000, 2055, []byte("payload")))
	change := func(p []byte, at int, v ...byte) []byte { p = append([]byte(nil), p...); copy(p[at:], v); return p }
	is4 := Datagram{Src: a1.Addr().As16(), Dst: b1.Addr().As16(), SrcPort: 40000, DstPort: 2055, Payload: []byte("payload")}
	is6 := is4
	is6.Src, is6.Dst = a6.As16(), b6.As16()
	options := change(append(append(append([]byte(nil), four[:20]...), 1, 1, 1, 0), four[20:]...), 0, 0x46, 0, 0, byte(len(four)+4))
	for name, c := range map[string]struct {
		link  LinkType
		frame []byte
		want  Datagram
		r     Refusal
	}{
		"ethernet":               {LinkEthernet, eth(etherIPv4, four), is4, OK},
		"ethernet, padded":       {LinkEthernet, append(eth(etherIPv4, four), 0, 0, 0, 0), is4, OK},
		"ethernet, IPv6":         {LinkEthernet, eth(etherIPv6, six), is6, OK},
		"802.1Q":                 {LinkEthernet, eth(0x8100, append([]byte{0, 5, 8, 0}, four...)), is4, OK},
		"802.1ad":                {LinkEthernet, eth(0x88a8, append([]byte{0, 5, 0x81, 0, 0, 6, 0x86, 0xdd}, six...)), is6, OK},
		"tags without end":       {LinkEthernet, eth(0x8100, []byte(strings.Repeat("\x00\x01\x81\x00", 9))), Datagram{}, Malformed},
		"SLL":                    {LinkSLL, append(make([]byte, 14), append([]byte{8, 0}, four...)...), is4, OK},
		"SLL2":                   {LinkSLL2, append([]byte{0x86, 0xdd}, append(make([]byte, 18), six...)...), is6, OK},
		"raw IPv4":               {LinkRaw, four, is4, OK},
		"raw IPv6":               {LinkIPv6, six, is6, OK},
		"null":                   {LinkNull, append([]byte{2, 0, 0, 0}, four...), is4, OK},
		"loop":                   {LinkLoop, append([]byte{0, 0, 0, 24}, six...), is6, OK},
		"unknown link":           {147, four, Datagram{}, UnknownLink},
		"IPv4 options":           {LinkRaw, options, is4, OK},
		"ARP":                    {LinkEthernet, eth(0x0806, four), Datagram{}, NotUDP},
		"TCP":                    {LinkRaw, change(four, 9, 6), Datagram{}, NotUDP},
		"first fragment":         {LinkRaw, change(udp4(a1, b1, make([]byte, 16)), 6, 0x20), Datagram{}, Fragment},
		"first fragment, odd":    {LinkRaw, change(four, 6, 0x20), Datagram{}, Malformed},
		"fragment too far out":   {LinkRaw, change(four, 6, 0x1f, 0xff), Datagram{}, Malformed},
		"fragment, snap length":  {LinkRaw, change(four, 6, 0, 9)[:30], Datagram{}, ShortFrame},
		"later fragment":         {LinkRaw, change(four, 6, 0, 9), Datagram{}, Fragment},
		"do not fragment":        {LinkRaw, change(four, 6, 0x40), is4, OK},
		"header length":          {LinkRaw, change(four, 0, 0x44), Datagram{}, Malformed},
		"total length too small": {LinkRaw, change(four, 2, 0, 21), Datagram{}, Malformed},
		"UDP length too large":   {LinkRaw, change(four, 24, 0xff), Datagram{}, Malformed},
		"UDP length too small":   {LinkRaw, change(four, 24, 0, 7), Datagram{}, Malformed},
		"snap length":            {LinkRaw, four[:len(four)-1], Datagram{}, ShortFrame},
		"snap length in headers": {LinkRaw, four[:24], Datagram{}, ShortFrame},
		"empty":                  {LinkRaw, nil, Datagram{}, ShortFrame},
		"extension headers": {LinkRaw, ip6(a6, b6, 0, append([]byte{43, 0, 0, 0, 0, 0, 0, 0, 60, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 51, 0, 0, 0, 0, 0, 0, 0, 44, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, protoUDP, 0, 0, 0, 0, 0, 0, 0},
			udpPart(40000, 2055, []byte("payload"))...)), is6, OK},
		"IPv6 fragment":         {LinkRaw, ip6(a6, b6, 44, append([]byte{protoUDP, 0, 0, 1, 0, 0, 0, 0}, udpPart(1, 2, nil)...)), Datagram{}, Fragment},
		"IPv6 TCP fragment":     {LinkRaw, ip6(a6, b6, 44, append([]byte{6, 0, 0, 1, 0, 0, 0, 0}, udpPart(1, 2, nil)...)), Datagram{}, NotUDP},
		"IPv6 header too long":  {LinkRaw, ip6(a6, b6, 60, []byte{protoUDP, 9, 0, 0, 0, 0, 0, 0}), Datagram{}, Malformed},
		"IPv6 encrypted":        {LinkRaw, ip6(a6, b6, 50, make([]byte, 20)), Datagram{}, NotUDP},
		"IPv6, snap length":     {LinkRaw, six[:50], Datagram{}, ShortFrame},
		"IPv6 header cut short": {LinkRaw, six[:20], Datagram{}, ShortFrame},
	} {
		t.Run(name, func(t *testing.T) {
			var d Datagram
			r := UDP(c.link, c.frame, &d)
			if r != c.r {
				t.Fatalf("%s, want %s", r, c.r)
			}
			if r == OK {
				if diff := cmp.Diff(c.want, d); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// However much of a frame was captured: as long as the datagram is not whole, it is short and nothing else, and no byte more is needed
// than the datagram's last.
func TestEveryBeginningIsShort(t *testing.T) {
	four, six := udp4(a1, b1, []byte("payload")), ip6(a6, b6, protoUDP, udpPart(40000, 2055, []byte("payload")))
	extended := ip6(a6, b6, 0, append([]byte{43, 0, 0, 0, 0, 0, 0, 0, 60, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 51, 0, 0, 0, 0, 0, 0, 0,
		135, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 139, 0, 0, 0, 0, 0, 0, 0, 140, 0, 0, 0, 0, 0, 0, 0, 44, 0, 0, 0, 0, 0, 0, 0, protoUDP, 0, 0, 0, 0, 0, 0, 0},
		udpPart(40000, 2055, []byte("payload"))...))
	for name, c := range map[string]struct {
		link  LinkType
		frame []byte
	}{
		"ethernet": {LinkEthernet, eth(etherIPv4, four)}, "IPv6": {LinkEthernet, eth(etherIPv6, six)},
		"8 tags":     {LinkEthernet, eth(0x8100, append([]byte(strings.Repeat("\x00\x01\x91\x00", 7)+"\x00\x01\x08\x00"), four...))},
		"SLL":        {LinkSLL, append(append(make([]byte, 14), 8, 0), four...)},
		"SLL2":       {LinkSLL2, append(append([]byte{0x86, 0xdd}, make([]byte, 18)...), six...)},
		"null":       {LinkNull, append(make([]byte, 4), four...)},
		"raw":        {LinkRaw, four},
		"extensions": {LinkRaw, extended},
		"no payload": {LinkRaw, udp4(a1, b1, nil)},
	} {
		var d Datagram
		for n := range c.frame {
			if r := UDP(c.link, c.frame[:n], &d); r != ShortFrame {
				t.Errorf("%s: %d bytes of %d are %s", name, n, len(c.frame), r)
			}
		}
		for more := range 3 {
			if r := UDP(c.link, append(c.frame[:len(c.frame):len(c.frame)], make([]byte, more)...), &d); r != OK || d.DstPort != 2055 || len(d.Payload) != 7 && name != "no payload" {
				t.Errorf("%s and %d bytes: %s, %+v", name, more, r, d)
			}
		}
	}
	for link, n := range map[LinkType]int{LinkEthernet: 14, LinkSLL: 16, LinkSLL2: 20, LinkNull: 5, LinkLoop: 5, LinkRaw: 1} {
		frame := make([]byte, n)
		frame[n-1] = 0x40 // where the link layer ends at once, an IP version
		for k := range n + 1 {
			want := ShortFrame
			if k == n {
				want = OK
			}
			if _, _, r := Ethernet(link, frame[:k]); r != want {
				t.Errorf("%d bytes of a frame of link layer %d: %s, want %s", k, link, r, want)
			}
		}
	}
}

func TestEthernet(t *testing.T) {
	six := ip6(a6, b6, protoUDP, udpPart(40000, 2055, []byte("payload")))
	sll := append([]byte{0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 9, 0, 0, 0x86, 0xdd}, six...)
	sll2 := append([]byte{0x86, 0xdd, 0, 0, 0, 0, 0, 3, 0, 1, 0, 6, 2, 0, 0, 0, 0, 9, 0, 0}, six...)
	mac := string([]byte{0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 9, 0x86, 0xdd})
	none := string([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x86, 0xdd})
	for name, c := range map[string]struct {
		link  LinkType
		frame []byte
		want  string
		r     Refusal
	}{
		"ethernet":                 {LinkEthernet, eth(etherIPv6, six), string(eth(etherIPv6, six)), OK},
		"SLL":                      {LinkSLL, sll, mac + string(six), OK},
		"SLL2":                     {LinkSLL2, sll2, mac + string(six), OK},
		"raw":                      {LinkRaw, six, none + string(six), OK},
		"loopback":                 {LinkNull, append([]byte{30, 0, 0, 0}, six...), none + string(six), OK},
		"loopback, not IP":         {LinkNull, []byte{7, 0, 0, 0, 0}, "", UnknownLink},
		"802.11":                   {105, six, "", UnknownLink},
		"shorter than its headers": {LinkSLL2, sll2[:19], "", ShortFrame},
	} {
		head, rest, r := Ethernet(c.link, c.frame)
		if r != c.r || r == OK && string(head[:])+string(rest) != c.want {
			t.Errorf("%s: %s %x %x", name, r, head, rest)
		}
	}
}

// The files of the test data, and all of them joined into one pcapng, hold the same packets; tshark must see them as we do.
func TestAgreesWithTshark(t *testing.T) {
	for _, tool := range []string{"tshark", "mergecap"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool, " is not installed")
		}
	}
	files, err := filepath.Glob(filepath.Join(sdktest.TestData(t, "flows"), "*/*.pcap"))
	if err != nil || len(files) == 0 {
		t.Skip("no capture files in the test data")
	}
	type packet struct {
		Data   string
		Time   int64
		Length uint32
	}
	load := func(path string, each func(*Packet)) (out []packet) {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r := NewReader(f)
		var p Packet
		for {
			err := r.Next(&p)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(path, err)
			}
			out = append(out, packet{string(p.Data), p.Time, p.Length})
			each(&p)
		}
		if st, _ := f.Stat(); st.Size() != r.Offset() {
			t.Errorf("%s: read to byte %d of %d", path, r.Offset(), st.Size())
		}
		return out
	}
	var single []packet
	for _, path := range files {
		single = append(single, load(path, func(*Packet) {})...)
	}
	merged := filepath.Join(t.TempDir(), "merged.pcapng")
	if out, err := exec.Command("mergecap", append([]string{"-a", "-w", merged}, files...)...).CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	out, err := exec.Command("tshark", "-n", "-r", merged, "-o", "ip.defragment:FALSE", "-T", "fields", "-E", "occurrence=f",
		"-e", "frame.time_epoch", "-e", "frame.len", "-e", "frame.cap_len", "-e", "frame.protocols", "-e", "udp.srcport", "-e", "udp.length").Output()
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	n, datagrams := 0, 0
	joined := load(merged, func(p *Packet) {
		w := strings.Split(want[n], "\t")
		n++
		var d Datagram
		got := []string{strconv.FormatInt(p.Time/1e9, 10) + "." + leading(p.Time%1e9), strconv.Itoa(int(p.Length)), strconv.Itoa(len(p.Data)), w[3], w[4], w[5]}
		udp := strings.HasPrefix(w[3], "eth:ethertype:ip:udp") || strings.HasPrefix(w[3], "eth:ethertype:ipv6:udp")
		switch r := UDP(p.Interface.Link, p.Data, &d); {
		case r == OK:
			datagrams++
			got[4], got[5] = strconv.Itoa(int(d.SrcPort)), strconv.Itoa(len(d.Payload)+8)
			if !udp {
				t.Errorf("packet %d: found UDP where tshark sees %s", n, w[3])
			}
		case udp && r != ShortFrame:
			t.Errorf("packet %d: %s where tshark sees %s", n, r, w[3])
		}
		if diff := cmp.Diff(w, got); diff != "" {
			t.Errorf("packet %d: %s", n, diff)
		}
	})
	if n != len(want) || datagrams == 0 {
		t.Errorf("%d packets (%d datagrams), tshark sees %d", n, datagrams, len(want))
	}
	if diff := cmp.Diff(single, joined); diff != "" {
		t.Error("joined files hold other packets: ", diff)
	}
}

func leading(ns int64) string {
	s := strconv.FormatInt(ns, 10)
	return strings.Repeat("0", 9-len(s)) + s
}

func FuzzUDP(f *testing.F) {
	f.Add(uint16(LinkEthernet), eth(0x8100, append([]byte{0, 5, 8, 0}, udp4(a1, b1, []byte("payload"))...)))
	f.Add(uint16(LinkRaw), ip6(a6, b6, 0, append([]byte{protoUDP, 0, 0, 0, 0, 0, 0, 0}, udpPart(1, 2, nil)...)))
	f.Fuzz(func(t *testing.T, link uint16, frame []byte) {
		var d Datagram
		if UDP(LinkType(link), frame, &d) == OK {
			if n := len(d.Payload); n+28 > len(frame) || n > 0xffff-8 && len(frame) < 1<<16 {
				t.Fatalf("a payload of %d bytes in a frame of %d", n, len(frame))
			}
		}
		Ethernet(LinkType(link), frame)
	})
}
