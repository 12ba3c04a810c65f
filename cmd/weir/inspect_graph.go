package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/sdk"
)

func (a *app) inspectGraph() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "graph FILE",
		Short: "Draw a pipeline",
		Long: "Draws a pipeline. In text ==> is an edge with a queue, --> one within a stage; a ? in it means that nobody waits there. mermaid goes\n" +
			"into Markdown, dot to Graphviz, svg into a browser.",
		Args: wants("a pipeline's file", 1),
	}
	form := outputFlag(cmd, append(append([]string{}, plan.GraphFormats...), "json")...)
	var flags pipelineFlags
	flags.add(cmd)
	cmd.RunE = do(func(_ *cobra.Command, args []string) error {
		p, err := a.one(args[0], &flags)
		if err != nil {
			return err
		}
		if form.value == "json" {
			return writeJSON(a.out, graphOf(p))
		}
		text, err := p.Graph(form.value)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(a.out, strings.TrimRight(text, "\n"))
		return err
	})
	return cmd
}

// graph is a plan without its columns.
type graph struct {
	Pipeline string      `json:"pipeline"`
	Nodes    []graphNode `json:"nodes"`
	Edges    []graphEdge `json:"edges"`
}

type graphNode struct {
	ID       string   `json:"id"`
	Kind     sdk.Kind `json:"kind"`
	Type     string   `json:"type"`
	Required bool     `json:"required"`
}

type graphEdge struct {
	From   string `json:"from"`
	Output string `json:"output"`
	To     string `json:"to"`
	Queue  bool   `json:"queue"`
}

func graphOf(p *plan.Plan) graph {
	g := graph{Pipeline: p.Pipeline.Name, Nodes: []graphNode{}, Edges: []graphEdge{}}
	for _, n := range p.Nodes {
		g.Nodes = append(g.Nodes, graphNode{n.ID, n.Kind, n.Type, n.Required})
	}
	for _, e := range p.Edges {
		output := "errors"
		if e.Port != plan.ErrorsPort {
			output = e.From.Plugin.Spec.PortNames(e.From.Config)[e.Port]
		}
		g.Edges = append(g.Edges, graphEdge{e.From.ID, output, e.To.ID, !e.Fused})
	}
	return g
}
