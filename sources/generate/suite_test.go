package generate

import (
	"testing"

	"github.com/weirflow/weir/sdk/sdktest"
)

func TestSuite(t *testing.T) {
	const records, exporters, each = 5000, 8, 24
	rows := exporters + (records+each-1)/each // each exporter's templates, then its flows
	made := func(change func(c *Config)) func(testing.TB) any {
		return func(testing.TB) any {
			return config(func(c *Config) { c.Records = records; change(c) })
		}
	}
	sdktest.Source(t, Plugin,
		sdktest.SourceCase{Name: "fresh", Config: made(func(*Config) {}), Rows: rows},
		sdktest.SourceCase{Name: "at a rate, in bursts", Config: made(func(c *Config) { c.Rate, c.Burst = 500_000, 30 }), Rows: rows},
		sdktest.SourceCase{Name: "lost and overtaken", Config: made(func(c *Config) { c.Loss, c.Reorder, c.ReorderWindow = 0.1, 0.5, 100 }), Rows: rows},
	)
}
