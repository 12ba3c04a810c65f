package sdk

import (
	"context"
	"io"
	"log/slog"
	"time"
)

// Env is what an instance is given at creation. One Env belongs to one instance: a processor has one a lane.
type Env struct {
	Pipeline string // name of the pipeline
	Node     string // id of the node
	Lane     int
	Log      *slog.Logger
	Now      func() time.Time // simulated in tests; read it once a batch
	Dir      string           // the node's state directory, made when first asked for by the plugin itself
	Pool     *Pool
	Books    *Books

	In  *Schema   // the input as the plan pruned it; nil for a source
	Out []*Schema // each port as the plan pruned it; nil for a sink

	// Unread says whether nobody reads the port: what would go there need not be made.
	Unread func(port int) bool
	// Share returns the object under key, opened by the first who asks and closed when the last has closed what it got. It
	// outlives lanes and generations: sockets, template stores, tables, pollers. Keys are the plugin's own; the pipeline and
	// the node are added, unless the key begins with "/", which is shared by the whole process.
	Share func(key string, open func(ctx context.Context) (io.Closer, error)) (Shared, error)
	// State is small state kept with a partition where the source can, else in the state directory.
	State func(p *Partition) KV
}

// NewBatch takes a batch from the pool.
func (e *Env) NewBatch(s *Schema, rows int) *Batch { return e.Pool.Get(s, rows) }

// Shared is one holder's hold on a shared object.
type Shared interface {
	Object() io.Closer
	io.Closer
}

// KV is small state.
type KV interface {
	Get(ctx context.Context, key string) ([]byte, error) // nil, nil if there is none
	Put(ctx context.Context, key string, value []byte) error
}
