package parquet

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/parquet/compress"
	pqfile "github.com/apache/arrow-go/v18/parquet/file"
	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/sdk"
)

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

// A row group has nothing of the one before it: what is used again gives what something new gives.
func TestRowGroupsAreApart(t *testing.T) {
	for _, addresses := range []string{"text", "binary"} {
		e, _ := env(t)
		cfg := config("")
		cfg.Addresses = addresses
		h := must(newShape(every, cfg))
		rows := func(g *group, from, n int, d *sdk.Dict) string {
			b := batch(e.Pool, from, n, d)
			defer func() { b.Done(sdk.Delivered); b.Release() }()
			g.add(b)
			r := g.record()
			defer r.Release()
			return string(must(r.MarshalJSON()))
		}
		used, d := newGroup(h), sdk.NewDict()
		for _, part := range [][2]int{{0, 500}, {490, 300}, {11, 1}, {12, 9}, {0, 500}} {
			want := rows(newGroup(h), part[0], part[1], sdk.NewDict())
			if diff := cmp.Diff(want, rows(used, part[0], part[1], d)); diff != "" {
				t.Fatalf("%s addresses, rows from %d on (-new +used):\n%.1000s", addresses, part[0], diff)
			}
			used.reset()
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
