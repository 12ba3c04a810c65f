package main

import (
	"context"
	"io"
	"math"
	"net"
	"testing"
	"time"

	"github.com/weirflow/weir/formats/emulate"
	"github.com/weirflow/weir/processors/decode"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
	"github.com/weirflow/weir/sdk/sdktest"
	"github.com/weirflow/weir/sources/udp"
)

// large is what a larger flow counts as: the few largest make half of all bytes, and whether they are seen is chance.
const large = 20_000

// sums adds up what flows stand for.
type sums struct {
	t              *testing.T
	rows           int
	records, bytes float64
}

func (s *sums) Emit(_ int, b *sdk.Batch) {
	bytes, rate := sdk.Values[uint64](b, flow.Index("bytes")), sdk.Values[uint64](b, flow.Index("sampling_rate"))
	for i := range b.Rows() {
		s.records += float64(rate[i])
		s.bytes += float64(min(bytes[i], large) * rate[i])
	}
	s.rows += b.Rows()
	b.Done(sdk.Delivered)
	b.Release()
}

func (s *sums) Error(_ *sdk.Batch, f sdk.Fault) { s.t.Errorf("%+v", f) }

// An exporter that sends several times what it may: the sums over its flows times their sampling rate are what it sent, although most
// datagrams are dropped.
func TestRateLimitKeepsSums(t *testing.T) {
	cfg := udp.Plugin.Spec.Config().(*udp.Config)
	cfg.Listen, cfg.Workers, cfg.RateLimit = []string{"127.0.0.1:0"}, 1, 100
	schemas, err := udp.Plugin.Spec.Output(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	srcEnv := sdktest.Env(t, sdktest.WithOut(schemas...))
	src, err := udp.Plugin.Source(srcEnv, cfg)
	if err != nil {
		t.Fatal(err)
	}
	proc, err := decode.Plugin.Processor(sdktest.Env(t, sdktest.WithIn(schemas[0]), sdktest.WithOut(flow.Schema)), decode.Plugin.Spec.Config())
	if err != nil {
		t.Fatal(err)
	}
	a, err := src.(interface {
		Inspect(topic string) (any, error)
	}).Inspect(sdk.TopicSockets)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("udp", a.(*udp.Sockets).Sockets[0].Listen)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r, err := src.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := &sums{t: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			b, err := r.Read(context.Background(), 20*time.Millisecond)
			if err == io.EOF {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			if b != nil {
				if err := proc.Process(b, got); err != nil {
					t.Error(err)
				}
			}
		}
	}()
	const sampling = 7
	e, err := emulate.New(emulate.Options{Mix: emulate.Mix{{Protocol: emulate.NetFlowV5, Weight: 1}}, Exporters: 1, Records: 30, Sampling: sampling})
	if err != nil {
		t.Fatal(err)
	}
	var records, bytes float64
	send := func() {
		p, _ := e.Append(nil, time.Now().UnixNano(), 0)
		if _, err := conn.Write(p); err != nil {
			t.Fatal(err)
		}
		for _, f := range e.Flows() {
			records += sampling
			bytes += float64(min(f.Bytes, large)) * sampling
		}
	}
	const sent = 1200
	for i := range sent {
		send()
		if i%6 == 5 {
			time.Sleep(10 * time.Millisecond)
		}
	}
	time.Sleep(20 * time.Millisecond) // after which one more passes, and stands for those dropped before it
	send()
	src.Stop(t.Context())
	<-done
	for more := true; more; {
		if more, err = proc.Drain(sdk.InputEnded, true, got); err != nil {
			t.Fatal(err)
		}
	}
	var dropped uint64
	srcEnv.Books.Dropped(func(_ sdk.Reason, n uint64) { dropped += n })
	if dropped < sent/4 {
		t.Errorf("only %d of %d dropped", dropped, sent)
	}
	if got.records != records {
		t.Errorf("%d rows stand for %.0f records, %.0f were sent", got.rows, got.records, records)
	}
	if off := math.Abs(got.bytes/bytes - 1); off > 0.1 {
		t.Errorf("the rows stand for %.0f bytes, %.0f were sent: %.1f %% off", got.bytes, bytes, 100*off)
	} else {
		t.Logf("%d of %d datagrams dropped; sums of bytes are %+.2f %% off", dropped, sent+1, 100*(got.bytes/bytes-1))
	}
	x, err := src.(interface {
		Inspect(topic string) (any, error)
	}).Inspect(sdk.TopicExporters)
	if err != nil || x.(*udp.Exporters).Exporters[0].Thinning < 1.2 {
		t.Errorf("%+v, %v", x, err)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := src.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := proc.Close(); err != nil {
		t.Error(err)
	}
}
