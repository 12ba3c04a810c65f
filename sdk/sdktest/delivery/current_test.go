package delivery_test

import (
	"context"

	"github.com/weirflow/weir/sdk/sdktest/delivery"
)

// current is a Broker that stands for whichever world a test has set up last.
type current struct{ m **delivery.Memory }

func (c current) Config(ctx context.Context) (delivery.Config, error) { return (*c.m).Config(ctx) }
func (c current) Fetch(ctx context.Context, p uint32, from, upto int64, most int) (delivery.Fetched, error) {
	return (*c.m).Fetch(ctx, p, from, upto, most)
}
func (c current) Join(ctx context.Context) (string, error) { return (*c.m).Join(ctx) }
func (c current) Beat(ctx context.Context, m string) (delivery.Assignment, error) {
	return (*c.m).Beat(ctx, m)
}
func (c current) Release(ctx context.Context, m string, p uint32, life uint64) error {
	return (*c.m).Release(ctx, m, p, life)
}
func (c current) Leave(ctx context.Context, m string) error { return (*c.m).Leave(ctx, m) }
func (c current) Commit(ctx context.Context, m string, ps map[uint32]delivery.Committed) error {
	return (*c.m).Commit(ctx, m, ps)
}
func (c current) Committed(ctx context.Context, p uint32) (delivery.Committed, error) {
	return (*c.m).Committed(ctx, p)
}
func (c current) Write(ctx context.Context, w delivery.Write) (delivery.Written, error) {
	return (*c.m).Write(ctx, w)
}
func (c current) Dropped(ctx context.Context, rs []delivery.Record) error {
	return (*c.m).Dropped(ctx, rs)
}
func (c current) Tally(ctx context.Context) (*delivery.Tally, error) { return (*c.m).Tally(ctx) }
