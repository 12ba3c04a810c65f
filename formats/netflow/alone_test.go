package netflow_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/formats/netflow"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
)

// randomSets is datagrams of templates of random elements of the table, NetFlow v9 and IPFIX, with values of variable length and
// without, and random records of them.
func randomSets(r *rand.Rand) (payloads [][]byte) {
	var es []flow.Element
	for _, c := range flow.Columns {
		for _, e := range c.Elements {
			if e.PEN == 0 {
				es = append(es, e)
			}
		}
	}
	length := func(e flow.Encoding, ipfix bool) int {
		switch e {
		case flow.IPv4, flow.Uptime:
			return 4
		case flow.IPv6:
			return 16
		case flow.MACAddress:
			return 6
		case flow.Millis, flow.Micros, flow.Nanos:
			return 8
		case flow.Seconds:
			return 4
		case flow.Label:
			return 3
		case flow.ICMPType, flow.ICMPCode:
			return 2
		case flow.String, flow.Octets, flow.Frame:
			if ipfix {
				return netflow.Variable
			}
			return 1 + r.IntN(20)
		}
		return 1 + r.IntN(8)
	}
	for i := range uint32(12) {
		ipfix := i%2 == 0
		var fields []uint16
		var records []byte
		for range 8 + r.IntN(16) {
			e := es[r.IntN(len(es))]
			fields = append(fields, e.ID, uint16(length(e.Enc, ipfix)))
		}
		for range 1 + r.IntN(40) {
			for f := 1; f < len(fields); f += 2 {
				n := int(fields[f])
				if n == netflow.Variable {
					n = r.IntN(30)
					records = append(records, byte(n))
				}
				for range n {
					records = append(records, byte(r.Uint32())*byte(r.IntN(2)))
				}
			}
		}
		id := uint16(256 + i)
		if ipfix {
			payloads = append(payloads, msg10(1, i, set(2, tmpl(id, fields...)), set(id, records)), msg10(2, i, set(2, tmpl(id, fields...)), set(id, records)))
		} else {
			payloads = append(payloads, msg9(1, i, set(0, tmpl(id, fields...)), set(id, records)), msg9(2, i, set(0, tmpl(id, fields...)), set(id, records)))
		}
	}
	return payloads
}

// A column has the same values whether it is decoded alone or together with all others, with which it may share its loop.
func TestColumnsAloneAndTogether(t *testing.T) {
	for seed := range uint64(5) {
		payloads := randomSets(rand.New(rand.NewPCG(seed, 1)))
		decode := func(out *sdk.Schema) *formatstest.Table {
			tab := formatstest.NewTable(out)
			d := newDecoder(tab, netflow.Options{Window: 1000 * time.Hour})
			for i, p := range payloads {
				d.Decode(&netflow.Datagram{Payload: p, Addr: exporter, Port: uint16(i), Received: exportedAt*1e9 + int64(i)})
			}
			d.Run()
			return tab
		}
		all := decode(flow.Schema)
		if all.Rows() < 100 {
			t.Fatalf("seed %d: %d rows", seed, all.Rows())
		}
		for _, f := range flow.Schema.Fields() {
			if f.Type.Width() == 0 || f.Type == sdk.Name {
				continue // of a loop of their own
			}
			alone := decode(formatstest.Columns(f.Name))
			var want, got any
			switch f.Type.Width() {
			case 1:
				want, got = formatstest.Column[uint8](alone, f.Name), formatstest.Column[uint8](all, f.Name)
			case 2:
				want, got = formatstest.Column[uint16](alone, f.Name), formatstest.Column[uint16](all, f.Name)
			case 4:
				want, got = formatstest.Column[uint32](alone, f.Name), formatstest.Column[uint32](all, f.Name)
			case 8:
				want, got = formatstest.Column[uint64](alone, f.Name), formatstest.Column[uint64](all, f.Name)
			default:
				want, got = formatstest.Column[[16]byte](alone, f.Name), formatstest.Column[[16]byte](all, f.Name)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("seed %d: %s (-alone +together):\n%.1000s", seed, f.Name, diff)
			}
		}
	}
}
