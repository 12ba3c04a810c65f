package udp

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weirflow/weir/sdk"
)

const t0 = int64(1_700_000_000_000_000_000)

func addr(n int) (a [16]byte) {
	a = netip.MustParseAddr("::ffff:10.0.0.0").As16()
	binary.BigEndian.PutUint32(a[12:], 10<<24|uint32(n))
	return a
}

func prefixes(t testing.TB, text ...string) (out []Prefix) {
	for _, s := range text {
		var p Prefix
		if err := p.UnmarshalText([]byte(s)); err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
	return out
}

// Over any stretch of time no more passes than the rate and one burst, and what is offered below the rate passes, whatever the
// workers' order and however the datagrams come together.
func TestRateLimit(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		rate := 1 + r.IntN(5000)
		offered := rate * (1 + r.IntN(40)) / 10 // a tenth to four times the rate
		g := newGate(newExporters(), &Config{RateLimit: rate})
		var p passed
		const seconds = 20
		sent, at := 0, t0
		for sent < offered*seconds {
			n := 1 + r.IntN(min(32, 1+offered/10))
			at = t0 + int64(sent)*1e9/int64(offered)
			g.take(&p, addr(1), n, 100*n, at-r.Int64N(5e6))
			sent += n
		}
		if p.kept+p.limited != sent {
			t.Fatalf("%d + %d of %d", p.kept, p.limited, sent)
		}
		took := float64(at-t0)/1e9 + 0.01
		if most := float64(rate)*(took+1)*1.001 + 32; float64(p.kept) > most {
			t.Errorf("rate %d, %d offered a second: %d passed in %.1f s", rate, offered, p.kept, took)
		}
		if least := min(float64(sent), float64(rate)*took) * 0.97; float64(p.kept) < least-32 {
			t.Errorf("rate %d, %d offered a second: only %d of %d passed in %.1f s", rate, offered, p.kept, sent, took)
		}
		if offered <= rate && p.limited > 0 {
			t.Errorf("rate %d, %d offered a second: %d dropped", rate, offered, p.limited)
		}
	}
}

// What passes stands for all that came: its weights sum up to it but for what was dropped since the last one passed, they differ by one
// at most within a run, and are 1 without a limit.
func TestWhatPassesStandsForAll(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		rate := r.IntN(2000)
		x := newExporters()
		g := newGate(x, &Config{RateLimit: rate})
		var p passed
		sent, stood, more := 0, 0, 0
		for at := t0; at < t0+5e9; at += r.Int64N(20e6) {
			n := 1 + r.IntN(90)
			s := g.take(&p, addr(1), n, 100*n, at)
			sent += n
			least, most := uint32(math.MaxUint32), uint32(0)
			for i := range s.pass {
				w := s.weight(i)
				stood += int(w)
				least, most = min(least, w), max(most, w)
				if w > 1 {
					more++
				}
			}
			if s.pass > 0 && (least < 1 || most-least > 1) || rate == 0 && most != 1 {
				t.Fatalf("rate %d: %d to %d of %+v", rate, least, most, s)
			}
		}
		if owed := x.known.by[addr(1)].owed; stood+owed != sent || p.kept+p.limited != sent || p.thinned != more {
			t.Errorf("rate %d: %d sent, %d stood for and %d owed, %+v, %d stood for more than themselves", rate, sent, stood, owed, p, more)
		}
	}
}

// A clock that was set back by an hour stops nobody for an hour.
func TestRateLimitAndTheClock(t *testing.T) {
	g := newGate(newExporters(), &Config{RateLimit: 10})
	var p passed
	g.take(&p, addr(1), 100, 100, t0)
	g.take(&p, addr(1), 100, 100, t0-int64(time.Hour))
	for i := range 20 {
		g.take(&p, addr(1), 1, 1, t0-int64(time.Hour)+int64(i)*int64(time.Second)/10)
	}
	if p.kept < 10+15 || p.kept > 10+10+20 {
		t.Errorf("%d of 220 passed", p.kept)
	}
}

// Each exporter has its own limit; those that `allow` refuses are kept apart and cost nobody anything.
func TestExportersAreToldApart(t *testing.T) {
	x := newExporters()
	g := newGate(x, &Config{RateLimit: 10, Allow: prefixes(t, "10.0.0.0/30", "2001:db8::1")})
	var p passed
	six := netip.MustParseAddr("2001:db8::1").As16()
	for i, a := range [][16]byte{addr(1), addr(2), six, addr(9)} {
		g.take(&p, a, 15, 1500, t0+int64(i)*1e9)
	}
	if p != (passed{kept: 30, limited: 15, notAllowed: 15, thinned: 15}) {
		t.Errorf("%+v", p)
	}
	limited, refused := map[sdk.Reason]uint64{ReasonRateLimited: 5}, map[sdk.Reason]uint64{ReasonNotAllowed: 15}
	at := func(s int64) time.Time { return time.Unix(0, t0+s*1e9).UTC() }
	want := &Exporters{Capacity: maxExporters, Exporters: []Exporter{
		{Addr: "2001:db8::1", Datagrams: 15, Bytes: 1500, First: at(2), Last: at(2), Dropped: limited, Thinning: 1.5},
		{Addr: "10.0.0.2", Datagrams: 15, Bytes: 1500, First: at(1), Last: at(1), Dropped: limited, Thinning: 1.5},
		{Addr: "10.0.0.1", Datagrams: 15, Bytes: 1500, First: at(0), Last: at(0), Dropped: limited, Thinning: 1.5},
		{Addr: "10.0.0.9", Datagrams: 15, Bytes: 1500, First: at(3), Last: at(3), Dropped: refused},
	}}
	if d := cmp.Diff(want, x.report(t0+4e9), cmpopts.IgnoreFields(Exporter{}, "Rate")); d != "" {
		t.Error("(-want +got):", d)
	}
}

// The tables are bounded; who has been silent longest goes, and nobody goes who was heard in the last minute.
func TestCensusIsBounded(t *testing.T) {
	x := newExporters()
	g := newGate(x, &Config{Allow: prefixes(t, "10.0.0.0/8")})
	var p passed
	at := t0
	for i := range maxExporters + 1000 {
		g.take(&p, addr(i), 1, 10, at)
	}
	stranger := netip.MustParseAddr("2001:db8::").As16()
	for i := range maxStrangers + 7 {
		binary.BigEndian.PutUint32(stranger[12:], uint32(i))
		g.take(&p, stranger, 2, 20, at)
	}
	rep := x.report(at)
	if n := len(rep.Exporters); n != maxExporters+maxStrangers || len(rep.Others) != 2 || rep.Others[0].Datagrams != 1000 || rep.Others[1].Dropped[ReasonNotAllowed] != 14 {
		t.Fatalf("%d told apart, others %+v", n, rep.Others)
	}
	if p.kept != maxExporters+1000 {
		t.Errorf("%d passed", p.kept)
	}
	at += int64(quietAfter)
	g.take(&p, addr(0), 1, 10, at) // is heard again: 1 has been silent longest now
	g.take(&p, addr(1<<20), 1, 10, at)
	if x.known.by[addr(0)] == nil || x.known.by[addr(1)] != nil || x.known.by[addr(1<<20)] == nil || len(x.known.by) != maxExporters {
		t.Error("the wrong one went")
	}
	at += int64(forgetAfter)
	for i := range maxExporters {
		g.take(&p, addr(1<<20), 1, 10, at+int64(i)*1e9)
	}
	if rep := x.report(at); len(rep.Exporters) != 1+maxStrangers {
		t.Errorf("%d are remembered", len(rep.Exporters))
	}
}

// The rate is that of the last ten seconds, and 0 for who is silent.
func TestRate(t *testing.T) {
	x := newExporters()
	g := newGate(x, &Config{})
	var p passed
	rate := func(at int64) float64 { return x.report(at).Exporters[0].Rate }
	at := t0
	for i := range 300 {
		at = t0 + int64(i)*1e8 // ten a second, three datagrams each
		g.take(&p, addr(1), 3, 30, at)
		if got := rate(at); i > 20 && (got < 27 || got > 33) {
			t.Fatalf("%f a second after %d", got, i)
		}
	}
	if got := rate(at + 60e9); got != 0 {
		t.Errorf("%f a second of a silent one", got)
	}
}

// The whole source: what is not allowed or too much is dropped and counted; the rest arrives in order and whole.
func TestSourceDrops(t *testing.T) {
	for _, workers := range []int{1, 3} {
		env := testEnv(t)
		s := open(t, env, &Config{Listen: []string{"127.0.0.1:0"}, Workers: workers, Allow: prefixes(t, "127.0.0.0/30"), RateLimit: 40})
		wait := collect(t, s)
		want := map[string]int{}
		for i := range 100 {
			for _, from := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.9"} {
				c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(from)}, net.UDPAddrFromAddrPort(s.Addrs()[0]))
				if err != nil {
					t.Skip("this system sends from one address of 127.0.0.0/8 only: ", err)
				}
				fmt.Fprintf(c, "%s/%d/%s", from, i, strings.Repeat("x", i*25))
				c.Close()
				want[from]++
			}
		}
		s.Stop(t.Context())
		all, _, _ := wait()
		got := map[string]int{}
		for _, g := range all {
			from, rest, _ := strings.Cut(g.Payload, "/")
			number, x, _ := strings.Cut(rest, "/")
			if i, err := strconv.Atoi(number); err != nil || from != g.From.Addr().String() || x != strings.Repeat("x", i*25) {
				t.Fatalf("%s sent %.40q", g.From, g.Payload)
			}
			got[from]++
		}
		drops := map[sdk.Reason]uint64{}
		env.Books.Dropped(func(r sdk.Reason, n uint64) { drops[r] += n })
		if got["127.0.0.9"] != 0 || drops[ReasonNotAllowed] != 100 {
			t.Errorf("%d of who may not, %d dropped", got["127.0.0.9"], drops[ReasonNotAllowed])
		}
		for _, from := range []string{"127.0.0.1", "127.0.0.2"} {
			if got[from] < 40 || got[from] > 100 {
				t.Errorf("%d of %s", got[from], from)
			}
		}
		if drops[ReasonRateLimited] == 0 || uint64(len(all))+drops[ReasonRateLimited]+drops[ReasonNotAllowed] != 300 || received(s) != 300 {
			t.Errorf("%d arrived, dropped %v, received %d", len(all), drops, received(s))
		}
		a, err := s.Inspect(sdk.TopicExporters)
		if err != nil || len(a.(*Exporters).Exporters) != 3 {
			t.Errorf("%+v, %v", a, err)
		}
		if a, err := s.Inspect("weather"); a != nil || err != nil {
			t.Error(a, err)
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestPrefix(t *testing.T) {
	for text, want := range map[string]string{"192.0.2.0/24": "192.0.2.0/24", "192.0.2.7": "192.0.2.7/32", "2001:db8::/32": "2001:db8::/32", "::1": "::1/128", "::ffff:192.0.2.7": "192.0.2.7/32", "0.0.0.0/0": "0.0.0.0/0"} {
		if got, err := prefixes(t, text)[0].MarshalText(); err != nil || string(got) != want {
			t.Errorf("%s is %s, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{"": "neither", "router": "neither", "192.0.2.1/24": "bits set behind its length", "10.0.0.0/33": "neither", "::ffff:10.0.0.0/104": "neither"} {
		var p Prefix
		if err := p.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// A table under hostile traffic: addresses, times and counts of any kind. What came in is what passed and what was dropped, and
// what the table says of all together; and what passed stands for no more than what came.
func FuzzGate(f *testing.F) {
	f.Add(uint8(10), []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
	f.Fuzz(func(t *testing.T, rate uint8, in []byte) {
		x := newExporters()
		x.known.most, x.strangers.most = 4, 2
		g := newGate(x, &Config{RateLimit: int(rate), Allow: prefixes(t, "10.0.0.0/28")})
		var p passed
		sent, stood, at := 0, 0, t0
		for ; len(in) >= 4; in = in[4:] {
			n := int(in[1])%32 + 1
			at += int64(int8(in[2])) * int64(1+int(in[3])) << (in[3] % 32)
			got := g.take(&p, addr(int(in[0])%24), n, n, at)
			if got.pass < 0 || got.pass > n {
				t.Fatalf("%+v of %d", got, n)
			}
			for i := range got.pass {
				stood += int(got.weight(i))
			}
			sent += n
		}
		if stood < p.kept || stood > p.kept+p.limited {
			t.Errorf("%+v stand for %d", p, stood)
		}
		told, dropped := uint64(0), uint64(0)
		rep := x.report(at)
		for _, e := range append(rep.Exporters, rep.Others...) {
			told += e.Datagrams
			dropped += e.Dropped[ReasonRateLimited] + e.Dropped[ReasonNotAllowed]
			if e.Rate < 0 || e.Rate != e.Rate || e.Thinning < 0 || e.Thinning != e.Thinning {
				t.Errorf("a rate of %f, thinned by %f", e.Rate, e.Thinning)
			}
		}
		if p.kept+p.limited+p.notAllowed != sent || told > uint64(sent) || dropped > uint64(p.limited+p.notAllowed) || len(x.known.by) > 4 || len(x.strangers.by) > 2 {
			t.Errorf("%d sent, %+v, the table tells %d and %d dropped, of %d and %d", sent, p, told, dropped, len(x.known.by), len(x.strangers.by))
		}
	})
}
