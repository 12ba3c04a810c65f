package stdout

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weirflow/weir/sdk"
)

var every = sdk.NewSchema(
	sdk.Field{Name: "u8", Type: sdk.Uint8}, sdk.Field{Name: "u16", Type: sdk.Uint16}, sdk.Field{Name: "u32", Type: sdk.Uint32},
	sdk.Field{Name: "bytes", Type: sdk.Uint64, Unit: "bytes"}, sdk.Field{Name: "i64", Type: sdk.Int64}, sdk.Field{Name: "f64", Type: sdk.Float64},
	sdk.Field{Name: "start", Type: sdk.Timestamp}, sdk.Field{Name: "addr", Type: sdk.Addr}, sdk.Field{Name: "mac", Type: sdk.MAC},
	sdk.Field{Name: "name", Type: sdk.Name}, sdk.Field{Name: "blob", Type: sdk.Bytes}, sdk.Field{Name: "text", Type: sdk.Text},
	sdk.Field{Name: "path", Type: sdk.Uint32s}, sdk.Field{Name: "rare", Type: sdk.Uint8, Extra: true},
)

var when = time.Date(2026, 2, 28, 23, 59, 59, 120_000_000, time.UTC)

// batch has three rows: full of values, all zero, and with what is hard to write.
func batch() *sdk.Batch {
	b := sdk.NewPool(nil).Get(every, 3)
	b.SetRows(3)
	v4, v6 := netip.MustParseAddr("::ffff:192.0.2.107").As16(), netip.MustParseAddr("2001:db8::1").As16()
	copy(sdk.Claim[uint8](b, 0, 0, 3), []uint8{6, 0, 255})
	copy(sdk.Claim[uint16](b, 1, 0, 3), []uint16{53, 0, 65535})
	copy(sdk.Claim[uint32](b, 2, 0, 3), []uint32{1, 0, math.MaxUint32})
	copy(sdk.Claim[uint64](b, 3, 0, 3), []uint64{1500, 0, math.MaxUint64})
	copy(sdk.Claim[int64](b, 4, 0, 3), []int64{-5, 0, math.MinInt64})
	copy(sdk.Claim[float64](b, 5, 0, 3), []float64{0.25, 0, math.NaN()})
	copy(sdk.Claim[int64](b, 6, 0, 3), []int64{when.UnixNano(), 0, when.UnixNano() + 3})
	copy(sdk.Claim[[16]byte](b, 7, 0, 3), [][16]byte{v4, {}, v6})
	copy(sdk.Claim[uint64](b, 8, 0, 3), []uint64{0x0a0b0c0d0e0f, 0, 1})
	d := sdk.NewDict()
	d.Intern("edge-1")
	d.Intern("a \"b\", c")
	b.SetDict(9, d)
	copy(sdk.Claim[uint16](b, 9, 0, 3), []uint16{1, 0, 2})
	b.SetBytes(10, 0, []byte{0, 1, 254})
	b.SetBytes(11, 0, []byte("Zürich"))
	b.SetBytes(11, 2, []byte("a\x1b[31m\nb\xff\u0085"))
	b.SetBytes(12, 0, binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, 64500), 4200000000))
	b.Seal()
	return b
}

func write(t testing.TB, cfg Config, out *stream, bs ...*sdk.Batch) error {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	w, err := newSink(&cfg, out).Open(context.Background(), bs[0].Schema())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	err = w.Write(context.Background(), &sdk.Block{Batches: bs}, func(err error) {
		if err != nil {
			t.Error("settled with", err)
		}
		n++
	})
	if settled := err == nil; settled != (n == 1) || n > 1 {
		t.Errorf("the block was settled %d times, and Write returned %v", n, err)
	}
	return err
}

func plainStream(w io.Writer) *stream {
	return &stream{w: w, name: "standard output", screen: func() (int, int) { return 0, 0 }}
}

func config(format string, columns ...string) Config {
	return Config{Format: format, Header: true, Output: "stdout", Columns: columns}
}

func TestFormats(t *testing.T) {
	for _, c := range []struct {
		cfg  Config
		want string
	}{
		{config("json"), `{"u8":6,"u16":53,"u32":1,"bytes":1500,"i64":-5,"f64":0.25,"start":"2026-02-28T23:59:59.120Z","addr":"192.0.2.107","mac":"0a:0b:0c:0d:0e:0f","name":"edge-1","blob":"AAH+","text":"Zürich","path":[64500,4200000000]}
{}
{"u8":255,"u16":65535,"u32":4294967295,"bytes":18446744073709551615,"i64":-9223372036854775808,"f64":null,"start":"2026-02-28T23:59:59.120000003Z","addr":"2001:db8::1","mac":"00:00:00:00:00:01","name":"a \"b\", c","text":"a\u001b[31m\nb` + "\ufffd" + `\u0085"}
`},
		{config("json", "addr", "u8"), "{\"addr\":\"192.0.2.107\",\"u8\":6}\n{}\n{\"addr\":\"2001:db8::1\",\"u8\":255}\n"},
		{config("csv", "name", "start", "addr", "mac", "u8", "f64", "path", "blob"), `name,start,addr,mac,u8,f64,path,blob
edge-1,2026-02-28T23:59:59.120Z,192.0.2.107,0a:0b:0c:0d:0e:0f,6,0.25,64500 4200000000,AAH+
,,,,0,0,,
"a ""b"", c",2026-02-28T23:59:59.120000003Z,2001:db8::1,00:00:00:00:00:01,255,NaN,,
`},
		{config("csv", "mac"), "mac\n0a:0b:0c:0d:0e:0f\n\"\"\n00:00:00:00:00:01\n"},
		{Config{Format: "csv", Columns: []string{"u8", "u16"}, Output: "stdout"}, "6,53\n0,0\n255,65535\n"},
		{config("table", "start", "addr", "bytes", "name", "text"), `start         addr         bytes  name      text
23:59:59.120  192.0.2.107   1.5k  edge-1    Zürich

23:59:59.120  2001:db8::1  18.4E  a "b", c  a·[31m·b··
`},
	} {
		var got strings.Builder
		if err := write(t, c.cfg, plainStream(&got), batch()); err != nil {
			t.Error(err)
		}
		if d := cmp.Diff(c.want, got.String()); d != "" {
			t.Errorf("%s %v (-want +got): %s", c.cfg.Format, c.cfg.Columns, d)
		}
	}
}

// On a terminal nothing is wider than it, the header comes with every screenful, and empty columns make room.
func TestTableOnTerminal(t *testing.T) {
	var got strings.Builder
	out := plainStream(&got)
	out.screen = func() (int, int) { return 30, 4 }
	if err := write(t, config("table"), out, batch(), batch()); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(got.String(), "\n"), "\n")
	headers := 0
	for _, l := range lines {
		if strings.Contains(l, "u16") {
			headers++
		}
		if n := len([]rune(l)); n > 30 {
			t.Errorf("a line is %d wide: %q", n, l)
		}
	}
	if headers != 3 || len(lines) != 9 {
		t.Errorf("6 rows in screenfuls of 2 have %d headers:\n%s", headers, got.String())
	}
	got.Reset()
	out.screen = func() (int, int) { return 300, 50 }
	b := sdk.NewPool(nil).Get(every, 1)
	b.SetRows(1)
	sdk.Claim[uint8](b, 0, 0, 1)[0] = 7
	b.Seal()
	if err := write(t, config("table"), out, b); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff("u8\n 7\n", got.String()); d != "" {
		t.Error("columns without a value are shown (-want +got):", d)
	}
}

// The header of CSV stands once above all that lanes and blocks write; another schema has its own.
func TestCSVHeaderOnce(t *testing.T) {
	var got strings.Builder
	out := plainStream(&got)
	for _, column := range []string{"u8", "u8", "u16"} {
		if err := write(t, config("csv", column), out, batch(), batch()); err != nil {
			t.Fatal(err)
		}
	}
	u8, u16 := strings.Repeat("6\n0\n255\n", 2), strings.Repeat("53\n0\n65535\n", 2)
	if d := cmp.Diff("u8\n"+u8+u8+"u16\n"+u16, got.String()); d != "" {
		t.Error("(-want +got):", d)
	}
}

// writes keeps each write apart. It has no lock: writers of one stream take turns.
type writes struct{ parts []string }

func (l *writes) Write(p []byte) (int, error) {
	l.parts = append(l.parts, string(p))
	return len(p), nil
}

// Lanes of several pipelines write at once: what reaches the stream is whole lines, each as often as it was given, each lane's in
// its order, and every write ends with a line.
func TestLanesDoNotMix(t *testing.T) {
	const lanes, blocks, rows = 4, 3, 2000 // more than a chunk each
	schema := sdk.NewSchema(sdk.Field{Name: "lane", Type: sdk.Uint32}, sdk.Field{Name: "n", Type: sdk.Uint64}, sdk.Field{Name: "text", Type: sdk.Text})
	text := strings.Repeat("weir ", 10)
	for format, line := range map[string]string{
		"json": `{"lane":%d,"n":%d,"text":"` + text + `"}`,
		"csv":  "%d,%d," + text,
	} {
		t.Run(format, func(t *testing.T) {
			stored := &writes{}
			out := plainStream(stored)
			cfg := config(format)
			pool := sdk.NewPool(nil)
			var running sync.WaitGroup
			for lane := range lanes {
				w, err := newSink(&cfg, out).Open(t.Context(), schema)
				if err != nil {
					t.Fatal(err)
				}
				running.Go(func() {
					for k := range blocks {
						b := pool.Get(schema, rows)
						b.SetRows(rows)
						for i := range rows {
							sdk.Claim[uint32](b, 0, i, 1)[0] = uint32(lane + 1)
							sdk.Claim[uint64](b, 1, i, 1)[0] = uint64(k*rows + i + 1)
							b.SetBytes(2, i, []byte(text))
						}
						b.Seal()
						err := w.Write(t.Context(), &sdk.Block{Batches: []*sdk.Batch{b}, Rows: rows}, func(error) {})
						b.Done(sdk.Delivered)
						b.Release()
						if err != nil {
							t.Error(err)
							return
						}
					}
				})
			}
			running.Wait()

			for i, part := range stored.parts {
				if !strings.HasSuffix(part, "\n") {
					t.Fatalf("write %d ends within a line: %q", i, part[max(0, len(part)-100):])
				}
			}
			got := strings.Split(strings.TrimSuffix(strings.Join(stored.parts, ""), "\n"), "\n")
			if format == "csv" {
				if d := cmp.Diff("lane,n,text", got[0]); d != "" {
					t.Error("the header is not the first line (-want +got):", d)
				}
				got = got[1:]
			}
			if len(got) != lanes*blocks*rows {
				t.Fatalf("%d lines of %d rows", len(got), lanes*blocks*rows)
			}
			next := map[int]int{}
			for i, l := range got {
				var lane, n int
				if _, err := fmt.Sscanf(l, line[:strings.Index(line, text)], &lane, &n); err != nil {
					t.Fatalf("line %d is %q: %v", i, l, err)
				}
				next[lane]++
				if want := fmt.Sprintf(line, lane, next[lane]); l != want {
					t.Fatalf("line %d is %q, want %q", i, l, want)
				}
			}
		})
	}
}

// Text of any bytes is read back by the standard library's readers.
func TestTextReadsBack(t *testing.T) {
	schema := sdk.NewSchema(sdk.Field{Name: `na"me` + "\n", Type: sdk.Text}, sdk.Field{Name: "b", Type: sdk.Name})
	p := sdk.NewPool(nil)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOfN(rapid.OneOf(rapid.Byte(), rapid.SampledFrom([]byte("\",\r\n\\é\x1b\x7f"))), 1, 30).Draw(t, "text")
		d := sdk.NewDict()
		x, _ := d.Intern(string(text))
		b := p.Get(schema, 1)
		b.SetRows(1)
		b.SetBytes(0, 0, text)
		sdk.Claim[uint16](b, 1, 0, 1)[0] = x
		b.SetDict(1, d)
		b.Seal()
		var out bytes.Buffer
		for _, format := range []string{"json", "csv"} {
			out.Reset()
			cfg := config(format)
			w, err := newSink(&cfg, plainStream(&out)).Open(context.Background(), schema)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Write(context.Background(), &sdk.Block{Batches: []*sdk.Batch{b}}, func(error) {}); err != nil {
				t.Fatal(err)
			}
			if format == "csv" {
				got, err := csv.NewReader(&out).ReadAll()
				// The reader of the standard library makes a line feed of CR LF, also in quotes.
				want := strings.ReplaceAll(string(text), "\r\n", "\n")
				if err != nil || !cmp.Equal([][]string{{"na\"me\n", "b"}, {want, want}}, got) {
					t.Fatalf("%q: %q, %v", text, got, err)
				}
				continue
			}
			if n := bytes.Count(out.Bytes(), []byte("\n")); n != 1 || bytes.ContainsAny(out.Bytes(), "\x1b\x7f") {
				t.Fatalf("%q", out.Bytes())
			}
			var got map[string]string
			if err := json.Unmarshal(out.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			want := string([]rune(string(text))) // U+FFFD for each byte that is no UTF-8
			if d := cmp.Diff(map[string]string{"na\"me\n": want, "b": want}, got); d != "" {
				t.Fatal("(-want +got):", d)
			}
		}
		b.Done(sdk.Delivered)
		b.Release()
	})
}

func TestTimes(t *testing.T) {
	var c clock
	rapid.Check(t, func(t *rapid.T) {
		ns := rapid.OneOf(rapid.Int64(), rapid.Int64Range(-1e9, 1e9)).Draw(t, "ns")
		text := c.append(nil, ns)
		got, err := time.Parse(time.RFC3339Nano, string(text))
		if err != nil || got.UnixNano() != ns || got.Location() != time.UTC {
			t.Fatalf("%d is written %s, which reads as %d (%v)", ns, text, got.UnixNano(), err)
		}
	})
}

// Each day that nanoseconds since the epoch reach, by the standard library's calendar.
func TestEachDay(t *testing.T) {
	var c clock
	var got []byte
	first, last := time.Unix(0, math.MinInt64).UTC().Truncate(24*time.Hour).Add(24*time.Hour), time.Unix(0, math.MaxInt64).UTC()
	for day := first; day.Before(last); day = day.Add(24 * time.Hour) {
		if got = c.append(got[:0], day.UnixNano()); string(got) != day.Format(time.RFC3339Nano) {
			t.Fatalf("%v is written %s", day, got)
		}
	}
}

// Names are those of the batch's own dictionary: a later batch may have another, in which the same numbers stand for other names.
func TestNamesFollowTheDictionary(t *testing.T) {
	schema := sdk.NewSchema(sdk.Field{Name: "name", Type: sdk.Name})
	pool := sdk.NewPool(nil)
	var batches []*sdk.Batch
	for _, names := range [][]string{{"a", "b"}, {"c", "d", "e"}, {"f"}} {
		d := sdk.NewDict()
		b := pool.Get(schema, len(names))
		b.SetRows(len(names))
		for i, n := range names {
			sdk.Claim[uint16](b, 0, i, 1)[0], _ = d.Intern(n)
		}
		b.SetDict(0, d)
		b.Seal()
		batches = append(batches, b)
	}
	for format, want := range map[string]string{
		"json":  "{\"name\":\"a\"}\n{\"name\":\"b\"}\n{\"name\":\"c\"}\n{\"name\":\"d\"}\n{\"name\":\"e\"}\n{\"name\":\"f\"}\n",
		"csv":   "name\na\nb\nc\nd\ne\nf\n",
		"table": "name\na\nb\nc\nd\ne\nf\n",
	} {
		var got strings.Builder
		if err := write(t, config(format), plainStream(&got), batches...); err != nil {
			t.Error(err)
		}
		if d := cmp.Diff(want, got.String()); d != "" {
			t.Errorf("%s (-want +got): %s", format, d)
		}
	}
}

// In a table times have milliseconds always, so that they stand under each other, and long text is clipped with a mark.
func TestCells(t *testing.T) {
	schema := sdk.NewSchema(sdk.Field{Name: "at", Type: sdk.Timestamp}, sdk.Field{Name: "text", Type: sdk.Text})
	texts := []string{strings.Repeat("é", 46), strings.Repeat("é", 47), strings.Repeat("é", 4000), "short", ""}
	times := []int64{0, 1e6, 999_999, 999_999_999, -1e9}
	b := sdk.NewPool(nil).Get(schema, len(texts))
	b.SetRows(len(texts))
	for i, s := range texts {
		b.SetBytes(1, i, []byte(s))
		if times[i] != 0 {
			times[i] += when.Truncate(time.Second).UnixNano()
		}
		sdk.Claim[int64](b, 0, i, 1)[0] = times[i]
	}
	b.Seal()
	var got strings.Builder
	if err := write(t, config("table"), plainStream(&got), b); err != nil {
		t.Fatal(err)
	}
	clipped := strings.Repeat("é", 45) + "…"
	want := "at            text\n" + strings.Repeat(" ", 14) + texts[0] + "\n23:59:59.001  " + clipped + "\n23:59:59.000  " + clipped +
		"\n23:59:59.999  short\n23:59:58.000\n"
	if d := cmp.Diff(want, got.String()); d != "" {
		t.Error("(-want +got):", d)
	}
}

func TestNumbersOfBytes(t *testing.T) {
	c := column{Field: sdk.Field{Unit: "bytes"}}
	for v, want := range map[uint64]string{0: "", 7: "7", 999: "999", 1000: "1.0k", 1234: "1.2k", 999_949: "999.9k", 999_950: "1.0M", 5e9: "5.0G"} {
		if got := string(c.count(nil, v)); got != want {
			t.Errorf("%d bytes are written %q, want %q", v, got, want)
		}
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		err   error
		class sdk.Class
		says  string
	}{
		{&os.PathError{Op: "write", Path: "/dev/stdout", Err: syscall.EPIPE}, sdk.Fatal, "broken_pipe: standard output was closed by the program that read it"},
		{os.ErrClosed, sdk.Fatal, "closed: standard output is closed"},
		{&os.PathError{Op: "write", Path: "/dev/stdout", Err: syscall.ENOSPC}, sdk.Fatal, "disk_full: the disk that standard output goes to is full"},
		{syscall.EDQUOT, sdk.Fatal, "disk_full: "},
		{syscall.EFBIG, sdk.Fatal, "file_too_large: the file that standard output goes to may not grow"},
		{syscall.EBADF, sdk.Fatal, "closed: standard output is closed"},
		{syscall.EIO, sdk.Fatal, "gone: the terminal or disk that standard output goes to is gone"},
		{errors.New("odd"), sdk.Transient, "write: writing to standard output: odd"},
	} {
		for _, format := range []string{"json", "csv", "table"} {
			err := write(t, config(format), plainStream(failing{c.err}), batch())
			if sdk.ClassOf(err) != c.class || err == nil || !strings.HasPrefix(err.Error(), c.says) {
				t.Errorf("%s, %v: %v (%v)", format, c.err, err, sdk.ClassOf(err))
			}
		}
	}
}

// A real pipe whose reader goes away ends in the same error, and not the process.
func TestBrokenPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r.Close()
	out := terminal(w, "standard output")
	if err := write(t, config("json"), out, batch()); sdk.CodeOf(err) != "broken_pipe" {
		t.Error(err)
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []Config{{Format: "xml", Output: "stdout"}, {Format: "json", Output: "file"}, {Format: "json", Output: "stdout", Columns: []string{"a", "a"}}} {
		if err := c.Validate(); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
	if err := Plugin.Spec.Config().(*Config).Validate(); err != nil {
		t.Error("the defaults are refused:", err)
	}
	if _, err := newSink(&Config{Columns: []string{"none"}}, plainStream(io.Discard)).Open(context.Background(), every); err == nil {
		t.Error("a column that is not there is accepted")
	}
}

// flows is a full batch of 20 columns as flows have them.
func flows() *sdk.Batch {
	var fs []sdk.Field
	for _, f := range []struct {
		name string
		t    sdk.Type
	}{{"received", sdk.Timestamp}, {"flow_start", sdk.Timestamp}, {"flow_end", sdk.Timestamp}, {"src_addr", sdk.Addr}, {"dst_addr", sdk.Addr},
		{"exporter_addr", sdk.Addr}, {"next_hop", sdk.Addr}, {"src_port", sdk.Uint16}, {"dst_port", sdk.Uint16}, {"protocol", sdk.Uint8}, {"tcp_flags", sdk.Uint8},
		{"bytes", sdk.Uint64}, {"packets", sdk.Uint64}, {"in_if", sdk.Uint32}, {"out_if", sdk.Uint32}, {"src_as", sdk.Uint32}, {"dst_as", sdk.Uint32},
		{"src_mask", sdk.Uint8}, {"sampling_rate", sdk.Uint32}, {"exporter_name", sdk.Name}} {
		fs = append(fs, sdk.Field{Name: f.name, Type: f.t})
	}
	s := sdk.NewSchema(fs...)
	b := sdk.NewPool(nil).Get(s, sdk.MaxRows)
	n := sdk.MaxRows
	b.SetRows(n)
	d := sdk.NewDict()
	for i := range 50 {
		d.Intern(fmt.Sprint("edge-router-", i))
	}
	for i, f := range s.Fields() {
		for k := range n {
			x := uint64(k)*0x9e3779b97f4a7c15 + uint64(i)
			x ^= x >> 29
			switch f.Type {
			case sdk.Timestamp:
				sdk.Claim[int64](b, i, k, 1)[0] = when.UnixNano() + int64(x%3000)*1e6
			case sdk.Addr:
				a := [16]byte{10: 255, 11: 255}
				binary.LittleEndian.PutUint32(a[12:], uint32(x))
				sdk.Claim[[16]byte](b, i, k, 1)[0] = a
			case sdk.Uint8:
				sdk.Claim[uint8](b, i, k, 1)[0] = uint8(x) | 1
			case sdk.Uint16:
				sdk.Claim[uint16](b, i, k, 1)[0] = uint16(x) | 1
			case sdk.Uint32:
				sdk.Claim[uint32](b, i, k, 1)[0] = uint32(x%70000) + 1
			case sdk.Uint64:
				sdk.Claim[uint64](b, i, k, 1)[0] = x%100_000 + 1
			case sdk.Name:
				sdk.Claim[uint16](b, i, k, 1)[0] = uint16(x%50) + 1
				b.SetDict(i, d)
			}
		}
	}
	b.Seal()
	return b
}

func TestAllocations(t *testing.T) {
	const most = 0 // a batch, once the buffers have grown
	for _, format := range []string{"json", "csv"} {
		cfg := config(format)
		b := flows()
		w, err := newSink(&cfg, plainStream(io.Discard)).Open(context.Background(), b.Schema())
		if err != nil {
			t.Fatal(err)
		}
		block := &sdk.Block{Batches: []*sdk.Batch{b}, Rows: b.Rows()}
		done := func(error) {}
		if got := testing.AllocsPerRun(5, func() {
			if err := w.Write(context.Background(), block, done); err != nil {
				t.Fatal(err)
			}
		}); got > most {
			t.Errorf("%s: a batch allocates %v times", format, got)
		}
		if held := w.Held(); held < chunk || held > 4*chunk {
			t.Errorf("%s: a buffer written at %d bytes holds %d", format, chunk, held)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	for _, format := range []string{"json", "csv", "table"} {
		b.Run(format, func(b *testing.B) {
			cfg := config(format)
			batch := flows()
			w, err := newSink(&cfg, plainStream(io.Discard)).Open(context.Background(), batch.Schema())
			if err != nil {
				b.Fatal(err)
			}
			block := &sdk.Block{Batches: []*sdk.Batch{batch}, Rows: batch.Rows()}
			b.ReportAllocs()
			for b.Loop() {
				if err := w.Write(context.Background(), block, func(error) {}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(batch.Rows()), "ns/record")
		})
	}
}
