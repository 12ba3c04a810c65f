package config

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/sdk"
)

// schema is as much of JSON schema as ours uses; an unknown keyword fails the test.
type schema map[string]any

func (s schema) check(root schema, v any, path string) []string {
	var bad []string
	say := func(format string, args ...any) { bad = append(bad, path+": "+fmt.Sprintf(format, args...)) }
	sub := func(x any, v any, path string) []string {
		switch x := x.(type) {
		case bool:
			if !x {
				return []string{path + ": not allowed"}
			}
			return nil
		case map[string]any:
			return schema(x).check(root, v, path)
		}
		panic(fmt.Sprintf("schema %v", x))
	}
	m, isMap := v.(map[string]any)
	props, _ := s["properties"].(map[string]any)
	for word, arg := range s {
		switch word {
		case "$schema", "title", "description", "examples", "default", "definitions", "then":
		case "$ref":
			target := any(map[string]any(root))
			for _, step := range strings.Split(strings.TrimPrefix(arg.(string), "#/"), "/") {
				target = target.(map[string]any)[step]
			}
			bad = append(bad, sub(target, v, path)...)
		case "type":
			types, ok := arg.([]any)
			if !ok {
				types = []any{arg}
			}
			if !slices.ContainsFunc(types, func(t any) bool { return isType(t.(string), v) }) {
				say("%v is not %v", v, types)
			}
		case "enum":
			if !slices.Contains(arg.([]any), v) {
				say("%v is not one of %v", v, arg)
			}
		case "const":
			if v != arg {
				say("%v is not %v", v, arg)
			}
		case "pattern":
			if text, ok := v.(string); ok && !regexp.MustCompile(arg.(string)).MatchString(text) {
				say("%q does not match %s", text, arg)
			}
		case "anyOf":
			var all []string
			ok := false
			for _, x := range arg.([]any) {
				got := sub(x, v, path)
				ok = ok || len(got) == 0
				all = append(all, got...)
			}
			if !ok {
				bad = append(bad, all...)
			}
		case "allOf":
			for _, x := range arg.([]any) {
				bad = append(bad, sub(x, v, path)...)
			}
		case "if":
			if len(sub(arg, v, path)) == 0 {
				bad = append(bad, sub(s["then"], v, path)...)
			}
		case "required":
			for _, name := range arg.([]any) {
				if _, has := m[name.(string)]; isMap && !has {
					say("no %s", name)
				}
			}
		case "properties":
			for name, x := range props {
				if child, has := m[name]; has {
					bad = append(bad, sub(x, child, path+"."+name)...)
				}
			}
		case "patternProperties":
			for name, child := range m {
				for pattern, x := range arg.(map[string]any) {
					if regexp.MustCompile(pattern).MatchString(name) {
						bad = append(bad, sub(x, child, path+"."+name)...)
					}
				}
			}
		case "additionalProperties":
			patterns, _ := s["patternProperties"].(map[string]any)
			for name, child := range m {
				byPattern := false
				for pattern := range patterns {
					byPattern = byPattern || regexp.MustCompile(pattern).MatchString(name)
				}
				if _, has := props[name]; !has && !byPattern {
					bad = append(bad, sub(arg, child, path+"."+name)...)
				}
			}
		case "propertyNames":
			for name := range m {
				bad = append(bad, sub(arg, name, path+"."+name)...)
			}
		case "items":
			if items, ok := v.([]any); ok {
				for i, item := range items {
					bad = append(bad, sub(arg, item, fmt.Sprintf("%s[%d]", path, i))...)
				}
			}
		default:
			panic("schema keyword " + word)
		}
	}
	return bad
}

func isType(t string, v any) bool {
	switch v := v.(type) {
	case nil:
		return t == "null"
	case bool:
		return t == "boolean"
	case string:
		return t == "string"
	case float64:
		return t == "number" || t == "integer" && v == math.Trunc(v)
	case []any:
		return t == "array"
	case map[string]any:
		return t == "object"
	}
	return false
}

// plainly is a text as an editor's YAML server sees it: types by YAML's rules, ${...} not put in.
func plainly(t *testing.T, text string) any {
	r := &reading{d: &Diagnostics{}, opts: &Options{}, budget: MaxValues}
	v := r.parse("f.yaml", []byte(text))
	if v == nil {
		return nil
	}
	encoded, err := json.Marshal(generic(v))
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(encoded, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func testSchema(t *testing.T) schema {
	text, err := JSONSchema(testPlugins())
	if err != nil {
		t.Fatal(err)
	}
	var s schema
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// What Parse takes, the schema takes; faults that need one node to be seen, the schema sees too.
func TestSchemaAgreesWithParse(t *testing.T) {
	s := testSchema(t)
	good := map[string]string{"whole file": wholeFile, "extensions": extended}
	for _, c := range Codes {
		if c.Code == CodeUnreadable || c.Code == CodeTooLarge || c.Code == CodeOverride || c.Code == CodeManyKeyed || c.Code == CodeTooManyEdges || c.Code >= "E5" && c.Code < "F" {
			continue
		}
		good["mend of "+c.Code] = c.Mend
	}
	for name, text := range good {
		if bad := s.check(s, plainly(t, text), ""); len(bad) > 0 {
			t.Errorf("%s is refused: %s", name, strings.Join(bad, "; "))
		}
	}
	for _, code := range []string{CodeUnknownKey, CodeMissing, CodeWrongType, CodeBadValue, CodeUnknownType, CodeBadID, CodeKeyNotHere} {
		c, _ := Lookup(code)
		if bad := s.check(s, plainly(t, c.Wrong), ""); len(bad) == 0 {
			t.Errorf("the wrong example of %s is taken", code)
		}
	}
	for _, name := range []string{"keys", "types", "names", "validate"} {
		text, err := os.ReadFile(filepath.Join("testdata", name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		if bad := s.check(s, plainly(t, string(text)), ""); len(bad) == 0 {
			t.Errorf("%s.yaml is taken", name)
		}
	}
}

func TestSchemaIsTheSameEachTime(t *testing.T) {
	if !reflect.DeepEqual(testSchema(t), testSchema(t)) {
		t.Error("two schemas of one registry differ")
	}
	if _, err := JSONSchema(nil); err != nil {
		t.Error(err)
	}
}

type nested struct {
	Name string   `yaml:"name" doc:"a name" required:"true" example:"x"`
	More []nested `yaml:"more" doc:"the same again"`
}

func TestDescribe(t *testing.T) {
	p := testPlugins().Lookup(sdk.KindSource, "udp")
	s := p.Spec
	s.Commits, s.Linux, s.Reasons, s.Losses, s.Long = true, true, []sdk.Reason{"truncated"}, []sdk.Reason{"kernel_drops"}, "Paragraphs."
	s.Ports = func(cfg any) []string { return []string{"a", cfg.(*udpConfig).Balance} }
	got := Describe(&s)
	want := Description{
		Kind: sdk.KindSource, Type: "udp", Doc: "the udp of the tests", Long: "Paragraphs.", Outputs: []string{"a", "packet"},
		Reasons: []sdk.Reason{"truncated"}, Losses: []sdk.Reason{"kernel_drops"}, Traits: []string{"commits its positions", "Linux only"},
		Options: []Option{
			{Name: "listen", Type: "text", Doc: "address and port to listen on", Default: "0.0.0.0:2055", Example: "0.0.0.0:2055"},
			{Name: "workers", Type: "integer", Doc: "sockets, each with a lane of its own", Default: 1},
			{Name: "balance", Type: "text", Doc: "how datagrams are spread", Default: "packet", Enum: []string{"packet", "exporter"}},
			{Name: "buffer", Type: "size", Doc: "the kernel's receive buffer", Default: "32MiB", Example: "32MiB"},
			{Name: "idle", Type: "duration", Doc: "how long a silent exporter is remembered", Default: "1h"},
			{Name: "port", Type: "integer", Doc: "a port"},
			{Name: "level", Type: "integer", Doc: "a small number"},
			{Name: "ratio", Type: "number", Doc: "a ratio"},
			{Name: "reuse", Type: "boolean", Doc: "share the port", Default: false},
			{Name: "token", Type: "text", Doc: "a secret"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var b strings.Builder
	if err := got.Text(&b); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"source udp: the udp of the tests\n", "  buffer (size, default 32MiB)\n", "      packet | exporter\n", "  truncated\n", "outputs: a, packet\n"} {
		if !strings.Contains(b.String(), line) {
			t.Errorf("no %q in\n%s", line, b.String())
		}
	}
	types := map[string]string{}
	for _, r := range testPlugins().All() {
		for _, o := range Describe(&r.Spec).Options {
			types[r.Spec.Type+"."+o.Name] = o.Type
			if (o.Type == "list of options" || o.Type == "map of options") != (len(o.Options) > 0) {
				t.Errorf("%s has options %v", o.Name, o.Options)
			}
		}
	}
	wantTypes := map[string]string{"decode.fields": "list of options", "decode.template_ttl": "duration", "filter.when": "expression", "classify.rules": "list of options",
		"classify.hosts": "map of options", "enrich.mmdb": "list of text", "enrich.private": "list of prefix", "enrich.names": "map of address", "map.set": "map of expression",
		"stdout.columns": "list of text"}
	for name, want := range wantTypes {
		if types[name] != want {
			t.Errorf("%s is %s, wanted %s", name, types[name], want)
		}
	}
	deep := Describe(&sdk.Spec{Kind: sdk.KindSink, Type: "deep", Config: func() any { return &nested{} }})
	depth := 0
	for o := deep.Options; len(o) == 2; o = o[1].Options {
		depth++
	}
	if depth == 0 || depth > maxNested+1 {
		t.Errorf("a struct that contains itself is described %d deep", depth)
	}
	if _, err := JSONSchema(NewRegistry(spec(sdk.KindSink, "deep", func() any { return &nested{} }))); err != nil {
		t.Error(err)
	}
}
