package lab

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/weirflow/weir/formats/emulate"
	"github.com/weirflow/weir/processors/decode"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
)

const weirDatagrams = 512 // of a batch

// NewWeir is the processor `decode`, given batches of datagrams as a source makes them, without a pipeline around it: templates,
// times, sampling, limits, books and pooled batches are all in its cost.
func NewWeir(ring *emulate.Ring, what string, columns []string) (*Contender, error) {
	now := time.Unix(0, ring.Datagrams[0].Sent)
	dir, err := os.MkdirTemp("", "weir-bench-") // what exporters have told is kept there
	if err != nil {
		return nil, err
	}
	out := flow.Schema.Select(func(f sdk.Field) bool { return slices.Contains(columns, f.Name) })
	env := &sdk.Env{Pipeline: "bench", Node: "decode", Dir: dir, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }, Pool: sdk.NewPool(nil),
		Books: new(sdk.Books), In: sdk.Datagram, Out: []*sdk.Schema{out}, Unread: func(port int) bool { return port > 0 }, Share: share}
	p, err := decode.Plugin.Processor(env, decode.Plugin.Spec.Config())
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	w := &weir{env: env, processor: p}
	for at := 0; at < len(ring.Payloads); at += weirDatagrams {
		b := sdk.NewPool(nil).Get(sdk.Datagram, weirDatagrams)
		for i := at; i < at+weirDatagrams; i++ {
			addRow(b, ring.Payloads[i], &ring.Datagrams[i])
		}
		b.Seal()
		w.batches = append(w.batches, b)
	}
	return &Contender{Name: "weir decode", What: what, Datagrams: weirDatagrams, Next: w.next, weir: w,
		Close: func() error { return errors.Join(p.Close(), os.RemoveAll(dir)) }}, nil
}

func addRow(b *sdk.Batch, payload []byte, d *emulate.Datagram) {
	n := b.Rows()
	b.SetRows(n + 1)
	b.SetBytes(sdk.DatagramPayload, n, payload)
	sdk.Claim[[16]byte](b, sdk.DatagramExporterAddr, n, 1)[0] = d.Exporter
	sdk.Claim[uint16](b, sdk.DatagramExporterPort, n, 1)[0] = d.Port
	sdk.Claim[int64](b, sdk.DatagramReceived, n, 1)[0] = d.Sent
}

type weir struct {
	env       *sdk.Env
	processor sdk.Processor
	batches   []*sdk.Batch
	at        int
	made      int64 // rows given out
	said      int64 // rows reported
}

func (w *weir) next() (int, error) {
	b := w.batches[w.at].Share(nil, false) // the processor owns what it is given
	if w.at++; w.at == len(w.batches) {
		w.at = 0
	}
	if err := w.processor.Process(b, w); err != nil {
		return 0, err
	}
	total := w.made + w.env.Books.Open.Load()
	n := total - w.said
	w.said = total
	return int(n), nil
}

// Emit takes a batch and gives it back.
func (w *weir) Emit(_ int, b *sdk.Batch) {
	w.made += int64(b.Rows())
	b.Done(sdk.Delivered)
	b.Release()
}

// Error takes what was refused: the count of records will show it.
func (w *weir) Error(*sdk.Batch, sdk.Fault) {}

func share(_ string, open func(context.Context) (io.Closer, error)) (sdk.Shared, error) {
	c, err := open(context.Background())
	if err != nil {
		return nil, err
	}
	return alone{c}, nil
}

// alone is a shared object with one holder.
type alone struct{ io.Closer }

func (a alone) Object() io.Closer { return a.Closer }
