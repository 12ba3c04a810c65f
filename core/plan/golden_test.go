package plan

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/sdk"
)

var update = flag.Bool("update", false, "write the answers of the golden tests anew")

// read makes a pipeline of lines `kind id type key=value ...`, with the places of everything in them: `source`, `processor` or
// `sink`; keys are the framework's options by their path, all others are the plugin's.
func read(t testing.TB, text string) *config.Pipeline {
	t.Helper()
	p := &config.Pipeline{Name: "test", File: "test.yaml", Text: []byte(text)}
	byKind := map[sdk.Kind][]*config.Node{}
	for i, line := range strings.Split(text, "\n") {
		at := func(col int) config.Pos { return config.Pos{File: p.File, Line: i + 1, Col: col + 1} }
		words := split(line)
		if len(words) == 0 {
			continue
		}
		if len(words) < 3 {
			t.Fatalf("line %d: want kind, id, type: %q", i+1, line)
		}
		kind, id, typ := sdk.Kind(words[0].text), words[1], words[2].text
		n := &config.Node{ID: id.text, Kind: kind, Type: typ, At: at(id.col), Positions: map[string]config.Pos{"type": at(words[2].col)}}
		if plugin, ok := catalogue[typ]; ok {
			n.Plugin, n.Config = plugin, plugin.Spec.Config()
		}
		for _, w := range words[3:] {
			key, value, ok := strings.Cut(w.text, "=")
			if !ok {
				t.Fatalf("line %d: %q is not key=value", i+1, w.text)
			}
			where := at(w.col + len(key) + 1)
			plain := strings.Trim(value, `"`)
			if err := set(n, key, plain, where); err != nil {
				t.Fatalf("line %d: %s: %v", i+1, key, err)
			}
		}
		byKind[kind] = append(byKind[kind], n)
	}
	for _, k := range []sdk.Kind{sdk.KindSource, sdk.KindProcessor, sdk.KindSink} {
		p.Nodes = append(p.Nodes, byKind[k]...)
	}
	return p
}

type word struct {
	text string
	col  int // 0-based
}

// split cuts a line at spaces outside quotes.
func split(line string) []word {
	var words []word
	start, quoted := -1, false
	for i, c := range line + " " {
		switch {
		case c == '"':
			quoted = !quoted
		case c == ' ' && !quoted:
			if start >= 0 {
				words = append(words, word{line[start:i], start})
			}
			start = -1
			continue
		}
		if start < 0 {
			start = i
		}
	}
	return words
}

func set(n *config.Node, key, value string, at config.Pos) (err error) {
	n.Positions[key] = at
	switch key {
	case "from":
		for i, ref := range strings.Split(value, ",") {
			id, port, _ := strings.Cut(ref, ".")
			n.From = append(n.From, config.Ref{Node: id, Port: port, At: at})
			n.Positions[fmt.Sprintf("from[%d]", i)] = at
			at.Col += len(ref) + 1
		}
	case "lanes":
		n.Lanes, err = strconv.Atoi(value)
	case "ack":
		n.Optional = value == "optional"
	case "on_error":
		n.OnError = config.OnError(value)
	case "queue.bytes":
		n.Queue.Asked = true
		err = n.Queue.Bytes.UnmarshalText([]byte(value))
	case "queue.batches":
		n.Queue.Asked = true
		n.Queue.Batches, err = strconv.Atoi(value)
	case "queue.when_full":
		n.Queue.Asked, n.Queue.WhenFull = true, config.WhenFull(value)
	case "batch.rows":
		n.Batch.Rows, err = strconv.Atoi(value)
	case "batch.age":
		n.Batch.Age, err = time.ParseDuration(value)
	default:
		delete(n.Positions, key)
		n.Positions["with."+key] = at
		switch o := settings(n.Config); key {
		case "columns":
			o.Columns = strings.Split(value, ",")
			for i, c := range o.Columns {
				n.Positions[fmt.Sprintf("with.columns[%d]", i)] = at
				at.Col += len(c) + 1
			}
		case "when":
			o.When = sdk.Expr(value)
		case "outputs":
			o.Outputs = strings.Split(value, ",")
		default:
			return fmt.Errorf("not a key")
		}
	}
	return err
}

// golden runs render on the file `pipeline` of each archive and compares with the archive's other file.
func golden(t *testing.T, dir string, render func(t *testing.T, p *config.Pipeline) string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", dir, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in testdata/%s (%v)", dir, err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if len(ar.Files) == 0 || ar.Files[0].Name != "pipeline" {
				t.Fatalf("%s: the first file is not `pipeline`", name)
			}
			got := render(t, read(t, string(ar.Files[0].Data)))
			if *update {
				ar.Files = append(ar.Files[:1], txtar.File{Name: "answer", Data: []byte(got)})
				if err := os.WriteFile(name, txtar.Format(ar), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if len(ar.Files) != 2 {
				t.Fatalf("%s has no answer", name)
			}
			if d := cmp.Diff(string(ar.Files[1].Data), got); d != "" {
				t.Errorf("the answer differs (-want +got):\n%s", d)
			}
		})
	}
}

// resolved is the plan of a text that must have one.
func resolved(t testing.TB, text string) *Plan {
	t.Helper()
	p, diags := Resolve(read(t, text), Options{CPUs: 4})
	if p == nil {
		t.Fatalf("no plan:\n%s", diagnostics(diags))
	}
	return p
}

func diagnostics(list []config.Diagnostic) string {
	var b strings.Builder
	for _, d := range list {
		fmt.Fprintf(&b, "%d:%d: %s[%s]: %s: %s\n", d.At.Line, d.At.Col, d.Severity, d.Code, d.Path, d.Message)
		if d.Help != "" {
			fmt.Fprintf(&b, "    help: %s\n", d.Help)
		}
	}
	return b.String()
}

// Scenario: a whole pipeline is planned. Guarantees: stages, lanes, queues, columns, promises and limits are those written down.
func TestPlans(t *testing.T) {
	golden(t, "plans", func(t *testing.T, p *config.Pipeline) string {
		plan, diags := Resolve(p, Options{CPUs: 4})
		if plan == nil {
			t.Fatalf("no plan:\n%s", diagnostics(diags))
		}
		var b strings.Builder
		if err := plan.Text(&b); err != nil {
			t.Fatal(err)
		}
		return b.String() + "\nedges\n" + edgesText(plan)
	})
}

// edgesText is a line an edge: what Text leaves out.
func edgesText(p *Plan) string {
	var b strings.Builder
	for _, e := range p.Edges {
		fmt.Fprintf(&b, "  %s.%s -> %s:", e.From.ID, e.portName(), e.To.ID)
		for _, f := range []struct {
			is   bool
			name string
		}{{e.Fused, "fused"}, {e.Tracked, "tracked"}, {e.Marks, "marks"}} {
			if f.is {
				b.WriteString(" " + f.name)
			}
		}
		fmt.Fprintf(&b, " %d columns\n", e.Schema.Len())
	}
	return b.String()
}

// Scenario: a pipeline has faults. Guarantees: all of them are said at once, in the file's order, each at its place with what
// to do, and no plan comes of it.
func TestDiagnostics(t *testing.T) {
	golden(t, "diags", func(t *testing.T, p *config.Pipeline) string {
		plan, diags := Resolve(p, Options{CPUs: 4})
		if plan != nil {
			t.Error("a plan came of it")
		}
		return diagnostics(diags)
	})
}
