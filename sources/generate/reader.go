package generate

import (
	"context"
	"io"
	"time"

	"github.com/weirflow/weir/formats/emulate"
	"github.com/weirflow/weir/sdk"
)

const (
	// A batch has at most so many datagrams, and is closed when it has so many bytes.
	batchDatagrams = 512
	batchBytes     = 1 << 20

	endless = -1
)

// reader plays the exporters of one part of the network.
type reader struct {
	src       *source
	partition *sdk.Partition
	emulator  *emulate.Emulator
	ring      *emulate.Ring // nil: new datagrams always
	at        int           // in the ring
	buf       []byte        // the datagram being written
	fresh     emulate.Datagram
	wire      *wire // nil: datagrams keep their order
	waited    int   // on the wire, as the books have it
	burst     int   // datagrams of flows to go of a burst that has begun
	over      bool  // nothing new is made
	made      made
	columns   columns
	left      int   // flow records to go, or endless
	position  int64 // of the next datagram
	pace      pace
	clock     clock
	timer     *time.Timer
}

// columns of the schema as the plan pruned it, -1 for those that nobody needs.
type columns struct {
	schema                        *sdk.Schema
	payload, addr, port, received int
}

func newColumns(env *sdk.Env) columns {
	s := sdk.Datagram
	if len(env.Out) > 0 {
		s = env.Out[0]
	}
	at := func(i int) int { return s.Index(sdk.Datagram.Field(i).Name) }
	return columns{s, at(sdk.DatagramPayload), at(sdk.DatagramExporterAddr), at(sdk.DatagramExporterPort), at(sdk.DatagramReceived)}
}

func (r *reader) Partition() *sdk.Partition { return r.partition }

// Ready is nil: a reader is due by the clock, not by an event.
func (r *reader) Ready() <-chan struct{} { return nil }

// Read sleeps, at most wait, until the rate has a batch due, and makes it.
func (r *reader) Read(ctx context.Context, wait time.Duration) (*sdk.Batch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if r.left == 0 || r.src.stopped() {
		return r.last()
	}
	now := r.src.env.Now()
	due, later := r.due(now)
	if due == 0 {
		switch err := r.sleep(ctx, min(wait, later)); {
		case err == io.EOF:
			return r.last()
		case err != nil || later > wait:
			return nil, err
		}
		now = r.src.env.Now()
		if due, _ = r.due(now); due == 0 {
			return nil, nil
		}
	}
	return r.batch(due, now), nil
}

// last gives out what was delayed on the wire, and then io.EOF.
func (r *reader) last() (*sdk.Batch, error) {
	if r.wire.waiting() == 0 {
		return nil, io.EOF
	}
	r.over = true
	r.wire.end()
	return r.batch(nothing, r.src.env.Now()), nil
}

// due is the number of flow records to make now, or nothing. If it is 0, later is how long until there is something to do.
func (r *reader) due(now time.Time) (records int, later time.Duration) {
	if r.burst == 0 {
		if records, later = r.pace.due(now); records > 0 {
			r.burst = r.src.cfg.Burst
		}
	}
	if r.burst > 0 {
		return nothing, 0
	}
	if records > 0 {
		return records, 0
	}
	if r.clock.virtual {
		return 0, later
	}
	at := r.clock.at(now)
	if r.src.cfg.TemplateFlood > 0 {
		if r.emulator.FloodDue(at) {
			return nothing, 0
		}
		later = min(later, quantum)
	}
	if r.wire.waiting() > 0 {
		left := r.wire.expire(at)
		if len(r.wire.ready) > 0 {
			return nothing, 0
		}
		later = min(later, left)
	}
	return 0, later
}

// nothing is what is due beside what goes out in any case: the rest of a burst, a template flood, what was delayed.
const nothing = -1

// sleep waits for d; it ends early with io.EOF when the source is stopped.
func (r *reader) sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	if r.timer == nil {
		r.timer = time.NewTimer(d)
	} else {
		r.timer.Reset(d)
	}
	select {
	case <-r.timer.C:
		return nil
	case <-ctx.Done():
		r.timer.Stop()
		return ctx.Err()
	case <-r.src.stop:
		r.timer.Stop()
		return io.EOF
	}
}

// batch makes datagrams until they hold due flow records or more, or the batch is full. It is nil if all of them were delayed.
func (r *reader) batch(due int, now time.Time) *sdk.Batch {
	b := r.src.env.NewBatch(r.columns.schema, batchDatagrams)
	var addr [][16]byte
	var port []uint16
	var received []int64
	if c := r.columns.addr; c >= 0 {
		addr = sdk.Claim[[16]byte](b, c, 0, batchDatagrams)
	}
	if c := r.columns.port; c >= 0 {
		port = sdk.Claim[uint16](b, c, 0, batchDatagrams)
	}
	if c := r.columns.received; c >= 0 {
		received = sdk.Claim[int64](b, c, 0, batchDatagrams)
	}
	n, size := 0, 0
	r.made = made{}
	for n < batchDatagrams && size < batchBytes {
		at := r.clock.at(now)
		payload, d, ok := r.next(at, due)
		if !ok {
			break
		}
		if payload == nil { // on the slow way
			continue
		}
		if c := r.columns.payload; c >= 0 {
			if r.ring != nil {
				b.SetView(c, n, payload)
			} else {
				b.SetBytes(c, n, payload)
			}
		}
		if addr != nil {
			addr[n] = d.Exporter
		}
		if port != nil {
			port[n] = d.Port
		}
		if received != nil {
			received[n] = at
		}
		size += len(payload)
		n++
	}
	r.pace.sent += float64(r.made.records)
	r.src.account(&r.made, r.wire.waiting()-r.waited)
	r.waited = r.wire.waiting()
	if n == 0 {
		b.Done(sdk.Delivered)
		b.Release()
		return nil
	}
	b.SetRows(n)
	b.Root(sdk.Range{Partition: r.partition, First: r.position, Last: r.position + int64(n) - 1})
	b.Seal()
	if r.ring != nil && r.columns.payload >= 0 {
		b.Lend(size, nil) // the ring stays as it is
	}
	r.position += int64(n)
	return b
}

// made is what a batch's making counts.
type made struct {
	datagrams, records, templates int
	lostFlows, lostDatagrams      int // in the units that collectors count by
}

// next is the next datagram on the wire; without a payload if it was delayed. It is not ok when nothing more is due. What it gives is
// valid until the next call.
func (r *reader) next(at int64, due int) (payload []byte, d *emulate.Datagram, ok bool) {
	d = &r.fresh
	if w := r.wire; w != nil {
		if w.expire(at); len(w.ready) > 0 {
			payload, r.fresh = w.pop()
			return payload, d, true
		}
	}
	if r.left == 0 || r.over || r.burst == 0 && r.made.records >= due && !(r.src.cfg.TemplateFlood > 0 && r.emulator.FloodDue(at)) {
		if w := r.wire; r.left == 0 && w.waiting() > 0 {
			w.end()
			payload, r.fresh = w.pop()
			return payload, d, true
		}
		return nil, nil, false
	}
	if r.ring != nil {
		payload, d = r.ring.Payloads[r.at], &r.ring.Datagrams[r.at]
		if r.at++; r.at == len(r.ring.Payloads) {
			r.at = 0
		}
	} else {
		r.buf, r.fresh = r.emulator.Append(r.buf[:0], at, max(r.left, 0))
		payload = r.buf
	}
	if r.left != endless {
		r.left = max(r.left-d.Records, 0)
	}
	r.clock.sent += uint64(d.Records)
	r.made.add(d)
	if r.burst > 0 && d.Records > 0 {
		r.burst--
	}
	if w := r.wire; w != nil {
		if w.delayed(payload, d) {
			payload = nil
		}
		w.arrive()
	}
	return payload, d, true
}

func (m *made) add(d *emulate.Datagram) {
	m.datagrams++
	m.records += d.Records
	m.templates += d.Templates
	if d.Protocol == emulate.NetFlowV5 || d.Protocol == emulate.IPFIX {
		m.lostFlows += d.LostRecords
	} else {
		m.lostDatagrams += d.Lost
	}
}

// Close counts what waits on the wire and was not asked for any more.
func (r *reader) Close(context.Context) error {
	if r.timer != nil {
		r.timer.Stop()
	}
	if r.waited > 0 {
		r.src.abandon(r.waited)
	}
	return nil
}
