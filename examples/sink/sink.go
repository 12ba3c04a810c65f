package sink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/weirflow/weir/sdk"
)

type sink struct {
	url    string
	client *http.Client
}

func newSink(cfg *Config) *sink {
	return &sink{url: cfg.URL, client: &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}}
}

// Open is called for each schema that comes. Core retries, backs off, collects blocks and keeps what is refused; a sink writes.
func (s *sink) Open(_ context.Context, in *sdk.Schema) (sdk.Writer, error) {
	return &writer{sink: s, bytes: in.Index("bytes")}, nil
}

func (s *sink) Close(context.Context) error {
	s.client.CloseIdleConnections()
	return nil
}

type writer struct {
	sink  *sink
	bytes int // the column
}

// Write posts a block and settles it before it returns, as simple sinks do.
func (w *writer) Write(ctx context.Context, b *sdk.Block, done func(error)) error {
	sum := uint64(0)
	for _, batch := range b.Batches {
		for _, n := range sdk.Values[uint64](batch, w.bytes) {
			sum += n
		}
	}
	err := w.sink.post(ctx, fmt.Sprintf("weir flows=%du,bytes=%du\n", b.Rows, sum), b.Key)
	if ctx.Err() != nil {
		return ctx.Err() // not taken: it may be written again
	}
	done(err)
	return nil
}

// post says what kind of error it met: what may pass is transient, and the block comes again; what cannot is permanent, and the
// block's records go to the stream `errors`.
func (s *sink) post(ctx context.Context, line, key string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, strings.NewReader(line))
	if err != nil {
		return &sdk.Error{Class: sdk.Permanent, Code: "bad_url", Err: err}
	}
	req.Header.Set("Idempotency-Key", key) // the same at every retry of the block
	resp, err := s.client.Do(req)
	if err != nil {
		return &sdk.Error{Class: sdk.Transient, Code: "unreachable", Err: err}
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 4096) // so that the connection can be used again
	switch {
	case resp.StatusCode < 300:
		return nil
	case resp.StatusCode >= 400 && resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests:
		return &sdk.Error{Class: sdk.Permanent, Code: "refused", Err: errors.New("the server says " + resp.Status)}
	}
	return &sdk.Error{Class: sdk.Transient, Code: "server_error", Err: errors.New("the server says " + resp.Status)}
}

func (w *writer) Flush(context.Context) error { return nil } // every block is settled when Write returns
func (w *writer) Held() int64                 { return 0 }   // no copies
func (w *writer) Close(context.Context) error { return nil }
