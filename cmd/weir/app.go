package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/sdk"
)

// Exit codes.
const (
	exitRuntime  = 1  // it went wrong while it ran
	exitUsage    = 2  // the command line is wrong
	exitNotReady = 75 // the environment is: a port in use, a directory that is not there (EX_TEMPFAIL)
	exitConfig   = 78 // a file is wrong (EX_CONFIG)
)

// app is what all commands share.
type app struct {
	out, err io.Writer
	plugins  *config.Registry
	json     bool               // with -o json what is wrong is said as JSON too
	held     config.Diagnostics // then: until the end
}

// exit ends the process with a code. Without an error all has been said.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

// usage is a fault of the command line.
func usage(format string, args ...any) error {
	return &exit{exitUsage, fmt.Errorf(format, args...)}
}

// wants checks that there is at least one argument, and at most most (0: any number), and says what they are.
func wants(what string, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		name := strings.TrimPrefix(cmd.CommandPath(), "weir ")
		switch {
		case len(args) == 0:
			return usage("%s: name %s", name, what)
		case most > 0 && len(args) > most:
			return usage("%s: name %s, not %d of them", name, what, len(args))
		}
		return nil
	}
}

// execute runs one command line and returns the exit code.
func execute(args []string, out, errs io.Writer) int {
	said := &output{w: out}
	a := &app{out: said, err: errs, plugins: builtIn(), json: asksJSON(args)}
	root := a.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteC()
	if err == nil && said.err != nil {
		err = &exit{exitRuntime, fmt.Errorf("the output cannot be written: %w", said.err)}
	}
	if err == nil {
		return a.end(&exit{}, "")
	}
	e, ok := errors.AsType[*exit](err)
	if !ok {
		e = &exit{exitUsage, err} // cobra's own: an unknown command, a wrong number of arguments
	}
	return a.end(e, cmd.CommandPath())
}

// output is what commands print to. It remembers the first error, so that none has to look at it line by line, and a full disk is no
// success.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if err != nil && o.err == nil {
		o.err = err
	}
	return n, err
}

// do makes a command's function out of one whose plain errors are those of running.
func do(f func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := f(cmd, args)
		if err == nil {
			return nil
		}
		if e, ok := errors.AsType[*exit](err); ok {
			return e
		}
		if n, ok := errors.AsType[*sdk.NotReady](err); ok && n != nil {
			return &exit{exitNotReady, err}
		}
		return &exit{exitRuntime, err}
	}
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "weir",
		Short: "A stream processor for network telemetry",
		Long: "Weir takes flow records and packets from where they appear, carries them through typed pipelines written in YAML, and delivers\n" +
			"them with an account of every record: delivered, dropped for a reason, or still in flight.\n\n" +
			"With -o json a command's output is JSON, and what is wrong is one object on standard error: `error` is a sentence, `exit_code` the\n" +
			"process's, and `diagnostics`, where files are the matter, a list as that of `weir validate -o json`; there it has warnings too.\n\n" +
			"Exit codes: 0 fine, 1 it went wrong while running, 2 wrong command line, 75 the environment is not ready, 78 a file is wrong.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version().Version,
	}
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.SetVersionTemplate("weir {{.Version}}\n")
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { a.help(cmd) })
	root.SetUsageFunc(func(cmd *cobra.Command) error { a.usage(cmd); return nil })
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return wrongFlag(err) })
	root.AddCommand(a.runCommand(), a.validateCommand(), a.planCommand(), a.inspectCommand(), a.explainCommand(), a.benchCommand(),
		a.generateCommand(), a.versionCommand())
	root.InitDefaultCompletionCmd("completion")
	for _, c := range root.Commands() {
		if c.Name() == "completion" { // cobra's own prints help and is content, whatever shell is named
			c.RunE = func(_ *cobra.Command, args []string) error {
				if len(args) > 0 {
					return usage("there is no completion for %q: name bash, zsh, fish or powershell", args[0])
				}
				return usage("name a shell: bash, zsh, fish or powershell")
			}
			c.Args = cobra.ArbitraryArgs
		}
	}
	return root
}

// choice is a flag with a few values.
type choice struct {
	value   string
	allowed []string
}

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return strings.Join(c.allowed, "|") }
func (c *choice) Set(v string) error {
	for _, a := range c.allowed {
		if v == a {
			c.value = v
			return nil
		}
	}
	return fmt.Errorf("it is one of %s", strings.Join(c.allowed, ", "))
}

// outputFlag adds -o; the first form is the default.
func outputFlag(cmd *cobra.Command, forms ...string) *choice {
	return choiceFlag(cmd, "output", "o", "form of the output", forms...)
}

func choiceFlag(cmd *cobra.Command, name, short, doc string, values ...string) *choice {
	c := &choice{values[0], values}
	cmd.Flags().VarP(c, name, short, doc)
	_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // fails only for flags that are not there
	return c
}

// isTerminal says whether w is a terminal that a person looks at.
func isTerminal(w io.Writer) bool {
	if o, ok := w.(*output); ok {
		w = o.w
	}
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

// colored says whether w wants colours.
func colored(w io.Writer) bool { return isTerminal(w) && os.Getenv("NO_COLOR") == "" }
