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
		return nil, io.EOF
	}
	now := r.src.env.Now()
	due, later := r.pace.due(now)
	if due == 0 {
		if err := r.sleep(ctx, min(wait, later)); err != nil || later > wait {
			return nil, err
		}
		now = r.src.env.Now()
		if due, _ = r.pace.due(now); due == 0 {
			return nil, nil
		}
	}
	return r.batch(due, now), nil
}

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

// batch makes datagrams until they hold due flow records or more, or the batch is full.
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
	n, records, size := 0, 0, 0
	for n < batchDatagrams && records < due && size < batchBytes && r.left != 0 {
		at := r.clock.at(now)
		var payload []byte
		var d *emulate.Datagram
		if r.ring != nil {
			payload, d = r.ring.Payloads[r.at], &r.ring.Datagrams[r.at]
			if r.at++; r.at == len(r.ring.Payloads) {
				r.at = 0
			}
			if r.columns.payload >= 0 {
				b.SetView(r.columns.payload, n, payload)
			}
		} else {
			var fresh emulate.Datagram
			r.buf, fresh = r.emulator.Append(r.buf[:0], at, max(r.left, 0))
			payload, d = r.buf, &fresh
			if r.columns.payload >= 0 {
				b.SetBytes(r.columns.payload, n, payload)
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
		if r.left != endless {
			r.left = max(r.left-d.Records, 0)
		}
		r.clock.sent += uint64(d.Records)
		records += d.Records
		size += len(payload)
		n++
	}
	r.pace.sent += float64(records)
	b.SetRows(n)
	b.Root(sdk.Range{Partition: r.partition, First: r.position, Last: r.position + int64(n) - 1})
	b.Seal()
	if r.ring != nil && r.columns.payload >= 0 {
		b.Lend(size, nil) // the ring stays as it is
	}
	r.position += int64(n)
	r.src.received(n)
	return b
}

func (r *reader) Close(context.Context) error {
	if r.timer != nil {
		r.timer.Stop()
	}
	return nil
}
