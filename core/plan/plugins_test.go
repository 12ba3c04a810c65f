package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/sdk"
)

// The plugins of these tests: one for each thing that a specification can say. They are never run.

type options struct {
	Columns []string `yaml:"columns" doc:"columns to need; empty: all"`
	When    sdk.Expr `yaml:"when" doc:"a condition"`
	Outputs []string `yaml:"outputs" doc:"names of the outputs"`
	pushed  sdk.Expr
}

type filterOptions struct{ options }

func (o *filterOptions) Condition() sdk.Expr { return o.When }

var flowSchema = sdk.NewSchema(
	sdk.Field{Name: "received", Type: sdk.Timestamp},
	sdk.Field{Name: "exporter_addr", Type: sdk.Addr},
	sdk.Field{Name: "src_addr", Type: sdk.Addr},
	sdk.Field{Name: "dst_addr", Type: sdk.Addr},
	sdk.Field{Name: "dst_port", Type: sdk.Uint16},
	sdk.Field{Name: "protocol", Type: sdk.Uint8},
	sdk.Field{Name: "bytes", Type: sdk.Uint64},
	sdk.Field{Name: "ttl", Type: sdk.Uint8, Extra: true},
	sdk.Field{Name: "vlan", Type: sdk.Uint16, Extra: true},
)

// wideSchema has more columns than anybody wants to read twice.
var wideSchema = sdk.NewSchema(func() []sdk.Field {
	f := slices.Clone(flowSchema.Fields())
	for i := range 20 {
		f = append(f, sdk.Field{Name: fmt.Sprintf("column_%02d", i), Type: sdk.Uint32})
	}
	return f
}()...)

var groupSchema = sdk.NewSchema(
	sdk.Field{Name: "window", Type: sdk.Timestamp},
	sdk.Field{Name: "dst_port", Type: sdk.Uint16},
	sdk.Field{Name: "bytes", Type: sdk.Uint64},
)

var oddSchema = sdk.NewSchema(sdk.Field{Name: "received", Type: sdk.Timestamp}, sdk.Field{Name: "bytes", Type: sdk.Text})

func newOptions() any { return &options{} }

func one(s *sdk.Schema) func(any, *sdk.Schema) ([]*sdk.Schema, error) {
	return func(any, *sdk.Schema) ([]*sdk.Schema, error) { return []*sdk.Schema{s}, nil }
}

func lanes(n int, endless bool) func(any) (int, bool) {
	return func(any) (int, bool) { return n, endless }
}

func outputs(cfg any) []string { return cfg.(*options).Outputs }

func listed(cfg any, in *sdk.Schema, _ [][]string) []string { return cfg.(*options).Columns }

// flat is what is wanted at all ports.
func flat(wanted [][]string) []string {
	out := []string{}
	for _, w := range wanted {
		out = append(out, w...)
	}
	return out
}

// named are the words of a condition that look like columns, with their offsets.
func named(when sdk.Expr) (words []string, offsets []int) {
	rest, at := string(when), 0
	for rest != "" {
		w, tail, _ := strings.Cut(rest, " ")
		if w != "" && w[0] >= 'a' && w[0] <= 'z' && w != "and" {
			words, offsets = append(words, w), append(offsets, at)
		}
		at += len(rest) - len(tail)
		rest = tail
	}
	return words, offsets
}

func checkCondition(when sdk.Expr, in *sdk.Schema) error {
	var ps sdk.Problems
	words, offsets := named(when)
	if len(words) == 0 && when != "" {
		return &sdk.Problem{Message: "a filter without columns keeps all or nothing"}
	}
	for i, w := range words {
		if i > 0 && words[i-1] == w {
			ps = append(ps, &sdk.Problem{Path: "when", Offset: offsets[i], Message: "`" + w + "` twice"})
		}
		if in.Index(w) < 0 {
			ps = append(ps, &sdk.Problem{Path: "when", Offset: offsets[i], Message: "there is no column `" + w + "`", Help: didYouMean(w, in.Names(), "there are")})
		}
	}
	return ps.Err()
}

// The catalogue by type, and as a registry: package config takes it from there.
var catalogue, registry = plugins()

func plugins() (map[string]*sdk.Plugin, *config.Registry) {
	byType, reg := map[string]*sdk.Plugin{}, config.NewRegistry()
	for _, s := range []sdk.Spec{
		{Kind: sdk.KindSource, Type: "udp", Output: one(sdk.Datagram), Lanes: lanes(4, true)},
		{Kind: sdk.KindSource, Type: "socket", Output: one(sdk.Datagram)},
		{Kind: sdk.KindSource, Type: "kafka", Output: one(sdk.Datagram), Commits: true, Slowable: true, Lanes: lanes(0, true)},
		{Kind: sdk.KindSource, Type: "file", Output: one(flowSchema), Slowable: true, Lanes: lanes(0, false),
			Push: func(cfg any, when sdk.Expr) (any, bool) {
				o := *cfg.(*options)
				if strings.Contains(string(when), "vlan") {
					return nil, false
				}
				if o.pushed != "" {
					when = o.pushed + " and " + when
				}
				o.pushed = when
				return &o, true
			}},
		{Kind: sdk.KindSource, Type: "lean", Output: one(flowSchema), Slowable: true, Lanes: lanes(1, false),
			Needs: func(_ any, _ *sdk.Schema, wanted [][]string) []string { return append(flat(wanted), "received") }},
		{Kind: sdk.KindSource, Type: "stream", Output: one(flowSchema), Commits: true, Slowable: true},
		{Kind: sdk.KindProcessor, Type: "hold", KeepsRange: true, Deterministic: true, Parks: true},
		{Kind: sdk.KindSource, Type: "wide", Output: one(wideSchema), Slowable: true, Lanes: lanes(2, false)},
		{Kind: sdk.KindSource, Type: "tcp", Output: one(flowSchema), Slowable: true},
		{Kind: sdk.KindSource, Type: "odd", Output: one(oddSchema)},
		{Kind: sdk.KindSource, Type: "mute"},
		{Kind: sdk.KindProcessor, Type: "decode", KeepsRange: true, Deterministic: true, Parks: true, Output: one(flowSchema),
			Needs: func(any, *sdk.Schema, [][]string) []string { return []string{"payload", "exporter_addr", "received"} }},
		{Kind: sdk.KindProcessor, Type: "filter", KeepsRange: true, Deterministic: true, Config: func() any { return &filterOptions{} },
			Input: func(cfg any, in *sdk.Schema) error { return checkCondition(cfg.(*filterOptions).When, in) },
			Needs: func(cfg any, _ *sdk.Schema, wanted [][]string) []string {
				words, _ := named(cfg.(*filterOptions).When)
				return append(flat(wanted), words...)
			}},
		{Kind: sdk.KindProcessor, Type: "enrich", KeepsRange: true,
			Output: func(_ any, in *sdk.Schema) ([]*sdk.Schema, error) {
				if in.Index("src_country") >= 0 {
					return []*sdk.Schema{in}, nil
				}
				f := append([]sdk.Field{}, in.Fields()...)
				return []*sdk.Schema{sdk.NewSchema(append(f, sdk.Field{Name: "src_country", Type: sdk.Name})...)}, nil
			},
			Needs: func(_ any, in *sdk.Schema, wanted [][]string) []string {
				need := []string{}
				for _, w := range flat(wanted) {
					if w == "src_country" {
						w = "src_addr"
					}
					need = append(need, w)
				}
				return need
			}},
		{Kind: sdk.KindProcessor, Type: "route", KeepsRange: true, Deterministic: true, Ports: outputs},
		{Kind: sdk.KindProcessor, Type: "lookup", KeepsRange: true, Ports: outputs},
		{Kind: sdk.KindProcessor, Type: "plain", KeepsRange: true, Deterministic: true},
		{Kind: sdk.KindProcessor, Type: "aggregate", Deterministic: true, Output: one(groupSchema),
			Needs: func(any, *sdk.Schema, [][]string) []string { return []string{"received", "dst_port", "bytes"} }},
		{Kind: sdk.KindProcessor, Type: "liar", Ports: func(any) []string { return []string{"a", "b"} }, Output: one(flowSchema)},
		{Kind: sdk.KindProcessor, Type: "picky", Output: func(any, *sdk.Schema) ([]*sdk.Schema, error) {
			return nil, sdk.Problems{{Path: "columns[0]", Message: "not this column"}, {Message: "not this input"}}
		}},
		{Kind: sdk.KindSink, Type: "clickhouse", HonoursKeys: true, Needs: listed},
		{Kind: sdk.KindSink, Type: "parquet", Needs: listed},
		{Kind: sdk.KindSink, Type: "topic", Ordered: true},
		{Kind: sdk.KindSink, Type: "stdout", Fuses: true, Needs: listed},
		{Kind: sdk.KindSink, Type: "discard", Fuses: true, Needs: func(any, *sdk.Schema, [][]string) []string { return []string{} }},
	} {
		if s.Config == nil && s.Type != "discard" {
			s.Config = newOptions
		}
		if s.Type == "route" || s.Type == "lookup" {
			s.Needs = func(cfg any, _ *sdk.Schema, wanted [][]string) []string {
				words, _ := named(cfg.(*options).When)
				return append(flat(wanted), words...)
			}
		}
		if err := reg.Add(sdk.Plugin{Spec: s}); err != nil {
			panic(err)
		}
		byType[s.Type] = reg.Lookup(s.Kind, s.Type)
	}
	return byType, reg
}

// settings is the common part of a test plugin's configuration.
func settings(cfg any) *options {
	if f, ok := cfg.(*filterOptions); ok {
		return &f.options
	}
	return cfg.(*options)
}

// node makes one node of a catalogued type with its defaults.
func node(id, typ string) *config.Node {
	p := catalogue[typ]
	n := &config.Node{ID: id, Kind: p.Spec.Kind, Type: typ, Plugin: p, OnError: config.DeadLetter}
	if p.Spec.Config != nil {
		n.Config = p.Spec.Config()
	}
	return n
}
