package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/sdktest/delivery"
)

// mini is the smallest thing that keeps the promise of cuts: the numbered source into a keyed store, one segment of a partition at
// a time: saved, written under its key, saved as stored. With a rule off it breaks the promise, and the check must say so.
type mini struct {
	broker delivery.Broker
	rows   int  // of a segment
	noPlan bool // planned ends are not cut at
	early  bool // positions are saved before the store has the rows
	swap   bool // the generation changes in the middle of a segment
}

// segment is the open segment of one reader.
type segment struct {
	r       sdk.Reader
	p       *sdk.Partition
	next    int64 // where it begins
	stored  int64
	ends    []int64
	batches []*sdk.Batch
	rows    int
	over    bool
}

func (m *mini) run(ctx context.Context) error {
	env := &sdk.Env{Pipeline: "mini", Node: "source", Now: time.Now, Pool: sdk.NewPool(nil), Books: &sdk.Books{}, Out: []*sdk.Schema{delivery.Schema}}
	src, store := delivery.Source(m.broker), delivery.Store(m.broker)
	source, err := src.Source(env, src.Spec.Config())
	if err != nil {
		return err
	}
	sink, err := store.Sink(&sdk.Env{Node: "a"}, &delivery.StoreConfig{Latency: 30 * time.Millisecond})
	if err != nil {
		return err
	}
	w, err := sink.Open(ctx, delivery.Schema)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	readers, failed, quit := make(chan sdk.Reader), make(chan error, 1), make(chan struct{})
	go func() {
		defer close(quit)
		for {
			r, err := source.Accept(ctx)
			if err != nil {
				failed <- err
				return
			}
			select {
			case readers <- r:
			case <-ctx.Done():
			}
		}
	}()
	err = m.loop(ctx, source.(sdk.Committer), w, readers, failed)
	cancel()
	<-quit
	return errors.Join(err, ignore(source.Close(context.Background())), w.Close(context.Background()))
}

// ignore lets a killed process close.
func ignore(err error) error {
	if errors.Is(err, delivery.ErrKilled) {
		return nil
	}
	return err
}

func (m *mini) loop(ctx context.Context, c sdk.Committer, w sdk.Writer, readers chan sdk.Reader, failed chan error) error {
	var segs []*segment
	done := false
	for {
		select {
		case r := <-readers:
			p := r.(sdk.Planner).Planned()
			s := &segment{r: r, p: r.Partition(), next: p.Next, stored: p.Stored}
			if p.Stored >= p.Next {
				s.ends = append(s.ends, p.Stored)
			}
			for _, e := range p.Ends {
				s.ends = append(s.ends, e.Last)
			}
			if m.noPlan {
				s.ends = nil
			}
			segs = append(segs, s)
			continue
		case err := <-failed:
			if !errors.Is(err, io.EOF) {
				return err
			}
			done = true
		default:
		}
		idle := true
		rest := segs[:0]
		for _, s := range segs {
			moved, err := m.step(ctx, c, w, s)
			if err != nil {
				return err
			}
			if moved {
				idle = false
			}
			if !s.over {
				rest = append(rest, s)
			}
		}
		segs = rest
		if done && len(segs) == 0 {
			return nil
		}
		if idle {
			select {
			case <-time.After(5 * time.Millisecond):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// step reads one batch of a partition and cuts if it is time.
func (m *mini) step(ctx context.Context, c sdk.Committer, w sdk.Writer, s *segment) (moved bool, err error) {
	b, err := s.r.Read(ctx, 0)
	switch {
	case errors.Is(err, io.EOF):
		if err = m.cut(ctx, c, w, s); err != nil {
			return false, err
		}
		fallthrough
	case errors.Is(err, sdk.ErrRevoked):
		s.drop()
		s.over = true
		return true, ignore(s.r.Close(ctx))
	case err != nil || b == nil:
		return false, err
	}
	s.batches = append(s.batches, b)
	s.rows += b.Rows()
	last := b.Range().Last
	for len(s.ends) > 0 && s.ends[0] < last {
		s.ends = s.ends[1:]
	}
	if len(s.ends) > 0 && last == s.ends[0] {
		s.ends = s.ends[1:]
		return true, m.cut(ctx, c, w, s)
	}
	if len(s.ends) == 0 && s.rows >= m.rows {
		return true, m.cut(ctx, c, w, s)
	}
	return true, nil
}

// cut saves the segment, writes it and saves that.
func (m *mini) cut(ctx context.Context, c sdk.Committer, w sdk.Writer, s *segment) error {
	defer s.drop()
	if s.rows == 0 {
		return nil
	}
	last := s.batches[len(s.batches)-1].Range().Last
	if last > s.stored {
		p := sdk.Position{Partition: s.p, Next: s.next, Stored: max(s.stored, s.next-1), Ends: []sdk.End{{Last: last, Sinks: 1}}}
		if m.early {
			p = sdk.Position{Partition: s.p, Next: last + 1, Stored: last}
		}
		if ok, err := m.save(ctx, c, s, p); !ok {
			return err
		}
		if err := m.write(ctx, w, s, last); err != nil {
			return err
		}
		s.stored = last
	}
	_, err := m.save(ctx, c, s, sdk.Position{Partition: s.p, Next: last + 1, Stored: s.stored})
	s.next = last + 1
	return err
}

// save says whether the partition is still ours.
func (m *mini) save(ctx context.Context, c sdk.Committer, s *segment, p sdk.Position) (bool, error) {
	err := c.Save(ctx, []sdk.Position{p})
	if errors.Is(err, delivery.ErrGone) || errors.Is(err, delivery.ErrUnknownMember) {
		s.drop()
		return false, nil
	}
	return err == nil, err
}

func (m *mini) write(ctx context.Context, w sdk.Writer, s *segment, last int64) error {
	if m.swap {
		sdk.Claim[uint32](s.batches[0], delivery.ColGeneration, 0, s.batches[0].Rows())[0] = 7
	}
	block := &sdk.Block{Batches: s.batches, Rows: s.rows, Key: fmt.Sprintf("mini/a/%s/%d-%d", s.p.Name, s.next, last)}
	for {
		var got error
		if err := w.Write(ctx, block, func(err error) { got = err }); err != nil {
			return err
		}
		switch {
		case got == nil:
			return nil
		case sdk.ClassOf(got) == sdk.Transient:
			time.Sleep(20 * time.Millisecond)
		case sdk.ClassOf(got) == sdk.Permanent:
			if err := m.refuse(ctx, block, got); err != nil {
				return err
			}
		default:
			return got
		}
	}
}

// refuse sends the rows at fault to the dead letters and leaves them out.
func (m *mini) refuse(ctx context.Context, block *sdk.Block, refused error) error {
	e, _ := errors.AsType[*sdk.Error](refused)
	bad := map[int]bool{}
	for _, row := range e.Rows {
		bad[row] = true
	}
	var dead []delivery.Record
	at := 0
	for i, b := range block.Batches {
		var keep []uint16
		for row := range b.Rows() {
			if bad[at] {
				dead = append(dead, delivery.Record{Partition: sdk.Values[uint32](b, 0)[row], Number: sdk.Values[uint64](b, 1)[row]})
			} else {
				keep = append(keep, uint16(row))
			}
			at++
		}
		rest := sdk.NewPool(nil).Get(delivery.Schema, max(len(keep), 1))
		if keep != nil {
			sdk.NewGather(delivery.Schema, delivery.Schema).Append(rest, b, keep, 0)
		}
		rest.Seal()
		rest.Root(b.Range())
		block.Batches[i] = rest
		b.Done(sdk.Delivered)
		b.Release()
	}
	block.Rows -= len(dead)
	_, err := m.broker.Write(ctx, delivery.Write{Store: "a", Records: dead, Dead: true})
	return err
}

func (s *segment) drop() {
	for _, b := range s.batches {
		b.Done(sdk.Dropped)
		b.Release()
	}
	s.batches, s.rows = nil, 0
}
