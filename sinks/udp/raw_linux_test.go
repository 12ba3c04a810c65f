package udp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/sdktest"
)

// keep opens a writer that keeps sources, or skips where the system does not allow it.
func keep(t testing.TB, to ...string) *writer {
	t.Helper()
	cfg := &Config{To: to, Source: SourceKeep}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	s, err := Plugin.Sink(&sdk.Env{Log: slog.New(slog.DiscardHandler)}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Open(context.Background(), sdk.Datagram)
	if n, ok := errors.AsType[*sdk.NotReady](err); ok && strings.Contains(n.What, "CAP_NET_RAW") {
		t.Skip(n.What)
	}
	if err != nil {
		t.Fatal(err)
	}
	return w.(*writer)
}

// got is a datagram as it was sent or has arrived.
type got struct {
	From    string
	Payload string
}

func sourced(rows ...got) *sdk.Block {
	b := sdk.NewPool(nil).Get(sdk.Datagram, max(1, len(rows)))
	b.SetRows(len(rows))
	for k, r := range rows {
		from := netip.MustParseAddrPort(r.From)
		b.SetBytes(sdk.DatagramPayload, k, []byte(r.Payload))
		sdk.Claim[[16]byte](b, sdk.DatagramExporterAddr, k, 1)[0] = from.Addr().As16()
		sdk.Claim[uint16](b, sdk.DatagramExporterPort, k, 1)[0] = from.Port()
	}
	b.Seal()
	return &sdk.Block{Batches: []*sdk.Batch{b}, Rows: len(rows)}
}

func receiveFrom(t testing.TB, c *net.UDPConn, n int) (out []got) {
	t.Helper()
	buf := make([]byte, 1<<16)
	for range n {
		if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		k, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			t.Fatalf("after %d of %d datagrams: %v", len(out), n, err)
		}
		out = append(out, got{netip.AddrPortFrom(from.Addr().Unmap(), from.Port()).String(), string(buf[:k])})
	}
	return out
}

func write(t testing.TB, w *writer, b *sdk.Block) {
	t.Helper()
	settled := 0
	if err := w.Write(context.Background(), b, func(err error) {
		if err != nil {
			t.Error(err)
		}
		settled++
	}); err != nil || settled != 1 {
		t.Fatalf("%v, settled %d times", err, settled)
	}
}

// network runs f in a network of its own, whose loopback carries packets of up to mtu bytes.
func network(t *testing.T, mtu int, f func()) {
	t.Helper()
	done := make(chan struct{})
	var skip error
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and its network with it
		if skip = unix.Unshare(unix.CLONE_NEWNET); skip != nil {
			return
		}
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer unix.Close(fd)
		ifr, err := unix.NewIfreq("lo")
		if err != nil {
			t.Error(err)
			return
		}
		ifr.SetUint32(uint32(mtu))
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFMTU, ifr); err != nil {
			t.Error("MTU: ", err)
			return
		}
		ifr.SetUint16(unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOOPBACK)
		if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, ifr); err != nil {
			t.Error("up: ", err)
			return
		}
		f()
	}()
	<-done
	if skip != nil {
		t.Skip("no network of its own can be made here: ", skip)
	}
}

// frames listens to all that goes over the loopback, from the network header on.
func frames(t *testing.T) (stop func() [][]byte) {
	all := uint16(unix.ETH_P_ALL)<<8 | uint16(unix.ETH_P_ALL)>>8
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(all))
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
	return func() (out [][]byte) {
		defer unix.Close(fd)
		for {
			buf := make([]byte, 1<<16)
			n, from, err := unix.Recvfrom(fd, buf, 0)
			if err != nil {
				return out
			}
			if from.(*unix.SockaddrLinklayer).Pkttype != unix.PACKET_OUTGOING { // each goes out and comes in
				out = append(out, buf[:n])
			}
		}
	}
}

// checksum is that of RFC 1071, plainly.
func checksum(parts ...[]byte) uint16 {
	all := []byte{}
	for _, p := range parts {
		all = append(all, p...)
	}
	if len(all)%2 == 1 {
		all = append(all, 0)
	}
	sum := uint32(0)
	for ; len(all) > 0; all = all[2:] {
		sum += uint32(binary.BigEndian.Uint16(all))
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

func sizes(limit int) []int {
	return []int{0, 1, 2, 7, 64, 1371, 1472, 1473, 1500, 2999, 9000, 40001, limit}
}

// Datagrams arrive whole with the address and port of their exporters, which are not this host's, also over a path that is
// too narrow for them: with right checksums, in fragments, and never with DF.
func TestKeepsTheSource(t *testing.T) {
	for _, c := range []struct {
		to      string
		sources []string
		most    int
	}{
		{"127.0.0.1:0", []string{"127.0.0.2:2055", "192.0.2.7:49152", "203.0.113.255:0", "10.1.2.3:65535"}, most4},
		{"[::1]:0", []string{"[2001:db8::7]:2055", "[2001:db8:ffff::1]:65535"}, most6},
	} {
		for _, mtu := range []int{65536, 1500} {
			t.Run(fmt.Sprintf("%s, MTU %d", c.to, mtu), func(t *testing.T) {
				network(t, mtu, func() {
					conn := listen(t, c.to)
					w := keep(t, conn.LocalAddr().String())
					stop := frames(t)
					var rows []got
					for i, n := range sizes(c.most) {
						rows = append(rows, got{c.sources[i%len(c.sources)], strings.Repeat(string(rune('a'+i)), n)})
					}
					for i := range 150 { // more than a burst
						rows = append(rows, got{c.sources[i%len(c.sources)], fmt.Sprint("datagram ", i)})
					}
					write(t, w, sourced(rows...))
					if d := cmp.Diff(rows, receiveFrom(t, conn, len(rows))); d != "" {
						t.Error("(-want +got):", d)
					}
					nothing(t, conn)
					if err := w.Close(context.Background()); err != nil {
						t.Error(err)
					}
					whole, fragments := 0, 0
					for _, f := range stop() {
						var pseudo, udp []byte
						switch {
						case f[0]>>4 == 4 && f[9] == 17:
							flags := binary.BigEndian.Uint16(f[6:])
							if flags&0x4000 != 0 {
								t.Error("DF is set")
							}
							if flags&0x3fff != 0 {
								fragments++
								continue
							}
							pseudo, udp = append(append([]byte{}, f[12:20]...), 0, 17), f[20:]
						case f[0]>>4 == 6 && f[6] == 44: // fragment header
							fragments++
							continue
						case f[0]>>4 == 6 && f[6] == 17:
							pseudo, udp = append(append([]byte{}, f[8:40]...), 0, 17), f[40:]
						default:
							continue
						}
						whole++
						pseudo = binary.BigEndian.AppendUint16(pseudo, uint16(len(udp)))
						if binary.BigEndian.Uint16(udp[6:]) == 0 || checksum(pseudo, udp) != 0 {
							t.Errorf("the checksum of a datagram of %d bytes is wrong", len(udp))
						}
					}
					if whole == 0 || (fragments > 0) != (mtu < c.most+udpHeader+20) { // the longest does not fit
						t.Errorf("%d whole datagrams and %d fragments", whole, fragments)
					}
				})
			})
		}
	}
}

func TestChecksum(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		b := make([]byte, r.IntN(100))
		for i := range b {
			b[i] = byte(r.Uint32()) | byte(r.IntN(2)*255)
		}
		at := r.IntN(len(b)+1) &^ 1
		want := checksum(b)
		if want == 0 {
			want = 0xffff
		}
		if got := fold(add(add(0, b[:at]), b[at:])); got != want {
			t.Fatalf("%x: %04x, want %04x", b, got, want)
		}
	}
	for _, c := range []struct {
		b    []byte
		want uint16
	}{{[]byte{0xff, 0xff}, 0xffff}, {[]byte{0xff, 0xff, 0, 1}, 0xfffe}, {nil, 0xffff}, {[]byte{0xff, 0xfe, 0, 1}, 0xffff}} {
		if got := fold(add(0, c.b)); got != c.want { // 0 would say that there is none
			t.Errorf("the checksum of %x is %04x, want %04x", c.b, got, c.want)
		}
	}
}

// Rows that cannot keep their source are named before anything is sent; the rest is sent.
func TestBadSource(t *testing.T) {
	conn := listen(t, "127.0.0.1:0")
	w := keep(t, conn.LocalAddr().String())
	defer w.Close(context.Background())
	good := got{"127.0.0.3:9", "x"}
	b := sourced(good, got{"[2001:db8::1]:9", "x"}, got{"0.0.0.0:9", "x"}, got{"224.0.0.5:9", "x"}, got{"255.255.255.255:9", "x"}, good)
	err := w.Write(context.Background(), b, func(error) { t.Error("settled") })
	e, ok := err.(*sdk.Error)
	if !ok || e.Class != sdk.Permanent || e.Code != badSource || !cmp.Equal(e.Rows, []int{1, 2, 3, 4}) {
		t.Fatalf("%+v", err)
	}
	nothing(t, conn)
	write(t, w, sourced(good, good))
	unheld(t, w)
	if d := cmp.Diff([]got{good, good}, receiveFrom(t, conn, 2)); d != "" {
		t.Error("(-want +got):", d)
	}
}

// What the kernel refuses to send from costs that row only.
func TestSourceRefusedByTheKernel(t *testing.T) {
	network(t, 1500, func() {
		conn := listen(t, "[::1]:0")
		w := keep(t, conn.LocalAddr().String())
		defer w.Close(context.Background())
		good := got{"[2001:db8::3]:9", "x"}
		bad := got{"[fe80::1]:9", "x"} // on which link is not said
		err := w.Write(context.Background(), sourced(good, bad, good), func(error) { t.Error("settled") })
		if e, ok := err.(*sdk.Error); !ok || e.Class != sdk.Permanent || e.Code != badSource || !cmp.Equal(e.Rows, []int{1}) {
			t.Fatalf("%+v", err)
		}
		if d := cmp.Diff([]got{good, good}, receiveFrom(t, conn, 2)); d != "" {
			t.Error("(-want +got):", d)
		}
	})
}

// Without CAP_NET_RAW the reason is one sentence.
func TestKeepNeedsPermission(t *testing.T) {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked
		h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&h, &none[0]); err != nil {
			done <- nil
			return
		}
		_, err := dialRaw(context.Background(), "127.0.0.1:9")
		done <- err
	}()
	err := <-done
	if err == nil {
		t.Skip("capabilities cannot be given up here")
	}
	if n, ok := errors.AsType[*sdk.NotReady](err); !ok || !strings.Contains(n.What, "needs CAP_NET_RAW") || n.Do == "" {
		t.Error(err)
	}
}

// What holds for every sink holds for this one too.
func TestKeepSuite(t *testing.T) {
	keep(t, "127.0.0.1:9").Close(context.Background()) // skips where it is not allowed
	to := func(t testing.TB) any {
		return &Config{To: []string{listen(t, "127.0.0.1:0").LocalAddr().String()}, Source: SourceKeep}
	}
	input := func(r *rand.Rand, b *sdk.Batch) {
		n := 1 + r.IntN(200)
		b.SetRows(n)
		for k := range n {
			from := netip.AddrFrom4([4]byte{127, 1, byte(r.Uint32()), byte(r.Uint32())})
			if r.IntN(4) == 0 {
				from = netip.IPv6Unspecified() // refused
			}
			b.SetBytes(sdk.DatagramPayload, k, make([]byte, r.IntN(100)))
			sdk.Claim[[16]byte](b, sdk.DatagramExporterAddr, k, 1)[0] = from.As16()
			sdk.Claim[uint16](b, sdk.DatagramExporterPort, k, 1)[0] = uint16(r.Uint32())
		}
	}
	sdktest.Sink(t, Plugin, sdktest.SinkCase{Name: "keep", In: sdk.Datagram, Config: to, Input: input, Refuses: true})
}

func TestKeepAllocations(t *testing.T) {
	const most = 8 // as without keeping
	conn := listen(t, "127.0.0.1:0")
	w := keep(t, conn.LocalAddr().String())
	defer w.Close(context.Background())
	rows := make([]got, 4*burst)
	for i := range rows {
		rows[i] = got{"127.0.0.2:2055", strings.Repeat("x", 1400)}
	}
	b := sourced(rows...)
	allocations(t, w, b, most)
}

func BenchmarkWriteKeep(b *testing.B) {
	conn := listen(b, "127.0.0.1:0")
	w := keep(b, conn.LocalAddr().String())
	defer w.Close(context.Background())
	rows := make([]got, sdk.MaxRows)
	for i := range rows {
		rows[i] = got{"127.0.0.2:2055", strings.Repeat("x", 1400)}
	}
	blk := sourced(rows...)
	benchmark(b, w, blk)
}
