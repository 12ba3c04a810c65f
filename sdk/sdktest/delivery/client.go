package delivery

import (
	"context"
	"fmt"
	"net/rpc"
)

// Client is a Broker that asks a [Server].
type Client struct{ c *rpc.Client }

var _ Broker = (*Client)(nil)

// Dial connects to the server at path.
func Dial(path string) (*Client, error) {
	c, err := rpc.Dial("unix", path)
	if err != nil {
		return nil, fmt.Errorf("connect to the broker's socket: %w", err)
	}
	return &Client{c}, nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.c.Close() }

func (c *Client) call(ctx context.Context, name string, q Ask) (a Answer, err error) {
	// A call that is given up must not write into a: its answer is its own.
	r := new(Answer)
	call := c.c.Go("Broker."+name, q, r, make(chan *rpc.Call, 1))
	select {
	case <-ctx.Done():
		return a, ctx.Err()
	case <-call.Done:
	}
	if call.Error != nil {
		return a, fmt.Errorf("ask the broker (%s): %w", name, call.Error)
	}
	if r.Err > 0 {
		return *r, wireErrors[r.Err-1]
	}
	return *r, nil
}

func (c *Client) Config(ctx context.Context) (Config, error) {
	a, err := c.call(ctx, "Config", Ask{})
	return a.Config, err
}

func (c *Client) Fetch(ctx context.Context, partition uint32, from, upto int64, most int) (Fetched, error) {
	a, err := c.call(ctx, "Fetch", Ask{Partition: partition, From: from, Upto: upto, Most: most})
	return a.Fetched, err
}

func (c *Client) Join(ctx context.Context) (string, error) {
	a, err := c.call(ctx, "Join", Ask{})
	return a.Member, err
}

func (c *Client) Beat(ctx context.Context, member string) (Assignment, error) {
	a, err := c.call(ctx, "Beat", Ask{Member: member})
	return a.Assigned, err
}

func (c *Client) Release(ctx context.Context, member string, partition uint32, life uint64) error {
	_, err := c.call(ctx, "Release", Ask{Member: member, Partition: partition, Life: life})
	return err
}

func (c *Client) Leave(ctx context.Context, member string) error {
	_, err := c.call(ctx, "Leave", Ask{Member: member})
	return err
}

func (c *Client) Commit(ctx context.Context, member string, positions map[uint32]Committed) error {
	_, err := c.call(ctx, "Commit", Ask{Member: member, Positions: positions})
	return err
}

func (c *Client) Committed(ctx context.Context, partition uint32) (Committed, error) {
	a, err := c.call(ctx, "Committed", Ask{Partition: partition})
	return a.Committed, err
}

func (c *Client) Write(ctx context.Context, w Write) (Written, error) {
	a, err := c.call(ctx, "Write", Ask{Write: w})
	return a.Written, err
}

func (c *Client) Dropped(ctx context.Context, rs []Record) error {
	_, err := c.call(ctx, "Dropped", Ask{Records: rs})
	return err
}

func (c *Client) Tally(ctx context.Context) (*Tally, error) {
	a, err := c.call(ctx, "Tally", Ask{})
	return a.Tally, err
}
