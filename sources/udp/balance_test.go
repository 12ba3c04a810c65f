//go:build linux

package udp

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weirflow/weir/bpf"
	"github.com/weirflow/weir/sdk"
)

// refuse makes loading fail as it does without CAP_BPF.
func refuse(t *testing.T) {
	loadPrograms = func() (*bpf.Reuseport, error) { return nil, fmt.Errorf("map create: %w", unix.EPERM) }
	t.Cleanup(func() { loadPrograms = bpf.LoadReuseport })
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
	sent, per := spread(t, &Config{Workers: 4, Balance: BalancePacket}, oneFlow(t, 4000))
	for _, n := range per {
		// One sender may move between CPUs, each of which counts for itself; a worker that falls behind is skipped.
		if n < sent/4*80/100 || n > sent/4*120/100 {
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
			var readers []sdk.Reader
			for range 4 {
				r, err := s.Accept(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				readers = append(readers, r)
			}
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
