package netflow_test

import (
	"sync"
	"testing"
	"time"

	"github.com/weirflow/weir/formats/emulate"
	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/formats/netflow"
)

// Lanes share a store: each sees what any of them has learned, while others learn, forget and count.
func TestLanesShareAStore(t *testing.T) {
	const lanes = 4
	s := netflow.NewStore(netflow.Limits{Exporters: 100, PerExporter: 50, Templates: 1000, Age: time.Hour})
	tabs := make([]*formatstest.Table, lanes)
	var done sync.WaitGroup
	for l := range lanes {
		tabs[l] = formatstest.NewTable(formatstest.Columns("bytes", "sampling_rate", "flow_start"))
		r := newRing(t, emulate.Options{Exporters: 10, Samplers: 2, Sampling: 10, Records: 4,
			Mix: emulate.Mix{{Protocol: emulate.NetFlowV9, Weight: 1}, {Protocol: emulate.IPFIX, Weight: 1}, {Protocol: emulate.NetFlowV5, Weight: 1}}}, 500)
		d := netflow.NewDecoder(s, tabs[l].Out, netflow.Options{Window: time.Hour}, tabs[l])
		done.Go(func() {
			for round := range 3 {
				d.Now = int64(round+1) * 1e9
				if got := r.feed(d, 500); got != r.Records {
					t.Errorf("lane %d: %d records of %d", l, got, r.Records)
				}
				// A template that changes each time, under the eyes of all.
				feedAll(d, msg9(9, 1, set(0, tmpl(300, 1, uint16(1+(l+round)%8)), tmpl(uint16(301+l), common...))))
				s.Sequences.Settle(d.Now, false)
				s.Expire(d.Now)
			}
		})
	}
	done.Wait()
	for l, tab := range tabs {
		for _, v := range formatstest.Column[uint64](tab, "bytes") {
			if v == 0 {
				t.Fatalf("lane %d made a flow of zeros", l)
			}
		}
	}
	if _, _, different := s.Size(); different > 40 {
		t.Errorf("%d different templates", different)
	}
	if n := len(s.Exporters()); n != 10 { // ours has the address of the first
		t.Errorf("%d exporters are listed, want 10", n)
	}
}
