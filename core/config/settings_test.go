package config

import (
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
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

// A port that no address can have is a fault of what was written, not of the machine.
func TestAdminPort(t *testing.T) {
	for admin, fine := range map[string]bool{"127.0.0.1:99999": false, "127.0.0.1:-1": false, "127.0.0.1:x": false, "[::1]:8686": true, ":0": true, "unix:/run/weir": true, "off": true} {
		_, d := LoadSettings(SettingsOptions{Env: []string{}, Flags: flags(t, "--admin="+admin)})
		if d.Failed() == fine {
			t.Errorf("%s: %v", admin, d.List)
		}
	}
}

func TestFaultsOfSettings(t *testing.T) {
	s, d := LoadSettings(SettingsOptions{File: "weir.yaml",
		Text:  []byte("admn: x\nlog_level: loud\ndrain_timeout: 10\nmemory_limit: 1MiB\nsources: {}\ndata_dir: [a]\nlog_format:\n"),
		Env:   []string{"WEIR_ADMN=y", "WEIR_LOG_FORMAT=xml", "WEIR_SOMETHING=else"},
		Flags: flags(t, "--admin=nowhere"),
	})
	want := `--admin: error[E502]: admin: ` + "`nowhere`" + ` is no address that the admin interface can listen on
      | nowhere
      | ^^^^^^^
   = write host:port, unix:/path, or off, for example 127.0.0.1:8686
WEIR_ADMN: warning[E501]: there is no setting of this name
   = did you mean ` + "`WEIR_ADMIN`" + `?
WEIR_LOG_FORMAT: error[E502]: log_format: ` + "`xml`" + ` is not allowed
      | xml
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
weir.yaml:4:15: error[E502]: memory_limit: ` + "`1MiB`" + ` is too small for a limit of the memory
    3 | drain_timeout: 10
    4 | memory_limit: 1MiB
      |               ^^^^
   = at least 32MiB, for example 2GiB; a pipeline's queues alone hold 4 MiB a lane
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

// Whoever writes a size or a time that cannot be used is told the setting, what he wrote and where, and what would do.
func TestWrongValuesAreTold(t *testing.T) {
	for _, c := range []struct{ setting, value, says, help string }{
		{"memory_limit", "lots", `"lots" is not a size such as 256MiB`, "for example 2GiB"},
		{"memory_limit", "nan", `"nan" is not a size such as 256MiB`, "for example 2GiB"},
		{"memory_limit", "-5MiB", `"-5MiB" is not a size such as 256MiB`, "for example 2GiB"},
		{"memory_limit", "99999999999GiB", `"99999999999GiB" is too large a size`, "for example 2GiB"},
		{"memory_limit", "2", "`2` is too small for a limit of the memory", "without a unit it is bytes: 2GiB, 2MiB; at least 32MiB, for example 2GiB; a pipeline's queues alone hold 4 MiB a lane"},
		{"memory_limit", "31MiB", "`31MiB` is too small for a limit of the memory", "at least 32MiB, for example 2GiB; a pipeline's queues alone hold 4 MiB a lane"},
		{"drain_timeout", "30", "`30` is not a duration", "a duration needs a unit: 30s, 30ms"},
		{"drain_timeout", "25h", "`25h` is too large: the most is 24h", "for example 30s"},
		{"drain_timeout", "-1s", "`-1s` is too small: the least is 0s", "for example 30s"},
		{"admin", "8686", "`8686` is no address that the admin interface can listen on", "write host:port, unix:/path, or off, for example 127.0.0.1:8686"},
		{"log_level", "loud", "`loud` is not allowed", "allowed: debug, info, warn, error"},
	} {
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		AddFlags(flags)
		if err := flags.Set(flagName(c.setting), c.value); err != nil {
			t.Fatal(err)
		}
		variable := EnvPrefix + strings.ToUpper(c.setting)
		for from, o := range map[string]SettingsOptions{
			"weir.yaml":                {File: "weir.yaml", Text: []byte(c.setting + ": " + c.value + "\n"), Env: []string{}},
			variable:                   {Env: []string{variable + "=" + c.value}},
			"--" + flagName(c.setting): {Env: []string{}, Flags: flags},
		} {
			_, d := LoadSettings(o)
			if len(d.List) != 1 {
				t.Errorf("%s from %s: %+v", c.value, from, d.List)
				continue
			}
			one := d.List[0]
			if diff := cmp.Diff([]string{from, c.setting, c.says, c.help}, []string{one.At.File, one.Path, one.Message, one.Help}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
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
