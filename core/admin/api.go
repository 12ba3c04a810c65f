package admin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/weirflow/weir/core/ledger"
	"github.com/weirflow/weir/core/plan"
)

// Status is what /api/v1/pipelines says of a pipeline.
type Status struct {
	Name   string           `json:"name"`
	File   string           `json:"file"`
	State  State            `json:"state"`
	Error  string           `json:"error,omitempty"`
	Ledger ledger.Report    `json:"ledger"`
	Queues map[string]Queue `json:"queues"` // by the id of the node behind
	Memory Memory           `json:"memory"`
}

// Memory is what the pipeline's batches hold as a whole, and beside them its sinks' own copies.
type Memory struct {
	Held   int64 `json:"bytes"`
	Budget int64 `json:"budget_bytes"` // above it sources are not read
	Copies int64 `json:"copies_bytes"`
	Most   int64 `json:"copies_most_bytes"` // what the sinks say their copies take at most
}

// Queue is the level of a queue.
type Queue struct {
	Bytes     int64 `json:"bytes"`
	PeakBytes int64 `json:"peak_bytes"`
	Capacity  int64 `json:"capacity_bytes"`
	Batches   int   `json:"batches"`
	Records   int64 `json:"records"`
}

// StatusOf reads a pipeline.
func StatusOf(p Pipeline) Status {
	pl := p.Plan()
	state, err := p.State()
	s := Status{Name: pl.Pipeline.Name, File: pl.Pipeline.File, State: state, Ledger: p.Report(), Queues: map[string]Queue{},
		Memory: Memory(p.Memory())}
	if err != nil {
		s.Error = pl.Pipeline.Redact(err.Error())
	}
	for id, q := range p.QueueStats() {
		s.Queues[id] = Queue{q.Bytes, q.MostBytes, q.Limit, q.Batches, q.Rows}
	}
	return s
}

func (s *Server) handler(version string) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry(version, s.pipelines), promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "healthy") })
	mux.HandleFunc("GET /-/ready", s.ready)
	mux.HandleFunc("GET /api/v1/pipelines", s.list)
	mux.HandleFunc("GET /api/v1/pipelines/{name}", s.one(func(w http.ResponseWriter, _ *http.Request, p Pipeline) { answer(w, http.StatusOK, StatusOf(p)) }))
	mux.HandleFunc("GET /api/v1/pipelines/{name}/graph", s.one(graph))
	mux.HandleFunc("GET /api/v1/pipelines/{name}/plan", s.one(func(w http.ResponseWriter, _ *http.Request, p Pipeline) {
		text, err := p.Plan().JSON()
		if err != nil {
			problem(w, http.StatusInternalServerError, err.Error())
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(append(text, '\n'))
	}))
	mux.HandleFunc("GET /api/v1/inspect/{topic}", s.inspect)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		problem(w, http.StatusNotFound, "there is nothing here: try /-/healthy, /-/ready, /metrics or /api/v1/pipelines")
	})
	return mux
}

// ready names the pipelines that do not run, and why.
func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	var not []string
	for _, p := range s.pipelines {
		switch state, err := p.State(); {
		case state == Running || state == Ended:
		case err != nil:
			not = append(not, fmt.Sprintf("%s: %s: %s", p.Plan().Pipeline.Name, state, p.Plan().Pipeline.Redact(err.Error())))
		default:
			not = append(not, fmt.Sprintf("%s: %s", p.Plan().Pipeline.Name, state))
		}
	}
	if len(not) > 0 {
		http.Error(w, strings.Join(not, "\n"), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ready")
}

func (s *Server) list(w http.ResponseWriter, _ *http.Request) {
	out := struct {
		Pipelines []Status `json:"pipelines"`
	}{[]Status{}}
	for _, p := range s.pipelines {
		out.Pipelines = append(out.Pipelines, StatusOf(p))
	}
	answer(w, http.StatusOK, out)
}

// one finds the pipeline that the path names.
func (s *Server) one(f func(http.ResponseWriter, *http.Request, Pipeline)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if p := s.named(w, r.PathValue("name")); p != nil {
			f(w, r, p)
		}
	}
}

// named finds a pipeline. If there is none of that name it answers so, with those that there are, and returns nil.
func (s *Server) named(w http.ResponseWriter, name string) Pipeline {
	var names []string
	for _, p := range s.pipelines {
		if p.Plan().Pipeline.Name == name {
			return p
		}
		names = append(names, p.Plan().Pipeline.Name)
	}
	if len(names) > mostNamed {
		names = append(names[:mostNamed], "...")
	}
	problem(w, http.StatusNotFound, fmt.Sprintf("no pipeline that runs here is named %q: there are %s", name, strings.Join(names, ", ")))
	return nil
}

// mostNamed is how many pipelines a message names.
const mostNamed = 20

// Inspection is what /api/v1/inspect says about a topic: what each node that knows something of it tells.
type Inspection struct {
	Topic string    `json:"topic"`
	Time  time.Time `json:"time"` // of the answer
	Nodes []Told    `json:"nodes"`
}

// Told is what one node tells.
type Told struct {
	Pipeline string          `json:"pipeline"`
	Node     string          `json:"node"`
	Answer   json.RawMessage `json:"answer,omitempty"`
	Error    string          `json:"error,omitempty"`
}

// inspect asks the nodes of all pipelines, or of ?pipeline=.
func (s *Server) inspect(w http.ResponseWriter, r *http.Request) {
	out := Inspection{Topic: r.PathValue("topic"), Time: time.Now().UTC()}
	asked := s.pipelines
	if only := r.URL.Query().Get("pipeline"); only != "" {
		p := s.named(w, only)
		if p == nil {
			return
		}
		asked = []Pipeline{p}
	}
	for _, p := range asked {
		pl := p.Plan().Pipeline
		for _, a := range p.Inspect(out.Topic) {
			told := Told{Pipeline: pl.Name, Node: a.Node, Error: pl.Redact(a.Error)}
			if a.Answer != nil {
				var err error
				if told.Answer, err = json.Marshal(a.Answer); err != nil {
					told.Error = err.Error()
				}
			}
			out.Nodes = append(out.Nodes, told)
		}
	}
	if out.Nodes == nil {
		problem(w, http.StatusNotFound, fmt.Sprintf("no node that runs here has anything to tell about %q", out.Topic))
		return
	}
	answer(w, http.StatusOK, &out)
}

var graphTypes = map[string]string{"svg": "image/svg+xml"}

func graph(w http.ResponseWriter, r *http.Request, p Pipeline) {
	format := r.URL.Query().Get("format")
	if format == "" {
		format = plan.GraphFormats[0]
	}
	text, err := p.Plan().Graph(format)
	if err != nil {
		problem(w, http.StatusBadRequest, err.Error())
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if t, ok := graphTypes[format]; ok {
		w.Header().Set("Content-Type", t)
	}
	fmt.Fprint(w, text)
}

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // the client has gone
}

func problem(w http.ResponseWriter, code int, message string) {
	answer(w, code, map[string]string{"error": message})
}
