package netflow_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/formats/netflow"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
)

// verdict is what a case came to, short: rows, and the reasons for bytes that were not used.
func verdict(d *netflow.Decoder, t *formatstest.Table) string {
	s := fmt.Sprintf("rows=%d", t.Rows())
	for _, r := range netflow.Reasons() {
		if n := d.Tally.Skipped[r]; n > 0 {
			s += fmt.Sprintf(" skipped{%v}=%d", r, n)
		}
		if n := d.Tally.Rejected[r]; n > 0 {
			s += fmt.Sprintf(" rejected{%v}=%d", r, n)
		}
	}
	if d.Tally.Unknown > 0 {
		s += fmt.Sprintf(" unknown=%d", d.Tally.Unknown)
	}
	return s
}

// Inputs that stop, crash or mislead released collectors: what each must come to, and that the next good exporter is decoded as
// if nothing had been.
func TestMalformed(t *testing.T) {
	want := map[string]string{
		"ipfix-1byte-rec+padding":      "rows=4",
		"ipfix-all-varlen":             "rows=3",
		"ipfix-ip-len-50+data":         "rows=1",
		"ipfix-msglen-short":           "rows=0 skipped{trailing}=22 rejected{set_length}=26",
		"ipfix-msglen<16":              "rows=0 rejected{message_length}=64",
		"ipfix-msglen>packet":          "rows=2",
		"ipfix-ok":                     "rows=2",
		"ipfix-opt-count-65535":        "rows=0 rejected{definition_cut}=10",
		"ipfix-opt-scope-0":            "rows=0 rejected{scope}=14 unknown=12",
		"ipfix-opt-scope>count":        "rows=0 rejected{scope}=14 unknown=12",
		"ipfix-pen-cut":                "rows=0 rejected{definition_cut}=12",
		"ipfix-set-id-reserved":        "rows=1 skipped{reserved_set}=52",
		"ipfix-set-len-0":              "rows=0 rejected{set_length}=48",
		"ipfix-varlen-cut":             "rows=0 rejected{short_set}=26",
		"ipfix-varlen-first-overflow":  "rows=0 rejected{record_cut}=37",
		"ipfix-varlen-ok":              "rows=2",
		"ipfix-varlen-overflow16":      "rows=0 rejected{record_cut}=32",
		"ipfix-varlen-overflow8":       "rows=0 rejected{record_cut}=30",
		"ipfix-varlen-zero":            "rows=20",
		"ipfix-withdraw+data":          "rows=1 unknown=48",
		"ipfix-withdraw-all+data":      "rows=1 unknown=48",
		"v5-count-1-of-3":              "rows=1 skipped{trailing}=96",
		"v5-count-30-cut":              "rows=2 rejected{record_count}=20",
		"v5-count-65535-empty":         "rows=0 rejected{record_count}=24",
		"v5-ok":                        "rows=2",
		"v5-short-header":              "rows=0 rejected{short_header}=20",
		"v9-count-0":                   "rows=2",
		"v9-count-1-two-sets":          "rows=2",
		"v9-count-65535":               "rows=2",
		"v9-cut-mid-record":            "rows=0 rejected{set_length}=60",
		"v9-data-before-template":      "rows=0 unknown=48",
		"v9-dup-fields":                "rows=1",
		"v9-known-then-bad-set":        "rows=2 rejected{set_length}=4",
		"v9-many-fields-300":           "rows=1",
		"v9-ok":                        "rows=2",
		"v9-opt-field-len-wrap":        "rows=0 rejected{record_length}=22 unknown=52",
		"v9-opt-len>set":               "rows=0 rejected{definition_cut}=14 unknown=12",
		"v9-opt-scope+len=0":           "rows=0 skipped{padding}=2 rejected{zero_fields}=6 unknown=12",
		"v9-opt-scope-len-odd":         "rows=0 rejected{scope}=18 unknown=13",
		"v9-redefine-same-packet":      "rows=3",
		"v9-set-len-0":                 "rows=0 rejected{set_length}=48",
		"v9-set-len-3":                 "rows=0 rejected{set_length}=48",
		"v9-set-len-4":                 "rows=2 skipped{padding}=4",
		"v9-set-len>packet":            "rows=0 rejected{set_length}=48",
		"v9-short-header":              "rows=0 rejected{short_header}=11",
		"v9-tmpl-0-fields+data":        "rows=0 rejected{zero_fields}=4 unknown=26",
		"v9-tmpl-counter-len-16+data":  "rows=1",
		"v9-tmpl-fieldlen-5000+data":   "rows=0 rejected{short_set}=48",
		"v9-tmpl-fieldlen-65535+data":  "rows=0 rejected{record_length}=40 unknown=48",
		"v9-tmpl-huge-count":           "rows=0 rejected{definition_cut}=36",
		"v9-tmpl-id-255":               "rows=0 skipped{reserved_set}=26 rejected{template_id}=36",
		"v9-tmpl-ip-len-50+data":       "rows=1",
		"v9-tmpl-zero-len-fields+data": "rows=0 rejected{zero_length}=12 unknown=26",
		"v9-unknown-and-known-set":     "rows=2 unknown=48",
	}
	cases := malformed(t)
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		if strings.HasPrefix(name, "sf-") {
			continue // sFlow: below, and in its own package
		}
		t.Run(name, func(t *testing.T) {
			tab := formatstest.NewTable(flow.Schema)
			d := newDecoder(tab, netflow.Options{})
			bytes := 0
			for _, p := range cases[name] {
				bytes += len(p)
			}
			feedAll(d, cases[name]...)
			if got := verdict(d, tab); got != want[name] {
				t.Errorf("got  %s\nwant %s", got, want[name])
			}
			if d.Tally.Bytes() != uint64(bytes) {
				t.Errorf("%d bytes accounted for of %d", d.Tally.Bytes(), bytes)
			}
		})
	}
}

// Of a datagram of v1, v5 or v7 that counts more records than it has, those that are whole are decoded, and what is behind them is counted;
// without one it is refused. Records that the sequence numbers then miss are lost before us, and there are none if only the count was wrong.
func TestMoreCountedThanThere(t *testing.T) {
	for _, c := range []struct{ version, head, record uint16 }{{1, 16, 48}, {5, 24, 48}, {7, 24, 52}} {
		datagram := func(sequence uint32, count, bytes int) []byte {
			p := make([]byte, int(c.head)+bytes)
			be.PutUint16(p, c.version)
			be.PutUint16(p[2:], uint16(count))
			if c.version != 1 {
				be.PutUint32(p[16:], sequence)
			}
			return p
		}
		rec := int(c.record)
		for _, x := range []struct {
			name         string
			count, bytes int
			rows, rest   int
			bad          netflow.Reason
		}{
			{"as many", 2, 2 * rec, 2, 0, netflow.None},
			{"cut in a record", 30, 2*rec + 20, 2, 20, netflow.RecordCount},
			{"cut behind a record", 30, 2 * rec, 2, 0, netflow.RecordCount},
			{"all that can be counted", 65535, rec, 1, 0, netflow.RecordCount},
			{"none that is whole", 2, rec - 1, 0, int(c.head) + rec - 1, netflow.RecordCount},
			{"none", 65535, 0, 0, int(c.head), netflow.RecordCount},
		} {
			tab := formatstest.NewTable(flow.Schema)
			d := newDecoder(tab, netflow.Options{})
			p := datagram(0, x.count, x.bytes)
			r := feedAll(d, p)[0]
			if r.Rows != x.rows || tab.Rows() != x.rows || r.Used != (x.rows > 0) || max(r.Why, r.Bad) != x.bad || d.Tally.Rejected[netflow.RecordCount] != uint64(x.rest) || d.Tally.Bytes() != uint64(len(p)) {
				t.Errorf("v%d, %s: %+v, %d rows, %+v", c.version, x.name, r, tab.Rows(), d.Tally)
			}
		}
		for _, x := range []struct {
			name string
			next uint32 // number of the datagram behind one that counts 30 and has 2
			lost uint64
		}{{"the count was wrong", 102, 0}, {"28 were cut off", 130, 28}} {
			s := netflow.NewStore(netflow.DefaultLimits)
			tab := formatstest.NewTable(flow.Schema)
			d := netflow.NewDecoder(s, tab.Out, netflow.Options{}, tab)
			feedAll(d, datagram(98, 2, 2*rec), datagram(100, 30, 2*rec), datagram(x.next, 2, 2*rec))
			if c.version == 1 {
				x.lost = 0 // it has no numbers
			}
			if got := s.Sequences.End().Flows; got != x.lost {
				t.Errorf("v%d, %s: %d flows lost, want %d", c.version, x.name, got, x.lost)
			}
		}
	}
}

// Whatever came before, a good exporter's next template and data are decoded, and nothing takes long or much memory.
func TestGoodAfterAnyMalformed(t *testing.T) {
	cases := malformed(t)
	tab := formatstest.NewTable(formatstest.Columns("src_addr", "bytes", "packets"))
	d := newDecoder(tab, netflow.Options{})
	n := 0
	start := time.Now()
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		for i, p := range cases[name] {
			feedAll(d, p)
			before := tab.Rows()
			r := feedAll(d, msg9(7, 1, set(0, tmpl(300, common...))), msg9(7, 2, set(300, commonRecord, commonRecord)))
			if got := formatstest.Column[uint64](tab, "bytes"); r[1].Rows != 2 || tab.Rows() != before+2 || got[len(got)-1] != 1024 {
				t.Errorf("after %s.%d: %+v", name, i, r)
			}
			n++
		}
	}
	if n != 125 {
		t.Errorf("%d examples, want 125", n)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

// An exporter can make the store keep no more than its limits, and others go on.
func TestTemplateFloodIsBounded(t *testing.T) {
	limits := netflow.Limits{Exporters: 3, PerExporter: 100, Templates: 250, Age: time.Hour}
	tab := formatstest.NewTable(formatstest.Columns("bytes"))
	s := netflow.NewStore(limits)
	d := netflow.NewDecoder(s, tab.Out, netflow.Options{}, tab)
	addr := func(i int) [16]byte { a := exporter; a[15] = byte(i); return a }
	total := uint64(0)
	use := func() { // the first exporter is one that sends data
		p := msg9(0, 1, set(256, make([]byte, 5)))
		total += uint64(len(p))
		if r := d.Decode(&netflow.Datagram{Payload: p, Addr: addr(0)}); r.Rows != 1 {
			t.Errorf("a template that carries data is gone: %+v", r)
		}
	}
	for x := range 5 {
		for i := range 300 {
			p := msg9(uint32(i/50), uint32(i), set(0, tmpl(uint16(256+i), 1, 4, 2, uint16(1+i%8)), tmpl(uint16(1256+i), common...)))
			total += uint64(len(p))
			d.Now = int64(i) * 1e6
			d.Decode(&netflow.Datagram{Payload: p, Addr: addr(x)})
			if x == 0 && i == 0 || i == 299 {
				use()
			}
		}
	}
	exporters, templates, different := s.Size()
	if exporters < 2 || exporters > 3 || templates < 200 || templates > 250 || different > 9 {
		t.Errorf("%d exporters with %d templates, %d different; want at most 3, 250, 9", exporters, templates, different)
	}
	if s.Evicted() == 0 || d.Tally.Bytes() != total {
		t.Errorf("of %d bytes %d are accounted for: %+v", total, d.Tally.Bytes(), d.Tally)
	}
	// What is known stays known under the flood, and room comes back with age.
	d.Now = int64(59 * time.Minute)
	if r := d.Decode(&netflow.Datagram{Payload: msg9(0, 1, set(256, make([]byte, 5))), Addr: addr(0)}); r.Rows != 1 {
		t.Errorf("a known template is gone: %+v", r)
	}
	s.Expire(int64(65 * time.Minute))
	exporters, templates, different = s.Size()
	if exporters != 1 || templates != 1 || different != 1 {
		t.Errorf("after an hour %d exporters, %d templates, %d different are left; the one that was used should be", exporters, templates, different)
	}
	if r := d.Decode(&netflow.Datagram{Payload: msg9(0, 1, set(0, tmpl(400, common...))), Addr: addr(4)}); r.Bad != netflow.None {
		t.Errorf("no room after the age: %v", r.Bad)
	}
}

// Templates of very many fields have a limit of their own: the memory of all is bounded, and what was replaced is gone.
func TestFieldsOfAllTemplatesAreBounded(t *testing.T) {
	tab := formatstest.NewTable(formatstest.Columns("bytes"))
	s := netflow.NewStore(netflow.Limits{Exporters: 10, PerExporter: 100, Templates: 100, Age: time.Hour})
	d := netflow.NewDecoder(s, tab.Out, netflow.Options{}, tab)
	wide := func(i int) []byte { // 1,000 fields, different each
		fs := []uint16{1, 4, uint16(10000 + i), 1}
		for len(fs) < 2000 {
			fs = append(fs, 9999, 1)
		}
		return set(0, tmpl(uint16(256+i), fs...))
	}
	for i := range 50 {
		feedAll(d, msg9(0, 0, wide(i)))
	}
	if _, templates, _ := s.Size(); templates != 3 {
		t.Errorf("%d templates of 1,000 fields are kept, want 3 of 3,200 fields in all", templates)
	}
	for i := range 50 { // withdrawn by a definition that is not possible
		feedAll(d, msg9(0, 0, set(0, tmpl(uint16(256+i), 8, 65535))))
	}
	if _, templates, different := s.Size(); templates != 0 || different != 0 {
		t.Errorf("%d templates, %d different are left", templates, different)
	}
	if r := feedAll(d, msg9(0, 0, wide(7)))[0]; r.Bad != netflow.None {
		t.Errorf("no room afterwards: %v", r.Bad)
	}
}

// A field whose element cannot have its length is passed over by it, told, and costs nothing but itself: other fields, records, data sets and
// what options tell are as ever. So it is after a restart.
func TestFieldOfWrongLength(t *testing.T) {
	tab := formatstest.NewTable(formatstest.Columns("src_addr", "dst_addr", "bytes", "packets", "src_port", "sampling_rate", "etype"))
	s := netflow.NewStore(netflow.DefaultLimits)
	d := netflow.NewDecoder(s, tab.Out, netflow.Options{}, tab)
	// A source address of 5 bytes, a good one later, packets in 16 bytes, a port in none, an end in 3 and a sampler in 9.
	odd := []uint16{8, 5, 12, 4, 1, 4, 2, 16, 7, 0, 21, 3, 48, 9}
	rec := slices.Concat([]byte{9, 9, 9, 9, 9}, []byte{192, 0, 2, 7}, u32s(777), make([]byte, 16), []byte{1, 2, 3}, make([]byte, 8), []byte{7})
	feedAll(d, msg9(1, 1, set(0, tmpl(256, odd...)), set(256, rec, rec)), msg9(1, 2, set(0, tmpl(256, odd...)), set(256, rec)))
	addr := func(last ...byte) [16]byte { a := [16]byte{10: 0xff, 11: 0xff}; copy(a[12:], last); return a }
	check := func(what string, want, got any) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	check("src_addr", [][16]byte{{}, {}, {}}, formatstest.Column[[16]byte](tab, "src_addr"))
	check("dst_addr", [][16]byte{addr(192, 0, 2, 7), addr(192, 0, 2, 7), addr(192, 0, 2, 7)}, formatstest.Column[[16]byte](tab, "dst_addr"))
	check("bytes", []uint64{777, 777, 777}, formatstest.Column[uint64](tab, "bytes"))
	check("packets", []uint64{0, 0, 0}, formatstest.Column[uint64](tab, "packets"))
	check("sampling_rate", []uint64{1, 1, 1}, formatstest.Column[uint64](tab, "sampling_rate"))
	check("etype", []uint16{0x800, 0x800, 0x800}, formatstest.Column[uint16](tab, "etype"))
	check("wrong lengths are counted with the template, once", uint64(5), d.Tally.WrongLengths)
	check("rejected", [len(d.Tally.Rejected)]uint64{}, d.Tally.Rejected)
	wrong := []netflow.Field{{ID: 8, Len: 5}, {ID: 2, Len: 16}, {ID: 7}, {ID: 21, Len: 3}, {ID: 48, Len: 9}}
	check("told", wrong, s.Exporters()[0].Templates[0].Template.WrongLengths())

	// A field of the user's own says what the element is to him; of variable length too. A later field of the right length is believed.
	own := formatstest.NewTable(sdk.NewSchema(sdk.Field{Name: "own", Type: sdk.Text}, flow.Columns[flow.Index("src_addr")].Field))
	e := newDecoder(own, netflow.Options{Fields: []netflow.Column{{Name: "own", ID: 8, Enc: flow.Octets}}})
	feedAll(e, msg10(1, 1, set(2, tmpl(300, 8, netflow.Variable)), set(300, []byte{3, 'a', 'b', 'c', 1, 'd'})),
		msg10(1, 3, set(2, tmpl(301, 8, 4, 8, 3)), set(301, []byte{10, 0, 0, 1, 'e', 'f', 'g'})))
	var texts []string
	for _, b := range own.Batches() {
		for _, v := range b.Bytes(0) {
			texts = append(texts, string(v))
		}
	}
	check("a field of the user's", []string{"abc", "d", "efg"}, texts)
	check("the address of the right length", [][16]byte{{}, {}, addr(10, 0, 0, 1)}, formatstest.Column[[16]byte](own, "src_addr"))

	// Options of which one element has a wrong length tell the rest.
	feedAll(d, msg10(5, 1, set(3, u16s(400, 3, 1, 302, 9, 160, 3, 305, 4)), set(400, make([]byte, 12), u32s(64))),
		msg10(5, 2, set(2, tmpl(401, 1, 4)), set(401, u32s(1))))
	check("the rate that options tell beside", uint64(64), formatstest.Column[uint64](tab, "sampling_rate")[3])

	again := netflow.NewStore(netflow.DefaultLimits)
	if err := again.Load(s.Save(nil), 0); err != nil {
		t.Fatal(err)
	}
	check("told after a restart", wrong, again.Exporters()[0].Templates[0].Template.WrongLengths())
}

// A definition that is not possible takes the one it was to replace with it: the data is of the new one.
func TestInvalidRedefinitionRemovesTheTemplate(t *testing.T) {
	tab := formatstest.NewTable(formatstest.Columns("bytes"))
	d := newDecoder(tab, netflow.Options{})
	data := msg9(0, 3, set(256, commonRecord))
	rs := feedAll(d, msg9(0, 1, set(0, tmpl(256, common...))), data, msg9(0, 2, set(0, tmpl(256, 8, 65535))), data)
	if rs[1].Rows != 1 || rs[2].Bad != netflow.RecordLength || len(rs[3].Unknown) != 1 {
		t.Errorf("results %+v", rs)
	}
}

// Withdrawals end a template, all data templates or all options templates of their domain, and no others.
func TestWithdrawal(t *testing.T) {
	define := func(domain uint32) []byte {
		return msg10(domain, 0, set(2, tmpl(256, 1, 4), tmpl(257, 2, 4)), set(3, u16s(300, 2, 1, 302, 4, 305, 4)))
	}
	probe := func(d *netflow.Decoder, domain uint32) (known [3]bool) {
		for i, id := range []uint16{256, 257, 300} {
			known[i] = len(feedAll(d, msg10(domain, 0, set(id, make([]byte, 8))))[0].Unknown) == 0
		}
		return known
	}
	for _, c := range []struct {
		name     string
		withdraw []byte
		want     [3]bool
	}{
		{"one", set(2, u16s(256, 0)), [3]bool{false, true, true}},
		{"all data", set(2, u16s(2, 0)), [3]bool{false, false, true}},
		{"all options", set(3, u16s(3, 0)), [3]bool{true, true, false}},
		{"nothing known", set(2, u16s(999, 0)), [3]bool{true, true, true}},
	} {
		d := newDecoder(formatstest.NewTable(formatstest.Columns("bytes")), netflow.Options{})
		feedAll(d, define(1), define(2), msg10(1, 0, c.withdraw))
		if got := probe(d, 1); got != c.want {
			t.Errorf("withdraw %s: known %v, want %v", c.name, got, c.want)
		}
		if got := probe(d, 2); got != [3]bool{true, true, true} {
			t.Errorf("withdraw %s: the other domain has %v left", c.name, got)
		}
	}
}

// FuzzDecode: any two datagrams, in any order of template and data, account for every byte, make no more records than bytes, and
// leave the decoder as it was for others.
func FuzzDecode(f *testing.F) {
	for _, c := range malformed(f) {
		f.Add(c[0], c[len(c)-1])
	}
	f.Add(msg10(1, 0, set(2, tmpl(256, 96, 0xffff, 70, 3, 1, 3)), set(256, []byte{3, 'a', 'b', 'c', 0, 1, 0x11, 1, 2, 3})),
		msg10(1, 0, set(3, u16s(300, 3, 1, 302, 4, 305, 4, 160, 8))))
	schema := flow.Schema
	f.Fuzz(func(t *testing.T, a, b []byte) {
		tab := formatstest.NewTable(schema)
		d := newDecoder(tab, netflow.Options{Window: time.Hour})
		feedAll(d, a, b, a, b)
		if n := uint64(2*len(a) + 2*len(b)); d.Tally.Bytes() != n {
			t.Errorf("%d bytes accounted for of %d: %+v", d.Tally.Bytes(), n, d.Tally)
		}
		if d.Tally.Records != uint64(tab.Rows()) || tab.Rows() > 2*len(a)+2*len(b) {
			t.Errorf("%d records counted, %d rows of %d bytes", d.Tally.Records, tab.Rows(), 2*len(a)+2*len(b))
		}
		before := tab.Rows()
		feedAll(d, msg9(99, 1, set(0, tmpl(300, common...))), msg9(99, 2, set(300, commonRecord)))
		if tab.Rows() != before+1 {
			t.Errorf("a good datagram was not decoded afterwards")
		}
		if got := formatstest.Column[uint64](tab, "bytes"); got[len(got)-1] != 1024 {
			t.Errorf("a good datagram has %d bytes, want 1024", got[len(got)-1])
		}
	})
}

func TestReasonsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range netflow.Reasons() {
		if s := r.String(); s == "" || seen[s] {
			t.Errorf("reason %d is named %q", r, s)
		}
		seen[r.String()] = true
	}
	if diff := cmp.Diff("", netflow.Padding.Sentence()); diff != "" {
		t.Error(diff)
	}
}
