package config

import (
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

func flags(t *testing.T, args ...string) *pflag.FlagSet {
	fs := pflag.NewFlagSet("weir", pflag.ContinueOnError)
	fs.Bool("watch", false, "a flag that is no setting")
	AddFlags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return fs
}

func TestSettingsInLayers(t *testing.T) {
	file := []byte("admin: 127.0.0.1:1\ndata_dir: /file\nlog_level: debug\nmemory_limit: ${env:LIMIT}\n")
	env := []string{"WEIR_ADMIN=127.0.0.1:2", "WEIR_DATA_DIR=/env", "WEIR_TESTDATA=x", "WEIR_LOG_FORMAT=", "LIMIT=2GiB", "ADMIN=x"}
	want := DefaultSettings()
	check := func(what string, opts SettingsOptions) {
		t.Helper()
		got, d := LoadSettings(opts)
		if len(d.List) != 0 {
			t.Errorf("%s: %+v", what, d.List)
		}
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	check("nothing", SettingsOptions{Env: []string{}})
	check("no flag given", SettingsOptions{Env: []string{}, Flags: flags(t, "--watch")})
	want.Admin, want.DataDir, want.LogLevel, want.MemoryLimit = "127.0.0.1:1", "/file", "debug", 2<<30
	check("file", SettingsOptions{File: "weir.yaml", Text: file, Env: []string{"LIMIT=2GiB"}})
	want.Admin, want.DataDir = "127.0.0.1:2", "/env"
	check("file and environment", SettingsOptions{File: "weir.yaml", Text: file, Env: env})
	want.Admin, want.DrainTimeout = "off", 5*time.Second
	check("all", SettingsOptions{File: "weir.yaml", Text: file, Env: env, Flags: flags(t, "--admin=off", "--drain-timeout=5s")})

	name := filepath.Join(t.TempDir(), "weir.yaml")
	if err := os.WriteFile(name, []byte("admin: 'off'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want = DefaultSettings()
	want.Admin = AdminOff
	check("file by name", SettingsOptions{File: name, Env: []string{}})
}

func TestFaultsOfSettings(t *testing.T) {
	s, d := LoadSettings(SettingsOptions{File: "weir.yaml",
		Text:  []byte("admn: x\nlog_level: loud\ndrain_timeout: 10\nmemory_limit: 1MiB\nsources: {}\ndata_dir: [a]\nlog_format:\n"),
		Env:   []string{"WEIR_ADMN=y", "WEIR_LOG_FORMAT=xml", "WEIR_SOMETHING=else"},
		Flags: flags(t, "--admin=nowhere"),
	})
	want := `--admin:1:1: error[E502]: admin: the admin interface cannot listen there
    1 | nowhere
      | ^^^^^^^
   = write host:port, unix:/path, or off
WEIR_ADMN: warning[E501]: there is no setting of this name
   = did you mean ` + "`WEIR_ADMIN`" + `?
WEIR_LOG_FORMAT:1:1: error[E502]: log_format: ` + "`xml`" + ` is not allowed
    1 | xml
      | ^^^
   = allowed: text, json
weir.yaml:1:1: error[E501]: admn: there is no setting ` + "`admn`" + `
    1 | admn: x
      | ^^^^
   = did you mean ` + "`admin`" + `?
weir.yaml:2:12: error[E502]: log_level: ` + "`loud`" + ` is not allowed
    1 | admn: x
    2 | log_level: loud
      |            ^^^^
   = allowed: debug, info, warn, error
weir.yaml:3:16: error[E502]: drain_timeout: ` + "`10`" + ` is not a duration
    2 | log_level: loud
    3 | drain_timeout: 10
      |                ^^
   = a duration needs a unit: 10s, 10ms
weir.yaml:4:15: error[E502]: memory_limit: 1MiB of memory are too few
    3 | drain_timeout: 10
    4 | memory_limit: 1MiB
      |               ^^^^
   = at least 32MiB; a pipeline's queues alone hold 4 MiB a lane
weir.yaml:5:1: error[E501]: sources: there is no setting ` + "`sources`" + `
    4 | memory_limit: 1MiB
    5 | sources: {}
      | ^^^^^^^
   = this is a pipeline: settings and pipelines are files of their own
weir.yaml:6:1: error[E502]: data_dir: is a list; text is wanted
    5 | sources: {}
    6 | data_dir: [a]
      | ^^^^^^^^

8 errors, 1 warning; ` + "`weir explain E502`" + ` tells more
`
	if diff := cmp.Diff(want, render(t, d, FormatText)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if d := DefaultSettings(); s.DataDir != d.DataDir || s.LogLevel != d.LogLevel || s.LogFormat != d.LogFormat || s.DrainTimeout != d.DrainTimeout {
		t.Errorf("what could not be used did not keep its default: %+v", s)
	}
	if _, d := LoadSettings(SettingsOptions{File: "nowhere.yaml", Env: []string{}}); len(d.List) != 1 || d.List[0].Code != CodeUnreadable {
		t.Errorf("no file: %+v", d.List)
	}
	for _, text := range []string{"- a\n", "x\n", "a: [\n", ""} {
		if _, d := LoadSettings(SettingsOptions{File: "weir.yaml", Text: []byte(text), Env: []string{}}); !d.Failed() {
			t.Errorf("%q is a file of settings", text)
		}
	}
}

func TestApplySetsTheMemoryLimit(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	debug.SetMemoryLimit(math.MaxInt64)
	(&Settings{}).Apply()
	if got := debug.SetMemoryLimit(-1); got != math.MaxInt64 {
		t.Errorf("no limit set the limit %d", got)
	}
	(&Settings{MemoryLimit: 1 << 40}).Apply()
	if got := debug.SetMemoryLimit(-1); got != 1<<40 {
		t.Errorf("the limit is %d", got)
	}
}
