package generate

import (
	"context"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/weirflow/weir/formats/emulate"
	"github.com/weirflow/weir/sdk"
)

// source hands out its readers at once and stops them together.
type source struct {
	env   *sdk.Env
	cfg   *Config
	base  time.Time // of the exporters' clocks
	stop  chan struct{}
	halt  sync.Once
	next  int        // reader to hand out
	books sync.Mutex // readers of several lanes count in one set of books, once a batch
}

func newSource(env *sdk.Env, cfg *Config) (*source, error) {
	base, err := cfg.start()
	if err != nil {
		return nil, err
	}
	if base.IsZero() {
		base = env.Now()
	}
	return &source{env: env, cfg: cfg, base: base, stop: make(chan struct{})}, nil
}

// Accept hands out the next of the readers, and io.EOF when all have been handed out.
func (s *source) Accept(ctx context.Context) (sdk.Reader, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.next == s.cfg.Readers || s.stopped() {
		return nil, io.EOF
	}
	r, err := s.newReader(s.next)
	if err != nil {
		return nil, err
	}
	s.next++
	return r, nil
}

func (s *source) newReader(i int) (*reader, error) {
	e, err := emulate.New(s.cfg.options(i, s.base))
	if err != nil {
		return nil, err
	}
	r := &reader{
		src: s, emulator: e, columns: newColumns(s.env), left: endless,
		partition: &sdk.Partition{Source: s.env.Node, Name: strconv.Itoa(i)},
		pace:      pace{rate: float64(s.cfg.Rate) / float64(s.cfg.Readers), burst: s.cfg.Burst > 0},
		wire:      newWire(s.cfg, i),
		clock:     clock{start: s.base.UnixNano(), virtual: s.cfg.Start != "", rate: uint64(s.cfg.Rate), readers: uint64(s.cfg.Readers)},
	}
	if r.clock.rate == 0 {
		r.clock.rate = virtualRate
	}
	if n := s.cfg.Records; n > 0 {
		r.left = n / s.cfg.Readers
		if i < n%s.cfg.Readers {
			r.left++
		}
	}
	if s.cfg.Ring > 0 {
		gap := time.Duration(uint64(time.Second) * r.clock.readers / r.clock.rate)
		if r.ring, err = e.Ring(s.cfg.Ring, s.base.UnixNano(), gap); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (s *source) stopped() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

// Stop ends all readers: nothing is in hand between two reads.
func (s *source) Stop(context.Context) error {
	s.halt.Do(func() { close(s.stop) })
	return nil
}

func (s *source) Close(context.Context) error { return nil }

// account counts what a batch's making made, and by how much what waits has become more.
func (s *source) account(m *made, waits int) {
	s.books.Lock()
	defer s.books.Unlock()
	b := s.env.Books
	b.Received.Add(uint64(m.datagrams))
	b.InHand.Add(int64(waits))
	b.Lost(lostFlows, uint64(m.lostFlows))
	b.Lost(lostDatagrams, uint64(m.lostDatagrams))
	if m.templates > 0 {
		b.Note(floodTemplates, uint64(m.templates))
	}
}

// abandon counts datagrams that waited and were not asked for any more.
func (s *source) abandon(waiting int) {
	s.books.Lock()
	defer s.books.Unlock()
	s.env.Books.Drop(notSent, uint64(waiting))
	s.env.Books.InHand.Add(-int64(waiting))
}
