package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/weirflow/weir/core/config"
)

// How commands say what is wrong: a sentence for a person, or with -o json one object on standard error.

// fault is that object. There is one at most, also where there is something to warn of and nothing wrong.
type fault struct {
	Error       string              `json:"error,omitempty"` // a sentence; nothing if there are only warnings
	ExitCode    int                 `json:"exit_code"`
	Diagnostics []config.Diagnostic `json:"diagnostics,omitempty"` // of files, as those of `validate -o json`
}

// asksJSON says whether a command line has -o json. Flags may be what is wrong with it, so it is read by hand.
func asksJSON(args []string) bool {
	if i := slices.Index(args, "--"); i >= 0 {
		args = args[:i]
	}
	asked := false
	for i, a := range args {
		switch {
		case (a == "-o" || a == "--output") && i+1 < len(args):
			asked = args[i+1] == "json"
		case strings.HasPrefix(a, "--output="):
			asked = strings.TrimPrefix(a, "--output=") == "json"
		case strings.HasPrefix(a, "-o") && a != "-o":
			asked = strings.TrimPrefix(a[2:], "=") == "json"
		}
	}
	return asked
}

// end says what e is about, if that has not been said, and returns the exit code. path is the command's, for who wants to know more.
func (a *app) end(e *exit, path string) int {
	if !a.json {
		if e.err != nil {
			fmt.Fprintf(a.err, "weir: %s\n", strings.TrimRight(e.Error(), "\n"))
			if e.code == exitUsage {
				fmt.Fprintf(a.err, "`%s --help` tells more\n", path)
			}
		}
		return e.code
	}
	f := fault{ExitCode: e.code, Diagnostics: a.held.List}
	if e.err != nil {
		f.Error = strings.TrimRight(e.Error(), "\n")
	}
	if f.Error == "" && len(f.Diagnostics) == 0 {
		return e.code
	}
	enc := json.NewEncoder(a.err)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(f) // nobody is left to be told that nobody can be told
	return e.code
}

// diagnose says what there is to say of files; with an error among it the process ends.
func (a *app) diagnose(d *config.Diagnostics) error {
	failed := d.Failed()
	if a.json {
		a.held.List = append(a.held.List, d.List...)
		if failed {
			errs, _ := d.Count()
			return &exit{exitConfig, fmt.Errorf("%s in what was read: see diagnostics", counted(errs, "error"))}
		}
		return nil
	}
	if err := render(a.err, d, config.FormatText); err != nil {
		return err
	}
	if failed {
		return &exit{code: exitConfig}
	}
	return nil
}

// kinds says of the types of flags what a value of them is, with an example.
var kinds = map[string]struct{ what, example string }{
	"int":      {"a whole number", "1000"},
	"float64":  {"a number", "0.05"},
	"duration": {"a duration with its unit", "30s, 5m or 1h30m"},
	"bool":     {"true or false", "true"},
}

// wrongFlag says in the user's words what is wrong with a flag: pflag's are those of the Go library that reads numbers.
func wrongFlag(err error) error {
	if e, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		return usage("--%s needs a value%s", e.GetFlag().Name, asIn(e.GetFlag()))
	}
	e, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return usage("%w", err)
	}
	f := e.GetFlag()
	kind, ok := kinds[f.Value.Type()]
	if !ok {
		return usage("--%s %s: %w", f.Name, shownValue(e.GetValue()), e.Unwrap())
	}
	return usage("--%s %s: it is %s%s", f.Name, shownValue(e.GetValue()), kind.what, asIn(f))
}

// asIn is an example of a flag: its own default if that says more than nothing, else one of its type.
func asIn(f *pflag.Flag) string {
	kind, ok := kinds[f.Value.Type()]
	switch {
	case f.DefValue != "" && f.DefValue != "0" && f.DefValue != "0s" && f.DefValue != "[]" && f.DefValue != "false":
		return fmt.Sprintf(", as in --%s %s", f.Name, strings.Trim(f.DefValue, "[]"))
	case ok:
		return fmt.Sprintf(", as in --%s %s", f.Name, kind.example)
	}
	return ""
}

// shownValue is what was written, in quotes where it would not be seen or would run into the sentence.
func shownValue(v string) string {
	if v == "" || strings.ContainsAny(v, " \t\n\"") || !isPrintable(v) {
		return fmt.Sprintf("%q", v)
	}
	return v
}

func isPrintable(v string) bool {
	return !strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\ufffd' })
}
