package main

import (
	"fmt"
	"log/slog"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/core/engine"
	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sinks/discard"
	"github.com/weirflow/weir/sinks/stdout"
)

func (a *app) benchCommand() *cobra.Command {
	var flags pipelineFlags
	var input string
	var lanes int
	var duration time.Duration
	cmd := &cobra.Command{
		Use:   "bench PIPELINE",
		Short: "Measure how fast a pipeline is on this machine, and what each node costs",
		Long: "Runs a pipeline on input that is built in memory before the clock runs, and shows the CPU time of a record and of each node's part in\n" +
			"it. A record is one that leaves decode, or where there is no decode one of the input. Sinks write nothing: discard and stdout do\n" +
			"their work (into /dev/null), others take the same columns and discard them.\n\n" +
			"The input is the pipeline's own source `generate`, else what --input says: generate:v9,ipfix=2,exporters=50,records=24 (also ipv6,\n" +
			"domains, sampling, bytes, ring, seed), or a capture file. Without either it is " + defaultInput + ".\n\n" +
			"Without --lanes the source and what follows it run fused, in one lane if the plan lets them. With --lanes the source feeds a queue,\n" +
			"and so many lanes work behind it.",
		Example: "  weir bench pipelines/collect.yaml\n  weir bench pipelines/collect.yaml --input generate:v9,ipfix=2,exporters=50,records=24 --for 10s\n  weir bench pipelines/collect.yaml --input flows.pcap --lanes 2 -o json",
		Args:    wants("a pipeline's file", 1),
	}
	form := outputFlag(cmd, "text", "json")
	flags.add(cmd)
	cmd.Flags().StringVar(&input, "input", "", "generate:... or a capture file")
	cmd.Flags().IntVar(&lanes, "lanes", 0, "lanes behind the queue that the source feeds; 0: as the plan has it, without that queue")
	cmd.Flags().DurationVar(&duration, "for", 3*time.Second, "how long to measure")
	cmd.RunE = do(func(_ *cobra.Command, args []string) error {
		if duration <= 0 || lanes < 0 || lanes > 1024 {
			return usage("--for is more than 0, and --lanes from 0 to 1024")
		}
		original, err := a.one(args[0], &flags)
		if err != nil {
			return err
		}
		in, err := newInput(original, input)
		if err != nil {
			return err
		}
		defer in.close()
		p, replaced, err := a.rig(original, in, lanes)
		if err != nil {
			return err
		}
		m, err := a.watched("measuring for "+duration.String(), func() (*measurement, error) { return measure(p, duration) })
		if err != nil {
			return fmt.Errorf("%s", p.Pipeline.Redact(err.Error()))
		}
		m.Pipeline, m.Input, m.Lanes, m.Replaced = p.Pipeline.Name, in.name, lanes, replaced
		if form.value == "json" {
			return writeJSON(a.out, m)
		}
		return m.text(a)
	})
	return cmd
}

// rig makes of a pipeline the one that is measured: sources give the input, sinks write nothing. It names the sinks that were
// replaced.
func (a *app) rig(original *plan.Plan, in *benchInput, lanes int) (*plan.Plan, []string, error) {
	p := *original.Pipeline
	p.DrainTimeout = 5 * time.Second
	p.Nodes = nil
	var replaced []string
	for _, n := range original.Pipeline.Nodes {
		c := *n
		switch {
		case n.Kind == sdk.KindSource:
			c.Type, c.Plugin, c.Config, c.Lanes = in.plugin.Spec.Type, in.plugin, in.config, 0
		case n.Kind == sdk.KindSink && n.Plugin.Spec.Type != discard.Plugin.Spec.Type && n.Plugin.Spec.Type != stdout.Plugin.Spec.Type:
			plugin := *n.Plugin // its specification stays: it needs the same columns, and stands behind the same queue
			plugin.Spec.HonoursKeys = false
			plugin.Sink = func(env *sdk.Env, _ any) (sdk.Sink, error) {
				return discard.Plugin.Sink(env, discard.Plugin.Spec.Config())
			}
			c.Plugin = &plugin
			replaced = append(replaced, n.ID+" ("+n.Type+")")
		}
		p.Nodes = append(p.Nodes, &c)
	}
	if lanes > 0 {
		for _, e := range original.Edges {
			if e.From.Kind != sdk.KindSource || e.Port == plan.ErrorsPort {
				continue
			}
			n := p.Nodes[slices.IndexFunc(p.Nodes, func(n *config.Node) bool { return n.ID == e.To.ID })]
			n.Queue.Asked = true
			if n.Kind == sdk.KindProcessor {
				n.Lanes = lanes
			}
		}
	}
	pl, list := plan.Resolve(&p, plan.Options{})
	if pl == nil {
		return nil, nil, a.diagnose(&config.Diagnostics{List: list, Texts: map[string][]byte{p.File: p.Text}})
	}
	return pl, replaced, nil
}

// measurement is what bench says.
type measurement struct {
	Pipeline         string     `json:"pipeline"`
	Input            string     `json:"input"`
	Lanes            int        `json:"lanes"` // 0: as the plan has it
	Replaced         []string   `json:"replaced,omitempty"`
	Seconds          float64    `json:"seconds"`
	Records          uint64     `json:"records"`
	RecordsPerSecond float64    `json:"records_per_second"`
	CPUPerRecord     float64    `json:"cpu_ns_per_record"`
	Batches          uint64     `json:"batches"`
	AllocsPerBatch   float64    `json:"allocs_per_batch"`
	AllocsPerRecord  float64    `json:"allocs_per_record"`
	Nodes            []nodeCost `json:"nodes"`
}

type nodeCost struct {
	ID  string  `json:"id"`
	CPU float64 `json:"cpu_ns_per_record"`
}

// engineID stands for all that is no node's own code.
const engineID = "engine"

// sample is what is read before and after.
type sample struct {
	at      time.Time
	cpu     time.Duration
	mallocs uint64
	records uint64
	batches uint64
	times   engine.Times
}

func take(r *engine.Run, after bool) (s sample, err error) {
	var mem runtime.MemStats
	if !after {
		runtime.ReadMemStats(&mem) // it stops the world: outside what is timed
	}
	s.at = time.Now()
	if s.cpu, err = cpuTime(); err != nil {
		return s, err
	}
	s.times = r.Times()
	s.records, s.batches = recordsOf(r, s.times)
	if after {
		runtime.ReadMemStats(&mem)
	}
	s.mallocs = mem.Mallocs
	return s, nil
}

// recordsOf counts what left decode, or the sources where there is no decode.
func recordsOf(r *engine.Run, t engine.Times) (records, batches uint64) {
	nodes := r.Plan().Nodes
	decodes := slices.ContainsFunc(nodes, func(n *plan.Node) bool { return n.Type == "decode" })
	at := map[string]bool{}
	for _, n := range nodes {
		at[n.ID] = decodes && n.Type == "decode" || !decodes && n.Kind == sdk.KindSource
	}
	rep := r.Report()
	for i := range rep.Nodes {
		if n := &rep.Nodes[i]; at[n.ID] {
			records += n.Out
		}
	}
	for _, n := range t.Nodes {
		if at[n.ID] {
			batches += n.Batches
		}
	}
	return records, batches
}

// watched says on a terminal what takes so long.
func (a *app) watched(what string, f func() (*measurement, error)) (*measurement, error) {
	if file, ok := a.err.(*os.File); ok && isTerminal(file) {
		line := &status{w: file, fd: int(file.Fd())}
		line.show(what + " ...")
		defer line.clear()
	}
	return f()
}

// patience is how long a measurement may last beyond its time until the first record has come through.
const patience = 10 * time.Second

// measure runs the pipeline and reads its cost in the middle.
func measure(p *plan.Plan, d time.Duration) (*measurement, error) {
	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	screen := os.Stdout
	os.Stdout = null // where the sink stdout writes; what bench says goes to the app's stream
	defer func() { os.Stdout = screen }()
	r, err := engine.New(p, engine.Options{Dir: dir, Log: slog.New(slog.DiscardHandler), CPUs: runtime.GOMAXPROCS(0), Timed: true})
	if err != nil {
		return nil, err
	}
	r.Start()
	defer func() { r.Stop(); <-r.Done() }()
	if err := sleep(r, min(max(d/10, 200*time.Millisecond), time.Second)); err != nil { // pools fill, templates arrive
		return nil, err
	}
	runtime.GC()
	before, err := take(r, false)
	if err != nil {
		return nil, err
	}
	after, pause := before, d
	for limit := time.Now().Add(d + patience); after.records == before.records && time.Now().Before(limit); pause = 100 * time.Millisecond {
		if err := sleep(r, pause); err != nil {
			return nil, err
		}
		if after, err = take(r, true); err != nil {
			return nil, err
		}
	}
	r.Stop()
	if err := r.Wait(); err != nil {
		return nil, err
	}
	if rep := r.Report(); !rep.Balanced {
		return nil, fmt.Errorf("the ledger does not balance, so nothing was measured: %s", strings.Join(rep.Unbalanced, "; "))
	}
	return compare(before, after)
}

// sleep waits, unless the run ends before.
func sleep(r *engine.Run, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-r.Done():
		if err := r.Wait(); err != nil {
			return err
		}
		return fmt.Errorf("the input ended before the measurement did")
	}
}

// compare makes figures of two samples. Wall time in nodes is scaled to CPU time: by what lanes were active, so that being
// interrupted by others costs nobody, and no more is shared out than there was.
func compare(a, b sample) (*measurement, error) {
	seconds := b.at.Sub(a.at).Seconds()
	records, batches := b.records-a.records, b.batches-a.batches
	if records == 0 {
		return nil, fmt.Errorf("no record came through in %.3g s: does the input fit the pipeline?", seconds)
	}
	n := float64(records)
	cpu := float64(b.cpu - a.cpu)
	busy := 0.0
	for i, t := range b.times.Nodes {
		busy += float64(t.Busy - a.times.Nodes[i].Busy)
	}
	scale := 1.0
	if active := max(busy, float64(b.times.Active-a.times.Active)); active > cpu {
		scale = cpu / active
	}
	m := &measurement{Seconds: round(seconds, 3), Records: records, RecordsPerSecond: math.Round(n / seconds), CPUPerRecord: round(cpu/n, 2), Batches: batches,
		AllocsPerBatch: round(float64(b.mallocs-a.mallocs)/float64(max(batches, 1)), 2), AllocsPerRecord: round(float64(b.mallocs-a.mallocs)/n, 5)}
	rest := cpu / n
	for i, t := range b.times.Nodes {
		own := float64(t.Busy-a.times.Nodes[i].Busy) * scale / n
		rest -= own
		m.Nodes = append(m.Nodes, nodeCost{t.ID, round(own, 2)})
	}
	m.Nodes = append(m.Nodes, nodeCost{engineID, round(max(rest, 0), 2)})
	return m, nil
}

func round(v float64, digits int) float64 {
	p := math.Pow(10, float64(digits))
	return math.Round(v*p) / p
}

func (m *measurement) text(a *app) error {
	lanes := "source and processors as the plan fuses them"
	if m.Lanes > 0 {
		lanes = counted(m.Lanes, "lane") + " behind the source"
	}
	fmt.Fprintf(a.out, "%s: input %s, %s\n", m.Pipeline, m.Input, lanes)
	if len(m.Replaced) > 0 {
		fmt.Fprintf(a.out, "discarded, not written: %s\n", strings.Join(m.Replaced, ", "))
	}
	fmt.Fprintf(a.out, "\n  %s in %.3g s: %s a second, %.1f ns of CPU a record\n  %.1f allocations a batch of %s, %.4f a record\n\n",
		counted(m.Records, "record"), m.Seconds, number(uint64(m.RecordsPerSecond)), m.CPUPerRecord, m.AllocsPerBatch,
		counted(m.Records/max(m.Batches, 1), "record"), m.AllocsPerRecord)
	t := newTable("node", ">CPU ns/record", ">share")
	for _, n := range m.Nodes {
		t.add(n.ID, fmt.Sprintf("%.2f", n.CPU), fmt.Sprintf("%.0f %%", 100*n.CPU/max(m.CPUPerRecord, 1e-9)))
	}
	return t.write(a.out, "  ")
}
