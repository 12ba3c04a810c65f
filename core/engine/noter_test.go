package engine

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/sdktest/delivery"
)

// noted is a store that needs a note to know a block again: it keeps what it was asked and what it was given.
type noted struct {
	mu      sync.Mutex
	long    bool              // notes have the most bytes that fit
	answers bool              // else a block is taken and never answered
	notes   map[string][]byte // said before a segment was prepared, by key
	given   map[string][]byte // with the block, by key
	early   []string          // blocks that were written before their end was saved
	saved   func() []sdk.End
}

func (n *noted) plugin() sdk.Plugin {
	return sdk.Plugin{
		Spec: sdk.Spec{Kind: sdk.KindSink, Type: "noted", Doc: "needs notes", HonoursKeys: true, Config: func() any { return &struct{}{} }},
		Sink: func(*sdk.Env, any) (sdk.Sink, error) { return n, nil },
	}
}

func (n *noted) Open(context.Context, *sdk.Schema) (sdk.Writer, error) { return n, nil }
func (n *noted) Flush(context.Context) error                           { return nil }
func (n *noted) Held() int64                                           { return 0 }
func (n *noted) Close(context.Context) error                           { return nil }
func (n *noted) Note(b *sdk.Block) ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	note := fmt.Appendf(nil, "offset %d of %s", len(n.notes), b.Key)
	if n.long {
		note = append(note, make([]byte, sdk.MaxNote-len(note))...)
	}
	n.notes[b.Key] = note
	return note, nil
}
func (n *noted) Write(_ context.Context, b *sdk.Block, done func(error)) error {
	n.mu.Lock()
	n.given[b.Key] = bytes.Clone(b.Note)
	found := false
	for _, e := range n.saved() {
		found = found || e.Last == b.Range.Last && bytes.Equal(e.Notes["n"], b.Note)
	}
	if !found {
		n.early = append(n.early, b.Key)
	}
	answers := n.answers
	n.mu.Unlock()
	if answers {
		done(nil)
	}
	return nil
}

// A sink that needs notes says them before its segment is prepared, and a life after a crash gives it back the same note with the
// same block.
func TestANoteComesBackAfterACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		world := delivery.NewMemory(delivery.Config{Records: 400, Bounded: true, Session: time.Second})
		saved := func() []sdk.End {
			c, _ := world.Committed(t.Context(), 0)
			p, err := sdk.ParsePosition(c.Value)
			if err != nil {
				t.Error(err)
			}
			return p.Ends
		}
		life := func(n *noted) (*delivery.Process, *Run) {
			p := delivery.NewProcess(world)
			pl := planned(t, `
drain_timeout: 1s
sources:
  in: {type: numbered, with: {rows: 40}}
processors:
  - {id: stamp, type: stamp}
sinks:
  a: {type: keyed_store, batch: {rows: 100, age: 300ms}}
  n: {type: noted, in_flight: 8, batch: {rows: 100, age: 300ms}}
`, delivery.Source(p), delivery.Stamp, delivery.Store(p), n.plugin())
			r, err := New(pl, Options{Dir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			r.Start()
			return p, r
		}
		first := &noted{notes: map[string][]byte{}, given: map[string][]byte{}, saved: saved}
		p, r := life(first)
		time.Sleep(3 * time.Second)
		p.Kill()
		r.fail(delivery.ErrKilled)
		<-r.Done()
		if len(first.early) > 0 || len(first.given) == 0 {
			t.Errorf("%d blocks were written, before their note was saved: %v", len(first.given), first.early)
		}
		if len(first.notes) != 1 {
			t.Errorf("%d notes were said while the first block had no answer, want one prepared segment at a time", len(first.notes))
		}
		if d := cmp.Diff(first.notes, first.given); d != "" {
			t.Error("a block was written with another note than was said:", d)
		}
		second := &noted{answers: true, notes: map[string][]byte{}, given: map[string][]byte{}, saved: saved}
		_, r = life(second)
		<-r.Done()
		if err := r.Wait(); err != nil {
			t.Error(err)
		}
		for key, note := range first.given {
			if d := cmp.Diff(note, second.given[key]); d != "" {
				t.Errorf("the second life wrote block %s with another note: %s", key, d)
			}
			if _, again := second.notes[key]; again {
				t.Errorf("a new note was asked for block %s, which was planned", key)
			}
			delete(second.given, key)
		}
		if d := cmp.Diff(second.notes, second.given); d != "" {
			t.Error("in the second life, a block was written with another note than was said:", d)
		}
		tally, _ := world.Tally(t.Context())
		if err := delivery.Check(tally, delivery.Want{Stores: []string{"a"}, Keyed: true}).Err(); err != nil {
			t.Error(err)
		}
		balanced(t, r)
	})
}
