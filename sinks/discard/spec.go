// Package discard is the sink that takes records and throws them away: for measuring what comes before it, and for branches whose
// records are only to be counted.
package discard

import "github.com/weirflow/weir/sdk"

// Config of the sink.
type Config struct {
	Columns []string `yaml:"columns" doc:"columns to ask for; none listed: all. Fewer columns are decoded and read when fewer are asked for" example:"[bytes, packets]"`
}

// Validate checks what the tags cannot say.
func (c *Config) Validate() error { return sdk.CheckColumns(c.Columns).Err() }

// Plugin is the sink `discard`.
var Plugin = sdk.Plugin{
	Spec: sdk.Spec{
		Kind: sdk.KindSink,
		Type: "discard",
		Doc:  "takes records and throws them away",
		Long: "Every record is delivered as soon as it arrives. Behind it nothing waits, so a pipeline that ends here runs as fast as what\n" +
			"comes before it. `columns` keeps what is decoded and read small, or, when nothing is listed, as wide as the input.",
		Config: func() any { return new(Config) },
		Needs:  func(cfg any, in *sdk.Schema, _ [][]string) []string { return sdk.Wanted(cfg.(*Config).Columns, in) },
		Fuses:  true,

		Selections: true,
	},
	Sink: func(*sdk.Env, any) (sdk.Sink, error) { return sink{}, nil },
}
