package config

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"reflect"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/providers/rawbytes"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"

	"github.com/weirflow/weir/sdk"
)

// Settings are the process's, the same for all its pipelines.
type Settings struct {
	Admin        string        `yaml:"admin" doc:"address of the admin interface: host:port, unix:/path, or off" example:"127.0.0.1:8686"`
	DataDir      string        `yaml:"data_dir" doc:"directory for state that outlives the process" example:"/var/lib/weir"`
	LogLevel     string        `yaml:"log_level" doc:"least severity that is logged" enum:"debug,info,warn,error"`
	LogFormat    string        `yaml:"log_format" doc:"how log lines are written" enum:"text,json"`
	MemoryLimit  sdk.Size      `yaml:"memory_limit" doc:"memory that the garbage collector keeps the process below; 0: GOMEMLIMIT decides" example:"2GiB"`
	DrainTimeout time.Duration `yaml:"drain_timeout" doc:"bound of a shutdown, for pipelines that set none" example:"30s" min:"0s" max:"24h"`
}

// DefaultSettings is what stands when nothing is said.
func DefaultSettings() Settings {
	return Settings{Admin: "127.0.0.1:8686", DataDir: "weir-data", LogLevel: "info", LogFormat: "text", DrainTimeout: DefaultDrainTimeout}
}

// EnvPrefix begins the environment variables of settings: WEIR_LOG_LEVEL.
const EnvPrefix = "WEIR_"

// AdminOff is the value of Admin that turns the interface off.
const AdminOff = "off"

// minMemoryLimit: below, the collector would run without end.
const minMemoryLimit = 32 << 20

// SettingsOptions say where settings come from; each later one wins over those before it.
type SettingsOptions struct {
	File  string         // --config; empty: none
	Text  []byte         // of File, if it is read already
	Env   []string       // "NAME=value"; nil: the process's
	Flags *pflag.FlagSet // parsed, with the flags that AddFlags made; nil: none
}

// AddFlags adds a flag for each setting: --log-level.
func AddFlags(fs *pflag.FlagSet) {
	d := DefaultSettings()
	v := reflect.ValueOf(d)
	for _, f := range fieldsOf(v.Type()) {
		doc := f.doc
		if len(f.enum) > 0 {
			doc += ": " + strings.Join(f.enum, ", ")
		}
		fs.String(flagName(f.name), shown(v.FieldByIndex(f.index)), doc)
	}
}

func flagName(setting string) string { return strings.ReplaceAll(setting, "_", "-") }

// Apply makes the settings hold that belong to the Go runtime: the memory limit.
func (s *Settings) Apply() {
	if s.MemoryLimit > 0 {
		debug.SetMemoryLimit(int64(s.MemoryLimit))
	}
}

// LoadSettings reads the process's settings: defaults, then the file, the environment, the flags. The settings are complete also if the
// diagnostics have Failed: what could not be used keeps its default.
func LoadSettings(opts SettingsOptions) (*Settings, *Diagnostics) {
	if opts.Env == nil {
		opts.Env = os.Environ()
	}
	parse := &Options{Env: lookupIn(opts.Env), ReadFile: func(name string) ([]byte, error) { return readFile(name, maxPutFile) }}
	l := &settingsLoad{reading: &reading{d: &Diagnostics{}, opts: parse, budget: MaxValues}, name: opts.File, origin: map[string]*key{}}
	s := DefaultSettings()
	l.fields = fieldsOf(reflect.TypeOf(s))
	l.into = &decoder{r: l.reading, positions: map[string]Pos{}, scalars: map[string]*value{}, settings: true}

	ko := koanf.New(".")
	defaults := map[string]any{}
	for _, f := range l.fields {
		defaults[f.name] = shown(reflect.ValueOf(s).FieldByIndex(f.index))
	}
	l.check(ko.Load(confmap.Provider(defaults, "."), nil))
	if text, ok := l.text(opts); ok {
		l.check(ko.Load(rawbytes.Provider(text), l))
	}
	l.check(ko.Load(env.Provider(".", env.Opt{Prefix: EnvPrefix, TransformFunc: l.variable, EnvironFunc: func() []string { return opts.Env }}), nil))
	if opts.Flags != nil {
		l.check(ko.Load(posflag.ProviderWithFlag(opts.Flags, ".", ko, l.flag), nil))
	}
	for i := range l.fields {
		f := &l.fields[i]
		if k := l.origin[f.name]; k != nil && ko.Exists(f.name) {
			l.into.decode(k, reflect.ValueOf(&s).Elem().FieldByIndex(f.index), f.name, f)
		}
	}
	l.validate(&s)
	l.d.Sort()
	return &s, l.d
}

func lookupIn(environ []string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := len(environ) - 1; i >= 0; i-- {
			if n, v, ok := strings.Cut(environ[i], "="); ok && n == name {
				return v, true
			}
		}
		return "", false
	}
}

// settingsLoad is one loading of settings. koanf merges the layers; origin remembers which layer gave each setting, for the places of
// diagnostics.
type settingsLoad struct {
	*reading
	name   string
	fields []field
	into   *decoder
	origin map[string]*key
}

// check tells what a provider could not do. None of those used fails, but it is not ours to know.
func (l *settingsLoad) check(err error) {
	if err != nil {
		l.say(CodeBadSetting, Pos{File: l.name}, Pos{}, "", "", "the settings cannot be merged: %v", err)
	}
}

func (l *settingsLoad) text(opts SettingsOptions) ([]byte, bool) {
	if opts.Text != nil || opts.File == "" {
		return opts.Text, opts.Text != nil
	}
	text, err := readFile(opts.File, MaxFileBytes)
	if err != nil {
		help := "is the path of --config right?"
		if errors.Is(err, fs.ErrPermission) {
			help = readable(err)
		}
		l.say(CodeUnreadable, Pos{File: opts.File}, Pos{}, "", help, "the settings cannot be read: %s", reason(err))
		return nil, false
	}
	return text, true
}

// Unmarshal is koanf's parser of the file: the same YAML as a pipeline's, with places.
func (l *settingsLoad) Unmarshal(text []byte) (map[string]any, error) {
	out := map[string]any{}
	top := l.parse(l.name, text)
	if top == nil {
		return out, nil
	}
	if top.kind != mapping {
		l.into.say(CodeBadSetting, "", top.at, top.end(), "write `name: value`", "settings are a map, not %s", top.kind)
		return out, nil
	}
	l.fill(top, "")
	known := names(l.fields)
	for i := range top.keys {
		k := &top.keys[i]
		if l.field(k.name) == nil {
			help := didYouMean(k.name, known, "known are")
			for _, s := range sections {
				if k.name == s.name {
					help = "this is a pipeline: settings and pipelines are files of their own"
				}
			}
			l.into.say(CodeUnknownKey, k.name, k.at, k.end, help, "there is no setting `%s`", k.name)
			continue
		}
		if k.v.kind == null {
			continue
		}
		l.origin[k.name] = k
		out[k.name] = k.v.text
	}
	return out, nil
}

// Marshal is never asked for; koanf's interface has it.
func (l *settingsLoad) Marshal(map[string]any) ([]byte, error) { return nil, os.ErrInvalid }

func (l *settingsLoad) field(name string) *field {
	for i := range l.fields {
		if l.fields[i].name == name {
			return &l.fields[i]
		}
	}
	return nil
}

// variable takes one environment variable.
func (l *settingsLoad) variable(name, text string) (string, any) {
	setting := strings.ToLower(strings.TrimPrefix(name, EnvPrefix))
	if l.field(setting) == nil {
		if near := Nearest(setting, names(l.fields)); near != "" {
			l.d.Add(Diagnostic{Severity: SeverityWarning, Code: CodeUnknownSetting, At: Pos{File: name},
				Message: "there is no setting of this name", Help: "did you mean `" + EnvPrefix + strings.ToUpper(near) + "`?"})
		}
		return "", nil
	}
	if text == "" {
		return "", nil
	}
	l.from(name, setting, text)
	return setting, text
}

// flag takes one flag, if it was given.
func (l *settingsLoad) flag(f *pflag.Flag) (string, any) {
	setting := strings.ReplaceAll(f.Name, "-", "_")
	if !f.Changed || l.field(setting) == nil {
		return "", nil
	}
	l.from("--"+f.Name, setting, f.Value.String())
	return setting, f.Value.String()
}

func (l *settingsLoad) from(name, setting, text string) {
	l.d.argument(name, []byte(text))
	at := Pos{File: name, Line: 1, Col: 1}
	l.origin[setting] = &key{name: setting, at: at, v: &value{kind: scalar, text: text, raw: text, at: at, src: newSource(name, text), weight: 1}}
}

// validate says what no single type can.
func (l *settingsLoad) validate(s *Settings) {
	bad := func(setting, help, format string, args ...any) {
		k := l.origin[setting]
		if k == nil || l.into.saidAbout(setting) {
			return
		}
		l.into.say(CodeBadSetting, setting, k.v.at, k.v.end(), help, format, args...)
	}
	_, port, err := net.SplitHostPort(s.Admin)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil && s.Admin != AdminOff && !strings.HasPrefix(s.Admin, "unix:/") {
		bad("admin", "write host:port, unix:/path, or off, for example 127.0.0.1:8686", "%s is no address that the admin interface can listen on", quote(l.origin["admin"].v))
	}
	if s.DataDir == "" {
		bad("data_dir", "name a directory that Weir may write to, for example /var/lib/weir", "the data directory has no name")
	}
	if s.MemoryLimit != 0 && s.MemoryLimit < minMemoryLimit {
		k := l.origin["memory_limit"]
		help := "at least 32MiB, for example 2GiB; a pipeline's queues alone hold 4 MiB a lane"
		if _, bare := strconv.ParseFloat(strings.TrimSpace(k.v.text), 64); bare == nil {
			help = "without a unit it is bytes: " + strings.TrimSpace(k.v.raw) + "GiB, " + strings.TrimSpace(k.v.raw) + "MiB; " + help
		}
		bad("memory_limit", help, "%s is too small for a limit of the memory", quote(k.v))
	}
}
