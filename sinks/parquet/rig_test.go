package parquet

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	pqfile "github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
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
	return &sdk.Env{Pipeline: "test/pipe", Node: "archive", Lane: 2, Log: slog.New(slog.NewTextHandler(&log, nil)), Now: time.Now, Pool: sdk.NewPool(nil), Books: &sdk.Books{}}, &log
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
