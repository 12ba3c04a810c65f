package sdktest

import (
	"context"
	"fmt"
	"testing"

	"github.com/weirflow/weir/sdk"
)

// guest is the far end of the loop-back: a plugin with an Env, a pool and schemas of its own.
type guest struct {
	link  *link
	world *world
	cfg   any
}

// newGuest makes a guest beside a host that has env. State and the partitions' ends come from the host.
func newGuest(t testing.TB, p *sdk.Plugin, env *sdk.Env, cfg any) (*guest, *link) {
	host, far := newLinks()
	g := &guest{link: far, cfg: copyConfig(&p.Spec, cfg)}
	var out []*sdk.Schema
	for _, s := range env.Out {
		out = append(out, copySchema(s))
	}
	g.world = newWorld(t, WithIn(copySchema(env.In)), WithOut(out...), WithNode(env.Pipeline, env.Node, env.Lane))
	e := g.world.env
	e.Now, e.Dir = env.Now, env.Dir
	unread := make([]bool, len(out))
	for i := range unread {
		unread[i] = env.Unread(i)
	}
	e.Unread = func(port int) bool { return port < len(unread) && unread[port] }
	e.State = func(p *sdk.Partition) sdk.KV { return farKV{far, p} }
	return g, host
}

// common handles what every host answers.
func common(l *link, env *sdk.Env, ctx context.Context, name string, body []byte) (any, error) {
	switch name {
	case "gone":
		l.parts.gone(as[int](body))
		return nil, nil
	case "get":
		m := as[kvArgs](body)
		v, err := env.State(l.parts.find(m.Part)).Get(ctx, m.Key)
		return kvArgs{Value: v, Some: v != nil}, err
	case "put":
		m := as[kvArgs](body)
		return nil, env.State(l.parts.find(m.Part)).Put(ctx, m.Key, m.Value)
	}
	return nil, fmt.Errorf("sdktest: no message %q", name)
}

type kvArgs struct {
	Part  wirePart
	Key   string
	Value []byte
	Some  bool
}

// farKV is the host's state, asked over the link.
type farKV struct {
	link *link
	p    *sdk.Partition
}

func (k farKV) Get(ctx context.Context, key string) ([]byte, error) {
	var r kvArgs
	err := k.link.call(ctx, "get", kvArgs{Part: k.link.parts.export(k.p), Key: key}, &r)
	if r.Some && r.Value == nil {
		r.Value = []byte{}
	}
	return r.Value, err
}

func (k farKV) Put(ctx context.Context, key string, value []byte) error {
	return k.link.call(ctx, "put", kvArgs{Part: k.link.parts.export(k.p), Key: key, Value: value}, nil)
}
