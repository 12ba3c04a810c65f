package delivery

import (
	"errors"
	"time"

	"github.com/weirflow/weir/sdk"
)

// numbered says whether a schema has the columns that the processors and sinks here read.
func numbered(_ any, in *sdk.Schema) error {
	for _, c := range []string{"partition", "number"} {
		if in.Index(c) < 0 {
			return errors.New("the input has no column " + c + ": it must come of the numbered source")
		}
	}
	return nil
}

// chooser sends each record by its number to a port, or to none.
type chooser struct {
	env  *sdk.Env
	open *open
	port func(p *sdk.Partition, number uint64) int // -1: filtered
	rows [][]uint16
}

func newChooser(env *sdk.Env, port func(*sdk.Partition, uint64) int) *chooser {
	return &chooser{env: env, open: newOpen(env), port: port, rows: make([][]uint16, len(env.Out))}
}

func (c *chooser) Process(b *sdk.Batch, out sdk.Out) error {
	for i := range c.rows {
		c.rows[i] = c.rows[i][:0]
	}
	filtered := uint64(0)
	p := b.Range().Partition
	for i, n := range sdk.Values[uint64](b, b.Schema().Index("number")) {
		if port := c.port(p, n); port >= 0 {
			c.rows[port] = append(c.rows[port], uint16(i))
		} else {
			filtered++
		}
	}
	for port, rows := range c.rows {
		c.open.put(b, port, rows, out)
	}
	c.env.Books.Filtered.Add(filtered)
	b.Done(sdk.Delivered)
	b.Release()
	return nil
}

func (c *chooser) Tick(_ time.Time, blocked bool, out sdk.Out) (bool, error) {
	if blocked {
		return false, nil
	}
	return c.open.flush(nil, 4, out), nil
}

func (c *chooser) Flush(p *sdk.Partition, _ bool, out sdk.Out) (int, bool, error) {
	return 0, c.open.flush(p, 4, out), nil
}

func (c *chooser) Drain(_ sdk.Why, _ bool, out sdk.Out) (bool, error) {
	return c.open.flush(nil, 4, out), nil
}

func (c *chooser) Close() error { return nil }

// EmptiesConfig of [Empties].
type EmptiesConfig struct {
	Run uint64 `yaml:"run" doc:"records in a run"`
	Of  uint64 `yaml:"of" doc:"one run of so many is filtered"`
}

// Kept says whether Empties with c passes record number n on.
func (c EmptiesConfig) Kept(n uint64) bool { return n/c.Run%c.Of != 0 }

// Empties filters whole runs of records, so that batches and segments come out empty.
var Empties = sdk.Plugin{
	Spec: sdk.Spec{
		Kind: sdk.KindProcessor, Type: "empties", Doc: "filters whole runs of numbered records",
		Config: func() any { return &EmptiesConfig{Run: 40, Of: 3} },
		Input:  numbered, KeepsRange: true, Deterministic: true,
	},
	Processor: func(env *sdk.Env, cfg any) (sdk.Processor, error) {
		c := *cfg.(*EmptiesConfig)
		return newChooser(env, func(_ *sdk.Partition, n uint64) int {
			if c.Kept(n) {
				return 0
			}
			return -1
		}), nil
	},
}

// Sieve filters as Empties does, and copies nothing: it reads selections and gives selections out, so that core gathers them.
var Sieve = sdk.Plugin{
	Spec: sdk.Spec{
		Kind: sdk.KindProcessor, Type: "sieve", Doc: "selects what is not in whole runs of numbered records",
		Config: func() any { return &EmptiesConfig{Run: 40, Of: 3} },
		Input:  numbered, KeepsRange: true, Deterministic: true, Selections: true,
	},
	Processor: func(env *sdk.Env, cfg any) (sdk.Processor, error) {
		s := &sieve{env: env, c: *cfg.(*EmptiesConfig)}
		for i := range sdk.MaxRows {
			s.every = append(s.every, uint16(i))
		}
		return s, nil
	},
}

type sieve struct {
	sdk.Stateless
	env         *sdk.Env
	c           EmptiesConfig
	every, rows []uint16
}

func (s *sieve) Process(b *sdk.Batch, out sdk.Out) error {
	numbers := sdk.Values[uint64](b, b.Schema().Index("number"))
	from := b.Selection()
	if from == nil {
		from = s.every[:b.Len()]
	}
	s.rows = s.rows[:0]
	for _, r := range from {
		if s.c.Kept(numbers[r]) {
			s.rows = append(s.rows, r)
		}
	}
	s.env.Books.Forwarded.Add(uint64(len(s.rows)))
	s.env.Books.Filtered.Add(uint64(b.Rows() - len(s.rows)))
	few := b.Share(s.env.Out[0], true)
	v := few.Select(s.rows)
	for _, x := range []*sdk.Batch{few, b} {
		x.Done(sdk.Delivered)
		x.Release()
	}
	out.Emit(0, v)
	return nil
}

// RouteConfig of [Route] and [FickleRoute].
type RouteConfig struct {
	Ports []string `yaml:"ports" doc:"the outputs"`
	Run   uint64   `yaml:"run" doc:"records in a row that go the same way"`
}

// Port is where Route with c sends record number n.
func (c RouteConfig) Port(n uint64) int { return int(n / c.Run % uint64(len(c.Ports))) }

// Route sends runs of records to its outputs by turns.
var Route = route("numbered_route", "sends numbered records to outputs by number", true)

// FickleRoute sends records where their number and the life of their partition say: another life sends them elsewhere, as a
// lookup that has changed does.
var FickleRoute = route("fickle_route", "sends numbered records to outputs by number and by life", false)

func route(name, doc string, deterministic bool) sdk.Plugin {
	return sdk.Plugin{
		Spec: sdk.Spec{
			Kind: sdk.KindProcessor, Type: name, Doc: doc,
			Config: func() any { return &RouteConfig{Ports: []string{"a", "b"}, Run: 11} },
			Ports:  func(cfg any) []string { return cfg.(*RouteConfig).Ports },
			Input:  numbered, KeepsRange: true, Deterministic: deterministic,
		},
		Processor: func(env *sdk.Env, cfg any) (sdk.Processor, error) {
			c := *cfg.(*RouteConfig)
			return newChooser(env, func(p *sdk.Partition, n uint64) int {
				if !deterministic && p != nil {
					n = n*7 + p.Life*3
				}
				return c.Port(n)
			}), nil
		},
	}
}

// StampConfig of [Stamp].
type StampConfig struct {
	Generation uint32 `yaml:"generation" doc:"what the marker column gets"`
}

// Stamp writes the marker column `generation`: a chain that is swapped in the middle of a segment shows as a block with two
// values in it.
var Stamp = sdk.Plugin{
	Spec: sdk.Spec{
		Kind: sdk.KindProcessor, Type: "stamp", Doc: "writes the generation of its chain into every record",
		Config: func() any { return &StampConfig{} },
		Output: func(_ any, in *sdk.Schema) ([]*sdk.Schema, error) {
			if i := in.Index("generation"); i >= 0 {
				if in.Field(i).Type != sdk.Uint32 {
					return nil, errors.New("the input's column generation is not a uint32")
				}
				return []*sdk.Schema{in}, nil
			}
			return []*sdk.Schema{sdk.NewSchema(append(append([]sdk.Field{}, in.Fields()...), Schema.Field(ColGeneration))...)}, nil
		},
		KeepsRange: true, Deterministic: true,
	},
	Processor: func(env *sdk.Env, cfg any) (sdk.Processor, error) {
		return &stamp{env: env, gen: cfg.(*StampConfig).Generation, all: sdk.NewGather(env.In, env.Out[0])}, nil
	},
}

type stamp struct {
	sdk.Stateless
	env *sdk.Env
	gen uint32
	all *sdk.Gather
}

func (s *stamp) Process(b *sdk.Batch, out sdk.Out) error {
	o := s.env.NewBatch(s.env.Out[0], b.Rows())
	s.all.Append(o, b, nil, b.Rows())
	col := o.Schema().Index("generation")
	for i := range o.Rows() {
		sdk.Claim[uint32](o, col, 0, o.Rows())[i] = s.gen
	}
	o.Derive(b)
	o.Seal()
	s.env.Books.Forwarded.Add(uint64(o.Rows()))
	b.Done(sdk.Delivered)
	b.Release()
	out.Emit(0, o)
	return nil
}
