package delivery

import "github.com/weirflow/weir/sdk"

// open is one output batch a partition and port being filled, as every processor that keeps ranges has them.
type open struct {
	env    *sdk.Env
	gather []*sdk.Gather // by port
	at     map[openKey]*sdk.Batch
	order  []openKey // so that two runs give out in the same order
}

type openKey struct {
	p    *sdk.Partition
	port int
}

func newOpen(env *sdk.Env) *open {
	o := &open{env: env, at: map[openKey]*sdk.Batch{}}
	for _, s := range env.Out {
		o.gather = append(o.gather, sdk.NewGather(env.In, s))
	}
	return o
}

// put copies chosen rows of in to the open batch of its partition at a port, and gives out what is full.
func (o *open) put(in *sdk.Batch, port int, rows []uint16, out sdk.Out) {
	k := openKey{in.Range().Partition, port}
	for len(rows) > 0 {
		b := o.at[k]
		if b == nil {
			b = o.env.NewBatch(o.env.Out[port], sdk.MaxRows)
			o.at[k] = b
			o.order = append(o.order, k)
		}
		b.Derive(in)
		n := o.gather[port].Append(b, in, rows, 0)
		rows = rows[n:]
		o.env.Books.Forwarded.Add(uint64(n))
		o.env.Books.Open.Add(int64(n))
		if b.Room() == 0 {
			o.give(k, out)
		}
	}
}

func (o *open) give(k openKey, out sdk.Out) {
	b := o.at[k]
	delete(o.at, k)
	for i, x := range o.order {
		if x == k {
			o.order = append(o.order[:i], o.order[i+1:]...)
			break
		}
	}
	b.Seal()
	o.env.Books.Open.Add(-int64(b.Rows()))
	out.Emit(k.port, b)
}

// flush gives out at most most open batches of p, of all if p is nil, and says whether there are more.
func (o *open) flush(p *sdk.Partition, most int, out sdk.Out) (more bool) {
	for i := 0; i < len(o.order); {
		k := o.order[i]
		if p != nil && k.p != p {
			i++
			continue
		}
		if most == 0 {
			return true
		}
		most--
		o.give(k, out)
	}
	return false
}
