package plan

import (
	"encoding/xml"
	"io"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/sdk"
)

// The rules of a plan, checked on any plan by walking paths.

func checkGraph(t *rapid.T, p *Plan) {
	edges := 0
	for i, n := range p.Nodes {
		if n.Index != i {
			t.Fatalf("%s: index %d at %d", n.ID, n.Index, i)
		}
		if (len(n.Inputs) == 0) != (n.Kind == sdk.KindSource) {
			t.Fatalf("%s: %d inputs", n.ID, len(n.Inputs))
		}
		for _, e := range n.Inputs {
			edges++
			if e.From.Index >= i || e.To != n || p.Edges[e.Index] != e {
				t.Fatalf("%s: an edge of a later node, or a stray one", n.ID)
			}
			held := e.From.Errors
			if e.Port != ErrorsPort {
				held = e.From.Outputs[e.Port]
			}
			if !slices.Contains(held, e) {
				t.Fatalf("%s -> %s is not among the outputs", e.From.ID, n.ID)
			}
			if e.Port == ErrorsPort && (n.Kind != sdk.KindSink || readsErrors(e.From)) {
				t.Fatalf("`errors` of %s goes to %s", e.From.ID, n.ID)
			}
		}
	}
	if edges != len(p.Edges) {
		t.Fatalf("%d edges, %d listed", edges, len(p.Edges))
	}
}

func checkColumns(t *rapid.T, p *Plan) {
	one := map[string]*sdk.Schema{}
	same := func(s *sdk.Schema) {
		if first := one[s.String()]; first != nil && first != s {
			t.Fatalf("two schemas for %s", s)
		}
		one[s.String()] = s
	}
	within := func(what string, some, all *sdk.Schema) {
		for _, f := range some.Fields() {
			if i := all.Index(f.Name); i < 0 || all.Field(i).Type != f.Type {
				t.Fatalf("%s: %s of %s", what, f.Name, all)
			}
		}
	}
	for _, e := range p.Edges {
		same(e.Schema)
		from := sdk.Errors
		if e.Port != ErrorsPort {
			from = e.From.Out[e.Port]
		}
		within("edge "+e.From.ID+" "+e.To.ID, e.Schema, from)
		within("edge "+e.From.ID+" "+e.To.ID, e.Schema, e.To.In)
	}
	for _, n := range p.Nodes {
		var wanted [][]string
		for port, s := range n.Out {
			same(s)
			within(n.ID, s, n.FullOut[port])
			var names []string
			for _, f := range n.FullOut[port].Fields() {
				if slices.ContainsFunc(n.Outputs[port], func(e *Edge) bool { return e.Schema.Index(f.Name) >= 0 }) {
					names = append(names, f.Name)
				}
			}
			wanted = append(wanted, names)
			if n.Kind == sdk.KindProcessor && !slices.Equal(names, s.Names()) {
				t.Fatalf("%s gives %v, wanted are %v", n.ID, s.Names(), names)
			}
		}
		if n.Kind == sdk.KindSource {
			continue
		}
		same(n.In)
		within(n.ID, n.In, n.FullIn)
		for _, f := range n.In.Fields() {
			if !slices.ContainsFunc(n.Inputs, func(e *Edge) bool { return e.Schema.Index(f.Name) >= 0 }) {
				t.Fatalf("%s needs %s and no edge brings it", n.ID, f.Name)
			}
		}
		var names []string
		if f := n.spec().Needs; f != nil {
			names = f(n.Config, n.FullIn, wanted)
		}
		for _, name := range names {
			if n.FullIn.Index(name) >= 0 && n.In.Index(name) < 0 {
				t.Fatalf("%s does not get %s", n.ID, name)
			}
		}
		if names == nil && n.Kind == sdk.KindSink {
			for _, f := range n.FullIn.Fields() {
				if f.Extra == (n.In.Index(f.Name) >= 0) {
					t.Fatalf("%s says nothing of its columns, %s", n.ID, f.Name)
				}
			}
		}
	}
}

func checkStages(t *rapid.T, p *Plan) {
	nodes := 0
	for i, s := range p.Stages {
		nodes += len(s.Nodes)
		if s.Index != i || (s.Queue == nil) != (s.Head().Kind == sdk.KindSource) || s.Lanes > s.MaxLanes && s.MaxLanes > 0 {
			t.Fatalf("stage %d: %+v", i, s)
		}
		if s.Head().Kind == sdk.KindSink && len(s.Nodes) > 1 {
			t.Fatalf("stage %d: a sink's lane runs %v too", i, ids(s.Nodes[1:]))
		}
		for j, n := range s.Nodes {
			if n.Stage != s || j > 0 && s.Nodes[j-1].Index > n.Index {
				t.Fatalf("stage %d: %s", i, n.ID)
			}
			alone := n.Kind == sdk.KindSink && !n.spec().Fuses || n.Queue.Asked
			for _, e := range n.Inputs {
				if e.Fused != (e.From.Stage == s) || e.Fused != (j > 0) {
					t.Fatalf("%s -> %s: fused %v between stages %d and %d", e.From.ID, n.ID, e.Fused, e.From.Stage.Index, i)
				}
				if e.Fused && (alone || e.From.Required && !n.Required) {
					t.Fatalf("no queue between %s and %s", e.From.ID, n.ID)
				}
			}
		}
		if q := s.Queue; q != nil {
			for _, e := range s.Head().Inputs {
				if row := e.Schema.RowBytes(); q.Bytes < int64(2*sdk.MaxRows*row) || q.Batches < 2 {
					t.Fatalf("%s: %d bytes for rows of %d", s.Head().ID, q.Bytes, row)
				}
				if e.From.Required && !s.Head().Required && q.WhenFull == config.Block {
					t.Fatalf("%s can hold up what is required", s.Head().ID)
				}
			}
		}
	}
	if nodes != len(p.Nodes) {
		t.Fatalf("%d nodes in stages, %d in all", nodes, len(p.Nodes))
	}
}

// ways yields every path from a source to n, as edges.
func ways(n *Node, behind []*Edge, f func(source *Node, way []*Edge)) {
	if n.Kind == sdk.KindSource {
		f(n, behind)
	}
	for _, e := range n.Inputs {
		if e.Port != ErrorsPort {
			ways(e.From, append([]*Edge{e}, behind...), f)
		}
	}
}

// choosesAgainst is a node that is not deterministic, gets records with their range, and has an output that leads to sink and
// one that leads to other required sinks only.
func choosesAgainst(p *Plan, sink *Node) *Node {
	var leads func(e *Edge, to func(*Node) bool) bool
	leads = func(e *Edge, to func(*Node) bool) bool {
		if to(e.To) {
			return true
		}
		for o := range e.To.outs() {
			if leads(o, to) {
				return true
			}
		}
		return false
	}
	for _, n := range p.Nodes {
		if n.Kind != sdk.KindProcessor || n.spec().Deterministic {
			continue
		}
		ranged := false
		ways(n, nil, func(source *Node, way []*Edge) {
			ranged = ranged || source.spec().Commits && !slices.ContainsFunc(way, func(e *Edge) bool { return !e.From.keeps() })
		})
		here, elsewhere := false, false
		for _, port := range n.Outputs {
			mine := slices.ContainsFunc(port, func(e *Edge) bool { return leads(e, func(n *Node) bool { return n == sink }) })
			other := slices.ContainsFunc(port, func(e *Edge) bool {
				return leads(e, func(n *Node) bool { return n.Kind == sdk.KindSink && !n.Optional })
			})
			here, elsewhere = here || mine, elsewhere || other && !mine
		}
		if ranged && here && elsewhere {
			return n
		}
	}
	return nil
}

func checkDelivery(t *rapid.T, p *Plan) {
	tracked, marked, required := map[*Edge]bool{}, map[*Edge]bool{}, map[*Node]bool{}
	for _, n := range p.Nodes {
		if n.Kind != sdk.KindSink {
			continue
		}
		ranged, mixed := false, false
		ways(n, nil, func(source *Node, way []*Edge) {
			keeps := !slices.ContainsFunc(way, func(e *Edge) bool { return e.From.Kind == sdk.KindProcessor && !e.From.spec().KeepsRange })
			if source.spec().Commits {
				ranged, mixed = ranged || keeps, mixed || !keeps
			}
			for _, e := range way {
				if !n.Optional {
					tracked[e], required[e.From] = true, true
				}
				if n.Keyed && source.spec().Commits {
					marked[e] = true
				}
			}
		})
		if !n.Optional {
			required[n] = true
		}
		may := n.Required && n.spec().HonoursKeys && !readsErrors(n) && ranged && !mixed
		if n.Keyed && !may {
			t.Fatalf("%s is keyed", n.ID)
		}
		if may && !n.Keyed && !slices.ContainsFunc(p.Limits, func(l string) bool { return strings.HasPrefix(l, "`"+n.ID+"`") }) {
			t.Fatalf("%s is not keyed and nothing says why", n.ID)
		}
		if c := choosesAgainst(p, n); n.Keyed && c != nil {
			t.Fatalf("%s is keyed, and %s may send its records elsewhere in another life", n.ID, c.ID)
		}
		if n.Keyed != slices.Contains(p.Keyed, n) || n.Promise == "" {
			t.Fatalf("%s: keyed %v, promise %q", n.ID, n.Keyed, n.Promise)
		}
	}
	for _, n := range p.Nodes {
		if n.Required != required[n] {
			t.Fatalf("%s: required %v", n.ID, n.Required)
		}
		if n.Kind == sdk.KindProcessor && n.spec().Parks && n.Stage.Queue != nil {
			ways(n, nil, func(source *Node, way []*Edge) {
				lost := slices.ContainsFunc(way, func(e *Edge) bool { return !e.From.keeps() })
				if source.spec().Commits && !lost {
					t.Fatalf("%s holds records back behind a queue", n.ID)
				}
			})
		}
	}
	for _, e := range p.Edges {
		if e.Port == ErrorsPort {
			if e.Marks || e.Tracked != (e.From.Required && e.To.Required) {
				t.Fatalf("errors of %s: %+v", e.From.ID, e)
			}
			continue
		}
		if e.Tracked != tracked[e] || e.Marks != marked[e] {
			t.Fatalf("%s -> %s: tracked %v, marks %v", e.From.ID, e.To.ID, e.Tracked, e.Marks)
		}
	}
	if !slices.IsSortedFunc(p.Keyed, func(a, b *Node) int { return strings.Compare(a.ID, b.ID) }) {
		t.Fatal("keyed sinks are not in order")
	}
}

// checkDrawing looks at the places of the boxes: none over another, none outside, all lines to the right.
func checkDrawing(t *rapid.T, p *Plan) {
	d := newDrawing(p)
	layers, routes := d.layout()
	width, height := place(layers, layerGap)
	boxes := 0
	for i, layer := range layers {
		for j, s := range layer {
			if s.box != nil {
				boxes++
			}
			if s.layer != i || s.x < 0 || s.x+s.w > width || s.y < 0 || s.y+s.h > height {
				t.Fatalf("layer %d: %+v outside %.0f x %.0f", i, s, width, height)
			}
			if j > 0 && layer[j-1].y+layer[j-1].h > s.y {
				t.Fatalf("layer %d: %+v over %+v", i, layer[j-1], s)
			}
		}
	}
	for _, r := range routes {
		for i := 1; i < len(r.spots); i++ {
			if r.spots[i-1].x+r.spots[i-1].w >= r.spots[i].x {
				t.Fatalf("%s -> %s goes back", r.from.id, r.to.id)
			}
		}
	}
	if boxes != len(d.boxes) {
		t.Fatalf("%d boxes of %d drawn", boxes, len(d.boxes))
	}
}

func checkPrinted(t *rapid.T, p *Plan) {
	if err := p.Text(io.Discard); err != nil {
		t.Fatal(err)
	}
	if _, err := p.JSON(); err != nil {
		t.Fatal(err)
	}
	for _, f := range GraphFormats {
		g, err := p.Graph(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range p.Nodes {
			if !strings.Contains(g, n.ID) {
				t.Fatalf("%s is not in the graph as %s", n.ID, f)
			}
		}
		if f == "svg" {
			for d := xml.NewDecoder(strings.NewReader(g)); ; {
				if _, err := d.Token(); err == io.EOF {
					break
				} else if err != nil {
					t.Fatalf("svg: %v", err)
				}
			}
		}
	}
}
