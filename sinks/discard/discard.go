package discard

import (
	"context"

	"github.com/weirflow/weir/sdk"
)

// sink is its own writer: it has nothing to keep.
type sink struct{}

func (sink) Open(context.Context, *sdk.Schema) (sdk.Writer, error) { return sink{}, nil }

// Write settles the block at once.
func (sink) Write(_ context.Context, _ *sdk.Block, done func(error)) error {
	done(nil)
	return nil
}

func (sink) Flush(context.Context) error { return nil }
func (sink) Held() int64                 { return 0 }
func (sink) Close(context.Context) error { return nil }
