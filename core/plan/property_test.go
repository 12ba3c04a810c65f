package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/sdk"
)

// draw makes a pipeline whose wiring is any that can be written: defaults, lists, outputs, circles too.
func draw(t *rapid.T) *config.Pipeline {
	p := &config.Pipeline{Name: "drawn", File: "drawn.yaml"}
	ids := func(prefix string, most int) []string {
		n := rapid.IntRange(1, most).Draw(t, prefix)
		out := make([]string, n)
		for i := range out {
			out[i] = fmt.Sprintf("%s%d", prefix, i)
		}
		return out
	}
	sources, processors, sinks := ids("s", 3), ids("p", 6), ids("k", 4)
	anyOf := func(list ...string) string { return rapid.SampledFrom(list).Draw(t, "type") }
	for _, id := range sources {
		n := node(id, anyOf("file", "lean", "stream", "stream"))
		if rapid.IntRange(0, 3).Draw(t, "lanes") == 0 {
			n.Lanes = 2
		}
		p.Nodes = append(p.Nodes, n)
	}
	kinds := map[string]string{}
	for i, id := range processors {
		kinds[id] = anyOf("plain", "plain", "filter", "enrich", "enrich", "route", "lookup", "aggregate", "hold")
		n := node(id, kinds[id])
		if o := settings(n.Config); kinds[id] == "route" || kinds[id] == "lookup" {
			o.Outputs = []string{"a", "b", "c"}
			o.When = "protocol"
		} else if kinds[id] == "filter" {
			o.When = sdk.Expr(anyOf("ttl", "bytes", "vlan and ttl"))
		}
		if rapid.IntRange(0, 2).Draw(t, "wired") > 0 {
			n.From = refs(t, append(slices.Clone(sources), processors[:i]...), kinds)
		} else if rapid.IntRange(0, 9).Draw(t, "free") == 0 {
			n.From = refs(t, processors, kinds)
		}
		if rapid.IntRange(0, 7).Draw(t, "queue") == 0 {
			n.Queue.Asked = true
		}
		if rapid.IntRange(0, 5).Draw(t, "lanes") == 0 {
			n.Lanes = 2
		}
		p.Nodes = append(p.Nodes, n)
	}
	for _, id := range sinks {
		n := node(id, anyOf("clickhouse", "clickhouse", "parquet", "stdout", "topic", "discard"))
		if rapid.IntRange(0, 5).Draw(t, "lanes") == 0 {
			n.Lanes = 2
		}
		n.Optional = rapid.IntRange(0, 3).Draw(t, "optional") == 0
		switch rapid.IntRange(0, 6).Draw(t, "reads") {
		case 0:
		case 1:
			n.From = []config.Ref{{Node: errorsID}}
		default:
			n.From = refs(t, append(slices.Clone(sources), processors...), kinds)
		}
		p.Nodes = append(p.Nodes, n)
	}
	// A last sink reads whatever nothing else reads, or few pipelines would be accepted.
	var rest []config.Ref
	for _, n := range p.Nodes {
		read := func(o *config.Node) bool {
			return slices.ContainsFunc(o.From, func(r config.Ref) bool { return r.Node == n.ID })
		}
		if n.Kind != sdk.KindSink && !slices.ContainsFunc(p.Nodes, read) {
			rest = append(rest, config.Ref{Node: n.ID})
		}
	}
	if len(rest) > 0 {
		n := node("rest", "discard")
		n.From = rest
		p.Nodes = append(p.Nodes, n)
	}
	return p
}

func refs(t *rapid.T, from []string, types map[string]string) []config.Ref {
	picked := rapid.SliceOfNDistinct(rapid.SampledFrom(from), 1, min(3, len(from)), rapid.ID[string]).Draw(t, "from")
	out := make([]config.Ref, len(picked))
	for i, id := range picked {
		out[i].Node = id
		if types[id] == "route" || types[id] == "lookup" {
			out[i].Port = rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "port")
		}
	}
	return out
}

// Scenario: any pipeline at all. Guarantees: it is refused with an error, or there is a plan in which every rule of DESIGN 5-7
// holds, checked here by walking paths, not by the means the planner uses; the pipeline itself is not touched.
func TestAnyPipeline(t *testing.T) {
	accepted, refused := 0, map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		p := draw(t)
		before := dump(p)
		plan, diags := Resolve(p, Options{CPUs: 4})
		if after := dump(p); before != after {
			t.Fatalf("the pipeline was changed:\n%s\n%s", before, after)
		}
		circle := hasCircle(p)
		if plan == nil {
			if len(diags) == 0 {
				t.Fatal("no plan and no reason")
			}
			for _, d := range diags {
				refused[d.Code]++
			}
			if told := slices.ContainsFunc(diags, func(d config.Diagnostic) bool { return d.Code == config.CodeCycle }); told != circle {
				t.Fatalf("circle %v, told %v: %s", circle, told, diagnostics(diags))
			}
			return
		}
		accepted++
		if circle {
			t.Fatal("a circle was accepted")
		}
		checkGraph(t, plan)
		checkColumns(t, plan)
		checkStages(t, plan)
		checkDelivery(t, plan)
		checkPrinted(t, plan)
		checkDrawing(t, plan)
		again, _ := Resolve(p, Options{CPUs: 4, Old: plan})
		for _, c := range Diff(plan, again) {
			if c.Action != Keep {
				t.Fatalf("the same pipeline again: %v", c)
			}
		}
		for i, n := range again.Nodes {
			if n.In != plan.Nodes[i].In || !slices.Equal(n.Out, plan.Nodes[i].Out) {
				t.Fatalf("%s: equal schemas are other pointers in the next plan", n.ID)
			}
		}
	})
	t.Logf("%d accepted, refused for %v", accepted, refused)
	if !testing.Short() && (accepted < 10 || len(refused) < 3) { // a short run draws 20, too few to say
		t.Errorf("%d accepted, refused for %v: the drawing tests little", accepted, refused)
	}
}

func dump(p *config.Pipeline) string {
	var b strings.Builder
	for _, n := range p.Nodes {
		fmt.Fprintf(&b, "%+v %+v\n", *n, n.Config)
	}
	return b.String()
}

// hasCircle follows names alone.
func hasCircle(p *config.Pipeline) bool {
	reads := map[string][]string{}
	last := ""
	for _, n := range p.Nodes {
		if n.Kind != sdk.KindProcessor {
			continue
		}
		for _, r := range n.From {
			reads[n.ID] = append(reads[n.ID], r.Node)
		}
		if len(n.From) == 0 && last != "" {
			reads[n.ID] = []string{last}
		}
		last = n.ID
	}
	var visit func(id string, path []string) bool
	visit = func(id string, path []string) bool {
		if slices.Contains(path, id) {
			return true
		}
		return slices.ContainsFunc(reads[id], func(r string) bool { return visit(r, append(path, id)) })
	}
	for id := range reads {
		if visit(id, nil) {
			return true
		}
	}
	return false
}
