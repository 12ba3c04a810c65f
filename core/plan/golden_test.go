package plan

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/weirflow/weir/core/config"
)

var update = flag.Bool("update", false, "write the answers of the golden tests anew")

// read is parse for lines `kind id type key=value ...`: keys of `from`, `lanes`, `ack`, `on_error`, `queue.` and `batch.` are the
// framework's, all others the plugin's.
func read(t testing.TB, lines string) *config.Pipeline {
	t.Helper()
	p, d := parse(t, yaml(t, lines))
	for _, one := range d.List {
		if one.Code != config.CodeUnknownType {
			t.Fatalf("the pipeline is not what it should be:\n%s", diagnostics(d.List))
		}
	}
	return p
}

func parse(t testing.TB, text string) (*config.Pipeline, *config.Diagnostics) {
	t.Helper()
	p, d := config.Parse("test.yaml", []byte(text), config.Options{Plugins: registry, Env: func(string) (string, bool) { return "", false }})
	if p == nil {
		t.Fatalf("no pipeline:\n%s", diagnostics(d.List))
	}
	return p, d
}

// yaml writes the lines of read as a pipeline's file.
func yaml(t testing.TB, lines string) string {
	t.Helper()
	sections := map[string]*strings.Builder{"source": {}, "processor": {}, "sink": {}}
	for _, line := range strings.Split(lines, "\n") {
		words := split(line)
		if len(words) == 0 {
			continue
		}
		b := sections[words[0]]
		if b == nil || len(words) < 3 {
			t.Fatalf("want kind, id, type: %q", line)
		}
		if words[0] == "processor" {
			fmt.Fprintf(b, "  - id: %s\n    type: %s\n", words[1], words[2])
		} else {
			fmt.Fprintf(b, "  %s:\n    type: %s\n", words[1], words[2])
		}
		inner := map[string][]string{}
		for _, w := range words[3:] {
			key, value, ok := strings.Cut(w, "=")
			if !ok {
				t.Fatalf("%q is not key=value", w)
			}
			under, name, dotted := strings.Cut(key, ".")
			switch {
			case dotted:
			case key == "from" || key == "lanes" || key == "ack" || key == "on_error":
				under, name = "", key
			default:
				under, name = "with", key
			}
			if key == "columns" || key == "outputs" || key == "from" && strings.Contains(value, ",") {
				value = "[" + strings.ReplaceAll(value, ",", ", ") + "]"
			}
			if under == "" {
				fmt.Fprintf(b, "    %s: %s\n", name, value)
				continue
			}
			inner[under] = append(inner[under], name+": "+value)
		}
		for _, under := range slices.Sorted(maps.Keys(inner)) {
			fmt.Fprintf(b, "    %s: { %s }\n", under, strings.Join(inner[under], ", "))
		}
	}
	out := ""
	for _, kind := range []string{"source", "processor", "sink"} {
		if text := sections[kind].String(); text != "" {
			out += kind + "s:\n" + text
		}
	}
	return out
}

// split cuts a line at spaces outside quotes.
func split(line string) []string {
	quoted := false
	return strings.FieldsFunc(line, func(c rune) bool {
		quoted = quoted != (c == '"')
		return c == ' ' && !quoted
	})
}

// golden runs render on the file `pipeline` of each archive and compares with the archive's other file.
func golden(t *testing.T, dir string, render func(t *testing.T, p *config.Pipeline, d *config.Diagnostics) string) {
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
			p, d := parse(t, string(ar.Files[0].Data))
			got := render(t, p, d)
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
	golden(t, "plans", func(t *testing.T, p *config.Pipeline, _ *config.Diagnostics) string {
		plan, diags := Resolve(p, Options{CPUs: 4})
		if plan == nil {
			t.Fatalf("no plan:\n%s", diagnostics(diags))
		}
		var b strings.Builder
		if err := plan.Text(&b); err != nil {
			t.Fatal(err)
		}
		return diagnostics(diags) + b.String() + "\nedges\n" + edgesText(plan)
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
	golden(t, "diags", func(t *testing.T, p *config.Pipeline, d *config.Diagnostics) string {
		plan, diags := Resolve(p, Options{CPUs: 4})
		if plan != nil {
			t.Error("a plan came of it")
		}
		d.Merge(&config.Diagnostics{List: diags})
		d.Sort()
		var b strings.Builder
		if err := config.Render(&b, d, config.FormatText); err != nil {
			t.Fatal(err)
		}
		return b.String()
	})
}
