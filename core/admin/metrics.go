package admin

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/weirflow/weir/core/ledger"
	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/sdk"
)

// metric is one row of the table of metrics. Exactly one of the functions that read it is set.
type metric struct {
	name, help string
	typ        prometheus.ValueType
	kinds      []sdk.Kind // of nodes that have it; nil: all

	node     func(*ledger.NodeReport) float64
	reasons  func(*ledger.NodeReport) map[string]uint64 // labelled by reason
	known    func(*sdk.Spec) []sdk.Reason               // beside reasons: those that are there from the start
	queue    func(Queue) float64
	pipeline func(*Status) float64

	desc *prometheus.Desc
}

const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue
)

var (
	sources    = []sdk.Kind{sdk.KindSource}
	processors = []sdk.Kind{sdk.KindProcessor}
	sinks      = []sdk.Kind{sdk.KindSink}
	inside     = []sdk.Kind{sdk.KindSource, sdk.KindProcessor}
)

// metrics is the table of all metrics of pipelines; METRICS.md is written from it. Labels are bounded by what pipelines say: their
// names, the ids of their nodes, and the reasons, which are constants of the plugins.
func metrics() []*metric {
	ms := []*metric{
		{name: "pipeline_running", help: "1 while the pipeline runs or drains, 0 when it has ended or failed.", typ: gauge,
			pipeline: func(s *Status) float64 { return one(s.State == Running || s.State == Draining) }},
		{name: "pipeline_failed", help: "1 when the pipeline has failed.", typ: gauge,
			pipeline: func(s *Status) float64 { return one(s.State == Failed) }},
		{name: "pipeline_in_transit_records", help: "Records between two counters at the moment of reading; 0 at rest.", typ: gauge,
			pipeline: func(s *Status) float64 { return float64(s.Ledger.InTransit) }},

		{name: "pipeline_memory_bytes", help: "Memory of batches that are not released yet, wherever they are: in queues, in blocks, open, at work.", typ: gauge,
			pipeline: func(s *Status) float64 { return float64(s.Memory.Held) }},
		{name: "pipeline_memory_budget_bytes", help: "Memory of batches above which sources are not read until some is released.", typ: gauge,
			pipeline: func(s *Status) float64 { return float64(s.Memory.Budget) }},

		{name: "node_received_records_total", help: "Records that came in: for a source from outside, else over its edges.", typ: counter,
			node: func(n *ledger.NodeReport) float64 { return float64(n.In) }},
		{name: "node_sent_records_total", help: "Records that went out: for a sink those delivered, else over its edges, those for `errors` not among them.", typ: counter,
			node: func(n *ledger.NodeReport) float64 { return float64(n.Out) }},
		{name: "node_filtered_records_total", help: "Records that a condition did not keep.", typ: counter, kinds: inside,
			node: func(n *ledger.NodeReport) float64 { return float64(n.Filtered) }},
		{name: "node_dropped_records_total", help: "Records dropped in the node, by reason.", typ: counter,
			reasons: func(n *ledger.NodeReport) map[string]uint64 { return n.Dropped }, known: func(s *sdk.Spec) []sdk.Reason { return s.Reasons }},
		{name: "node_lost_records_total", help: "Records lost before Weir saw them, by reason: beside the ledger, not in it.", typ: counter, kinds: inside,
			reasons: func(n *ledger.NodeReport) map[string]uint64 { return n.Lost }, known: func(s *sdk.Spec) []sdk.Reason { return s.Losses }},
		{name: "node_noted_total", help: "What the node tells of its records beside the ledger, by reason, in the unit the reason names.", typ: counter,
			reasons: func(n *ledger.NodeReport) map[string]uint64 { return n.Noted }},
		{name: "node_dead_lettered_records_total", help: "Refused records that went to the stream `errors`.", typ: counter,
			kinds: []sdk.Kind{sdk.KindProcessor, sdk.KindSink}, node: func(n *ledger.NodeReport) float64 { return float64(n.DeadLettered) }},
		{name: "processor_errors_made_records_total", help: "Refused parts of records of which something else was used.", typ: counter, kinds: processors,
			node: func(n *ledger.NodeReport) float64 { return float64(n.ErrorsMade) }},
		{name: "processor_failed_records_total", help: "Refused records where `on_error` is `fail`: they stopped the pipeline.", typ: counter, kinds: processors,
			node: func(n *ledger.NodeReport) float64 { return float64(n.Failed) }},
		{name: "processor_forwarded_records_total", help: "Input records that are in an output.", typ: counter, kinds: processors,
			node: func(n *ledger.NodeReport) float64 { return float64(n.Forwarded) }},
		{name: "processor_consumed_records_total", help: "Input records of which something was made.", typ: counter, kinds: processors,
			node: func(n *ledger.NodeReport) float64 { return float64(n.Consumed) }},
		{name: "processor_produced_records_total", help: "Records made, not passed on.", typ: counter, kinds: processors,
			node: func(n *ledger.NodeReport) float64 { return float64(n.Produced) }},
		{name: "processor_copied_records_total", help: "Records sent a second time because an output has several readers.", typ: counter, kinds: processors,
			node: func(n *ledger.NodeReport) float64 { return float64(n.Copied) }},
		{name: "processor_held_records", help: "Input records held: windows, data that waits for its template.", typ: gauge, kinds: processors,
			node: func(n *ledger.NodeReport) float64 { return float64(n.Held) }},
		{name: "processor_open_records", help: "Output records in batches being built.", typ: gauge, kinds: processors,
			node: func(n *ledger.NodeReport) float64 { return float64(n.Open) }},
		{name: "source_in_hand_records", help: "Records received and not yet handed out.", typ: gauge, kinds: sources,
			node: func(n *ledger.NodeReport) float64 { return float64(n.InHand) }},
		{name: "sink_in_flight_records", help: "Records taken and neither stored nor refused yet, those of files not yet closed among them.", typ: gauge, kinds: sinks,
			node: func(n *ledger.NodeReport) float64 { return float64(n.InFlight) }},
		{name: "sink_copies_bytes", help: "Memory of the sink's own copies, beside batches: row groups that are not complete, what could not be sent yet.", typ: gauge, kinds: sinks,
			node: func(n *ledger.NodeReport) float64 { return float64(n.Copies) }},
		{name: "sink_failed_records_total", help: "Records that could not be stored and stopped the pipeline.", typ: counter, kinds: sinks,
			node: func(n *ledger.NodeReport) float64 { return float64(n.Failed) }},
		{name: "sink_blocks_total", help: "Writes of blocks, retries among them; of sinks behind a queue.", typ: counter, kinds: sinks,
			node: func(n *ledger.NodeReport) float64 { return float64(n.Blocks) }},
		{name: "sink_retries_total", help: "Blocks that had to be written again.", typ: counter, kinds: sinks,
			node: func(n *ledger.NodeReport) float64 { return float64(n.Retries) }},

		{name: "queue_bytes", help: "Memory held by the queue in front of the node and by what reads it.", typ: gauge,
			queue: func(q Queue) float64 { return float64(q.Bytes) }},
		{name: "queue_peak_bytes", help: "Most memory the queue has held.", typ: gauge,
			queue: func(q Queue) float64 { return float64(q.PeakBytes) }},
		{name: "queue_capacity_bytes", help: "Memory that the queue may hold.", typ: gauge,
			queue: func(q Queue) float64 { return float64(q.Capacity) }},
		{name: "queue_batches", help: "Batches waiting in the queue.", typ: gauge,
			queue: func(q Queue) float64 { return float64(q.Batches) }},
		{name: "queue_records", help: "Records waiting in the queue.", typ: gauge,
			queue: func(q Queue) float64 { return float64(q.Records) }},
	}
	for _, m := range ms {
		m.desc = prometheus.NewDesc("weir_"+m.name, m.help, m.labels(), nil)
	}
	return ms
}

// queueDropped is read from the edges: several may lead into one queue.
func queueDropped() *metric {
	m := &metric{name: "queue_dropped_records_total", typ: counter,
		help: "Records dropped between two nodes, by reason: a full queue in front of the node, or the end of the drain's time."}
	m.desc = prometheus.NewDesc("weir_"+m.name, m.help, m.labels(), nil)
	return m
}

func (m *metric) labels() []string {
	switch {
	case m.pipeline != nil:
		return []string{"pipeline"}
	case m.node != nil || m.queue != nil:
		return []string{"pipeline", "node"}
	}
	return []string{"pipeline", "node", "reason"}
}

func one(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// collector reads ledgers and queues when it is asked.
type collector struct {
	metrics []*metric
	dropped *metric
	build   *prometheus.Desc
	version string
	of      []Pipeline
}

func newCollector(version string, of []Pipeline) *collector {
	return &collector{metrics(), queueDropped(), buildInfo(), version, of}
}

func buildInfo() *prometheus.Desc {
	return prometheus.NewDesc("weir_build_info", "1, with the version of Weir and of Go.", []string{"version", "goversion"}, nil)
}

func registry(version string, of []Pipeline) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(newCollector(version, of), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range slices.Concat(c.metrics, []*metric{c.dropped}) {
		ch <- m.desc
	}
	ch <- c.build
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.MustNewConstMetric(c.build, gauge, 1, c.version, runtime.Version())
	for _, p := range c.of {
		s := StatusOf(p)
		c.pipeline(ch, p.Plan(), &s)
	}
}

// withZeros adds to what was counted the reasons that a node's plugin names. A counter that appears with its first record has made no step
// yet: `increase` does not see it, and an alert on the first loss would be silent.
func withZeros(counted map[string]uint64, known func(*sdk.Spec) []sdk.Reason, pl *plan.Plan, id string) map[string]uint64 {
	i := slices.IndexFunc(pl.Nodes, func(n *plan.Node) bool { return n.ID == id })
	if known == nil || i < 0 {
		return counted
	}
	out := map[string]uint64{}
	for _, reason := range known(&pl.Nodes[i].Plugin.Spec) {
		out[string(reason)] = 0
	}
	maps.Copy(out, counted)
	return out
}

func (c *collector) pipeline(ch chan<- prometheus.Metric, pl *plan.Plan, s *Status) {
	send := func(m *metric, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(m.desc, m.typ, v, append([]string{s.Name}, labels...)...)
	}
	for _, m := range c.metrics {
		switch {
		case m.pipeline != nil:
			send(m, m.pipeline(s))
		case m.queue != nil:
			for id, q := range s.Queues {
				send(m, m.queue(q), id)
			}
		default:
			for i := range s.Ledger.Nodes {
				n := &s.Ledger.Nodes[i]
				if m.kinds != nil && !slices.Contains(m.kinds, n.Kind) {
					continue
				}
				if m.node != nil {
					send(m, m.node(n), n.ID)
					continue
				}
				for reason, k := range withZeros(m.reasons(n), m.known, pl, n.ID) {
					send(m, float64(k), n.ID, reason)
				}
			}
		}
	}
	dropped := map[[2]string]uint64{}
	for _, e := range s.Ledger.Edges {
		to := e.To
		if to == "" {
			to = e.From // of an output that nobody reads
		}
		for reason, k := range e.Dropped {
			dropped[[2]string{to, reason}] += k
		}
	}
	// A queue that may drop is there from the start, so that the first drop is an increase.
	for _, n := range pl.Nodes {
		if q := n.Stage.Queue; q != nil && n == n.Stage.Head() && q.WhenFull != "block" {
			dropped[[2]string{n.ID, string(sdk.ReasonOverflow)}] += 0
		}
	}
	for k, v := range dropped {
		send(c.dropped, float64(v), k[0], k[1])
	}
}

// Table is the table of metrics as Markdown: METRICS.md.
func Table() string {
	var b strings.Builder
	b.WriteString("# Metrics\n\n`GET /metrics` of the admin interface. A counter counts from the start of the process. `pipeline` is the name of the file\n" +
		"without its extension, `node` the id of a node, `reason` a constant of the plugin (`weir inspect plugins NAME` lists them)\nor of the core.\n\n" +
		"| metric | type | labels | of | meaning |\n|---|---|---|---|---|\n")
	for _, m := range append(metrics(), queueDropped()) {
		typ, of := "gauge", "every node"
		if m.typ == counter {
			typ = "counter"
		}
		switch {
		case m.pipeline != nil:
			of = "pipelines"
		case strings.HasPrefix(m.name, "queue_"):
			of = "queues"
		case m.kinds != nil:
			kinds := make([]string, len(m.kinds))
			for i, k := range m.kinds {
				kinds[i] = string(k) + "s"
			}
			of = strings.Join(kinds, ", ")
		}
		fmt.Fprintf(&b, "| `weir_%s` | %s | %s | %s | %s |\n", m.name, typ, strings.Join(m.labels(), ", "), of, m.help)
	}
	b.WriteString("| `weir_build_info` | gauge | version, goversion | the process | 1, with the version of Weir and of Go. |\n\n" +
		"Beside these, the usual `go_*` and `process_*`.\n")
	return b.String()
}
