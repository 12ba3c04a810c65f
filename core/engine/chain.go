package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/core/ledger"
	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/sdk"
)

// chain is one lane's instances of a stage's nodes, of one generation. It is called by the lane's goroutine only.
type chain struct {
	lane  *lane
	insts []*instance // in the order in which a batch meets them
}

// instance is one node in one lane.
type instance struct {
	lane *lane
	node *plan.Node
	acct *ledger.Lane

	proc sdk.Processor // nil for the source and for a fused sink
	sink *fusedSink

	watch *watch // nil unless the run is timed

	ports   [][]*target
	gathers []*gatherer // by port; nil where all readers are fused and read selections
	errs    []*target
	out     outbox
	// flushes: behind a committing source, records come here with their range, so a cut flushes this instance.
	flushes bool
	// mixes: what comes out has no range.
	mixes bool
}

// target is one reader of a port, as the lane sees it.
type target struct {
	edge    *plan.Edge
	acct    *ledger.Edge
	inst    *instance // fused
	st      *stage    // behind a queue
	project *sdk.Schema
	keyed   int // index of the keyed sink behind the queue, -1
	// lasting: behind the queue batches are worked on as they come, so what a source lent comes back soon. A sink keeps them for as
	// long as its block is open, and a queue that drops makes room by what it drops: a source whose memory lay there would stand still.
	lasting bool
}

// newChain makes a lane's instances; nodes named in configs get that configuration instead of the plan's.
func newChain(l *lane, configs map[string]any) (*chain, error) {
	c := &chain{lane: l}
	r := l.run()
	by := map[*plan.Node]*instance{}
	for _, n := range l.st.plan.Nodes {
		in := &instance{lane: l, node: n, acct: r.ledger.Node(n.ID, n.Kind).Lane(), watch: r.watch(n.ID)}
		in.out.inst = in
		in.flushes = l.st.marks[n]
		in.mixes = n.Kind == sdk.KindProcessor && !n.Plugin.Spec.KeepsRange
		by[n] = in
		c.insts = append(c.insts, in)
		switch n.Kind {
		case sdk.KindProcessor:
			cfg, ok := configs[n.ID]
			if !ok {
				cfg = n.Config
			}
			p, err := n.Plugin.Processor(r.env(n, l.id, &in.acct.Books), cfg)
			if err != nil {
				return nil, nodeErr(n, err)
			}
			in.proc = p
		case sdk.KindSink:
			s, err := l.st.fusedSink(n, in)
			if err != nil {
				return nil, nodeErr(n, err)
			}
			in.sink = s
		}
	}
	for _, in := range c.insts {
		for port := range in.node.Outputs {
			var ts []*target
			for _, e := range in.node.Outputs[port] {
				ts = append(ts, r.target(e, by, in.node.Out[port]))
			}
			in.ports = append(in.ports, ts)
		}
		for _, e := range in.node.Errors {
			in.errs = append(in.errs, r.target(e, by, sdk.Errors))
		}
		in.gatherers()
	}
	return c, nil
}

func (r *Run) target(e *plan.Edge, by map[*plan.Node]*instance, from *sdk.Schema) *target {
	t := &target{edge: e, acct: r.edges[e.Index], keyed: -1}
	if e.Fused {
		t.inst = by[e.To]
	} else {
		t.st = r.stages[e.To.Stage.Index]
		t.lasting = e.To.Kind == sdk.KindProcessor && t.st.plan.Queue.WhenFull == config.Block
		if i, ok := r.keyed[e.To]; ok && e.Port != plan.ErrorsPort {
			t.keyed = i
		}
	}
	if e.To.In != nil && e.To.In != from {
		t.project = e.To.In
	}
	return t
}

// process gives a batch to the node and passes on what comes out.
func (in *instance) process(b *sdk.Batch) {
	if in.sink != nil {
		in.sink.write(b)
		return
	}
	in.acct.In.Add(uint64(b.Rows()))
	from := in.watch.start()
	err := in.proc.Process(b, &in.out)
	in.watch.stop(from)
	if err != nil {
		in.failed(err)
	}
	in.take()
}

func (in *instance) failed(err error) { in.lane.run().fail(nodeErr(in.node, err)) }

// take passes on what the node gave out during the call that has just returned.
func (in *instance) take() {
	if in.out.errors != nil {
		in.out.sendErrors()
	}
	for i := range in.out.emitted {
		e := in.out.emitted[i]
		in.out.emitted[i] = emission{}
		in.deliver(e.port, e.b)
	}
	in.out.emitted = in.out.emitted[:0]
}

// deliver takes what a node gave out at a port.
func (in *instance) deliver(port int, b *sdk.Batch) {
	if b.Rows() == 0 {
		b.Done(sdk.Delivered)
		b.Release()
		return
	}
	if in.mixes {
		b.Root(sdk.Range{})
	}
	if in.gathers[port].takes(b) {
		in.collect(port, b)
		return
	}
	in.pass(port, b)
}

// pass hands a batch to every reader of a port.
func (in *instance) pass(port int, b *sdk.Batch) {
	n := uint64(b.Rows())
	in.watch.gaveOut()
	ts := in.ports[port]
	in.acct.Outs.Add(n * uint64(max(1, len(ts))))
	switch {
	case len(ts) == 0:
		in.lane.run().unread(in.node, port).drop(b)
	case len(ts) == 1 && ts[0].project == nil && (ts[0].edge.Tracked || !b.Tracked()):
		if !ts[0].edge.Tracked {
			b.Root(sdk.Range{})
		}
		in.lane.send(ts[0], b)
	default:
		in.acct.Copied.Add(n * uint64(len(ts)-1))
		for _, t := range ts {
			in.lane.send(t, b.Share(t.project, t.edge.Tracked))
		}
		b.Done(sdk.Delivered)
		b.Release()
	}
}

// unreadPort is where a port that nobody reads leads: everything is dropped and counted, as on an edge.
type unreadPort struct{ acct *ledger.Edge }

func (r *Run) unread(n *plan.Node, port int) unreadPort {
	name := n.Plugin.Spec.PortNames(n.Config)[port]
	r.errMu.Lock()
	defer r.errMu.Unlock()
	k := n.ID + "." + name
	if r.nowhere == nil {
		r.nowhere = map[string]*ledger.Edge{}
	}
	e := r.nowhere[k]
	if e == nil {
		e = r.ledger.Edge(n.ID, name, "", nil)
		r.nowhere[k] = e
	}
	return unreadPort{e}
}

func (u unreadPort) drop(b *sdk.Batch) {
	u.acct.Out.Add(uint64(b.Rows()))
	u.acct.Drop(sdk.ReasonUnread, uint64(b.Rows()))
	b.Done(sdk.Dropped)
	b.Release()
}

// tick runs every node's Tick.
func (c *chain) tick(now time.Time, blocked bool) {
	for _, in := range c.insts {
		for in.proc != nil {
			from := in.watch.start()
			more, err := in.proc.Tick(now, blocked, &in.out)
			in.watch.stop(from)
			if err != nil {
				in.failed(err)
			}
			in.take()
			if !more || blocked || err != nil || c.lane.run().aborted() {
				break
			}
			c.lane.push()
		}
		for !blocked && in.giveGathered(uncut) && !c.lane.run().aborted() {
			c.lane.push()
		}
	}
}

// flush gives out what is held of p in all nodes that keep its range, and what is gathered of it; it returns the records that could not
// be given out.
func (c *chain) flush(p *sdk.Partition, force bool) (held int) {
	for _, in := range c.insts {
		for in.proc != nil && in.flushes {
			h, more, err := in.proc.Flush(p, force, &in.out)
			if err != nil {
				in.failed(err)
			}
			in.take()
			if !more || err != nil {
				held += h
				break
			}
		}
		for in.giveGathered(func(of *sdk.Partition) bool { return of == p }) {
			continue
		}
	}
	return held
}

// flushGone gives out what is held of a partition that is gone, also in nodes that no mark reaches.
func (c *chain) flushGone(p *sdk.Partition) {
	for _, in := range c.insts {
		for in.proc != nil && in.node.Plugin.Spec.KeepsRange {
			_, more, err := in.proc.Flush(p, true, &in.out)
			if err != nil {
				in.failed(err)
			}
			in.take()
			if !more || err != nil {
				break
			}
		}
		for in.giveGathered(func(of *sdk.Partition) bool { return of == p }) {
			continue
		}
	}
}

// giveBack lets go of what is still held of p, for its next owner reads it again. One that is no Returner drops it at the forced flush
// that follows, for a reason of its own.
func (c *chain) giveBack(p *sdk.Partition) {
	for _, in := range c.insts {
		x, ok := in.proc.(sdk.Returner)
		if !ok || !in.flushes {
			continue
		}
		if err := x.Return(p); err != nil {
			in.failed(err)
		}
	}
}

// drain ends the life of the chain.
func (c *chain) drain(why sdk.Why, last bool) {
	for _, in := range c.insts {
		for in.proc != nil {
			more, err := in.proc.Drain(why, last, &in.out)
			if err != nil {
				in.failed(err)
			}
			in.take()
			c.lane.push()
			if !more || err != nil {
				break
			}
		}
		for more := true; more; {
			more = in.giveGathered(whatever)
			c.lane.push()
		}
	}
}

func (c *chain) close(ctx context.Context) {
	for _, in := range c.insts {
		if in.proc != nil {
			if err := in.proc.Close(); err != nil {
				c.lane.run().log.Warn("node did not close cleanly", "node", in.node.ID, "error", err)
			}
		}
		for _, g := range in.gathers {
			if g != nil {
				g.abandon()
			}
		}
		if in.sink != nil {
			in.sink.close(ctx)
		}
	}
}

// outbox takes what a node gives out during a call.
type outbox struct {
	inst    *instance
	emitted []emission
	errors  *sdk.Batch // refused records of this call
}

type emission struct {
	port int
	b    *sdk.Batch
}

func (o *outbox) Emit(port int, b *sdk.Batch) { o.emitted = append(o.emitted, emission{port, b}) }

func (o *outbox) Error(of *sdk.Batch, f sdk.Fault) {
	in := o.inst
	switch {
	case in.node.OnError == config.Fail:
		if !f.Part {
			in.acct.Failed.Add(1)
		}
		o.settleFailed(of)
		in.failed(fmt.Errorf("a record was refused (%s: %s) and on_error is fail", f.Code, f.Message))
		return
	case in.node.OnError == config.Drop:
		if f.Part {
			return // of a record that is counted as consumed
		}
		in.acct.Drop(sdk.ReasonOnError, 1)
		return
	case len(in.errs) == 0:
		if !f.Part {
			in.acct.Drop(sdk.ReasonUnread, 1)
		}
		return
	}
	if f.Part {
		in.acct.ErrorsMade.Add(1)
	} else {
		in.acct.DeadLettered.Add(1)
	}
	if o.errors != nil && o.errors.Room() == 0 {
		o.sendErrors()
	}
	if o.errors == nil {
		o.errors = in.lane.run().pool.Get(sdk.Errors, 256)
		for _, c := range []int{sdk.ErrorsNode, sdk.ErrorsCode, sdk.ErrorsFormat} {
			o.errors.SetDict(c, sdk.NewDict())
		}
	}
	o.errors.Derive(of)
	appendFault(o.errors, in.node.ID, f)
}

// settleFailed has the input's promise come home as failed, whatever the node says of it: nothing of it may be committed.
func (o *outbox) settleFailed(of *sdk.Batch) {
	if of == nil {
		return
	}
	x := o.inst.lane.run().pool.Get(sdk.Errors, 1)
	x.Derive(of)
	x.Done(sdk.Failed)
	x.Release()
}

// appendFault writes one row of the Errors schema.
func appendFault(b *sdk.Batch, node string, f sdk.Fault) {
	at := b.Rows()
	for c, s := range map[int]string{sdk.ErrorsNode: node, sdk.ErrorsCode: f.Code, sdk.ErrorsFormat: f.Format} {
		i, _ := b.Dict(c).Intern(s)
		sdk.Claim[uint16](b, c, at, 1)[0] = i
	}
	b.SetBytes(sdk.ErrorsMessage, at, []byte(f.Message))
	sdk.Claim[int64](b, sdk.ErrorsReceived, at, 1)[0] = f.Received
	b.SetBytes(sdk.ErrorsPayload, at, f.Payload)
	b.SetRows(at + 1)
}

// sendErrors passes the refused records on.
func (o *outbox) sendErrors() {
	b := o.errors
	o.errors = nil
	b.Seal()
	for _, t := range o.inst.errs {
		o.inst.lane.send(t, b.Share(nil, t.edge.Tracked && !o.inst.lane.run().opt.rules.looseLetters))
	}
	b.Done(sdk.DeadLettered)
	b.Release()
}
