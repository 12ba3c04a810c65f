package delivery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/weirflow/weir/sdk"
)

// DeadLetters reads the stream `errors` and stores the records in it as dead letters of the node that refused them. Payloads
// are Arrow IPC of rows, as core sends for a sink's bad rows.
func DeadLetters(b Broker) sdk.Plugin {
	return sdk.Plugin{
		Spec: sdk.Spec{
			Kind: sdk.KindSink, Type: "dead_letters", Doc: "stores numbered records that were refused",
			Config: func() any { return &struct{}{} },
			Input: func(_ any, in *sdk.Schema) error {
				if in.Index("payload") < 0 || in.Index("node") < 0 {
					return errors.New("dead_letters reads `errors`: write `from: errors`")
				}
				return nil
			},
		},
		Sink: func(*sdk.Env, any) (sdk.Sink, error) { return &deadSink{broker: b, pool: sdk.NewPool(nil)}, nil },
	}
}

type deadSink struct {
	broker Broker
	pool   *sdk.Pool
}

func (s *deadSink) Open(context.Context, *sdk.Schema) (sdk.Writer, error) { return &deadWriter{s}, nil }
func (s *deadSink) Close(context.Context) error                           { return nil }

type deadWriter struct{ s *deadSink }

func (w *deadWriter) Write(ctx context.Context, b *sdk.Block, done func(error)) error {
	byNode := map[string][]Record{}
	for _, x := range b.Batches {
		s := x.Schema()
		idx, names := x.Names(s.Index("node"))
		for i, payload := range x.Bytes(s.Index("payload")) {
			node := names.Values()[idx[i]]
			rs, err := w.s.records(payload)
			if err != nil {
				done(&sdk.Error{Class: sdk.Fatal, Code: "dead_letter", Err: err})
				return nil
			}
			byNode[node] = append(byNode[node], rs...)
		}
	}
	for node, rs := range byNode {
		if _, err := w.s.broker.Write(ctx, Write{Store: node, Records: rs, Dead: true}); err != nil {
			done(&sdk.Error{Class: sdk.Transient, Code: "store", Err: err})
			return nil
		}
	}
	done(nil)
	return nil
}

// records reads the rows of a payload.
func (s *deadSink) records(payload []byte) (rs []Record, err error) {
	r, err := ipc.NewReader(bytes.NewReader(payload))
	if err != nil {
		return nil, fmt.Errorf("a dead letter is not Arrow IPC: %w", err)
	}
	defer r.Release()
	for {
		rec, err := r.Read()
		if errors.Is(err, io.EOF) {
			return rs, nil
		}
		if err != nil {
			return nil, fmt.Errorf("a dead letter is not Arrow IPC: %w", err)
		}
		b, err := sdk.FromArrow(s.pool, Schema, rec)
		if err != nil {
			return nil, fmt.Errorf("a dead letter has other columns: %w", err)
		}
		rs = append(rs, recordsOf(b)...)
		b.Done(sdk.Delivered)
		b.Release()
	}
}

func (w *deadWriter) Flush(context.Context) error { return nil }
func (w *deadWriter) Held() int64                 { return 0 }
func (w *deadWriter) Close(context.Context) error { return nil }
