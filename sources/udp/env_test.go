package udp

import (
	"context"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/sdktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testEnv is an environment; what is still shared at the end fails the test.
func testEnv(t testing.TB) *sdk.Env {
	return sdktest.Env(t, sdktest.WithNode("test", "udp", 0), sdktest.WithOut(sdk.Datagram))
}

// open makes a source of cfg that the test stops and closes.
func open(t testing.TB, env *sdk.Env, cfg *Config) *source {
	t.Helper()
	if cfg.ReceiveBuffer == 0 {
		cfg.ReceiveBuffer = 4 << 20
	}
	if cfg.Balance == "" {
		cfg.Balance = BalanceKernel
	}
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	s, err := Plugin.Source(env, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s.(*source)
}

// Addrs are the addresses of the sockets, with the port the system chose where the configuration says 0.
func (s *source) Addrs() (out []netip.AddrPort) {
	for _, r := range s.Opened {
		out = append(out, r.local())
	}
	return out
}

// accept takes n readers.
func accept(t testing.TB, s sdk.Source, n int) (readers []sdk.Reader) {
	t.Helper()
	for range n {
		r, err := s.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		readers = append(readers, r)
	}
	return readers
}

// got is one row as tests compare it.
type got struct {
	Payload string
	From    netip.AddrPort
}

// drain reads a reader until EOF, as a lane does, and closes it. Each batch is released before the next read.
func drain(t testing.TB, r sdk.Reader, each func(got, int64)) {
	for {
		b, err := r.Read(context.Background(), 100*time.Millisecond)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Error(err)
			break
		}
		if b == nil {
			continue
		}
		rows(b, each)
		b.Done(sdk.Delivered)
		b.Release()
	}
	if err := r.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func rows(b *sdk.Batch, each func(got, int64)) {
	payload := b.Bytes(sdk.DatagramPayload)
	addr := sdk.Values[[16]byte](b, sdk.DatagramExporterAddr)
	port := sdk.Values[uint16](b, sdk.DatagramExporterPort)
	received := sdk.Values[int64](b, sdk.DatagramReceived)
	for i := range b.Rows() {
		each(got{string(payload[i]), netip.AddrPortFrom(netip.AddrFrom16(addr[i]).Unmap(), port[i])}, received[i])
	}
}

// collect reads all readers of a source in a lane each until the source has been stopped.
func collect(t testing.TB, s sdk.Source) (wait func() (all []got, perReader []int, partitions []string)) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var all []got
	var per []int
	var parts []string
	for {
		r, err := s.Accept(t.Context())
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		i := len(per)
		per, parts = append(per, 0), append(parts, r.Partition().Name)
		wg.Go(func() {
			n := 0
			drain(t, r, func(g got, received int64) {
				if age := time.Since(time.Unix(0, received)); age < -time.Second || age > time.Minute {
					t.Errorf("received %v ago", age)
				}
				mu.Lock()
				all = append(all, g)
				mu.Unlock()
				n++
			})
			mu.Lock()
			per[i] = n
			mu.Unlock()
		})
	}
	return func() ([]got, []int, []string) {
		wg.Wait()
		return all, per, parts
	}
}

func dial(t testing.TB, to netip.AddrPort) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func localOf(c *net.UDPConn) netip.AddrPort {
	a := c.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
