package stdout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/term"

	"github.com/weirflow/weir/sdk"
)

// stream is standard output or standard error: one for the process, so that the lines of lanes and pipelines do not mix.
type stream struct {
	mu     sync.Mutex
	w      io.Writer
	name   string
	screen func() (width, height int) // of the terminal; 0, 0 if there is none
	header string                     // what was last written above the rows: not again for another lane
	left   int                        // table: rows until the header comes again
	layout layout                     // table: what the header fixed
}

var streams = sync.OnceValue(func() map[string]*stream {
	// Without this the runtime ends the process at a broken pipe on these two, before anything is settled; with it Write fails.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return map[string]*stream{"stdout": terminal(os.Stdout, "standard output"), "stderr": terminal(os.Stderr, "standard error")}
})

func standard(output string) *stream { return streams()[output] }

func terminal(f *os.File, name string) *stream {
	return &stream{w: f, name: name, screen: func() (int, int) {
		if w, h, err := term.GetSize(int(f.Fd())); err == nil {
			return w, h
		}
		return 0, 0
	}}
}

// chunk is how much is encoded before it is written: what a pipe takes at once.
const chunk = 64 << 10

// buffer is the size in bytes of the largest buffer that is used again: one that longer lines needed is not. A table is made a screenful at
// a time, where there is no screen a batch at a time.
func (c *Config) buffer() int {
	if c.Format == "table" {
		return 8 << 20
	}
	return 8 * chunk
}

// copies is what a writer keeps: the lines, of a table also the texts that they are made of and where those end.
func (c *Config) copies() sdk.Size {
	if c.Format == "table" {
		return sdk.Size(3 * c.buffer())
	}
	return sdk.Size(c.buffer())
}

type sink struct {
	cfg *Config
	out *stream
}

func newSink(cfg *Config, out *stream) *sink { return &sink{cfg, out} }

// Open chooses the columns and the encoder.
func (s *sink) Open(_ context.Context, schema *sdk.Schema) (sdk.Writer, error) {
	at, err := schema.Indices(sdk.Wanted(s.cfg.Columns, schema))
	if err != nil {
		return nil, err
	}
	cols := make([]column, len(at))
	for i, j := range at {
		f := schema.Field(j)
		cols[i] = column{Field: f, at: j, key: append(appendJSONString([]byte{','}, []byte(f.Name)), ':')}
	}
	w := &writer{sink: s, out: s.out, cols: cols, live: make([]*column, 0, len(cols))}
	switch s.cfg.Format {
	case "csv":
		w.encode, w.header = w.csv, s.cfg.Header
	case "table":
		w.encode, w.header, w.listed = w.table, s.cfg.Header, len(s.cfg.Columns) > 0
	default:
		w.encode = w.json
	}
	return w, nil
}

func (s *sink) Close(context.Context) error { return nil }

// writer encodes blocks; its buffer is used again.
type writer struct {
	sink   *sink
	out    *stream
	cols   []column
	live   []*column // json: columns of this batch that are not zero
	cells  cells     // table
	header bool
	listed bool // the user chose the columns
	buf    []byte
	encode func(b *sdk.Batch) error
}

// Write encodes the block and returns when it is written.
func (w *writer) Write(ctx context.Context, b *sdk.Block, done func(error)) error {
	for _, batch := range b.Batches {
		if err := ctx.Err(); err != nil {
			return err
		}
		for i := range w.cols {
			w.cols[i].bind(batch)
		}
		if err := w.encode(batch); err != nil {
			return w.explain(err)
		}
	}
	done(nil)
	return nil
}

// flush writes the buffer: whole lines, of one writer at a time.
func (w *writer) flush() error {
	w.out.mu.Lock()
	defer w.out.mu.Unlock()
	return w.flushLocked()
}

func (w *writer) flushLocked() error {
	if len(w.buf) == 0 {
		return nil
	}
	_, err := w.out.w.Write(w.buf)
	w.buf = w.buf[:0]
	if cap(w.buf) > w.sink.cfg.buffer() {
		w.buf = nil
	}
	return err
}

// explain makes of an error what the core is to do: nothing brings these streams back, and a block of which a part is out cannot be
// written again without that part coming twice.
func (w *writer) explain(err error) error {
	code, what := "", ""
	switch {
	case errors.Is(err, syscall.EPIPE):
		code, what = "broken_pipe", w.out.name+" was closed by the program that read it"
	case errors.Is(err, os.ErrClosed), errors.Is(err, syscall.EBADF):
		code, what = "closed", w.out.name+" is closed, give the process one or use another sink"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		code, what = "disk_full", "the disk that "+w.out.name+" goes to is full, free some space and start again"
	case errors.Is(err, syscall.EFBIG):
		code, what = "file_too_large", "the file that "+w.out.name+" goes to may not grow any more, write to another one"
	case errors.Is(err, syscall.EIO), errors.Is(err, syscall.ENXIO):
		code, what = "gone", "the terminal or disk that "+w.out.name+" goes to is gone"
	default:
		return &sdk.Error{Class: sdk.Transient, Code: "write", Err: fmt.Errorf("writing to %s: %w", w.out.name, err)}
	}
	return &sdk.Error{Class: sdk.Fatal, Code: code, Err: fmt.Errorf("%s: %w", what, err)}
}

func (w *writer) Flush(context.Context) error { return nil }

// Held is the size of the buffers.
func (w *writer) Held() int64 { return int64(cap(w.buf) + cap(w.cells.text) + 8*cap(w.cells.ends)) }

func (w *writer) Close(context.Context) error { return nil }
