package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// release is set by the linker: -X main.release=v1.2.3.
var release string

// build is what a binary knows of itself.
type build struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Time     string `json:"time,omitempty"`     // of the commit
	Modified bool   `json:"modified,omitempty"` // built of a tree with changes
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func version() build {
	b := build{Version: release, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				b.Commit = s.Value
			case "vcs.time":
				b.Time = s.Value
			case "vcs.modified":
				b.Modified = s.Value == "true"
			}
		}
		if b.Version == "" && info.Main.Version != "(devel)" {
			b.Version = info.Main.Version
		}
	}
	if b.Version == "" {
		b.Version = "unreleased"
	}
	return b
}

func (a *app) versionCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "version", Short: "Say which Weir this is", Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions}
	form := outputFlag(cmd, "text", "json")
	cmd.RunE = do(func(*cobra.Command, []string) error {
		b := version()
		if form.value == "json" {
			return writeJSON(a.out, b)
		}
		fmt.Fprintf(a.out, "weir %s\n", b.Version)
		if b.Commit != "" {
			fmt.Fprintf(a.out, "commit %s of %s\n", b.Commit, b.Time)
		}
		fmt.Fprintf(a.out, "%s %s\n", b.Go, b.Platform)
		return nil
	})
	return cmd
}

// writeJSON writes v indented, for people and programs.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
