package plan

import (
	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/sdk"
)

// ErrorsPort is the port number of the reserved stream `errors`.
const ErrorsPort = -1

// Plan is one pipeline, checked and laid out.
type Plan struct {
	Pipeline *config.Pipeline
	Nodes    []*Node // a node comes after all it reads from
	Edges    []*Edge
	Stages   []*Stage // in the order of their first nodes
	Keyed    []*Node  // the sinks that honour keys and get cuts, by id: bit i of sdk.End.Sinks is Keyed[i]
	Limits   []string // what the promise does not cover, as sentences (DESIGN 7.8)
	Pushed   []Pushed // filters that their source applies: they are no nodes of the plan
}

// Pushed is a filter that has gone into the source in front of it.
type Pushed struct {
	Filter, Source string // ids
	When           sdk.Expr
}

// Node with its schemas resolved.
type Node struct {
	*config.Node
	Index int // in Plan.Nodes

	Inputs  []*Edge
	Outputs [][]*Edge // by port; a port that nobody reads has none
	Errors  []*Edge   // the sinks that read `errors`; set on every node that can refuse records

	FullIn  *sdk.Schema   // the union of the inputs, before pruning
	FullOut []*sdk.Schema // by port, before pruning
	In      *sdk.Schema   // what arrives: FullIn without columns that nobody needs; nil for a source
	Out     []*sdk.Schema // what leaves, by port

	Stage    *Stage
	Required bool // a required sink can be reached from here (for a sink: it is one)
	Keyed    bool // sinks: gets cuts and writes blocks under keys
	// BlockBytes: sinks: most bytes of a block: batch.bytes, but not more than its lane's share of half of the queue in front.
	BlockBytes sdk.Size
	Promise    string // sinks: "at least once", "effectively once", ..., as `weir plan` prints it
}

// Edge is one reading of one port by one node.
type Edge struct {
	Index  int // in Plan.Edges
	From   *Node
	Port   int // ErrorsPort for the reserved stream
	To     *Node
	Schema *sdk.Schema // what the reader gets: its In, as far as this input has it
	Fused  bool        // both in one stage
	// Tracked: acknowledgements cross here, because a required sink can be reached over it.
	Tracked bool
	// Marks of cuts cross here: it leads to a keyed sink and every node up to it keeps ranges.
	Marks bool
}

// Stage is neighbouring nodes that run in one goroutine. Its first node is a source, or reads from a queue.
type Stage struct {
	Index int
	Nodes []*Node // in the order in which a batch meets them
	// Lanes is how many run at first; MaxLanes how many may (bounded work is elastic). 0 for a source that decides by itself: a
	// lane for each endless reader.
	Lanes, MaxLanes int
	Queue           *Queue // nil for a source's stage
	// ByPartition: all batches of one partition go to one lane (behind a committing source, or before a sink that wants order).
	ByPartition bool
}

// Head is the first node.
func (s *Stage) Head() *Node { return s.Nodes[0] }

// Queue in front of a stage.
type Queue struct {
	Bytes    int64 // bytes held, never above
	Batches  int
	WhenFull config.WhenFull
}
