package config

import (
	"time"

	"github.com/weirflow/weir/sdk"
)

// Pos is a place in a file, 1-based; columns count characters. The zero Pos is no place.
type Pos struct {
	File      string
	Line, Col int
}

// Pipeline is one file, read and checked as far as each node alone can be.
type Pipeline struct {
	Name  string // the file's name without directory and extension
	File  string
	Text  []byte  // for excerpts
	Nodes []*Node // sources, then processors, then sinks, each in the file's order

	// DrainTimeout bounds the shutdown: what is not settled by then is counted as dropped{stopped}. 0: nothing is waited for.
	DrainTimeout time.Duration
	// Park is how long a cut waits for records that are held for something outside them (a template).
	Park time.Duration

	Doc    string            // what the pipeline is for
	Params map[string]string // as given, else by default

	secrets *[]secret // what was put in by ${...}
}

// Node is one source, processor or sink as the file has it.
type Node struct {
	ID     string
	Kind   sdk.Kind
	Type   string
	Plugin *sdk.Plugin // nil if the type is not known
	Config any         // as Spec.Config made it, filled

	From     []Ref // as written; empty: the default wiring
	Lanes    int   // 0: as the plan decides
	Queue    Queue
	Batch    Batch
	Retry    Retry
	OnError  OnError
	Optional bool // `ack: optional`
	InFlight int  // sinks: blocks being written at a time
	Epoch    string

	At        Pos            // of the id
	Positions map[string]Pos // by path below the node: "type", "with.rules[2].when", "from[0]", "queue.bytes"

	path    string            // in messages: "sinks.clickhouse"
	scalars map[string]*value // by path, for places within an option's text
	secrets *[]secret         // the pipeline's
}

// Pos is the place of path below the node, or of the nearest thing above it that has one.
func (n *Node) Pos(path string) Pos {
	for p := path; p != ""; p = parentPath(p) {
		if at, ok := n.Positions[p]; ok {
			return at
		}
	}
	return n.At
}

func parentPath(p string) string {
	for i := len(p) - 1; i >= 0; i-- {
		if p[i] == '.' || p[i] == '[' {
			return p[:i]
		}
	}
	return ""
}

// Ref names an output: `id`, `id.output`, or the reserved stream `errors`.
type Ref struct {
	Node, Port string // Port empty: the first; Node "errors": the reserved stream
	At         Pos
}

// Queue is what a user asks of the queue in front of a node. Zero values: as the plan decides.
type Queue struct {
	Bytes    sdk.Size
	Batches  int
	WhenFull WhenFull
	Asked    bool // something of it was written: a queue stands
}

// WhenFull is what a full queue does with the next batch.
type WhenFull string

const (
	Block      WhenFull = "block"
	DropOldest WhenFull = "drop_oldest"
	DropNewest WhenFull = "drop_newest"
)

// Batch bounds a sink's block. Zero values: as the plan decides.
type Batch struct {
	Rows  int
	Bytes sdk.Size
	Age   time.Duration
}

// Retry of a sink's transient errors: back-off from Initial, doubled up to Max; Attempts 0: for ever.
type Retry struct {
	Initial, Max time.Duration
	Attempts     int
}

// OnError is what becomes of a refused record.
type OnError string

const (
	DeadLetter OnError = "dead_letter" // to the stream `errors`
	Drop       OnError = "drop"
	Fail       OnError = "fail" // the pipeline stops; nothing of it is committed
)
