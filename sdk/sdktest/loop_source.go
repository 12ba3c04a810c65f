package sdktest

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/weirflow/weir/sdk"
)

// remoteSource is the host's side of a source behind the loop-back.
type remoteSource struct {
	env   *sdk.Env
	link  *link
	guest *sourceGuest
	books copyBooks

	mu      sync.Mutex
	readers map[int]*remoteReader
}

var (
	_ sdk.Source    = (*remoteSource)(nil)
	_ sdk.Committer = (*remoteSource)(nil)
)

type readerReply struct {
	ID      int
	Part    wirePart
	Ready   bool
	Plans   bool
	Planned wirePosition
	Books   wireBooks
}
type readArgs struct {
	ID   int
	Wait time.Duration
}
type readReply struct {
	Some  bool
	Batch wireBatch
	Books wireBooks
}
type wirePosition struct {
	Part         wirePart
	Next, Stored int64
	StoredBy     uint64
	Ends         []sdk.End
}

func (l *link) packPosition(p sdk.Position) wirePosition {
	return wirePosition{l.parts.export(p.Partition), p.Next, p.Stored, p.StoredBy, p.Ends}
}

func (l *link) unpackPosition(w wirePosition) sdk.Position {
	return sdk.Position{Partition: l.parts.find(w.Part), Next: w.Next, Stored: w.Stored, StoredBy: w.StoredBy, Ends: w.Ends}
}

func loopSource(t testing.TB, p sdk.Plugin, env *sdk.Env, cfg any) (*remoteSource, error) {
	g, host := newGuest(t, &p, env, cfg)
	s := &remoteSource{env: env, link: host, readers: map[int]*remoteReader{}}
	s.books.to = env.Books
	s.guest = &sourceGuest{guest: g, readers: map[int]sdk.Reader{}}
	host.start(s.handle)
	g.link.start(s.guest.handle)
	t.Cleanup(func() { host.stop(); g.link.stop() })
	err := guard("the constructor", func() (err error) { s.guest.source, err = p.Source(g.world.env, g.cfg); return err })
	return s, err
}

func (s *remoteSource) handle(ctx context.Context, name string, body []byte) (any, error) {
	if name == "ready" {
		s.mu.Lock()
		r := s.readers[as[int](body)]
		s.mu.Unlock()
		if r != nil {
			select {
			case r.ready <- struct{}{}:
			default:
			}
		}
		return nil, nil
	}
	return common(s.link, s.env, ctx, name, body)
}

func (s *remoteSource) Accept(ctx context.Context) (sdk.Reader, error) {
	var r readerReply
	if err := s.link.call(ctx, "accept", true, &r); err != nil {
		return nil, err
	}
	s.books.set(r.Books)
	reader := &remoteReader{s: s, id: r.ID, p: s.link.parts.find(r.Part)}
	if r.Ready {
		reader.ready = make(chan struct{}, 1)
	}
	s.mu.Lock()
	s.readers[r.ID] = reader
	s.mu.Unlock()
	if r.Plans {
		return &remotePlanner{reader, s.link.unpackPosition(r.Planned)}, nil
	}
	return reader, nil
}

func (s *remoteSource) Save(ctx context.Context, ps []sdk.Position) error {
	ws := make([]wirePosition, len(ps))
	for i, p := range ps {
		ws[i] = s.link.packPosition(p)
	}
	return s.link.call(ctx, "save", ws, nil)
}

func (s *remoteSource) Stop(ctx context.Context) error { return s.link.call(ctx, "stop", true, nil) }

func (s *remoteSource) Close(ctx context.Context) error {
	var r readReply
	err := s.link.call(ctx, "close", true, &r)
	if err == nil {
		s.books.set(r.Books)
	}
	return err
}

// end takes the link down and says how many batches the guest has not released.
func (s *remoteSource) end() int64 {
	s.link.stop()
	s.guest.link.stop()
	return s.guest.world.env.Pool.InUse()
}

type remoteReader struct {
	s     *remoteSource
	id    int
	p     *sdk.Partition
	ready chan struct{}
}

// remotePlanner is a reader whose guest is an sdk.Planner.
type remotePlanner struct {
	*remoteReader
	planned sdk.Position
}

func (r *remotePlanner) Planned() sdk.Position { return r.planned }

func (r *remoteReader) Partition() *sdk.Partition { return r.p }

func (r *remoteReader) Ready() <-chan struct{} { return r.ready }

func (r *remoteReader) Read(ctx context.Context, wait time.Duration) (*sdk.Batch, error) {
	var reply readReply
	if err := r.s.link.call(ctx, "read", readArgs{r.id, wait}, &reply); err != nil {
		return nil, err
	}
	r.s.books.set(reply.Books)
	if !reply.Some {
		return nil, nil
	}
	return r.s.link.unpack(r.s.env.Pool, r.s.env.Out[0], reply.Batch)
}

func (r *remoteReader) Close(ctx context.Context) error {
	r.s.mu.Lock()
	delete(r.s.readers, r.id)
	r.s.mu.Unlock()
	return r.s.link.call(ctx, "close reader", r.id, nil)
}

// sourceGuest runs the plugin.
type sourceGuest struct {
	*guest
	source sdk.Source

	mu      sync.Mutex
	readers map[int]sdk.Reader
	serial  int
}

func (g *sourceGuest) handle(ctx context.Context, name string, body []byte) (any, error) {
	switch name {
	case "accept":
		r, err := g.source.Accept(ctx)
		if err != nil {
			return nil, err
		}
		return g.accepted(r), nil
	case "read":
		m := as[readArgs](body)
		b, err := g.reader(m.ID).Read(ctx, m.Wait)
		reply := readReply{Some: b != nil}
		if b != nil {
			reply.Batch = g.link.pack(b)
			b.Done(sdk.Delivered)
			b.Release()
		}
		reply.Books = readBooks(g.world.env.Books)
		if err != nil && b != nil {
			return nil, fmt.Errorf("Read returned a batch with an error: %w", err)
		}
		return reply, err
	case "close reader":
		r := g.reader(as[int](body))
		return nil, r.Close(ctx)
	case "save":
		var ps []sdk.Position
		for _, w := range as[[]wirePosition](body) {
			ps = append(ps, g.link.unpackPosition(w))
		}
		c, ok := g.source.(sdk.Committer)
		if !ok {
			return nil, fmt.Errorf("the source is no sdk.Committer, and Spec.Commits says so")
		}
		return nil, c.Save(ctx, ps)
	case "stop":
		return nil, g.source.Stop(ctx)
	case "close":
		err := g.source.Close(ctx)
		if err == nil {
			err = g.world.shares.open()
		}
		return readReply{Books: readBooks(g.world.env.Books)}, err
	}
	return common(g.link, g.world.env, ctx, name, body)
}

func (g *sourceGuest) accepted(r sdk.Reader) readerReply {
	g.mu.Lock()
	g.serial++
	id := g.serial
	g.readers[id] = r
	g.mu.Unlock()
	reply := readerReply{ID: id, Part: g.link.parts.export(r.Partition()), Books: readBooks(g.world.env.Books)}
	if p, ok := r.(sdk.Planner); ok {
		reply.Plans, reply.Planned = true, g.link.packPosition(p.Planned())
	}
	if ready := r.Ready(); ready != nil {
		reply.Ready = true
		g.link.work.Go(func() {
			for {
				select {
				case _, ok := <-ready:
					if !ok {
						return
					}
					g.link.notify("ready", id)
				case <-g.link.closed:
					return
				}
			}
		})
	}
	return reply
}

func (g *sourceGuest) reader(id int) sdk.Reader {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.readers[id]
}
