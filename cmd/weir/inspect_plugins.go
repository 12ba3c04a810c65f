package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirflow/weir/core/config"
)

func (a *app) inspectPlugins() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plugins [NAME]",
		Short: "List the plugins, or tell all about one",
		Long: "Lists the plugins with a line each; with a name it tells all about the plugins of that type: options, defaults, outputs, reasons for\n" +
			"which they drop records. With -o jsonschema it writes the schema of pipeline files, for editors.",
		Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var names []string
			for _, p := range a.plugins.All() {
				names = append(names, p.Spec.Type+"\t"+string(p.Spec.Kind)+": "+p.Spec.Doc)
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
	form := outputFlag(cmd, "text", "json", "jsonschema")
	cmd.RunE = do(func(_ *cobra.Command, args []string) error {
		if form.value == "jsonschema" {
			text, err := config.JSONSchema(a.plugins)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "%s\n", text)
			return err
		}
		var list []config.Description
		var names []string
		for _, p := range a.plugins.All() {
			names = append(names, p.Spec.Type)
			if len(args) == 0 || p.Spec.Type == args[0] {
				list = append(list, config.Describe(&p.Spec))
			}
		}
		if len(list) == 0 {
			if near := config.Nearest(args[0], names); near != "" {
				return usage("there is no plugin %s: did you mean %s?", args[0], near)
			}
			return usage("there is no plugin %s: `weir inspect plugins` lists them", args[0])
		}
		if form.value == "json" {
			return writeJSON(a.out, list)
		}
		if len(args) == 0 {
			t := newTable("kind", "type", "what it does")
			for _, d := range list {
				t.add(string(d.Kind), d.Type, d.Doc)
			}
			return t.write(a.out, "")
		}
		var b strings.Builder
		for i := range list {
			if i > 0 {
				b.WriteString("\n")
			}
			if err := list[i].Text(&b); err != nil {
				return err
			}
		}
		_, err := fmt.Fprint(a.out, wrap(b.String(), width(a.out), broken))
		return err
	})
	return cmd
}
