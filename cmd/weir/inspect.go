package main

import (
	"github.com/spf13/cobra"
)

func (a *app) inspectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inspect",
		Short: "Look at plugins, pipelines, columns, exporters, sockets and information elements",
		Args:  cobra.ArbitraryArgs,
		RunE: do(func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("say what to look at: plugins, graph, schema, pipeline, exporters, sockets or elements")
			}
			return usage("there is no `inspect %s`: say plugins, graph, schema, pipeline, exporters, sockets or elements", args[0])
		}),
	}
	cmd.AddCommand(a.inspectPlugins(), a.inspectGraph(), a.inspectSchema(), a.inspectPipeline(), a.inspectExporters(), a.inspectSockets(), a.inspectElements())
	return cmd
}
