package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/weirflow/weir/core/admin"
	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/sdk"
)

func (a *app) inspectPipeline() *cobra.Command {
	var live string
	var flags pipelineFlags
	cmd := &cobra.Command{
		Use:   "pipeline [FILE]",
		Short: "Show a pipeline's effective configuration, or how a running one does",
		Long: "Shows a pipeline as it would run: with all defaults filled in, values put in, and overrides applied; what came from files and the\n" +
			"environment is not shown. With --live it asks a running process: the argument is then a pipeline's name, or nothing for all.",
		Example: "  weir inspect pipeline pipelines/collect.yaml\n  weir inspect pipeline collect --live 127.0.0.1:8686",
		Args:    cobra.MaximumNArgs(1),
	}
	form := outputFlag(cmd, "text", "json")
	flags.add(cmd)
	cmd.Flags().StringVar(&live, "live", "", "address of a running process's admin interface")
	cmd.RunE = do(func(cmd *cobra.Command, args []string) error {
		if live != "" {
			return a.livePipelines(cmd.Context(), live, args, form.value)
		}
		if len(args) == 0 {
			return usage("name a pipeline's file, or a running process with --live")
		}
		p, err := a.one(args[0], &flags)
		if err != nil {
			return err
		}
		text, err := yaml.MarshalWithOptions(effective(p), yaml.Indent(2), yaml.IndentSequence(true))
		if err != nil {
			return err
		}
		shown := p.Pipeline.Redact(string(text))
		if form.value == "json" {
			b, err := yaml.YAMLToJSON([]byte(shown))
			if err != nil {
				return err
			}
			return writeJSON(a.out, json.RawMessage(b))
		}
		_, err = io.WriteString(a.out, shown)
		return err
	})
	return cmd
}

// effective is a pipeline as a file would say it that leaves nothing out.
func effective(p *plan.Plan) yaml.MapSlice {
	item := func(key string, value any) yaml.MapItem { return yaml.MapItem{Key: key, Value: value} }
	out := yaml.MapSlice{}
	if p.Pipeline.Doc != "" {
		out = append(out, item("doc", p.Pipeline.Doc))
	}
	out = append(out, item("drain_timeout", p.Pipeline.DrainTimeout.String()), item("park", p.Pipeline.Park.String()))
	for _, kind := range []sdk.Kind{sdk.KindSource, sdk.KindProcessor, sdk.KindSink} {
		nodes, list := yaml.MapSlice{}, []yaml.MapSlice{}
		for _, n := range p.Nodes {
			if n.Kind != kind {
				continue
			}
			body := effectiveNode(n)
			if kind == sdk.KindProcessor {
				list = append(list, append(yaml.MapSlice{item("id", n.ID)}, body...))
			} else {
				nodes = append(nodes, item(n.ID, body))
			}
		}
		switch {
		case len(nodes) > 0:
			out = append(out, item(string(kind)+"s", nodes))
		case len(list) > 0:
			out = append(out, item(string(kind)+"s", list))
		}
	}
	return out
}

func effectiveNode(n *plan.Node) yaml.MapSlice {
	var m yaml.MapSlice
	add := func(key string, value any) { m = append(m, yaml.MapItem{Key: key, Value: value}) }
	add("type", n.Type)
	if from := reads(n); len(from) > 0 {
		add("from", from)
	}
	add("with", n.Config)
	if n.Lanes > 0 {
		add("lanes", n.Lanes)
	}
	if q := n.Stage.Queue; q != nil && n == n.Stage.Head() {
		add("queue", yaml.MapSlice{{Key: "bytes", Value: sdk.Size(q.Bytes).String()}, {Key: "batches", Value: q.Batches}, {Key: "when_full", Value: string(q.WhenFull)}})
	}
	if n.Kind != sdk.KindSource {
		add("on_error", string(n.OnError))
	}
	if n.Kind != sdk.KindSink {
		return m
	}
	add("batch", yaml.MapSlice{{Key: "rows", Value: n.Batch.Rows}, {Key: "bytes", Value: n.Batch.Bytes.String()}, {Key: "age", Value: n.Batch.Age.String()}})
	add("retry", yaml.MapSlice{{Key: "initial", Value: n.Retry.Initial.String()}, {Key: "max", Value: n.Retry.Max.String()}, {Key: "attempts", Value: n.Retry.Attempts}})
	add("in_flight", n.InFlight)
	if n.Required {
		add("ack", "required")
	} else {
		add("ack", "optional")
	}
	if n.Epoch != "" {
		add("epoch", n.Epoch)
	}
	return m
}

// reads is what `from:` would say; nothing for a source.
func reads(n *plan.Node) []string {
	var from []string
	for _, e := range n.Inputs {
		name := e.From.ID
		if e.Port == plan.ErrorsPort {
			name = "errors"
		} else if names := e.From.Plugin.Spec.PortNames(e.From.Config); len(names) > 1 {
			name += "." + names[e.Port]
		}
		if !slices.Contains(from, name) {
			from = append(from, name)
		}
	}
	return from
}

// maxAnswer bounds what is read of a process's answer.
const maxAnswer = 64 << 20

var answerTimeout = 10 * time.Second // with a process that does not answer; another in tests

// livePipelines asks a running process.
func (a *app) livePipelines(ctx context.Context, addr string, args []string, form string) error {
	path := "/api/v1/pipelines"
	if len(args) > 0 {
		path += "/" + url.PathEscape(args[0])
	}
	text, err := fetch(ctx, addr, path)
	if err != nil {
		return err
	}
	if form == "json" {
		return writeJSON(a.out, json.RawMessage(text))
	}
	var list struct{ Pipelines []admin.Status }
	if len(args) > 0 {
		list.Pipelines = make([]admin.Status, 1)
		err = json.Unmarshal(text, &list.Pipelines[0])
	} else {
		err = json.Unmarshal(text, &list)
	}
	if err != nil {
		return fmt.Errorf("%s answered something else than pipelines: %w", addr, err)
	}
	for i := range list.Pipelines {
		s := &list.Pipelines[i]
		if i > 0 {
			fmt.Fprintln(a.out)
		}
		fmt.Fprintf(a.out, "%s: %s, of %s\n", s.Name, s.State, s.File)
		if s.Error != "" {
			fmt.Fprintf(a.out, "  %s\n", s.Error)
		}
		if err := writeLedger(a.out, &s.Ledger); err != nil {
			return err
		}
		if err := writeQueues(a.out, s); err != nil {
			return err
		}
	}
	return nil
}

func writeQueues(w io.Writer, s *admin.Status) error {
	if len(s.Queues) == 0 {
		return nil
	}
	t := newTable("queue before", ">records", ">held", ">at most", ">of")
	for i := range s.Ledger.Nodes {
		id := s.Ledger.Nodes[i].ID
		if q, ok := s.Queues[id]; ok {
			t.add(id, number(q.Records), mebibytes(q.Bytes), mebibytes(q.PeakBytes), mebibytes(q.Capacity))
		}
	}
	return t.write(w, "  ")
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// fetch asks an admin interface at host:port or unix:/path.
func fetch(ctx context.Context, addr, path string) ([]byte, error) {
	addr = strings.TrimSuffix(strings.TrimPrefix(addr, "http://"), "/") // as browsers show it
	host := addr
	transport := &http.Transport{DisableKeepAlives: true}
	if file, ok := strings.CutPrefix(addr, "unix:"); ok {
		host = "localhost"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", file)
		}
	} else if name, port, err := net.SplitHostPort(addr); err != nil || port == "" || strings.HasPrefix(name, "-") {
		return nil, usage("--live %s: write host:port or unix:/path", addr)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+path, nil)
	if err != nil {
		return nil, usage("--live %s: write host:port or unix:/path", addr)
	}
	resp, err := (&http.Client{Transport: transport, Timeout: answerTimeout}).Do(req)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		return nil, &sdk.NotReady{What: "nobody answers at " + addr, Do: "is `weir run` running there, with --admin " + addr + "?"}
	case os.IsTimeout(err):
		return nil, &sdk.NotReady{What: fmt.Sprintf("%s has not answered for %v", addr, answerTimeout), Do: "is the process stopped or starved (`ps` shows its state), or is that another service's address?"}
	case err != nil:
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		var e struct{ Error string }
		if json.Unmarshal(text, &e) == nil && e.Error != "" {
			return nil, errors.New(e.Error)
		}
		return nil, fmt.Errorf("%s answered %s", addr, resp.Status)
	}
	return text, nil
}
