package tcp

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/netip"
	"sync"
	"time"

	"github.com/weirflow/weir/formats/netflow"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/endpoint"
)

// source hands out one reader for each address. The listeners are open when it has been made, so that a port in use is found
// before anything runs.
type source struct {
	endpoint.Readers[*reader]
	env   *sdk.Env
	cfg   *Config
	cols  columns
	allow []netip.Prefix
	tls   *tls.Config // nil: plain TCP

	senders *census // shared by the node's generations
	hold    sdk.Shared
	once    sync.Once

	mu   sync.Mutex // of what follows
	said map[string]*said
}

func newSource(env *sdk.Env, cfg *Config) (sdk.Source, error) {
	s := &source{env: env, cfg: cfg, cols: resolve(env), said: map[string]*said{}}
	hold, err := env.Share("tcp/exporters", func(context.Context) (io.Closer, error) { return newCensus(mostExporters), nil })
	if err != nil {
		return nil, err
	}
	s.hold, s.senders = hold, hold.Object().(*census)
	for _, text := range cfg.Allow {
		p, problem := endpoint.ParsePrefix(text)
		if problem != nil {
			return nil, errors.Join(problem, s.Close(context.Background()))
		}
		s.allow = append(s.allow, p)
	}
	if cfg.TLS.Cert != "" {
		c, err := secure(&cfg.TLS, env.Log)
		if err != nil {
			return nil, errors.Join(err, s.Close(context.Background()))
		}
		s.tls = c
	}
	for _, text := range cfg.Listen {
		l, err := endpoint.Parse(text)
		if err == nil {
			err = s.open(l)
		}
		if err != nil {
			return nil, errors.Join(err, s.Close(context.Background()))
		}
	}
	return s, nil
}

// Close closes the readers that nobody accepted, and gives up the census.
func (s *source) Close(ctx context.Context) error {
	err := s.Readers.Close(ctx)
	s.once.Do(func() { err = errors.Join(err, s.hold.Close()) })
	return err
}

func (s *source) open(l endpoint.Address) error {
	hold, err := s.env.Share("tcp/"+l.String(), func(context.Context) (io.Closer, error) { return newPort(l), nil })
	if err != nil {
		return err
	}
	r := newReader(s, hold.Object().(*port), hold)
	if err := r.port.join(r); err != nil {
		return errors.Join(err, hold.Close())
	}
	a := r.port.local()
	r.part = &sdk.Partition{Source: s.env.Node, Name: a.String(), Life: uint64(s.env.Now().UnixNano())}
	s.Opened = append(s.Opened, r)
	s.env.Log.Info("accepting connections", "listen", a, "tls", s.tls != nil, "max_connections", s.cfg.MaxConnections, "max_per_address", s.cfg.MaxPerAddress)
	return nil
}

// allowed says whether an exporter may connect.
func (s *source) allowed(a netip.Addr) bool {
	for _, p := range s.allow {
		if p.Contains(a) {
			return true
		}
	}
	return len(s.allow) == 0
}

// said is when something was logged, and how often it has not been since.
type said struct {
	at     time.Time
	unsaid int
}

// quiet is how long a fault of strangers is not told again: else they could fill the log.
const quiet = time.Second

// warn logs what a stranger did: each message at most once in a while, with the number of times it was not.
func (s *source) warn(message string, args ...any) {
	s.mu.Lock()
	x, now := s.said[message], time.Now()
	if x == nil {
		x = &said{}
		s.said[message] = x
	}
	if now.Sub(x.at) < quiet {
		x.unsaid++
		s.mu.Unlock()
		return
	}
	unsaid := x.unsaid
	*x = said{at: now}
	s.mu.Unlock()
	if unsaid > 0 {
		args = append(args, "others_before", unsaid)
	}
	s.env.Log.Warn(message, args...)
}

// columns are where the schema has what a message gives, -1 for what nobody needs.
type columns struct {
	schema                                 *sdk.Schema
	payload, addr, port, received, session int
}

func resolve(env *sdk.Env) columns {
	s := Schema
	if len(env.Out) > 0 {
		s = env.Out[0]
	}
	at := func(col int) int { return s.Index(sdk.Datagram.Field(col).Name) }
	return columns{s, at(sdk.DatagramPayload), at(sdk.DatagramExporterAddr), at(sdk.DatagramExporterPort), at(sdk.DatagramReceived), s.Index(session)}
}

// fill writes the messages of a slab from row at on.
func (c *columns) fill(b *sdk.Batch, at int, s *slab) {
	n := len(s.ends)
	if c.payload >= 0 {
		from := 0
		for i, to := range s.ends {
			b.SetView(c.payload, at+i, s.mem[from:to:to])
			from = to
		}
	}
	if c.addr >= 0 {
		set(sdk.Claim[[16]byte](b, c.addr, at, n), s.conn.from.Addr().As16())
	}
	if c.port >= 0 {
		set(sdk.Claim[uint16](b, c.port, at, n), s.conn.from.Port())
	}
	if c.received >= 0 {
		set(sdk.Claim[int64](b, c.received, at, n), s.received)
	}
	if c.session >= 0 {
		set(sdk.Claim[netflow.Session](b, c.session, at, n), s.conn.session)
	}
}

func set[T any](to []T, v T) {
	for i := range to {
		to[i] = v
	}
}

// words are for a port that cannot be listened on.
var words = endpoint.Words{Protocol: "TCP", Cannot: "accept connections", Forbids: "listen",
	InUse: "stop the process that has it (`ss -tlpn` shows which) or choose another port"}
