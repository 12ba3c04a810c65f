package pcap

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/sdktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testEnv(t testing.TB) *sdk.Env {
	return sdktest.Env(t, sdktest.WithNode("test", "pcap", 0))
}

// capture writes a classic pcap file with nanoseconds.
type capture struct{ b []byte }

func newCapture(link uint32) *capture {
	c := &capture{}
	c.u32(0xa1b23c4d, 4<<16|2, 0, 0, 65535, link)
	return c
}

func (c *capture) u32(v ...uint32) {
	for _, x := range v {
		c.b = binary.LittleEndian.AppendUint32(c.b, x)
	}
}

func (c *capture) packet(t int64, data []byte) {
	c.u32(uint32(t/1e9), uint32(t%1e9), uint32(len(data)), uint32(len(data)))
	c.b = append(c.b, data...)
}

// ip4 is an IPv4 packet of a protocol with ports and a payload behind a UDP header.
func ip4(src netip.AddrPort, dst uint16, proto byte, payload string) []byte {
	a := src.Addr().As4()
	p := []byte{0x45, 0, 0, 0, 0, 0, 0, 0, 64, proto, 0, 0, a[0], a[1], a[2], a[3], 10, 0, 0, 1}
	p = binary.BigEndian.AppendUint16(p, src.Port())
	p = binary.BigEndian.AppendUint16(p, dst)
	p = binary.BigEndian.AppendUint16(p, uint16(8+len(payload)))
	p = append(append(p, 0, 0), payload...)
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	return p
}

func eth(p []byte) []byte { return append([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 8, 0}, p...) }

func write(t testing.TB, name string, b []byte) string {
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// ledger is what the books say.
type ledger struct {
	Received, Filtered uint64
	Dropped            map[sdk.Reason]uint64
}

func balance(env *sdk.Env) ledger {
	l := ledger{Received: env.Books.Received.Load(), Filtered: env.Books.Filtered.Load(), Dropped: map[sdk.Reason]uint64{}}
	env.Books.Dropped(func(r sdk.Reason, n uint64) { l.Dropped[r] = n })
	return l
}

// readAll reads all files of a source, file after file, and holds each batch until the next has been read.
func readAll(t testing.TB, env *sdk.Env, cfg *Config, each func(*sdk.Batch)) {
	t.Helper()
	if cfg.Payload == "" {
		cfg.Payload = payloadUDP
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	s, err := Plugin.Source(env, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for {
		r, err := s.Accept(t.Context())
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		var held *sdk.Batch
		next := int64(0)
		give := func() {
			if held != nil {
				each(held)
				held.Done(sdk.Delivered)
				held.Release()
			}
		}
		for {
			b, err := r.Read(t.Context(), 0)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if b == nil {
				continue
			}
			if rg := b.Range(); rg.Partition != r.Partition() || rg.First < next || rg.Last < rg.First+int64(b.Rows())-1 {
				t.Errorf("range %v after %d for %d rows", rg, next, b.Rows())
			}
			next = b.Range().Last + 1
			give()
			held = b
		}
		give()
		if err := r.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

type datagram struct {
	Payload string
	From    string
	Time    int64
}

func datagrams(out *[]datagram) func(*sdk.Batch) {
	return func(b *sdk.Batch) {
		payload, addr := b.Bytes(sdk.DatagramPayload), sdk.Values[[16]byte](b, sdk.DatagramExporterAddr)
		port, times := sdk.Values[uint16](b, sdk.DatagramExporterPort), sdk.Values[int64](b, sdk.DatagramReceived)
		for i := range b.Rows() {
			*out = append(*out, datagram{string(payload[i]), netip.AddrPortFrom(netip.AddrFrom16(addr[i]).Unmap(), port[i]).String(), times[i]})
		}
	}
}

var exporter = netip.MustParseAddrPort("192.0.2.9:5000")

// sample is a capture of datagrams with all that is left out, and what must come of it.
func sample(n int) (b []byte, want []datagram, books ledger) {
	c := newCapture(1)
	books.Dropped = map[sdk.Reason]uint64{}
	for i := range n {
		t := int64(1_700_000_000e9) + int64(i)
		payload := strings.Repeat(string(rune('a'+i%26)), i%1400)
		c.packet(t, eth(ip4(exporter, 2055, 17, payload)))
		want = append(want, datagram{payload, exporter.String(), t})
		books.Received++
		bad := eth(ip4(exporter, 2055, 17, payload))
		switch i % 7 {
		case 1:
			bad[23] = 6
			books.Dropped[ReasonNotUDP]++
		case 2:
			bad[21] = byte(1 + i%3) // the end of a datagram whose beginning is not here
			books.Dropped[ReasonFragment]++
		case 3:
			bad = bad[:40]
			books.Dropped[ReasonTruncated]++
		case 4:
			bad[14] = 0x44
			books.Dropped[ReasonMalformed]++
		case 5:
			bad[12] = 9
			books.Dropped[ReasonNotUDP]++
		case 6:
			bad[37] = 1
			books.Filtered++
		default:
			continue
		}
		books.Received++
		c.packet(t, bad)
	}
	return c.b, want, books
}

func TestDatagrams(t *testing.T) {
	b, want, books := sample(3000)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write(b)
	z.Close()
	for name, path := range map[string]string{"plain": write(t, "a.pcap", b), "gzip": write(t, "a.pcap.gz", zipped.Bytes())} {
		env := testEnv(t)
		var got []datagram
		readAll(t, env, &Config{Path: []string{path}, Port: []int{2055}}, datagrams(&got))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(name, diff)
		}
		if diff := cmp.Diff(books, balance(env)); diff != "" {
			t.Error(name, diff)
		}
	}
}

// A datagram in three fragments is one record, in whatever order they come, and stays what it is when others follow.
func TestFragments(t *testing.T) {
	payload, second := strings.Repeat("0123456789", 300), strings.Repeat("abcdefghij", 300)
	fragmentOf := func(whole []byte, from, to int) []byte {
		p := append(bytes.Clone(whole[:20]), whole[20+from:20+to]...)
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
		flags := uint16(from / 8)
		if 20+to < len(whole) {
			flags |= 0x2000
		}
		binary.BigEndian.PutUint16(p[6:], flags)
		return eth(p)
	}
	first := ip4(exporter, 2055, 17, payload)
	c := newCapture(1)
	c.packet(1, fragmentOf(first, 2400, 3008))
	c.packet(2, eth(ip4(exporter, 2055, 17, "between")))
	c.packet(3, fragmentOf(first, 0, 800))
	c.packet(4, fragmentOf(first, 800, 2400))
	c.packet(5, fragmentOf(first, 800, 2400)) // once more: of a datagram whose rest does not come
	other := ip4(netip.MustParseAddrPort("192.0.2.10:5000"), 2055, 17, second)
	c.packet(6, fragmentOf(other, 0, 1480))
	c.packet(7, fragmentOf(other, 1480, 3008))
	unkept := ip4(exporter, 9, 17, second)
	unkept[5] = 7 // its identification
	c.packet(8, fragmentOf(unkept, 0, 1480))
	c.packet(9, fragmentOf(unkept, 1480, 3008))
	short := ip4(exporter, 2055, 17, second)
	short[5], short[24], short[25] = 8, 0xff, 0xff // a UDP length beyond the datagram
	c.packet(10, fragmentOf(short, 0, 800))
	c.packet(11, fragmentOf(short, 800, 1600))
	c.packet(12, fragmentOf(short, 1600, 3008))
	env := testEnv(t)
	var got []datagram
	readAll(t, env, &Config{Path: []string{write(t, "a.pcap", c.b)}, Port: []int{2055}}, datagrams(&got))
	if diff := cmp.Diff([]datagram{{"between", exporter.String(), 2}, {payload, exporter.String(), 4}, {second, "192.0.2.10:5000", 7}}, got); diff != "" {
		t.Error(diff)
	}
	// A record is one however many fragments it had; of what becomes none each packet counts.
	want := ledger{Received: 3 + 1 + 3 + 1, Filtered: 1, Dropped: map[sdk.Reason]uint64{ReasonFragment: 1, ReasonMalformed: 3}}
	if diff := cmp.Diff(want, balance(env)); diff != "" {
		t.Error(diff)
	}
}

// Each column alone has the values that it has beside the others.
func TestPruned(t *testing.T) {
	b, _, _ := sample(50)
	path := write(t, "a.pcap", b)
	for payload, full := range map[string]*sdk.Schema{payloadUDP: sdk.Datagram, payloadPackets: sdk.Packet} {
		columns := func(schema *sdk.Schema) map[string][]any {
			values := map[string][]any{}
			readAll(t, sdktest.Env(t, sdktest.WithNode("test", "pcap", 0), sdktest.WithOut(schema)), &Config{Path: []string{path}, Payload: payload}, func(b *sdk.Batch) {
				for _, row := range sdktest.RowsOf(b) {
					for i, v := range row {
						name := schema.Field(i).Name
						values[name] = append(values[name], v)
					}
				}
			})
			return values
		}
		all := columns(full)
		if len(all) != full.Len() {
			t.Fatalf("%s: %d columns of %d", payload, len(all), full.Len())
		}
		for name, want := range all {
			got := columns(full.Select(func(f sdk.Field) bool { return f.Name == name }))
			if diff := cmp.Diff(map[string][]any{name: want}, got); diff != "" {
				t.Errorf("%s, %s alone (-beside others +alone):\n%.1000s", payload, name, diff)
			}
		}
	}
}

// A disk that cannot be read is an error that says which file, after what was read before it; it is not the file's end.
func TestUnreadable(t *testing.T) {
	b, _, _ := sample(40)
	env := testEnv(t)
	s := &source{env: env, cols: resolve(env, payloadUDP)}
	r := newReader(s, "on/a/disk.pcap", io.NopCloser(io.MultiReader(bytes.NewReader(b), iotest.ErrReader(syscall.EIO))))
	rows := 0
	for {
		b, err := r.Read(t.Context(), 0)
		if err != nil {
			if !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "on/a/disk.pcap") {
				t.Errorf("the end is %v", err)
			}
			break
		}
		if b == nil {
			continue
		}
		rows += b.Rows()
		b.Done(sdk.Delivered)
		b.Release()
	}
	if rows < 40 {
		t.Errorf("%d rows of what could be read", rows)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestPackets(t *testing.T) {
	ng := &capture{}
	block := func(kind uint32, body []byte) {
		for len(body)%4 != 0 {
			body = append(body, 0)
		}
		ng.u32(kind, uint32(len(body)+12))
		ng.b = append(ng.b, body...)
		ng.u32(uint32(len(body) + 12))
	}
	le := func(v ...uint32) []byte { c := &capture{}; c.u32(v...); return c.b }
	block(0x0a0d0d0a, le(0x1a2b3c4d, 1, 0xffffffff, 0xffffffff))
	block(1, append(le(1, 0, 4<<16|2), "eth0"...))
	block(1, append(le(101, 0, 4<<16|2), "tun0"...))
	block(1, le(105, 0))
	raw := ip4(exporter, 2055, 17, "raw")
	for i, data := range [][]byte{eth(raw), raw, raw, eth(raw)} {
		id := uint32(i)
		if i == 3 {
			id = 0
		}
		block(6, append(le(id, 0, uint32(i+1), uint32(len(data)), 100), data...))
	}
	type packet struct {
		Frame     string
		Time      int64
		Length    uint32
		Interface string
	}
	want := []packet{
		{string(eth(raw)), 1000, 100, "eth0"},
		{string(append(append(make([]byte, 12), 8, 0), raw...)), 2000, 114, "tun0"},
		{string(eth(raw)), 4000, 100, "eth0"},
	}
	var got []packet
	env := testEnv(t)
	readAll(t, env, &Config{Path: []string{write(t, "a.pcapng", ng.b)}, Payload: payloadPackets}, func(b *sdk.Batch) {
		names, dict := b.Names(sdk.PacketInterface)
		for i, f := range b.Bytes(sdk.PacketFrame) {
			got = append(got, packet{string(f), sdk.Values[int64](b, sdk.PacketCaptured)[i], sdk.Values[uint32](b, sdk.PacketLength)[i], dict.Values()[names[i]]})
		}
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(ledger{Received: 4, Dropped: map[sdk.Reason]uint64{ReasonLinkType: 1}}, balance(env)); diff != "" {
		t.Error(diff)
	}
}

// A file that ends early gives what stands before, and one record dropped for its reason.
func TestBrokenFiles(t *testing.T) {
	b, want, books := sample(100)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write(b)
	z.Close()
	flipped := bytes.Clone(zipped.Bytes())
	flipped[len(flipped)-8] ^= 1 // of the checksum
	for name, c := range map[string]struct {
		b      []byte
		reason sdk.Reason
	}{
		"cut":           {append(bytes.Clone(b), 1, 2, 3), ReasonFileTruncated},
		"corrupt":       {append(bytes.Clone(b), bytes.Repeat([]byte{0xff}, 40)...), ReasonFileCorrupt},
		"gzip cut":      {zipped.Bytes()[:zipped.Len()-4], ReasonFileTruncated},
		"gzip checksum": {flipped, ReasonFileCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			env := testEnv(t)
			var got []datagram
			readAll(t, env, &Config{Path: []string{write(t, "a.pcap", c.b)}, Port: []int{2055}}, datagrams(&got))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			now := balance(env)
			if now.Dropped[c.reason] != 1 || now.Received != books.Received+1 {
				t.Errorf("%+v", now)
			}
			delete(now.Dropped, c.reason)
			now.Received--
			if diff := cmp.Diff(books, now); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNames(t *testing.T) {
	dir := t.TempDir()
	for name, b := range map[string][]byte{"b.pcap": newCapture(1).b, "a.pcap": newCapture(1).b, "text.txt": []byte("some text, and more of it")} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "c.pcap"), 0o700); err != nil {
		t.Fatal(err)
	}
	at := func(names ...string) (out []string) {
		for _, n := range names {
			out = append(out, filepath.Join(dir, n))
		}
		return out
	}
	for name, c := range map[string]struct {
		path []string
		want []string
		err  string
	}{
		"pattern":         {at("*.pcap"), at("a.pcap", "b.pcap"), ""},
		"order":           {at("b.pcap", "*.pcap"), at("b.pcap", "a.pcap"), ""},
		"missing":         {at("a.pcap", "d.pcap"), nil, "there is no file DIR/d.pcap: check the path and the directory the process runs in"},
		"nothing matches": {at("*.cap"), nil, "no file matches DIR/*.cap: check the pattern and the directory the process runs in"},
		"directory":       {at("c.pcap"), nil, "DIR/c.pcap is a directory: name its files: DIR/c.pcap/*.pcap"},
		"text":            {at("*"), nil, "DIR/text.txt: not a pcap or pcapng file: it begins with 736f6d65: name capture files only"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Plugin.Source(testEnv(t), &Config{Path: c.path, Payload: payloadUDP})
			text := ""
			if err != nil {
				if _, ok := errors.AsType[*sdk.NotReady](err); !ok {
					t.Errorf("%T", err)
				}
				text = strings.ReplaceAll(err.Error(), dir, "DIR")
			}
			if diff := cmp.Diff(c.err, text); diff != "" {
				t.Error(diff)
			}
			if err != nil {
				return
			}
			var got []string
			for {
				r, err := s.Accept(t.Context())
				if err != nil {
					break
				}
				got = append(got, r.Partition().Name)
				if _, err := r.Read(t.Context(), 0); err != io.EOF {
					t.Error(err)
				}
				r.Close(t.Context())
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	for want, cfg := range map[string]Config{
		"":                      {Path: []string{"a", "*"}, Payload: "udp", Port: []int{1, 65535}},
		"path: no file to read": {Payload: "udp"},
		`path[1]: "[" is not a path or a pattern of paths`:                             {Path: []string{"a", "["}, Payload: "udp"},
		`payload: "tcp" is neither udp nor packets`:                                    {Path: []string{"a"}, Payload: "tcp"},
		"port[0]: 0 is not a port":                                                     {Path: []string{"a"}, Payload: "udp", Port: []int{0}},
		"port: only datagrams are kept by port, and the records asked for are packets": {Path: []string{"a"}, Payload: "packets", Port: []int{1}},
	} {
		got := ""
		if err := cfg.Validate(); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestStop(t *testing.T) {
	b, _, _ := sample(3000)
	s, err := Plugin.Source(testEnv(t), &Config{Path: []string{write(t, "a.pcap", b), write(t, "b.pcap", b)}, Payload: payloadUDP})
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first, err := r.Read(t.Context(), 0)
	if err != nil || first == nil {
		t.Fatal(first, err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b, err := r.Read(t.Context(), 0); b != nil || err != io.EOF {
		t.Error(b, err)
	}
	if next, err := s.Accept(t.Context()); next != nil || err != io.EOF {
		t.Errorf("another file is begun: %v, %v", next, err)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
	n := first.Rows()
	first.Done(sdk.Delivered)
	first.Release() // after the reader has gone
	if n == 0 {
		t.Error("no rows")
	}
}

// steady is a reader over a file that begins again at its end, for ever.
type steady struct {
	io.ReadSeeker
	skip int64
}

func (s *steady) Read(p []byte) (int, error) {
	n, err := s.ReadSeeker.Read(p)
	if err == io.EOF {
		_, err = s.Seek(s.skip, io.SeekStart)
	}
	return n, err
}
func (s *steady) Close() error { return nil }

func newSteady(t testing.TB, payload string) *reader {
	env := testEnv(t)
	s := &source{env: env, cols: resolve(env, payload)}
	c := newCapture(1)
	for i := range 2000 {
		c.packet(int64(i), eth(ip4(exporter, 2055, 17, strings.Repeat("x", 1400))))
	}
	return newReader(s, "steady", &steady{bytes.NewReader(c.b), 24})
}

func readOne(t testing.TB, r *reader) int {
	b, err := r.Read(context.Background(), 0)
	if err != nil || b == nil {
		t.Fatal(b, err)
	}
	n := b.Rows()
	b.Done(sdk.Delivered)
	b.Release()
	return n
}

func TestBatchesCostNoAllocation(t *testing.T) {
	for _, payload := range []string{payloadUDP, payloadPackets} {
		r := newSteady(t, payload)
		for range 10 {
			readOne(t, r)
		}
		if n := testing.AllocsPerRun(100, func() { readOne(t, r) }); n != 0 {
			t.Errorf("%s: %v allocations a batch", payload, n)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	for _, payload := range []string{payloadUDP, payloadPackets} {
		b.Run(payload, func(b *testing.B) {
			r, rows := newSteady(b, payload), 0
			b.ReportAllocs()
			for b.Loop() {
				rows += readOne(b, r)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(rows), "ns/record")
		})
	}
}
