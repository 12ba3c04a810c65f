package generate

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/formats/netflow"
	"github.com/weirflow/weir/sdk"
)

// collected is what a collector makes of what a source gave out.
type collected struct {
	Rows, Datagrams, Late int // Late: behind one with a larger number
	Flows, Missing        int // missing in the sequences, in flows and in datagrams
	Bad                   int
}

// collect reads a source of one reader to its end.
func collect(t *testing.T, r sdk.Reader) (c collected) {
	t.Helper()
	d := formatstest.NewCollector(netflow.DefaultLimits)
	first, highest := map[string]bool{}, map[string]uint32{}
	now := int64(0)
	for {
		b, err := r.Read(context.Background(), 100*time.Millisecond)
		if errors.Is(err, io.EOF) {
			break
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
			c.Datagrams++
			now = max(now, received[i])
			d.Take(p, addrs[i], ports[i], received[i])
			at := map[byte]int{5: 16, 9: 12, 10: 8, 0: 16}[p[1]]
			key, n := fmt.Sprint(addrs[i], p[0:2]), uint32(p[at])<<24|uint32(p[at+1])<<16|uint32(p[at+2])<<8|uint32(p[at+3])
			if first[key] && n < highest[key] {
				c.Late++
			}
			first[key], highest[key] = true, max(highest[key], n)
		}
		settle(b)
	}
	for _, n := range d.Rows {
		c.Rows += n
	}
	c.Flows, c.Missing = d.Lost(now)
	c.Bad = d.Bad
	return c
}

func counts(each func(func(sdk.Reason, uint64))) map[sdk.Reason]uint64 {
	m := map[sdk.Reason]uint64{}
	each(func(r sdk.Reason, n uint64) { m[r] = n })
	return m
}

// Reordered traffic is complete, and no gap remains in any sequence: whatever the share, the window and the seed.
func TestReorderLosesNothing(t *testing.T) {
	for _, c := range []struct {
		share          float64
		window, seed   int
		least, most    float64 // share of the datagrams that came late
		loss           float64
		rate, datagram int
	}{
		{share: 0.05, window: 16, seed: 1, least: 0.02, most: 0.05}, {share: 0.5, window: 1024, seed: 2, least: 0.3, most: 0.7}, {share: 1, window: 3, seed: 3, least: 0.02, most: 0.7},
		{share: 0.001, window: 1, seed: 4, least: 0, most: 0.001}, {share: 0.2, window: 64, seed: 5, least: 0.1, most: 0.3, loss: 0.05},
		{share: 0.3, window: 64, seed: 6, least: 0.05, most: 0.3, loss: 0.01, rate: 20_000, datagram: 5},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				env := environment()
				r := accept(t, start(t, env, config(func(x *Config) {
					x.Protocol, x.Exporters, x.Records, x.IPv6 = mix(t, "v5, v9, ipfix, sflow"), 4, 30_000, 0.3
					x.Reorder, x.ReorderWindow, x.Seed, x.Loss = c.share, c.window, c.seed, c.loss
					x.Rate = c.rate
					if c.datagram > 0 {
						x.DatagramRecords = c.datagram
					}
					if c.rate == 0 {
						x.Start = "2026-01-01T00:00:00Z"
					}
				})))
				got := collect(t, r)
				late := float64(got.Late) / float64(got.Datagrams)
				if late < c.least || late > c.most {
					t.Errorf("%.4f of the datagrams are late, want %v to %v", late, c.least, c.most)
				}
				lost := counts(env.Books.Losses)
				want := collected{Rows: 30_000, Datagrams: int(env.Books.Received.Load()), Late: got.Late, Flows: int(lost[lostFlows]), Missing: int(lost[lostDatagrams])}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-made +collected):\n%s", diff)
				}
				if (c.loss > 0) != (want.Flows > 0 && want.Missing > 0) {
					t.Errorf("with loss %v the books say %v", c.loss, lost)
				}
				if n := env.Books.InHand.Load(); n != 0 {
					t.Errorf("%d are in hand at the end", n)
				}
			})
		})
	}
}

// A source that is stopped gives out what was overtaken, and then ends; one whose readers are closed without counts it.
func TestReorderStopped(t *testing.T) {
	for _, read := range []bool{true, false} {
		env := environment()
		const readers = 2
		s := start(t, env, config(func(c *Config) {
			c.Reorder, c.ReorderWindow, c.Start, c.Readers = 1, 100, "2026-01-01T00:00:00Z", readers
		}))
		rows := 0
		var open []sdk.Reader
		for range readers {
			r := accept(t, s)
			b, err := r.Read(t.Context(), 0)
			if err != nil {
				t.Fatal(err)
			}
			rows += b.Rows()
			settle(b)
			open = append(open, r)
		}
		if hand := int(env.Books.InHand.Load()); hand < 10 || rows+hand != int(env.Books.Received.Load()) {
			t.Fatalf("%d given out and %d in hand of %d", rows, hand, env.Books.Received.Load())
		}
		if err := s.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, r := range open {
			for read {
				b, err := r.Read(t.Context(), 0)
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				rows += b.Rows()
				settle(b)
			}
			if err := r.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		dropped := int(counts(env.Books.Dropped)[notSent])
		if rows+dropped != int(env.Books.Received.Load()) || env.Books.InHand.Load() != 0 || read != (dropped == 0) {
			t.Errorf("read to the end: %v; %d given out, %d dropped, %d in hand of %d", read, rows, dropped, env.Books.InHand.Load(), env.Books.Received.Load())
		}
	}
}

// Nothing waits longer than a quarter of a second: neither at a trickle, where nothing comes that could overtake it, nor where there is
// more to overtake it than comes in that time.
func TestReorderWaitsBriefly(t *testing.T) {
	for _, rate := range []int{2, 40, 1000} { // datagrams a second
		t.Run(fmt.Sprint(rate), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				env := environment()
				r := accept(t, start(t, env, config(func(c *Config) {
					c.Protocol, c.Reorder, c.ReorderWindow, c.Rate, c.DatagramRecords = mix(t, "v5"), 1, 1000, rate, 1
				})))
				given, longest := 0, time.Duration(0)
				for began := time.Now(); time.Since(began) < 30*time.Second; {
					b, err := r.Read(t.Context(), 50*time.Millisecond)
					if err != nil {
						t.Fatal(err)
					}
					if b == nil {
						continue
					}
					for _, p := range b.Bytes(sdk.DatagramPayload) {
						made := time.Unix(int64(binary.BigEndian.Uint32(p[8:])), int64(binary.BigEndian.Uint32(p[12:])))
						longest = max(longest, time.Since(made))
					}
					given += b.Rows()
					settle(b)
				}
				// What is due is looked for when something is sent: each quantum, or each datagram if they are fewer.
				if longest > mostLate+quantum || longest < mostLate/2 {
					t.Errorf("the longest wait is %v, want %v at most", longest, mostLate)
				}
				if given < 30*rate*9/10 {
					t.Errorf("%d datagrams in 30 s at %d a second", given, rate)
				}
			})
		})
	}
}

// Bursts have as many datagrams as asked for, one after another without a wait between, and the rate is kept.
func TestBurst(t *testing.T) {
	for _, c := range []struct{ burst, rate, seconds int }{{64, 100_000, 2}, {1, 1000, 20}, {2000, 200_000, 2}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := accept(t, start(t, environment(), config(func(x *Config) {
					x.Burst, x.Rate, x.TemplateInterval = c.burst, c.rate, time.Hour
				})))
				began, records := time.Now(), 0
				var sizes []int
				var last time.Time
				for time.Since(began) < time.Duration(c.seconds)*time.Second {
					b, err := r.Read(t.Context(), 100*time.Millisecond)
					if err != nil {
						t.Fatal(err)
					}
					if b == nil {
						continue
					}
					if now := time.Now(); len(sizes) == 0 || now != last {
						sizes, last = append(sizes, 0), now
					}
					sizes[len(sizes)-1] += flows(b) / 24
					records += flows(b)
					settle(b)
				}
				for i, n := range sizes {
					if n != c.burst {
						t.Errorf("burst %d of %d has %d datagrams, want %d", i, len(sizes), n, c.burst)
						break
					}
				}
				got, want := float64(records), float64(c.rate*c.seconds)
				if math.Abs(got-want) > 0.01*want+float64(24*c.burst) || len(sizes) < 2 {
					t.Errorf("%.0f records in %d bursts, want %.0f", got, len(sizes), want)
				}
			})
		})
	}
}

// A template flood goes beside the flows, whatever their rate, and the books say how many templates it had.
func TestTemplateFlood(t *testing.T) {
	for _, rate := range []int{10, 50_000} {
		synctest.Test(t, func(t *testing.T) {
			env := environment()
			r := accept(t, start(t, env, config(func(c *Config) {
				c.Rate, c.TemplateFlood, c.FloodExporters, c.DatagramRecords = rate, 30_000, 0.25, 2
			})))
			began, records := time.Now(), 0
			for time.Since(began) < 4*time.Second {
				b, err := r.Read(t.Context(), 100*time.Millisecond)
				if err != nil {
					t.Fatal(err)
				}
				if b == nil {
					continue
				}
				for _, p := range b.Bytes(sdk.DatagramPayload) {
					if p[20]|p[21] != 0 && len(p) < 200 { // two records
						records += int(p[3])
					}
				}
				settle(b)
			}
			templates := float64(counts(env.Books.Notes)[floodTemplates])
			if math.Abs(templates-120_000) > 2000 {
				t.Errorf("%.0f templates in 4 s of 30,000 a second", templates)
			}
			if want := 4 * rate; records < want*98/100-2 || records > want*102/100+2 {
				t.Errorf("%d records beside the flood, want %d", records, want)
			}
		})
	}
}
