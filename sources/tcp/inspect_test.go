package tcp

import (
	"net"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weirflow/weir/sdk"
)

// listener is what the rig's source tells of its first address.
func (x *rig) listener() Listener {
	x.Helper()
	a, err := x.src.Inspect(sdk.TopicSockets)
	if err != nil {
		x.Fatal(err)
	}
	return a.(*Listeners).Sockets[0]
}

// The source tells who is connected and what came of each, whole messages only, who sent most first; of other topics it tells nothing.
func TestConnectionsAreTold(t *testing.T) {
	x := start(t, defaults(func(c *Config) { c.MaxConnections = 7 }), true)
	small, large, silent := x.dial(), x.dial(), x.dial()
	x.send(small, message(1, 100), message(2, 50)[:20])
	x.send(large, message(1, 1000), message(2, 3000))
	x.until("all messages are there", func() bool { return x.got() == 3 })
	x.until("all are connected", func() bool { return len(x.listener().Connections) == 3 })
	at := func(c net.Conn) string { return c.LocalAddr().String() }
	got := x.listener()
	want := Listener{Protocol: "tcp", Listen: x.src.Opened[0].port.local().String(), MaxConnections: 7, MaxPerAddress: 256, SlabsAtMost: lent, Connections: []Connection{
		{Peer: at(large), Messages: 2, Bytes: 4000}, {Peer: at(small), Messages: 1, Bytes: 100}, {Peer: at(silent)}}}
	if d := cmp.Diff(want, got, cmpopts.IgnoreFields(Connection{}, "Since", "Last"), cmpopts.IgnoreFields(Listener{}, "SlabsLent")); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for i, c := range got.Connections {
		if (c.Last != nil) != (i < 2) || c.Since.IsZero() {
			t.Errorf("%s: since %v, last %v", c.Peer, c.Since, c.Last)
		}
	}
	if a, err := x.src.Inspect("weather"); a != nil || err != nil {
		t.Errorf("of something else: %v, %v", a, err)
	}
	small.Close()
	x.until("one has gone", func() bool { return len(x.listener().Connections) == 2 })
	x.end()
	if a := x.listener(); len(a.Connections) != 0 {
		t.Errorf("after the end %v are connected", a.Connections)
	}
}

// An exporter that is held back because the pipeline has no room is told as waiting, with the time, and once it goes on with how often
// and how long.
func TestAnExporterThatIsHeldBackIsTold(t *testing.T) {
	x := start(t, defaults(), false)
	stall := make(chan struct{})
	x.stall = stall
	x.read()
	c := x.dial()
	stopped, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		defer c.Close()
		for i := uint32(0); ; i++ {
			select {
			case <-stopped:
				return
			default:
			}
			if _, err := c.Write(message(i, 1400)); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	x.until("the exporter waits, and no buffer is free", func() bool {
		l := x.listener()
		return len(l.Connections) == 1 && l.Connections[0].Waiting && l.SlabsLent == l.SlabsAtMost && l.Connections[0].Waited > 0.1
	})
	close(stopped)
	close(stall)
	x.until("it goes on, or has gone", func() bool {
		l := x.listener()
		return len(l.Connections) == 0 || !l.Connections[0].Waiting && l.Connections[0].Waits > 0 && l.Connections[0].Waited > 0.1
	})
	<-done
	x.end()
}

// What a wait adds up to does not jump when it ends.
func TestWaitsAddUp(t *testing.T) {
	began := time.Unix(1_000, 0)
	c := &conn{}
	c.tally.since = began
	c.tally.waiting(began)
	if got := c.tell(began.Add(2 * time.Second)); !got.Waiting || got.Waited != 2 || got.Waits != 1 {
		t.Errorf("while it waits: %+v", got)
	}
	c.tally.goesOn(3 * time.Second)
	c.tally.waiting(began.Add(10 * time.Second))
	if got := c.tell(began.Add(11 * time.Second)); !got.Waiting || got.Waited != 4 || got.Waits != 2 {
		t.Errorf("in the second wait: %+v", got)
	}
	c.tally.goesOn(time.Second)
	if got := c.tell(began.Add(time.Minute)); got.Waiting || got.Waited != 4 || got.Waits != 2 {
		t.Errorf("after it: %+v", got)
	}
}
