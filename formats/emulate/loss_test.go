package emulate_test

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/emulate"
	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/formats/netflow"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func network(t testing.TB, change func(*emulate.Options)) *emulate.Emulator {
	t.Helper()
	o := emulate.Options{
		Mix:       emulate.Mix{{Protocol: emulate.NetFlowV5, Weight: 1}, {Protocol: emulate.NetFlowV9, Weight: 2}, {Protocol: emulate.IPFIX, Weight: 3}, {Protocol: emulate.SFlow, Weight: 1}},
		Exporters: 14, Seed: 7, Base: start, IPv6: 0.25, Domains: 2, Samplers: 2, TemplateInterval: time.Second,
	}
	change(&o)
	e, err := emulate.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// losses are what a collector must find missing.
type losses struct{ Flows, Datagrams int }

func (l *losses) add(d *emulate.Datagram) {
	if d.Protocol == emulate.NetFlowV5 || d.Protocol == emulate.IPFIX {
		l.Flows += d.LostRecords
	} else {
		l.Datagrams += d.Lost
	}
}

// Whatever share is lost, the gaps that the decoder counts are exactly what was not written, and every flow that was written is decoded.
func TestLossIsWhatDecodersMiss(t *testing.T) {
	for _, share := range []float64{0, 0.001, 0.01, 0.3, emulate.MaxLoss} {
		t.Run(fmt.Sprint(share), func(t *testing.T) {
			e := network(t, func(o *emulate.Options) { o.Loss = share })
			c := formatstest.NewCollector(netflow.DefaultLimits)
			var want losses
			var buf []byte
			written, lost, at := map[[16]byte]int{}, 0, start.UnixNano()
			sent := 0
			for range 6000 {
				at += int64(200 * time.Microsecond)
				var d emulate.Datagram
				buf, d = e.Append(buf[:0], at, 0)
				c.Take(buf, d.Exporter, d.Port, at)
				want.add(&d)
				written[d.Exporter] += d.Records
				if d.Records > 0 {
					sent++
				} else if d.Lost > 0 {
					t.Fatalf("%d datagrams lost before one without flows", d.Lost)
				}
				lost += d.Lost
			}
			var got losses
			if got.Flows, got.Datagrams = c.Lost(at); got != want {
				t.Errorf("the decoder misses %+v, not sent were %+v", got, want)
			}
			if diff := cmp.Diff(written, c.Rows); diff != "" || c.Bad > 0 {
				t.Errorf("flows of exporters (-written +decoded), %d datagrams bad:\n%s", c.Bad, diff)
			}
			if is := float64(lost) / float64(lost+sent); math.Abs(is-share) > 0.01 {
				t.Errorf("%.4f of the datagrams were lost, want %v", is, share)
			}
		})
	}
}

// With domains of their own, exporters behind one address are told apart: no gap that is none, and none missed.
func TestDistinctDomains(t *testing.T) {
	e := network(t, func(o *emulate.Options) { o.Loss, o.DistinctDomains, o.Exporters = 0.05, true, 40 })
	c := formatstest.NewCollector(netflow.DefaultLimits)
	var want, got losses
	written, at := 0, start.UnixNano()
	domains := map[uint32][16]byte{}
	for range 3000 {
		at += int64(200 * time.Microsecond)
		p, d := e.Append(nil, at, 0)
		if other, ok := domains[d.Domain]; ok && other != d.Exporter {
			t.Fatalf("two exporters have domain %d", d.Domain)
		}
		domains[d.Domain] = d.Exporter
		c.Take(p, [16]byte{}, 0, at)
		want.add(&d)
		written += d.Records
	}
	if got.Flows, got.Datagrams = c.Lost(at); got != want || len(domains) != 80 || c.Bad > 0 || c.Rows[[16]byte{}] != written {
		t.Errorf("missed are %+v, not sent were %+v; %d domains; %d datagrams are bad; %d flows of %d", got, want, len(domains), c.Bad, c.Rows[[16]byte{}], written)
	}
}

// Loss follows from the seed, and takes nothing from the flows: those of a seed are the same with it.
func TestLossIsDeterministic(t *testing.T) {
	type run struct {
		payloads [][]byte
		flows    [][]emulate.Flow
		lost     int
	}
	play := func(loss float64, seed uint64) (r run) {
		e := network(t, func(o *emulate.Options) { o.Loss, o.Seed = loss, seed })
		for range 2000 {
			p, d := e.Append(nil, start.UnixNano(), 0)
			r.payloads, r.flows, r.lost = append(r.payloads, p), append(r.flows, slices.Clone(e.Flows())), r.lost+d.Lost
		}
		return r
	}
	first, second := play(0.1, 1), play(0.1, 1)
	if !slices.EqualFunc(first.payloads, second.payloads, bytes.Equal) || first.lost != second.lost || first.lost == 0 {
		t.Errorf("two runs of one seed lost %d and %d, or differ", first.lost, second.lost)
	}
	if other := play(0.1, 2); other.lost == first.lost {
		t.Error("two seeds lost the same")
	}
	if !slices.EqualFunc(first.flows, play(0, 1).flows, slices.Equal) {
		t.Error("the flows are others than without loss")
	}
}

// However long a loss lasts, it is no restart of the exporter to a collector.
func TestLossInARowIsBounded(t *testing.T) {
	e := network(t, func(o *emulate.Options) { o.Loss, o.Payload, o.Records = emulate.MaxLoss, emulate.MaxPayload, 1000 })
	most := 0
	for range 3000 {
		_, d := e.Append(nil, start.UnixNano(), 0)
		most = max(most, d.LostRecords)
	}
	if most > 1<<16 || most < 1<<13 {
		t.Errorf("at most %d records were lost in a row, want some and no more than %d", most, 1<<16)
	}
}
