package sdktest

import (
	"context"
	"io"
	"sync/atomic"
	"time"

	"github.com/weirflow/weir/sdk"
)

// relay is a processor that does a little of all a processor may do: it filters, refuses, parks until the next tick, drops at a
// forced cut, and coalesces for each partition. With a fault named it does one thing wrong.
var relaySchema = sdk.NewSchema(
	sdk.Field{Name: "n", Type: sdk.Uint64},
	sdk.Field{Name: "zero", Type: sdk.Uint32},
	sdk.Field{Name: "payload", Type: sdk.Bytes},
)

func relay(fault string) sdk.Plugin {
	p := sdk.Plugin{
		Spec: sdk.Spec{Kind: sdk.KindProcessor, Type: "relay", Doc: "relays", KeepsRange: true, Deterministic: true, Parks: true, Selections: true, Reasons: []sdk.Reason{"parked"}},
		Processor: func(env *sdk.Env, _ any) (sdk.Processor, error) {
			r := &relayLane{env: env, fault: fault, open: map[*sdk.Partition]*sdk.Batch{}, gather: sdk.NewGather(env.In, env.Out[0])}
			if fault == "share left open" {
				_, err := env.Share("table", func(context.Context) (io.Closer, error) { return io.NopCloser(nil), nil })
				return r, err
			}
			if fault == "goroutine left" {
				go func() { <-relayQuit }()
			}
			return r, nil
		},
	}
	p.Spec.Parks = fault != "parks in secret"
	p.Spec.Needs = func(any, *sdk.Schema, [][]string) []string { return []string{"n", "payload"} }
	if fault == "needs more than it says" {
		p.Spec.Needs = func(any, *sdk.Schema, [][]string) []string { return []string{"n"} }
		p.Spec.Output = func(_ any, in *sdk.Schema) ([]*sdk.Schema, error) { return []*sdk.Schema{in}, nil }
	}
	return p
}

type relayLane struct {
	env    *sdk.Env
	fault  string
	gather *sdk.Gather
	open   map[*sdk.Partition]*sdk.Batch
	parked []*sdk.Batch
	last   *sdk.Batch
	seen   []uint64
	bytes  []byte
	calls  int
}

var (
	relayRuns atomic.Uint64
	relayQuit chan struct{} // closed when the tests of faults are over
)

func (r *relayLane) Process(b *sdk.Batch, out sdk.Out) error {
	r.calls++
	if r.fault == "blocks" && r.calls == 7 {
		<-relayQuit
	}
	n := sdk.Values[uint64](b, 0)
	books := r.env.Books
	part := b.Range().Partition
	if r.fault == "partitions mixed" {
		part = nil
	}
	o := r.open[part]
	if o != nil && o.Room() < b.Rows() {
		r.emit(o, out)
		o = nil
	}
	if o == nil {
		o = r.env.NewBatch(r.env.Out[0], sdk.MaxRows)
		r.open[part] = o
	}
	if r.fault == "done before derive" {
		b.Done(sdk.Delivered)
	}
	if r.fault != "never derived" {
		o.Derive(b)
	}
	var pass, hold []uint16
	late := 0
	rows := b.Selection()
	if rows == nil || r.fault == "selection not read" {
		for i := range n {
			rows = append(rows, uint16(i))
		}
	}
	for _, row := range rows {
		i, x := int(row), n[row]
		switch {
		case x%5 == 0:
			if r.fault != "filtered not counted" {
				books.Filtered.Add(1)
			}
		case x%11 == 1:
			code := "bad_number"
			if r.fault == "code not constant" {
				code = "bad number 11"
			}
			if r.fault == "refused after done" {
				late++
				continue
			}
			out.Error(b, sdk.Fault{Code: code, Message: "the number is bad", Format: "datagram", Payload: b.Bytes(b.Schema().Index("payload"))[i]})
		case x%7 == 3:
			hold = append(hold, uint16(i))
		default:
			pass = append(pass, uint16(i))
		}
	}
	at := o.Rows()
	r.gather.Append(o, b, pass, 0)
	switch r.fault {
	case "not sealed":
		sdk.Claim[uint64](o, 0, at, 0)
	case "random":
		if o.Rows() > at {
			sdk.Claim[uint64](o, 0, at, o.Rows()-at)[0] = relayRuns.Add(1)
		}
	case "lent memory kept":
		for i := at; i < o.Rows(); i++ {
			if r.bytes != nil {
				o.SetBytes(2, i, r.bytes)
			}
		}
		for _, v := range b.Bytes(2) {
			if len(v) > 16 {
				r.bytes = v
			}
		}
	case "released memory read":
		for i := at; i < o.Rows() && len(r.seen) > 0; i++ {
			sdk.Claim[uint64](o, 0, at, o.Rows()-at)[i-at] = r.seen[0]
		}
		r.seen = n
	case "input changed", "zero column written":
		if len(n) > 0 && b.IsZero(0) == (r.fault == "zero column written") {
			n[0]++
		}
	case "panic":
		if r.calls == 7 {
			panic("seven")
		}
	case "emitted twice":
		if r.calls == 3 {
			r.give(o, out)
			out.Emit(0, o)
			delete(r.open, part)
		}
	case "wrong port":
		if r.calls == 3 {
			delete(r.open, part)
			books.Forwarded.Add(uint64(o.Rows() - at))
			out.Emit(1, o)
			books.Open.Set(0)
		}
	}
	books.Forwarded.Add(uint64(len(pass)))
	if r.open[part] == o {
		books.Open.Add(int64(len(pass)))
	} else {
		books.Open.Set(books.Open.Load() + int64(len(pass)) - int64(o.Rows()))
	}
	if len(hold) > 0 {
		h := r.env.NewBatch(r.env.Out[0], len(hold))
		r.gather.Append(h, b, hold, 0)
		h.Derive(b)
		h.Seal()
		r.parked = append(r.parked, h)
		books.Held.Add(int64(len(hold)))
	}
	switch r.fault {
	case "done before derive", "never done":
	case "released before done":
		b.Release()
		b.Done(sdk.Delivered)
		return nil
	case "released twice":
		b.Done(sdk.Delivered)
		b.Release()
	case "done as failed":
		b.Done(sdk.Failed)
	case "done twice":
		b.Done(sdk.Delivered)
		b.Done(sdk.Delivered)
	default:
		b.Done(sdk.Delivered)
	}
	if r.fault == "refused after done" {
		for range late {
			out.Error(b, sdk.Fault{Code: "bad_number", Message: "the number is bad"})
		}
	}
	if r.fault != "batch leaked" {
		b.Release()
	}
	return nil
}

func (r *relayLane) give(o *sdk.Batch, out sdk.Out) {
	if r.fault != "not sealed" {
		o.Seal()
	} else if o.Rows() > 1 {
		// A column claimed short of the rows shows what the memory held before.
		sdk.Claim[uint32](o, 1, 0, 1)[0] = 1
	}
	r.last = o
	if r.fault == "wrong schema" {
		s := sdk.NewSchema(relaySchema.Fields()...)
		x := r.env.NewBatch(s, o.Rows())
		sdk.NewGather(r.env.In, s).Append(x, o, nil, o.Rows())
		x.Derive(o)
		x.Seal()
		o.Done(sdk.Delivered)
		o.Release()
		o = x
	}
	out.Emit(0, o)
}

func (r *relayLane) emit(o *sdk.Batch, out sdk.Out) {
	r.env.Books.Open.Add(-int64(o.Rows()))
	r.give(o, out)
	for p, x := range r.open {
		if x == o {
			delete(r.open, p)
		}
	}
}

func (r *relayLane) Tick(_ time.Time, blocked bool, out sdk.Out) (bool, error) {
	if blocked && r.fault != "gives out while blocked" {
		return false, nil
	}
	if r.fault == "claimed after sent" && r.last != nil && r.last.Rows() > 0 && r.last.Schema() == r.env.In {
		sdk.Claim[uint32](r.last, 1, 0, 1)[0] = 7
	}
	if r.fault == "changed after sent" && r.last != nil && r.last.Rows() > 0 && r.last.Schema() == r.env.In {
		sdk.Values[uint64](r.last, 0)[0]++
	}
	n := min(4, len(r.parked))
	for _, h := range r.parked[:n] {
		r.env.Books.Held.Add(-int64(h.Rows()))
		r.env.Books.Forwarded.Add(uint64(h.Rows()))
		out.Emit(0, h)
	}
	r.parked = r.parked[n:]
	return len(r.parked) > 0, nil
}

func (r *relayLane) Flush(p *sdk.Partition, force bool, out sdk.Out) (held int, more bool, err error) {
	for q, o := range r.open {
		if p == nil || q == p || r.fault == "partitions mixed" {
			r.emit(o, out)
		}
	}
	if r.fault == "five at once" {
		for range 5 {
			e := r.env.NewBatch(r.env.Out[0], 1)
			e.Seal()
			out.Emit(0, e)
		}
	}
	rest := r.parked[:0]
	for _, h := range r.parked {
		switch {
		case p != nil && h.Range().Partition != p:
			rest = append(rest, h)
		case force && r.fault != "held after a forced cut":
			r.env.Books.Held.Add(-int64(h.Rows()))
			reason := sdk.Reason("parked")
			if r.fault == "reason not declared" {
				reason = "because"
			}
			if r.fault == "loss not declared" {
				r.env.Books.Lost("somewhere", 1)
			}
			r.env.Books.Drop(reason, uint64(h.Rows()))
			h.Done(sdk.Dropped)
			h.Release()
		default:
			held += h.Rows()
			rest = append(rest, h)
		}
	}
	r.parked = rest
	if r.fault == "cut without its rows" && len(r.open) == 0 {
		e := r.env.NewBatch(r.env.Out[0], 1)
		r.open[p] = e
	}
	return held, false, nil
}

func (r *relayLane) Return(p *sdk.Partition) error {
	rest := r.parked[:0]
	for _, h := range r.parked {
		if h.Range().Partition != p || r.fault == "held after a return" {
			rest = append(rest, h)
			continue
		}
		r.env.Books.Held.Add(-int64(h.Rows()))
		r.env.Books.Drop(sdk.ReasonReturned, uint64(h.Rows()))
		h.Done(sdk.Failed)
		h.Release()
	}
	r.parked = rest
	return nil
}

func (r *relayLane) Drain(why sdk.Why, _ bool, out sdk.Out) (bool, error) {
	if r.fault == "left open" {
		return false, nil
	}
	if r.fault == "drains five at once" {
		for range 5 {
			e := r.env.NewBatch(r.env.Out[0], 1)
			e.Seal()
			out.Emit(0, e)
		}
	}
	_, _, err := r.Flush(nil, true, out)
	return r.fault == "more for ever", err
}

func (r *relayLane) Close() error {
	return nil
}
