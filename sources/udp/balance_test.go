//go:build linux

package udp

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirflow/weir/bpf"
	"github.com/weirflow/weir/sdk"
)

// refuse makes loading fail as it does without CAP_BPF.
func refuse(t *testing.T) {
	loadPrograms = func() (*bpf.Reuseport, error) { return nil, fmt.Errorf("map create: %w", unix.EPERM) }
	countOffered = func(int) (*bpf.Offered, error) { return nil, fmt.Errorf("map create: %w", unix.EPERM) }
	t.Cleanup(func() { loadPrograms, countOffered = bpf.LoadReuseport, bpf.CountOffered })
}

// programs skips where the system does not let programs be loaded.
func programs(t *testing.T) {
	p, err := bpf.LoadReuseport()
	if err != nil {
		t.Skip("balancing programs cannot be loaded here: ", bpf.Why(err))
	}
	p.Close()
}

// spread says how many of the datagrams sent each worker got.
func spread(t *testing.T, cfg *Config, send func(to netip.AddrPort) (sent int)) (total int, per []int) {
	t.Helper()
	cfg.Listen = []string{"127.0.0.1:0"}
	s := open(t, testEnv(t), cfg)
	wait := collect(t, s)
	sent := send(s.Addrs()[0])
	s.Stop(t.Context())
	all, per, _ := wait()
	if len(all) != sent {
		t.Errorf("%d of %d arrived", len(all), sent)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	return sent, per
}

func oneFlow(t *testing.T, n int) func(netip.AddrPort) int {
	return func(to netip.AddrPort) int {
		c := dial(t, to)
		for range n {
			c.Write(make([]byte, 100))
		}
		return n
	}
}

func TestByPacketOneFlowSpreads(t *testing.T) {
	programs(t)
	sent, per := spread(t, &Config{Workers: 4, Balance: BalancePacket}, oneFlow(t, 8000))
	for _, n := range per {
		// One sender may move between CPUs, each of which counts for itself; no worker can fall so far behind here as to be skipped.
		if n < sent/4*97/100 || n > sent/4*103/100 {
			t.Errorf("%v", per)
		}
	}
}

func TestRandomOneFlowSpreads(t *testing.T) {
	refuse(t)
	sent, per := spread(t, &Config{Workers: 4, Balance: BalancePacket}, oneFlow(t, 4000))
	for _, n := range per {
		if n < sent/4*80/100 || n > sent/4*120/100 { // seven standard deviations
			t.Errorf("%v", per)
		}
	}
}

// Without permission, or when the kernel shall choose, one flow stays with one worker.
func TestByHashOneFlowStays(t *testing.T) {
	for _, b := range []Balance{BalanceKernel, BalanceDomain, BalanceSource} {
		refuse(t)
		sent, per := spread(t, &Config{Workers: 4, Balance: b}, oneFlow(t, 500))
		full := 0
		for _, n := range per {
			if n == sent {
				full++
			}
		}
		if full != 1 {
			t.Errorf("%s: %v", b, per)
		}
	}
}

// Each source address, or observation domain, is read by one worker, and not all by the same.
func TestBySourceAndDomain(t *testing.T) {
	programs(t)
	domains := map[string]func(uint32) []byte{
		"9": func(d uint32) []byte {
			return binary.BigEndian.AppendUint32(append([]byte{0, 9}, make([]byte, 14)...), d)
		},
		"10": func(d uint32) []byte {
			return binary.BigEndian.AppendUint32(append([]byte{0, 10}, make([]byte, 10)...), d)
		},
	}
	for _, c := range []struct {
		name    string
		balance Balance
		listen  string
		from    func(i int) string
		payload func(i int) []byte
		fan     bool
	}{
		{"source", BalanceSource, "127.0.0.1:0", func(i int) string { return fmt.Sprintf("127.0.1.%d", i) }, func(i int) []byte { return []byte{byte(i)} }, true},
		{"source on a socket for both", BalanceSource, "[::]:0", func(i int) string { return fmt.Sprintf("127.0.1.%d", i) }, func(i int) []byte { return []byte{byte(i)} }, true},
		{"one source", BalanceSource, "[::1]:0", func(i int) string { return "::1" }, func(i int) []byte { return []byte{byte(i)} }, false},
		{"IPFIX domains", BalanceDomain, "127.0.0.1:0", func(int) string { return "127.0.0.1" }, func(i int) []byte { return domains["10"](uint32(i)) }, true},
		{"v9 source ids", BalanceDomain, "[::1]:0", func(int) string { return "::1" }, func(i int) []byte { return domains["9"](uint32(i)) }, true},
		{"neither", BalanceDomain, "127.0.0.1:0", func(int) string { return "127.0.0.1" }, func(i int) []byte { return []byte(strings.Repeat(string(rune('a'+i)), 30)) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, testEnv(t), &Config{Listen: []string{c.listen}, Workers: 4, Balance: c.balance})
			to := s.Addrs()[0]
			if to.Addr().IsUnspecified() {
				to = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), to.Port())
			}
			const keys = 16
			for i := range keys {
				for range 5 { // each from another port, which the kernel's hash would spread
					conn, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(c.from(i))}, net.UDPAddrFromAddrPort(to))
					if err != nil {
						t.Fatal(err)
					}
					conn.Write(c.payload(i))
					conn.Close()
				}
			}
			readers := accept(t, s, 4)
			s.Stop(t.Context())
			workers, used := map[string]int{}, 0
			for w, r := range readers {
				n := 0
				drain(t, r, func(g got, _ int64) {
					n++
					if at, ok := workers[g.Payload]; ok && at != w {
						t.Errorf("%x at workers %d and %d", g.Payload, at, w)
					}
					workers[g.Payload] = w
				})
				if n > 0 {
					used++
				}
			}
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if len(workers) != keys || c.fan != (used > 1) {
				t.Errorf("%d keys at %d workers", len(workers), used)
			}
		})
	}
}

// A worker that does not read is passed by: nothing is lost while the others have room.
func TestByPacketSkipsAWorkerThatFallsBehind(t *testing.T) {
	programs(t)
	env := testEnv(t)
	s := open(t, env, &Config{Listen: []string{"127.0.0.1:0"}, Workers: 2, Balance: BalancePacket, ReceiveBuffer: 256 << 10})
	const sent = 3000
	conn := dial(t, s.Addrs()[0])
	stalled, _ := s.Accept(t.Context())
	reading, _ := s.Accept(t.Context())
	total := 0
	for range sent {
		conn.Write(make([]byte, 1000))
		for {
			b, err := reading.Read(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			if b == nil {
				break
			}
			total += b.Rows()
			settle(b)
		}
	}
	s.Stop(t.Context())
	behind := 0
	drain(t, stalled, func(got, int64) { behind++ })
	drain(t, reading, func(got, int64) { total++ })
	if behind == 0 || behind > sent/4 || total+behind != sent {
		t.Errorf("%d of %d read, %d of them at the worker that had fallen behind", total+behind, sent, behind)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// One worker of four stands still while ten times more arrives than its buffer holds: the others take its share, and nothing is
// lost.
func TestOneOfFourStandsStill(t *testing.T) {
	programs(t)
	s := open(t, testEnv(t), &Config{Listen: []string{"127.0.0.1:0"}, Workers: 4, Balance: BalancePacket, ReceiveBuffer: 512 << 10})
	const sent = 20_000
	readers := accept(t, s, 4)
	const still = 2
	var read [4]atomic.Int64
	var wg sync.WaitGroup
	for w, r := range readers {
		if w != still {
			wg.Go(func() { drain(t, r, func(got, int64) { read[w].Add(1) }) })
		}
	}
	taken := func() (n int64) {
		for w := range read {
			n += read[w].Load()
		}
		return n
	}
	conn := dial(t, s.Addrs()[0])
	deadline := time.Now().Add(20 * time.Second)
	for i := range int64(sent) {
		conn.Write(make([]byte, 1000))
		// A busy machine is no reason to lose anything: the sender waits for the three, never for the one that stands still.
		for i-taken() > 700 && time.Now().Before(deadline) {
			time.Sleep(100 * time.Microsecond)
		}
	}
	s.Stop(t.Context())
	wg.Wait()
	sockets := s.sockets().Sockets
	drain(t, readers[still], func(got, int64) { read[still].Add(1) })
	if n := taken(); n != sent {
		t.Errorf("%d of %d arrived", n, sent)
	}
	if n := read[still].Load(); n == 0 || n > 700 {
		t.Errorf("%d waited at the one that stood still", n)
	}
	if sockets[still].Waiting == 0 {
		t.Errorf("%+v", sockets[still])
	}
	for _, x := range s.sockets().Sockets {
		if x.Drops != 0 || x.Balance != "packet" || x.Why != "" {
			t.Errorf("%+v", x)
		}
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// What the system gave of what was asked can be looked at: which balancing is in force and why, buffers, and what was dropped.
func TestSocketsTell(t *testing.T) {
	const size = 64 << 10
	for _, c := range []struct {
		name    string
		cfg     Config
		refused bool
		want    Socket
	}{
		{"one worker", Config{Workers: 1, Balance: BalanceDomain}, false, Socket{Balance: "none"}},
		{"as asked", Config{Workers: 2, Balance: BalanceKernel}, false, Socket{BalanceAsked: BalanceKernel, Balance: "kernel"}},
		{"at random", Config{Workers: 2, Balance: BalancePacket}, true, Socket{BalanceAsked: BalancePacket, Balance: "random choice", Why: "it needs CAP_BPF"}},
		{"by hash", Config{Workers: 2, Balance: BalanceDomain}, true, Socket{BalanceAsked: BalanceDomain, Balance: "kernel's hash of addresses and ports", Why: "it needs CAP_BPF"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.refused {
				refuse(t)
			}
			c.cfg.Listen, c.cfg.ReceiveBuffer = []string{"127.0.0.1:0"}, size
			s := open(t, testEnv(t), &c.cfg)
			conn := dial(t, s.Addrs()[0])
			const sent = 1000
			for range sent {
				conn.Write(make([]byte, 1000))
			}
			a, err := s.Inspect(sdk.TopicSockets)
			if err != nil {
				t.Fatal(err)
			}
			waiting, drops := uint32(0), uint64(0)
			for w, got := range a.(*Sockets).Sockets {
				waiting, drops = waiting+got.Waiting, drops+got.Drops
				got.Waiting, got.Drops = 0, 0
				want := c.want
				want.Listen, want.Worker, want.BufferAsked, want.Buffer = s.Addrs()[0].String(), w, size, size
				if got != want {
					t.Errorf("%+v, want %+v", got, want)
				}
			}
			wait := collect(t, s)
			s.Stop(t.Context())
			all, _, _ := wait()
			if waiting == 0 || drops == 0 || len(all)+int(drops) != sent {
				t.Errorf("%d bytes waited; %d read and %d dropped of %d", waiting, len(all), drops, sent)
			}
			again := uint64(0)
			for _, x := range s.sockets().Sockets { // closed by now
				again += x.Drops
			}
			if again != drops {
				t.Errorf("%d dropped, and %d afterwards", drops, again)
			}
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}
