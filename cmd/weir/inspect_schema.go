package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/sdk"
)

func (a *app) inspectSchema() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "schema PIPELINE[.NODE[.OUTPUT]]",
		Short: "Show the columns that leave a node, or come to a sink",
		Long: "Shows the columns that leave a node, or come to a sink, as the plan has them: what nobody needs is not among them; with --full it\n" +
			"is. PIPELINE is a file, with or without its extension. Without a node it shows those of all nodes, in the forms clickhouse, proto\n" +
			"and jsonschema those of the sinks.",
		Example: "  weir inspect schema pipelines/collect.yaml\n  weir inspect schema pipelines/collect.decode -o clickhouse",
		Args:    wants("a pipeline's file, or FILE.NODE", 1),
	}
	form := outputFlag(cmd, "text", "json", "clickhouse", "proto", "jsonschema")
	full := cmd.Flags().Bool("full", false, "show the columns that nobody needs too")
	var flags pipelineFlags
	flags.add(cmd)
	cmd.RunE = do(func(_ *cobra.Command, args []string) error {
		file, node := splitTarget(args[0])
		p, err := a.one(file, &flags)
		if err != nil {
			return err
		}
		list, err := schemas(p, node, *full)
		if err != nil {
			return err
		}
		if node == "" && form.value != "text" && form.value != "json" {
			list = slices.DeleteFunc(list, func(s nodeSchema) bool { return s.kind != sdk.KindSink })
		}
		return writeSchemas(a.out, list, form.value)
	})
	return cmd
}

// splitTarget takes PIPELINE.NODE.OUTPUT apart: the longest beginning that is a file, with its extension or without.
func splitTarget(arg string) (file, node string) {
	for end := len(arg); end > 0; end = strings.LastIndexByte(arg[:end], '.') {
		for _, ext := range []string{"", ".yaml", ".yml"} {
			if name := arg[:end] + ext; exists(name) {
				return name, strings.TrimPrefix(arg[end:], ".")
			}
		}
	}
	return arg, ""
}

// nodeSchema is what leaves a node at one output, or comes to a sink.
type nodeSchema struct {
	pipeline, node, output string
	kind                   sdk.Kind
	schema                 *sdk.Schema
}

func (s nodeSchema) title() string {
	t := s.pipeline + "." + s.node
	if s.output != "" {
		t += "." + s.output
	}
	return t
}

// schemas lists what `node` or `node.output` names; nothing: all.
func schemas(p *plan.Plan, target string, full bool) ([]nodeSchema, error) {
	node, output, _ := strings.Cut(target, ".")
	var out []nodeSchema
	var ids, outputs []string
	for _, n := range p.Nodes {
		ids = append(ids, n.ID)
		if node != "" && n.ID != node {
			continue
		}
		if n.Kind == sdk.KindSink {
			s := n.In
			if full {
				s = n.FullIn
			}
			if output == "" {
				out = append(out, nodeSchema{p.Pipeline.Name, n.ID, "", n.Kind, s})
			}
			continue
		}
		names := n.Plugin.Spec.PortNames(n.Config)
		for i, name := range names {
			outputs = append(outputs, name)
			if output != "" && name != output {
				continue
			}
			s := nodeSchema{p.Pipeline.Name, n.ID, "", n.Kind, n.Out[i]}
			if full {
				s.schema = n.FullOut[i]
			}
			if len(names) > 1 {
				s.output = name
			}
			out = append(out, s)
		}
	}
	if len(out) > 0 {
		return out, nil
	}
	if output != "" && slices.Contains(ids, node) {
		if len(outputs) == 0 {
			return nil, usage("%s has no outputs", node)
		}
		return nil, usage("%s has no output %s: it has %s", node, output, strings.Join(outputs, ", "))
	}
	help := "it has " + strings.Join(ids, ", ")
	if near := config.Nearest(node, ids); near != "" {
		help = "did you mean " + near + "?"
	}
	return nil, fmt.Errorf("%w", usage("%s has no node %s: %s", p.Pipeline.File, node, help))
}
