//go:build !linux

package udp

import (
	"context"

	"github.com/weirflow/weir/sdk"
)

func dialRaw(context.Context, string) (*destination, error) {
	return nil, &sdk.NotReady{What: "sending with the exporters' addresses (source: keep) works on Linux only", Do: "say `source: own`"}
}
