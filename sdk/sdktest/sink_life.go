package sdktest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirflow/weir/sdk"
)

// sinkLife is one instance of the sink.
type sinkLife struct {
	t     testing.TB
	s     *sinkSuite
	world *world
	leaks goleak.Option
	sink  sdk.Sink

	mu     sync.Mutex
	blocks []*block
}

// block is one block that Write was given.
type block struct {
	l       *sinkLife
	w       *writer
	b       *sdk.Block
	i       int
	at      []int // for each row its number in the whole block
	prints  []uint64
	refused bool // Write returned an error
	dones   int
	err     error
	back    bool
	judged  bool
}

func (s *sinkSuite) life(t testing.TB, cfg any, in *sdk.Schema) *sinkLife {
	t.Helper()
	l := &sinkLife{t: t, s: s, leaks: goleak.IgnoreCurrent()}
	l.world = newWorld(t, WithIn(in))
	var err error
	if s.loop {
		l.sink, err = loopSink(t, s.p, l.world.env, cfg)
	} else {
		err = guard("the constructor", func() (err error) { l.sink, err = s.p.Sink(l.world.env, cfg); return err })
	}
	if err != nil {
		t.Fatalf("the constructor: %v", err)
	}
	return l
}

// writer is one writer with its schema.
type writer struct {
	w      sdk.Writer
	schema *sdk.Schema
}

func (l *sinkLife) open(schema *sdk.Schema) *writer {
	l.t.Helper()
	w := &writer{schema: schema}
	err := within(l.t, patience, "Open", func() (err error) { w.w, err = l.sink.Open(l.t.Context(), schema); return err })
	if err != nil {
		l.t.Fatalf("Open: %v", err)
	}
	return w
}

// make builds block i without the rows that were refused: the same whenever it is asked for.
func (l *sinkLife) make(w *writer, i int) *block {
	r := rand.New(rand.NewPCG(11, uint64(i)))
	p := &sdk.Partition{Source: "source", Name: fmt.Sprintf("topic/%d", i%2), Life: 1}
	x := &block{l: l, w: w, i: i, b: &sdk.Block{
		Range: sdk.Range{Partition: p, First: int64(1000 * i), Last: int64(1000*i + 999)},
		Key:   fmt.Sprintf("group/test/node/source/topic/%d/%d-%d", i%2, 1000*i, 1000*i+999),
	}}
	whole := 0
	for k := range 1 + i%3 {
		tmpl := l.world.env.Pool.Get(l.s.c.In, 256)
		if l.s.c.Input != nil {
			l.s.c.Input(r, tmpl)
		} else {
			Fill(r, tmpl, 1+r.IntN(200))
		}
		tmpl.Seal()
		b := l.world.env.Pool.Get(w.schema, 256)
		var rows []uint16
		for row := range tmpl.Rows() {
			if !l.s.out[i][whole+row] {
				rows = append(rows, uint16(row))
				x.at = append(x.at, whole+row)
			}
		}
		whole += tmpl.Rows()
		if rows != nil {
			sdk.NewGather(l.s.c.In, w.schema).Append(b, tmpl, rows, 0)
		}
		b.Seal()
		tmpl.Done(sdk.Dropped)
		tmpl.Release()
		b.Root(sdk.Range{Partition: p, First: int64(1000*i + 10*k), Last: int64(1000*i + 10*k + 9)})
		x.b.Batches = append(x.b.Batches, b)
		x.prints = append(x.prints, fingerprint(b))
	}
	x.b.Rows = len(x.at)
	x.b.OnCopied = x.giveBack
	return x
}

// giveBack takes the batches from the sink and spoils their memory.
func (x *block) giveBack() {
	x.l.mu.Lock()
	defer x.l.mu.Unlock()
	if x.back {
		return
	}
	x.back = true
	schema := x.b.Batches[0].Schema()
	for k, b := range x.b.Batches {
		if fingerprint(b) != x.prints[k] {
			x.l.t.Errorf("the sink changed a batch of block %d: they are immutable", x.i)
		}
		if err := guard("the last Release of a block's batch", func() error { b.Done(sdk.Delivered); b.Release(); return nil }); err != nil {
			x.l.t.Errorf("block %d: %v", x.i, err)
		}
	}
	spoil(x.l.world.env.Pool, schema, 256, 4)
}

func (x *block) done(err error) {
	x.giveBack()
	x.l.mu.Lock()
	defer x.l.mu.Unlock()
	x.dones++
	x.err = err
	switch {
	case x.dones > 1:
		x.l.t.Errorf("done of block %d came %d times", x.i, x.dones)
	case x.refused:
		x.l.t.Errorf("done of block %d came though Write returned an error", x.i)
	}
}

// write writes block i until it is taken, as core does. What its done says later is looked at when the sink is flushed.
func (l *sinkLife) write(w *writer, i int) {
	l.t.Helper()
	for tries := 0; ; tries++ {
		if tries == 200 {
			l.t.Fatalf("block %d has failed %d times", i, tries)
		}
		x := l.make(w, i)
		l.s.rows[i] = x.b.Rows
		if x.b.Rows == 0 {
			x.giveBack()
			return
		}
		if n, ok := w.w.(sdk.Noter); ok {
			note, err := n.Note(x.b)
			if err != nil {
				l.t.Fatalf("Note of block %d: %v", i, err)
			}
			if len(note) > sdk.MaxNote {
				l.t.Errorf("Note of block %d has %d bytes, at most %d", i, len(note), sdk.MaxNote)
			}
			x.b.Note = note
		}
		l.mu.Lock()
		l.blocks = append(l.blocks, x)
		l.mu.Unlock()
		err := within(l.t, patience, "Write", func() error { return w.w.Write(l.t.Context(), x.b, x.done) })
		l.mu.Lock()
		if err != nil {
			x.refused = true
			if x.dones > 0 {
				l.t.Errorf("Write of block %d returned an error and called done", i)
			}
		} else {
			err = x.err
		}
		refused := x.refused
		l.mu.Unlock()
		if refused {
			x.giveBack()
		}
		l.held(w)
		if err == nil {
			return
		}
		x.judged = true
		l.judge(x, err)
	}
}

// writeCancelled writes block i when the context is cancelled already, and if it is not taken, once more without that.
func (l *sinkLife) writeCancelled(w *writer, i int) {
	l.t.Helper()
	x := l.make(w, i)
	l.s.rows[i] = x.b.Rows
	if x.b.Rows == 0 {
		x.giveBack()
		return
	}
	ctx, cancel := context.WithCancel(l.t.Context())
	cancel()
	l.mu.Lock()
	l.blocks = append(l.blocks, x)
	l.mu.Unlock()
	err := within(l.t, patience, "Write with a cancelled context", func() error { return w.w.Write(ctx, x.b, x.done) })
	if err == nil {
		return // taken: Flush asks for it
	}
	l.mu.Lock()
	x.refused = true
	if x.dones > 0 {
		l.t.Errorf("Write of block %d returned an error and called done", i)
	}
	l.mu.Unlock()
	x.giveBack()
	l.write(w, i)
}

// judge checks an error that a block met and leaves the refused rows out from now on.
func (l *sinkLife) judge(x *block, err error) {
	l.t.Helper()
	e, ok := errors.AsType[*sdk.Error](err)
	if !ok {
		time.Sleep(5 * time.Millisecond) // transient
		return
	}
	if !constant.MatchString(e.Code) {
		l.t.Errorf("block %d failed with code %q: a code is a metric label, a constant in snake_case", x.i, e.Code)
	}
	switch {
	case e.Class == sdk.Fatal:
		l.t.Fatalf("block %d: %v", x.i, err)
	case e.Class == sdk.Transient:
		time.Sleep(5 * time.Millisecond)
		return
	case !l.s.c.Refuses:
		l.t.Fatalf("block %d was refused: %v", x.i, err)
	}
	rows := e.Rows
	if rows == nil {
		for row := range x.b.Rows {
			rows = append(rows, row)
		}
	}
	out := l.s.out[x.i]
	if out == nil {
		out = map[int]bool{}
		l.s.out[x.i] = out
	}
	for _, row := range rows {
		if row < 0 || row >= len(x.at) || out[x.at[row]] {
			l.t.Fatalf("the error of block %d names row %d of %d, or names it twice: %v", x.i, row, len(x.at), err)
		}
		out[x.at[row]] = true
	}
}

// held checks that the memory of the writer's own copies is what the specification says of it.
func (l *sinkLife) held(w *writer) {
	l.t.Helper()
	most := int64(0)
	if f := l.s.p.Spec.Copies; f != nil {
		most = int64(f(l.s.cfg))
	}
	if h := w.w.Held(); h < 0 || h > most {
		l.t.Errorf("Held is %d, and Spec.Copies says at most %d", h, most)
	}
}

// flush asks for all that was taken and expects every done. What failed is written again until nothing has.
func (l *sinkLife) flush(w *writer) {
	l.t.Helper()
	for failed := true; failed; {
		if err := within(l.t, patience, "Flush", func() error { return w.w.Flush(l.t.Context()) }); err != nil {
			l.t.Fatalf("Flush: %v", err)
		}
		l.held(w)
		failed = false
		l.mu.Lock()
		blocks := slices.Clone(l.blocks)
		l.mu.Unlock()
		for _, x := range blocks {
			if x.w != w || x.refused || x.judged {
				continue
			}
			l.mu.Lock()
			dones, err := x.dones, x.err
			l.mu.Unlock()
			if dones == 0 {
				l.t.Errorf("block %d is not done after Flush", x.i)
			}
			if x.judged = true; err != nil {
				failed = true
				l.judge(x, err)
				l.write(w, x.i)
			}
		}
	}
}

func (l *sinkLife) close(w *writer) {
	l.t.Helper()
	for range 2 {
		if err := within(l.t, patience, "Close of a writer", func() error { return w.w.Close(l.t.Context()) }); err != nil {
			l.t.Errorf("Close of a writer: %v", err)
		}
	}
}

// end closes all and checks that nothing is left.
func (l *sinkLife) end(w *writer) {
	l.t.Helper()
	l.flush(w)
	l.close(w)
	for range 2 {
		if err := within(l.t, patience, "Close", func() error { return l.sink.Close(context.WithoutCancel(l.t.Context())) }); err != nil {
			l.t.Errorf("Close: %v", err)
		}
	}
	l.mu.Lock()
	for _, x := range l.blocks {
		if n := x.dones; !x.refused && n != 1 {
			l.t.Errorf("block %d was done %d times by the end", x.i, n)
		}
	}
	l.mu.Unlock()
	l.world.left(l.t, l.sink, l.leaks, ": a sink keeps none after done")
}
