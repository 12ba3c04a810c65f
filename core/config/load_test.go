package config

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weirflow/weir/sdk"
)

const wholeFile = `
doc: everything a file can say
drain_timeout: 1m30s
park: 500ms
params: { table: flows, port: 2055, must: }
sources:
  netflow:
    type: udp
    lanes: 2
    with: { listen: "[::]:${param:port}", workers: "${env:PORT}", buffer: 1_000_000, idle: 90s, port: 0x1f, ratio: 1e-3, reuse: true }
  silent: { type: generate }
processors:
  - id: decode
    type: decode
    from: [netflow, silent.out]
    on_error: drop
    with:
      template_ttl: 5m
      fields: { name: colour, element: 33 }
  - id: enrich
    type: enrich
    queue:
    with:
      mmdb: "a,b.mmdb"
      private: [10.0.0.0/8, "2001:db8::/32"]
      names: { gateway: 192.0.2.1 }
  - id: rules
    type: classify
    with:
      rules:
        - when: bytes > 100
          set: { text: '1', int: 1, float: 1.5, bool: true, list: [a], none: ~ }
      hosts: { a: { when: "true" } }
sinks:
  out:
    type: stdout
    from: decode
    queue: { bytes: 64MiB, batches: 8, when_full: drop_newest }
    batch: { rows: 100_000, bytes: 32MiB, age: 1s }
    retry: { initial: 1s, max: 5m, attempts: 7 }
    on_error: fail
    ack: optional
    lanes: 3
    in_flight: 4
    epoch: again
    with: { columns: bytes, format: "json" }
  dead:
    type: discard
    from: errors
`

// cmpPipeline compares pipelines without places.
var cmpPipeline = cmp.Options{
	cmpopts.IgnoreFields(Pipeline{}, "Text", "secrets"),
	cmpopts.IgnoreFields(Node{}, "At", "Positions", "Plugin", "path", "scalars", "secrets"),
	cmpopts.IgnoreFields(Ref{}, "At"),
	cmpopts.IgnoreUnexported(udpConfig{}),
	cmp.AllowUnexported(stdoutConfig{}),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
}

func TestParseReadsAllThatAFileCanSay(t *testing.T) {
	opts := testOptions()
	opts.Params = map[string]string{"must": "given", "port": "9995"}
	opts.Set = []string{"sinks.out.with.format=csv", "sources.silent.lanes=5"}
	p, d := Parse("dir/whole.file.yaml", []byte(wholeFile), opts)
	if len(d.List) != 0 {
		var b strings.Builder
		Render(&b, d, FormatText)
		t.Fatal(b.String())
	}
	minutes := 5 * time.Minute
	retry := Retry{Initial: DefaultRetryInitial, Max: DefaultRetryMax}
	want := &Pipeline{
		Name: "whole.file", File: "dir/whole.file.yaml", Doc: "everything a file can say", DrainTimeout: 90 * time.Second, Park: 500 * time.Millisecond,
		Params: map[string]string{"table": "flows", "port": "9995", "must": "given"},
		Nodes: []*Node{
			{ID: "netflow", Kind: sdk.KindSource, Type: "udp", Lanes: 2, OnError: DeadLetter, Retry: retry,
				Config: &udpConfig{Listen: "[::]:9995", Workers: 9000, Balance: "packet", Buffer: 1000000, Idle: 90 * time.Second, Port: 31, Ratio: 0.001, Reuse: true}},
			{ID: "silent", Kind: sdk.KindSource, Type: "generate", Lanes: 5, OnError: DeadLetter, Retry: retry},
			{ID: "decode", Kind: sdk.KindProcessor, Type: "decode", OnError: Drop, Retry: retry, From: []Ref{{Node: "netflow"}, {Node: "silent", Port: "out"}},
				Config: &decodeConfig{TTL: &minutes, Fields: []fieldConfig{{Name: "colour", Element: 33}}}},
			{ID: "enrich", Kind: sdk.KindProcessor, Type: "enrich", OnError: DeadLetter, Retry: retry,
				Config: &enrichConfig{MMDB: []string{"a,b.mmdb"}, Private: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")},
					Names: map[string]netip.Addr{"gateway": netip.MustParseAddr("192.0.2.1")}}},
			{ID: "rules", Kind: sdk.KindProcessor, Type: "classify", OnError: DeadLetter, Retry: retry,
				Config: &classifyConfig{Rules: []ruleConfig{{When: "bytes > 100",
					Set: map[string]any{"text": "1", "int": int64(1), "float": 1.5, "bool": true, "list": []any{"a"}, "none": nil}}},
					Hosts: map[string]ruleConfig{"a": {When: "true"}}}},
			{ID: "out", Kind: sdk.KindSink, Type: "stdout", From: []Ref{{Node: "decode"}}, Lanes: 3,
				Queue: Queue{Bytes: 64 << 20, Batches: 8, WhenFull: DropNewest, Asked: true}, Batch: Batch{Rows: 100_000, Bytes: 32 << 20, Age: time.Second},
				Retry: Retry{Initial: time.Second, Max: minutes, Attempts: 7}, OnError: Fail, Optional: true, InFlight: 4, Epoch: "again",
				Config: &stdoutConfig{common: common{Columns: []string{"bytes"}}, Format: "csv"}},
			{ID: "dead", Kind: sdk.KindSink, Type: "discard", From: []Ref{{Node: "errors"}}, OnError: DeadLetter, Retry: retry},
		},
	}
	if diff := cmp.Diff(want, p, cmpPipeline); diff != "" {
		t.Errorf("pipeline (-want +got):\n%s", diff)
	}
	for _, n := range p.Nodes {
		if n.Plugin == nil || n.Plugin.Spec.Type != n.Type {
			t.Errorf("%s has plugin %v", n.ID, n.Plugin)
		}
	}
}

// mark is written in a text as «word»: the place of word is wanted there.
func marked(text string) (clean string, at Pos) {
	for i, line := range strings.Split(text, "\n") {
		if before, _, ok := strings.Cut(line, "«"); ok {
			at = Pos{File: "f.yaml", Line: i + 1, Col: len([]rune(before)) + 1}
		}
	}
	return strings.NewReplacer("«", "", "»", "").Replace(text), at
}

func TestPositionsOfOptions(t *testing.T) {
	const head = "sources:\n  in: { type: udp }\nprocessors:\n"
	for path, node := range map[string]string{
		"type":                "  - id: n\n    type: «classify»\n",
		"from[1]":             "  - id: n\n    type: classify\n    from: [in, «b»]\n",
		"from[0]":             "  - id: n\n    type: classify\n    from:   «in»\n",
		"from":                "  - id: n\n    type: classify\n    «from»: [in]\n",
		"queue.bytes":         "  - id: n\n    type: classify\n    queue:\n      bytes: «1MiB»\n",
		"queue":               "  - { id: n, type: classify, «queue»: { bytes: 1MiB } }\n",
		"with":                "  - id: n\n    type: classify\n    «with»: {}\n",
		"with.rules":          "  - id: n\n    type: classify\n    with:\n      «rules»: []\n",
		"with.rules[1]":       "  - id: n\n    type: classify\n    with:\n      rules:\n        - when: a\n        - «when»: b\n",
		"with.rules[1].when":  "  - id: n\n    type: classify\n    with:\n      rules: [{ when: é }, { when: «'b'» }]\n",
		"with.rules[0].set.x": "  - id: n\n    type: classify\n    with:\n      rules:\n        - when: a\n          set:\n            x: «1»\n",
		"with.hosts.h.when":   "  - id: n\n    type: classify\n    with:\n      hosts:\n        h:\n          when: «>-»\n            a\n",
		"with.nothing.at.all": "  - id: n\n    type: classify\n    «with»: {}\n",
		"retry.max":           "  - id: «n»\n    type: classify\n",
	} {
		text, want := marked(head + node + "sinks: { out: { type: discard } }\n")
		p, d := Parse("f.yaml", []byte(text), testOptions())
		if d.Failed() {
			t.Fatalf("%s: %+v", path, d.List)
		}
		if got := p.Nodes[1].Pos(path); got != want {
			t.Errorf("%s stands at %v, wanted %v, of\n%s", path, got, want, text)
		}
	}
}

// The place of an offset in an option's text is the place of that very character in the file, in every style of scalar.
func TestPlacesWithinText(t *testing.T) {
	for name, when := range map[string]string{
		"plain":                 "a == «W»",
		"plain, after wide":     "é € 𝄞 == «W»",
		"single quoted":         "'it''s ''x'' == «W»'",
		"double quoted":         `"\t\x41\u00e9\U0001F600 \" \\ == «W»"`,
		"double, line end":      "\"a \\\n              and \\\n           «W»\"",
		"double, folded":        "\"a\n              and\n\n           «W»\"",
		"plain, folded":         "a and\n              b and\n\n           «W»",
		"literal":               "|\n            a and\n              «W»",
		"literal, first line":   "|\n            «W» and\n",
		"literal, empty lines":  "|-\n\n\n            a\n\n              é «W»",
		"folded":                ">\n            a and\n            «W»",
		"folded, keeps":         ">\n            a\n\n              b\n            «W»",
		"after interpolation":   "${env:PORT} and ${env:HOST} == «W»",
		"quoted interpolation":  "\"\\t${env:PORT}é == «W»\"",
		"escaped interpolation": "'$${x} ''${env:SHORT}'' «W»'",
		"default":               "${env:NONE:-abc} «W»",
		"tagged":                "!!str a «W»",
	} {
		t.Run(name, func(t *testing.T) {
			text, want := marked("processors:\n  - id: n\n    type: classify\n    with:\n      rules:\n        - when: " + when + "\n")
			p, d := Parse("f.yaml", []byte(text), testOptions())
			if d.Failed() {
				t.Fatalf("%+v of\n%s", d.List, text)
			}
			n := p.Nodes[0]
			expr := string(n.Config.(*classifyConfig).Rules[0].When)
			off := strings.LastIndexByte(expr, 'W')
			at, end := n.Place("with.rules[0].when", off)
			if at != want {
				t.Errorf("byte %d of %q is placed at %v, wanted %v, of\n%s", off, expr, at, want, text)
			}
			if (end != Pos{}) && end != after(want, "W", 0) {
				t.Errorf("the word ends at %v", end)
			}
		})
	}
}

func TestDiagnosePlacesWhatAPluginSays(t *testing.T) {
	p, d := Parse("f.yaml", []byte("sinks:\n  out:\n    type: stdout\n    with: { columns: [bytes, \"${env:HOST}\"] }\n"), testOptions())
	if d.Failed() {
		t.Fatal(d.List)
	}
	n := p.Nodes[0]
	got := n.Diagnose(CodeSchema, fmt.Errorf("wrapped: %w", sdk.Problems{
		{Path: "columns[1]", Code: CodeUnknownColumn, Message: "no column `hunter2-secret`", Help: "did you mean `bytes`?"},
		{Message: "all is lost"},
	}))
	want := []Diagnostic{
		{Severity: SeverityError, Code: CodeUnknownColumn, At: Pos{"f.yaml", 4, 30}, End: Pos{"f.yaml", 4, 43}, Path: "sinks.out.with.columns[1]",
			Message: "no column `${env:HOST}`", Help: "did you mean `bytes`?"},
		{Severity: SeverityError, Code: CodeSchema, At: Pos{"f.yaml", 4, 5}, Path: "sinks.out", Message: "all is lost"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := p.Redact(`dial "hunter2-secret": refused`); got != `dial "${env:HOST}": refused` {
		t.Errorf("Redact: %s", got)
	}
	if n.Diagnose(CodeSchema, nil) != nil {
		t.Error("no error gives a diagnostic")
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.yaml")
	secret := filepath.Join(dir, "listen")
	t.Setenv("WEIR_TEST_PORT", "2055")
	os.WriteFile(secret, []byte("127.0.0.1\n"), 0o600)
	os.WriteFile(file, []byte("sources: { in: { type: udp, with: { listen: \"${file:"+secret+"}:${env:WEIR_TEST_PORT}\" } } }\n"), 0o600)
	p, d := Load(file, Options{Plugins: testPlugins()})
	if d.Failed() || p.Name != "a" || p.Nodes[0].Config.(*udpConfig).Listen != "127.0.0.1:2055" {
		t.Errorf("%+v %+v", p, d.List)
	}
	if p, d := Load(dir, Options{}); p != nil || len(d.List) != 1 || d.List[0].Code != CodeUnreadable || d.List[0].Help != "name a file in it" {
		t.Errorf("a directory gives %+v", d.List)
	}
	os.WriteFile(file, make([]byte, MaxFileBytes+100), 0o600)
	if p, d := Load(file, Options{}); p != nil || len(d.List) != 1 || d.List[0].Code != CodeTooLarge {
		t.Errorf("a large file gives %+v", d.List)
	}
	if p, d := Parse("x.yaml", []byte("sources: { in: { type: udp } }\n"), Options{}); p == nil || d.List[0].Code != CodeUnknownType {
		t.Errorf("without plugins: %+v", d.List)
	}
}

// A named pipe is read to its end, as a shell gives one for <(...), also if its writer comes a little later. Nobody waits for ever for one
// that nobody writes to.
func TestLoadFromAPipe(t *testing.T) {
	defer func(d time.Duration) { pipePatience = d }(pipePatience)
	pipe := filepath.Join(t.TempDir(), "p.yaml")
	if out, err := exec.Command("mkfifo", pipe).CombinedOutput(); err != nil {
		t.Skipf("no named pipe can be made: %v %s", err, out)
	}
	pipePatience = 50 * time.Millisecond
	if p, d := Load(pipe, Options{}); p != nil || len(d.List) != 1 || d.List[0].Code != CodeUnreadable || !strings.Contains(d.List[0].Message, "nobody has written to it") {
		t.Errorf("nobody writes: %+v", d.List)
	}
	pipePatience = time.Minute
	wrote := make(chan error, 1)
	go func() {
		time.Sleep(30 * time.Millisecond)
		wrote <- os.WriteFile(pipe, []byte(extended), 0)
	}()
	p, d := Load(pipe, testOptions())
	if d.Failed() || len(p.Nodes) != 3 {
		t.Errorf("%+v %+v", p, d.List)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}

// extended has keys of the user's own, whose values others stand for and which are themselves never looked at.
const extended = `
x-workers: &w { workers: 2, listen: "127.0.0.1:${env:PORT}" }
x-: 1
x-note: [ "${env:NOWHERE}", { lanes: many } ]
sources:
  a: { type: udp, with: { <<: *w, workers: 3 } }
  b: { type: udp, with: *w }
sinks: { out: { type: stdout } }
`

// Keys that begin with x- are the user's own, at the top of a file and nowhere else.
func TestExtensions(t *testing.T) {
	p, d := Parse("f.yaml", []byte(extended), testOptions())
	if len(d.List) > 0 {
		t.Fatal(d.List)
	}
	a, b := p.Nodes[0].Config.(*udpConfig), p.Nodes[1].Config.(*udpConfig)
	if a.Workers != 3 || b.Workers != 2 || a.Listen == "" || a.Listen != b.Listen || strings.Contains(a.Listen, "$") {
		t.Errorf("%+v and %+v", a, b)
	}
	for _, text := range []string{"X-a: 1\n", "xa: 1\n", "sources: { in: { type: udp, x-a: 1, with: { listen: \":1\" } } }\n", "sources: { in: { type: udp, with: { x-a: 1, listen: \":1\" } } }\n"} {
		if _, d := Parse("f.yaml", []byte(text), testOptions()); len(d.List) == 0 || d.List[0].Code != CodeUnknownKey {
			t.Errorf("%q gives %+v", text, d.List)
		}
	}
}

// An override of what an alias shares changes the one place, not the other.
func TestOverrideOfSharedValue(t *testing.T) {
	opts := testOptions()
	opts.Set = []string{"sources.b.with.workers=9"}
	p, d := Parse("f.yaml", []byte("sources:\n  a: { type: udp, with: &w { workers: 2 } }\n  b: { type: udp, with: *w }\n"), opts)
	if d.Failed() {
		t.Fatal(d.List)
	}
	if a, b := p.Nodes[0].Config.(*udpConfig).Workers, p.Nodes[1].Config.(*udpConfig).Workers; a != 2 || b != 9 {
		t.Errorf("workers %d and %d", a, b)
	}
}

func TestNearest(t *testing.T) {
	for _, c := range []struct {
		word string
		of   string
		want string
	}{
		{"listn", "listen,workers", "listen"},
		{"Listen", "listen", "listen"},
		{"when-full", "when_full", "when_full"},
		{"upd", "tcp,udp", "udp"},
		{"a", "b,ab", "b"},
		{"src_ip", "src_addr,dst_addr", ""},
		{"dest_port", "src_port,dst_port", "dst_port"},
		{"", "a", "a"},
		{"xyz", "", ""},
		{"teh", "the,tea", "the"},
		{"directory", "dir,prefix,columns", "dir"},
		{"compress", "level,compression", "compression"},
		{"source", "src,source_one,source_two", ""},
		{"id", "identity", ""},
		{strings.Repeat("x", 500), strings.Repeat("x", 500), ""},
	} {
		if got := Nearest(c.word, strings.Split(c.of, ",")); got != c.want {
			t.Errorf("Nearest(%q, %s) = %q, wanted %q", c.word, c.of, got, c.want)
		}
	}
}

// What a reload costs: a pipeline of 1,000 nodes.
func BenchmarkParse(b *testing.B) {
	const nodes = 1000
	var text strings.Builder
	text.WriteString("sources:\n  in: { type: udp, with: { listen: \":2055\" } }\nprocessors:\n")
	for i := range nodes - 2 {
		fmt.Fprintf(&text, "  - id: n%d\n    type: classify\n    with:\n      rules:\n        - when: dst_port == %d\n          set: { service: s%d }\n", i, i, i)
	}
	text.WriteString("sinks:\n  out: { type: stdout }\n")
	opts := testOptions()
	for b.Loop() {
		if _, d := Parse("f.yaml", []byte(text.String()), opts); len(d.List) > 0 {
			b.Fatal(d.List)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/nodes, "us/node")
}

// 0s is a bound like any other, where it is written: in the pipeline, or else in the process's settings.
func TestDrainTimeoutOfZero(t *testing.T) {
	zero, minute := time.Duration(0), time.Minute
	for _, c := range []struct {
		text    string
		process *time.Duration
		want    time.Duration
	}{
		{"", nil, DefaultDrainTimeout}, {"", &zero, 0}, {"", &minute, minute},
		{"drain_timeout: 0s\n", nil, 0}, {"drain_timeout: 0s\n", &minute, 0}, {"drain_timeout: 1s\n", &zero, time.Second},
	} {
		p, _ := Parse("p.yaml", []byte("doc: x\n"+c.text), Options{DrainTimeout: c.process})
		if p.DrainTimeout != c.want {
			t.Errorf("%q with the process's %v: %v, want %v", c.text, c.process, p.DrainTimeout, c.want)
		}
	}
}
