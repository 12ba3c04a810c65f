// Package sink is an example: a sink plugin as a stranger would write one, with all that it needs and no more.
//
// It posts the number of flows and the sum of their bytes, block by block, to an HTTP server in InfluxDB's line protocol. The guide
// docs/guides/plugin.md walks through the package.
package sink

import (
	"net/url"

	"github.com/weirflow/weir/sdk"
)

// Config of the sink, as users write it under `with:`.
type Config struct {
	URL string `yaml:"url" doc:"where sums are posted" example:"http://127.0.0.1:8086/api/v2/write?bucket=flows" required:"true"`
}

// Validate finds what the field tags cannot say.
func (c *Config) Validate() error {
	var ps sdk.Problems
	if u, err := url.Parse(c.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		ps = append(ps, &sdk.Problem{Path: "url", Message: "it is no address of an HTTP server", Help: "write http://host:port/path"})
	}
	return ps.Err()
}

// Plugin declares the sink.
var Plugin = sdk.Plugin{
	Spec: sdk.Spec{
		Kind:   sdk.KindSink,
		Type:   "sums",
		Doc:    "posts sums of flows and bytes to an HTTP server",
		Config: func() any { return new(Config) },
		Needs:  func(any, *sdk.Schema, [][]string) []string { return []string{"bytes"} },
	},
	Sink: func(_ *sdk.Env, cfg any) (sdk.Sink, error) { return newSink(cfg.(*Config)), nil },
}
