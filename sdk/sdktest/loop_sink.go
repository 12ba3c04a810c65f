package sdktest

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/weirflow/weir/sdk"
)

// remoteSink is the host's side of a sink behind the loop-back.
type remoteSink struct {
	env   *sdk.Env
	link  *link
	guest *sinkGuest
	books copyBooks

	mu     sync.Mutex
	writes map[uint64]*remoteWrite
	serial uint64
}

// remoteWrite is a block that was sent and is not settled.
type remoteWrite struct {
	done   func(error)
	copied func()
}

type openArgs struct{ Fields []sdk.Field }
type writeArgs struct {
	Writer  int
	ID      uint64
	Batches []wireBatch
	Rows    int
	Range   wireRange
	Key     string
	Note    []byte
}
type writerReply struct {
	ID    int
	Notes bool // the writer is an sdk.Noter
	Held  int64
	Note  []byte
	Books wireBooks
}
type doneArgs struct {
	ID  uint64
	Err *wireError
}

func loopSink(t testing.TB, p sdk.Plugin, env *sdk.Env, cfg any) (*remoteSink, error) {
	g, host := newGuest(t, &p, env, cfg)
	s := &remoteSink{env: env, link: host, writes: map[uint64]*remoteWrite{}}
	s.books.to = env.Books
	s.guest = &sinkGuest{guest: g, writers: map[int]*guestWriter{}}
	host.start(s.handle)
	g.link.start(s.guest.handle)
	t.Cleanup(func() { host.stop(); g.link.stop() })
	err := guard("the constructor", func() (err error) { s.guest.sink, err = p.Sink(g.world.env, g.cfg); return err })
	return s, err
}

func (s *remoteSink) handle(ctx context.Context, name string, body []byte) (any, error) {
	switch name {
	case "done":
		m := as[doneArgs](body)
		s.mu.Lock()
		w := s.writes[m.ID]
		s.mu.Unlock()
		if w == nil {
			return nil, fmt.Errorf("done of write %d, which does not exist", m.ID)
		}
		w.done(m.Err.error())
		return nil, nil
	case "copied":
		s.mu.Lock()
		w := s.writes[as[uint64](body)]
		s.mu.Unlock()
		w.copied()
		return nil, nil
	}
	return common(s.link, s.env, ctx, name, body)
}

func (s *remoteSink) Open(ctx context.Context, schema *sdk.Schema) (sdk.Writer, error) {
	var r writerReply
	if err := s.link.call(ctx, "open", openArgs{schema.Fields()}, &r); err != nil {
		return nil, err
	}
	w := &remoteWriter{s: s, id: r.ID}
	if r.Notes {
		return &remoteNoter{w}, nil
	}
	return w, nil
}

func (s *remoteSink) Close(ctx context.Context) error { return s.link.call(ctx, "close", true, nil) }

func (s *remoteSink) end() int64 {
	s.link.stop()
	s.guest.link.stop()
	return s.guest.world.env.Pool.InUse()
}

type remoteWriter struct {
	s    *remoteSink
	id   int
	held atomic.Int64
}

// remoteNoter is a writer whose guest is an sdk.Noter.
type remoteNoter struct{ *remoteWriter }

func (w *remoteNoter) Note(b *sdk.Block) ([]byte, error) {
	r, err := w.call(context.Background(), "note", w.pack(0, b))
	return r.Note, err
}

func (w *remoteWriter) pack(id uint64, b *sdk.Block) writeArgs {
	l := w.s.link
	m := writeArgs{Writer: w.id, ID: id, Rows: b.Rows, Range: wireRange{l.parts.export(b.Range.Partition), b.Range.First, b.Range.Last}, Key: b.Key, Note: b.Note}
	for _, x := range b.Batches {
		m.Batches = append(m.Batches, l.pack(x))
	}
	return m
}

func (w *remoteWriter) call(ctx context.Context, name string, args any) (writerReply, error) {
	var r writerReply
	err := w.s.link.call(ctx, name, args, &r)
	if err == nil {
		w.held.Store(r.Held)
		w.s.books.set(r.Books)
	}
	return r, err
}

func (w *remoteWriter) Write(ctx context.Context, b *sdk.Block, done func(error)) error {
	w.s.mu.Lock()
	w.s.serial++
	id := w.s.serial
	w.s.writes[id] = &remoteWrite{done, b.Copied}
	w.s.mu.Unlock()
	_, err := w.call(ctx, "write", w.pack(id, b))
	return err
}

func (w *remoteWriter) Flush(ctx context.Context) error {
	_, err := w.call(ctx, "flush", w.id)
	return err
}

func (w *remoteWriter) Held() int64 { return w.held.Load() }

func (w *remoteWriter) Close(ctx context.Context) error {
	_, err := w.call(ctx, "close writer", w.id)
	return err
}

// sinkGuest runs the plugin.
type sinkGuest struct {
	*guest
	sink sdk.Sink

	mu      sync.Mutex
	writers map[int]*guestWriter
}

type guestWriter struct {
	w      sdk.Writer
	schema *sdk.Schema
}

func (g *sinkGuest) handle(ctx context.Context, name string, body []byte) (any, error) {
	switch name {
	case "open":
		schema := sdk.NewSchema(as[openArgs](body).Fields...)
		w, err := g.sink.Open(ctx, schema)
		if err != nil {
			return nil, err
		}
		g.mu.Lock()
		id := len(g.writers) + 1
		g.writers[id] = &guestWriter{w, schema}
		g.mu.Unlock()
		_, notes := w.(sdk.Noter)
		return writerReply{ID: id, Notes: notes, Held: w.Held()}, nil
	case "note":
		m := as[writeArgs](body)
		w := g.writer(m.Writer)
		b, err := g.block(w, m)
		if err != nil {
			return nil, err
		}
		note, err := w.w.(sdk.Noter).Note(b)
		giveBack(b)
		return writerReply{Note: note, Held: w.w.Held(), Books: readBooks(g.world.env.Books)}, err
	case "write":
		m := as[writeArgs](body)
		w := g.writer(m.Writer)
		return g.reply(w, g.write(ctx, w, m))
	case "flush":
		w := g.writer(as[int](body))
		return g.reply(w, w.w.Flush(ctx))
	case "close writer":
		w := g.writer(as[int](body))
		return g.reply(w, w.w.Close(ctx))
	case "close":
		err := g.sink.Close(ctx)
		if err == nil {
			err = g.world.shares.open()
		}
		return nil, err
	}
	return common(g.link, g.world.env, ctx, name, body)
}

func (g *sinkGuest) writer(id int) *guestWriter {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.writers[id]
}

func (g *sinkGuest) reply(w *guestWriter, err error) (any, error) {
	return writerReply{Held: w.w.Held(), Books: readBooks(g.world.env.Books)}, err
}

func (g *sinkGuest) write(ctx context.Context, w *guestWriter, m writeArgs) error {
	b, err := g.block(w, m)
	if err != nil {
		return err
	}
	var once sync.Once
	back := func() { once.Do(func() { giveBack(b) }) }
	b.OnCopied = func() { back(); g.link.notify("copied", m.ID) }
	err = w.w.Write(ctx, b, func(err error) {
		back()
		g.link.notify("done", doneArgs{m.ID, wireErrorOf(err)})
	})
	if err != nil {
		back()
	}
	return err
}

// block builds the guest's block.
func (g *sinkGuest) block(w *guestWriter, m writeArgs) (*sdk.Block, error) {
	b := &sdk.Block{Rows: m.Rows, Range: g.link.rangeOf(m.Range), Key: m.Key, Note: m.Note}
	for _, x := range m.Batches {
		batch, err := g.link.unpack(g.world.env.Pool, w.schema, x)
		if err != nil {
			return nil, err
		}
		b.Batches = append(b.Batches, batch)
	}
	return b, nil
}

// giveBack settles and releases a block's batches.
func giveBack(b *sdk.Block) {
	for _, x := range b.Batches {
		x.Done(sdk.Delivered)
		x.Release()
	}
}
