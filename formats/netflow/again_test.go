package netflow_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/formats/netflow"
)

// definitions are messages of one definition each, of every form that there is.
var definitions = map[string][]byte{
	"v9":            msg9(1, 1, set(0, tmpl(256, common...))),
	"v9 options":    msg9(1, 1, set(1, u16s(256, 4, 8, 1, 4, 48, 1, 34, 4))),
	"IPFIX":         msg10(1, 1, set(2, u16s(256, 3, 1, 4, 0x8000|2, 8), u32s(29305), u16s(82, 0xffff))),
	"IPFIX options": msg10(1, 1, set(3, u16s(256, 3, 2, 144, 4, 0x8000|7, 2), u32s(9), u16s(34, 4))),
}

// What an exporter has told already costs nothing to hear again, and does not grow old.
func TestDefinitionsAgain(t *testing.T) {
	for name, p := range definitions {
		s := netflow.NewStore(netflow.DefaultLimits)
		tab := formatstest.NewTable(formatstest.Columns("bytes"))
		d := netflow.NewDecoder(s, tab.Out, netflow.Options{}, tab)
		d.Now = exportedAt * 1e9
		g := netflow.Datagram{Payload: p, Addr: exporter}
		d.Decode(&g)
		changes, told := s.Changes(), d.Tally
		if told.Templates != 1 {
			t.Errorf("%s: %d templates", name, told.Templates)
		}
		d.Now += int64(time.Hour)
		if n := testing.AllocsPerRun(10, func() { d.Decode(&g); d.Run() }); n != 0 {
			t.Errorf("%s: %v allocations when it comes again", name, n)
		}
		if s.Changes() != changes || d.Tally.Templates != 1 || d.Tally.Bytes() != 12*told.Bytes() || d.Tally.Decoded != 12*told.Decoded {
			t.Errorf("%s: %d changes, %+v", name, s.Changes()-changes, d.Tally)
		}
		if k := s.Exporters()[0].Templates[0]; k.Seen != d.Now {
			t.Errorf("%s: seen %v ago", name, time.Duration(d.Now-k.Seen))
		}
	}
}

// A definition that differs in a single bit from what is known means what it would mean to one who knows nothing.
func TestDefinitionsAlmostAgain(t *testing.T) {
	known := func(ps ...[]byte) (ts []netflow.KnownTemplate) {
		s := netflow.NewStore(netflow.DefaultLimits)
		tab := formatstest.NewTable(formatstest.Columns("bytes"))
		d := netflow.NewDecoder(s, tab.Out, netflow.Options{}, tab)
		for _, p := range ps {
			d.Decode(&netflow.Datagram{Payload: p, Addr: exporter})
		}
		for _, e := range s.Exporters() {
			ts = append(ts, e.Templates...)
		}
		return ts
	}
	opt := cmpopts.IgnoreUnexported(netflow.Template{})
	for name, p := range definitions {
		head := 20
		if p[1] == netflow.IPFIX {
			head = 16
		}
		for bit := (head + 6) * 8; bit < len(p)*8; bit++ { // behind the id
			other := slices.Clone(p)
			other[bit/8] ^= 1 << (bit % 8)
			got, want := known(p, other), known(other)
			if d := cmp.Diff(want, got, opt); d != "" {
				t.Errorf("%s, bit %d (-alone +after the other):\n%s", name, bit, d)
			}
		}
	}
}

// What a lane keeps of an exporter is what the store has: also when another lane has learnt, and when all has been forgotten.
func TestViewsFollowTheStore(t *testing.T) {
	s := netflow.NewStore(netflow.DefaultLimits)
	lane := func() *netflow.Decoder {
		tab := formatstest.NewTable(formatstest.Columns("bytes"))
		d := netflow.NewDecoder(s, tab.Out, netflow.Options{}, tab)
		d.Now = exportedAt * 1e9
		return d
	}
	a, b := lane(), lane()
	rows := func(d *netflow.Decoder, p []byte) int { return feedAll(d, p)[0].Rows }
	one, two := msg9(1, 1, set(0, tmpl(256, common...))), msg9(1, 1, set(0, tmpl(256, 1, 2)))
	data := msg9(1, 2, set(256, commonRecord))
	var got []int
	feedAll(a, one)
	got = append(got, rows(a, data), rows(b, data))
	feedAll(b, two)
	got = append(got, rows(a, data), rows(b, data))
	s.Expire(a.Now + int64(netflow.DefaultLimits.Age) + int64(time.Hour))
	got = append(got, rows(a, data), rows(b, data))
	feedAll(b, one)
	got = append(got, rows(a, data), rows(b, data))
	if d := cmp.Diff([]int{1, 1, 11, 11, 0, 0, 1, 1}, got); d != "" {
		t.Errorf("records of one set by two lanes (-want +got):\n%s", d)
	}
}
