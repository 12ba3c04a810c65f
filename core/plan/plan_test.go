package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/sdk"
)

// Scenario: a plan is drawn and written in every form. Guarantees: the forms are those written down.
func TestForms(t *testing.T) {
	golden(t, "forms", func(t *testing.T, p *config.Pipeline, _ *config.Diagnostics) string {
		plan, diags := Resolve(p, Options{CPUs: 4})
		if plan == nil {
			t.Fatalf("no plan:\n%s", diagnostics(diags))
		}
		var b strings.Builder
		for _, f := range GraphFormats {
			g, err := plan.Graph(f)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "%s:\n%s\n", f, g)
		}
		j, err := plan.JSON()
		if err != nil {
			t.Fatal(err)
		}
		return b.String() + "json:\n" + string(j) + "\n"
	})
}

func TestUnknownGraphFormat(t *testing.T) {
	_, err := resolved(t, "source in udp\nsink out discard").Graph("png")
	want := `"png" is no form of a graph: use one of text, mermaid, dot, svg`
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// Scenario: a pipeline is changed and reloaded. Guarantees: a node is kept only if nothing of it or of its columns differs, and
// the reason says what does.
func TestDiff(t *testing.T) {
	const old = `source in udp
processor decode decode
processor low filter when="bytes < 10"
sink store clickhouse
sink show stdout columns=bytes from=decode`
	for _, c := range []struct{ name, text, want string }{
		{"nothing", old, "keep     in|keep     decode|keep     low|keep     store|keep     show"},
		{"an option", strings.Replace(old, "< 10", "< 11", 1), "keep     in|keep     decode|update   low: options|keep     store|keep     show"},
		{"a condition on another column", strings.Replace(old, "bytes <", "ttl <", 1),
			"keep     in|replace  decode: gives other columns|replace  low: needs other columns, options|keep     store|keep     show"},
		{"a type", strings.Replace(old, "sink store clickhouse", "sink store parquet", 1),
			"keep     in|keep     decode|keep     low|replace  store: another type|keep     show"},
		{"a sink goes, one comes", strings.Replace(old, "sink store", "sink store2", 1),
			"keep     in|keep     decode|keep     low|add      store2|keep     show|remove   store"},
		{"wiring", old + ",low", "keep     in|keep     decode|keep     low|keep     store|replace  show: reads from elsewhere"},
		{"a queue", strings.Replace(old, "sink store clickhouse", "sink store clickhouse queue.bytes=128MiB", 1),
			"keep     in|keep     decode|keep     low|update   store: lanes or queue|keep     show"},
		{"a batch", strings.Replace(old, "sink store clickhouse", "sink store clickhouse batch.rows=7", 1),
			"keep     in|keep     decode|keep     low|update   store: batch, retry or on_error|keep     show"},
		{"a promise", strings.Replace(old, "sink store clickhouse", "sink store clickhouse ack=optional", 1),
			"keep     in|keep     decode|replace  low: another promise, lanes or queue|replace  store: another promise|keep     show"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, ch := range Diff(resolved(t, old), resolved(t, c.text)) {
				got = append(got, ch.String())
			}
			if d := cmp.Diff(strings.Split(c.want, "|"), got); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

// Scenario: a filter that has gone into its source is changed. Guarantees: the source is replaced, wherever it keeps the condition.
func TestDiffSeesPushedFilters(t *testing.T) {
	const old = "source old file\nprocessor web filter when=\"dst_port == 443\"\nsink show stdout"
	got := Diff(resolved(t, old), resolved(t, strings.Replace(old, "443", "80", 1)))
	want := []Change{{ID: "old", Action: Replace, Why: []string{"applies other filters"}}, {ID: "show", Action: Keep}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// Scenario: two configurations are compared. Guarantees: only what a user can set counts.
func TestEqualConfigurations(t *testing.T) {
	type inner struct{ List []string }
	type cfg struct {
		Map     map[string]inner
		Ptr     *inner
		Size    sdk.Size
		Any     any
		Age     time.Duration
		When    time.Time
		derived func()
	}
	full := func() *cfg {
		return &cfg{Map: map[string]inner{"a": {[]string{"x"}}}, Ptr: &inner{}, Size: 5, Any: 7, Age: 3, When: time.Unix(9, 0), derived: func() {}}
	}
	change := func(f func(*cfg)) *cfg { c := full(); f(c); return c }
	for name, c := range map[string]struct {
		b    any
		want bool
	}{
		"the same":          {full(), true},
		"an empty list":     {change(func(c *cfg) { c.Ptr.List = []string{} }), true},
		"another list":      {change(func(c *cfg) { c.Map["a"] = inner{[]string{"y"}} }), false},
		"another key":       {change(func(c *cfg) { c.Map = map[string]inner{"b": {[]string{"x"}}} }), false},
		"one key more":      {change(func(c *cfg) { c.Map["b"] = inner{} }), false},
		"nil":               {change(func(c *cfg) { c.Ptr = nil }), false},
		"another size":      {change(func(c *cfg) { c.Size = 6 }), false},
		"another interface": {change(func(c *cfg) { c.Any = "7" }), false},
		"no interface":      {change(func(c *cfg) { c.Any = nil }), false},
		"another time":      {change(func(c *cfg) { c.When = time.Unix(8, 0) }), false},
		"another type":      {&inner{}, false},
		"nothing":           {nil, false},
	} {
		if got := sameConfig(full(), c.b); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// Scenario: a filter goes into its source. Guarantees: the source has the condition, the pipeline's own configuration does not.
func TestPushLeavesThePipelineAlone(t *testing.T) {
	p := read(t, "source old file\nprocessor web filter when=\"dst_port == 443\"\nprocessor six filter when=\"protocol == 6\"\nsink show stdout")
	plan, diags := Resolve(p, Options{CPUs: 1})
	if plan == nil {
		t.Fatal(diagnostics(diags))
	}
	if got := plan.Nodes[0].Config.(*options).pushed; got != "dst_port == 443 and protocol == 6" {
		t.Errorf("pushed %q", got)
	}
	if got := p.Nodes[0].Config.(*options).pushed; got != "" || len(p.Nodes) != 4 || len(plan.Nodes) != 2 {
		t.Errorf("the pipeline has %q and %d nodes, the plan %d", got, len(p.Nodes), len(plan.Nodes))
	}
}

// Scenario: a filter behind a source that could apply it has a wish of its own, or is not alone there. Guarantees: it stays.
func TestFilterStays(t *testing.T) {
	for name, text := range map[string]string{
		"queue":        "source old file\nprocessor f filter when=bytes queue.bytes=1GiB\nsink show stdout",
		"lanes":        "source old file\nprocessor f filter when=bytes lanes=2\nsink show stdout",
		"other input":  "source old file\nsource new file\nprocessor f filter when=bytes\nsink show stdout",
		"other reader": "source old file\nprocessor f filter when=bytes\nsink show stdout\nsink all stdout from=old",
		"no condition": "source old file\nprocessor f filter\nsink show stdout",
		"refused":      "source old file\nprocessor f filter when=vlan\nsink show stdout",
		"no filter":    "source old file\nprocessor f plain\nsink show stdout",
		"errors":       "source old file\nprocessor f filter when=bytes\nsink show stdout on_error=drop\nsink letters parquet from=errors",
	} {
		t.Run(name, func(t *testing.T) {
			p := resolved(t, text)
			if len(p.Pushed) > 0 || !slices.ContainsFunc(p.Nodes, func(n *Node) bool { return n.ID == "f" }) {
				t.Errorf("pushed: %v", p.Pushed)
			}
		})
	}
}

// Scenario: some nodes are of no known type. Guarantees: nothing is said of what depends on them, all else is still checked.
func TestUnknownPlugins(t *testing.T) {
	p := read(t, `source in udp
source strange nosuch
processor decode decode from=in
processor f filter when="byts > 1" from=decode
processor g filter when="what > 1" from=strange
sink out stdout from=f,g.somewhere
sink two clickhouse from=decode columns=dst_pot`)
	plan, diags := Resolve(p, Options{})
	var got []string
	for _, d := range diags {
		got = append(got, d.Code+" "+d.Path)
	}
	want := []string{"E401 processors.f.with.when", "E302 sinks.out.from[1]", "E401 sinks.two.with.columns[0]"}
	if d := cmp.Diff(want, got); d != "" || plan != nil {
		t.Errorf("plan %v, -want +got:\n%s", plan, d)
	}
}

// Scenario: package config has found fault with a node's options. Guarantees: the node is not asked what they mean, its readers are
// not either, and faults elsewhere are still found.
func TestFaultyOptionsAreNotAskedTwice(t *testing.T) {
	p := read(t, `source in udp
processor decode decode
processor f filter when="byts > 1"
processor route route when=bytes
sink out stdout from=f columns=nothing
sink two clickhouse from=decode columns=dst_pot
sink three stdout from=route`)
	for _, c := range []struct {
		found config.Diagnostic
		want  []string
	}{
		{config.Diagnostic{Severity: config.SeverityError, Path: "processors.f.with.when"},
			[]string{"E405 processors.route.with", "E401 sinks.two.with.columns[0]"}},
		{config.Diagnostic{Severity: config.SeverityError, Path: "processors.f.queue.bytes"},
			[]string{"E401 processors.f.with.when", "E405 processors.route.with", "E401 sinks.out.with.columns[0]", "E401 sinks.two.with.columns[0]"}},
	} {
		plan, diags := Resolve(p, Options{Found: []config.Diagnostic{c.found}})
		var got []string
		for _, d := range diags {
			got = append(got, d.Code+" "+d.Path)
		}
		if d := cmp.Diff(c.want, got); d != "" || plan != nil {
			t.Errorf("%s: plan %v, -want +got:\n%s", c.found.Path, plan, d)
		}
	}
}

// Scenario: fixed schemas pass whole. Guarantees: a node gets the very schema that the SDK exports, which plugins compare by
// pointer.
func TestFixedSchemasKeepTheirPointers(t *testing.T) {
	p := resolved(t, "source in udp\nprocessor same plain\nsink relay topic\nsink letters parquet from=errors")
	for _, n := range p.Nodes {
		want := sdk.Datagram
		if n.ID == "letters" {
			want = sdk.Errors
		}
		if n.In != nil && n.In != want || n.Kind != sdk.KindSink && n.Out[0] != sdk.Datagram {
			t.Errorf("%s: in %p, out %v", n.ID, n.In, n.Out)
		}
	}
}

// Scenario: 64 and 65 keyed sinks. Guarantees: each has a bit, or an error says why not.
func TestManyKeyedSinks(t *testing.T) {
	text := "source in stream\n"
	for i := range 64 {
		text += fmt.Sprintf("sink k%02d clickhouse\n", 63-i)
	}
	p := resolved(t, text)
	if len(p.Keyed) != 64 || p.Keyed[0].ID != "k00" || p.Keyed[63].ID != "k63" {
		t.Errorf("keyed: %v", ids(p.Keyed))
	}
	plan, diags := Resolve(read(t, text+"sink z clickhouse"), Options{})
	if plan != nil || len(diags) != 1 || diags[0].Code != config.CodeManyKeyed || diags[0].Path != "sinks.z" {
		t.Errorf("%v\n%s", plan, diagnostics(diags))
	}
}

// Scenario: a large pipeline. Guarantees: planning takes no more than a moment (20 ms of 1,002 nodes here).
func TestLargePipeline(t *testing.T) {
	text := "source in stream\n"
	for i := range 1000 {
		text += fmt.Sprintf("processor p%d enrich\n", i)
	}
	start := time.Now()
	p := resolved(t, text+"sink out stdout")
	if took := time.Since(start); took > 10*time.Second || len(p.Nodes) != 1002 {
		t.Errorf("%d nodes took %v", len(p.Nodes), took)
	}
}

// A queue behind several nodes holds two full batches of the widest of what comes, in whatever order `from` names them.
func TestQueueHoldsTheWidest(t *testing.T) {
	wide := resolved(t, "source in udp\nprocessor decode decode\nsink out clickhouse")
	narrow, widest := wide.Nodes[0].Out[0].RowBytes(), wide.Nodes[1].Out[0].RowBytes()
	if narrow == widest {
		t.Fatal("both schemas are of one width")
	}
	want := "the least is " + sdk.Size(2*sdk.MaxRows*max(narrow, widest)).String()
	for _, from := range []string{"in,decode", "decode,in"} {
		_, diags := Resolve(read(t, "source in udp\nprocessor decode decode\nsink out clickhouse queue.bytes=64KiB from="+from), Options{})
		got := "nothing is said of the small queue"
		for _, d := range diags {
			if d.Code == config.CodeQueueSmall {
				got = d.Help
			}
		}
		if got != want {
			t.Errorf("from %s: %s, want %s", from, got, want)
		}
	}
}
