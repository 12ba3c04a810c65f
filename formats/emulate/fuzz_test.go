package emulate_test

import (
	"cmp"
	"testing"
	"time"

	"github.com/weirflow/weir/formats/emulate"
	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/formats/netflow"
)

// Whatever the options that are not refused: no datagram is too long, and without a flood, which pushes out templates of its own
// exporter, a decoder makes of all of them every flow that was written and misses exactly those that were not.
func FuzzEmulator(f *testing.F) {
	f.Add(uint8(15), uint16(14), uint16(24), uint16(1472), uint8(2), uint8(2), byte(64), byte(20), uint16(0), uint8(0), uint64(7))
	f.Add(uint8(6), uint16(5), uint16(2000), uint16(65507), uint8(1), uint8(4), byte(255), byte(229), uint16(9999), uint8(3), uint64(1))
	f.Add(uint8(8), uint16(1), uint16(1), uint16(512), uint8(255), uint8(1), byte(0), byte(128), uint16(0), uint8(1), uint64(9))
	f.Fuzz(func(t *testing.T, protocols uint8, exporters, records, payload uint16, domains, samplers, v6, lost byte, flood uint16, part uint8, seed uint64) {
		o := emulate.Options{
			Exporters: int(exporters % 300), Records: int(records), Payload: int(payload), Domains: int(domains), Samplers: int(samplers), IPv6: float64(v6) / 255,
			Loss: float64(lost) / 255, Flood: int(flood), Seed: seed, Base: start, TemplateInterval: time.Second, DistinctDomains: seed%2 == 0,
			Parts: 1 + int(part%4), Part: int(part / 4 % 4),
		}
		for p := emulate.NetFlowV5; p <= emulate.SFlow; p++ {
			if protocols>>p&1 != 0 {
				o.Mix = append(o.Mix, emulate.Share{Protocol: p, Weight: 1 + int(seed>>(8*p))%emulate.MaxWeight})
			}
		}
		e, err := emulate.New(o)
		if err != nil {
			return
		}
		c := formatstest.NewCollector(netflow.DefaultLimits)
		var want, got losses
		var buf []byte
		written, at := 0, start.UnixNano()
		for range 300 {
			at += int64(3 * time.Millisecond)
			var d emulate.Datagram
			buf, d = e.Append(buf[:0], at, 0)
			if most := cmp.Or(o.Payload, 1472); len(buf) > most && d.Records != 1 {
				t.Fatalf("%v: %d bytes with %d records, at most %d were asked for", d.Protocol, len(buf), d.Records, most)
			}
			c.Take(buf, d.Exporter, d.Port, at)
			want.add(&d)
			written += d.Records
		}
		if o.Flood > 0 {
			return
		}
		rows := 0
		for _, n := range c.Rows {
			rows += n
		}
		if got.Flows, got.Datagrams = c.Lost(at); got != want || rows != written || c.Bad > 0 {
			t.Errorf("missed are %+v, not sent were %+v; %d flows of %d; %d datagrams are bad; %+v", got, want, rows, written, c.Bad, o)
		}
	})
}
