package discard

import (
	"testing"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/sdktest"
)

func TestSuite(t *testing.T) {
	sdktest.Sink(t, Plugin, sdktest.SinkCase{Name: "flows", In: in}, sdktest.SinkCase{Name: "datagrams", In: sdk.Datagram})
}
