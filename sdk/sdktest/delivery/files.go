package delivery

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/weirflow/weir/sdk"
)

// FilesConfig of [Files].
type FilesConfig struct {
	Store string        `yaml:"store" doc:"name of the store; empty: the node's id"`
	Rows  int           `yaml:"rows" doc:"rows after which a file is closed"`
	Age   time.Duration `yaml:"age" doc:"age at which a file is closed"`
}

// Files settles blocks late, as a sink that writes files does: when the file is closed, which is when it has Rows rows, when it
// is Age old, at Flush and at Close. A file that was not closed is lost with its process. At least once.
func Files(b Broker) sdk.Plugin {
	return sdk.Plugin{
		Spec: sdk.Spec{
			Kind: sdk.KindSink, Type: "late_files", Doc: "stores numbered records when a file is closed",
			Config: func() any { return &FilesConfig{Rows: 5000, Age: 2 * time.Second} },
			Needs:  func(any, *sdk.Schema, [][]string) []string { return []string{"partition", "number"} },
			Input:  numbered,
			// A file is closed when it has Rows rows; the last block may bring more, and a slice that grows has as much again to spare.
			Copies: func(cfg any) sdk.Size { return sdk.Size(2 * recordBytes * (cfg.(*FilesConfig).Rows + sdk.MaxRows)) },
		},
		Sink: func(env *sdk.Env, cfg any) (sdk.Sink, error) {
			c := *cfg.(*FilesConfig)
			c.Store = cmp.Or(c.Store, env.Node)
			return &filesSink{broker: b, cfg: c}, nil
		},
	}
}

type filesSink struct {
	broker Broker
	cfg    FilesConfig
}

func (s *filesSink) Open(context.Context, *sdk.Schema) (sdk.Writer, error) {
	return &filesWriter{s: s}, nil
}

func (s *filesSink) Close(context.Context) error { return nil }

type filesWriter struct {
	s *filesSink

	mu    sync.Mutex
	rows  []Record
	dones []func(error)
	timer *time.Timer
	work  sync.WaitGroup // a close by age
}

func (w *filesWriter) Write(_ context.Context, b *sdk.Block, done func(error)) error {
	rs, _ := recordsOfBlock(b)
	w.mu.Lock()
	w.rows = append(w.rows, rs...)
	w.dones = append(w.dones, done)
	full := len(w.rows) >= w.s.cfg.Rows
	if w.timer == nil && !full {
		w.work.Add(1)
		w.timer = time.AfterFunc(w.s.cfg.Age, func() {
			defer w.work.Done()
			w.end()
		})
	}
	w.mu.Unlock()
	if full {
		w.end()
	}
	return nil
}

// end closes the file: what is in it is durable, or has failed.
func (w *filesWriter) end() {
	w.mu.Lock()
	rows, dones := w.rows, w.dones
	w.rows, w.dones = nil, nil
	if w.timer != nil && w.timer.Stop() {
		w.work.Done()
	}
	w.timer = nil
	w.mu.Unlock()
	if len(dones) == 0 {
		return
	}
	_, err := w.s.broker.Write(context.Background(), Write{Store: w.s.cfg.Store, Records: rows, Certain: true})
	if err != nil {
		err = &sdk.Error{Class: sdk.Transient, Code: "file", Err: fmt.Errorf("close the file: %w", err)}
	}
	for _, done := range dones {
		done(err)
	}
}

func (w *filesWriter) Flush(context.Context) error { w.end(); w.work.Wait(); return nil }

func (w *filesWriter) Held() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return int64(cap(w.rows)) * recordBytes
}

// recordBytes is the memory of one record.
const recordBytes = 16

func (w *filesWriter) Close(ctx context.Context) error { return w.Flush(ctx) }
