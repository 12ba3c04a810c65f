package udp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"sync"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/endpoint"
)

// receiver is a reader of a socket.
type receiver interface {
	endpoint.Reader
	local() netip.AddrPort
	socket() Socket
}

// source hands out one reader for each socket. The sockets are open when it has been made, so that a port in use is found
// before anything runs.
type source struct {
	endpoint.Readers[receiver]
	env  *sdk.Env
	cols columns
	gate *gate
	hold sdk.Shared // of the gate's table
	mu   sync.Mutex // of books
}

func newSource(env *sdk.Env, cfg *Config) (sdk.Source, error) {
	hold, err := env.Share("udp/exporters", func(context.Context) (io.Closer, error) { return newExporters(), nil })
	if err != nil {
		return nil, err
	}
	s := &source{env: env, cols: resolve(env), hold: hold, gate: newGate(hold.Object().(*exporters), cfg)}
	for _, text := range cfg.Listen {
		l, err := parseListen(text)
		if err == nil {
			var rs []receiver
			rs, err = s.open(l, cfg)
			s.Opened = append(s.Opened, rs...)
		}
		if err != nil {
			return nil, errors.Join(err, s.Close(context.Background()))
		}
	}
	return s, nil
}

// Close gives up the sockets of readers that nobody accepted, and the table of exporters.
func (s *source) Close(ctx context.Context) error {
	return errors.Join(s.Readers.Close(ctx), s.hold.Close())
}

// Inspect tells of exporters and sockets.
func (s *source) Inspect(topic string) (any, error) {
	switch topic {
	case sdk.TopicExporters:
		return s.gate.report(s.env.Now().UnixNano()), nil
	case sdk.TopicSockets:
		return s.sockets(), nil
	}
	return nil, nil
}

// received counts for all readers: Books are written by one at a time.
func (s *source) received(p *passed) {
	s.mu.Lock()
	s.env.Books.Received.Add(uint64(p.kept + p.notAllowed + p.limited))
	s.env.Books.Drop(ReasonNotAllowed, uint64(p.notAllowed))
	s.env.Books.Drop(ReasonRateLimited, uint64(p.limited))
	s.env.Books.Note(noteThinned, uint64(p.thinned))
	s.mu.Unlock()
}

func (s *source) lost(n uint64) {
	if n == 0 {
		return
	}
	s.mu.Lock()
	s.env.Books.Lost(ReasonKernelDrops, n)
	s.mu.Unlock()
}

func (s *source) partition(a netip.AddrPort, worker int) *sdk.Partition {
	return &sdk.Partition{Source: s.env.Node, Name: fmt.Sprintf("%s/%d", a, worker), Life: uint64(s.env.Now().UnixNano())}
}

// columns are where the schema has what a datagram gives, -1 for what nobody needs.
type columns struct {
	schema                                  *sdk.Schema
	payload, addr, port, received, thinning int
}

func resolve(env *sdk.Env) columns {
	s := sdk.Datagram
	if len(env.Out) > 0 {
		s = env.Out[0]
	}
	at := func(col int) int { return s.Index(sdk.Datagram.Field(col).Name) }
	return columns{s, at(sdk.DatagramPayload), at(sdk.DatagramExporterAddr), at(sdk.DatagramExporterPort), at(sdk.DatagramReceived), s.Index(thinning)}
}

// words are for a port that cannot be bound.
var words = endpoint.Words{Protocol: "UDP", Cannot: "receive", Forbids: "receive",
	InUse: "stop the process that has it (`ss -ulpn` shows which), choose another port, or say `share_port: true` if it is to be taken over"}
