//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sources/udp"
)

// received is what the child process `collector receive` prints when it has ended.
type received struct {
	Workers []uint64 `json:"workers"` // datagrams of each; those that stalled come first
	Balance string   `json:"balance"` // in force
	Why     string   `json:"balance_reason,omitempty"`
}

// receive is Weir's source `udp` without a pipeline: it says what each of its workers got, which a ledger sums up, and lets workers stall,
// which a pipeline's do not do on demand. Those read when it is stopped: what waits for them is not lost.
func receive(args []string) error {
	f := flag.NewFlagSet("receive", flag.ContinueOnError)
	c := udp.Plugin.Spec.Config().(*udp.Config)
	listen := f.String("listen", "127.0.0.1:2055", "address and port")
	f.IntVar(&c.Workers, "workers", 4, "sockets, each with a reader")
	stalled := f.Int("stall", 0, "workers that do not read before the end")
	balance := f.String("balance", string(udp.BalancePacket), "as the source's")
	f.BoolVar(&c.GRO, "gro", true, "as the source's")
	if err := f.Parse(args); err != nil {
		return err
	}
	c.Listen, c.Balance, c.ReceiveBuffer = []string{*listen}, udp.Balance(*balance), 4<<20
	if err := c.Validate(); err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	source, err := udp.Plugin.Source(&sdk.Env{Pipeline: "bench", Node: "in", Log: slog.New(slog.DiscardHandler), Now: time.Now, Pool: sdk.NewPool(nil), Books: new(sdk.Books),
		Out: []*sdk.Schema{sdk.Datagram}, Share: new(shares).share}, c)
	if err != nil {
		return err
	}
	out := received{Workers: make([]uint64, c.Workers)}
	faults := make([]error, c.Workers)
	var readers sync.WaitGroup
	for i := range c.Workers {
		r, err := source.Accept(ctx)
		if err != nil {
			return err
		}
		readers.Go(func() {
			if i < *stalled {
				<-ctx.Done()
			}
			faults[i] = drain(r, &out.Workers[i])
		})
	}
	if out.Balance, out.Why, err = balanced(source); err != nil {
		return err
	}
	<-ctx.Done()
	if err := source.Stop(context.Background()); err != nil {
		return err
	}
	readers.Wait()
	if err := errors.Join(append(faults, source.Close(context.Background()))...); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

// drain reads to the end, as a lane does, and counts.
func drain(r sdk.Reader, n *uint64) error {
	for {
		b, err := r.Read(context.Background(), 100*time.Millisecond)
		if err == io.EOF {
			return r.Close(context.Background())
		}
		if err != nil {
			return errors.Join(err, r.Close(context.Background()))
		}
		if b != nil {
			*n += uint64(b.Rows())
			b.Done(sdk.Delivered)
			b.Release()
		}
	}
}

// balanced is how the source's datagrams are spread, and why not as asked.
func balanced(s sdk.Source) (rule, why string, err error) {
	x, err := s.(sdk.Inspector).Inspect(sdk.TopicSockets)
	if err != nil {
		return "", "", err
	}
	sockets, ok := x.(*udp.Sockets)
	if !ok || len(sockets.Sockets) == 0 {
		return "", "", fmt.Errorf("the source has no sockets to tell of: %v", x)
	}
	return sockets.Sockets[0].Balance, sockets.Sockets[0].Why, nil
}

// shares are what the workers of a source have in common, closed by the last that closes its hold.
type shares struct {
	mu   sync.Mutex
	open map[string]*shared
}

type shared struct {
	io.Closer
	holders int
}

type hold struct {
	of  *shares
	key string
	s   *shared
}

func (s *shares) share(key string, open func(context.Context) (io.Closer, error)) (sdk.Shared, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.open[key]
	if x == nil {
		c, err := open(context.Background())
		if err != nil {
			return nil, err
		}
		if s.open == nil {
			s.open = map[string]*shared{}
		}
		x = &shared{Closer: c}
		s.open[key] = x
	}
	x.holders++
	return &hold{s, key, x}, nil
}

func (h *hold) Object() io.Closer { return h.s.Closer }

func (h *hold) Close() error {
	h.of.mu.Lock()
	defer h.of.mu.Unlock()
	if h.s.holders--; h.s.holders > 0 {
		return nil
	}
	delete(h.of.open, h.key)
	return h.s.Close()
}
