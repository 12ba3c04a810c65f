package admin

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.uber.org/goleak"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/core/engine"
	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/sdk"
)

var update = flag.Bool("update", false, "write METRICS.md anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Plugins: a source of `rows` records, of which it drops every tenth as `odd`; a sink that takes all.

type countConfig struct {
	Rows int `yaml:"rows" doc:"records"`
}

var countSchema = sdk.NewSchema(sdk.Field{Name: "n", Type: sdk.Uint64})

var count = sdk.Plugin{
	Spec: sdk.Spec{
		Kind: sdk.KindSource, Type: "count", Doc: "counts", Config: func() any { return &countConfig{} },
		Output: func(any, *sdk.Schema) ([]*sdk.Schema, error) { return []*sdk.Schema{countSchema}, nil },
		Lanes:  func(any) (int, bool) { return 1, true }, Slowable: true, Reasons: []sdk.Reason{"odd", "even"}, Losses: []sdk.Reason{"before", "behind"},
	},
	Source: func(env *sdk.Env, cfg any) (sdk.Source, error) {
		return &counting{env: env, left: cfg.(*countConfig).Rows}, nil
	},
}

type counting struct {
	env  *sdk.Env
	left int
	gave bool
}

func (c *counting) Accept(context.Context) (sdk.Reader, error) {
	if c.gave {
		return nil, io.EOF
	}
	c.gave = true
	return c, nil
}

func (c *counting) Read(context.Context, time.Duration) (*sdk.Batch, error) {
	if c.left == 0 {
		return nil, io.EOF
	}
	n := c.left
	c.left = 0
	c.env.Books.Received.Add(uint64(n))
	c.env.Books.Drop("odd", uint64(n/10))
	c.env.Books.Lost("before", 3)
	n -= n / 10
	b := c.env.NewBatch(countSchema, n)
	b.SetRows(n)
	b.Seal()
	return b, nil
}

func (c *counting) Partition() *sdk.Partition   { return &sdk.Partition{Source: c.env.Node, Name: "0"} }
func (c *counting) Ready() <-chan struct{}      { return nil }
func (c *counting) Stop(context.Context) error  { return nil }
func (c *counting) Close(context.Context) error { return nil }

var take = sdk.Plugin{
	Spec: sdk.Spec{Kind: sdk.KindSink, Type: "take", Doc: "takes all", Config: func() any { return &struct{}{} }},
	Sink: func(*sdk.Env, any) (sdk.Sink, error) { return taker{}, nil },
}

type taker struct{}

func (taker) Open(context.Context, *sdk.Schema) (sdk.Writer, error) { return taker{}, nil }
func (taker) Flush(context.Context) error                           { return nil }
func (taker) Held() int64                                           { return 0 }
func (taker) Close(context.Context) error                           { return nil }
func (taker) Write(_ context.Context, _ *sdk.Block, done func(error)) error {
	done(nil)
	return nil
}

type shown struct {
	*engine.Run
	state State
	err   error
}

func (s *shown) State() (State, error) { return s.state, s.err }

// ran is a pipeline that has run to its end.
func ran(t *testing.T, name string) *shown {
	t.Helper()
	p, d := config.Parse(name+".yaml", []byte("sources:\n  in: {type: count, with: {rows: 1000}}\nsinks:\n  out: {type: take}\n  copy: {type: take, ack: optional}\n"),
		config.Options{Plugins: config.NewRegistry(count, take)})
	if d.Failed() {
		t.Fatal(d.List)
	}
	pl, list := plan.Resolve(p, plan.Options{CPUs: 1})
	if pl == nil {
		t.Fatal(list)
	}
	r, err := engine.New(pl, engine.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	r.Start()
	if err := r.Wait(); err != nil {
		t.Fatal(err)
	}
	return &shown{r, Running, nil}
}

// serve answers for the pipelines at a port of its own until the test ends.
func serve(t *testing.T, ps ...Pipeline) (get func(path string) (int, string)) {
	t.Helper()
	s, err := Listen("127.0.0.1:0", "v1.2.3", ps, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.Serve()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	t.Cleanup(func() { s.Close(context.Background()) })
	return func(path string) (int, string) {
		t.Helper()
		resp, err := client.Get("http://" + s.Addr() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}
}

// What is scraped passes Prometheus' own linter and agrees with the ledger.
func TestMetrics(t *testing.T) {
	get := serve(t, ran(t, "a"), ran(t, "b"))
	code, text := get("/metrics")
	if code != http.StatusOK {
		t.Fatal(code, text)
	}
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "weir_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	lines := strings.Split(text, "\n")
	for _, want := range []string{
		`weir_build_info{goversion="go`,
		`weir_pipeline_running{pipeline="a"} 1`,
		`weir_node_received_records_total{node="in",pipeline="a"} 1000`,
		`weir_node_dropped_records_total{node="in",pipeline="a",reason="odd"} 100`,
		`weir_node_dropped_records_total{node="in",pipeline="a",reason="even"} 0`, // from the start: its first record is an increase
		`weir_node_lost_records_total{node="in",pipeline="a",reason="before"} 3`,
		`weir_node_lost_records_total{node="in",pipeline="a",reason="behind"} 0`,
		`weir_node_sent_records_total{node="out",pipeline="b"} 900`,
		`weir_queue_dropped_records_total{node="copy",pipeline="b",reason="overflow"} 0`,
		`weir_queue_bytes{node="out",pipeline="a"} 0`,
		`weir_sink_in_flight_records{node="out",pipeline="a"} 0`,
	} {
		if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, want) }) {
			t.Errorf("no line %s in\n%s", want, text)
		}
	}
}

// Every metric that is scraped is in METRICS.md, which is the table.
func TestTable(t *testing.T) {
	if *update {
		if err := os.WriteFile("METRICS.md", []byte(Table()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile("METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(Table(), string(text)); d != "" {
		t.Errorf("METRICS.md is old, go test -update writes it (-want +got): %s", d)
	}
	get := serve(t, ran(t, "a"))
	_, scraped := get("/metrics")
	for line := range strings.Lines(scraped) {
		if f := strings.Fields(line); len(f) > 3 && f[1] == "TYPE" && strings.HasPrefix(f[2], "weir_") {
			if !strings.Contains(string(text), "| `"+f[2]+"` | "+f[3]+" |") {
				t.Errorf("%s (%s) is not in METRICS.md", f[2], f[3])
			}
		}
	}
}

func TestReady(t *testing.T) {
	p := ran(t, "a")
	get := serve(t, p)
	if code, text := get("/-/healthy"); code != http.StatusOK || text != "healthy\n" {
		t.Error(code, text)
	}
	for _, c := range []struct {
		state State
		err   error
		code  int
		text  string
	}{
		{Running, nil, 200, "ready\n"}, {Ended, nil, 200, "ready\n"}, {Starting, nil, 503, "a: starting\n"}, {Draining, nil, 503, "a: draining\n"},
		{Failed, errors.New("sinks.out: the disk is full"), 503, "a: failed: sinks.out: the disk is full\n"},
	} {
		p.state, p.err = c.state, c.err
		if code, text := get("/-/ready"); code != c.code || text != c.text {
			t.Errorf("%s: %d %q, want %d %q", c.state, code, text, c.code, c.text)
		}
	}
}

func TestAPI(t *testing.T) {
	p := ran(t, "a")
	get := serve(t, p)
	var list struct{ Pipelines []Status }
	code, text := get("/api/v1/pipelines")
	if err := json.Unmarshal([]byte(text), &list); err != nil || code != http.StatusOK || len(list.Pipelines) != 1 {
		t.Fatal(err, code, text)
	}
	var s Status
	code, text = get("/api/v1/pipelines/a")
	if err := json.Unmarshal([]byte(text), &s); err != nil || code != http.StatusOK {
		t.Fatal(err, code, text)
	}
	if d := cmp.Diff(list.Pipelines[0], s); d != "" {
		t.Error(d)
	}
	if s.Name != "a" || s.File != "a.yaml" || s.State != Running || !s.Ledger.Balanced || s.Ledger.Received != 1000 || s.Ledger.Delivered != 1800 ||
		s.Queues["out"].Capacity == 0 {
		t.Errorf("%+v", s)
	}
	for path, want := range map[string]struct {
		code int
		text string
	}{
		"/api/v1/pipelines/b":                  {404, `no pipeline that runs here is named \"b\": there are a`},
		"/api/v1/inspect/exporters?pipeline=b": {404, `no pipeline that runs here is named \"b\": there are a`},
		"/api/v1/pipelines/a/plan":             {200, `"pipeline": "a"`},
		"/api/v1/pipelines/a/graph":            {200, "source     in"},
		"/api/v1/pipelines/a/graph?format=svg": {200, "<svg"},
		"/api/v1/pipelines/a/graph?format=gif": {400, "is no form of a graph"},
		"/else":                                {404, "try /-/healthy"},
	} {
		if code, text := get(path); code != want.code || !strings.Contains(text, want.text) {
			t.Errorf("%s: %d %s", path, code, text)
		}
	}
}

// An address in use is a matter of the environment, with what to do; the socket file of a dead process is not in the way.
func TestListen(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = Listen(l.Addr().String(), "", nil, log)
	if n, ok := errors.AsType[*sdk.NotReady](err); !ok || !strings.Contains(err.Error(), "is in use") || n.Do == "" {
		t.Errorf("%v", err)
	}
	path := filepath.Join(t.TempDir(), "s")
	dead, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	dead.Close()
	s, err := Listen("unix:"+path, "", nil, log)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(context.Background())
	s.Serve()
	if _, err = Listen("unix:"+path, "", nil, log); err == nil {
		t.Error("two servers at one Unix socket")
	}
}

// telling is a pipeline whose nodes tell about a topic.
type telling struct {
	*shown
	nodes map[string][]engine.NodeAnswer
}

func (p *telling) Inspect(topic string) []engine.NodeAnswer { return p.nodes[topic] }

// What nodes tell comes with their names; what cannot be told is said, and does not hide the rest.
func TestInspect(t *testing.T) {
	a := &telling{ran(t, "a"), map[string][]engine.NodeAnswer{"weather": {{Node: "in", Answer: map[string]int{"rain": 1}}, {Node: "out", Error: "no barometer"}}}}
	b := &telling{ran(t, "b"), map[string][]engine.NodeAnswer{"weather": {{Node: "in", Answer: func() {}}}}}
	get := serve(t, a, b)
	var got Inspection
	code, text := get("/api/v1/inspect/weather")
	if err := json.Unmarshal([]byte(text), &got); err != nil || code != http.StatusOK || time.Since(got.Time) > time.Minute {
		t.Fatal(err, code, text)
	}
	for i := range got.Nodes {
		got.Nodes[i].Answer = json.RawMessage(strings.Join(strings.Fields(string(got.Nodes[i].Answer)), ""))
	}
	want := []Told{{"a", "in", json.RawMessage(`{"rain":1}`), ""}, {"a", "out", json.RawMessage{}, "no barometer"},
		{"b", "in", json.RawMessage{}, "json: unsupported type: func()"}}
	if d := cmp.Diff(want, got.Nodes); d != "" {
		t.Error("(-want +got):", d)
	}
	if code, text := get("/api/v1/inspect/weather?pipeline=b"); code != http.StatusOK || strings.Contains(text, "barometer") {
		t.Error(code, text)
	}
	if code, text := get("/api/v1/inspect/time"); code != http.StatusNotFound || !strings.Contains(text, `anything to tell about \"time\"`) {
		t.Error(code, text)
	}
}
