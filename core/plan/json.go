package plan

import (
	"encoding/json"

	"github.com/weirflow/weir/sdk"
)

// The JSON form of a plan, for `weir plan -o json` and the admin page. Nodes refer to each other by id.
type jsonPlan struct {
	Pipeline string      `json:"pipeline"`
	File     string      `json:"file,omitempty"`
	Stages   []jsonStage `json:"stages"`
	Nodes    []jsonNode  `json:"nodes"`
	Edges    []jsonEdge  `json:"edges"`
	Keyed    []string    `json:"keyed"`
	Pushed   []string    `json:"pushed"`
	Limits   []string    `json:"limits"`
}

type jsonStage struct {
	Nodes       []string   `json:"nodes"`
	Lanes       int        `json:"lanes"`     // 0: as many as the source has readers
	MaxLanes    int        `json:"max_lanes"` // 0: not known
	ByPartition bool       `json:"by_partition"`
	Queue       *jsonQueue `json:"queue,omitempty"`
}

type jsonQueue struct {
	Bytes    int64  `json:"bytes"`
	Batches  int    `json:"batches"`
	WhenFull string `json:"when_full"`
}

type jsonNode struct {
	ID       string       `json:"id"`
	Kind     sdk.Kind     `json:"kind"`
	Type     string       `json:"type"`
	Stage    int          `json:"stage"` // index into stages
	Required bool         `json:"required"`
	Needs    []jsonColumn `json:"needs,omitempty"`
	Of       int          `json:"of,omitempty"` // how many columns come in before pruning
	Outputs  []jsonOutput `json:"outputs,omitempty"`
	Sink     *jsonSink    `json:"sink,omitempty"`
}

type jsonSink struct {
	Keyed    bool   `json:"keyed"`
	Promise  string `json:"promise"`
	Rows     int    `json:"batch_rows"`
	Bytes    int64  `json:"batch_bytes"`
	Age      string `json:"batch_age"`
	InFlight int    `json:"in_flight"`
	Copies   int64  `json:"copies_bytes,omitempty"`
}

type jsonOutput struct {
	Name    string       `json:"name"`
	Read    bool         `json:"read"`
	Columns []jsonColumn `json:"columns"`
	Of      int          `json:"of"`
}

type jsonColumn struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

type jsonEdge struct {
	From    string   `json:"from"`
	Output  string   `json:"output"` // "errors" for the reserved stream
	To      string   `json:"to"`
	Columns []string `json:"columns"`
	Fused   bool     `json:"fused"`
	Tracked bool     `json:"tracked"`
	Marks   bool     `json:"marks"`
}

// JSON is the plan as an indented JSON document.
func (p *Plan) JSON() ([]byte, error) {
	out := jsonPlan{
		Pipeline: p.Pipeline.Name, File: p.Pipeline.File,
		Stages: []jsonStage{}, Nodes: []jsonNode{}, Edges: []jsonEdge{}, Keyed: []string{},
		Pushed: p.pushed(), Limits: append([]string{}, p.Limits...),
	}
	for _, s := range p.Stages {
		j := jsonStage{Nodes: ids(s.Nodes), Lanes: s.Lanes, MaxLanes: s.MaxLanes, ByPartition: s.ByPartition}
		if q := s.Queue; q != nil {
			j.Queue = &jsonQueue{q.Bytes, q.Batches, string(q.WhenFull)}
		}
		out.Stages = append(out.Stages, j)
	}
	for _, n := range p.Nodes {
		out.Nodes = append(out.Nodes, n.json())
	}
	for _, e := range p.Edges {
		out.Edges = append(out.Edges, jsonEdge{
			From: e.From.ID, Output: e.portName(), To: e.To.ID, Columns: e.Schema.Names(), Fused: e.Fused, Tracked: e.Tracked, Marks: e.Marks,
		})
	}
	out.Keyed = append(out.Keyed, ids(p.Keyed)...)
	return json.MarshalIndent(out, "", "  ")
}

func (n *Node) json() jsonNode {
	j := jsonNode{ID: n.ID, Kind: n.Kind, Type: n.Type, Stage: n.Stage.Index, Required: n.Required}
	if n.In != nil {
		j.Needs, j.Of = jsonColumns(n.In), n.FullIn.Len()
	}
	for port, s := range n.Out {
		j.Outputs = append(j.Outputs, jsonOutput{
			Name: n.portName(port), Read: len(n.Outputs[port]) > 0, Columns: jsonColumns(s), Of: n.FullOut[port].Len(),
		})
	}
	if n.Kind == sdk.KindSink {
		j.Sink = &jsonSink{n.Keyed, n.Promise, n.Batch.Rows, int64(n.BlockBytes), n.Batch.Age.String(), n.InFlight, int64(n.Copies())}
	}
	return j
}

func jsonColumns(s *sdk.Schema) []jsonColumn {
	c := make([]jsonColumn, s.Len())
	for i, f := range s.Fields() {
		c[i] = jsonColumn{f.Name, f.Type.String()}
	}
	return c
}

func (e *Edge) portName() string {
	if e.Port == ErrorsPort {
		return errorsID
	}
	return e.From.portName(e.Port)
}

func ids(nodes []*Node) []string {
	out := make([]string, len(nodes))
	for i, n := range nodes {
		out[i] = n.ID
	}
	return out
}
