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

func (c *Client) call(ctx context.Context, name string, q Request) (a Response, err error) {
	// A call that is given up must not write into a: it has a response of its own.
	r := new(Response)
	call := c.c.Go("Broker."+name, q, r, make(chan *rpc.Call, 1))
	select {
	case <-ctx.Done():
		return a, ctx.Err()
	case <-call.Done:
	}
	if call.Error != nil {
		return a, fmt.Errorf("Request the broker (%s): %w", name, call.Error)
	}
	if r.Err > 0 {
		return *r, wireErrors[r.Err-1]
	}
	return *r, nil
}

func (c *Client) Config(ctx context.Context) (Config, error) {
	a, err := c.call(ctx, "Config", Request{})
	return a.Config, err
}

func (c *Client) Fetch(ctx context.Context, partition uint32, from, upto int64, most int) (Fetched, error) {
	a, err := c.call(ctx, "Fetch", Request{Partition: partition, From: from, Upto: upto, Most: most})
	return a.Fetched, err
}

func (c *Client) Join(ctx context.Context) (string, error) {
	a, err := c.call(ctx, "Join", Request{})
	return a.Member, err
}

func (c *Client) Beat(ctx context.Context, member string) (Assignment, error) {
	a, err := c.call(ctx, "Beat", Request{Member: member})
	return a.Assigned, err
}

func (c *Client) Release(ctx context.Context, member string, partition uint32, life uint64) error {
	_, err := c.call(ctx, "Release", Request{Member: member, Partition: partition, Life: life})
	return err
}

func (c *Client) Leave(ctx context.Context, member string) error {
	_, err := c.call(ctx, "Leave", Request{Member: member})
	return err
}

func (c *Client) Commit(ctx context.Context, member string, positions map[uint32]Committed) error {
	_, err := c.call(ctx, "Commit", Request{Member: member, Positions: positions})
	return err
}

func (c *Client) Committed(ctx context.Context, partition uint32) (Committed, error) {
	a, err := c.call(ctx, "Committed", Request{Partition: partition})
	return a.Committed, err
}

func (c *Client) Write(ctx context.Context, w Write) (Written, error) {
	a, err := c.call(ctx, "Write", Request{Write: w})
	return a.Written, err
}

func (c *Client) Dropped(ctx context.Context, rs []Record) error {
	_, err := c.call(ctx, "Dropped", Request{Records: rs})
	return err
}

func (c *Client) Tally(ctx context.Context) (*Tally, error) {
	a, err := c.call(ctx, "Tally", Request{})
	return a.Tally, err
}
