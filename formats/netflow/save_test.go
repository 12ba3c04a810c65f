package netflow_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/formats/netflow"
)

// told makes a store that knows exporters of both protocols with templates, samplers and a start time, and its decoder.
func told(t testing.TB, tab *formatstest.Table, now int64) (*netflow.Store, *netflow.Decoder) {
	s := netflow.NewStore(netflow.DefaultLimits)
	d := netflow.NewDecoder(s, tab.Out, netflow.Options{}, tab)
	d.Now = now
	feedAll(d,
		msg9(1, 1, set(0, tmpl(256, common...)), set(256, commonRecord)),
		msg10(7, 1, set(2, tmpl(300, 22, 4, 1, 4, 82, 0xffff), tmpl(301, common...)), set(3, u16s(400, 2, 1, 302, 4, 305, 4), u16s(401, 2, 1, 149, 4, 160, 8)),
			set(400, u32s(1, 100), u32s(2, 200)), set(401, u32s(7), u32s(0x199, 0x4b0c3000))))
	return s, d
}

// A store that has read what another wrote decodes at once what that one could, with the same rates and times.
func TestSaveAndLoad(t *testing.T) {
	const now = exportedAt * int64(1e9)
	tab := formatstest.NewTable(formatstest.Columns("bytes", "sampling_rate", "flow_start", "dst_port"))
	s, d := told(t, tab, now)
	text := s.Save(nil)
	tab2 := formatstest.NewTable(tab.Out)
	s2 := netflow.NewStore(netflow.DefaultLimits)
	if err := s2.Load(text, now+1e9); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s.Exporters(), s2.Exporters(), cmpopts.IgnoreUnexported(netflow.Template{})); diff != "" {
		t.Errorf("known (-want +got):\n%s", diff)
	}
	if again := s2.Save(nil); !cmp.Equal(again, text) {
		t.Errorf("saved again it is %d bytes, want the same %d", len(again), len(text))
	}
	d2 := netflow.NewDecoder(s2, tab2.Out, netflow.Options{}, tab2)
	data := [][]byte{msg9(1, 2, set(256, commonRecord)), msg10(7, 2, set(300, u32s(5000, 77), []byte{2, 'e', '0'}), set(301, commonRecord))}
	before := tab.Rows()
	feedAll(d, data...)
	feedAll(d2, data...)
	for _, c := range []string{"bytes", "sampling_rate", "flow_start"} {
		if diff := cmp.Diff(formatstest.Column[uint64](tab, c)[before:], formatstest.Column[uint64](tab2, c)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c, diff)
		}
	}
	if n := tab2.Rows(); n != 3 {
		t.Errorf("%d rows, want 3", n)
	}
}

// What was told over a connection is not written: its templates end with it (RFC 7011, 8 and 10.4), and another connection of the
// same exporter may give their numbers another meaning.
func TestSessionsAreNotSaved(t *testing.T) {
	tab := formatstest.NewTable(formatstest.Columns("bytes"))
	s := netflow.NewStore(netflow.DefaultLimits)
	d := netflow.NewDecoder(s, tab.Out, netflow.Options{}, tab)
	d.Now = exportedAt * 1e9
	empty := s.Save(nil)
	session := netflow.NewSession(1, 0, 1)
	inSession(d, session, msg10(7, 1, set(2, tmpl(300, common...))))
	if text := s.Save(nil); !cmp.Equal(text, empty) {
		t.Errorf("a store that knows a session alone saves %d bytes, an empty one %d", len(text), len(empty))
	}
	feedAll(d, msg9(1, 1, set(0, tmpl(256, common...))))
	s2 := netflow.NewStore(netflow.DefaultLimits)
	if err := s2.Load(s.Save(nil), exportedAt*1e9); err != nil {
		t.Fatal(err)
	}
	if known := s2.Exporters(); len(known) != 1 || known[0].Session != 0 || len(known[0].Templates) != 1 || known[0].Templates[0].ID != 256 {
		t.Errorf("read again: %+v, want template 256 of no session alone", known)
	}
	d2 := netflow.NewDecoder(s2, tab.Out, netflow.Options{}, tab)
	if r := inSession(d2, session, msg10(7, 2, set(300, commonRecord))); len(r.Unknown) != 1 {
		t.Errorf("a session's template outlived the process: %+v", r)
	}
}

// What is too old is left out, what is from a clock ahead is as young as now, and limits hold.
func TestLoadKeepsTheLimits(t *testing.T) {
	const now = exportedAt * int64(1e9)
	s, _ := told(t, formatstest.NewTable(formatstest.Columns("bytes")), now)
	text := s.Save(nil)
	load := func(l netflow.Limits, at int64) (exporters, templates int) {
		x := netflow.NewStore(l)
		if err := x.Load(text, at); err != nil {
			t.Fatal(err)
		}
		x.Expire(at + int64(l.Age) + 1)
		if e, n, _ := x.Size(); e+n > 0 {
			t.Errorf("%d exporters and %d templates never grow old", e, n)
		}
		x = netflow.NewStore(l)
		if err := x.Load(text, at); err != nil {
			t.Fatal(err)
		}
		e, n, _ := x.Size()
		return e, n
	}
	l := netflow.DefaultLimits
	if e, n := load(l, now); e != 1 || n != 5 {
		t.Errorf("%d exporters, %d templates, want 1, 5", e, n)
	}
	if e, n := load(l, now-int64(time.Hour)); e != 1 || n != 5 {
		t.Errorf("after the clock was put back: %d exporters, %d templates, want 1, 5", e, n)
	}
	if e, n := load(l, now+int64(l.Age)+2e9); e != 0 || n != 0 {
		t.Errorf("too old: %d exporters, %d templates, want none", e, n)
	}
	l.PerExporter = 2
	if e, n := load(l, now); e != 1 || n != 2 {
		t.Errorf("two each: %d exporters, %d templates, want 1, 2", e, n)
	}
}

// Whatever is damaged, nothing of it is taken and nothing breaks.
func FuzzLoad(f *testing.F) {
	s, _ := told(f, formatstest.NewTable(formatstest.Columns("bytes")), exportedAt*int64(1e9))
	good := s.Save(nil)
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, b := range [][]byte{b, netflow.Sealed(b)} {
			x := netflow.NewStore(netflow.Limits{Exporters: 10, PerExporter: 20, Templates: 50, Age: time.Hour})
			err := x.Load(b, exportedAt*int64(1e9))
			e, n, different := x.Size()
			if e > 10 || n > 50 || different > n || err != nil && e+n > 0 {
				t.Errorf("%d exporters, %d templates, %d different, %v", e, n, different, err)
			}
		}
	})
}

// Every single damaged byte is found.
func TestLoadFindsDamage(t *testing.T) {
	s, _ := told(t, formatstest.NewTable(formatstest.Columns("bytes")), 0)
	good := s.Save(nil)
	for i := range good {
		bad := append([]byte(nil), good...)
		bad[i] ^= 0x10
		if err := netflow.NewStore(netflow.DefaultLimits).Load(bad, 0); err == nil {
			t.Fatalf("byte %d of %d is damaged, and it is taken", i, len(good))
		}
		if err := netflow.NewStore(netflow.DefaultLimits).Load(good[:i], 0); err == nil {
			t.Fatalf("cut at %d it is taken", i)
		}
	}
}
