package udp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/sdk"
)

func compare(a, b got) int {
	if c := strings.Compare(a.Payload, b.Payload); c != 0 {
		return c
	}
	return a.From.Compare(b.From)
}

func diff(want, have []got) string {
	slices.SortFunc(want, compare)
	slices.SortFunc(have, compare)
	return cmp.Diff(want, have, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }))
}

func received(s *source) uint64 {
	return s.env.Books.Received.Load()
}

func TestEveryDatagramArrivesOnce(t *testing.T) {
	for _, c := range []struct{ name, listen, to string }{
		{"IPv4", "127.0.0.1:0", "127.0.0.1"},
		{"IPv6", "[::1]:0", "::1"},
		{"IPv4 on a socket for both", "[::]:0", "127.0.0.1"},
		{"IPv6 on a socket for both", ":0", "::1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, testEnv(t), &Config{Listen: []string{c.listen}, Workers: 4})
			wait := collect(t, s)
			var want []got
			for i := range 16 {
				conn := dial(t, netip.AddrPortFrom(netip.MustParseAddr(c.to), s.Addrs()[0].Port()))
				for j := range 50 {
					payload := fmt.Sprintf("%d/%d/", i, j) + strings.Repeat("x", j*37)
					if _, err := conn.Write([]byte(payload)); err != nil {
						t.Fatal(err)
					}
					want = append(want, got{payload, localOf(conn)})
				}
			}
			if err := s.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			all, per, parts := wait()
			if d := diff(want, all); d != "" {
				t.Error(d)
			}
			if len(per) != len(s.Addrs()) || len(slices.Compact(slices.Sorted(slices.Values(parts)))) != len(per) {
				t.Errorf("readers %v with partitions %v", per, parts)
			}
			if n := received(s); n != uint64(len(want)) {
				t.Errorf("the books say %d of %d", n, len(want))
			}
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// What UDP can carry arrives whole, whatever the size of a slot.
func TestLongDatagrams(t *testing.T) {
	s := open(t, testEnv(t), &Config{Listen: []string{"127.0.0.1:0"}, Workers: 1})
	wait := collect(t, s)
	conn := dial(t, s.Addrs()[0])
	var want []got
	for i, n := range []int{0, 1, 2047, 2048, 2049, 9216, 65507} {
		payload := strings.Repeat(string(rune('a'+i)), n)
		if _, err := conn.Write([]byte(payload)); err != nil {
			t.Fatal(err)
		}
		want = append(want, got{payload, localOf(conn)})
	}
	s.Stop(t.Context())
	all, _, _ := wait()
	if d := diff(want, all); d != "" {
		t.Error(d)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestPruned(t *testing.T) {
	env := testEnv(t)
	env.Out = []*sdk.Schema{sdk.Datagram.Select(func(f sdk.Field) bool { return f.Name == "received" || f.Name == "exporter_port" })}
	s := open(t, env, &Config{Listen: []string{"127.0.0.1:0"}, Workers: 1})
	conn := dial(t, s.Addrs()[0])
	conn.Write([]byte("x"))
	r, err := s.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.Read(t.Context(), time.Second)
	if err != nil || b == nil || b.Rows() != 1 {
		t.Fatal(b, err)
	}
	if p := sdk.Values[uint16](b, b.Schema().Index("exporter_port"))[0]; p != localOf(conn).Port() {
		t.Errorf("port %d", p)
	}
	if b.Range() != (sdk.Range{Partition: r.Partition()}) {
		t.Error(b.Range())
	}
	b.Done(sdk.Delivered)
	b.Release()
	s.Stop(t.Context())
	drain(t, r, func(got, int64) { t.Error("a datagram nobody sent") })
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestReadWaits(t *testing.T) {
	s := open(t, testEnv(t), &Config{Listen: []string{"127.0.0.1:0"}, Workers: 1})
	r, err := s.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	took := func(ctx context.Context, wait time.Duration) time.Duration {
		start := time.Now()
		if b, _ := r.Read(ctx, wait); b != nil {
			t.Error("a batch out of nothing")
		}
		return time.Since(start)
	}
	if d := took(t.Context(), 0); d > 50*time.Millisecond {
		t.Errorf("wait 0 took %v", d)
	}
	if d := took(t.Context(), 150*time.Millisecond); d < 140*time.Millisecond || d > time.Second {
		t.Errorf("wait 150ms took %v", d)
	}
	time.AfterFunc(20*time.Millisecond, func() { s.Stop(context.Background()) })
	if d := took(t.Context(), time.Minute); d > time.Second {
		t.Errorf("Stop was noticed after %v", d)
	}
	drain(t, r, func(got, int64) { t.Error("a datagram nobody sent") })
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// Stop may come after a reader was closed, and its file descriptors have become those of others.
func TestStopAfterClose(t *testing.T) {
	s := open(t, testEnv(t), &Config{Listen: []string{"127.0.0.1:0"}, Workers: 1})
	r, _ := s.Accept(t.Context())
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	var files []*os.File
	for range 8 {
		f, err := os.Create(filepath.Join(t.TempDir(), "f"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	s.Stop(t.Context())
	for _, f := range files {
		if st, err := f.Stat(); err != nil || st.Size() != 0 {
			t.Error("Stop wrote into a file of somebody else: ", err)
		}
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestCancelled(t *testing.T) {
	s := open(t, testEnv(t), &Config{Listen: []string{"127.0.0.1:0"}, Workers: 1})
	r, _ := s.Accept(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if b, err := r.Read(ctx, time.Minute); b != nil || !errors.Is(err, context.Canceled) {
		t.Error(b, err)
	}
	s.Stop(t.Context())
	drain(t, r, func(got, int64) {})
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestPortInUse(t *testing.T) {
	other, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	at := other.LocalAddr().String()
	_, err = Plugin.Source(testEnv(t), &Config{Listen: []string{"127.0.0.1:0", at}, ReceiveBuffer: 1 << 20})
	n, ok := errors.AsType[*sdk.NotReady](err)
	if !ok || !strings.Contains(n.What, "is in use") || n.Do == "" {
		t.Fatalf("%#v", err)
	}
	if _, err = Plugin.Source(testEnv(t), &Config{Listen: []string{"192.0.2.77:2055"}, ReceiveBuffer: 1 << 20}); err == nil || !strings.Contains(err.Error(), "not an address of this machine") {
		t.Error(err)
	}
}

func TestValidate(t *testing.T) {
	good := func() *Config { c := Plugin.Spec.Config().(*Config); c.Listen = []string{":2055"}; return c }
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"good": {func(c *Config) {}, ""},
		"several": {func(c *Config) {
			c.Listen = []string{"0.0.0.0:2055", "[fe80::1%lo]:6343", "127.0.0.1:0", "127.0.0.1:0"}
		}, ""},
		"none":         {func(c *Config) { c.Listen = nil }, "listen: no address to receive on"},
		"no port":      {func(c *Config) { c.Listen = []string{":1", "127.0.0.1"} }, `listen[1]: "127.0.0.1" is not an address and a port`},
		"name":         {func(c *Config) { c.Listen = []string{"router:2055"} }, `listen[0]: "router" is not an IP address`},
		"big port":     {func(c *Config) { c.Listen = []string{":65536"} }, `listen[0]: "65536" is not a port`},
		"twice":        {func(c *Config) { c.Listen = []string{":2055", "[::]:2055"} }, `listen[1]: "[::]:2055" is named twice`},
		"workers":      {func(c *Config) { c.Workers = 65 }, "workers: 65 workers: between 1 and 64 can be asked for, or 0 for a choice by the number of CPUs"},
		"passed":       {func(c *Config) { c.Listen = []string{"fd:0", "fd:netflow", ":1"} }, ""},
		"passed twice": {func(c *Config) { c.Listen = []string{"fd:0", "fd:0"} }, `listen[1]: "fd:0" is named twice`},
		"no name":      {func(c *Config) { c.Listen = []string{"fd:"} }, `listen[0]: "fd:" names no passed socket`},
		"allow":        {func(c *Config) { c.Allow = prefixes(t, "10.0.0.0/8", "::1", "10.0.0.0/8") }, "allow[2]: 10.0.0.0/8 is named twice"},
		"rate":         {func(c *Config) { c.RateLimit = -1 }, "rate_limit: -1 is not between 0 and 10000000 datagrams a second"},
		"balance":      {func(c *Config) { c.Balance = "fair" }, `balance: "fair" is none of packet, source, domain, kernel`},
		"buffer":       {func(c *Config) { c.ReceiveBuffer = 1 }, "receive_buffer: 1B is not between 64KiB and 1GiB"},
	} {
		cfg := good()
		c.change(cfg)
		text := ""
		if err := cfg.Validate(); err != nil {
			text = err.Error()
		}
		if text != c.want {
			t.Errorf("%s: %s", name, text)
		}
	}
}

// The loop for other systems gives the same.
func TestPortable(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", ":0"} {
		s := &source{env: testEnv(t), gate: newGate(newExporters(), &Config{})}
		s.cols = resolve(s.env)
		l, _ := parseListen(listen)
		p, err := openPortable(s, l, &Config{ReceiveBuffer: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		s.Opened = []receiver{p}
		wait := collect(t, s)
		conn := dial(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), p.local().Port()))
		var want []got
		for i := range 300 {
			payload := strings.Repeat("x", i*5)
			conn.Write([]byte(payload))
			want = append(want, got{payload, localOf(conn)})
		}
		s.Stop(t.Context())
		all, _, _ := wait()
		if d := diff(want, all); d != "" {
			t.Error(d)
		}
		if n := received(s); n != uint64(len(want)) {
			t.Errorf("the books say %d of %d", n, len(want))
		}
	}
}
