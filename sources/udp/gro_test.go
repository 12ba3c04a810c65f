//go:build linux

package udp

import (
	"bytes"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// trains skips where the kernel joins none.
func trains(t testing.TB) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := setGRO(fd); err != nil {
		t.Skip("this kernel hands over no trains: ", err)
	}
}

// train sends to an address: each call one sendmsg, which the kernel cuts into datagrams of a size (UDP_SEGMENT).
func train(t testing.TB, to netip.AddrPort) (send func(payload []byte, size int)) {
	t.Helper()
	family, sa, err := sockaddr(to)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Connect(fd, sa); err != nil {
		t.Fatal(err)
	}
	return func(payload []byte, size int) {
		if err := unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, size); err != nil {
			t.Skip("this kernel sends no trains: ", err)
		}
		if _, err := unix.Write(fd, payload); err != nil {
			t.Fatal(err)
		}
	}
}

// numbered is a payload of n datagrams of a size, the last shorter, and the datagrams.
func numbered(from, n, size, last int) (payload []byte, each []string) {
	for i := range n {
		if i == n-1 {
			size = last
		}
		p := make([]byte, size)
		for j := range p {
			p[j] = byte(from + i + j)
		}
		payload, each = append(payload, p...), append(each, string(p))
	}
	return payload, each
}

// Whatever the kernel joined comes apart where the sender put it together, in order, each datagram with its sender and time; with
// and without trains, into narrow rooms and wide ones.
func TestTrains(t *testing.T) {
	trains(t)
	for _, c := range []struct {
		name   string
		listen string
		gro    bool
		wide   bool
	}{
		{"narrow", "127.0.0.1:0", true, false},
		{"wide", "127.0.0.1:0", true, true},
		{"IPv6", "[::1]:0", true, true},
		{"IPv6, narrow", "[::1]:0", true, false},
		{"each by itself", "127.0.0.1:0", false, false},
		{"each by itself, wide", "127.0.0.1:0", false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, testEnv(t), &Config{Listen: []string{c.listen}, Workers: 1, GRO: c.gro})
			reader := s.Opened[0].(*reader)
			r := accept(t, s, 1)[0]
			send := train(t, s.Addrs()[0])
			var want []string
			for i, x := range []struct{ n, size, last int }{
				{2, 1000, 1000}, {20, 1464, 1464}, {20, 1464, 7}, {44, 1464, 900}, {13, 5000, 1}, {64, 1, 1}, {1, 3000, 3000}, {1, 60000, 60000}, {1, 10, 10},
				{10, 2048, 2048}, {10, 2049, 2048}, {30, 1400, 1399}, {50, 1300, 17}, {3, 9, 4}, {1, 1400, 1400}, {40, 300, 300},
			} {
				if c.listen == "[::1]:0" && x.size > 60000 {
					continue
				}
				payload, each := numbered(i, x.n, x.size, x.last)
				send(payload, x.size)
				want = append(want, each...)
			}
			var all []string
			most := 0
			for len(all) < len(want) {
				if reader.frame.wide != c.wide && reader.frame.slab == nil {
					reader.frame.wide = c.wide
					reader.frame.shape()
				}
				reader.frame.mean = 8 * (narrow + widen) / 2 // stay so
				b, err := r.Read(t.Context(), time.Second)
				if err != nil || b == nil {
					t.Fatal(b, err)
				}
				most = max(most, len(reader.frame.got))
				rows(b, func(g got, at int64) {
					all = append(all, g.Payload)
					if age := time.Since(time.Unix(0, at)); age < 0 || age > time.Minute || g.From.Port() == 0 || g.From.Addr() != s.Addrs()[0].Addr() {
						t.Errorf("from %s, %v ago", g.From, age)
					}
				})
				settle(b)
			}
			if d := cmp.Diff(want, all); d != "" {
				t.Error("(-sent +read)", d[:min(len(d), 500)])
			}
			if joined := most > reader.frame.room(); c.wide && joined != c.gro {
				t.Errorf("%d datagrams in a receive of %d messages at most", most, reader.frame.room())
			}
			if got := s.sockets().Sockets[0]; got.GRO != c.gro || got.DropsAtLeast != (got.DropsWhy != "") {
				t.Errorf("%+v", got)
			}
			s.Stop(t.Context())
			drain(t, r, func(g got, _ int64) { t.Errorf("%d bytes nobody sent", len(g.Payload)) })
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// The rooms of a receive follow what comes: wide while there are trains, narrow when there are none.
func TestRoomsFollowTrains(t *testing.T) {
	trains(t)
	s := open(t, testEnv(t), &Config{Listen: []string{"127.0.0.1:0"}, Workers: 1, GRO: true})
	reader := s.Opened[0].(*reader)
	r := accept(t, s, 1)[0]
	send := train(t, s.Addrs()[0])
	for _, c := range []struct {
		datagrams int
		wide      bool
	}{{1, false}, {30, true}, {1, false}, {6, true}, {3, true}, {1, false}, {3, false}} {
		for range 50 {
			send(make([]byte, c.datagrams*100), 100)
			for n := c.datagrams; n > 0; {
				b, err := r.Read(t.Context(), time.Second)
				if err != nil || b == nil {
					t.Fatal(b, err)
				}
				n -= b.Rows()
				settle(b)
			}
		}
		if reader.frame.wide != c.wide {
			t.Errorf("wide is %v after trains of %d", reader.frame.wide, c.datagrams)
		}
	}
	s.Stop(t.Context())
	drain(t, r, func(got, int64) {})
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// A limit may end within a train: what passes is its beginning.
func TestLimitWithinATrain(t *testing.T) {
	trains(t)
	env := testEnv(t)
	s := open(t, env, &Config{Listen: []string{"127.0.0.1:0"}, Workers: 1, GRO: true, RateLimit: 50})
	send := train(t, s.Addrs()[0])
	var want []string
	for i := range 3 {
		payload, each := numbered(i, 40, 700, 300)
		send(payload, 700)
		want = append(want, each...)
	}
	wait := collect(t, s)
	s.Stop(t.Context())
	all, _, _ := wait()
	var read []string
	for _, g := range all {
		read = append(read, g.Payload)
	}
	if d := cmp.Diff(want[:min(len(read), len(want))], read); d != "" || len(read) < 50 || len(read) >= 60 {
		t.Errorf("%d passed; (-sent +read) %s", len(read), d)
	}
	if received(s) != 120 {
		t.Errorf("%d of 120 received", received(s))
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// Where the kernel hands over no trains, each datagram comes by itself, and that is said.
func TestKernelWithoutTrains(t *testing.T) {
	before := setGRO
	setGRO = func(int) error { return unix.ENOPROTOOPT }
	t.Cleanup(func() { setGRO = before })
	env := testEnv(t)
	var log bytes.Buffer
	env.Log = slog.New(slog.NewTextHandler(&log, nil))
	s := open(t, env, &Config{Listen: []string{"127.0.0.1:0"}, Workers: 2, GRO: true})
	send := train(t, s.Addrs()[0])
	wait := collect(t, s)
	send(make([]byte, 5000), 1000)
	s.Stop(t.Context())
	all, _, _ := wait()
	if len(all) != 5 || strings.Count(log.String(), "each datagram is received by itself") != 1 || s.sockets().Sockets[1].GRO {
		t.Errorf("%d of 5; %s", len(all), log.String())
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// A train goes to one worker as it comes, and trains in turn: in the end each worker has its share, whether trains are handed over
// whole or not. A worker that stalls is passed over before its buffer is full.
func TestTrainsAreBalanced(t *testing.T) {
	programs(t)
	trains(t)
	for _, gro := range []bool{true, false} {
		sent, per := spread(t, &Config{Workers: 4, Balance: BalancePacket, GRO: gro}, func(to netip.AddrPort) int {
			send := train(t, to)
			for range 800 {
				send(make([]byte, 20*500), 500)
			}
			return 800 * 20
		})
		for _, n := range per {
			if n < sent/4*97/100 || n > sent/4*103/100 {
				t.Errorf("gro %v: %v", gro, per)
			}
		}
	}
	env := testEnv(t)
	s := open(t, env, &Config{Listen: []string{"127.0.0.1:0"}, Workers: 4, Balance: BalancePacket, GRO: true, ReceiveBuffer: 1 << 20})
	send := train(t, s.Addrs()[0])
	stalled := accept(t, s, 1)[0]
	wait := collect(t, s)
	const each = 30
	sent := 0
	for i := range 2000 { // forty times the buffer of the one that stalls
		send(make([]byte, each*1400), 1400)
		sent += each
		for i%10 == 9 && slices.ContainsFunc(s.Opened, func(r receiver) bool { return r != stalled && r.(*reader).sock.waiting() > 0 }) {
			time.Sleep(100 * time.Microsecond)
		}
	}
	s.Stop(t.Context())
	all, per, _ := wait()
	n := 0
	drain(t, stalled, func(got, int64) { n++ })
	if len(all)+n != sent || n == 0 || n > sent/8 {
		t.Errorf("%d sent, %d read by the one that stalled, %v by the others", sent, n, per)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// A control message is read only as far as it goes, and what no kernel joins is one datagram.
func TestControlMessages(t *testing.T) {
	f, err := newFrame()
	if err != nil {
		t.Fatal(err)
	}
	defer f.close()
	f.use(newRack().take())
	put := func(at int, length, level, kind int, data ...uint64) int {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&f.ctl[0][at]))
		h.SetLen(length)
		h.Level, h.Type = int32(level), int32(kind)
		copy(f.ctl[0][at+2:], data)
		return at + 2 + len(data)
	}
	stamp := func(at int) int { return put(at, 32, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_NEW, 7, 9) }
	joined := func(at int, size uint64) int { return put(at, 20, unix.SOL_UDP, unix.UDP_GRO, size) }
	for _, c := range []struct {
		name string
		make func() (end int)
		cut  int
		size int
		at   int64
		want []uint32
	}{
		{"none", func() int { return 0 }, 0, 100, 0, []uint32{100}},
		{"a time", func() int { return stamp(0) }, 0, 100, 7e9 + 9, []uint32{100}},
		{"both", func() int { return joined(stamp(0), 40) }, 0, 100, 7e9 + 9, []uint32{40, 40, 20}},
		{"the other way round", func() int { return stamp(joined(0, 50)) }, 0, 100, 7e9 + 9, []uint32{50, 50}},
		{"another between", func() int { return joined(put(0, 20, unix.SOL_IP, 1, 5), 99) }, 0, 100, 0, []uint32{99, 1}},
		{"the second cut", func() int { return joined(stamp(0), 40) }, 6, 100, 7e9 + 9, []uint32{100}},
		{"shorter than its header", func() int { return joined(put(0, 3, unix.SOL_UDP, unix.UDP_GRO, 5), 40) }, 0, 100, 0, []uint32{100}},
		{"longer than there is", func() int { return put(0, 1000, unix.SOL_UDP, unix.UDP_GRO, 40) }, 0, 100, 0, []uint32{100}},
		{"a size of 0", func() int { return joined(0, 0) }, 0, 100, 0, []uint32{100}},
		{"a negative size", func() int { return joined(0, 1<<32-1) }, 0, 100, 0, []uint32{100}},
		{"a train of one", func() int { return joined(0, 100) }, 0, 100, 0, []uint32{100}},
		{"more than anybody joins", func() int { return joined(0, 1) }, 0, 1000, 0, []uint32{1000}},
		{"an empty datagram", func() int { return joined(0, 10) }, 0, 0, 0, []uint32{0}},
	} {
		f.hdrs[0].hdr.SetControllen(c.make()*8 - c.cut)
		f.hdrs[0].n = uint32(c.size)
		f.split(1)
		var sizes []uint32
		sum := 0
		for _, d := range f.got {
			sizes = append(sizes, d.size)
			sum += int(d.size)
		}
		if d := cmp.Diff(c.want, sizes); d != "" || f.senders[0].at != c.at || sum != c.size {
			t.Errorf("%s: received at %d; (-want +got) %s", c.name, f.senders[0].at, d)
		}
	}
}
