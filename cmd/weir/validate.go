package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/core/engine"
	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/sdk"
)

// connectTimeout bounds the questions to servers of one pipeline.
const connectTimeout = 30 * time.Second

func (a *app) validateCommand() *cobra.Command {
	var flags pipelineFlags
	var settings string
	var connect bool
	cmd := &cobra.Command{
		Use:   "validate [FILE|DIR...]",
		Short: "Find all that is wrong with pipelines, before they run",
		Long: "Reads pipelines and says all that is wrong with them: names, options, types, columns, expressions, wiring. Nothing is started and\n" +
			"nobody is asked, unless --connect is given: then every node is made, ports are opened, and servers are asked whether they would\n" +
			"take what the pipeline sends. Without a file it reads the pipelines of the current directory.",
		Example: "  weir validate pipelines\n  weir validate pipelines/collect.yaml --connect\n  weir validate -o github",
	}
	form := outputFlag(cmd, "text", "json", "github")
	flags.add(cmd)
	cmd.Flags().BoolVar(&connect, "connect", false, "ask the real servers too")
	cmd.Flags().StringVar(&settings, "config", "", "check this file of process settings too")
	cmd.RunE = do(func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 && settings == "" {
			args = []string{"."}
		}
		plans, d, err := a.load(args, &flags)
		if err != nil {
			return err
		}
		if settings != "" {
			_, more := config.LoadSettings(config.SettingsOptions{File: settings})
			more.Merge(d)
			d = more
		}
		if err := render(a.out, d, config.Format(form.value)); err != nil {
			return err
		}
		if d.Failed() {
			return &exit{code: exitConfig}
		}
		if connect {
			if err := a.connect(cmd.Context(), plans); err != nil {
				return err // nothing is called fine beside it
			}
		}
		if form.value == "text" {
			for _, p := range plans {
				fmt.Fprintf(a.out, "%s: fine, %d nodes\n", p.Pipeline.File, len(p.Nodes))
			}
		}
		return nil
	})
	return cmd
}

// connect makes every node and asks those that can ask. All is asked before anything is said to be wrong.
func (a *app) connect(ctx context.Context, plans []*plan.Plan) error {
	dir, err := os.MkdirTemp("", "weir-validate-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	code, share := 0, engine.NewShared()
	var said []string
	for _, p := range plans {
		for _, err := range ask(ctx, p, engine.Options{Dir: dir, Share: share, Log: slog.New(slog.DiscardHandler)}) {
			said = append(said, fmt.Sprintf("%s: %s", p.Pipeline.File, p.Pipeline.Redact(err.Error())))
			if _, ok := errors.AsType[*sdk.NotReady](err); !ok {
				code = exitRuntime
			} else if code == 0 {
				code = exitNotReady
			}
		}
	}
	switch {
	case code == 0:
		return nil
	case a.json:
		return &exit{code, errors.New(strings.Join(said, "; "))}
	}
	for _, line := range said {
		fmt.Fprintln(a.err, line)
	}
	return &exit{code: code}
}

func ask(ctx context.Context, p *plan.Plan, opts engine.Options) []error {
	r, err := engine.New(p, opts)
	if err != nil {
		return []error{err}
	}
	defer r.Discard()
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return r.Check(ctx)
}
