//go:build linux

package udp

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirflow/weir/sdk"
)

func settle(b *sdk.Batch) {
	b.Done(sdk.Delivered)
	b.Release()
}

// What the kernel drops is counted, also when nothing comes any more that could carry the count.
func TestKernelDropsAreCounted(t *testing.T) {
	env := testEnv(t)
	s := open(t, env, &Config{Listen: []string{"127.0.0.1:0"}, Workers: 1, ReceiveBuffer: 64 << 10})
	conn := dial(t, s.Addrs()[0])
	const sent = 1000
	for range sent {
		if _, err := conn.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	wait := collect(t, s)
	s.Stop(t.Context())
	all, _, _ := wait()
	lost := uint64(0)
	env.Books.Losses(func(r sdk.Reason, n uint64) {
		if r != ReasonKernelDrops {
			t.Error(r)
		}
		lost += n
	})
	if lost == 0 || uint64(len(all))+lost != sent || received(s) != uint64(len(all)) {
		t.Errorf("%d sent, %d read, %d counted as received, %d as lost", sent, len(all), received(s), lost)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// What the kernel drops while the pipeline is full, so that nobody reads, is in the books while that lasts, and once.
func TestKernelDropsWhileNobodyReads(t *testing.T) {
	env := testEnv(t)
	s := open(t, env, &Config{Listen: []string{"127.0.0.1:0"}, Workers: 1, ReceiveBuffer: 64 << 10})
	conn := dial(t, s.Addrs()[0])
	const sent = 1000
	send := func() {
		for range sent {
			if _, err := conn.Write(make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := 0
	for range 2 {
		send()
		for end := time.Now().Add(time.Minute); losses(env) == before; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d are counted as lost, and more were dropped since", before)
			}
		}
		before = losses(env)
	}
	wait := collect(t, s)
	s.Stop(t.Context())
	all, _, _ := wait()
	if len(all)+losses(env) != 2*sent || received(s) != uint64(len(all)) {
		t.Errorf("%d sent, %d read, %d counted as lost", 2*sent, len(all), losses(env))
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// With all slabs lent nothing is read; the first that comes back is used again, and its former content was not overwritten.
func TestLentSlabsAreNotWritten(t *testing.T) {
	s := open(t, testEnv(t), &Config{Listen: []string{"127.0.0.1:0"}, Workers: 1})
	conn := dial(t, s.Addrs()[0])
	r, _ := s.Accept(t.Context())
	var held []*sdk.Batch
	for i := range slabs {
		fmt.Fprintf(conn, "datagram %d", i)
		b, err := r.Read(t.Context(), time.Second)
		if err != nil || b == nil {
			t.Fatal(b, err)
		}
		held = append(held, b)
	}
	fmt.Fprintf(conn, "one more")
	if b, err := r.Read(t.Context(), 20*time.Millisecond); b != nil || err != nil {
		t.Fatal("read into memory that is lent: ", b, err)
	}
	for i, b := range held {
		rows(b, func(g got, _ int64) {
			if want := fmt.Sprintf("datagram %d", i); g.Payload != want {
				t.Errorf("%q, want %q", g.Payload, want)
			}
		})
	}
	time.AfterFunc(10*time.Millisecond, func() { settle(held[0]) })
	b, err := r.Read(t.Context(), time.Second)
	if err != nil || b == nil {
		t.Fatal(b, err)
	}
	rows(b, func(g got, _ int64) {
		if g.Payload != "one more" {
			t.Error(g)
		}
	})
	for _, b := range append(held[1:], b) {
		settle(b)
	}
	s.Stop(t.Context())
	drain(t, r, func(got, int64) { t.Error("a datagram nobody sent") })
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// stream sends numbered datagrams from several ports, at a rate that no buffer overflows at, until it is told to stop.
func stream(t *testing.T, to netip.AddrPort) (stop func() (sent int)) {
	var conns []*net.UDPConn
	for range 16 {
		conns = append(conns, dial(t, to))
	}
	done := make(chan struct{})
	sent := 0
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			for _, c := range conns {
				// A port without a socket answers with an error on the next write: such a datagram is lost, and will be missed.
				fmt.Fprintf(c, "%d", sent)
				sent++
			}
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
			}
		}
	})
	return func() int {
		close(done)
		wg.Wait()
		return sent
	}
}

// A successor takes the port over while its predecessor drains: in the same process, over shared sockets with more or fewer
// workers, or as another process, over the kernel's group.
func TestTakeOverLosesNothing(t *testing.T) {
	for _, c := range []struct {
		name         string
		sameProcess  bool
		before, then int
		balance      Balance
		next         Balance
		unprivileged bool
	}{
		{"next generation", true, 2, 2, BalanceKernel, BalanceKernel, false},
		{"more workers", true, 1, 4, BalancePacket, BalancePacket, false},
		{"fewer workers", true, 4, 1, BalancePacket, BalancePacket, false},
		{"another rule", true, 2, 3, BalancePacket, BalanceDomain, false},
		{"no rule", true, 3, 2, BalanceSource, BalanceKernel, false},
		{"random, more workers", true, 1, 4, BalancePacket, BalancePacket, true},
		{"random, fewer workers", true, 4, 1, BalancePacket, BalancePacket, true},
		{"another process", false, 3, 3, BalanceKernel, BalanceKernel, false},
		{"another process, by packet", false, 3, 2, BalancePacket, BalancePacket, false},
		{"another process, random before", false, 3, 3, BalancePacket, BalancePacket, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.unprivileged {
				refuse(t)
			}
			env := testEnv(t)
			old := open(t, env, &Config{Listen: []string{"127.0.0.1:0"}, Workers: c.before, Balance: c.balance})
			at := old.Addrs()[0]
			oldWait := collect(t, old)
			stop := stream(t, at)
			time.Sleep(30 * time.Millisecond)
			env2 := testEnv(t)
			cfg := &Config{Listen: []string{at.String()}, Workers: c.then, SharePort: true, Balance: c.next}
			if c.sameProcess {
				env2.Share = env.Share
				cfg = &Config{Listen: []string{"127.0.0.1:0"}, Workers: c.then, Balance: c.next}
			}
			next := open(t, env2, cfg)
			nextWait := collect(t, next)
			time.Sleep(10 * time.Millisecond)
			old.Stop(t.Context())
			a, _, _ := oldWait()
			if err := old.Close(t.Context()); err != nil {
				t.Error(err)
			}
			time.Sleep(30 * time.Millisecond)
			sent := stop()
			next.Stop(t.Context())
			b, _, _ := nextWait()
			if err := next.Close(t.Context()); err != nil {
				t.Error(err)
			}
			seen := map[string]int{}
			for _, g := range append(a, b...) {
				seen[g.Payload]++
			}
			if len(seen) != sent || len(a)+len(b) != sent || len(a) == 0 || len(b) == 0 {
				t.Errorf("%d sent, %d + %d read, %d different", sent, len(a), len(b), len(seen))
			}
		})
	}
}

func TestNobodyElseOnThePort(t *testing.T) {
	first := open(t, testEnv(t), &Config{Listen: []string{"127.0.0.1:0"}, Workers: 2})
	at := first.Addrs()[0].String()
	if _, err := newSource(testEnv(t), &Config{Listen: []string{at}, Workers: 1, ReceiveBuffer: 1 << 20}); err == nil {
		t.Error("two sources share a port unasked")
	}
	second := open(t, testEnv(t), &Config{Listen: []string{at}, Workers: 1, SharePort: true})
	for _, s := range []*source{first, second} {
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestNextGenerationChangesTheBuffer(t *testing.T) {
	env := testEnv(t)
	old := open(t, env, &Config{Listen: []string{"127.0.0.1:0"}, Workers: 1, ReceiveBuffer: 64 << 10})
	next := open(t, env, &Config{Listen: []string{"127.0.0.1:0"}, Workers: 1, ReceiveBuffer: 128 << 10})
	a, b := old.Opened[0].(*reader).sock, next.Opened[0].(*reader).sock
	if a != b || receiveBuffer(b.fd) != 128<<10 {
		t.Errorf("sockets %p and %p, %d bytes", a, b, receiveBuffer(b.fd))
	}
	for _, s := range []*source{old, next} {
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestReceiveBufferIsReadBack(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	setReceiveBuffer(fd, 100<<10)
	if n := receiveBuffer(fd); n != 100<<10 {
		t.Errorf("%d bytes", n)
	}
}

// fixture is a reader with n datagrams of size bytes always at hand.
type fixture struct {
	r    sdk.Reader
	conn int // a connected socket that sends
	msg  []byte
}

func newFixture(t testing.TB, size int, gro bool) *fixture {
	s := open(t, testEnv(t), &Config{Listen: []string{"127.0.0.1:0"}, Workers: 1, GRO: gro})
	r, err := s.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	at := s.Addrs()[0]
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		unix.Close(fd)
		s.Stop(t.Context())
		drain(t, r, func(got, int64) {})
		s.Close(t.Context())
	})
	return &fixture{r, fd, make([]byte, size)}
}

func (f *fixture) send(t testing.TB, n int) {
	for range n {
		if _, err := unix.Write(f.conn, f.msg); err != nil {
			t.Fatal(err)
		}
	}
}

func (f *fixture) read(t testing.TB, n int) {
	for n > 0 {
		b, err := f.r.Read(t.Context(), time.Second)
		if err != nil || b == nil {
			t.Fatal(b, err)
		}
		n -= b.Rows()
		settle(b)
	}
}

func TestBatchesCostNoAllocation(t *testing.T) {
	for _, train := range []int{1, 30} {
		f := newFixture(t, 1400*train, train > 1)
		if train > 1 {
			trains(t)
			if err := unix.SetsockoptInt(f.conn, unix.SOL_UDP, unix.UDP_SEGMENT, 1400); err != nil {
				t.Skip("this kernel sends no trains: ", err)
			}
		}
		for range 10 {
			f.send(t, slots)
			f.read(t, slots*train)
		}
		if n := testing.AllocsPerRun(50, func() {
			f.send(t, slots)
			f.read(t, slots*train)
		}); n != 0 {
			t.Errorf("%v allocations a receive of trains of %d", n, train)
		}
	}
}

func cpu(b *testing.B) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts); err != nil {
		b.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

// The CPU of reading datagrams that wait in the socket's buffer: the system call, time stamps, addresses, the batch; not of sending them.
// In trains, where the kernel hands over so.
func BenchmarkRead(b *testing.B) {
	for _, c := range []struct {
		size  int
		gro   bool
		train int
	}{{200, false, 1}, {1400, false, 1}, {200, true, 1}, {1400, true, 1}, {200, true, 32}, {1400, true, 32}, {1400, true, 4}} {
		name := fmt.Sprintf("%dB", c.size)
		if c.gro {
			name = fmt.Sprintf("%dB-gro-trains-of-%d", c.size, c.train)
		}
		b.Run(name, func(b *testing.B) {
			f := newFixture(b, c.size*c.train, c.gro)
			if c.train > 1 {
				trains(b)
				if err := unix.SetsockoptInt(f.conn, unix.SOL_UDP, unix.UDP_SEGMENT, c.size); err != nil {
					b.Skip("this kernel sends no trains: ", err)
				}
			}
			const n = 832 // receives of 32 and 64 are full: no nap
			f.send(b, n/c.train)
			f.read(b, n)
			var used time.Duration
			b.ReportAllocs()
			for range b.N {
				b.StopTimer()
				f.send(b, n/c.train)
				b.StartTimer()
				start := cpu(b)
				f.read(b, n)
				used += cpu(b) - start
			}
			b.ReportMetric(float64(used.Nanoseconds())/float64(b.N)/n, "cpu-ns/record")
		})
	}
}

// The cost of telling exporters apart, and of their limits.
func BenchmarkGate(b *testing.B) {
	for _, c := range []struct {
		name  string
		addrs int
		cfg   Config
	}{
		{"one exporter", 1, Config{}},
		{"one exporter, allow and limit", 1, Config{Allow: prefixes(b, "10.0.0.0/8"), RateLimit: 1e6}},
		{"1000 in turn", 1000, Config{}},
		{"1000 in turn, allow and limit", 1000, Config{Allow: prefixes(b, "10.0.0.0/8"), RateLimit: 1e6}},
	} {
		b.Run(c.name, func(b *testing.B) {
			g := newGate(newExporters(), &c.cfg)
			var p passed
			const batch = 32
			at, from := t0, 0
			b.ReportAllocs()
			start := cpu(b)
			for b.Loop() {
				at += 100_000
				g.mu.Lock()
				if c.addrs == 1 {
					g.take(&p, addr(1), batch, batch*1400, at)
				} else {
					for range batch {
						from = (from + 1) % c.addrs
						g.take(&p, addr(from), 1, 1400, at)
					}
				}
				g.mu.Unlock()
			}
			b.ReportMetric(float64((cpu(b)-start).Nanoseconds())/float64(b.N)/batch, "cpu-ns/record")
		})
	}
}
