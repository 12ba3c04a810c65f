package netflow_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/formats/netflow"
	"github.com/weirflow/weir/sdk/flow"
)

// inSession decodes one message that came by a connection.
func inSession(d *netflow.Decoder, session netflow.Session, payload []byte) netflow.Result {
	r := d.Decode(&netflow.Datagram{Payload: payload, Addr: exporter, Session: session, Received: exportedAt * 1e9})
	d.Run()
	return *r
}

// Two connections of one exporter give one template id different meanings; each is read by its own, and neither knows what the
// other has told.
func TestSessionsHaveTheirOwnTemplates(t *testing.T) {
	tab := formatstest.NewTable(flow.Schema)
	d := newDecoder(tab, netflow.Options{})
	one, two := netflow.NewSession(7, 0, 1), netflow.NewSession(7, 1, 2)
	inSession(d, one, msg10(1, 0, set(2, tmpl(256, common...))))
	inSession(d, two, msg10(1, 0, set(2, tmpl(256, 1, 4, 2, 4))))
	data := msg10(1, 0, set(256, commonRecord))
	if r := inSession(d, one, data); r.Rows != 1 {
		t.Errorf("the first connection's record: %+v", r)
	}
	if r := inSession(d, two, msg10(1, 0, set(256, u32s(1, 2), u32s(3, 4)))); r.Rows != 2 {
		t.Errorf("the second connection's records: %+v", r)
	}
	for _, other := range []netflow.Session{0, netflow.NewSession(7, 2, 3), netflow.NewSession(8, 0, 1)} {
		if r := inSession(d, other, data); len(r.Unknown) != 1 {
			t.Errorf("session %x has a template that it never told: %+v", uint64(other), r)
		}
	}
}

// A session's templates go when its place is taken by another, and what comes late of it neither brings them back nor touches
// its successor's. The store is bounded by the places.
func TestSessionEndsWhenItsPlaceIsTaken(t *testing.T) {
	s := netflow.NewStore(netflow.DefaultLimits)
	tab := formatstest.NewTable(flow.Schema)
	d := netflow.NewDecoder(s, tab.Out, netflow.Options{}, tab)
	d.Now = exportedAt * 1e9
	template, data := msg10(1, 0, set(2, tmpl(256, common...))), msg10(1, 0, set(256, commonRecord))
	const places = 4
	serial := ^uint32(0) - 20 // the count of connections begins anew on the way
	for i := range 100 {
		serial++
		inSession(d, netflow.NewSession(7, uint16(i%places), serial), template)
		if e, n, _ := s.Size(); e > places || e != n {
			t.Fatalf("after %d connections the store has %d exporters and %d templates, for %d places", i+1, e, n, places)
		}
	}
	newest, ended := netflow.NewSession(7, 3, serial), netflow.NewSession(7, 3, serial-places)
	if r := inSession(d, ended, template); r.Bad != netflow.TooManyTemplates {
		t.Errorf("a template of an ended session was kept: %+v", r)
	}
	if r := inSession(d, ended, data); len(r.Unknown) != 1 {
		t.Errorf("an ended session has its template: %+v", r)
	}
	if r := inSession(d, newest, data); r.Rows != 1 {
		t.Errorf("the successor lost its template: %+v", r)
	}
	inSession(d, 0, template)
	if e, n, _ := s.Size(); e != places+1 || n != places+1 {
		t.Errorf("%d exporters and %d templates", e, n)
	}
	s.Expire(d.Now + int64(netflow.DefaultLimits.Age) + int64(time.Hour))
	if e, n, different := s.Size(); e != 0 || n != 0 || different != 0 {
		t.Errorf("%d exporters, %d templates, %d different after their age", e, n, different)
	}
}

// What is missing in a session's numbers when it ends is lost: nothing can close the gap.
func TestGapsOfAnEndedSessionAreLost(t *testing.T) {
	s := netflow.NewStore(netflow.DefaultLimits)
	tab := formatstest.NewTable(flow.Schema)
	d := netflow.NewDecoder(s, tab.Out, netflow.Options{}, tab)
	d.Now = exportedAt * 1e9
	s.Sequences.Settle(d.Now, false)
	template := set(2, tmpl(256, common...))
	inSession(d, netflow.NewSession(7, 0, 1), msg10(1, 0, template, set(256, commonRecord)))
	inSession(d, netflow.NewSession(7, 0, 1), msg10(1, 6, set(256, commonRecord)))             // 5 are missing
	inSession(d, netflow.NewSession(7, 0, 2), msg10(1, 100, template, set(256, commonRecord))) // begins anew
	if d := cmp.Diff(netflow.Lost{Flows: 5}, s.Sequences.Settle(d.Now+2e9, false)); d != "" {
		t.Errorf("lost (-want +got):\n%s", d)
	}
	if d := cmp.Diff(netflow.Lost{}, s.Sequences.Settle(d.Now+9e9, false)); d != "" {
		t.Errorf("lost again (-want +got):\n%s", d)
	}
}
