package decode

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/formats/formatstest"
	"github.com/weirflow/weir/formats/netflow"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/durable"
	"github.com/weirflow/weir/sdk/sdktest"
)

// life starts a processor on a state directory; it ends with the test, or before, by its Close.
func life(t *testing.T, dir string, log *bytes.Buffer) *catch {
	t.Helper()
	return lifeOf(t, dir, log, Plugin.Spec.Config().(*Config))
}

func lifeOf(t *testing.T, dir string, log *bytes.Buffer, cfg *Config) *catch {
	t.Helper()
	if log == nil {
		return lifeLogged(t, dir, io.Discard, cfg)
	}
	return lifeLogged(t, dir, log, cfg)
}

func lifeLogged(t *testing.T, dir string, log io.Writer, cfg *Config) *catch {
	t.Helper()
	c := &catch{t: t, clock: sdktest.NewClock(base)}
	c.env = sdktest.Env(t, sdktest.WithIn(sdk.Datagram), sdktest.WithOut(ports), sdktest.WithClock(c.clock))
	c.env.Dir, c.env.Log = dir, slog.New(slog.NewTextHandler(log, nil))
	p, err := Plugin.Processor(c.env, cfg)
	if err != nil {
		t.Fatal(err)
	}
	c.proc = p
	return c
}

func (c *catch) close() {
	c.t.Helper()
	if err := c.proc.Close(); err != nil {
		c.t.Error(err)
	}
}

// Data decodes at once after a restart, without its template.
func TestRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "decode")
	a := life(t, dir, nil)
	a.give(none, v9(template(256)))
	a.close()
	b := life(t, dir, nil)
	b.give(none, v9(data(256, 1, 2)))
	b.tick(0)
	b.want("flows", []uint16{1, 2}, b.ports)
	b.close()
}

// So it does after a crash: the file is written while the node runs, whole at all times.
func TestCrash(t *testing.T) {
	dir := t.TempDir()
	a := life(t, dir, nil)
	a.give(none, v9(template(256)))
	deadline := time.Now().Add(time.Minute)
	for {
		if _, err := os.Stat(filepath.Join(dir, stateFile)); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nothing is written while the node runs")
		}
		time.Sleep(20 * time.Millisecond)
	}
	b := life(t, dir, nil) // a is as good as dead: it has written nothing more
	b.give(none, v9(data(256, 3)))
	b.tick(0)
	b.want("flows", []uint16{3}, b.ports)
	b.close()
	a.close()
}

// A damaged file is left out with one line; the node starts, and writes a whole one.
func TestDamagedState(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, stateFile)
	if err := os.WriteFile(file, []byte("weir exporters\n\x01 and then nothing good"), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	a := life(t, dir, &log)
	a.give(none, v9(template(256)))
	a.close()
	if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "left out") {
		t.Errorf("the log has %d lines:\n%s", n, &log)
	}
	b := life(t, dir, nil)
	b.give(none, v9(data(256, 4)))
	b.tick(0)
	b.want("flows", []uint16{4}, b.ports)
	b.close()
}

// With save off nothing is written.
func TestNothingIsKept(t *testing.T) {
	dir := t.TempDir()
	cfg := Plugin.Spec.Config().(*Config)
	cfg.Templates.Save = false
	c := lifeOf(t, dir, nil, cfg)
	c.give(none, v9(template(256)))
	c.close()
	if es, err := os.ReadDir(dir); err != nil || len(es) > 0 {
		t.Errorf("%d files are in the state directory, %v", len(es), err)
	}
}

// Two processes may have one state directory while one takes over from the other. Whatever they write at once, what is there is whole, and
// nothing is left beside it.
func TestTwoWritersAtOnce(t *testing.T) {
	dir := t.TempDir()
	var xs []*keeper
	for n := range 2 {
		s := netflow.NewStore(netflow.DefaultLimits)
		tab := formatstest.NewTable(ports)
		d := netflow.NewDecoder(s, ports, netflow.Options{}, tab)
		for i := range 500 * (1 + 3*n) {
			d.Decode(&netflow.Datagram{Payload: v9(template(uint16(256 + i))), Addr: router})
		}
		xs = append(xs, &keeper{store: s, file: filepath.Join(dir, stateFile)})
	}
	var wg sync.WaitGroup
	for _, x := range xs {
		wg.Go(func() {
			for range 20 {
				if err := x.save(); err != nil {
					t.Error(err)
				}
				text, err := readState(x.file)
				if err == nil {
					err = netflow.NewStore(netflow.DefaultLimits).Load(text, 0)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if es, err := os.ReadDir(dir); err != nil || len(es) != 1 {
		t.Errorf("%d files, %v", len(es), err)
	}
}

// What a process that died left half written is removed at the next start, what another writes is not.
func TestHalfWrittenFilesAreRemoved(t *testing.T) {
	dir := t.TempDir()
	writing, err := durable.Create(filepath.Join(dir, stateFile), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer writing.Discard()
	others := []string{"exporters2", ".tmp-exporters2-1", filepath.Base(writing.Temporary())}
	for _, name := range []string{".tmp-exporters-1", others[0], others[1]} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	life(t, dir, nil).close()
	if d := cmp.Diff(others, names(t, dir), sorted); d != "" {
		t.Errorf("files (-want +got): %s", d)
	}
}

var sorted = cmp.Transformer("sorted", func(s []string) []string { return slices.Sorted(slices.Values(s)) })

func names(t *testing.T, dir string) (names []string) {
	t.Helper()
	es, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		names = append(names, e.Name())
	}
	return names
}

// A directory that vanishes while the node runs, and in whose place there is something else, is told of once, and noted each time; the
// node decodes on. When it can be made again what exporters have told is kept, and that is said.
func TestTheDirectoryVanishes(t *testing.T) { synctest.Test(t, vanishes) }

func vanishes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	log := &lines{}
	c := lifeLogged(t, dir, log, Plugin.Spec.Config().(*Config))
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.give(none, v9(template(256)))
	noted := func() (n uint64) {
		c.env.Books.Notes(func(r sdk.Reason, k uint64) {
			if r == noteNotKept {
				n = k
			}
		})
		return n
	}
	eventually(t, "it failed twice", func() bool { return noted() >= 2 })
	c.give(none, v9(data(256, 1)))
	c.tick(0)
	c.want("flows", []uint16{1}, c.ports)
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is kept again", func() bool { return strings.Contains(log.String(), "is kept again") })
	if n := strings.Count(log.String(), "making the directory "+dir+""); n != 1 || strings.Count(log.String(), "\n") != 2 {
		t.Errorf("said %d times:\n%s", n, log)
	}
	if d := cmp.Diff([]string{stateFile}, names(t, dir)); d != "" {
		t.Errorf("files (-want +got): %s", d)
	}
	c.close()
}

// lines is a log that may be read while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not within a minute: ", what)
		}
	}
}
