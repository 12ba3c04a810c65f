package sdk

import (
	"encoding"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Kind of a node.
type Kind string

const (
	KindSource    Kind = "source"
	KindProcessor Kind = "processor"
	KindSink      Kind = "sink"
)

// Plugin is a specification and the constructor that goes with its kind; the other two are nil.
type Plugin struct {
	Spec      Spec
	Source    func(env *Env, cfg any) (Source, error)
	Processor func(env *Env, cfg any) (Processor, error)
	Sink      func(env *Env, cfg any) (Sink, error)
}

// Spec says all about a plugin that can be said without running it: pure data and pure functions. Validation, planning,
// documentation, JSON schema and the plugin handshake read nothing else.
//
// Functions get the configuration as Config made it, filled from the user's file: a pointer to the plugin's struct.
type Spec struct {
	Kind Kind
	Type string // as users write it: "udp"
	Doc  string // one line
	Long string // paragraphs for the reference, optional

	// Config returns a pointer to a new configuration struct with its defaults filled in. Fields carry tags
	// `yaml:"name" doc:"one line"` and, optionally, `example:"..."`, `enum:"a,b,c"`, `required:"true"`. Field types: string, bool, ints,
	// float64, Size, time.Duration, Expr, types with UnmarshalText, and slices, string maps and structs of those.
	// If the struct has a method Validate() error, that is called too; it returns Problems.
	Config func() any

	// Ports names the outputs, the first being the default one; nil: one output named "out". A source has one; a sink none.
	Ports func(cfg any) []string
	// Output resolves the schema of each port from the (already united) input schema; sources get nil. A processor without
	// Output hands on its input's schema on every port.
	Output func(cfg any, in *Schema) ([]*Schema, error)
	// Needs lists the input columns that must exist when the columns wanted are wanted at each port. Nil, or a nil answer: the
	// whole input, and nothing is pruned past it. Passed-through columns that are wanted must be in the answer.
	Needs func(cfg any, in *Schema, wanted [][]string) []string
	// Input checks that the input schema has what the plugin reads; nil: whatever Needs names must be there.
	Input func(cfg any, in *Schema) error
	// Push returns the condition that a filter directly behind the source asks to have applied in the source: cfg with it, or
	// ok false. Sources only.
	Push func(cfg any, when Expr) (pushed any, ok bool)

	KeepsRange    bool // processors: records come out with the range they came in (not aggregate)
	Deterministic bool // processors: the same records give the same output in every life
	Parks         bool // processors: may hold records until something outside the record arrives; such a one is a Returner
	Commits       bool // sources: the Source is a Committer
	Slowable      bool // sources: can be slowed without losing (files, Kafka; not UDP, not capture)
	Lanes         func(cfg any) (n int, endless bool)
	HonoursKeys   bool // sinks: a block written again under its Key is stored once
	Ordered       bool // sinks: wants a partition's blocks in order
	Selections    bool // processors, and sinks that fuse: reads batches with a selection; in front of others core gathers the rows
	Fuses         bool // sinks: never waits for anything outside; runs in the lane before it, without a queue
	// Copies is about the most memory that a writer's own copies take (Writer.Held), beside the batches that it was given. Sinks; nil: it
	// makes none. The plan shows it, and readers wait when writers hold more.
	Copies  func(cfg any) Size
	Reasons []Reason // every reason the plugin drops for
	Losses  []Reason // every reason under which it counts what was lost before Weir (Books.Lost)
	Linux   bool     // runs on Linux only; elsewhere it says so when started
}

// PortNames is what Ports answers, with the default.
func (s *Spec) PortNames(cfg any) []string {
	if s.Kind == KindSink {
		return nil
	}
	if s.Ports == nil {
		return []string{"out"}
	}
	return s.Ports(cfg)
}

// Expr is an expression over columns in a configuration (package expr): `dst_port == 53 and bytes > 100`.
type Expr string

// Size is a number of bytes in a configuration: 4096, "256MiB", "1.5 GB". KiB, MiB, GiB are powers of 1,024; kB, MB, GB of 1,000.
type Size int64

var sizeUnits = []struct {
	name string
	n    float64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40}, {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}}

// UnmarshalText reads a size.
func (s *Size) UnmarshalText(text []byte) error {
	t, unit := strings.TrimSpace(string(text)), 1.0
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(t, u.name); ok {
			t, unit = strings.TrimSpace(rest), u.n
			break
		}
	}
	v, err := strconv.ParseFloat(t, 64)
	switch {
	case err == nil && v*unit > 1<<62, errors.Is(err, strconv.ErrRange):
		return fmt.Errorf("%q is too large a size", text)
	case err != nil || !(v >= 0): // nor what is no number
		return fmt.Errorf("%q is not a size such as 256MiB", text)
	}
	*s = Size(v * unit)
	return nil
}

// String is the size in the largest binary unit that divides it.
func (s Size) String() string {
	for i := 3; i >= 0; i-- {
		if n := Size(sizeUnits[i].n); s >= n && s%n == 0 {
			return fmt.Sprintf("%d%s", s/n, sizeUnits[i].name)
		}
	}
	return fmt.Sprintf("%dB", int64(s))
}

// MarshalText is String.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

var (
	_ encoding.TextUnmarshaler = (*Size)(nil)
	_ time.Duration            // written "250ms", "1m30s"
)
