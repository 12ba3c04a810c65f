package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) planCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plan FILE|DIR...",
		Short: "Show how pipelines will run: stages, lanes, queues, columns, promises",
		Long: "Shows how pipelines will run on this machine: which nodes share a goroutine, where queues stand, which columns each node reads and\n" +
			"gives out, and what each sink can promise. With -o json a single pipeline is one object, several are a list.",
		Example: "  weir plan pipelines/collect.yaml\n  weir plan pipelines -o json",
		Args:    wants("the pipelines' files", 0),
	}
	form := outputFlag(cmd, "text", "json")
	var flags pipelineFlags
	flags.add(cmd)
	cmd.RunE = do(func(_ *cobra.Command, args []string) error {
		plans, err := a.ready(args, &flags)
		if err != nil {
			return err
		}
		if form.value == "text" {
			for i, p := range plans {
				if i > 0 {
					fmt.Fprintln(a.out)
				}
				if err := p.Text(a.out); err != nil {
					return err
				}
			}
			return nil
		}
		all := make([]json.RawMessage, len(plans))
		for i, p := range plans {
			if all[i], err = p.JSON(); err != nil {
				return err
			}
		}
		if len(all) == 1 {
			return writeJSON(a.out, all[0])
		}
		return writeJSON(a.out, all)
	})
	return cmd
}
