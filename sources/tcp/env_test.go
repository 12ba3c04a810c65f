package tcp

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
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

// message is an IPFIX message of size bytes that can be told from others by its sequence number.
func message(sequence uint32, size int) []byte {
	b := make([]byte, size)
	binary.BigEndian.PutUint16(b, 10)
	binary.BigEndian.PutUint16(b[2:], uint16(size))
	binary.BigEndian.PutUint32(b[8:], sequence)
	for i := 16; i < size; i++ {
		b[i] = byte(i * int(sequence+1))
	}
	return b
}

// defaults are the default configuration on a free port, plain, changed by each.
func defaults(change ...func(*Config)) *Config {
	c := Plugin.Spec.Config().(*Config)
	c.Listen = []string{"127.0.0.1:0"}
	for _, f := range change {
		f(c)
	}
	return c
}

// logged is what a source has logged.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// rig is a source with the lane that reads its first reader.
type rig struct {
	testing.TB
	env  *sdk.Env
	src  *source
	log  logged
	lane sync.WaitGroup

	mu    sync.Mutex
	rows  []row
	stall chan struct{} // not nil: the lane waits for it after each batch
}

type row struct {
	Payload  string
	From     netip.AddrPort
	Session  uint64
	Received int64
}

// start makes a source; with read its reader is read until it ends.
func start(t testing.TB, cfg *Config, read bool) *rig {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	x := &rig{TB: t, env: sdktest.Env(t, sdktest.WithOut(Schema))}
	x.env.Log = slog.New(slog.NewTextHandler(&x.log, nil))
	s, err := Plugin.Source(x.env, cfg)
	if err != nil {
		t.Fatal(err)
	}
	x.src = s.(*source)
	if read {
		x.read()
	}
	return x
}

// read reads the next reader in a lane of its own.
func (x *rig) read() {
	x.Helper()
	x.readBy(x.accept())
}

func (x *rig) accept() sdk.Reader {
	x.Helper()
	r, err := x.src.Accept(x.Context())
	if err != nil {
		x.Fatal(err)
	}
	return r
}

func (x *rig) readBy(r sdk.Reader) {
	x.lane.Go(func() {
		for {
			b, err := r.Read(context.Background(), 50*time.Millisecond)
			if err == io.EOF {
				break
			}
			if err != nil {
				x.Error(err)
				break
			}
			if b == nil {
				continue
			}
			x.take(b)
		}
		if err := r.Close(context.Background()); err != nil {
			x.Error(err)
		}
	})
}

func (x *rig) take(b *sdk.Batch) {
	payload := b.Bytes(sdk.DatagramPayload)
	addr := sdk.Values[[16]byte](b, sdk.DatagramExporterAddr)
	port := sdk.Values[uint16](b, sdk.DatagramExporterPort)
	received := sdk.Values[int64](b, sdk.DatagramReceived)
	sessions := sdk.Values[uint64](b, Schema.Index(session))
	x.mu.Lock()
	for i, p := range payload {
		x.rows = append(x.rows, row{string(p), netip.AddrPortFrom(netip.AddrFrom16(addr[i]).Unmap(), port[i]), sessions[i], received[i]})
	}
	stall := x.stall
	x.mu.Unlock()
	if stall != nil {
		<-stall
	}
	b.Done(sdk.Delivered)
	b.Release()
}

// got is how many messages have come.
func (x *rig) got() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.rows)
}

// until waits for something to become so.
func (x *rig) until(what string, so func() bool) {
	x.Helper()
	for end := time.Now().Add(time.Minute); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			x.Fatalf("after a minute still not: %s\n%s", what, x.log.String())
		}
	}
}

// end stops the source, waits for its lane, and checks the books.
func (x *rig) end() {
	x.Helper()
	if err := x.src.Stop(context.Background()); err != nil {
		x.Error(err)
	}
	x.lane.Wait()
	if err := x.src.Close(context.Background()); err != nil {
		x.Error(err)
	}
	right := uint64(len(x.rows))
	for _, n := range x.dropped() {
		right += n
	}
	if b := x.env.Books; b.Received.Load() != right || b.InHand.Load() != 0 {
		x.Errorf("received %d, in hand %d, but %d went out and dropped are %v", b.Received.Load(), b.InHand.Load(), len(x.rows), x.dropped())
	}
	if n := x.env.Pool.InUse(); n != 0 {
		x.Errorf("%d batches are in use", n)
	}
}

func (x *rig) dropped() map[sdk.Reason]uint64 {
	m := map[sdk.Reason]uint64{}
	x.env.Books.Dropped(func(r sdk.Reason, n uint64) { m[r] = n })
	return m
}

func (x *rig) lost() map[sdk.Reason]uint64 {
	m := map[sdk.Reason]uint64{}
	x.env.Books.Losses(func(r sdk.Reason, n uint64) { m[r] = n })
	return m
}

// dial connects to the source.
func (x *rig) dial() net.Conn {
	x.Helper()
	c, err := net.Dial("tcp", x.src.Opened[0].port.local().String())
	if err != nil {
		x.Fatal(err)
	}
	x.Cleanup(func() { c.Close() })
	return c
}

func (x *rig) send(c net.Conn, parts ...[]byte) {
	x.Helper()
	for _, p := range parts {
		if _, err := c.Write(p); err != nil {
			x.Fatal(err)
		}
	}
}

// closed checks that the other side has closed the connection, within a while.
func (x *rig) closed(c net.Conn) {
	x.Helper()
	c.SetReadDeadline(time.Now().Add(time.Minute))
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
		x.Errorf("the source has written %d bytes", n)
	} else if e, ok := err.(net.Error); ok && e.Timeout() {
		x.Error("the connection is still open")
	}
}
