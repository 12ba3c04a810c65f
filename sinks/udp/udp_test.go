package udp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/net/ipv4"

	"github.com/weirflow/weir/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, to ...string) (*writer, *bytes.Buffer) {
	t.Helper()
	return openWith(t, &Config{To: to, Source: SourceOwn})
}

func openWith(t testing.TB, cfg *Config) (*writer, *bytes.Buffer) {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	s, err := Plugin.Sink(&sdk.Env{Books: &sdk.Books{}, Log: slog.New(slog.NewTextHandler(&log, nil))}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Open(context.Background(), sdk.Datagram)
	if err != nil {
		t.Fatal(err)
	}
	return w.(*writer), &log
}

func listen(t testing.TB, addr string) *net.UDPConn {
	t.Helper()
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Skipf("cannot listen on %s: %v", addr, err)
	}
	t.Cleanup(func() { c.Close() })
	u := c.(*net.UDPConn)
	if err := u.SetReadBuffer(4 << 20); err != nil {
		t.Fatal(err)
	}
	return u
}

// receive reads n datagrams.
func receive(t testing.TB, c *net.UDPConn, n int) (got []string) {
	t.Helper()
	buf := make([]byte, 1<<16)
	for range n {
		if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		k, _, err := c.ReadFrom(buf)
		if err != nil {
			t.Fatalf("after %d of %d datagrams: %v", len(got), n, err)
		}
		got = append(got, string(buf[:k]))
	}
	return got
}

// nothing checks that no datagram is there.
func nothing(t testing.TB, c *net.UDPConn) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	if k, _, err := c.ReadFrom(buf); err == nil {
		t.Errorf("one more datagram came: %q", buf[:k])
	}
}

func block(key string, batches ...[]string) *sdk.Block {
	p := sdk.NewPool(nil)
	b := &sdk.Block{Key: key}
	for _, rows := range batches {
		x := p.Get(sdk.Datagram, max(1, len(rows)))
		x.SetRows(len(rows))
		for k, r := range rows {
			x.SetBytes(sdk.DatagramPayload, k, []byte(r))
		}
		x.Seal()
		b.Batches, b.Rows = append(b.Batches, x), b.Rows+len(rows)
	}
	return b
}

func numbered(from, n int) (rows []string) {
	for k := range n {
		rows = append(rows, fmt.Sprint("datagram ", from+k))
	}
	return rows
}

// Every destination gets every payload, the empty one too, in order; the block is settled once.
func TestSends(t *testing.T) {
	one, two := listen(t, "127.0.0.1:0"), listen(t, "[::1]:0")
	w, log := open(t, one.LocalAddr().String(), two.LocalAddr().String())
	first, second := numbered(0, 150), append(numbered(150, 20), "", strings.Repeat("x", 9000))
	settled := 0
	if err := w.Write(context.Background(), block("k", first, nil, second), func(err error) {
		if err != nil {
			t.Error(err)
		}
		settled++
	}); err != nil {
		t.Fatal(err)
	}
	want := append(append([]string{}, first...), second...)
	for _, c := range []*net.UDPConn{one, two} {
		if d := cmp.Diff(want, receive(t, c, len(want))); d != "" {
			t.Error("(-want +got):", d)
		}
		nothing(t, c)
	}
	if settled != 1 {
		t.Errorf("settled %d times", settled)
	}
	if err := w.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if log.Len() > 0 {
		t.Error("all went well, and the log says:", log)
	}
	if err := w.Write(context.Background(), block("k", first), func(error) { t.Error("settled") }); sdk.ClassOf(err) != sdk.Fatal {
		t.Error("writing after Close:", err)
	}
}

// Rows that no datagram holds are named before anything is sent; the rest is sent once.
func TestTooLong(t *testing.T) {
	c := listen(t, "127.0.0.1:0")
	w, _ := open(t, c.LocalAddr().String())
	defer w.Close(context.Background())
	long, longest := strings.Repeat("x", 65508), strings.Repeat("x", 65507)
	err := w.Write(context.Background(), block("k", []string{"a", long}, []string{longest, long}), func(error) { t.Error("settled") })
	e, ok := err.(*sdk.Error)
	if !ok || e.Class != sdk.Permanent || e.Code != "too_long" || !cmp.Equal(e.Rows, []int{1, 3}) {
		t.Fatalf("%+v", err)
	}
	nothing(t, c)
	settled := 0
	if err := w.Write(context.Background(), block("k", []string{"a"}, []string{longest}), func(error) { settled++ }); err != nil || settled != 1 {
		t.Fatal(err, settled)
	}
	if d := cmp.Diff([]string{"a", longest}, receive(t, c, 2)); d != "" {
		t.Error("(-want +got):", d)
	}
}

// What a datagram holds is the address family's: over IPv6 20 bytes more, whose payload length does not count the IP header. To
// destinations of both the smaller holds.
func TestLongest(t *testing.T) {
	for _, c := range []struct {
		addresses []string
		most      int
	}{{[]string{"127.0.0.1:0"}, 65507}, {[]string{"[::1]:0"}, 65527}, {[]string{"[::1]:0", "127.0.0.1:0"}, 65507}} {
		var to []string
		var conns []*net.UDPConn
		for _, a := range c.addresses {
			conns = append(conns, listen(t, a))
			to = append(to, conns[len(conns)-1].LocalAddr().String())
		}
		w, _ := open(t, to...)
		longest := strings.Repeat("x", c.most)
		err := w.Write(context.Background(), block("", []string{longest, longest + "x"}), func(error) { t.Error("settled") })
		if e, ok := err.(*sdk.Error); !ok || e.Code != tooLong || !cmp.Equal(e.Rows, []int{1}) {
			t.Errorf("%v: %+v", c.addresses, err)
		}
		if err := w.Write(context.Background(), block("", []string{longest}), func(error) {}); err != nil {
			t.Errorf("%v: %v", c.addresses, err)
		}
		for _, conn := range conns {
			if n := len(receive(t, conn, 1)[0]); n != c.most {
				t.Errorf("%v: %d bytes arrived, want %d", c.addresses, n, c.most)
			}
		}
		if err := w.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// unheld checks that a writer looks into no block when none is being written: their memory is used again.
func unheld(t *testing.T, w *writer) {
	t.Helper()
	held := func(m []ipv4.Message) (n int) {
		for i := range m {
			for _, b := range m[i].Buffers {
				n += len(b)
			}
		}
		return n
	}
	if n := held(w.msgs[:]) + held(w.cut[:]); n != 0 {
		t.Errorf("%d bytes of a block that is written are still looked into", n)
	}
	for _, d := range w.dests {
		if d.raw == nil {
			continue
		}
		if n := held(d.raw.msgs[:]) - burst*udpHeader; n != 0 {
			t.Errorf("%d bytes of a block that is written are still looked into by the raw socket", n)
		}
	}
}

func TestHoldsNothing(t *testing.T) {
	for _, gso := range []bool{false, true} {
		w, _ := openWith(t, &Config{To: []string{listen(t, "127.0.0.1:0").LocalAddr().String()}, Source: SourceOwn, GSO: gso})
		if err := w.Write(context.Background(), block("", numbered(0, 3*burst)), func(error) {}); err != nil {
			t.Fatal(err)
		}
		unheld(t, w)
		if err := w.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// A block that stopped half-way is taken up where it stopped under the same key, and begun anew under another.
func TestTakesUp(t *testing.T) {
	c := listen(t, "127.0.0.1:0")
	w, _ := open(t, c.LocalAddr().String())
	defer w.Close(context.Background())
	rows := numbered(0, 10)
	for _, x := range []struct {
		key  string
		want []string
	}{{"k", rows[7:]}, {"other", rows}, {"", rows}} {
		w.at = progress{key: "k", row: 7}
		if x.key == "" {
			w.at.key = ""
		}
		if err := w.Write(context.Background(), block(x.key, rows[:5], rows[5:]), func(error) {}); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(x.want, receive(t, c, len(x.want))); d != "" {
			t.Errorf("key %q (-want +got): %s", x.key, d)
		}
		nothing(t, c)
	}
	stopped, stop := context.WithCancel(context.Background())
	stop()
	if err := w.Write(stopped, block("s", rows), func(error) { t.Error("settled") }); err == nil {
		t.Error("a stopped context is not noticed")
	}
	if d := cmp.Diff(progress{key: "s"}, w.at, cmp.AllowUnexported(progress{})); d != "" {
		t.Error(d)
	}
}

// That nobody listens is told, where and how often, and does not stop the sending. When somebody listens again all arrives, in bursts.
func TestRefused(t *testing.T) {
	c := listen(t, "127.0.0.1:0")
	to := c.LocalAddr().String()
	c.Close()
	w, log := open(t, to)
	settled := 0
	for range 3 {
		if err := w.Write(context.Background(), block("k", numbered(0, 100)), func(err error) { settled++ }); err != nil {
			t.Fatal(err)
		}
	}
	if settled != 3 {
		t.Errorf("%d of 3 blocks are settled", settled)
	}
	noted := uint64(0)
	w.sink.env.Books.Notes(func(r sdk.Reason, n uint64) {
		if r == ReasonNobodyListens {
			noted = n
		}
	})
	if refused := w.dests[0].refused; noted != refused || refused == 0 || runtime.GOOS == "linux" && refused < 290 { // of a few at the start and the last nothing is heard
		t.Errorf("%d refusals are noted, and %d counted, of 300", noted, refused)
	}
	again := listen(t, to)
	rows := numbered(0, 200)
	if err := w.Write(context.Background(), block("again", rows), func(error) {}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(rows, receive(t, again, len(rows))); d != "" {
		t.Errorf("once somebody listens (-sent +received):\n%s", d)
	}
	if n := w.dests[0].singly; n != 0 {
		t.Errorf("%d datagrams would go one by one still", n)
	}
	if err := w.Close(context.Background()); err != nil {
		t.Error(err)
	}
	for _, line := range []string{"nobody listens on " + to, "nobody listened on " + to + ": at least"} {
		if n := strings.Count(log.String(), line); n != 1 {
			t.Errorf("%q is said %d times: %s", line, n, log)
		}
	}
}

func TestValidate(t *testing.T) {
	for to, says := range map[string]string{"": "not host:port", "host": "not host:port", ":2055": "no host", "host:0": "no port", "host:70000": "no port", "::1:5": "not host:port"} {
		if err := (&Config{To: []string{to}, Source: SourceOwn}).Validate(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", to, err)
		}
	}
	for _, to := range [][]string{nil, {"h:1", "h:1"}} {
		if err := (&Config{To: to, Source: SourceOwn}).Validate(); err == nil {
			t.Errorf("%v is accepted", to)
		}
	}
	if err := Plugin.Spec.Input(&Config{}, sdk.NewSchema(sdk.Field{Name: "bytes", Type: sdk.Uint64})); err == nil || !strings.Contains(err.Error(), `no column "payload"`) {
		t.Error(err)
	}
	if err := Plugin.Spec.Input(&Config{}, sdk.NewSchema(sdk.Field{Name: "payload", Type: sdk.Text})); err == nil {
		t.Error("a payload of text is accepted")
	}
	payloads := sdk.NewSchema(sdk.Field{Name: "payload", Type: sdk.Bytes})
	port := sdk.NewSchema(sdk.Field{Name: "payload", Type: sdk.Bytes}, sdk.Field{Name: "exporter_addr", Type: sdk.Addr}, sdk.Field{Name: "exporter_port", Type: sdk.Uint32})
	for _, c := range []struct {
		source Source
		in     *sdk.Schema
		says   string
	}{
		{SourceOwn, sdk.Datagram, ""}, {SourceOwn, payloads, ""}, {SourceKeep, sdk.Datagram, ""},
		{SourceKeep, payloads, "no columns exporter_addr and exporter_port"}, {SourceKeep, port, "no columns exporter_addr and exporter_port"},
	} {
		err := Plugin.Spec.Input(&Config{Source: c.source}, c.in)
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("source %s of %s: %v, want %q", c.source, c.in.Listing(), err, c.says)
		}
		if c.says != "" { // whoever opens without asking gets the same answer
			s := &sink{env: &sdk.Env{}, cfg: &Config{To: []string{"127.0.0.1:9"}, Source: c.source}}
			if _, err := s.Open(context.Background(), c.in); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Error("opened:", err)
			}
		}
	}
}

func TestErrors(t *testing.T) {
	for cause, want := range map[error]string{
		syscall.ENETUNREACH: "unreachable: there is no route to h:1", syscall.EHOSTUNREACH: "unreachable: there is no route to h:1",
		syscall.EPERM:   "forbidden: this host's firewall does not let datagrams go to h:1",
		syscall.EACCES:  "forbidden: this host's firewall does not let datagrams go to h:1",
		syscall.ENOBUFS: "no_buffers: the kernel has no room for more datagrams to h:1",
		syscall.ENOMEM:  "no_buffers: the kernel has no room for more datagrams to h:1",
		syscall.EIO:     "send: sending to h:1",
	} {
		err := explain("h:1", &net.OpError{Op: "write", Err: cause})
		if err == nil || !strings.HasPrefix(err.Error(), want+": ") || sdk.ClassOf(err) != sdk.Transient || !errors.Is(err, cause) {
			t.Errorf("%v is %v, want %s", cause, err, want)
		}
	}
	s := &sink{cfg: &Config{To: []string{"name.invalid:1"}, Source: SourceOwn}}
	if err := s.Check(context.Background()); err == nil || !strings.Contains(err.Error(), "no datagrams can be sent to name.invalid:1") {
		t.Error(err)
	}
}

func TestAllocations(t *testing.T) {
	const most = 8 // a block of four system calls, whose own pools may be empty; none a datagram
	c := listen(t, "127.0.0.1:0")
	w, _ := open(t, c.LocalAddr().String())
	defer w.Close(context.Background())
	b := block("", numbered(0, 4*burst))
	allocations(t, w, b, most)
}

// allocations checks that writing a block allocates no more than most times.
func allocations(t *testing.T, w sdk.Writer, b *sdk.Block, most float64) {
	t.Helper()
	done := func(error) {}
	if got := testing.AllocsPerRun(20, func() {
		if err := w.Write(context.Background(), b, done); err != nil {
			t.Fatal(err)
		}
	}); got > most {
		t.Errorf("a block of %d datagrams allocates %v times", b.Rows, got)
	}
}

func BenchmarkWrite(b *testing.B) {
	c := listen(b, "127.0.0.1:0")
	w, _ := open(b, c.LocalAddr().String())
	defer w.Close(context.Background())
	rows := make([]string, sdk.MaxRows)
	for k := range rows {
		rows[k] = string(binary.BigEndian.AppendUint32(make([]byte, 1400), uint32(k)))
	}
	blk := block("", rows)
	benchmark(b, w, blk)
}

// benchmark is the loop of the benchmarks: a block of [sdk.MaxRows] rows again and again.
func benchmark(b *testing.B, w sdk.Writer, blk *sdk.Block) {
	b.ReportAllocs()
	for b.Loop() {
		if err := w.Write(context.Background(), blk, func(error) {}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/sdk.MaxRows, "ns/record")
}
