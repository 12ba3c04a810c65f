//go:build linux

package udp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirflow/weir/bpf"
	"github.com/weirflow/weir/sdk"
)

// counting skips where no program can count what is offered.
func counting(t testing.TB) {
	trains(t)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	o, err := bpf.CountOffered(fd)
	if err != nil {
		t.Skip("no program can count here: ", bpf.Why(err))
	}
	o.Close()
}

func losses(env *sdk.Env) (n int) {
	env.Books.Losses(func(_ sdk.Reason, m uint64) { n += int(m) })
	return n
}

// The kernel counts a train that it drops once, whatever its length (6.18; net/ipv4/udp.c drops a buffer, and knows no more of it).
// With a program the count is exact; without, it is a bound from below, and says so; with single datagrams it is exact.
func TestDropsOfTrains(t *testing.T) {
	trains(t)
	const sent, each = 40, 20
	for _, c := range []struct{ gro, refused bool }{{true, false}, {true, true}, {false, false}} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			if c.refused {
				refuse(t)
			} else if c.gro {
				counting(t)
			}
			env := testEnv(t)
			var log bytes.Buffer
			env.Log = slog.New(slog.NewTextHandler(&log, nil))
			s := open(t, env, &Config{Listen: []string{"127.0.0.1:0"}, Workers: 2, ReceiveBuffer: 128 << 10, GRO: c.gro})
			send := train(t, s.Addrs()[0])
			for range sent {
				send(make([]byte, each*1000), 1000)
			}
			wait := collect(t, s)
			s.Stop(t.Context())
			all, _, _ := wait()
			lost, counted := sent*each-len(all), losses(env)
			if lost == 0 || !c.refused && counted != lost || c.refused && (counted == 0 || lost%each == 0 && counted*each != lost) {
				t.Errorf("%d lost, %d counted", lost, counted)
			}
			told, least, why := 0, false, ""
			for _, x := range s.sockets().Sockets {
				told, least, why = told+int(x.Drops), least || x.DropsAtLeast, x.DropsWhy
			}
			if told != counted || least != c.refused || (why == "it needs CAP_BPF") != c.refused || strings.Count(log.String(), "one is counted") != strings.Count(why, "CAP") {
				t.Errorf("%d told, at least: %v, for %q; %s", told, least, why, log.String())
			}
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// The exact count does not wait for the end: it is there when what waited has been read.
func TestDropsAreCompleteAtRest(t *testing.T) {
	counting(t)
	env := testEnv(t)
	s := open(t, env, &Config{Listen: []string{"127.0.0.1:0"}, Workers: 1, ReceiveBuffer: 128 << 10, GRO: true})
	reader := s.Opened[0].(*reader)
	r := accept(t, s, 1)[0]
	send := train(t, s.Addrs()[0])
	const each = 20
	sent, read := 0, 0
	for round := range 3 {
		for range 40 {
			send(make([]byte, each*1000), 1000)
			sent += each
		}
		reader.looked = time.Time{}
		for first := true; ; first = false {
			b, err := r.Read(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			if first { // the kernel's count is in, what trains had is not
				if told := s.sockets().Sockets[0]; told.Drops != uint64(losses(env)) || !told.DropsAtLeast {
					t.Errorf("%+v, %d counted", told, losses(env))
				}
			}
			if b == nil {
				break
			}
			read += b.Rows()
			settle(b)
		}
		for range 2 {
			if b, err := r.Read(t.Context(), 0); b != nil || err != nil {
				t.Fatal(b, err)
			}
		}
		if told := s.sockets().Sockets[0]; losses(env) != sent-read || told.Drops != uint64(sent-read) || told.DropsAtLeast || reader.tries != 0 {
			t.Errorf("round %d: %d of %d read, %d lost; %+v", round, read, sent, losses(env), told)
		}
	}
	s.Stop(t.Context())
	drain(t, r, func(got, int64) { t.Error("a datagram nobody sent") })
	if losses(env) != sent-read {
		t.Errorf("%d of %d read, %d lost", read, sent, losses(env))
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// What several send, trains and single datagrams, is read or counted, whatever the balance, and also when a successor takes over in
// the middle of it: the next generation over the same sockets, or another process over its own.
func TestEveryDropIsCounted(t *testing.T) {
	counting(t)
	for _, c := range []struct {
		balance Balance
		same    bool
	}{
		{BalancePacket, true}, {BalancePacket, false}, {BalanceSource, true}, {BalanceDomain, false}, {BalanceKernel, true}, {BalanceKernel, false},
	} {
		t.Run(fmt.Sprintf("%s, the same process: %v", c.balance, c.same), func(t *testing.T) {
			env := testEnv(t)
			cfg := func(at string, share bool) *Config {
				return &Config{Listen: []string{at}, Workers: 4, Balance: c.balance, ReceiveBuffer: 64 << 10, GRO: true, SharePort: share}
			}
			old := open(t, env, cfg("127.0.0.1:0", false))
			at := old.Addrs()[0]
			sent := make([]int, 3)
			volley := func(from, messages int) {
				send := train(t, at)
				for i := range messages {
					switch n := (i + from) % 4; n {
					case 0:
						send(make([]byte, 700), 1400)
						sent[from]++
					default:
						send(make([]byte, n*13*1000-1), 1000)
						sent[from] += n * 13
					}
				}
			}
			volley(0, 60) // nobody reads yet
			var wg sync.WaitGroup
			done := make(chan struct{})
			oldWait := collect(t, old)
			for from := range sent {
				wg.Go(func() {
					for {
						volley(from, 20)
						select {
						case <-done:
							return
						case <-time.After(time.Millisecond):
						}
					}
				})
			}
			time.Sleep(50 * time.Millisecond)
			env2 := testEnv(t)
			listen := at.String()
			if c.same {
				env2.Share, listen = env.Share, "127.0.0.1:0"
			}
			next := open(t, env2, cfg(listen, !c.same))
			nextWait := collect(t, next)
			time.Sleep(20 * time.Millisecond)
			old.Stop(t.Context())
			a, _, _ := oldWait()
			time.Sleep(30 * time.Millisecond)
			close(done)
			wg.Wait()
			next.Stop(t.Context())
			b, _, _ := nextWait()
			all := sent[0] + sent[1] + sent[2]
			if lost := losses(env) + losses(env2); lost == 0 || len(a)+len(b)+lost != all {
				t.Errorf("%d sent, %d and %d read, %d and %d counted as lost", all, len(a), len(b), losses(env), losses(env2))
			}
			for _, x := range append(old.sockets().Sockets, next.sockets().Sockets...) {
				if x.DropsAtLeast || x.DropsWhy != "" {
					t.Errorf("%+v", x)
				}
			}
			for _, s := range []*source{old, next} {
				if err := s.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// A socket that was open before trains were asked for may hold what no program saw.
func TestTrainsOfALaterGeneration(t *testing.T) {
	counting(t)
	env := testEnv(t)
	old := open(t, env, &Config{Listen: []string{"127.0.0.1:0"}, Workers: 1})
	next := open(t, env, &Config{Listen: []string{"127.0.0.1:0"}, Workers: 1, GRO: true})
	last := open(t, env, &Config{Listen: []string{"127.0.0.1:0"}, Workers: 1})
	train(t, next.Addrs()[0])(make([]byte, 5000), 1000)
	wait := collect(t, next)
	for _, s := range []*source{old, last} {
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
	next.Stop(t.Context()) // it is the only one now, so it reads to the end
	all, _, _ := wait()
	if got := next.sockets().Sockets[0]; len(all) != 5 || !got.GRO || !got.DropsAtLeast || got.DropsWhy != "the socket was open before gro was" {
		t.Errorf("%d; %+v", len(all), got)
	}
	if err := next.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// A datagram with a wrong checksum is dropped before the program and counted by the kernel alone, so it is lost beside what trains had; and it
// could have been a train, for all that is known.
func TestDroppedBeforeTheProgram(t *testing.T) {
	counting(t)
	env := testEnv(t)
	s := open(t, env, &Config{Listen: []string{"127.0.0.1:0"}, Workers: 1, ReceiveBuffer: 128 << 10, GRO: true})
	at := s.Addrs()[0]
	raw, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
	if err != nil {
		t.Skip("no raw sockets here: ", err)
	}
	defer unix.Close(raw)
	const bad, each, sent = 3, 20, 40
	send := train(t, at)
	for i := range sent {
		send(make([]byte, each*1000), 1000)
		if i < bad {
			p := binary.BigEndian.AppendUint16([]byte{0, 9}, at.Port())
			p = append(p, 0, 208, 0, 1) // length, and a checksum of 1; up to 76 bytes are checked before a socket is looked for
			p = append(p, make([]byte, 200)...)
			if err := unix.Sendto(raw, p, 0, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	wait := collect(t, s)
	s.Stop(t.Context())
	all, _, _ := wait()
	if lost := sent*each + bad - len(all); losses(env) != lost || len(all) == sent*each {
		t.Errorf("%d read, %d lost, %d counted", len(all), lost, losses(env))
	}
	if got := s.sockets().Sockets[0]; !got.DropsAtLeast || s.Opened[0].(*reader).sock.early != bad {
		t.Errorf("%+v, %d early", got, s.Opened[0].(*reader).sock.early)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// What looks missing once, for it is on its way, is never counted; nothing is counted twice.
func TestMissingTwiceCounts(t *testing.T) {
	for _, c := range []struct {
		missing, want []int64
	}{
		{[]int64{19, 19, 19}, []int64{0, 19, 0}},
		{[]int64{19, 0, 0}, []int64{0, 0, 0}},
		{[]int64{0, 19, 38, 38}, []int64{0, 0, 19, 19}},
		{[]int64{10, 10, 29, 10, 10, 12, 12}, []int64{0, 10, 0, 0, 0, 0, 2}},
		{[]int64{-5, -5, 3, 3}, []int64{0, 0, 0, 3}},
	} {
		s := &socket{}
		for i, m := range c.missing {
			s.lost++
			complete := s.settled
			if n := s.rest(m); n != uint64(c.want[i]) {
				t.Errorf("%v: %d at %d, want %d", c.missing, n, i, c.want[i])
			}
			if (s.settled != complete) != (s.more >= m) {
				t.Errorf("%v: complete is %v with %d of %d", c.missing, s.settled != complete, s.more, m)
			}
		}
	}
}

// What the kernel does for a datagram, sent over loopback and read, with a program that counts it and without: CPU of both sides.
func BenchmarkCounted(b *testing.B) {
	for _, size := range []int{1, 32} {
		for _, counted := range []bool{true, false} {
			b.Run(fmt.Sprintf("trains-of-%d-counted-%v", size, counted), func(b *testing.B) {
				counting(b)
				if !counted {
					countOffered = func(int) (*bpf.Offered, error) { return nil, unix.EPERM }
					b.Cleanup(func() { countOffered = bpf.CountOffered })
				}
				f := newFixture(b, 1400*size, true)
				if size > 1 {
					if err := unix.SetsockoptInt(f.conn, unix.SOL_UDP, unix.UDP_SEGMENT, 1400); err != nil {
						b.Skip("this kernel sends no trains: ", err)
					}
				}
				const n = 832
				f.send(b, n/size)
				f.read(b, n)
				start := cpu(b)
				for b.Loop() {
					f.send(b, n/size)
					f.read(b, n)
				}
				b.ReportMetric(float64((cpu(b)-start).Nanoseconds())/float64(b.N)/n, "cpu-ns/record")
			})
		}
	}
}
