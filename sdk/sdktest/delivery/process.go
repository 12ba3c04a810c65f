package delivery

import (
	"context"
	"sync/atomic"
)

// Process is a Broker as one process of several sees it: one that can be killed. What it asked before lands; whatever it asks
// afterwards fails, so that a pipeline built on it may be torn down in any way and nothing of its end is seen outside.
type Process struct {
	to     Broker
	member atomic.Pointer[string]
	killed atomic.Bool
}

var _ Broker = (*Process)(nil)

// NewProcess is another process in the world of b.
func NewProcess(b Broker) *Process { return &Process{to: b} }

// Kill ends it. The group notices when the session ends: [Memory.Expel] of [Process.Member] makes that now.
func (p *Process) Kill() { p.killed.Store(true) }

// Member is the name under which it joined the group last; empty if it has not.
func (p *Process) Member() string {
	if m := p.member.Load(); m != nil {
		return *m
	}
	return ""
}

func alive[T any](p *Process, f func() (T, error)) (T, error) {
	var none T
	if p.killed.Load() {
		return none, ErrKilled
	}
	v, err := f()
	if p.killed.Load() {
		return none, ErrKilled
	}
	return v, err
}

func (p *Process) Config(ctx context.Context) (Config, error) {
	return alive(p, func() (Config, error) { return p.to.Config(ctx) })
}

func (p *Process) Fetch(ctx context.Context, partition uint32, from, upto int64, most int) (Fetched, error) {
	return alive(p, func() (Fetched, error) { return p.to.Fetch(ctx, partition, from, upto, most) })
}

func (p *Process) Join(ctx context.Context) (string, error) {
	return alive(p, func() (string, error) {
		m, err := p.to.Join(ctx)
		p.member.Store(&m)
		return m, err
	})
}

func (p *Process) Beat(ctx context.Context, member string) (Assignment, error) {
	return alive(p, func() (Assignment, error) { return p.to.Beat(ctx, member) })
}

func (p *Process) Release(ctx context.Context, member string, partition uint32, life uint64) error {
	_, err := alive(p, func() (any, error) { return nil, p.to.Release(ctx, member, partition, life) })
	return err
}

func (p *Process) Leave(ctx context.Context, member string) error {
	_, err := alive(p, func() (any, error) { return nil, p.to.Leave(ctx, member) })
	return err
}

func (p *Process) Commit(ctx context.Context, member string, positions map[uint32]Committed) error {
	_, err := alive(p, func() (any, error) { return nil, p.to.Commit(ctx, member, positions) })
	return err
}

func (p *Process) Committed(ctx context.Context, partition uint32) (Committed, error) {
	return alive(p, func() (Committed, error) { return p.to.Committed(ctx, partition) })
}

func (p *Process) Write(ctx context.Context, w Write) (Written, error) {
	return alive(p, func() (Written, error) { return p.to.Write(ctx, w) })
}

func (p *Process) Dropped(ctx context.Context, rs []Record) error {
	_, err := alive(p, func() (any, error) { return nil, p.to.Dropped(ctx, rs) })
	return err
}

func (p *Process) Tally(ctx context.Context) (*Tally, error) {
	return alive(p, func() (*Tally, error) { return p.to.Tally(ctx) })
}
