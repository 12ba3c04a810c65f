package udp

import (
	"testing"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/sdktest"
)

func TestSuite(t *testing.T) {
	to := func(t testing.TB) any {
		return &Config{To: []string{listen(t, "127.0.0.1:0").LocalAddr().String()}, Source: SourceOwn}
	}
	sdktest.Sink(t, Plugin, sdktest.SinkCase{Name: "datagrams", In: sdk.Datagram, Config: to})
}
