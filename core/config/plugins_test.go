package config

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/weirflow/weir/sdk"
)

// Plugins for the tests. They have the names of real ones, so that the examples of the codes can be read by users too, and between
// them every type of field that an option may have.

type udpConfig struct {
	Listen   string        `yaml:"listen" doc:"address and port to listen on" example:"0.0.0.0:2055"`
	Workers  int           `yaml:"workers" doc:"sockets, each with a lane of its own"`
	Balance  string        `yaml:"balance" doc:"how datagrams are spread" enum:"packet,exporter"`
	Buffer   sdk.Size      `yaml:"buffer" doc:"the kernel's receive buffer" example:"32MiB"`
	Idle     time.Duration `yaml:"idle" doc:"how long a silent exporter is remembered"`
	Port     uint16        `yaml:"port" doc:"a port"`
	Level    int8          `yaml:"level" doc:"a small number"`
	Ratio    float64       `yaml:"ratio" doc:"a ratio"`
	Reuse    bool          `yaml:"reuse" doc:"share the port"`
	Token    string        `yaml:"token" doc:"a secret"`
	internal int
}

func (c *udpConfig) Validate() error {
	var ps sdk.Problems
	if !strings.Contains(c.Listen, ":") {
		ps = append(ps, &sdk.Problem{Path: "listen", Message: fmt.Sprintf("%q has no port", c.Listen), Help: "write it as 0.0.0.0:2055"})
	}
	if c.Token == "bad" {
		return fmt.Errorf("the token %q of %s is refused", c.Token, c.Listen)
	}
	return ps.Err()
}

type ruleConfig struct {
	When sdk.Expr       `yaml:"when" doc:"a condition" required:"true" example:"dst_port == 53"`
	Set  map[string]any `yaml:"set" doc:"columns to set"`
}

type classifyConfig struct {
	Rules []ruleConfig          `yaml:"rules" doc:"tried in order"`
	Hosts map[string]ruleConfig `yaml:"hosts" doc:"by host"`
}

// Validate reports a word that must not be in an expression, to test places within it.
func (c *classifyConfig) Validate() error {
	var ps sdk.Problems
	for i, r := range c.Rules {
		for at := 0; ; {
			j := strings.Index(string(r.When)[at:], "wrong")
			if j < 0 {
				break
			}
			ps = append(ps, &sdk.Problem{Path: fmt.Sprintf("rules[%d].when", i), Offset: at + j, Code: CodeExpression, Message: "there is no `wrong`"})
			at += j + 1
		}
	}
	return ps.Err()
}

type filterConfig struct {
	When sdk.Expr `yaml:"when" doc:"the condition under which a record stays" required:"true" example:"dst_port == 53"`
}

type decodeConfig struct {
	Fields []fieldConfig  `yaml:"fields" doc:"columns to add"`
	TTL    *time.Duration `yaml:"template_ttl" doc:"how long templates live"`
}

type fieldConfig struct {
	Name    string `yaml:"name" doc:"the column" required:"true"`
	Element int    `yaml:"element" doc:"the information element" required:"true"`
}

type enrichConfig struct {
	MMDB    []string              `yaml:"mmdb" doc:"files"`
	Private []netip.Prefix        `yaml:"private" doc:"own networks" example:"10.0.0.0/8"`
	Names   map[string]netip.Addr `yaml:"names" doc:"names of addresses"`
}

type mapConfig struct {
	Set map[string]sdk.Expr `yaml:"set" doc:"columns and what they become"`
}

type aggregateConfig struct {
	By  []string `yaml:"by" doc:"columns to group by" required:"true"`
	Sum []string `yaml:"sum" doc:"columns to add up"`
}

type common struct {
	Columns []string `yaml:"columns" doc:"columns to write; empty: all"`
}

type stdoutConfig struct {
	common
	Format string `yaml:"format" doc:"how rows are written" enum:"table,json,csv"`
}

func spec(kind sdk.Kind, name string, config func() any) sdk.Plugin {
	return sdk.Plugin{Spec: sdk.Spec{Kind: kind, Type: name, Doc: "the " + name + " of the tests", Config: config}}
}

func testPlugins() *Registry {
	return NewRegistry(
		spec(sdk.KindSource, "udp", func() any {
			return &udpConfig{Listen: "0.0.0.0:2055", Workers: 1, Balance: "packet", Buffer: 32 << 20, Idle: time.Hour, internal: 1}
		}),
		spec(sdk.KindSource, "generate", nil),
		spec(sdk.KindSource, "kafka", nil),
		spec(sdk.KindProcessor, "decode", func() any { return &decodeConfig{} }),
		spec(sdk.KindProcessor, "filter", func() any { return &filterConfig{} }),
		spec(sdk.KindProcessor, "classify", func() any { return &classifyConfig{} }),
		spec(sdk.KindProcessor, "enrich", func() any { return &enrichConfig{} }),
		spec(sdk.KindProcessor, "map", func() any { return &mapConfig{} }),
		spec(sdk.KindProcessor, "aggregate", func() any { return &aggregateConfig{} }),
		spec(sdk.KindSink, "stdout", func() any { return &stdoutConfig{Format: "table"} }),
		spec(sdk.KindSink, "udp", func() any { return &struct{}{} }),
		spec(sdk.KindSink, "discard", nil),
	)
}

func testOptions() Options {
	env := map[string]string{"PORT": "9000", "HOST": "hunter2-secret", "EMPTY": "", "SIZE": "s3cret-size", "SHORT": "zz"}
	files := map[string]string{"/run/secrets/token": "bad\n", "/run/secrets/long": "correct horse\n"}
	return Options{
		Plugins: testPlugins(),
		Env:     func(name string) (string, bool) { v, ok := env[name]; return v, ok },
		ReadFile: func(name string) ([]byte, error) {
			if text, ok := files[name]; ok {
				return []byte(text), nil
			}
			return nil, fmt.Errorf("no such file")
		},
	}
}
