package engine

// How a run is made of a plan, and taken apart when it has ended.

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/weirflow/weir/core/ledger"
	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/core/queue"
	"github.com/weirflow/weir/sdk"
)

// New makes everything a run needs, from the sinks upward and the sources last, and starts nothing. What it returns as an
// error has not begun to run: sdk.NotReady where the environment is at fault.
func New(p *plan.Plan, opt Options) (*Run, error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Pool == nil {
		opt.Pool = sdk.NewPool(nil)
	}
	if opt.Share == nil {
		opt.Share = NewShared()
	}
	if opt.BootID == "" {
		opt.BootID = fmt.Sprintf("%x-%x", os.Getpid(), time.Now().UnixNano())
	}
	opt.CPUs = max(1, opt.CPUs)
	if opt.Cuts == 0 {
		opt.Cuts = 10
	}
	if opt.Idle == 0 {
		opt.Idle = 500 * time.Millisecond
	}
	if opt.KillGrace == 0 {
		opt.KillGrace = 5 * time.Second
	}
	r := &Run{plan: p, opt: opt, log: opt.Log.With("pipeline", p.Pipeline.Name), pool: opt.Pool, ledger: ledger.New(),
		keyed: map[*plan.Node]int{}, parts: map[*sdk.Partition]*partState{}, done: make(chan struct{}), work: goroutines{idle: make(chan struct{})}}
	r.ctx, r.abort = context.WithCancelCause(context.Background())
	for i, n := range p.Keyed {
		r.keyed[n] = i
	}
	r.sinksBy, r.nextCuts = hashIDs(p.Keyed), make([]time.Time, len(p.Keyed))
	r.queued = make([]atomic.Int64, len(p.Edges))
	for _, n := range p.Nodes {
		r.ledger.Node(n.ID, n.Kind)
	}
	for _, s := range p.Stages {
		r.stages = append(r.stages, &stage{run: r, plan: s})
	}
	r.wire()
	for _, st := range r.stages {
		if st.plan.Head().Kind == sdk.KindSource {
			r.sources = append(r.sources, newSourceRun(r, st))
		}
	}
	r.wireMarks()
	if err := r.build(); err != nil {
		r.abort(err)
		r.closeBuilt()
		return nil, err
	}
	return r, nil
}

// wire makes the queues and the accounts of the edges.
func (r *Run) wire() {
	feeders := make([]map[*stage]bool, len(r.stages))
	for _, e := range r.plan.Edges {
		to := r.stages[e.To.Stage.Index]
		if !e.Fused {
			if feeders[to.plan.Index] == nil {
				feeders[to.plan.Index] = map[*stage]bool{}
			}
			feeders[to.plan.Index][r.stages[e.From.Stage.Index]] = true
		}
	}
	for i, st := range r.stages {
		q := st.plan.Queue
		if q == nil {
			continue
		}
		st.q = queue.New(queue.Options{Bytes: q.Bytes, Batches: q.Batches, WhenFull: q.WhenFull, Lanes: max(1, st.plan.Lanes),
			ByPartition: st.plan.ByPartition && st.plan.Lanes > 1, Producers: len(feeders[i]), OnDrop: r.overflow, OnFull: st.full})
		r.budget.Add(q.Bytes)
	}
	for _, e := range r.plan.Edges {
		var queued func() int64
		if !e.Fused {
			queued = r.queued[e.Index].Load
		}
		r.edges = append(r.edges, r.ledger.Edge(e.From.ID, portName(e), e.To.ID, queued))
	}
	for i, st := range r.stages {
		for f := range feeders[i] {
			f.feeds = append(f.feeds, st)
		}
	}
}

func portName(e *plan.Edge) string {
	if e.Port == plan.ErrorsPort {
		return "errors"
	}
	if e.From.Plugin == nil {
		return ""
	}
	return e.From.Plugin.Spec.PortNames(e.From.Config)[e.Port]
}

// build makes the instances: sinks first, sources last.
func (r *Run) build() error {
	for i := len(r.stages) - 1; i >= 0; i-- {
		st := r.stages[i]
		head := st.plan.Head()
		lanes := 1
		if st.q != nil {
			lanes = max(1, st.plan.Lanes)
		}
		if head.Kind == sdk.KindSink {
			for id := range lanes {
				s, err := newSinkLane(r, st, id)
				if err != nil {
					return nodeErr(head, err)
				}
				r.sinks = append(r.sinks, s)
			}
			continue
		}
		for range lanes {
			if _, err := st.addLane(); err != nil {
				return err
			}
		}
	}
	for _, s := range r.sources {
		for i, n := range r.plan.Keyed {
			if s.keyed&(1<<i) == 0 {
				continue
			}
			for _, k := range r.sinks {
				if _, ok := k.w.(sdk.Noter); ok && k.node == n && k.id == 0 {
					s.noters++
					if s.longest == nil {
						s.longest = map[string][]byte{}
					}
					s.longest[n.ID] = make([]byte, sdk.MaxNote)
				}
			}
		}
		if err := s.open(); err != nil {
			return nodeErr(s.node, err)
		}
	}
	return nil
}

func nodeErr(n *plan.Node, err error) error {
	return fmt.Errorf("%ss.%s: %w", n.Kind, n.ID, err)
}

// closeBuilt closes what build made, after everything has stopped.
func (r *Run) closeBuilt() {
	r.looking.Lock()
	r.closed = true
	r.looking.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, st := range r.stages {
		st.complaints.Range(func(_, c any) bool {
			c.(*complaint).ended(r)
			return true
		})
	}
	for _, s := range r.sources {
		if s.src == nil {
			continue
		}
		if err := s.src.Close(ctx); err != nil {
			r.log.Warn("source did not close cleanly", "node", s.node.ID, "error", err)
		}
	}
	for _, st := range r.stages {
		for _, l := range append(st.gone, st.lanes...) {
			l.chain.Load().close(ctx)
		}
		for _, sk := range st.fusedSinks {
			if err := sk.Close(ctx); err != nil {
				r.log.Warn("sink did not close cleanly", "error", err)
			}
		}
	}
	for _, s := range r.sinks {
		s.closeWriter(ctx)
	}
	for _, st := range r.stages {
		if st.sinkObj != nil {
			if err := st.sinkObj.Close(ctx); err != nil {
				r.log.Warn("sink did not close cleanly", "node", st.plan.Head().ID, "error", err)
			}
		}
	}
	r.opt.Share.release(r)
}

// env makes the environment of an instance.
func (r *Run) env(n *plan.Node, lane int, books *sdk.Books) *sdk.Env {
	return &sdk.Env{
		Pipeline: r.plan.Pipeline.Name, Node: n.ID, Lane: lane,
		Log: r.log.With("node", n.ID), Now: time.Now,
		Dir:  filepath.Join(r.opt.Dir, r.plan.Pipeline.Name, n.ID),
		Pool: r.pool, Books: books, In: n.In, Out: n.Out,
		Unread: func(port int) bool {
			if port == plan.ErrorsPort {
				return len(n.Errors) == 0
			}
			return port >= len(n.Outputs) || len(n.Outputs[port]) == 0
		},
		Share: func(key string, open func(context.Context) (closer, error)) (sdk.Shared, error) {
			if key == "" || key[0] != '/' {
				key = r.plan.Pipeline.Name + "/" + n.ID + "/" + key
			}
			return r.opt.Share.get(r.ctx, key, r, n.ID, open)
		},
		State: func(p *sdk.Partition) sdk.KV { return r.state(n.ID, p) },
	}
}
