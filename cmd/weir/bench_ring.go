package main

import (
	"context"
	"io"
	"sync/atomic"
	"time"

	"github.com/weirflow/weir/sdk"
)

// ring is batches in memory that a source gives again and again.
type ring struct {
	schema  *sdk.Schema
	batches []*sdk.Batch
	rows    int
	bytes   int
}

func (r *ring) release() {
	for _, b := range r.batches {
		b.Done(sdk.Delivered)
		b.Release()
	}
	r.batches = nil
}

// plugin is a source of the ring: one reader, as fast as its batches are taken.
func (r *ring) plugin() sdk.Plugin {
	return sdk.Plugin{
		Spec: sdk.Spec{
			Kind: sdk.KindSource, Type: "ring", Doc: "gives batches in memory again and again", Config: func() any { return &struct{}{} },
			Output:   func(any, *sdk.Schema) ([]*sdk.Schema, error) { return []*sdk.Schema{r.schema}, nil },
			Slowable: true,
			Lanes:    func(any) (int, bool) { return 1, true },
		},
		Source: func(env *sdk.Env, _ any) (sdk.Source, error) {
			return &ringSource{ring: r, env: env, schema: env.Out[0]}, nil
		},
	}
}

// ringSource is the source and its one reader.
type ringSource struct {
	ring    *ring
	env     *sdk.Env
	schema  *sdk.Schema
	given   bool
	at      int
	stopped atomic.Bool
}

func (s *ringSource) Accept(context.Context) (sdk.Reader, error) {
	if s.given || s.stopped.Load() {
		return nil, io.EOF
	}
	s.given = true
	return s, nil
}

func (s *ringSource) Read(context.Context, time.Duration) (*sdk.Batch, error) {
	if s.stopped.Load() {
		return nil, io.EOF
	}
	b := s.ring.batches[s.at].Share(s.schema, false)
	if s.at++; s.at == len(s.ring.batches) {
		s.at = 0
	}
	s.env.Books.Received.Add(uint64(b.Rows()))
	return b, nil
}

func (s *ringSource) Partition() *sdk.Partition {
	return &sdk.Partition{Source: s.env.Node, Name: "ring"}
}
func (s *ringSource) Ready() <-chan struct{} { return nil }

func (s *ringSource) Stop(context.Context) error {
	s.stopped.Store(true)
	return nil
}

func (s *ringSource) Close(context.Context) error { return nil }
