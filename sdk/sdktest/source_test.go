package sdktest

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/weirflow/weir/sdk"
)

// scroll is a world of two partitions of 200 rows and their saved positions.
type scroll struct {
	mu    sync.Mutex
	saved map[string]sdk.Position
}

const scrollRows = 200

// scrollQuit is closed when the tests of faults are over.
var scrollQuit chan struct{}

// scrollSource reads a scroll. With a fault named it does one thing wrong.
func scrollSource(fault string, world **scroll) sdk.Plugin {
	return sdk.Plugin{
		Spec: sdk.Spec{
			Kind: sdk.KindSource, Type: "scroll", Doc: "reads", Commits: true, Reasons: []sdk.Reason{"odd"},
			Output: func(any, *sdk.Schema) ([]*sdk.Schema, error) { return []*sdk.Schema{relaySchema}, nil },
		},
		Source: func(env *sdk.Env, _ any) (sdk.Source, error) {
			return &scrollNode{env: env, fault: fault, world: *world, stop: make(chan struct{})}, nil
		},
	}
}

type scrollNode struct {
	env   *sdk.Env
	fault string
	world *scroll
	next  int
	stop  chan struct{}
}

func (s *scrollNode) Accept(context.Context) (sdk.Reader, error) {
	if s.fault == "accept deaf to cancel" && s.next == 2 {
		<-scrollQuit
	}
	if s.next < 2 {
		select {
		case <-s.stop:
			return nil, io.EOF
		default:
		}
		p := &sdk.Partition{Source: "node", Name: "scroll/" + string(rune('a'+s.next)), Life: 1}
		s.next++
		s.world.mu.Lock()
		pos := s.world.saved[p.Name]
		s.world.mu.Unlock()
		pos.Partition = p
		r := &scrollReader{s: s, p: p, pos: pos, at: pos.Next, last: -1}
		switch s.fault {
		case "planned forgotten":
			r.pos.Ends = nil
		case "read again":
			r.at = 0
		case "row lost":
			r.at++
		}
		return r, nil
	}
	return nil, io.EOF
}

func (s *scrollNode) Save(_ context.Context, ps []sdk.Position) error {
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	for _, p := range ps {
		s.world.saved[p.Partition.Name] = p
	}
	return nil
}

func (s *scrollNode) Stop(context.Context) error {
	if s.fault != "goes on after stop" {
		close(s.stop)
	}
	return nil
}

func (s *scrollNode) Close(context.Context) error { return nil }

type scrollReader struct {
	s     *scrollNode
	p     *sdk.Partition
	pos   sdk.Position
	at    int64
	last  int64
	calls int
	prev  *sdk.Batch
}

func (r *scrollReader) Partition() *sdk.Partition { return r.p }
func (r *scrollReader) Planned() sdk.Position     { return r.pos }
func (r *scrollReader) Ready() <-chan struct{}    { return nil }

func (r *scrollReader) Read(ctx context.Context, wait time.Duration) (*sdk.Batch, error) {
	fault := r.s.fault
	r.calls++
	switch {
	case fault == "blocks" && r.calls == 3:
		<-ctx.Done()
	case fault == "read deaf to cancel" && wait >= time.Minute:
		<-scrollQuit
	}
	select {
	case <-r.s.stop:
		if fault == "end forgotten" && r.calls%2 == 0 {
			return nil, nil
		}
		return nil, sdk.ErrRevoked
	default:
	}
	if r.calls%4 == 0 && r.at < scrollRows {
		return nil, nil
	}
	if r.at >= scrollRows {
		if fault == "goes on after stop" {
			return nil, nil
		}
		return nil, io.EOF
	}
	end := min(r.at+20, scrollRows)
	if fault == "end crossed" && r.pos.Next > 0 {
		end = min(r.at+30, scrollRows)
	} else {
		for _, e := range r.pos.Ends {
			if e.Last >= r.at {
				end = min(end, e.Last+1)
				break
			}
		}
	}
	n := int(end - r.at)
	s := r.s.env.Out[0]
	if fault == "wrong schema" {
		s = sdk.NewSchema(s.Fields()...)
	}
	b := r.s.env.NewBatch(s, n)
	for i := range n {
		sdk.Claim[uint64](b, 0, i, 1)[0] = uint64(r.at) + uint64(i)
	}
	if fault == "not sealed" && n > 1 {
		sdk.Claim[uint32](b, 1, 0, 1)[0] = 1
	}
	b.SetRows(n)
	if fault != "not sealed" {
		b.Seal()
	}
	rg := sdk.Range{Partition: r.p, First: r.at, Last: end - 1}
	switch fault {
	case "positions do not ascend":
		rg.First = 0
	case "another partition":
		rg.Partition = &sdk.Partition{Source: "node", Name: "other"}
	case "memory reused":
		if r.prev != nil && r.calls%3 == 0 {
			sdk.Values[uint64](r.prev, 0)[0]++
		}
		r.prev = b
	}
	b.Root(rg)
	if fault != "not received" || r.calls%3 > 0 {
		r.s.env.Books.Received.Add(uint64(n))
	}
	if fault == "left in hand" {
		r.s.env.Books.InHand.Set(1)
	}
	r.at = end
	if fault == "batch with an error" {
		return b, errors.New("too")
	}
	return b, nil
}

func (r *scrollReader) Close(context.Context) error { return nil }

func scrollCase(world **scroll) SourceCase {
	return SourceCase{Rows: 2 * scrollRows, Config: func(testing.TB) any {
		*world = &scroll{saved: map[string]sdk.Position{}}
		return nil
	}}
}

func TestScrollPasses(t *testing.T) {
	var world *scroll
	Source(t, scrollSource("", &world), scrollCase(&world))
}

func TestBrokenSourcesFail(t *testing.T) {
	defer func(d time.Duration) { patience = d }(patience)
	scrollQuit = make(chan struct{})
	defer close(scrollQuit)
	for fault, want := range map[string]string{
		"accept deaf to cancel":   "Accept has not returned 250ms after its context was cancelled",
		"read deaf to cancel":     "Read with a cancelled context and a wait of an hour has not returned",
		"planned forgotten":       "is not what was saved",
		"read again":              "where reading goes on",
		"row lost":                "want 400",
		"goes on after stop":      "nothing has come",
		"blocks":                  "Read has not returned",
		"end forgotten":           "for ever",
		"end crossed":             "crosses the planned end",
		"wrong schema":            "the very schema",
		"not sealed":              "not sealed",
		"positions do not ascend": "positions ascend",
		"another partition":       "came from the reader of",
		"memory reused":           "changed before it was released",
		"not received":            "books do not balance",
		"left in hand":            "in hand 1",
		"batch with an error":     "a batch with an error",
	} {
		t.Run(fault, func(t *testing.T) {
			patience = 20 * time.Second
			switch fault {
			case "blocks", "goes on after stop", "accept deaf to cancel", "read deaf to cancel":
				patience = 250 * time.Millisecond
			}
			var world *scroll
			said := witnessed(t, func(t testing.TB) {
				sourceWays(t, scrollSource(fault, &world), []SourceCase{scrollCase(&world)}, false)
			})
			wantFailure(t, said, want)
			switch fault {
			case "wrong schema", "not sealed", "memory reused":
				return // what crosses as bytes is the host's own
			case "accept deaf to cancel", "read deaf to cancel":
				return // the host's end of the link hears of it
			}
			said = witnessed(t, func(t testing.TB) { sourceWays(t, scrollSource(fault, &world), []SourceCase{scrollCase(&world)}, true) })
			wantFailure(t, said, want)
		})
	}
}
