package tcp

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/sdktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var be = binary.BigEndian

// message is an IPFIX message of sets.
func message(domain, sequence uint32, sets ...[]byte) []byte {
	return formatstest.IPFIX(1, domain, sequence, sets...)
}

var set, u16s = formatstest.Set, formatstest.Uint16s

// collector accepts connections and keeps what came on each.
type collector struct {
	testing.TB
	ln   net.Listener
	work sync.WaitGroup

	mu     sync.Mutex
	got    [][]byte // of each connection, in order of their making
	conns  []net.Conn
	paused chan struct{} // not nil: nothing is read until it is closed
	forget bool          // what comes is not kept
}

// lasting is an address that a collector can listen on again after it was closed: its port is none of those that the system gives to
// connections of tests beside.
func lasting(t testing.TB) string {
	t.Helper()
	for range 1000 {
		addr := fmt.Sprint("127.0.0.1:", 20000+rand.IntN(12000))
		if ln, err := net.Listen("tcp", addr); err == nil {
			ln.Close()
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}

func collect(t testing.TB, addr string) *collector {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return collectOn(t, ln)
}

func collectOn(t testing.TB, ln net.Listener) *collector {
	k := &collector{TB: t, ln: ln}
	k.work.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			k.mu.Lock()
			i := len(k.got)
			k.got, k.conns = append(k.got, nil), append(k.conns, c)
			k.mu.Unlock()
			k.work.Go(func() { k.read(i, c) })
		}
	})
	t.Cleanup(k.stop)
	return k
}

func (k *collector) read(i int, c net.Conn) {
	defer c.Close()
	buf := make([]byte, 1<<16)
	for {
		k.mu.Lock()
		paused := k.paused
		k.mu.Unlock()
		if paused != nil {
			<-paused
		}
		n, err := c.Read(buf)
		k.mu.Lock()
		if !k.forget {
			k.got[i] = append(k.got[i], buf[:n]...)
		}
		k.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (k *collector) stop() {
	k.ln.Close()
	k.mu.Lock()
	for _, c := range k.conns {
		c.Close()
	}
	k.mu.Unlock()
	k.work.Wait()
}

func (k *collector) accepted() []net.Conn {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.conns)
}

func (k *collector) addr() string { return k.ln.Addr().String() }

// connections are the messages of each connection so far; what is left over at the end of one fails the test.
func (k *collector) connections() (out [][]string) {
	k.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, b := range k.got {
		var ms []string
		for len(b) >= header {
			n := int(be.Uint16(b[2:]))
			if be.Uint16(b) != version || n < header {
				k.Fatalf("connection %d goes on with %x", i, b[:min(len(b), 20)])
			}
			if n > len(b) {
				break
			}
			ms = append(ms, string(b[:n]))
			b = b[n:]
		}
		out = append(out, ms)
	}
	return out
}

// until waits for something to become so.
func (k *collector) until(what string, so func() bool) {
	k.Helper()
	for end := time.Now().Add(time.Minute); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			k.Fatalf("after a minute still not: %s", what)
		}
	}
}

// total is how many messages have come.
func (k *collector) total() (n int) {
	for _, c := range k.connections() {
		n += len(c)
	}
	return n
}

func open(t testing.TB, cfg *Config) *writer {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	env := sdktest.Env(t, sdktest.WithIn(sdk.Datagram))
	env.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	s, err := Plugin.Sink(env, cfg)
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Open(context.Background(), sdk.Datagram)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return w.(*writer)
}

func defaults(to string) *Config {
	c := Plugin.Spec.Config().(*Config)
	c.To = to
	return c
}

// item is one row: whose it is, and the message.
type item struct {
	exporter byte
	payload  []byte
}

func block(key string, rows ...item) *sdk.Block {
	p := sdk.NewPool(nil)
	b := &sdk.Block{Key: key, Rows: len(rows)}
	for len(rows) > 0 {
		n := min(len(rows), 1000)
		x := p.Get(sdk.Datagram, n)
		x.SetRows(n)
		addrs := sdk.Claim[[16]byte](x, sdk.DatagramExporterAddr, 0, n)
		for i, r := range rows[:n] {
			x.SetBytes(sdk.DatagramPayload, i, r.payload)
			addrs[i] = [16]byte{15: r.exporter}
		}
		x.Seal()
		b.Batches = append(b.Batches, x)
		rows = rows[n:]
	}
	return b
}

// write writes a block as the core does: again under its key while the error is transient.
func write(t testing.TB, w *writer, b *sdk.Block) (tries int) {
	t.Helper()
	for settled := 0; ; time.Sleep(5 * time.Millisecond) {
		tries++
		err := w.Write(context.Background(), b, func(err error) {
			if err != nil {
				t.Error(err)
			}
			settled++
		})
		if err == nil {
			if settled != 1 {
				t.Errorf("settled %d times", settled)
			}
			return tries
		}
		if sdk.ClassOf(err) != sdk.Transient || settled != 0 || tries == 2000 {
			t.Fatalf("try %d, settled %d: %v", tries, settled, err)
		}
	}
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}
