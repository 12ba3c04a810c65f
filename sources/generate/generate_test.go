package generate

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/emulate"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/sdktest"
)

func config(change func(c *Config)) *Config {
	c := Plugin.Spec.Config().(*Config)
	change(c)
	return c
}

func environment() *sdk.Env {
	return &sdk.Env{Pipeline: "test", Node: "generate", Now: time.Now, Pool: sdk.NewPool(nil), Books: new(sdk.Books), Out: []*sdk.Schema{sdk.Datagram}}
}

func start(t testing.TB, env *sdk.Env, c *Config) sdk.Source {
	t.Helper()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	s, err := Plugin.Source(env, c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func accept(t testing.TB, s sdk.Source) sdk.Reader {
	t.Helper()
	r, err := s.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// flows counts the flow records of v5, v9 (of templates: none) and sFlow datagrams by their headers.
func flows(b *sdk.Batch) int {
	n := 0
	for _, p := range b.Bytes(sdk.DatagramPayload) {
		switch binary.BigEndian.Uint16(p) {
		case 5:
			n += int(binary.BigEndian.Uint16(p[2:]))
		case 9:
			if binary.BigEndian.Uint16(p[20:]) >= 256 {
				n += int(binary.BigEndian.Uint16(p[2:]))
			}
		case 0:
			if binary.BigEndian.Uint32(p[28:]) == 1 {
				n += int(binary.BigEndian.Uint32(p[24:]))
			}
		}
	}
	return n
}

func settle(b *sdk.Batch) {
	b.Done(sdk.Delivered)
	b.Release()
}

// drain reads to the end and gives the number of datagrams and flow records, and a hash of all rows.
func drain(t testing.TB, r sdk.Reader) (datagrams, records int, hash string) {
	t.Helper()
	h := sha256.New()
	for {
		b, err := r.Read(context.Background(), 100*time.Millisecond)
		if errors.Is(err, io.EOF) {
			return datagrams, records, fmt.Sprintf("%x", h.Sum(nil))
		}
		if err != nil {
			t.Fatal(err)
		}
		if b == nil {
			continue
		}
		addrs, ports := sdk.Values[[16]byte](b, sdk.DatagramExporterAddr), sdk.Values[uint16](b, sdk.DatagramExporterPort)
		received := sdk.Values[int64](b, sdk.DatagramReceived)
		for i, p := range b.Bytes(sdk.DatagramPayload) {
			h.Write(p)
			fmt.Fprintln(h, len(p), addrs[i], ports[i], received[i])
		}
		if want := (sdk.Range{Partition: r.Partition(), First: int64(datagrams), Last: int64(datagrams + b.Rows() - 1)}); b.Range() != want {
			t.Fatalf("range is %v, want %v", b.Range(), want)
		}
		datagrams += b.Rows()
		records += flows(b)
		settle(b)
	}
}

// The source ends after exactly as many flow records as asked for, shared among its readers evenly, and its books agree.
func TestRecords(t *testing.T) {
	for _, protocol := range []string{"v5", "v9", "sflow", "v5, v9=3, sflow"} {
		for _, c := range []struct{ readers, records int }{{1, 20_001}, {3, 20_000}, {1, 1}, {3, 2}} {
			t.Run(fmt.Sprintf("%s/%d/%d", protocol, c.readers, c.records), func(t *testing.T) {
				env := environment()
				s := start(t, env, config(func(x *Config) {
					x.Protocol, x.Readers, x.Records, x.IPv6 = mix(t, protocol), c.readers, c.records, 0.2
				}))
				datagrams, records := 0, 0
				for range c.readers {
					r := accept(t, s)
					d, n, _ := drain(t, r)
					if n < c.records/c.readers || n > (c.records+c.readers-1)/c.readers {
						t.Errorf("a reader made %d records of %d for %d readers", n, c.records, c.readers)
					}
					datagrams, records = datagrams+d, records+n
					if err := r.Close(t.Context()); err != nil {
						t.Error(err)
					}
				}
				if _, err := s.Accept(t.Context()); !errors.Is(err, io.EOF) {
					t.Errorf("Accept after the last reader: %v, want EOF", err)
				}
				if records != c.records || env.Books.Received.Load() != uint64(datagrams) {
					t.Errorf("%d records, want %d; books have %d datagrams, want %d", records, c.records, env.Books.Received.Load(), datagrams)
				}
			})
		}
	}
}

func mix(t testing.TB, s string) (m emulate.Mix) {
	t.Helper()
	for part := range strings.SplitSeq(s, ",") {
		var share emulate.Share
		if err := share.UnmarshalText([]byte(part)); err != nil {
			t.Fatal(err)
		}
		m = append(m, share)
	}
	return m
}

// With a start, two runs give the same rows to the byte, whatever the pace; without one, or with another seed, they differ.
func TestReproducible(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run := func(change func(c *Config)) string {
			time.Sleep(time.Hour)
			_, _, h := drain(t, accept(t, start(t, environment(), config(func(c *Config) {
				c.Protocol, c.Records, c.Start, c.IPv6 = mix(t, "v5, v9, ipfix, sflow"), 20_000, "2026-01-01T00:00:00Z", 0.5
				c.Loss, c.Reorder, c.TemplateFlood = 0.02, 0.1, 20_000
				c.TemplateInterval = 50 * time.Millisecond
				change(c)
			}))))
			return h
		}
		want := run(func(c *Config) { c.Rate = virtualRate })
		if got := run(func(c *Config) {}); got != want {
			t.Error("two runs of one seed and start differ")
		}
		if got := run(func(c *Config) { c.Seed = 2 }); got == want {
			t.Error("two seeds give the same")
		}
		first := run(func(c *Config) { c.Start = "" })
		if second := run(func(c *Config) { c.Start = "" }); first == second {
			t.Error("two runs at different real times give the same")
		}
	})
}

// The rate is kept within 1 % from the first second on, at rates from a trickle to a flood, for every number of readers.
func TestRate(t *testing.T) {
	for _, c := range []struct{ rate, readers, seconds int }{
		{30, 1, 200}, {1000, 1, 20}, {50_000, 1, 3}, {50_000, 4, 3}, {500_000, 1, 1},
	} {
		t.Run(fmt.Sprintf("%d/%d", c.rate, c.readers), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := start(t, environment(), config(func(x *Config) { x.Rate, x.Readers = c.rate, c.readers }))
				var mu sync.Mutex
				var group sync.WaitGroup
				records, reads := 0, 0
				began := time.Now()
				for range c.readers {
					r := accept(t, s)
					group.Go(func() {
						for time.Since(began) < time.Duration(c.seconds)*time.Second {
							at := time.Now()
							b, err := r.Read(t.Context(), 100*time.Millisecond)
							if err != nil {
								t.Error(err)
								return
							}
							if took := time.Since(at); took > 100*time.Millisecond {
								t.Errorf("Read with a wait of 100 ms took %v", took)
							}
							mu.Lock()
							reads++
							if b != nil {
								records += flows(b)
								settle(b)
							}
							mu.Unlock()
						}
					})
				}
				group.Wait()
				got, want := float64(records)/time.Since(began).Seconds(), float64(c.rate)
				if got < 0.99*want || got > 1.01*want {
					t.Errorf("%.0f records a second, want %.0f", got, want)
				}
				// Never busy: a read gives a batch of 5 ms or more, or has waited.
				if most := c.seconds*c.readers*200 + c.readers + 1; reads > most && c.rate < 500_000 {
					t.Errorf("%d reads in %d s, want %d at most", reads, c.seconds, most)
				}
			})
		})
	}
}

// A wait of 0 never sleeps, and a source that was held up catches up a second's worth and no more.
func TestHeldUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := accept(t, start(t, environment(), config(func(c *Config) { c.Rate = 10_000 })))
		began, records := time.Now(), 0
		for {
			b, err := r.Read(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			if b == nil {
				if records > 0 {
					break
				}
				time.Sleep(10 * time.Second) // from the first read on the rate runs
				began = began.Add(10 * time.Second)
				continue
			}
			records += flows(b)
			settle(b)
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("reads without wait took %v", d)
		}
		if records < 10_000 || records > 10_024 {
			t.Errorf("%d records after ten seconds' standstill at 10,000 a second, want one second's", records)
		}
	})
}

// Stop ends a read that sleeps, and all after it.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, environment(), config(func(c *Config) { c.Rate, c.Readers = 1, 2 }))
		r := accept(t, s)
		began := time.Now()
		go func() {
			time.Sleep(10 * time.Millisecond)
			for range 2 {
				if err := s.Stop(context.Background()); err != nil {
					t.Error(err)
				}
			}
		}()
		if b, err := r.Read(t.Context(), time.Minute); b != nil || !errors.Is(err, io.EOF) || time.Since(began) != 10*time.Millisecond {
			t.Errorf("read gave %v, %v after %v; want EOF after 10ms", b, err, time.Since(began))
		}
		if _, err := r.Read(t.Context(), 0); !errors.Is(err, io.EOF) {
			t.Errorf("read after Stop: %v, want EOF", err)
		}
		if _, err := s.Accept(t.Context()); !errors.Is(err, io.EOF) {
			t.Errorf("Accept after Stop: %v, want EOF", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := r.Read(ctx, time.Minute); !errors.Is(err, context.Canceled) {
			t.Errorf("read with a cancelled context: %v", err)
		}
	})
}

// A ring's datagrams come round and round, unchanged; the source ends with the datagram that reaches the records asked for.
func TestRing(t *testing.T) {
	env := environment()
	r := accept(t, start(t, env, config(func(c *Config) { c.Ring, c.Records, c.Start = 64, 10_000, "2026-01-01T00:00:00Z" })))
	var seen [][]byte
	records := 0
	for {
		b, err := r.Read(t.Context(), 0)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			break
		}
		seen = append(seen, b.Bytes(sdk.DatagramPayload)...)
		records += flows(b)
		if !b.Views() {
			t.Error("the batch does not say that it looks into the ring")
		}
		settle(b)
	}
	if records < 10_000 || records >= 10_024 {
		t.Errorf("%d records, want 10000 and less than a datagram more", records)
	}
	for i := range seen[64:] {
		if &seen[i][0] != &seen[i+64][0] {
			t.Fatalf("datagram %d is not that of the lap before", i+64)
		}
	}
}

// With a start, a datagram's time is what the records before it take at the rate, of this reader's share of it: in its header and in
// the column alike. A ring has the same times, lap for lap.
func TestTimes(t *testing.T) {
	const readers, records = 2, 3000
	begin := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	for _, ring := range []int{0, 64} {
		for _, rate := range []int{0, 1000} {
			perSecond := int64(rate)
			if rate == 0 {
				perSecond = virtualRate
			}
			synctest.Test(t, func(t *testing.T) {
				s := start(t, environment(), config(func(c *Config) {
					c.Protocol, c.Start, c.Rate, c.Readers, c.Ring, c.Records = mix(t, "v5"), "2026-01-01T00:00:00Z", rate, readers, ring, records
				}))
				for range readers {
					r := accept(t, s)
					var sent, lap int64 // records before a datagram, of all and of this lap
					for k := 0; ; {
						b, err := r.Read(context.Background(), time.Second)
						if errors.Is(err, io.EOF) {
							break
						}
						if err != nil {
							t.Fatal(err)
						}
						if b == nil {
							continue
						}
						received := sdk.Values[int64](b, sdk.DatagramReceived)
						for i, p := range b.Bytes(sdk.DatagramPayload) {
							if ring > 0 && k%ring == 0 {
								lap = 0
							}
							header := int64(binary.BigEndian.Uint32(p[8:]))*1e9 + int64(binary.BigEndian.Uint32(p[12:]))
							want := [2]int64{lap * 1e9 * readers / perSecond, sent * 1e9 * readers / perSecond}
							if got := [2]int64{header - begin, received[i] - begin}; got != want {
								t.Fatalf("ring %d, rate %d, datagram %d: header and column say %v ns after the start, want %v", ring, rate, k, got, want)
							}
							n := int64(binary.BigEndian.Uint16(p[2:]))
							sent, lap, k = sent+n, lap+n, k+1
						}
						settle(b)
					}
					if sent < records/readers {
						t.Errorf("%d records", sent)
					}
				}
			})
		}
	}
}

// What columns are asked for, and how many, changes nothing about the values of any: each alone has what it has beside the others.
func TestPruned(t *testing.T) {
	for _, ring := range []int{0, 64} {
		first := func(schema *sdk.Schema) map[string][]any {
			env := environment()
			env.Out = []*sdk.Schema{schema}
			r := accept(t, start(t, env, config(func(c *Config) { c.Ring, c.Start = ring, "2026-01-01T00:00:00Z" })))
			b, err := r.Read(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			defer settle(b)
			if b.Schema() != schema || b.Rows() == 0 {
				t.Fatalf("ring %d: %d rows of %v, want some of %v", ring, b.Rows(), b.Schema(), schema)
			}
			values := map[string][]any{}
			for _, row := range sdktest.RowsOf(b) {
				for i, v := range row {
					name := schema.Field(i).Name
					values[name] = append(values[name], v)
				}
			}
			return values
		}
		all := first(sdk.Datagram)
		for name, want := range all {
			got := first(sdk.Datagram.Select(func(f sdk.Field) bool { return f.Name == name }))
			if diff := cmp.Diff(map[string][]any{name: want}, got); diff != "" {
				t.Errorf("ring %d, %s alone (-beside others +alone):\n%.1000s", ring, name, diff)
			}
		}
	}
}

// Batches end at a size in bytes, so that large datagrams do not make huge batches.
func TestBatchBytes(t *testing.T) {
	r := accept(t, start(t, environment(), config(func(c *Config) { c.DatagramBytes, c.DatagramRecords = emulate.MaxPayload, 2000 })))
	for range 3 {
		b, err := r.Read(t.Context(), 0)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, p := range b.Bytes(sdk.DatagramPayload) {
			n += len(p)
		}
		if n > batchBytes+emulate.MaxPayload {
			t.Errorf("a batch of %d bytes", n)
		}
		settle(b)
	}
}

func TestValidate(t *testing.T) {
	if err := Plugin.Spec.Config().(*Config).Validate(); err != nil {
		t.Fatalf("the defaults are refused: %v", err)
	}
	for _, c := range []struct {
		change func(c *Config)
		want   string
	}{
		{func(c *Config) { c.Protocol = nil }, "protocol: no protocol is named"},
		{func(c *Config) { c.Protocol = mix(t, "v9, ipfix, v9=2") }, "protocol[2]: v9 is named twice"},
		{func(c *Config) { c.Exporters = 0 }, "exporters: 0 is outside 1 to 65536"},
		{func(c *Config) { c.Protocol, c.Exporters = mix(t, "v5, v9"), 1 }, "exporters: 1 is too few for 2 protocols"},
		{func(c *Config) { c.Rate = -1 }, "rate: -1 is outside 0 to 1000000000"},
		{func(c *Config) { c.Records = -1 }, "records: -1 is less than 0"},
		{func(c *Config) { c.DatagramRecords = 0 }, "datagram_records: 0 is outside 1 to 65507"},
		{func(c *Config) { c.DatagramBytes = 70000 }, "datagram_bytes: 70000 is outside 512 to 65507"},
		{func(c *Config) { c.IPv6 = 2 }, "ipv6: 2 is not a share from 0 to 1"},
		{func(c *Config) { c.Domains = 256 }, "domains: 256 is outside 1 to 255"},
		{func(c *Config) { c.Sampling = 0 }, "sampling: 0 is outside 1 to 268435456"},
		{func(c *Config) { c.Protocol, c.Sampling = mix(t, "v5"), 20000 }, "sampling: 20000 does not fit NetFlow v5, whose header has room for 16383"},
		{func(c *Config) { c.TemplateInterval = 0 }, "template_interval: 0s is not more than 0"},
		{func(c *Config) { c.Ring = 10 }, "ring: 10 datagrams are too few for exporters that have 8 domains in all"},
		{func(c *Config) { c.Protocol, c.DistinctDomains, c.Exporters = mix(t, "v5"), true, 65536 }, "distinct_domains: NetFlow v5 has room for 65535 domains, and the exporters have 65536 in all"},
		{func(c *Config) { c.Burst = 8 }, "burst: bursts are what a rate is sent in, and there is none"},
		{func(c *Config) { c.Burst, c.Rate = 70_000, 1 }, "burst: 70000 is outside 0 to 65536"},
		{func(c *Config) { c.Loss = 0.91 }, "loss: 0.91 is not a share from 0 to 0.9"},
		{func(c *Config) { c.Reorder = -0.1 }, "reorder: -0.1 is not a share from 0 to 1"},
		{func(c *Config) { c.ReorderWindow = 0 }, "reorder_window: 0 is outside 1 to 1024"},
		{func(c *Config) { c.TemplateFlood = -1 }, "template_flood: -1 is outside 0 to 10000000"},
		{func(c *Config) { c.TemplateFlood, c.Protocol = 1, mix(t, "v5, sflow") }, "template_flood: none of the protocols has templates"},
		{func(c *Config) { c.FloodExporters = 0 }, "flood_exporters: 0 is not a share of more than 0, and 1 at most"},
		{func(c *Config) { c.Loss, c.Ring = 0.1, 64 }, "ring: a ring is repeated as it is, and its numbers go back each time: no loss, order or flood could be told"},
		{func(c *Config) { c.Start = "noon" }, `start: "noon" is not a time`},
		{func(c *Config) { c.Start = "1960-01-01T00:00:00Z" }, "start: 1960-01-01T00:00:00Z is not between 1971 and 2100"},
		{func(c *Config) { c.Readers = 9 }, "readers: 9 readers cannot share 8 exporters"},
		{func(c *Config) { c.Rate, c.Readers = -1, 0 }, "rate: -1 is outside 0 to 1000000000 (and 1 more)"},
	} {
		err := config(c.change).Validate()
		if diff := cmp.Diff(c.want, fmt.Sprint(err)); diff != "" {
			t.Error(diff)
		}
	}
}

// Every configuration that Validate passes makes a source: the emulator refuses none of them.
func TestValidIsPossible(t *testing.T) {
	for _, protocol := range []string{"v5", "v9", "ipfix", "sflow", "v5=1000, v9, ipfix, sflow"} {
		for _, readers := range []int{1, 4, 8} {
			for _, ring := range []int{0, 16} {
				s := start(t, environment(), config(func(c *Config) {
					c.Protocol, c.Readers, c.Ring, c.Sampling, c.IPv6 = mix(t, protocol), readers, ring, emulate.MaxSamplingV5, 1
					if ring == 0 {
						c.Loss, c.Reorder, c.ReorderWindow, c.Rate, c.Burst = emulate.MaxLoss, 1, 1, 100_000, 100
					}
					if ring == 0 && protocol != "v5" && protocol != "sflow" {
						c.TemplateFlood, c.FloodExporters = 1000, 0.001
					}
				}))
				for range readers {
					b, err := accept(t, s).Read(t.Context(), 10*time.Second)
					if err != nil || b == nil || b.Rows() == 0 {
						t.Fatalf("%s, %d readers, ring %d: %v, %v", protocol, readers, ring, b, err)
					}
					settle(b)
				}
			}
		}
	}
}

// Every option has a name as users write it and a line of documentation.
func TestDocumented(t *testing.T) {
	name := regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	for f := range reflect.TypeFor[Config]().Fields() {
		if doc := f.Tag.Get("doc"); !name.MatchString(f.Tag.Get("yaml")) || doc == "" || strings.Contains(doc, "\n") {
			t.Errorf("option %s: name %q, doc %q", f.Name, f.Tag.Get("yaml"), doc)
		}
	}
}

// A batch allocates nothing, from a ring or fresh, once buffers have grown.
func TestAllocations(t *testing.T) {
	for _, ring := range []int{0, 4096} {
		r := accept(t, start(t, environment(), config(func(c *Config) {
			c.Ring, c.Protocol, c.IPv6, c.TemplateInterval = ring, mix(t, "v5, v9, ipfix, sflow"), 0.2, time.Hour
			if ring == 0 {
				c.Loss, c.Reorder, c.TemplateFlood = 0.01, 0.1, 100_000
			}
		})))
		read := func() {
			b, err := r.Read(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			settle(b)
		}
		for range 25 {
			read()
		}
		if n := testing.AllocsPerRun(25, read); n > 0 {
			t.Errorf("ring %d: %v allocations a batch, want 0", ring, n)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	for _, protocol := range []string{"v5", "v9", "ipfix", "sflow"} {
		for _, ring := range []int{0, 4096} {
			name := protocol + "/fresh"
			if ring > 0 {
				name = protocol + "/ring"
			}
			b.Run(name, func(b *testing.B) {
				r := accept(b, start(b, environment(), config(func(c *Config) { c.Ring, c.Protocol = ring, mix(b, protocol) })))
				ctx, made, before := context.Background(), r.(*reader).clock.sent, sdktest.Mallocs()
				for b.Loop() {
					x, err := r.Read(ctx, 0)
					if err != nil {
						b.Fatal(err)
					}
					settle(x)
				}
				sdktest.ReportRecords(b, int(r.(*reader).clock.sent-made), before)
			})
		}
	}
}
