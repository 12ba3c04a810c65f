// Package filter is the processor that keeps the records for which a condition holds.
package filter

import (
	"errors"
	"slices"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/expr"
)

// Plugin is the filter processor.
var Plugin = sdk.Plugin{
	Spec: sdk.Spec{
		Kind: sdk.KindProcessor,
		Type: "filter",
		Doc:  "keeps the records for which a condition holds",
		Long: `The condition is an expression over the columns of the input. What it keeps goes on in order; what it does not keep is
counted as filtered, which is no loss: the source may commit it. A filter directly behind a source that can apply the condition
itself (a capture, an archive) is applied there.`,
		Config: func() any { return &Config{} },
		Needs: func(cfg any, in *sdk.Schema, wanted [][]string) []string {
			columns, err := expr.Columns(cfg.(*Config).When)
			if err != nil || len(wanted) == 0 {
				return nil
			}
			needs := slices.Clone(wanted[0])
			for _, c := range columns {
				if !slices.Contains(needs, c) {
					needs = append(needs, c)
				}
			}
			return needs
		},
		Input: func(cfg any, in *sdk.Schema) error {
			_, err := expr.Compile(cfg.(*Config).When, in, expr.Bool)
			return placed(err)
		},
		KeepsRange:    true,
		Deterministic: true,
		Selections:    true,
	},
	Processor: New,
}

// Config of a filter.
type Config struct {
	When sdk.Expr `yaml:"when" doc:"the condition that a record must meet to be kept" required:"true" example:"dst_port == 53 and bytes > 100"`
}

// Validate checks what can be checked of the condition without the columns.
func (c *Config) Validate() error {
	if c.When == "" {
		return nil // said to be missing by whoever reads `required`
	}
	_, err := expr.Columns(c.When)
	return placed(err)
}

// Condition is what a source in front may apply instead.
func (c *Config) Condition() sdk.Expr { return c.When }

// placed says that the problems of err are in the option `when`.
func placed(err error) error {
	if ps, ok := errors.AsType[sdk.Problems](err); ok {
		for _, p := range ps {
			p.Path = "when"
		}
	}
	return err
}
