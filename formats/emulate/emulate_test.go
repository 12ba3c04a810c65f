package emulate

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/sdk/sdktest"
)

var everything = Mix{{NetFlowV5, 1}, {NetFlowV9, 2}, {IPFIX, 3}, {SFlow, 1}}

var base = time.Date(2026, 3, 1, 12, 0, 0, 123_456_789, time.UTC)

// options that use all there is.
func options() Options {
	return Options{Mix: everything, Exporters: 14, Seed: 7, Base: base, IPv6: 0.25, Domains: 2, Sampling: 100, Samplers: 2, TemplateInterval: time.Second}
}

func emulator(t testing.TB, o Options) *Emulator {
	t.Helper()
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

type sent struct {
	Datagram
	Payload []byte
	Flows   []Flow
}

// play takes n datagrams, step apart.
func play(e *Emulator, n int, step time.Duration) []sent {
	out := make([]sent, n)
	for i := range out {
		p, d := e.Append(nil, base.UnixNano()+int64(i)*int64(step), 0)
		out[i] = sent{d, p, slices.Clone(e.Flows())}
	}
	return out
}

// What the values of flows must be to make sense, whatever the protocol.
func TestFlowsMakeSense(t *testing.T) {
	for i, x := range play(emulator(t, options()), 2000, time.Millisecond) {
		for j, f := range x.Flows {
			age, frame := time.Duration(x.Sent-f.Start), int(f.PacketLength)+etherBytes+frameCheck
			switch {
			case f.Packets < 1 || f.Bytes < 40*f.Packets || f.Bytes > 1518*f.Packets,
				f.Start > f.End || f.End > x.Sent || age > 90*time.Second,
				f.Protocol == esp && (f.SrcPort != 0 || f.DstPort != 0),
				f.Protocol != tcp && f.TCPFlags != 0,
				f.SamplingRate != 100 && f.SamplingRate != 100*uint32(f.Sampler),
				f.Src == f.Dst || f.SrcMask == 0 || f.DstMask == 0 || f.InIf == f.OutIf,
				x.Protocol == SFlow && (f.Bytes != uint64(frame) || int(f.FrameHeader) != min(frame-frameCheck, sampledBytes)),
				x.Protocol != SFlow && (f.VLAN != 0 || f.TTL != 0 || f.SrcMAC != 0):
				t.Fatalf("datagram %d (%v), flow %d: %+v", i, x.Protocol, j, f)
			}
		}
	}
}

// Every eighth exporter's uptime wraps half a minute after the base, and its flows' times go on.
func TestUptimeWraps(t *testing.T) {
	wrapped := map[[16]byte]uint32{}
	for _, x := range play(emulator(t, Options{Base: base, Exporters: 16}), 4000, 20*time.Millisecond) {
		if x.Uptime < wrapped[x.Exporter] {
			wrapped[x.Exporter] = 1<<32 - 1
			for _, f := range x.Flows {
				if age := time.Duration(x.Sent - f.Start); age < 0 || age > 90*time.Second {
					t.Errorf("after the wrap a flow is %v old", age)
				}
			}
		} else {
			wrapped[x.Exporter] = x.Uptime
		}
	}
	n := 0
	for _, u := range wrapped {
		if u == 1<<32-1 {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d of 16 exporters' uptimes wrapped within 80 s, want 2", n)
	}
}

// Two emulators of one seed send the same bytes; of two seeds, others.
func TestDeterministic(t *testing.T) {
	a := play(emulator(t, options()), 300, time.Millisecond)
	b := play(emulator(t, options()), 300, time.Millisecond)
	for i := range a {
		if !bytes.Equal(a[i].Payload, b[i].Payload) || a[i].Datagram != b[i].Datagram {
			t.Fatalf("datagram %d differs between two runs of one seed", i)
		}
	}
	o := options()
	o.Seed++
	same := 0
	for i, x := range play(emulator(t, o), 300, time.Millisecond) {
		if x.Records > 0 && bytes.Equal(x.Payload, a[i].Payload) {
			same++
		}
	}
	if same > 0 {
		t.Errorf("%d datagrams are the same with another seed", same)
	}
}

// Each stream's sequence numbers go on as its protocol counts: flows, datagrams, data records, datagrams.
func TestSequence(t *testing.T) {
	type stream struct {
		addr   [16]byte
		domain uint32
	}
	want := map[stream]uint32{}
	for i, x := range play(emulator(t, options()), 3000, time.Millisecond) {
		k := stream{x.Exporter, x.Domain}
		if x.Sequence != want[k] {
			t.Fatalf("datagram %d (%v) has sequence number %d, want %d", i, x.Protocol, x.Sequence, want[k])
		}
		at := map[Protocol]int{NetFlowV5: 16, NetFlowV9: 12, IPFIX: 8, SFlow: 16}[x.Protocol]
		if got := binary.BigEndian.Uint32(x.Payload[at:]); got != x.Sequence {
			t.Fatalf("datagram %d (%v) carries sequence number %d, Datagram says %d", i, x.Protocol, got, x.Sequence)
		}
		switch x.Protocol {
		case NetFlowV5:
			want[k] += uint32(x.Records)
		case IPFIX:
			if want[k] += uint32(x.Records); x.Records == 0 {
				want[k] += 2 // a record for each sampler
			}
		default:
			want[k]++
		}
	}
	if len(want) != 28 {
		t.Errorf("%d streams, want 14 exporters x 2 domains", len(want))
	}
}

// A stream begins with its templates, and repeats them when their interval is over, not before.
func TestTemplates(t *testing.T) {
	type stream struct {
		addr   [16]byte
		domain uint32
	}
	last := map[stream]int64{}
	for i, x := range play(emulator(t, options()), 3000, time.Millisecond) {
		if x.Protocol == NetFlowV5 {
			continue
		}
		k := stream{x.Exporter, x.Domain}
		at, before := last[k]
		due := !before || x.Sent >= at+int64(time.Second)
		if isTemplates := x.Records == 0; isTemplates != due {
			t.Fatalf("datagram %d (%v): templates %v, due %v", i, x.Protocol, isTemplates, due)
		}
		if x.Records == 0 {
			last[k] = x.Sent
		}
	}
}

// Records come in the proportions of the mix and of the IPv6 share, and no datagram is above its limits.
func TestShares(t *testing.T) {
	o := options()
	records, v6 := map[Protocol]int{}, map[Protocol]int{}
	total := 0
	for i, x := range play(emulator(t, o), 6000, time.Microsecond) {
		if len(x.Payload) > 1472 || x.Records > 24 || x.Records != len(x.Flows) {
			t.Fatalf("datagram %d (%v): %d bytes, %d records, %d flows", i, x.Protocol, len(x.Payload), x.Records, len(x.Flows))
		}
		records[x.Protocol] += x.Records
		total += x.Records
		for _, f := range x.Flows {
			if f.v6 {
				v6[x.Protocol]++
			}
		}
	}
	for _, s := range o.Mix {
		if got, want := float64(records[s.Protocol])/float64(total), float64(s.Weight)/7; got < want*0.99 || got > want*1.01 {
			t.Errorf("%v has %.3f of the records, want %.3f", s.Protocol, got, want)
		}
		want := 0.25
		if s.Protocol == NetFlowV5 {
			want = 0
		}
		if got := float64(v6[s.Protocol]) / float64(records[s.Protocol]); got < want*0.99 || got > want*1.01 {
			t.Errorf("%v has %.3f of its records IPv6, want %.3f", s.Protocol, got, want)
		}
	}
}

// The parts of a network together have its exporters, each once.
func TestParts(t *testing.T) {
	exporters := func(o Options) map[string]int {
		m := map[string]int{}
		for _, x := range play(emulator(t, o), 300, 0) {
			m[fmt.Sprint(x.Exporter, x.Port, x.Domain, x.Protocol)] = o.Part
		}
		return m
	}
	whole, parts := exporters(options()), map[string]int{}
	n := 0
	for part := range 3 {
		o := options()
		o.Part, o.Parts = part, 3
		for k := range exporters(o) {
			parts[k] = 0
			n++
		}
	}
	if diff := cmp.Diff(whole, parts); diff != "" || n != len(whole) {
		t.Errorf("parts differ from the whole (%d of %d exporters' domains): %s", n, len(whole), diff)
	}
}

// Datagrams are cut short where asked for, whatever the protocol.
func TestMost(t *testing.T) {
	e := emulator(t, options())
	for range 500 {
		if _, d := e.Append(nil, base.UnixNano(), 3); d.Records > 3 {
			t.Fatalf("%v: %d records, at most 3 asked for", d.Protocol, d.Records)
		}
	}
}

// Records are as many as fit for every size of payload and share of IPv6.
func TestPayloadLimit(t *testing.T) {
	for _, payload := range []int{MinPayload, 1400, 9000, MaxPayload} {
		for _, share := range []float64{0, 0.01, 0.5, 0.99, 1} {
			o := Options{Mix: everything, Records: 2000, Payload: payload, IPv6: share, Samplers: MaxSamplers}
			for i, x := range play(emulator(t, o), 20, 0) {
				if len(x.Payload) > payload {
					t.Fatalf("payload limit %d, IPv6 %v: datagram %d (%v) has %d bytes", payload, share, i, x.Protocol, len(x.Payload))
				}
				if x.Records > 0 && x.Protocol != NetFlowV5 && len(x.Payload) < min(payload/2, payload-sflowSample6-sflowHeader) {
					t.Fatalf("payload limit %d, IPv6 %v: datagram %d (%v) has only %d bytes", payload, share, i, x.Protocol, len(x.Payload))
				}
			}
		}
	}
}

func TestOptionsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		o    Options
		want string
	}{
		"too few exporters": {Options{Mix: everything, Exporters: 3}, "emulate: Exporters is 3 and must be from 4 to 65536"},
		"v5 sampling":       {Options{Mix: everything, Sampling: 16384}, "emulate: Sampling of NetFlow v5 is 16384 and must be from 1 to 16383"},
		"share":             {Options{IPv6: 1.5}, "emulate: IPv6 is 1.5 and must be from 0 to 1"},
		"part":              {Options{Part: 2, Parts: 2}, "emulate: Part is 2 and must be from 0 to 1"},
		"payload":           {Options{Payload: 100}, "emulate: Payload is 100 and must be from 512 to 65507"},
	} {
		_, err := New(c.o)
		if err == nil || err.Error() != c.want {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}

func TestRing(t *testing.T) {
	r, err := emulator(t, options()).Ring(600, base.UnixNano(), time.Microsecond)
	if err != nil {
		t.Fatal(err)
	}
	e, at, records, size := emulator(t, options()), base.UnixNano(), 0, 0
	for i := range 600 {
		p, d := e.Append(nil, at, 0)
		if !bytes.Equal(p, r.Payloads[i]) || d != r.Datagrams[i] {
			t.Fatalf("datagram %d of the ring is not what the emulator sends", i)
		}
		at += int64(d.Records) * 1000
		records += d.Records
		size += len(p)
	}
	if r.Records != records || r.Bytes != size {
		t.Errorf("ring says %d records in %d bytes, want %d in %d", r.Records, r.Bytes, records, size)
	}
	if _, err := e.Ring(MaxRing+1, at, 0); err == nil {
		t.Error("a ring above the limit was built")
	}
}

func TestShareText(t *testing.T) {
	for text, want := range map[string]string{
		"v5": "v5", " ipfix = 20 ": "ipfix=20", "sflow=1": "sflow", "v9=1000": "v9=1000",
		"netflow": `"netflow" is not a protocol: write v5, v9, ipfix or sflow, or one with a weight as in ipfix=2`,
		"v9=0":    `the weight of v9 is "0" and must be a whole number from 1 to 1000`,
		"v9=1001": `the weight of v9 is "1001" and must be a whole number from 1 to 1000`,
		"v9=":     `the weight of v9 is "" and must be a whole number from 1 to 1000`,
	} {
		var s Share
		var got string
		if err := s.UnmarshalText([]byte(text)); err != nil {
			got = err.Error()
		} else {
			got = s.String()
		}
		if got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

// What a share prints, it reads.
func FuzzShare(f *testing.F) {
	for _, s := range []string{"v9", "ipfix=2", "v5=1000", "v9=0", "=", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var s, again Share
		if s.UnmarshalText([]byte(text)) != nil {
			return
		}
		if err := again.UnmarshalText([]byte(s.String())); err != nil || s != again {
			t.Fatalf("%q reads as %v, and that as %v, %v", text, s, again, err)
		}
	})
}

// Append into a large enough buffer allocates nothing, templates included.
func TestAppendAllocates(t *testing.T) {
	o := options()
	o.TemplateInterval = 1
	e := emulator(t, o)
	buf, at, templates := make([]byte, 0, 2048), base.UnixNano(), 0
	if n := testing.AllocsPerRun(10, func() {
		for range 1000 {
			at += 1e5
			var d Datagram
			if buf, d = e.Append(buf[:0], at, 0); d.Records == 0 {
				templates++
			}
		}
	}); n > 0 {
		t.Errorf("%v allocations in 1,000 datagrams, want 0", n)
	}
	if templates == 0 {
		t.Error("no templates were sent")
	}
}

func BenchmarkAppend(b *testing.B) {
	for _, share := range []float64{0, 0.25} {
		for p := range protocols {
			b.Run(fmt.Sprintf("%v/ipv6=%v", p, share), func(b *testing.B) {
				e := emulator(b, Options{Mix: Mix{{p, 1}}, IPv6: share})
				buf, records, at := make([]byte, 0, 4096), 0, base.UnixNano()
				before := sdktest.Mallocs()
				for b.Loop() {
					var d Datagram
					buf, d = e.Append(buf[:0], at, 0)
					records += d.Records
				}
				sdktest.ReportRecords(b, records, before)
			})
		}
	}
}
