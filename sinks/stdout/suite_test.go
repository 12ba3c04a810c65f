package stdout

import (
	"io"
	"testing"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/sdktest"
)

// The suite writes to a stream that takes all, not to the test's own output.
func TestSuite(t *testing.T) {
	p := Plugin
	p.Sink = func(_ *sdk.Env, cfg any) (sdk.Sink, error) {
		return newSink(cfg.(*Config), plainStream(io.Discard)), nil
	}
	var cases []sdktest.SinkCase
	for _, format := range []string{"json", "csv", "table"} {
		cases = append(cases, sdktest.SinkCase{Name: format, In: every, Config: func(testing.TB) any { c := config(format); return &c }})
	}
	sdktest.Sink(t, p, cases...)
}
