package delivery

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/weirflow/weir/sdk"
)

// ReasonParked is what a record is dropped for that a forced cut found parked.
const ReasonParked sdk.Reason = "parked"

// ParkConfig of [Park].
type ParkConfig struct {
	Every  uint64 `yaml:"every" doc:"one record of so many is held"`
	Offset uint64 `yaml:"offset" doc:"which one"`
	Ticks  int    `yaml:"ticks" doc:"for how many ticks at most; records of odd partitions are held half as long"`
}

// Parks says whether Park with c holds record number n.
func (c ParkConfig) Parks(n uint64) bool { return n%c.Every == c.Offset }

// Park holds some records until a number of ticks has passed, or until a forced cut, which drops them: a decoder that waits for
// templates. Dropped records are told to broker's tally (it may be nil), as a record that was dropped and counted is not lost.
func Park(broker Broker) sdk.Plugin {
	return sdk.Plugin{
		Spec: sdk.Spec{
			Kind: sdk.KindProcessor, Type: "park", Doc: "holds some numbered records for some ticks",
			Config: func() any { return &ParkConfig{Every: 97, Offset: 13, Ticks: 3} },
			Input:  numbered, KeepsRange: true, Deterministic: true, Parks: true,
			Reasons: []sdk.Reason{ReasonParked},
		},
		Processor: func(env *sdk.Env, cfg any) (sdk.Processor, error) {
			return &park{env: env, cfg: *cfg.(*ParkConfig), broker: broker, open: newOpen(env), gather: sdk.NewGather(env.In, env.Out[0])}, nil
		},
	}
}

type park struct {
	env    *sdk.Env
	cfg    ParkConfig
	broker Broker
	open   *open
	gather *sdk.Gather
	parked []parked // by age
	tick   int
	pass   []uint16
	hold   []uint16
}

// parked are the records of one input that wait.
type parked struct {
	b   *sdk.Batch
	p   *sdk.Partition
	due int
}

func (k *park) Process(b *sdk.Batch, out sdk.Out) error {
	k.pass, k.hold = k.pass[:0], k.hold[:0]
	for i, n := range sdk.Values[uint64](b, b.Schema().Index("number")) {
		if k.cfg.Parks(n) {
			k.hold = append(k.hold, uint16(i))
		} else {
			k.pass = append(k.pass, uint16(i))
		}
	}
	k.open.put(b, 0, k.pass, out)
	if n := len(k.hold); n > 0 {
		wait := k.cfg.Ticks
		if sdk.Values[uint32](b, b.Schema().Index("partition"))[k.hold[0]]%2 == 1 {
			wait /= 2
		}
		h := k.env.NewBatch(k.env.Out[0], n)
		k.gather.Append(h, b, k.hold, 0)
		h.Derive(b)
		h.Seal()
		k.parked = append(k.parked, parked{h, b.Range().Partition, k.tick + wait})
		k.env.Books.Held.Add(int64(n))
	}
	b.Done(sdk.Delivered)
	b.Release()
	return nil
}

func (k *park) Tick(_ time.Time, blocked bool, out sdk.Out) (bool, error) {
	k.tick++
	if blocked {
		return false, nil
	}
	return k.due(out), nil
}

// due gives out at most 4 batches: of those whose wait is over first.
func (k *park) due(out sdk.Out) (more bool) {
	rest, left := k.parked[:0], 4
	for _, w := range k.parked {
		if w.due >= k.tick {
			rest = append(rest, w)
			continue
		}
		if left == 0 {
			rest, more = append(rest, w), true
			continue
		}
		left--
		n := w.b.Rows()
		k.env.Books.Held.Add(-int64(n))
		k.env.Books.Forwarded.Add(uint64(n))
		out.Emit(0, w.b)
	}
	clear(k.parked[len(rest):])
	k.parked = rest
	return k.open.flush(nil, left, out) || more
}

func (k *park) Flush(p *sdk.Partition, force bool, out sdk.Out) (held int, more bool, err error) {
	more = k.open.flush(p, 4, out)
	rest := k.parked[:0]
	for _, w := range k.parked {
		switch {
		case p != nil && w.p != p:
			rest = append(rest, w)
		case force && !more:
			err = errors.Join(err, k.drop(w)) // it is gone all the same
		default:
			rest = append(rest, w)
			held += w.b.Rows()
		}
	}
	clear(k.parked[len(rest):])
	k.parked = rest
	return held, more, nil
}

func (k *park) drop(w parked) error {
	n := w.b.Rows()
	k.env.Books.Held.Add(-int64(n))
	k.env.Books.Drop(ReasonParked, uint64(n))
	var err error
	if k.broker != nil {
		err = k.broker.Dropped(context.Background(), recordsOf(w.b))
	}
	w.b.Done(sdk.Dropped)
	w.b.Release()
	return err
}

// Return lets go of what is parked of a partition: nobody is told that it was dropped, for its next owner reads it again.
func (k *park) Return(p *sdk.Partition) error {
	k.parked = slices.DeleteFunc(k.parked, func(w parked) bool {
		if w.p != p {
			return false
		}
		n := w.b.Rows()
		k.env.Books.Held.Add(-int64(n))
		k.env.Books.Drop(sdk.ReasonReturned, uint64(n))
		w.b.Done(sdk.Failed)
		w.b.Release()
		return true
	})
	return nil
}

// Drain drops what is parked: nothing will come here that could free it. When the process stops it stays unsettled instead, and
// the next owner of the partition reads it again.
func (k *park) Drain(why sdk.Why, _ bool, out sdk.Out) (bool, error) {
	if why == sdk.Stopping {
		return k.open.flush(nil, 4, out), nil
	}
	_, more, err := k.Flush(nil, true, out)
	return more, err
}

func (k *park) Close() error { return nil }

// recordsOf lists the records of a batch.
func recordsOf(b *sdk.Batch) []Record {
	parts := sdk.Values[uint32](b, b.Schema().Index("partition"))
	numbers := sdk.Values[uint64](b, b.Schema().Index("number"))
	rs := make([]Record, b.Rows())
	for i := range rs {
		rs[i] = Record{parts[i], numbers[i]}
	}
	return rs
}
