package netflow_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/formats/netflow"
)

// An exporter's clock that is ahead, or is put back, moves the times of its flows and nothing else: data decodes throughout, no
// template grows old by it, no sequence breaks, and what leaves the window is bounded and counted.
func TestExporterClocksThatAreWrong(t *testing.T) {
	const received = exportedAt * int64(1e9)
	at := func(offset time.Duration, sequence uint32, sets ...[]byte) []byte {
		p := msg9(1, sequence, sets...)
		be.PutUint32(p[8:], uint32(exportedAt+int64(offset/time.Second)))
		return p
	}
	for _, c := range []struct {
		name    string
		offsets []time.Duration
		want    []time.Duration // of flow_end, from the arrival on; the flows end a second before they are exported
		clamped uint64
	}{
		{"30 s ahead", []time.Duration{30 * time.Second, 30 * time.Second}, []time.Duration{29 * time.Second, 29 * time.Second}, 0},
		{"1 h ahead, put back", []time.Duration{time.Hour, 0, 0}, []time.Duration{time.Hour - time.Second, -time.Second, -time.Second}, 0},
		{"3 h ahead, put back 3 h too far", []time.Duration{3 * time.Hour, -3 * time.Hour}, []time.Duration{2 * time.Hour, -2 * time.Hour}, 4},
	} {
		tab := formatstest.NewTable(formatstest.Columns("flow_end"))
		s := netflow.NewStore(netflow.Limits{Exporters: 10, PerExporter: 10, Templates: 10, Age: time.Hour})
		d := netflow.NewDecoder(s, tab.Out, netflow.Options{Window: 2 * time.Hour}, tab)
		d.Now = received
		feedAll(d, at(c.offsets[0], 0, set(0, tmpl(256, 21, 4))))
		clamped := d.Tally.Clamped
		for i, o := range c.offsets {
			r := d.Decode(&netflow.Datagram{Payload: at(o, uint32(i+1), set(256, u32s(uptimeMs-1000))), Addr: exporter, Received: received})
			d.Run()
			if r.Rows != 1 {
				t.Errorf("%s: %+v", c.name, r)
			}
			s.Expire(received + int64(i)*1e9)
		}
		var got []time.Duration
		for _, v := range formatstest.Column[int64](tab, "flow_end") {
			got = append(got, time.Duration(v-received))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: flow_end after arrival (-want +got):\n%s", c.name, diff)
		}
		// The export time and the flow's are both bounded.
		if n := d.Tally.Clamped - clamped; n != c.clamped {
			t.Errorf("%s: %d times clamped, want %d", c.name, n, c.clamped)
		}
		s.Sequences.Settle(received+10e9, false)
		if l := s.Sequences.Settle(received+20e9, false); l != (netflow.Lost{}) {
			t.Errorf("%s: lost %+v", c.name, l)
		}
	}
}

// One port that speaks NetFlow v5, then v9, then v5 again: each has its own templates and sequence, and nothing of it is lost.
func TestProtocolsTakeTurnsOnOnePort(t *testing.T) {
	v5 := func(sequence uint32) []byte {
		p := append(u16s(5, 1), u32s(uptimeMs, exportedAt, 0, sequence, 0)...)
		return append(p, make([]byte, 48)...)
	}
	tab := formatstest.NewTable(formatstest.Columns("format", "bytes"))
	s := netflow.NewStore(netflow.DefaultLimits)
	d := netflow.NewDecoder(s, tab.Out, netflow.Options{}, tab)
	rs := feedAll(d, v5(100), v5(101), msg9(0, 7, set(0, tmpl(256, common...)), set(256, commonRecord)), msg9(0, 8, set(256, commonRecord)),
		v5(102), msg9(0, 9, set(256, commonRecord)), v5(103))
	for i, r := range rs {
		if r.Why != netflow.None || r.Rows != 1 {
			t.Errorf("datagram %d: %+v", i, r)
		}
	}
	if diff := cmp.Diff([]string{"netflow5", "netflow5", "netflow9", "netflow9", "netflow5", "netflow9", "netflow5"}, formatstest.Names(tab, "format")); diff != "" {
		t.Errorf("formats (-want +got):\n%s", diff)
	}
	s.Sequences.Settle(1e9, false)
	s.Sequences.Settle(3e9, false)
	if l := s.Sequences.Settle(5e9, false); l != (netflow.Lost{}) {
		t.Errorf("lost %+v", l)
	}
}
