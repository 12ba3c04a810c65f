package parquet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/durable"
)

// A row group is ended at whichever comes first: DuckDB's own size, or so much memory that several sinks fit beside each other.
const (
	groupRows  = 122_880
	groupBytes = 64 << 20
	firstRatio = 0.3 // flows with zstd; the open row group's size is known only when it is encoded
)

// mostCopies is about what a writer holds at most: a row group is complete when it has groupBytes, and one batch more may be in it then;
// slices that grow have a quarter to spare; what the disk does not take is at most a group encoded.
const mostCopies = 160 << 20

// sink opens writers that write to one directory.
type sink struct {
	env    *sdk.Env
	cfg    *Config
	prefix string
	number atomic.Uint64
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

func newSink(env *sdk.Env, cfg *Config) (*sink, error) {
	s := &sink{env: env, cfg: cfg, prefix: cfg.Prefix}
	if s.prefix == "" {
		s.prefix = notInNames.ReplaceAllString(env.Pipeline+"-"+env.Node, "_")
	}
	if err := s.Check(context.Background()); err != nil {
		return nil, err
	}
	removed, err := removeLeftovers(cfg.Dir, s.prefix)
	if err != nil {
		return nil, &sdk.NotReady{What: "unfinished files in " + cfg.Dir + " cannot be removed", Do: "remove the .tmp-" + s.prefix + " files there", Err: err}
	}
	if len(removed) > 0 {
		env.Log.Warn("removed the unfinished files of a process that crashed", "dir", cfg.Dir, "files", removed)
	}
	return s, nil
}

// Check says whether files can be made in the directory.
func (s *sink) Check(context.Context) error {
	dir := s.cfg.Dir
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return &sdk.NotReady{What: "the directory " + dir + " does not exist", Do: "make it, or name another one"}
	case err != nil:
		return &sdk.NotReady{What: "the directory " + dir + " cannot be used", Do: "name another one", Err: err}
	case !info.IsDir():
		return &sdk.NotReady{What: dir + " is not a directory", Do: "name a directory"}
	}
	probe, err := durable.Create(filepath.Join(dir, s.prefix+"-probe"), 0o600)
	if err != nil {
		return &sdk.NotReady{What: "no file can be made in " + dir, Do: "let the user that Weir runs as write there, or name another directory", Err: errors.Unwrap(err)}
	}
	return probe.Discard()
}

// Open makes the writer of one schema. Its first file is begun with its first record.
func (s *sink) Open(_ context.Context, schema *sdk.Schema) (sdk.Writer, error) {
	shape, err := newShape(schema, s.cfg)
	if err != nil {
		return nil, err
	}
	return &writer{sink: s, shape: shape, ratio: firstRatio}, nil
}

func (s *sink) Close(context.Context) error { return nil }

// writer writes one file after another. Its methods and its timer take turns by mu.
type writer struct {
	sink  *sink
	shape *shape
	held  atomic.Int64

	mu         sync.Mutex
	file       *file // nil between files
	pq         *pqarrow.FileWriter
	group      *group  // the open row group
	total      int     // in the file
	raw        int64   // bytes in the file's complete row groups, before encoding
	ratio      float64 // of a file's size to its bytes before encoding, learnt from the last file
	began      time.Time
	pending    []func(error) // blocks in the open file
	ended      bool          // the file has its footer and only waits to be moved to its place
	timer      *time.Timer
	complained bool // somebody has said that the file could not be completed
	told       bool // and that was the writer

	// asked is the context of the Flush or Close under way, or of the last one that the end of the run cut short: when it is over nobody
	// hears of a file any more, so none gets its name, whoever is at it. What the ledger says was not delivered must not be found.
	asked atomic.Pointer[context.Context]
}

// Write encodes the block into the open file. done is called when that file is complete.
func (w *writer) Write(_ context.Context, b *sdk.Block, done func(error)) error {
	w.asked.Store(nil)
	w.mu.Lock()
	settle, err := w.write(b, done)
	w.mu.Unlock()
	settle()
	return err
}

func (w *writer) write(b *sdk.Block, done func(error)) (settle func(), err error) {
	settle = func() {}
	if w.ended {
		if settle, err = w.finish(); err != nil {
			w.complained = true // whoever gave the block says it
			w.retryLater(err)
			return settle, err
		}
	}
	rows := 0
	for _, batch := range b.Batches {
		rows += batch.Rows()
	}
	if rows == 0 {
		return func() { settle(); done(nil) }, nil
	}
	if w.file == nil {
		if err := w.begin(); err != nil {
			return settle, err
		}
	}
	// Nothing is taken while the disk does not take what is there already: that bounds what is kept in memory.
	if err := w.file.drain(); err != nil {
		return settle, err
	}
	w.pending = append(w.pending, done)
	for _, batch := range b.Batches {
		if batch.Rows() == 0 {
			continue
		}
		if err := w.encode(batch); err != nil {
			// The encoder is in an unknown state: the file is given up, this block and those before it with it.
			return w.abandon(&sdk.Error{Class: sdk.Fatal, Code: "encode", Err: fmt.Errorf("writing Parquet to %s: %w", w.file.path, err)}), nil
		}
	}
	b.Copied()
	w.account()
	if r := w.sink.cfg.Roll; w.file.size+int64(float64(w.group.size())*w.ratio) >= int64(r.Size) || r.Rows > 0 && w.total >= r.Rows ||
		w.sink.env.Now().Sub(w.began) >= r.Age {
		first := settle
		second, err := w.finish()
		if err != nil {
			w.retryLater(err) // the block is taken: its answer comes by done
		}
		return func() { first(); second() }, nil
	}
	return settle, nil
}

// encode adds a batch to the open row group.
func (w *writer) encode(b *sdk.Batch) error {
	if w.group.rows > 0 && (w.group.rows+b.Rows() > groupRows || w.group.size() >= groupBytes) {
		if err := w.endGroup(); err != nil {
			return err
		}
	}
	w.group.add(b)
	w.total += b.Rows()
	return nil
}

// endGroup encodes the open row group.
func (w *writer) endGroup() error {
	if w.group.rows == 0 {
		return nil
	}
	w.raw += w.group.size()
	r := w.group.record()
	defer w.group.reset()
	defer r.Release()
	return w.pq.Write(r)
}

// begin makes the next file.
func (w *writer) begin() (err error) {
	s := w.sink
	now := s.env.Now()
	if w.file, err = create(s.cfg.Dir, s.prefix, now, s.env.Lane, &s.number); err != nil {
		w.file = nil
		return err
	}
	if w.pq, err = w.shape.newWriter(w.file); err != nil {
		err = errors.Join(err, w.file.out.Discard())
		w.file = nil
		return &sdk.Error{Class: sdk.Fatal, Code: "encode", Err: err}
	}
	w.began, w.group, w.total, w.raw, w.ended = now, newGroup(w.shape), 0, 0, false
	w.after(s.cfg.Roll.Age)
	return nil
}

// after completes the file that is now open when d has passed.
func (w *writer) after(d time.Duration) {
	f := w.file
	w.timer = time.AfterFunc(d, func() { w.tick(f) })
}

// tick closes a file that has reached its age, or one that could not be closed before.
func (w *writer) tick(f *file) {
	w.mu.Lock()
	settle := func() {}
	if w.file == f { // else it was closed while the timer waited for the lock
		var err error
		if settle, err = w.finish(); err != nil {
			w.retryLater(err)
		}
	}
	w.mu.Unlock()
	settle()
}

const (
	retryAfter = time.Second
	// noteNotCompleted counts the times that a file could not be completed; it is tried again.
	noteNotCompleted sdk.Reason = "files_not_completed"
)

func (w *writer) retryLater(err error) {
	if !w.complained {
		w.complained, w.told = true, true
		w.sink.env.Log.Warn("a file could not be completed, trying again", "file", w.file.path, "error", err)
	}
	w.timer.Stop()
	w.after(retryAfter)
}

// finish completes the open file. After an error it may be called again: nothing is lost. The caller calls settle without the
// lock.
func (w *writer) finish() (settle func(), err error) {
	if w.file == nil {
		return func() {}, nil
	}
	w.timer.Stop()
	if !w.ended {
		w.ended = true
		if err := errors.Join(w.endGroup(), w.pq.Close()); err != nil {
			return w.abandon(&sdk.Error{Class: sdk.Fatal, Code: "encode", Err: fmt.Errorf("writing Parquet to %s: %w", w.file.path, err)}), nil
		}
		w.ratio = float64(w.file.size) / float64(w.raw)
		w.group = nil
		w.account()
	}
	if err := w.file.publish(w.over); err != nil {
		if lost(err) {
			return w.abandon(err), nil
		}
		w.account()
		if w.over() == nil {
			w.sink.env.Books.Note(noteNotCompleted, 1)
		}
		return func() {}, err
	}
	if w.told {
		w.sink.env.Log.Info("the file is complete after all", "file", w.file.path)
	}
	return w.leave(nil), nil
}

// over says why a file must not get its name any more: whoever asked for it has gone. The context of a Flush that only took too long is
// forgotten when it returns.
func (w *writer) over() error {
	if ctx := w.asked.Load(); ctx != nil && (*ctx).Err() != nil {
		return fmt.Errorf("the run ended before %s was complete: %w", w.file.path, (*ctx).Err())
	}
	return nil
}

// abandon gives up the open file and settles its blocks with err.
func (w *writer) abandon(err error) (settle func()) {
	if err := w.file.out.Discard(); err != nil {
		w.sink.env.Log.Warn("an unfinished file cannot be removed", "error", err)
	}
	return w.leave(err)
}

func (w *writer) leave(err error) (settle func()) {
	w.timer.Stop()
	pending := w.pending
	w.file, w.pq, w.group, w.pending, w.ended, w.complained, w.told = nil, nil, nil, nil, false, false, false
	w.account()
	return func() {
		for _, done := range pending {
			done(err)
		}
	}
}

func (w *writer) account() {
	held := int64(0)
	if w.group != nil {
		held = w.group.held()
	}
	if w.file != nil {
		held += int64(cap(w.file.backlog))
	}
	w.held.Store(held)
}

// Flush completes the open file, unless ctx is over before it has its name.
func (w *writer) Flush(ctx context.Context) error {
	w.asked.Store(&ctx)
	defer func() {
		if !errors.Is(ctx.Err(), context.Canceled) {
			w.asked.CompareAndSwap(&ctx, nil) // unless Close asks meanwhile
		}
	}()
	w.mu.Lock()
	settle, err := w.finish()
	if err != nil {
		w.complained = true // whoever asked says it
		w.retryLater(err)
	}
	w.mu.Unlock()
	settle()
	return err
}

// Held is the memory of the open row group and of what the disk has not taken yet.
func (w *writer) Held() int64 { return w.held.Load() }

// Close completes the open file; if that is not possible before ctx is over, it is removed and its records are settled with the reason.
func (w *writer) Close(ctx context.Context) error {
	w.asked.Store(&ctx)
	w.mu.Lock()
	settle, err := w.finish()
	if err != nil {
		settle = w.abandon(err)
	}
	w.mu.Unlock()
	settle()
	return err
}
