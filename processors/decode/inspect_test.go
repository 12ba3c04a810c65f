package decode

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/sdk"
)

func (c *catch) exporters() []Exporter {
	c.t.Helper()
	a, err := c.proc.(*decode).hold.Object().(sdk.Inspector).Inspect(sdk.TopicExporters)
	if err != nil {
		c.t.Fatal(err)
	}
	return a.(*Exporters).Exporters
}

// What an exporter has told and what it has not is told: templates, what waited for them, and gaps in its numbers.
func TestInspect(t *testing.T) {
	c := lane(t, nil, ports)
	ignore := cmpopts.IgnoreFields(Exporter{}, "Last")
	check := func(what string, want Exporter) {
		t.Helper()
		if d := cmp.Diff([]Exporter{want}, c.exporters(), ignore); d != "" {
			t.Errorf("%s (-want +got): %s", what, d)
		}
	}
	want := Exporter{Addr: netip.AddrFrom16(router).Unmap().String(), Waited: 1, Missing: &Missing{9, domain, 256}}
	c.give(none, numbered(1, data(256, 1)))
	check("data first", want)
	c.give(none, numbered(2, template(256)))
	want.Templates, want.Domains, want.Missing = 1, 1, nil
	check("then its template", want)
	c.give(none, numbered(3, data(256, 1)), numbered(10, data(256, 2), data(300, 3)))
	want.Waited, want.Missing = 2, &Missing{9, domain, 300}
	check("then a gap", want)
	for range 5 {
		c.tick(time.Second)
	}
	want.NoTemplate, want.LostDatagrams = 1, 6
	check("when all time is over", want)
	if x, err := c.proc.(*decode).told.Inspect("weather"); x != nil || err != nil {
		t.Error(x, err)
	}
}

// A field that is passed over for its length is named where its exporter is, and noted once, however often the template comes.
func TestInspectWrongLength(t *testing.T) {
	c := lane(t, nil, ports)
	odd := define(256, 8, 5, 7, 2, 1, 16)
	c.give(none, v9(odd), v9(odd, formatstest.Set(256, []byte{1, 2, 3, 4, 5}, formatstest.Uint16s(99), make([]byte, 16))))
	c.tick(0)
	c.want("flows", []uint16{99}, c.ports)
	c.want("noted", map[sdk.Reason]uint64{noteLengths: 2}, c.noted())
	e := c.exporters()[0]
	if d := cmp.Diff(&WrongLength{domain, 256, "sourceIPv4Address", 5}, e.WrongLength); d != "" || e.WrongLengths != 2 {
		t.Errorf("%d fields, the first (-want +got): %s", e.WrongLengths, d)
	}
}

// Of however many exporters something is missing, a bounded number is remembered.
func TestMissingIsBounded(t *testing.T) {
	c := lane(t, nil, ports)
	d := c.proc.(*decode)
	for i := range 3 * maxMissing {
		m := miss{template: Missing{Version: 9, ID: 256}}
		binary.BigEndian.PutUint32(m.addr[:], uint32(i))
		d.parked.misses = append(d.parked.misses, m, miss{addr: m.addr, lost: true})
	}
	d.parked.tell()
	if n := len(c.exporters()); n != maxMissing {
		t.Errorf("%d are remembered", n)
	}
	for _, e := range c.exporters() {
		if e.Waited != 1 || e.NoTemplate != 1 || e.Missing == nil {
			t.Fatalf("%+v", e)
		}
	}
}

// Agents of sFlow are exporters too: the rates they tell, gaps in the numbers of all their sub-agents, and what was wrong.
func TestInspectAgents(t *testing.T) {
	c := lane(t, nil, ports)
	from := func(sub, sequence, rate uint32) []byte {
		p := sample()
		binary.BigEndian.PutUint32(p[12:], sub)
		binary.BigEndian.PutUint32(p[16:], sequence)
		binary.BigEndian.PutUint32(p[44:], rate)
		return p
	}
	cut := append(from(1, 7, 100), 0, 0, 0, 1)
	cut[27] = 2 // samples, of which the second has four bytes
	c.give(none, from(1, 1, 100), from(1, 2, 200), from(2, 50, 0), from(1, 6, 100), cut)
	for range 3 {
		c.tick(2 * time.Second)
	}
	agents := c.proc.(*decode).sflow.hold.Object().(sdk.Inspector)
	told, err := agents.Inspect(sdk.TopicExporters)
	if err != nil {
		t.Fatal(err)
	}
	heard := base
	want := &Exporters{[]Exporter{{Addr: "10.0.0.1", Last: &heard, LostDatagrams: 3, SubAgents: 2, SamplingRates: []uint64{100, 200}, Unrated: 1, Rejected: 4,
		From: netip.AddrFrom16(router).Unmap().String()}}}
	if d := cmp.Diff(want, told); d != "" {
		t.Errorf("(-want +got): %s", d)
	}
	c.want("noted", map[sdk.Reason]uint64{noteSampling: 1, noteRejected: 4}, c.noted())
	if x, err := agents.Inspect("weather"); x != nil || err != nil {
		t.Error(x, err)
	}
}
