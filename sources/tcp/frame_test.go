package tcp

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/endpoint"
	"github.com/weirflow/weir/sdk/sdktest"
)

// pieces is a connection on which a stream arrives in pieces of given sizes, over and over.
type pieces struct {
	net.Conn // nil: what else a connection does is not asked for
	stream   []byte
	sizes    []byte
	at       int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.stream) == 0 {
		return 0, io.EOF
	}
	n := len(p.stream)
	if len(p.sizes) > 0 {
		n = 1 + int(p.sizes[p.at%len(p.sizes)])*int(p.sizes[p.at%len(p.sizes)])
		p.at++
	}
	n = copy(b, p.stream[:min(n, len(p.stream))])
	p.stream = p.stream[n:]
	return n, nil
}

func (p *pieces) Close() error                { return nil }
func (p *pieces) SetDeadline(time.Time) error { return nil }

// feed makes a reader without a listener and has one connection read by it to its end; each batch is given to take.
func feed(t testing.TB, env *sdk.Env, cfg *Config, c net.Conn, take func(*sdk.Batch)) {
	s := &source{env: env, cfg: cfg, cols: resolve(env), said: map[string]*said{}, senders: newCensus(mostExporters)}
	hold, err := env.Share("tcp/test", func(context.Context) (io.Closer, error) { return newPort(endpoint.Address{}), nil })
	if err != nil {
		t.Fatal(err)
	}
	r := newReader(s, hold.Object().(*port), hold)
	r.part = &sdk.Partition{Source: "test", Name: "test"}
	x := newConn(r, c, netip.MustParseAddrPort("192.0.2.1:4739"))
	r.conns[x] = struct{}{}
	go func() {
		x.run()
		r.Stop()
	}()
	for {
		b, err := r.Read(t.Context(), time.Second)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if b != nil {
			take(b)
			b.Done(sdk.Delivered)
			b.Release()
		}
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// expected is what has to become of a stream: its messages, and for what reason something after them is dropped.
func expected(stream []byte, most int) (messages [][]byte, why sdk.Reason) {
	for len(stream) >= 4 {
		n := int(binary.BigEndian.Uint16(stream[2:]))
		if binary.BigEndian.Uint16(stream) != 10 || n < 16 || n > most {
			return messages, ReasonBadFraming
		}
		if n > len(stream) {
			break
		}
		messages = append(messages, stream[:n])
		stream = stream[n:]
	}
	if len(stream) > 0 {
		return messages, ReasonTruncated
	}
	return messages, ""
}

// Whatever comes in pieces of whatever size: the messages in front of the first fault come out whole and in order, one fault at most
// is counted, and the books balance.
func FuzzStream(f *testing.F) {
	three := bytes.Join([][]byte{message(1, 16), message(2, 999), message(3, 70)}, nil)
	f.Add(three, []byte{0}, uint16(65535))
	f.Add(three, []byte{3, 30}, uint16(100))
	f.Add(three[:len(three)-1], []byte{255}, uint16(65535))
	f.Add(append(bytes.Clone(three), "GET / HTTP/1.1"...), []byte{5, 0, 9}, uint16(65535))
	f.Add(bytes.Repeat(message(9, 16), 9000), []byte{}, uint16(65535))
	f.Add(append(message(5, 65535), message(6, 65535)[:65000]...), []byte{200, 250}, uint16(65535))
	f.Fuzz(func(t *testing.T, stream, sizes []byte, most uint16) {
		if len(stream) > 1<<18 {
			t.Skip("a stream that takes too long adds nothing")
		}
		env := sdktest.Env(t, sdktest.WithOut(Schema))
		env.Log = slog.New(slog.DiscardHandler)
		cfg := defaults(func(c *Config) { c.MaxMessage = max(minMessage, int(most)) })
		var got [][]byte
		feed(t, env, cfg, &pieces{stream: stream, sizes: sizes}, func(b *sdk.Batch) {
			for _, p := range b.Bytes(sdk.DatagramPayload) {
				got = append(got, bytes.Clone(p))
			}
		})
		want, why := expected(stream, cfg.MaxMessage)
		if !slices.EqualFunc(want, got, bytes.Equal) { // cmp takes 50 ms for 9000 of them
			t.Errorf("%d messages came out, want %d", len(got), len(want))
		}
		dropped := map[sdk.Reason]uint64{}
		if why != "" {
			dropped[why] = 1
		}
		counted := map[sdk.Reason]uint64{}
		env.Books.Dropped(func(r sdk.Reason, n uint64) { counted[r] = n })
		if d := cmp.Diff(dropped, counted); d != "" {
			t.Errorf("dropped (-want +got):\n%s", d)
		}
		if n := env.Books.Received.Load(); n != uint64(len(want)+len(dropped)) || env.Books.InHand.Load() != 0 {
			t.Errorf("received %d, in hand %d", n, env.Books.InHand.Load())
		}
	})
}

// endless is a connection on which the same messages arrive again and again, n times.
type endless struct {
	pieces
	again []byte
	n     int
}

func (e *endless) Read(b []byte) (int, error) {
	if len(e.stream) == 0 && e.n > 0 {
		e.n--
		e.stream = e.again
	}
	return e.pieces.Read(b)
}

// A batch in a steady stream costs no allocation for its messages.
func TestAllocations(t *testing.T) {
	const most = 4 // a batch: channels and the clock, and what a full free list leaves to the collector
	env := sdktest.Env(t, sdktest.WithOut(Schema), sdktest.WithPool(sdk.NewPool(nil)))
	env.Log = slog.New(slog.DiscardHandler)
	again := bytes.Repeat(message(1, 1400), 46)
	batches, rows := 0, 0
	run := func(n int) float64 {
		return testing.AllocsPerRun(1, func() {
			feed(t, env, defaults(), &endless{again: again, n: n}, func(b *sdk.Batch) { batches, rows = batches+1, rows+b.Rows() })
		})
	}
	few := run(100)
	batches, rows = 0, 0
	many := run(2100)
	if rows != 2*2100*46 {
		t.Errorf("%d rows", rows)
	}
	if got := (many - few) / (float64(batches) / 2); got > most {
		t.Errorf("a batch of %d messages allocates %.1f times, at most %d", rows/batches, got, most)
	}
}

func BenchmarkStream(b *testing.B) {
	env := sdktest.Env(b, sdktest.WithOut(Schema), sdktest.WithPool(sdk.NewPool(nil)))
	env.Log = slog.New(slog.DiscardHandler)
	again := bytes.Repeat(message(1, 1400), 46)
	rows, batches := 0, 0
	b.ReportAllocs()
	b.ResetTimer()
	feed(b, env, defaults(), &endless{again: again, n: b.N}, func(x *sdk.Batch) { rows, batches = rows+x.Rows(), batches+1 })
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(rows), "ns/record")
	b.ReportMetric(float64(rows)/float64(batches), "records/batch")
}

// BenchmarkLoopback is messages over a connection, the kernel and the sender included.
func BenchmarkLoopback(b *testing.B) {
	for _, size := range []int{200, 1400} {
		b.Run(map[int]string{200: "200B", 1400: "1400B"}[size], func(b *testing.B) {
			x := start(b, defaults(), false)
			r, err := x.src.Accept(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			c := x.dial()
			burst := bytes.Repeat(message(1, size), 64<<10/size)
			each := len(burst) / size
			go func() {
				for range b.N {
					if _, err := c.Write(burst); err != nil {
						return
					}
				}
			}()
			b.ReportAllocs()
			rows := 0
			for b.ResetTimer(); rows < b.N*each; {
				m, err := r.Read(b.Context(), time.Second)
				if err != nil {
					b.Fatal(err)
				}
				if m != nil {
					rows += m.Rows()
					m.Done(sdk.Delivered)
					m.Release()
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(rows), "ns/record")
			x.src.Stop(b.Context())
			for {
				if _, err := r.Read(b.Context(), time.Second); err == io.EOF {
					break
				}
			}
			r.Close(b.Context())
			x.src.Close(b.Context())
		})
	}
}
