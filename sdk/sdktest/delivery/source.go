package delivery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/weirflow/weir/sdk"
)

// Topic is the name of the log in partition names: "numbers/3".
const Topic = "numbers"

// SourceConfig of [Source].
type SourceConfig struct {
	Rows int           `yaml:"rows" doc:"most records in a batch"`
	Beat time.Duration `yaml:"beat" doc:"how often the group is asked what is assigned"`
	// Straddle breaks the promise of Read, to show what it is for.
	Straddle bool `yaml:"straddle" doc:"batches cross planned ends"`
	// Unfenced breaks the promise of Save, likewise.
	Unfenced bool `yaml:"unfenced" doc:"positions of partitions that are gone are saved all the same"`
}

// Source reads the log of b as a member of its group, as the Kafka source does: partitions come and go, positions are saved in
// the group, a partition that is assigned for the first time gets a first position at once. Its records have [Schema].
func Source(b Broker) sdk.Plugin {
	return sdk.Plugin{
		Spec: sdk.Spec{
			Kind: sdk.KindSource, Type: "numbered", Doc: "reads numbered records as a member of a group",
			Config:  func() any { return &SourceConfig{Rows: 50, Beat: 50 * time.Millisecond} },
			Output:  func(any, *sdk.Schema) ([]*sdk.Schema, error) { return []*sdk.Schema{Schema}, nil },
			Commits: true, Slowable: true, Deterministic: true,
		},
		Source: func(env *sdk.Env, cfg any) (sdk.Source, error) {
			world, err := b.Config(context.Background())
			if err != nil {
				return nil, err
			}
			return &source{env: env, cfg: *cfg.(*SourceConfig), broker: b, world: world,
				readers: map[uint32]*reader{}, news: make(chan struct{}, 1), quit: make(chan struct{})}, nil
		},
	}
}

// ErrGone is what Save answers when a partition has been taken away.
var ErrGone = fmt.Errorf("the partition is gone: %w", sdk.ErrRevoked)

type source struct {
	env    *sdk.Env
	cfg    SourceConfig
	broker Broker
	world  Config

	member string // written before the beats start, then by them under mu
	work   sync.WaitGroup
	quit   chan struct{}
	news   chan struct{} // Accept should look again

	mu sync.Mutex
	// saving are the commits under way, each closed when it is answered: a partition is released only then, for the broker would take
	// a late one for the next owner's. They are channels, for under a simulated clock nobody may sleep while others wait for a lock.
	saving  []chan struct{}
	started bool
	stopped bool
	done    bool
	failed  error
	readers map[uint32]*reader
	fresh   []*reader // not yet accepted
}

func (s *source) Accept(ctx context.Context) (sdk.Reader, error) {
	s.mu.Lock()
	start := !s.started && !s.stopped
	s.started = s.started || start
	s.mu.Unlock()
	if start {
		m, err := s.broker.Join(ctx)
		if err != nil {
			return nil, err
		}
		s.member = m
		s.work.Go(s.beats)
	}
	for {
		s.mu.Lock()
		switch {
		case s.stopped:
			s.mu.Unlock()
			return nil, io.EOF
		case len(s.fresh) > 0:
			r := s.fresh[0]
			s.fresh = s.fresh[1:]
			s.mu.Unlock()
			return r, nil
		case s.failed != nil:
			s.mu.Unlock()
			return nil, s.failed
		case s.done:
			s.mu.Unlock()
			return nil, io.EOF
		}
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.news:
		}
	}
}

// beats keeps the session until the source is closed.
func (s *source) beats() {
	tick := time.NewTicker(s.cfg.Beat)
	defer tick.Stop()
	last := time.Now()
	for {
		if err := s.beat(); err == nil {
			last = time.Now()
		} else if time.Since(last) > s.world.Session {
			s.lose(fmt.Errorf("the broker has not answered for a session's length: %w", err))
			return
		}
		select {
		case <-s.quit:
			return
		case <-tick.C:
		}
	}
}

// lose gives everything up.
func (s *source) lose(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = err
	for p, r := range s.readers {
		r.lose()
		delete(s.readers, p)
	}
	s.fresh = nil
	signal(s.news)
}

// beat asks what is assigned and makes it so.
func (s *source) beat() error {
	ctx := context.Background()
	a, err := s.broker.Beat(ctx, s.member)
	if errors.Is(err, ErrUnknownMember) {
		s.lose(nil)
		m, err := s.broker.Join(ctx)
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.member = m
		s.mu.Unlock()
		return nil
	}
	if err != nil {
		return err
	}
	release, err := s.assign(ctx, a)
	for _, x := range release {
		err = errors.Join(err, s.release(ctx, x.Partition, x.Life))
	}
	return err
}

// release gives a life up when no commit is under way.
func (s *source) release(ctx context.Context, partition uint32, life uint64) error {
	s.mu.Lock()
	member, saving := s.member, slices.Clone(s.saving)
	s.mu.Unlock()
	for _, answered := range saving {
		<-answered
	}
	return s.broker.Release(ctx, member, partition, life)
}

// assign makes the readers be those of a. It returns the lives that are to be given up.
func (s *source) assign(ctx context.Context, a Assignment) (release []Assigned, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done = a.Done
	mine := map[uint32]bool{}
	for _, x := range a.Parts {
		mine[x.Partition] = true
		r := s.readers[x.Partition]
		if r != nil && r.p.Life != x.Life {
			r.lose()
			s.forget(r)
			r = nil
		}
		switch {
		case r == nil && x.Revoked:
			release = append(release, x) // nothing of it was read here
		case r == nil && !s.stopped && !s.done:
			if r, err = s.open(ctx, x); err != nil {
				return release, err
			}
			if r != nil {
				s.readers[x.Partition] = r
				s.fresh = append(s.fresh, r)
			}
		case r != nil && x.Revoked:
			r.revoked.set()
			// Before the broker's deadline, when it would expel the member.
			if time.Until(x.Until) < s.world.Revoke/4 {
				r.lose()
				s.forget(r)
				release = append(release, x)
			}
		}
		if r != nil {
			signal(r.ready)
		}
	}
	for p, r := range s.readers {
		if !mine[p] {
			r.lose()
			s.forget(r)
		}
	}
	signal(s.news)
	return release, nil
}

// forget drops a reader that was lost; one that nobody accepted goes with it.
func (s *source) forget(r *reader) {
	if s.readers[r.part] == r {
		delete(s.readers, r.part)
	}
	for i, f := range s.fresh {
		if f == r {
			s.fresh = append(s.fresh[:i], s.fresh[i+1:]...)
			return
		}
	}
}

// open makes the reader of one life of a partition from what was committed; a first position is committed at once. There is none
// for a partition that is committed to its end.
func (s *source) open(ctx context.Context, x Assigned) (*reader, error) {
	c, err := s.broker.Committed(ctx, x.Partition)
	if err != nil {
		return nil, err
	}
	gone := make(chan struct{})
	p := &sdk.Partition{Source: s.env.Node, Name: fmt.Sprintf("%s/%d", Topic, x.Partition), Life: x.Life, Gone: gone}
	planned := sdk.Position{Stored: -1}
	if c.Value == nil {
		if c.Value, err = planned.AppendBinary(nil); err != nil {
			return nil, err
		}
		if err := s.broker.Commit(ctx, s.member, map[uint32]Committed{x.Partition: c}); err != nil {
			return nil, err
		}
	} else if planned, err = sdk.ParsePosition(c.Value); err != nil {
		return nil, err
	}
	planned.Next = c.Next
	if w := s.world; w.Bounded && w.Records > 0 && w.NumberAt(planned.Next) >= w.Records {
		return nil, nil
	}
	planned.Partition = p
	return newReader(s, x.Partition, p, gone, planned), nil
}

// Save is [sdk.Committer]'s: all or nothing.
func (s *source) Save(ctx context.Context, ps []sdk.Position) error {
	m := map[uint32]Committed{}
	s.mu.Lock()
	member := s.member
	for _, p := range ps {
		var part uint32
		if _, err := fmt.Sscanf(p.Partition.Name, Topic+"/%d", &part); err != nil {
			s.mu.Unlock()
			return fmt.Errorf("save: partition %q is not of this source", p.Partition.Name)
		}
		if r := s.readers[part]; s.cfg.Unfenced {
			// Whatever comes is written.
		} else if p.Partition.IsGone() || r == nil || r.p != p.Partition {
			s.mu.Unlock()
			return fmt.Errorf("save %s: %w", p.Partition.Name, ErrGone)
		}
		value, err := p.AppendBinary(nil)
		if err != nil {
			s.mu.Unlock()
			return fmt.Errorf("save %s: %w", p.Partition.Name, err)
		}
		m[part] = Committed{Next: p.Next, Value: value}
	}
	answered := make(chan struct{})
	s.saving = append(s.saving, answered)
	s.mu.Unlock()
	err := s.broker.Commit(ctx, member, m)
	s.mu.Lock()
	s.saving = slices.DeleteFunc(s.saving, func(x chan struct{}) bool { return x == answered })
	s.mu.Unlock()
	close(answered)
	return err
}

func (s *source) Stop(context.Context) error {
	s.mu.Lock()
	s.stopped, s.fresh = true, nil
	for _, r := range s.readers {
		r.stopped.set()
		signal(r.ready)
	}
	s.mu.Unlock()
	signal(s.news)
	return nil
}

func (s *source) Close(ctx context.Context) error {
	s.mu.Lock()
	s.stopped = true
	started := s.started
	s.mu.Unlock()
	close(s.quit)
	s.work.Wait()
	if !started || s.member == "" {
		return nil
	}
	return s.broker.Leave(ctx, s.member)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
