package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/weirflow/weir/core/config"
)

// schema is what the page of keys reads of the JSON schema of pipeline files.
type schema struct {
	Description string             `json:"description"`
	Examples    []any              `json:"examples"`
	Enum        []any              `json:"enum"`
	AnyOf       []schema           `json:"anyOf"`
	Properties  map[string]*schema `json:"properties"`
	Definitions map[string]*schema `json:"definitions"`
}

func (s *schema) allowed() []any {
	for i := range s.AnyOf {
		if s.AnyOf[i].Enum != nil {
			return s.AnyOf[i].Enum
		}
	}
	return s.Enum
}

// keysPage lists the framework's keys and the process's settings.
func keysPage(c *cli) string {
	var s schema
	if text := c.run("inspect", "plugins", "-o", "jsonschema"); c.err == nil {
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			c.err = fmt.Errorf("inspect plugins -o jsonschema: %w", err)
		}
	}
	var b strings.Builder
	b.WriteString(generated + "# Keys and settings\n\nThe keys of a pipeline file that are the framework's, and the settings of the process. What stands under `with:` is the plugin's: " +
		"[Plugins](plugins.md). [Write a pipeline](../guides/pipelines.md) tells how they work together.\n\n## The file\n")
	keys(&b, &s)
	for _, kind := range []string{"source", "processor", "sink"} {
		fmt.Fprintf(&b, "\n## Of a %s\n", kind)
		if d := s.Definitions[kind]; d != nil {
			keys(&b, d)
		}
	}
	b.WriteString("\n## Process settings\n\nFrom the file of `--config`, the environment and flags; the later wins.\n\n" +
		"| in the file | in the environment | flag | default | meaning |\n|---|---|---|---|---|\n")
	fs := pflag.NewFlagSet("settings", pflag.ContinueOnError)
	fs.SortFlags = false
	config.AddFlags(fs)
	fs.VisitAll(func(f *pflag.Flag) {
		name := strings.ReplaceAll(f.Name, "-", "_")
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", code(name), code(config.EnvPrefix+strings.ToUpper(name)), code("--"+f.Name), code(f.DefValue), cell(f.Usage))
	})
	return b.String()
}

func keys(b *strings.Builder, s *schema) {
	b.WriteString("\n| key | meaning |\n|---|---|\n")
	var walk func(prefix string, s *schema)
	walk = func(prefix string, s *schema) {
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
			p := s.Properties[name]
			doc := cell(p.Description) + "."
			if list := p.allowed(); list != nil && name != "type" {
				doc += " One of " + code(strings.Trim(strings.Join(strings.Fields(fmt.Sprint(list)), "`, `"), "[]")) + "."
			}
			if len(p.Examples) > 0 {
				doc += " Example: " + code(fmt.Sprint(p.Examples[0]))
			}
			fmt.Fprintf(b, "| %s | %s |\n", code(prefix+name), doc)
			walk(prefix+name+".", p)
		}
	}
	walk("", s)
}
