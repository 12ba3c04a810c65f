package sdktest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/weirflow/weir/sdk"
)

// remoteProcessor is the host's side of a processor behind the loop-back: an ordinary sdk.Processor.
//
// The host keeps an input's promise and gives up its data once it is encoded. An output is a source's batch to the host: when it
// is settled the guest is told, settles its own, and tells which inputs are settled by that.
type remoteProcessor struct {
	env   *sdk.Env
	link  *link
	guest *processorGuest
	books copyBooks

	mu     sync.Mutex
	inputs map[uint64]sdk.Promise
	own    map[uint64]*sdk.Batch // of the call under way, for Error
	serial uint64
	out    sdk.Out
}

type processArgs struct {
	ID    uint64
	Batch wireBatch
}
type tickArgs struct {
	Now     int64
	Blocked bool
}
type flushArgs struct {
	Part  wirePart
	Force bool
}
type drainArgs struct {
	Why  sdk.Why
	Last bool
}

var errNoReturner = errors.New("the specification says that it parks, and it is no sdk.Returner: what it holds of a partition that goes would be counted as lost")

// processorReply answers every call: what was given out, in order, and the books.
type processorReply struct {
	More  bool
	Held  int
	Books wireBooks
}
type emitArgs struct {
	Port  int
	ID    uint64
	Batch wireBatch
}
type errorArgs struct {
	Of    uint64
	Fault sdk.Fault
}
type settleArgs struct {
	ID      uint64
	Outcome sdk.Outcome
}

func loopProcessor(t testing.TB, p sdk.Plugin, env *sdk.Env, cfg any) (*remoteProcessor, error) {
	g, host := newGuest(t, &p, env, cfg)
	r := &remoteProcessor{env: env, link: host, inputs: map[uint64]sdk.Promise{}, own: map[uint64]*sdk.Batch{}}
	r.books.to = env.Books
	pg := &processorGuest{guest: g, ids: map[*sdk.Batch]uint64{}, open: map[uint64]sdk.Range{}, outs: map[uint64]*sdk.Batch{}}
	r.guest = pg
	host.start(r.handle)
	g.link.start(pg.handle)
	t.Cleanup(func() { host.stop(); g.link.stop() })
	err := guard("the constructor", func() (err error) { pg.proc, err = p.Processor(g.world.env, g.cfg); return err })
	return r, err
}

func (r *remoteProcessor) handle(ctx context.Context, name string, body []byte) (any, error) {
	switch name {
	case "emit":
		m := as[emitArgs](body)
		if m.Port < 0 || m.Port >= len(r.env.Out) {
			r.out.Emit(m.Port, nil)
			return nil, nil
		}
		b, err := r.link.unpack(r.env.Pool, r.env.Out[m.Port], m.Batch)
		if err != nil {
			return nil, err
		}
		b.Track(settler(func(o sdk.Outcome) { r.link.notify("settle", settleArgs{m.ID, o}) }))
		r.out.Emit(m.Port, b)
		return nil, nil
	case "error":
		m := as[errorArgs](body)
		r.mu.Lock()
		of := r.own[m.Of]
		r.mu.Unlock()
		r.out.Error(of, m.Fault)
		return nil, nil
	case "settled":
		m := as[settleArgs](body)
		r.mu.Lock()
		p, ok := r.inputs[m.ID]
		delete(r.inputs, m.ID)
		b := r.own[m.ID]
		delete(r.own, m.ID)
		r.mu.Unlock()
		if ok {
			p.Done(m.Outcome)
			b.Release()
		}
		return nil, nil
	}
	return common(r.link, r.env, ctx, name, body)
}

// settler makes a function hear of the outcome alone.
type settler func(sdk.Outcome)

func (f settler) Settled(_ sdk.Range, o sdk.Outcome) { f(o) }

func (r *remoteProcessor) call(out sdk.Out, name string, args any) (processorReply, error) {
	r.out = out
	var reply processorReply
	err := r.link.call(context.Background(), name, args, &reply)
	if err == nil {
		r.books.set(reply.Books)
	}
	return reply, err
}

func (r *remoteProcessor) Process(b *sdk.Batch, out sdk.Out) error {
	w := r.link.pack(b)
	r.mu.Lock()
	r.serial++
	id := r.serial
	b.Own()
	r.inputs[id], r.own[id] = b.TakePromise(), b
	r.mu.Unlock()
	_, err := r.call(out, "process", processArgs{id, w})
	return err
}

func (r *remoteProcessor) Tick(now time.Time, blocked bool, out sdk.Out) (bool, error) {
	reply, err := r.call(out, "tick", tickArgs{now.UnixNano(), blocked})
	return reply.More, err
}

func (r *remoteProcessor) Flush(p *sdk.Partition, force bool, out sdk.Out) (int, bool, error) {
	reply, err := r.call(out, "flush", flushArgs{r.link.parts.export(p), force})
	return reply.Held, reply.More, err
}

// Return fails if the guest's processor is no sdk.Returner.
func (r *remoteProcessor) Return(p *sdk.Partition) error {
	_, err := r.call(nil, "return", r.link.parts.export(p))
	return err
}

func (r *remoteProcessor) Drain(why sdk.Why, last bool, out sdk.Out) (bool, error) {
	reply, err := r.call(out, "drain", drainArgs{why, last})
	return reply.More, err
}

func (r *remoteProcessor) Close() error {
	_, err := r.call(nil, "close", true)
	return err
}

// sync returns when all that was told to the guest has been answered.
func (r *remoteProcessor) sync() {
	if err := r.link.call(context.Background(), "sync", true, nil); err != nil && !errors.Is(err, errLinkClosed) {
		panic(err)
	}
}

// end takes the link down and says how many batches the guest has not released.
func (r *remoteProcessor) end() int64 {
	r.link.stop()
	r.guest.link.stop()
	return r.guest.world.env.Pool.InUse()
}

// processorGuest runs the plugin.
type processorGuest struct {
	*guest
	proc sdk.Processor

	mu     sync.Mutex
	ids    map[*sdk.Batch]uint64 // inputs whose promise is open
	open   map[uint64]sdk.Range  // and where they came from
	outs   map[uint64]*sdk.Batch // outputs that the host holds
	serial uint64
}

func (g *processorGuest) handle(ctx context.Context, name string, body []byte) (any, error) {
	switch name {
	case "gone":
		g.link.parts.gone(as[int](body))
		return nil, nil
	case "sync":
		return nil, nil
	case "settle":
		m := as[settleArgs](body)
		g.mu.Lock()
		b := g.outs[m.ID]
		delete(g.outs, m.ID)
		g.mu.Unlock()
		b.Done(m.Outcome)
		b.Release()
		return nil, nil
	}
	var r processorReply
	var err error
	switch name {
	case "process":
		m := as[processArgs](body)
		b, bad := g.link.unpack(g.world.env.Pool, g.world.env.In, m.Batch)
		if bad != nil {
			return nil, bad
		}
		g.mu.Lock()
		g.ids[b], g.open[m.ID] = m.ID, b.Range()
		g.mu.Unlock()
		b.Track(settler(func(o sdk.Outcome) {
			g.mu.Lock()
			// A recycled batch may have come back under the same pointer.
			if g.ids[b] == m.ID {
				delete(g.ids, b)
			}
			delete(g.open, m.ID)
			g.mu.Unlock()
			g.link.notify("settled", settleArgs{m.ID, o})
		}))
		err = g.proc.Process(b, g)
	case "tick":
		m := as[tickArgs](body)
		r.More, err = g.proc.Tick(time.Unix(0, m.Now).UTC(), m.Blocked, g)
	case "flush":
		m := as[flushArgs](body)
		r.Held, r.More, err = g.proc.Flush(g.link.parts.find(m.Part), m.Force, g)
	case "return":
		x, ok := g.proc.(sdk.Returner)
		if !ok {
			return nil, errNoReturner
		}
		err = x.Return(g.link.parts.find(as[wirePart](body)))
	case "drain":
		m := as[drainArgs](body)
		r.More, err = g.proc.Drain(m.Why, m.Last, g)
	case "close":
		err = g.proc.Close()
		if err == nil {
			err = g.world.shares.open()
		}
	}
	r.Books = readBooks(g.world.env.Books)
	return r, err
}

// Emit is [sdk.Out]'s: the guest's batch stays until the host has settled its own.
func (g *processorGuest) Emit(port int, b *sdk.Batch) {
	g.mu.Lock()
	g.serial++
	id := g.serial
	g.outs[id] = b
	g.mu.Unlock()
	g.link.notify("emit", emitArgs{port, id, g.link.pack(b)})
}

// Error is [sdk.Out]'s.
func (g *processorGuest) Error(of *sdk.Batch, f sdk.Fault) {
	g.mu.Lock()
	id, input := g.ids[of]
	if !input { // derived of one, which is open as long as it is
		for x, r := range g.open {
			if r == of.Range() {
				id = x
			}
		}
	}
	g.mu.Unlock()
	if !of.Tracked() {
		id = 0 // it was Done: no batch of the host's
	}
	g.link.notify("error", errorArgs{id, f})
}
