package main

import (
	"github.com/spf13/cobra"
)

func (a *app) inspectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inspect",
		Short: "Look at plugins, graphs, schemas, pipelines, exporters and sockets",
		Args:  cobra.ArbitraryArgs,
		RunE: do(func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("say what to look at: plugins, graph, schema, pipeline, exporters or sockets")
			}
			return usage("there is no `inspect %s`: say plugins, graph, schema, pipeline, exporters or sockets", args[0])
		}),
	}
	cmd.AddCommand(a.inspectPlugins(), a.inspectGraph(), a.inspectSchema(), a.inspectPipeline(), a.inspectExporters(), a.inspectSockets())
	return cmd
}
