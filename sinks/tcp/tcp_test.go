package tcp

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/sdk"
)

// data is a message of one record that can be told from others.
func data(domain, sequence uint32) []byte {
	return message(domain, sequence, set(256, be.AppendUint32(nil, sequence)))
}

func texts(items []item, exporter byte) (out []string) {
	for _, x := range items {
		if x.exporter == exporter {
			out = append(out, string(x.payload))
		}
	}
	return out
}

// Each exporter's messages come on one connection of its own, in order, whatever blocks they were in.
func TestEachExporterHasItsConnection(t *testing.T) {
	k := collect(t, "127.0.0.1:0")
	w := open(t, defaults(k.addr()))
	var all []item
	for b := range 4 {
		var rows []item
		for i := range 3000 {
			rows = append(rows, item{byte(i % 3), data(1, uint32(b*3000+i))})
		}
		all = append(all, rows...)
		if tries := write(t, w, block(fmt.Sprint(b), rows...)); tries != 1 {
			t.Errorf("block %d was written %d times", b, tries)
		}
	}
	k.until("all has come", func() bool { return k.total() == len(all) })
	got := k.connections()
	want := [][]string{texts(all, 0), texts(all, 1), texts(all, 2)}
	slices.SortFunc(got, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	slices.SortFunc(want, func(a, b []string) int { return strings.Compare(a[0], b[0]) })
	if !cmp.Equal(want, got) {
		t.Errorf("%d connections have not what their exporters sent", len(got))
	}
}

// Rows that are no IPFIX messages are named before anything is sent; the others are sent once.
func TestNotIPFIX(t *testing.T) {
	k := collect(t, "127.0.0.1:0")
	w := open(t, defaults(k.addr()))
	good := data(1, 1)
	long := append(slices.Clone(good), 0)
	v9 := slices.Clone(good)
	v9[1] = 9
	err := w.Write(context.Background(), block("k", item{0, good}, item{0, nil}, item{0, good[:10]}, item{0, long}, item{0, v9}, item{0, data(1, 2)}), func(error) { t.Error("settled") })
	e, ok := errors.AsType[*sdk.Error](err)
	if !ok || e.Class != sdk.Permanent || e.Code != "not_ipfix" || !cmp.Equal(e.Rows, []int{1, 2, 3, 4}) {
		t.Fatalf("%+v", err)
	}
	write(t, w, block("k", item{0, good}, item{0, data(1, 2)}))
	k.until("the good ones have come", func() bool { return k.total() == 2 })
}

// When the collector starts again, each exporter's new connection begins with the templates it has told, before the first data of
// their domain; the block that was under way is sent again whole.
func TestReconnectsWithTemplates(t *testing.T) {
	addr := lasting(t)
	k := collect(t, addr)
	w := open(t, defaults(addr))
	one, two, opts := u16s(256, 1, 1, 4), u16s(257, 2, 2, 4, 0x8003, 4, 0, 9), u16s(258, 2, 1, 149, 4, 34, 4)
	write(t, w, block("1",
		item{1, message(7, 0, set(2, one, two), set(3, opts), set(256, make([]byte, 4)))},
		item{1, message(8, 0, set(2, one))},
		item{2, message(7, 0, set(2, two))},
		item{1, message(7, 1, set(2, u16s(259, 1, 1, 4)), set(2, u16s(259, 0)))})) // told and taken back
	k.until("all has come", func() bool { return k.total() == 4 })
	k.stop()
	k.until("the ends of the connections are seen", func() bool {
		for _, l := range w.links {
			if !l.watched.dead.Load() {
				return false
			}
			l.since = l.since.Add(-brief) // they were in use for longer than this test lasts
		}
		return true
	})

	rows := []item{{1, data(7, 1)}, {1, data(7, 2)}, {1, data(8, 3)}, {2, data(7, 4)}, {2, data(9, 5)}}
	b := block("2", rows...)
	if err := w.Write(t.Context(), b, func(error) { t.Error("settled") }); sdk.CodeOf(err) != "connect" || sdk.ClassOf(err) != sdk.Transient {
		t.Errorf("nothing was seen of the collector's end: %v", err)
	}
	k = collect(t, addr)
	write(t, w, b)
	k.until("all has come", func() bool { return k.total() == 8 })
	got := k.connections()
	want := [][]string{
		{string(message(7, 1, set(2, one, two), set(3, opts))), string(data(7, 1)), string(data(7, 2)), string(message(8, 3, set(2, one))), string(data(8, 3))},
		{string(message(7, 4, set(2, two))), string(data(7, 4)), string(data(9, 5))},
	}
	if len(got) == 2 && len(got[0]) < len(got[1]) {
		slices.Reverse(got)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("what came on the new connections (-want +got):\n%s", d)
	}
}

// pause makes the collector take nothing until the channel is closed.
func (k *collector) pause() chan struct{} {
	until := make(chan struct{})
	k.mu.Lock()
	k.paused = until
	k.mu.Unlock()
	return until
}

// tooMany are messages of 17 MB: more than the kernels keep.
func tooMany() (rows []item) {
	for i := range 12_000 {
		rows = append(rows, item{0, message(1, uint32(i), set(300, make([]byte, 1400)))})
	}
	return rows
}

// A collector that takes nothing holds the writer back until the block's time is over; when it goes on, the block comes again and
// every message has come once, none in two parts.
func TestStalledCollector(t *testing.T) {
	k := collect(t, "127.0.0.1:0")
	w := open(t, defaults(k.addr()))
	rows := tooMany()
	write(t, w, block("connects, which takes a busy machine long", rows[0]))
	k.until("the first has come", func() bool { return k.total() == 1 })
	go_ := k.pause()
	b := block("k", rows...)
	stalled := 0
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		err := w.Write(ctx, b, func(error) { t.Error("settled") })
		cancel()
		if sdk.CodeOf(err) != "stalled" || sdk.ClassOf(err) != sdk.Transient {
			t.Fatal(err)
		}
		stalled++
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if err := w.Write(ctx, b, func(error) { t.Error("settled") }); sdk.CodeOf(err) != "stalled" {
		t.Fatal(err)
	}
	if held := w.Held(); held > 2*gather {
		t.Errorf("%d bytes are held", held)
	}
	close(go_)
	write(t, w, b)
	k.until("all has come", func() bool { return k.total() >= 1+len(rows) })
	got := k.connections()
	if want := texts(append(rows[:1:1], rows...), 0); len(got) != 1 || !cmp.Equal(want, got[0]) {
		t.Errorf("%d connections; of %d messages %d came", len(got), len(rows), len(got[0]))
	}
}

// A block that was given up in the middle of a message ends its connection: what comes next is framed right.
func TestGivenUpBlockEndsItsConnection(t *testing.T) {
	k := collect(t, "127.0.0.1:0")
	w := open(t, defaults(k.addr()))
	write(t, w, block("connects, which takes a busy machine long", item{0, data(1, 98)}))
	go_, rows := k.pause(), tooMany()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := w.Write(ctx, block("given up", rows...), func(error) { t.Error("settled") }); sdk.CodeOf(err) != "stalled" {
		t.Fatal(err)
	}
	close(go_)
	write(t, w, block("next", item{0, data(1, 99)}))
	k.until("the next block has come", func() bool {
		got := k.connections()
		return len(got) == 2 && len(got[1]) == 1 && got[1][0] == string(data(1, 99))
	})
}

// More exporters than connections take turns, and each new connection begins with its exporter's templates.
func TestExportersTakeTurns(t *testing.T) {
	k := collect(t, "127.0.0.1:0")
	cfg := defaults(k.addr())
	cfg.MaxConnections = 2
	w := open(t, cfg)
	tmpl := set(2, u16s(256, 1, 1, 4))
	const exporters = 5
	for e := range byte(exporters) {
		write(t, w, block("", item{e, message(1, 0, tmpl)}))
	}
	for round := range uint32(3) {
		var rows []item
		for e := range byte(exporters) {
			rows = append(rows, item{e, data(1, round)})
		}
		write(t, w, block("", rows...))
		if len(w.links) > cfg.MaxConnections {
			t.Errorf("%d connections", len(w.links))
		}
	}
	count := func() (n int) {
		for _, c := range k.connections() {
			for _, m := range c {
				if be.Uint16([]byte(m)[header:]) == 256 {
					n++
				}
			}
		}
		return n
	}
	k.until("all has come", func() bool { return count() == 3*exporters })
	for i, c := range k.connections() {
		if len(c) > 0 && be.Uint16([]byte(c[0])[header:]) != templates {
			t.Errorf("connection %d begins with data", i)
		}
	}
}

// Nobody listens: the error is transient and says where, and Check says what to do.
func TestNobodyListens(t *testing.T) {
	k := collect(t, lasting(t))
	k.stop()
	w := open(t, defaults(k.addr()))
	err := w.Write(t.Context(), block("k", item{0, data(1, 1)}), func(error) { t.Error("settled") })
	if sdk.CodeOf(err) != "connect" || sdk.ClassOf(err) != sdk.Transient || !strings.Contains(err.Error(), "connecting to "+k.addr()) {
		t.Error(err)
	}
	if err := w.sink.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "the collector cannot be reached") {
		t.Error(err)
	}
	up := collect(t, "127.0.0.1:0")
	w.sink.cfg.To = up.addr()
	if err := w.sink.Check(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestValidate(t *testing.T) {
	for to, says := range map[string]string{"": "no collector", "host": "not host:port", ":4739": "no host", "h:0": "no port", "h:70000": "no port"} {
		if err := defaults(to).Validate(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", to, err)
		}
	}
	c := defaults("h:1")
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	c.MaxConnections, c.TLS = 0, TLS{Cert: "c", MinVersion: "1.0"}
	var paths []string
	for _, p := range c.Validate().(sdk.Problems) {
		paths = append(paths, p.Path)
	}
	if d := cmp.Diff([]string{"max_connections", "tls.enabled", "tls.key", "tls.min_version"}, paths); d != "" {
		t.Errorf("problems (-want +got):\n%s", d)
	}
	for _, f := range []sdk.Field{{Name: "bytes", Type: sdk.Uint64}, {Name: "payload", Type: sdk.Text}} {
		if err := Plugin.Spec.Input(nil, sdk.NewSchema(f)); err == nil {
			t.Errorf("an input of %v is accepted", f)
		}
	}
}
