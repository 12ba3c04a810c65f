package parquet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	pqfile "github.com/apache/arrow-go/v18/parquet/file"
	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/durable"
)

// A file ends at its number of rows, its size or its age, whichever comes first, and every record is in one.
func TestRoll(t *testing.T) {
	for _, c := range []struct {
		name  string
		set   func(*Config)
		files int
	}{
		{"rows", func(c *Config) { c.Roll.Rows = 250 }, 4},
		{"size", func(c *Config) { c.Roll.Size, c.Compression = 1<<14, "none" }, 0},
		{"nothing", func(c *Config) {}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			e, _ := env(t)
			cfg := config(dir)
			s, err := newSink(e, cfg)
			if err != nil {
				t.Fatal(err)
			}
			c.set(cfg)
			sw, err := s.Open(context.Background(), every)
			if err != nil {
				t.Fatal(err)
			}
			w := sw.(*writer)
			var got answers
			d := sdk.NewDict()
			for k := range 10 {
				write(t, w, got.done(k), batch(e.Pool, 100*k, 100, d))
			}
			if err := w.Close(context.Background()); err != nil {
				t.Fatal(err)
			}
			total := 0
			for _, n := range files(t, dir) {
				rows, _, _ := read(t, filepath.Join(dir, n))
				for _, r := range rows {
					if d := cmp.Diff(row(total), r); d != "" {
						t.Fatal(n, d)
					}
					total++
				}
			}
			if n := len(files(t, dir)); c.files > 0 && n != c.files || c.files == 0 && n < 2 || total != 1000 || len(got.list()) != 10 {
				t.Errorf("%d files with %d records, %d blocks settled", n, total, len(got.list()))
			}
		})
	}
}

// A file is closed at its age although nothing more is written.
func TestAge(t *testing.T) {
	dir := t.TempDir()
	e, _ := env(t)
	cfg := config(dir)
	cfg.Roll.Age = 30 * time.Millisecond
	w := open(t, e, cfg)
	settled := make(chan error, 1)
	write(t, w, func(err error) { settled <- err }, batch(e.Pool, 1, 5, sdk.NewDict()))
	select {
	case err := <-settled:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the file was not closed")
	}
	if rows, _, _ := read(t, filepath.Join(dir, files(t, dir)[0])); len(rows) != 5 {
		t.Errorf("%d rows", len(rows))
	}
	if err := w.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// The unfinished files of a crash go, but not those that somebody writes, nor anybody else's.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	e, log := env(t)
	running := open(t, e, config(dir))
	write(t, running, func(error) {}, batch(e.Pool, 1, 5, sdk.NewDict()))
	open := files(t, dir)
	stale := ".tmp-test_pipe-archive-20260101T000000Z-0-000001.parquet"
	others := []string{".tmp-test_pipe-archive-more-20260101T000000Z-0-000001.parquet", "test_pipe-archive-20260101T000000Z-0-000001.parquet", ".tmp-x"}
	for _, n := range append(others, stale) {
		if err := os.WriteFile(filepath.Join(dir, n), []byte("PAR1"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := newSink(e, config(dir)); err != nil {
		t.Fatal(err)
	}
	want := append(open, others...)
	slices.Sort(want)
	if d := cmp.Diff(want, files(t, dir)); d != "" {
		t.Error("(-want +left):", d)
	}
	if !strings.Contains(log.String(), stale) || strings.Contains(log.String(), "more") {
		t.Error("the log says", log)
	}
	if err := running.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// Two writers of one second and prefix never write one file.
func TestNamesAreApart(t *testing.T) {
	dir := t.TempDir()
	e, _ := env(t)
	now := time.Now()
	e.Now = func() time.Time { return now }
	for range 5 {
		for range 2 { // two processes have two counters
			w := open(t, e, config(dir))
			write(t, w, func(error) {}, batch(e.Pool, 1, 5, sdk.NewDict()))
			defer w.Close(context.Background())
			write(t, w, func(error) {}, batch(e.Pool, 1, 5, sdk.NewDict()))
			if err := w.Flush(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := files(t, dir); len(n) != 10 {
		t.Error(n)
	}
}

func TestNotReady(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "file")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	e, _ := env(t)
	for path, says := range map[string]string{filepath.Join(dir, "missing"): "does not exist: make it", plain: "is not a directory", filepath.Join(plain, "below"): "cannot be used"} {
		_, err := Plugin.Sink(e, config(path))
		if _, ok := err.(*sdk.NotReady); !ok || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestUnwritable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	e, _ := env(t)
	if _, err := Plugin.Sink(e, config(dir)); err == nil || !strings.Contains(err.Error(), "no file can be made") {
		t.Error(err)
	}
}

// disk is an output whose steps can be made to fail.
type disk struct {
	output
	write, sync, commit error
}

func (d *disk) Write(p []byte) (int, error) {
	if d.write != nil {
		return 0, d.write
	}
	return d.output.Write(p)
}

func (d *disk) Sync() error {
	if d.sync != nil {
		return d.sync
	}
	return d.output.Sync()
}

func (d *disk) Commit() error {
	if d.commit != nil {
		return d.commit
	}
	return d.output.Commit()
}

// on puts the open file of w on a disk that may fail.
func on(w *writer) *disk {
	d := &disk{output: w.file.out}
	w.file.out = d
	return d
}

func full(what string) error {
	return &durable.Error{What: what, Err: syscall.ENOSPC, Do: "free some space"}
}

// A disk that is full for a while: nothing taken is lost, nothing more is taken, and all is delivered when there is room.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	e, log := env(t)
	w := open(t, e, config(dir))
	var got answers
	write(t, w, got.done(1), batch(e.Pool, 0, 50, sdk.NewDict()))
	d := on(w)
	d.write = full("writing to " + w.file.path)
	if err := w.Flush(context.Background()); sdk.CodeOf(err) != "disk_full" || sdk.ClassOf(err) != sdk.Transient {
		t.Fatal(err)
	}
	next := batch(e.Pool, 50, 50, sdk.NewDict())
	if err := w.Write(context.Background(), &sdk.Block{Batches: []*sdk.Batch{next}}, got.done(2)); sdk.CodeOf(err) != "disk_full" {
		t.Fatal(err)
	}
	if w.Held() == 0 || len(got.list()) > 0 {
		t.Errorf("%d bytes held, settled %v", w.Held(), got.list())
	}
	// What is returned is said by whoever asked; of a file whose age is over nobody would, and once is enough.
	if log.Len() > 0 {
		t.Error("the log says", log)
	}
	w.complained = false
	w.tick(w.file)
	w.tick(w.file)
	if n := strings.Count(log.String(), "space left on device: free some space"); n != 1 || strings.Count(log.String(), filepath.Base(w.file.path)) != 2 {
		t.Errorf("said %d times: %s", n, log)
	}
	w.mu.Lock()
	d.write = nil
	w.mu.Unlock()
	write(t, w, got.done(2), next)
	if n := strings.Count(log.String(), "complete after all"); n != 1 {
		t.Errorf("that it is over is said %d times: %s", n, log)
	}
	if err := w.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"1 <nil>", "2 <nil>"}, got.list()); d != "" {
		t.Error("(-want +got):", d)
	}
	if total := records(t, dir); total != 100 {
		t.Errorf("%d records are in %v", total, files(t, dir))
	}
	noted := map[sdk.Reason]uint64{}
	e.Books.Notes(func(r sdk.Reason, n uint64) { noted[r] = n })
	if d := cmp.Diff(map[sdk.Reason]uint64{noteNotCompleted: 4}, noted); d != "" {
		t.Error("noted (-want +got):", d)
	}
}

// records is how many there are in the complete files of a directory.
func records(t *testing.T, dir string) (n int) {
	t.Helper()
	for _, name := range files(t, dir) {
		if !strings.HasPrefix(name, durable.Prefix) {
			rows, _, _ := read(t, filepath.Join(dir, name))
			n += len(rows)
		}
	}
	return n
}

// When the disk is full within a file no more is taken than the row group that could not be written, and all of it is delivered when there
// is room.
func TestDiskFullWithinAFile(t *testing.T) {
	dir := t.TempDir()
	e, _ := env(t)
	cfg := config(dir)
	cfg.Columns = []string{"u32"}
	w := open(t, e, cfg)
	b := batch(e.Pool, 1, sdk.MaxRows, sdk.NewDict())
	settled := 0
	put := func() error {
		return w.Write(context.Background(), &sdk.Block{Batches: []*sdk.Batch{b}}, func(err error) {
			if err != nil {
				t.Error(err)
			}
			settled++
		})
	}
	taken, held := 0, int64(0)
	var disk *disk
	for k := range 3 * groupRows / sdk.MaxRows {
		err := put()
		if err == nil {
			taken++
		} else if sdk.CodeOf(err) != "disk_full" || sdk.ClassOf(err) != sdk.Transient || !strings.Contains(err.Error(), ".tmp-test_pipe") {
			t.Fatal(err)
		}
		if held > 0 && (err == nil || w.Held() != held) {
			t.Fatalf("%v; %d bytes are held, and %d when the disk was found full", err, w.Held(), held)
		}
		if err != nil {
			held = w.Held()
		}
		if k == 0 {
			disk = on(w)
			disk.write = full("writing to .tmp-test_pipe")
		}
	}
	if taken <= groupRows/sdk.MaxRows || taken > groupRows/sdk.MaxRows+2 || settled > 0 {
		t.Errorf("%d blocks are taken and %d settled", taken, settled)
	}
	disk.write = nil
	if err := put(); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	r := must(pqfile.OpenParquetFile(filepath.Join(dir, files(t, dir)[0]), false))
	defer r.Close()
	if n := r.NumRows(); n != int64(taken+1)*sdk.MaxRows || settled != taken+1 {
		t.Errorf("%d rows of %d blocks of %d, %d settled", n, taken+1, sdk.MaxRows, settled)
	}
}

// A file that is full when the disk is completes by itself when there is room, though nothing more is written.
func TestCompletesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, log := env(t)
		cfg := config(t.TempDir())
		cfg.Roll.Rows = 100
		cfg.Compression = "none" // encoders are shared by the process, and one made here belongs to this test's clock
		w := open(t, e, cfg)
		var got answers
		write(t, w, got.done(1), batch(e.Pool, 0, 60, sdk.NewDict()))
		disk := on(w)
		disk.write = full("writing to it")
		write(t, w, got.done(2), batch(e.Pool, 60, 60, sdk.NewDict()))
		time.Sleep(10 * retryAfter)
		synctest.Wait()
		if n := strings.Count(log.String(), "no space left on device"); n != 1 || len(got.list()) != 0 {
			t.Errorf("said %d times, settled %v: %s", n, got.list(), log)
		}
		w.mu.Lock()
		disk.write = nil
		w.mu.Unlock()
		time.Sleep(retryAfter)
		synctest.Wait()
		if d := cmp.Diff([]string{"1 <nil>", "2 <nil>"}, got.list()); d != "" {
			t.Error("(-want +got):", d)
		}
		if err := w.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
}

// What the disk may have lost is not delivered: after a failed fsync the file gets no name, and its blocks hear of it.
func TestFailedSyncIsNotDelivered(t *testing.T) {
	dir := t.TempDir()
	e, _ := env(t)
	w := open(t, e, config(dir))
	var got answers
	write(t, w, got.done(1), batch(e.Pool, 0, 50, sdk.NewDict()))
	on(w).sync = &durable.Error{What: "the disk lost what was written", Err: syscall.EIO, Lost: true}
	if err := w.Flush(context.Background()); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff([]string{"1 sync: the disk lost what was written: input/output error"}, got.list()); d != "" || len(files(t, dir)) > 0 {
		t.Errorf("files %v (-want +settled): %s", files(t, dir), d)
	}
	if err := w.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// A directory that is removed while a file is open is told of until it is there again; then the file is, with all its records.
func TestDirectoryVanishes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "archive")
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	e, _ := env(t)
	w := open(t, e, config(dir))
	var got answers
	write(t, w, got.done(1), batch(e.Pool, 0, 50, sdk.NewDict()))
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	write(t, w, got.done(2), batch(e.Pool, 50, 50, sdk.NewDict()))
	for range 2 {
		if err := w.Flush(context.Background()); sdk.CodeOf(err) != "no_directory" || !strings.HasSuffix(err.Error(), "make the directory again") || !strings.Contains(err.Error(), dir) {
			t.Error(err)
		}
	}
	// There is no file to begin either.
	other := &writer{sink: w.sink, shape: w.shape, ratio: firstRatio}
	if err := other.Write(context.Background(), &sdk.Block{Batches: []*sdk.Batch{batch(e.Pool, 0, 5, sdk.NewDict())}}, got.done(3)); sdk.CodeOf(err) != "no_directory" {
		t.Error(err)
	}
	if err := os.Mkdir(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff([]string{"1 <nil>", "2 <nil>"}, got.list()); d != "" || records(t, dir) != 100 || len(files(t, dir)) != 1 {
		t.Errorf("%d records in %v (-want +settled): %s", records(t, dir), files(t, dir), d)
	}
}

// What cannot be completed at the end is settled with the reason, and no half file stays.
func TestGivesUpAtClose(t *testing.T) {
	dir := t.TempDir()
	e, _ := env(t)
	w := open(t, e, config(dir))
	var got answers
	write(t, w, got.done(1), batch(e.Pool, 0, 50, sdk.NewDict()))
	on(w).commit = full("giving it its name")
	err := w.Close(context.Background())
	if sdk.CodeOf(err) != "disk_full" {
		t.Error(err)
	}
	if d := cmp.Diff([]string{"1 disk_full: giving it its name: no space left on device: free some space"}, got.list()); d != "" || len(files(t, dir)) != 0 {
		t.Errorf("files %v (-want +settled): %s", files(t, dir), d)
	}
}

// slow is an output whose Sync takes until it is let go.
type slow struct {
	output
	began, goOn chan struct{}
}

func (s *slow) Sync() error {
	close(s.began)
	<-s.goOn
	return s.output.Sync()
}

// When the end of the run is not waited for any longer, no file appears that was counted as not delivered: neither by the Flush or Close
// that was cut short, nor by a timer that was at it meanwhile.
func TestNoFileAppearsWhenNobodyWaits(t *testing.T) {
	for name, publish := range map[string]func(w *writer, ctx context.Context) error{
		"Flush": func(w *writer, ctx context.Context) error { return w.Flush(ctx) },
		"Close": func(w *writer, ctx context.Context) error { return w.Close(ctx) },
		"the file's age": func(w *writer, ctx context.Context) error {
			w.asked.Store(&ctx) // as Close does that waits for the lock
			w.tick(w.file)
			return ctx.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			e, _ := env(t)
			w := open(t, e, config(dir))
			var got answers
			write(t, w, got.done(1), batch(e.Pool, 0, 50, sdk.NewDict()))
			s := &slow{w.file.out, make(chan struct{}), make(chan struct{})}
			w.file.out = s
			ctx, cancel := context.WithCancel(context.Background())
			answer := make(chan error)
			go func() { answer <- publish(w, ctx) }()
			<-s.began
			cancel()
			close(s.goOn)
			if err := <-answer; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if n := records(t, dir); n != 0 {
				t.Errorf("%d records appeared", n)
			}
			s.began = make(chan struct{})
			if err := w.Close(ctx); name != "Close" && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if g := got.list(); len(g) != 1 || !strings.Contains(g[0], "the run ended before") || len(files(t, dir)) > 0 {
				t.Errorf("settled %v, files %v", g, files(t, dir))
			}
		})
	}
}

// A Flush that took too long in a run that goes on is no reason not to complete the file later.
func TestAFlushThatTookTooLong(t *testing.T) {
	dir := t.TempDir()
	e, _ := env(t)
	w := open(t, e, config(dir))
	var got answers
	write(t, w, got.done(1), batch(e.Pool, 0, 50, sdk.NewDict()))
	ctx, cancel := context.WithTimeout(context.Background(), 0)
	defer cancel()
	if err := w.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) || len(got.list()) > 0 {
		t.Error(err, got.list())
	}
	w.tick(w.file)
	if n := records(t, dir); n != 50 || len(got.list()) != 1 {
		t.Errorf("%d records, settled %v", n, got.list())
	}
}

// A block's memory is given back when it is taken, long before its records are delivered; that of a block that is refused is not.
func TestBlocksAreCopied(t *testing.T) {
	e, _ := env(t)
	w := open(t, e, config(t.TempDir()))
	said := ""
	put := func() error {
		b := batch(e.Pool, 0, 50, sdk.NewDict())
		return w.Write(context.Background(), &sdk.Block{Batches: []*sdk.Batch{b}, OnCopied: func() { said += "copied " }}, func(err error) {
			said += fmt.Sprint("settled ", err)
		})
	}
	if err := put(); err != nil || said != "copied " {
		t.Errorf("%v, and the block is %q", err, said)
	}
	disk := on(w)
	disk.commit = full("giving it its name")
	if err := w.Flush(context.Background()); sdk.CodeOf(err) != "disk_full" {
		t.Error(err)
	}
	if err := put(); err == nil || said != "copied " {
		t.Errorf("%v, and the blocks are %q", err, said)
	}
	disk.commit = nil
	if err := w.Close(context.Background()); err != nil || said != "copied settled <nil>" {
		t.Errorf("%v, and the blocks are %q", err, said)
	}
}
