package parquet

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/compress"
	pqfile "github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/weirflow/weir/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var every = sdk.NewSchema(
	sdk.Field{Name: "u8", Type: sdk.Uint8}, sdk.Field{Name: "u16", Type: sdk.Uint16}, sdk.Field{Name: "u32", Type: sdk.Uint32, Unit: "packets", Doc: "how many"},
	sdk.Field{Name: "u64", Type: sdk.Uint64}, sdk.Field{Name: "i64", Type: sdk.Int64}, sdk.Field{Name: "f64", Type: sdk.Float64},
	sdk.Field{Name: "start", Type: sdk.Timestamp}, sdk.Field{Name: "addr", Type: sdk.Addr}, sdk.Field{Name: "mac", Type: sdk.MAC},
	sdk.Field{Name: "name", Type: sdk.Name}, sdk.Field{Name: "blob", Type: sdk.Bytes}, sdk.Field{Name: "text", Type: sdk.Text},
	sdk.Field{Name: "path", Type: sdk.Uint32s}, sdk.Field{Name: "none", Type: sdk.Addr}, sdk.Field{Name: "rare", Type: sdk.Uint8, Extra: true},
)

const second = 1_790_000_000

// batch has rows rows from number from on: every tenth is all zero.
func batch(p *sdk.Pool, from, rows int, d *sdk.Dict) *sdk.Batch {
	b := p.Get(every, rows)
	b.SetRows(rows)
	for k := range rows {
		n := from + k
		if n%10 == 0 {
			continue
		}
		sdk.Claim[uint8](b, 0, k, 1)[0] = uint8(n)
		sdk.Claim[uint16](b, 1, k, 1)[0] = uint16(n)
		sdk.Claim[uint32](b, 2, k, 1)[0] = uint32(n)
		sdk.Claim[uint64](b, 3, k, 1)[0] = uint64(n) << 50
		sdk.Claim[int64](b, 4, k, 1)[0] = int64(-n)
		sdk.Claim[float64](b, 5, k, 1)[0] = float64(n) / 4
		sdk.Claim[int64](b, 6, k, 1)[0] = second*1e9 + int64(n)
		sdk.Claim[[16]byte](b, 7, k, 1)[0] = addr(n).As16()
		sdk.Claim[uint64](b, 8, k, 1)[0] = uint64(n)
		x, _ := d.Intern(fmt.Sprint("router-", n%7))
		sdk.Claim[uint16](b, 9, k, 1)[0] = x
		b.SetBytes(10, k, []byte{0, byte(n)})
		b.SetBytes(11, k, fmt.Append(nil, "text ", n))
		b.SetBytes(12, k, binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, uint32(n)), 7))
	}
	b.SetDict(9, d)
	b.Seal()
	return b
}

func addr(n int) netip.Addr {
	if n%3 == 0 {
		return netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", n))
	}
	return netip.AddrFrom4([4]byte{192, 0, 2, byte(n)})
}

// row is what record n looks like when it is read: as JSON of Arrow's own making.
func row(n int) map[string]any {
	if n%10 == 0 {
		return map[string]any{"u8": 0., "u16": 0., "u32": 0., "u64": 0., "i64": 0., "f64": 0., "start": nil, "addr": nil, "mac": nil,
			"name": "", "blob": "", "text": "", "path": []any{}, "none": nil}
	}
	return map[string]any{"u8": float64(uint8(n)), "u16": float64(uint16(n)), "u32": float64(n), "u64": float64(uint64(n) << 50), "i64": float64(-n), "f64": float64(n) / 4,
		"start": time.Unix(second, int64(n)).UTC().Format("2006-01-02T15:04:05.000000000Z"), "addr": addr(n).String(), "mac": fmt.Sprintf("00:00:00:00:%02x:%02x", n>>8, n&255),
		"name": fmt.Sprint("router-", n%7), "blob": string(must(json.Marshal([]byte{0, byte(n)})))[1:5], "text": fmt.Sprint("text ", n), "path": []any{float64(n), 7.}, "none": nil}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func env(t testing.TB) (*sdk.Env, *bytes.Buffer) {
	var log bytes.Buffer
	return &sdk.Env{Pipeline: "test/pipe", Node: "archive", Lane: 2, Log: slog.New(slog.NewTextHandler(&log, nil)), Now: time.Now, Pool: sdk.NewPool(nil)}, &log
}

func config(dir string) *Config {
	c := Plugin.Spec.Config().(*Config)
	c.Dir, c.Roll.Age = dir, time.Hour
	return c
}

func open(t testing.TB, e *sdk.Env, cfg *Config) *writer {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	s, err := Plugin.Sink(e, cfg)
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Open(context.Background(), every)
	if err != nil {
		t.Fatal(err)
	}
	return w.(*writer)
}

// answers collects what done says, by block.
type answers struct {
	mu  sync.Mutex
	all []string
}

func (a *answers) done(block int) func(error) {
	return func(err error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.all = append(a.all, fmt.Sprint(block, " ", err))
	}
}

func (a *answers) list() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.all)
}

func write(t testing.TB, w *writer, done func(error), bs ...*sdk.Batch) {
	t.Helper()
	if err := w.Write(context.Background(), &sdk.Block{Batches: bs}, done); err != nil {
		t.Fatal(err)
	}
	for _, b := range bs {
		b.Done(sdk.Delivered)
		b.Release()
	}
}

func files(t testing.TB, dir string) (names []string) {
	for _, e := range must(os.ReadDir(dir)) {
		names = append(names, e.Name())
	}
	return names
}

// read reads a file's rows and its schema.
func read(t testing.TB, path string) (rows []map[string]any, schema *arrow.Schema, groups int) {
	t.Helper()
	r, err := pqfile.OpenParquetFile(path, false)
	if err != nil {
		t.Fatal(path, err)
	}
	defer r.Close()
	fr, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{BatchSize: 1000}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	table, err := fr.ReadTable(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	defer table.Release()
	tr := array.NewTableReader(table, 1000)
	defer tr.Release()
	for tr.Next() {
		var part []map[string]any
		if err := json.Unmarshal(must(tr.RecordBatch().MarshalJSON()), &part); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, part...)
	}
	return rows, table.Schema(), r.NumRowGroups()
}

// What was written is read back, whole, by another reader than the writer; names begin with pipeline and node.
func TestReadsBack(t *testing.T) {
	dir := t.TempDir()
	e, _ := env(t)
	w := open(t, e, config(dir))
	var got answers
	d := sdk.NewDict()
	write(t, w, got.done(1), batch(e.Pool, 0, 300, d), batch(e.Pool, 300, 20, d))
	write(t, w, got.done(2), batch(e.Pool, 320, 700, sdk.NewDict()))
	if n := files(t, dir); len(got.list()) > 0 || len(n) != 1 || !strings.HasPrefix(n[0], ".tmp-test_pipe-archive-") {
		t.Fatalf("before the file is complete: settled %v, files %v", got.list(), n)
	}
	if err := w.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"1 <nil>", "2 <nil>"}, got.list()); d != "" {
		t.Error("(-want +got):", d)
	}
	n := files(t, dir)
	if len(n) != 1 || !strings.HasPrefix(n[0], "test_pipe-archive-20") || !strings.HasSuffix(n[0], "-2-000001.parquet") {
		t.Fatalf("after it: files %v", n)
	}
	rows, schema, _ := read(t, filepath.Join(dir, n[0]))
	var want []map[string]any
	for k := range 1020 {
		want = append(want, row(k))
	}
	if d := cmp.Diff(want, rows); d != "" {
		t.Error("(-want +got):", d)
	}
	if v, _ := schema.Field(2).Metadata.GetValue("weir.unit"); v != "packets" {
		t.Error("the unit is not in the file:", schema)
	}
	if w.Held() != 0 {
		t.Errorf("%d bytes are held without a file", w.Held())
	}
	if err := w.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestOptions(t *testing.T) {
	e, _ := env(t)
	for _, c := range []struct {
		name string
		set  func(*Config)
		want map[string]any
	}{
		{"binary", func(c *Config) { c.Columns, c.Addresses = []string{"mac", "addr"}, "binary" },
			map[string]any{"mac": 1., "addr": "AAAAAAAAAAAAAP//wAACAQ=="}},
		{"snappy", func(c *Config) { c.Columns, c.Compression, c.Prefix = []string{"rare", "u8"}, "snappy", "x" }, map[string]any{"rare": 0., "u8": 1.}},
		{"none", func(c *Config) { c.Columns, c.Compression = []string{"start"}, "none" }, map[string]any{"start": row(1)["start"]}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			cfg := config(dir)
			c.set(cfg)
			w := open(t, e, cfg)
			write(t, w, func(error) {}, batch(e.Pool, 1, 1, sdk.NewDict()))
			if err := w.Close(context.Background()); err != nil {
				t.Fatal(err)
			}
			rows, _, _ := read(t, filepath.Join(dir, files(t, dir)[0]))
			if d := cmp.Diff([]map[string]any{c.want}, rows); d != "" {
				t.Error("(-want +got):", d)
			}
		})
	}
}

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

// Row groups bound the memory.
func TestRowGroups(t *testing.T) {
	dir := t.TempDir()
	e, _ := env(t)
	cfg := config(dir)
	cfg.Columns = []string{"u32"}
	w := open(t, e, cfg)
	b := batch(e.Pool, 1, sdk.MaxRows, sdk.NewDict())
	const blocks = 32
	for range blocks {
		if err := w.Write(context.Background(), &sdk.Block{Batches: []*sdk.Batch{b}}, func(error) {}); err != nil {
			t.Fatal(err)
		}
		if h := w.Held(); h <= 0 || h > groupRows*4*2+256 {
			t.Fatalf("%d bytes held", h)
		}
	}
	if err := w.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if rows, _, groups := read(t, filepath.Join(dir, files(t, dir)[0])); len(rows) != blocks*sdk.MaxRows || groups != 3 {
		t.Errorf("%d rows in %d row groups", len(rows), groups)
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
	for path, says := range map[string]string{filepath.Join(dir, "missing"): "does not exist: make it", plain: "is not a directory"} {
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

// A disk that is full for a while: nothing taken is lost, nothing more is taken, and all is delivered when there is room.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	e, log := env(t)
	w := open(t, e, config(dir))
	var got answers
	write(t, w, got.done(1), batch(e.Pool, 0, 50, sdk.NewDict()))
	real := w.file.f
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("there is no /dev/full here:", err)
	}
	w.file.f = full
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
	if n := strings.Count(log.String(), "space left on device: free some space"); n != 1 || strings.Count(log.String(), w.file.name) != 2 {
		t.Errorf("said %d times: %s", n, log)
	}
	w.mu.Lock()
	w.file.f = real
	w.mu.Unlock()
	full.Close()
	write(t, w, got.done(2), next)
	if err := w.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"1 <nil>", "2 <nil>"}, got.list()); d != "" {
		t.Error("(-want +got):", d)
	}
	total := 0
	for _, n := range files(t, dir) {
		rows, _, _ := read(t, filepath.Join(dir, n))
		total += len(rows)
	}
	if total != 100 {
		t.Errorf("%d records are in %v", total, files(t, dir))
	}
}

// What the disk may have lost is not delivered: after a failed fsync the file gets no name, and its blocks are written again.
func TestFailedSyncIsNotDelivered(t *testing.T) {
	dir := t.TempDir()
	e, _ := env(t)
	w := open(t, e, config(dir))
	var got answers
	write(t, w, got.done(1), batch(e.Pool, 0, 50, sdk.NewDict()))
	reader, cannotSync, err := os.Pipe() // fsync of a pipe is refused
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	real := w.file.f
	defer real.Close()
	w.file.f = cannotSync
	go io.Copy(io.Discard, reader)
	if err := w.Flush(context.Background()); err != nil {
		t.Error(err)
	}
	if g := got.list(); len(g) != 1 || !strings.HasPrefix(g[0], "1 sync: the disk lost what was written") {
		t.Errorf("settled %v", g)
	}
	if whole, err := filepath.Glob(filepath.Join(dir, "test*.parquet")); err != nil || len(whole) > 0 {
		t.Errorf("published %v, %v", whole, err)
	}
	if err := w.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// What cannot be completed at the end is settled with the reason, and no half file stays.
func TestGivesUpAtClose(t *testing.T) {
	dir := t.TempDir()
	e, _ := env(t)
	w := open(t, e, config(dir))
	var got answers
	write(t, w, got.done(1), batch(e.Pool, 0, 50, sdk.NewDict()))
	w.file.dir = filepath.Join(dir, "gone")
	err := w.Close(context.Background())
	if sdk.CodeOf(err) != "no_directory" {
		t.Error(err)
	}
	if g := got.list(); len(g) != 1 || !strings.Contains(g[0], "make the directory again") || len(files(t, dir)) != 0 {
		t.Errorf("settled %v, files %v", g, files(t, dir))
	}
}

func TestExplain(t *testing.T) {
	for errno, code := range map[error]string{syscall.ENOSPC: "disk_full", syscall.EDQUOT: "disk_full", os.ErrNotExist: "no_directory", syscall.EACCES: "not_writable", io.EOF: "write"} {
		if err := explain("x", &os.PathError{Err: errno}); sdk.CodeOf(err) != code || sdk.ClassOf(err) != sdk.Transient {
			t.Errorf("%v is %v", errno, err)
		}
	}
}

func TestValidate(t *testing.T) {
	for name, spoil := range map[string]func(*Config){
		"dir":         func(c *Config) { c.Dir = "" },
		"columns[1]":  func(c *Config) { c.Columns = []string{"a", "a"} },
		"roll.size":   func(c *Config) { c.Roll.Size = 1 },
		"roll.age":    func(c *Config) { c.Roll.Age = 0 },
		"roll.rows":   func(c *Config) { c.Roll.Rows = -1 },
		"compression": func(c *Config) { c.Compression = "lzo" },
		"level":       func(c *Config) { c.Level = 23 },
		"addresses":   func(c *Config) { c.Addresses = "hex" },
	} {
		c := config("x")
		spoil(c)
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), name+":") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, prefix := range []string{"../x", "a/b", `a\b`, ".hidden", "-rf", "a\nb", "a\x00", "a\x1b[2J", "flows*", "\xff", strings.Repeat("x", 129)} {
		c := config("x")
		c.Prefix = prefix
		if err := c.Validate(); err == nil || !strings.HasPrefix(err.Error(), "prefix:") {
			t.Errorf("prefix %q: %v", prefix, err)
		}
	}
	for _, prefix := range []string{"", "flows", "flüsse 1", "a.b-c_d", strings.Repeat("x", 128)} {
		c := config("x")
		c.Prefix = prefix
		if err := c.Validate(); err != nil {
			t.Errorf("prefix %q: %v", prefix, err)
		}
	}
}

// Every column is compressed as the option says.
func TestCompression(t *testing.T) {
	for name, want := range map[string]compress.Compression{"zstd": compress.Codecs.Zstd, "snappy": compress.Codecs.Snappy, "none": compress.Codecs.Uncompressed} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			e, _ := env(t)
			c := config(dir)
			c.Compression = name
			w := open(t, e, c)
			var got answers
			write(t, w, got.done(1), batch(e.Pool, 0, 100, sdk.NewDict()))
			if err := w.Close(context.Background()); err != nil {
				t.Fatal(err)
			}
			r := must(pqfile.OpenParquetFile(filepath.Join(dir, files(t, dir)[0]), false))
			defer r.Close()
			g := r.MetaData().RowGroup(0)
			for i := range g.NumColumns() {
				chunk := must(g.ColumnChunk(i))
				if chunk.Compression() != want {
					t.Errorf("column %s is compressed with %v, want %v", chunk.PathInSchema(), chunk.Compression(), want)
				}
			}
		})
	}
}

// Other people's readers see what was written.
func TestPyArrowAndDuckDB(t *testing.T) {
	python := "python3"
	if p := os.Getenv("WEIR_PYTHON"); p != "" {
		python = p
	}
	if err := exec.Command(python, "-c", "import pyarrow, duckdb").Run(); err != nil {
		t.Skipf("%s cannot import pyarrow and duckdb (WEIR_PYTHON names another): %v", python, err)
	}
	dir := t.TempDir()
	e, _ := env(t)
	w := open(t, e, config(dir))
	write(t, w, func(error) {}, batch(e.Pool, 0, 1000, sdk.NewDict()))
	if err := w.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	const script = `
import sys, json, duckdb, pyarrow.parquet as pq
path = sys.argv[1]
rows = pq.read_table(path).drop_columns(["blob", "start"]).to_pylist()
db = duckdb.sql(f"""select count(*), sum(u32), count(addr), count(distinct name), min(epoch_ns(start)), sum(path[1]), max(text), sum(octet_length(blob))
	from read_parquet('{path}')""").fetchall()[0]
print(json.dumps([rows, [int(x) if isinstance(x, int) else x for x in db]]))
`
	out, err := exec.Command(python, "-c", script, filepath.Join(dir, files(t, dir)[0])).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var got []any
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	var want []any
	sum := 0
	for k := range 1000 {
		r := row(k)
		delete(r, "blob")
		delete(r, "start")
		want = append(want, r)
		if k%10 != 0 {
			sum += k
		}
	}
	if d := cmp.Diff([]any{want, []any{1000., float64(sum), 900., 8., float64(second*1e9 + 1), float64(sum), "text 999", 1800.}}, got); d != "" {
		t.Error("(-want +got):", d)
	}
}

func TestAllocations(t *testing.T) {
	// A row group of 14 columns and 122,880 rows: what the encoder allocates by column, page and different string (3 x 256 here), and
	// nothing by row. Spread over the 15 blocks of 8,192 rows that fill it.
	const most = 8000 / 15
	e, _ := env(t)
	w := open(t, e, config(t.TempDir()))
	block := &sdk.Block{Batches: slices.Repeat([]*sdk.Batch{batch(e.Pool, 1, 256, sdk.NewDict())}, sdk.MaxRows/256)}
	got := testing.AllocsPerRun(60, func() { // four row groups
		if err := w.Write(context.Background(), block, func(error) {}); err != nil {
			t.Fatal(err)
		}
	})
	if got > most {
		t.Errorf("a block allocates %v times, more than %d", got, most)
	}
	if err := w.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func BenchmarkWrite(b *testing.B) {
	e, _ := env(b)
	for _, compression := range []string{"zstd", "snappy", "none"} {
		b.Run(compression, func(b *testing.B) {
			cfg := config(b.TempDir())
			cfg.Compression = compression
			w := open(b, e, cfg)
			block := &sdk.Block{Batches: []*sdk.Batch{batch(e.Pool, 1, sdk.MaxRows, sdk.NewDict())}}
			b.ReportAllocs()
			for b.Loop() {
				if err := w.Write(context.Background(), block, func(error) {}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/sdk.MaxRows, "ns/record")
			if err := w.Close(context.Background()); err != nil {
				b.Fatal(err)
			}
		})
	}
}
