package tcp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/endpoint"
	"github.com/weirflow/weir/sdk/sdktest"
)

// Several exporters send messages of all lengths in pieces of any: each message comes out once, whole, in its connection's order,
// with the address of its exporter, and each connection has a session of its own.
func TestMessagesOfAllConnections(t *testing.T) {
	x := start(t, defaults(func(c *Config) { c.Listen = []string{":0"} }), true)
	const conns, each = 5, 300
	want := map[netip.AddrPort][]string{}
	var wg sync.WaitGroup
	began := time.Now().UnixNano()
	for k := range conns {
		host := "127.0.0.1"
		if k == 0 {
			host = "::1"
		}
		c, err := net.Dial("tcp", net.JoinHostPort(host, fmt.Sprint(x.src.Opened[0].port.local().Port())))
		if err != nil && k == 0 {
			t.Logf("no IPv6 on this machine, only IPv4 is tried: %v", err)
			continue
		} else if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(1, uint64(k)))
		from := c.LocalAddr().(*net.TCPAddr).AddrPort()
		var stream []byte
		for i := range each {
			size := 16 + r.IntN(1500)
			if i%50 == 0 {
				size = 65535 - i
			}
			m := message(uint32(k*each+i), size)
			want[from] = append(want[from], string(m))
			stream = append(stream, m...)
		}
		wg.Go(func() {
			for len(stream) > 0 {
				n := min(len(stream), 1+r.IntN(1<<uint(4+r.IntN(14))))
				if _, err := c.Write(stream[:n]); err != nil {
					t.Error(err)
					return
				}
				stream = stream[n:]
			}
			c.Close()
		})
	}
	wg.Wait()
	x.until("all messages are there", func() bool { return x.got() == len(want)*each })
	x.end()
	got := map[netip.AddrPort][]string{}
	sessions := map[uint64]netip.AddrPort{}
	for _, m := range x.rows {
		got[m.From] = append(got[m.From], m.Payload)
		if from, known := sessions[m.Session]; m.Session == 0 || known && from != m.From {
			t.Fatalf("session %x is that of %v and of %v", m.Session, m.From, from)
		}
		sessions[m.Session] = m.From
		if m.Received < began || m.Received > time.Now().UnixNano() {
			t.Fatalf("received at %d", m.Received)
		}
	}
	if len(sessions) != len(want) {
		t.Errorf("%d connections have %d sessions", len(want), len(sessions))
	}
	if !cmp.Equal(want, got) {
		t.Error("the messages are not those sent")
	}
	if len(x.dropped())+len(x.lost()) > 0 {
		t.Errorf("dropped %v, lost %v", x.dropped(), x.lost())
	}
}

// What is no IPFIX closes the connection: the messages before it come through, it is counted once and told once, and other
// connections go on.
func TestBadFraming(t *testing.T) {
	x := start(t, defaults(func(c *Config) { c.MaxMessage = 2000 }), true)
	other := x.dial()
	x.send(other, message(1, 100))
	n := 0
	for _, garbage := range []string{"GET / HTTP/1.1\r\n\r\n", "\x00\x0a\x00\x0f............", "\x00\x09\x00\x20", "\x00\x0a\xff\xff", "\x00\x0a\x07\xd1"} {
		c := x.dial()
		x.send(c, message(2, 200), message(3, 2000), []byte(garbage+strings.Repeat("x", 100_000)))
		x.closed(c)
		n++
		x.until("it is counted", func() bool { return x.dropped()[ReasonBadFraming] == uint64(n) })
	}
	x.send(other, message(4, 100))
	x.until("the good messages are there", func() bool { return x.got() == 2*n+2 })
	x.end()
	if d := cmp.Diff(map[sdk.Reason]uint64{ReasonBadFraming: uint64(n)}, x.dropped()); d != "" {
		t.Errorf("dropped (-want +got):\n%s", d)
	}
	if lines := strings.Count(x.log.String(), "it does not send IPFIX messages"); lines < 1 || lines > n {
		t.Errorf("%d bad connections are told in %d lines:\n%s", n, lines, x.log.String())
	}
}

// A message that is not complete when its connection ends is counted.
func TestTruncated(t *testing.T) {
	x := start(t, defaults(), true)
	for _, rest := range []int{1, 3, 4, 99} {
		c := x.dial()
		x.send(c, message(1, 100), message(2, 100)[:rest])
		c.Close()
	}
	x.until("they are counted", func() bool { return x.dropped()[ReasonTruncated] == 4 })
	c := x.dial()
	x.send(c, message(1, 100), message(2, 100)[:50])
	x.until("the whole messages are there", func() bool { return x.got() == 5 })
	x.end()
	x.closed(c)
	if d := cmp.Diff(map[sdk.Reason]uint64{ReasonTruncated: 5}, x.dropped()); d != "" {
		t.Errorf("dropped (-want +got):\n%s", d)
	}
}

// A slow exporter that never completes a message is cut off, however often it sends a byte; one that completes some is not.
func TestIdle(t *testing.T) {
	cfg := defaults()
	x := start(t, cfg, true)
	x.src.cfg.IdleTimeout = 2 * time.Second // less than Validate allows, but a busy machine may keep the good one waiting
	good, loris := x.dial(), x.dial()
	began, cut := time.Now(), time.Duration(0)
	x.send(loris, message(1, 1000)[:100])
	for i := uint32(0); cut == 0 || time.Since(began) < 3*time.Second; i++ {
		x.send(good, message(i, 20))
		if _, err := loris.Write([]byte{1}); err != nil && cut == 0 {
			cut = time.Since(began)
		}
		if time.Since(began) > time.Minute {
			t.Fatal("the slow connection is still open")
		}
		time.Sleep(20 * time.Millisecond)
	}
	x.send(good, message(7, 20))
	x.end()
	if d := cmp.Diff(map[sdk.Reason]uint64{ReasonTruncated: 1}, x.dropped()); d != "" {
		t.Errorf("dropped (-want +got):\n%s", d)
	}
	if !strings.Contains(x.log.String(), "no message was completed for idle_timeout") {
		t.Error(x.log.String())
	}
}

// More connections than allowed are refused and counted, and there is room again when one has ended.
func TestTooManyConnections(t *testing.T) {
	x := start(t, defaults(func(c *Config) { c.MaxConnections = 3 }), true)
	var open []net.Conn
	for i := range 3 {
		c := x.dial()
		x.send(c, message(uint32(i), 20))
		open = append(open, c)
	}
	x.until("three are served", func() bool { return x.got() == 3 })
	for range 2 {
		x.closed(x.dial())
	}
	open[0].Close()
	x.until("there is room", func() bool {
		x.src.Opened[0].mu.Lock()
		defer x.src.Opened[0].mu.Unlock()
		return len(x.src.Opened[0].conns) == 2
	})
	x.send(x.dial(), message(9, 20))
	x.until("the fourth is served", func() bool { return x.got() == 4 })
	x.end()
	if d := cmp.Diff(map[sdk.Reason]uint64{ReasonTooMany: 2}, x.lost()); d != "" {
		t.Errorf("lost (-want +got):\n%s", d)
	}
}

// One address cannot take the connections of all: further ones of it are refused and counted, those of others are not, and it has room again
// when one has ended.
func TestTooManyConnectionsOfAnAddress(t *testing.T) {
	x := start(t, defaults(func(c *Config) { c.MaxConnections, c.MaxPerAddress = 4, 2 }), true)
	port := x.src.Opened[0].port.local()
	other := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	from := func(i uint32) net.Conn {
		c, err := other.Dial("tcp4", port.String())
		if err != nil {
			t.Skip("this system has no second address of the loop-back interface: ", err)
		}
		t.Cleanup(func() { c.Close() })
		x.send(c, message(i, 20))
		return c
	}
	var open []net.Conn
	for i := range uint32(2) {
		c := x.dial()
		x.send(c, message(i, 20))
		open = append(open, c)
	}
	x.until("two are served", func() bool { return x.got() == 2 })
	for range 3 {
		x.closed(x.dial())
	}
	from(2)
	from(3)
	x.until("two of another address are served", func() bool { return x.got() == 4 })
	x.closed(x.dial()) // too many of the address, though of all as well
	open[0].Close()
	x.until("there is room", func() bool {
		x.src.Opened[0].mu.Lock()
		defer x.src.Opened[0].mu.Unlock()
		return len(x.src.Opened[0].conns) == 3
	})
	x.send(x.dial(), message(9, 20))
	x.until("it is served again", func() bool { return x.got() == 5 })
	x.end()
	if d := cmp.Diff(map[sdk.Reason]uint64{ReasonAddress: 4}, x.lost()); d != "" {
		t.Errorf("lost (-want +got):\n%s", d)
	}
	if n := len(x.src.Opened[0].from); n != 0 {
		t.Errorf("%d addresses are remembered of no connection", n)
	}
}

// fromAddr is a connection from an address that this machine does not have.
type fromAddr struct {
	net.Conn
	from netip.AddrPort
}

func (c *fromAddr) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.from) }

// Addresses of IPv6 that one exporter can choose among count together; those of exporters on one link do not.
func TestTooManyConnectionsOfANetwork(t *testing.T) {
	x := start(t, defaults(func(c *Config) { c.MaxPerAddress = 2 }), true)
	r := x.src.Opened[0]
	served := map[string]bool{}
	var near []net.Conn
	for _, addr := range []string{"2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1", "fe80::1%1", "fe80::2%1", "fe80::3%1", "192.0.2.1", "192.0.2.2", "192.0.2.3", "::ffff:192.0.2.1"} {
		total := func() (n int) {
			r.mu.Lock()
			defer r.mu.Unlock()
			return len(r.conns)
		}
		had := total()
		a, b := net.Pipe()
		near = append(near, a)
		r.take(&fromAddr{b, netip.AddrPortFrom(netip.MustParseAddr(addr), 4739)})
		served[addr] = total() > had
	}
	for _, c := range near {
		c.Close()
	}
	x.end()
	want := map[string]bool{"2001:db8::1": true, "2001:db8::2": true, "2001:db8::3": false, "2001:db8:0:1::1": true, "fe80::1%1": true, "fe80::2%1": true, "fe80::3%1": true,
		"192.0.2.1": true, "192.0.2.2": true, "192.0.2.3": true, "::ffff:192.0.2.1": true}
	if d := cmp.Diff(want, served); d != "" {
		t.Errorf("served (-want +got):\n%s", d)
	}
	if d := cmp.Diff(map[sdk.Reason]uint64{ReasonAddress: 1}, x.lost()); d != "" || len(r.from) != 0 {
		t.Errorf("lost (-want +got):\n%s%d networks are remembered of no connection", d, len(r.from))
	}
}

// Only exporters that `allow` names may connect.
func TestAllow(t *testing.T) {
	for allow, served := range map[string]bool{"127.0.0.1": true, "::ffff:127.0.0.1": true, "127.0.0.0/8": true, "192.0.2.0/24": false, "2001:db8::/32": false} {
		x := start(t, defaults(func(c *Config) { c.Allow = []string{allow} }), true)
		c := x.dial()
		if served {
			x.send(c, message(1, 20))
			x.until("it is served", func() bool { return x.got() == 1 })
		} else {
			x.closed(c)
			x.until("it is counted", func() bool { return x.lost()[ReasonNotAllowed] == 1 })
		}
		x.end()
	}
}

// A stalled lane stops the exporters, not the memory's growth only when it is too late: nothing is read beyond the slabs, and when
// the lane goes on nothing is missing.
func TestBackpressure(t *testing.T) {
	x := start(t, defaults(), false)
	stall := make(chan struct{})
	x.stall = stall
	x.read()
	const conns = 4
	var sent [conns]int
	var mu sync.Mutex
	stopped := make(chan struct{})
	var wg sync.WaitGroup
	for k := range conns {
		c := x.dial()
		wg.Go(func() {
			defer c.Close()
			for i := 0; ; i++ {
				select {
				case <-stopped:
					return
				default:
				}
				c.SetWriteDeadline(time.Now().Add(30 * time.Second))
				if _, err := c.Write(message(uint32(k<<24+i), 1400)); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				sent[k]++
				mu.Unlock()
			}
		})
	}
	total := func() (n int) {
		mu.Lock()
		defer mu.Unlock()
		for _, s := range sent {
			n += s
		}
		return n
	}
	last, since := -1, time.Now()
	x.until("the exporters stand still", func() bool {
		if n := total(); n != last {
			last, since = n, time.Now()
		}
		return time.Since(since) > 300*time.Millisecond
	})
	if n := x.env.Books.Received.Load(); n > (lent+conns)*slabBytes/1400 {
		t.Errorf("%d messages were read while nobody took them", n)
	}
	close(stopped)
	close(stall)
	wg.Wait()
	x.until("all messages are there", func() bool { return x.got() >= total() })
	x.end()
	next := map[netip.AddrPort]uint32{}
	for _, m := range x.rows {
		n := next[m.From]
		k := uint32(m.Payload[8])
		if m.Payload != string(message(k<<24+n, 1400)) {
			t.Fatalf("message %d of %v is not the next one", n, m.From)
		}
		next[m.From]++
	}
	if len(x.rows) != total() || len(next) != conns {
		t.Errorf("%d messages of %d exporters came, %d of %d were sent", len(x.rows), len(next), total(), conns)
	}
}

// What has arrived before Stop is handed out; connections are closed and new ones refused by the system.
func TestStopHandsOutWhatIsHere(t *testing.T) {
	x := start(t, defaults(), false)
	r := x.accept()
	const n = 500
	c := x.dial()
	for i := range n {
		x.send(c, message(uint32(i), 1000))
	}
	address := x.src.Opened[0].port.local().String()
	if err := x.src.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", address); err == nil {
		c.Close()
		t.Error("a connection was accepted after Stop")
	}
	if _, err := x.src.Accept(t.Context()); err != io.EOF {
		t.Errorf("Accept after Stop: %v", err)
	}
	x.readBy(r)
	x.closed(c)
	x.end()
	if len(x.rows) != n {
		t.Errorf("%d of %d messages came", len(x.rows), n)
	}
}

// A connection that the system has made before the deadline is taken after it, however late the loop gets to run.
func TestConnectedBeforeStop(t *testing.T) {
	ln, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp4", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	env := sdktest.Env(t, sdktest.WithOut(Schema))
	hold, err := env.Share("tcp/test", func(context.Context) (io.Closer, error) { return newPort(endpoint.Address{}), nil })
	if err != nil {
		t.Fatal(err)
	}
	p := hold.Object().(*port)
	r := newReader(&source{env: env, cfg: defaults(), cols: resolve(env), said: map[string]*said{}, senders: newCensus(mostExporters)}, p, hold)
	p.takers = []*reader{r}
	if err := ln.SetDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	p.accept(ln, make(chan struct{}))
	r.mu.Lock()
	n := len(r.conns)
	r.mu.Unlock()
	if n != 1 {
		t.Errorf("%d connections were taken, want 1", n)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// A pipeline that is broken off leaves nothing behind, whatever its connections are doing, and all is counted.
func TestBrokenOff(t *testing.T) {
	x := start(t, defaults(), false)
	var wg sync.WaitGroup
	for range 3 {
		c := x.dial()
		wg.Go(func() {
			for i := uint32(0); ; i++ {
				if _, err := c.Write(message(i, 1000)); err != nil {
					return
				}
			}
		})
	}
	x.dial() // idle
	x.until("the slabs are full", func() bool { return len(x.src.Opened[0].room) == 0 })
	r, err := x.src.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.Read(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
	wg.Wait()
	x.take(b) // it may be released later than the reader is closed
	x.end()
	if d := x.dropped(); d[sdk.ReasonStopped] == 0 || len(d) > 2 {
		t.Errorf("dropped %v", d)
	}
}

// Two generations share the listener: connections go to the newer one from its making on, and the older one's are drained.
func TestGenerations(t *testing.T) {
	one := start(t, defaults(), true)
	old := one.dial()
	one.send(old, message(1, 20))
	one.until("it is served", func() bool { return one.got() == 1 })
	two := &rig{TB: t, env: one.env}
	s, err := Plugin.Source(one.env, defaults())
	if err != nil {
		t.Fatal(err)
	}
	two.src = s.(*source)
	two.read()
	fresh := two.dial()
	two.send(fresh, message(2, 20))
	two.until("the new one serves it", func() bool { return two.got() == 1 })
	one.send(old, message(3, 20))
	one.until("the old one serves its own", func() bool { return one.got() == 2 })
	one.src.Stop(context.Background())
	one.lane.Wait()
	two.send(two.dial(), message(4, 20))
	two.until("the new one serves all", func() bool { return two.got() == 2 })
	two.src.Stop(context.Background())
	two.lane.Wait()
	for _, x := range []*rig{one, two} {
		if err := x.src.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
	seen := map[uint64]bool{}
	for _, m := range append(one.rows, two.rows...) {
		seen[m.Session] = true
	}
	if len(seen) != 3 {
		t.Errorf("three connections have the sessions %v", seen)
	}
}

// What is wrong with the machine is one sentence that says what to do.
func TestNotReady(t *testing.T) {
	x := start(t, defaults(), true)
	taken := x.src.Opened[0].port.local().String()
	for listen, want := range map[string]string{
		taken:              "is in use: stop the process that has it",
		"192.0.2.255:4739": "192.0.2.255 is not an address of this machine: listen on one of its addresses",
	} {
		if l, err := net.Listen("tcp", listen); err == nil {
			l.Close()
			t.Logf("this machine lets anybody listen on %s: its error is not tried", listen)
			continue
		}
		env := sdktest.Env(t, sdktest.WithOut(Schema)) // of another pipeline
		_, err := Plugin.Source(env, defaults(func(c *Config) { c.Listen = []string{"127.0.0.1:0", listen} }))
		if n, ok := errors.AsType[*sdk.NotReady](err); !ok || !strings.Contains(n.Error(), want) {
			t.Errorf("%s: %v", listen, err)
		}
	}
	x.end()
}

func TestValidate(t *testing.T) {
	if err := defaults().Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	c := &Config{Listen: []string{"4739", "host:1", ":70000", ":1", ":1"}, Allow: []string{"x", "10.0.0.0/33", "10.0.0.1", "10.0.0.1/24", "::ffff:10.0.0.0/104", "fe80::1%eth0"}, MaxMessage: 15, IdleTimeout: time.Millisecond,
		TLS: TLS{Key: "k", RequireClientCert: true, MinVersion: "1.1"}}
	var paths []string
	for _, p := range c.Validate().(sdk.Problems) {
		paths = append(paths, p.Path)
	}
	want := []string{"listen[0]", "listen[1]", "listen[2]", "listen[4]", "allow[0]", "allow[1]", "allow[3]", "allow[4]", "max_connections", "max_per_address", "max_message", "idle_timeout", "tls.cert", "tls.client_ca", "tls.min_version"}
	if d := cmp.Diff(want, paths); d != "" {
		t.Errorf("problems (-want +got):\n%s", d)
	}
	if err := (&Config{}).Validate(); err == nil || !strings.Contains(err.Error(), "no address to accept connections on") {
		t.Error(err)
	}
}
