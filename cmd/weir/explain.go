package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/weirflow/weir/core/config"
)

func (a *app) explainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "explain [CODE]",
		Short:   "Tell the story of a diagnostic's code, with an example and its mend",
		Long:    "Tells the story of a diagnostic's code, with an example and its mend. Without a code it lists all.",
		Example: "  weir explain E201\n  weir explain",
		Args:    cobra.MaximumNArgs(1),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			var codes []string
			for _, c := range config.Codes {
				codes = append(codes, c.Code+"\t"+c.Title)
			}
			return codes, cobra.ShellCompDirectiveNoFileComp
		},
	}
	form := outputFlag(cmd, "text", "json")
	cmd.RunE = do(func(_ *cobra.Command, args []string) error {
		if len(args) == 0 {
			return a.listCodes(form.value)
		}
		c, ok := config.Lookup(args[0])
		if !ok {
			return usage("there is no code %s: `weir explain` lists them", args[0])
		}
		if form.value == "json" {
			return writeJSON(a.out, codeJSON(c))
		}
		text, _ := config.Explain(args[0])
		_, err := fmt.Fprint(a.out, wrap(text, width(a.out), asTheyAre))
		return err
	})
	return cmd
}

type explained struct {
	Code     string          `json:"code"`
	Severity config.Severity `json:"severity"`
	Title    string          `json:"title"`
	Story    string          `json:"story"`
	Wrong    string          `json:"wrong"`
	Right    string          `json:"right"`
}

func codeJSON(c config.Code) explained {
	return explained{c.Code, c.Severity, c.Title, c.Story, c.Wrong, c.Mend}
}

func (a *app) listCodes(form string) error {
	if form == "json" {
		all := make([]explained, len(config.Codes))
		for i, c := range config.Codes {
			all[i] = codeJSON(c)
		}
		return writeJSON(a.out, all)
	}
	for _, c := range config.Codes {
		fmt.Fprintf(a.out, "%s  %s\n", c.Code, c.Title)
	}
	return nil
}
