package main

import (
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/sinks/stdout"
)

func (a *app) runCommand() *cobra.Command {
	var flags pipelineFlags
	var settingsFrom string
	var duration time.Duration
	cmd := &cobra.Command{
		Use:   "run FILE|DIR...",
		Short: "Run pipelines until their sources end, or a signal",
		Long: "Runs pipelines side by side until their sources end. SIGINT and SIGTERM drain them: sources stop, queues empty, sinks flush. A\n" +
			"second signal stops at once. SIGHUP drains where a terminal controls the process, for it is gone then; else it is logged, and nothing more.\n" +
			"At the end the ledger is proved: every record that entered was delivered, dropped for a reason, or\n" +
			"is accounted for otherwise. The exit code is 1 if that fails, if a pipeline fails, if drain_timeout was over before required sinks\n" +
			"had all that was here, and if a required sink refused all it got while nobody reads errors; what optional sinks (`ack: optional`) lose is counted and no failure.",
		Example: "  weir run pipelines/collect.yaml\n  weir run pipelines/quickstart --for 5m --summary json\n" +
			"  weir run pipelines/collect.yaml --set sources.routers.with.listen=0.0.0.0:9995 --param archive=/var/flows",
		Args: wants("the pipelines' files, or directories of them", 0),
	}
	summary := choiceFlag(cmd, "summary", "", "how to account for every record at the end, on standard error", "table", "json", "none")
	flags.add(cmd)
	cmd.Flags().StringVar(&settingsFrom, "config", "", "file of process settings")
	cmd.Flags().DurationVar(&duration, "for", 0, "drain after this time (30s, 5m)")
	config.AddFlags(cmd.Flags())
	cmd.RunE = do(func(cmd *cobra.Command, args []string) error {
		if duration < 0 {
			return usage("--for %v: it is a time from now", duration)
		}
		settings, d := config.LoadSettings(config.SettingsOptions{File: settingsFrom, Flags: cmd.Flags()})
		flags.drain = settings.DrainTimeout
		plans, more, err := a.load(args, &flags)
		if err != nil {
			return err
		}
		d.Merge(more)
		distinct(plans, d)
		if err := a.diagnose(d); err != nil {
			return err
		}
		settings.Apply()
		_, inEnv := os.LookupEnv(config.EnvPrefix + "ADMIN")
		asked := inEnv || settings.Admin != config.DefaultSettings().Admin || cmd.Flags().Changed("admin")
		return a.process(settings, duration).runAll(plans, asked, summary.value)
	})
	return cmd
}

// process makes one that writes to the app's streams.
func (a *app) process(settings *config.Settings, duration time.Duration) *process {
	p := &process{err: a.err, terminal: isTerminal(a.err), onTerminal: hasTerminal(), settings: settings, duration: duration}
	if p.terminal {
		p.err = &status{w: a.err, fd: int(a.err.(*os.File).Fd())}
	}
	p.log = logger(p.err, settings)
	return p
}

func logger(w io.Writer, s *config.Settings) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(s.LogLevel)) // the settings have been checked
	if s.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level}))
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

// runAll is the whole of a run. asked says whether somebody chose the admin interface's address.
func (p *process) runAll(plans []*plan.Plan, asked bool, summary string) error {
	// Who reads the log may go; that must not end who writes it. The writes fail, and nothing else.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	if err := p.build(plans); err != nil {
		return err
	}
	server, err := p.listen(asked)
	if err != nil {
		p.discard()
		return err
	}
	if server != nil {
		server.Serve()
		p.log.Info("admin interface", "address", server.Addr())
	}
	p.run(p.terminal && !showsRecords(plans))
	return p.finish(server, summary)
}

// showsRecords says whether a pipeline writes its records to a terminal: a line of progress would only be in the way.
func showsRecords(plans []*plan.Plan) bool {
	for _, p := range plans {
		for _, n := range p.Nodes {
			if c, ok := n.Config.(*stdout.Config); ok && (c.Output == "stderr" || isTerminal(os.Stdout)) {
				return true
			}
		}
	}
	return false
}
