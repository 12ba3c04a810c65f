package engine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirflow/weir/sdk"
)

// ledgered is a source that commits and keeps its position in the state directory.
type ledgered struct {
	env  *sdk.Env
	part *sdk.Partition
	kv   sdk.KV
	at   int64
	stop chan struct{}
	gave bool
}

var ledgeredPlugin = sdk.Plugin{
	Spec: sdk.Spec{Kind: sdk.KindSource, Type: "ledgered", Doc: "keeps its position in the state directory", Commits: true, Slowable: true,
		Output: func(any, *sdk.Schema) ([]*sdk.Schema, error) { return []*sdk.Schema{numbers}, nil }},
	Source: func(env *sdk.Env, _ any) (sdk.Source, error) {
		s := &ledgered{env: env, part: &sdk.Partition{Source: env.Node, Name: "rows", Life: 1}, stop: make(chan struct{})}
		s.kv = env.State(s.part)
		v, err := s.kv.Get(context.Background(), "next")
		if err == nil && v != nil {
			s.at, err = strconv.ParseInt(string(v), 10, 64)
		}
		return s, err
	},
}

func (s *ledgered) Accept(ctx context.Context) (sdk.Reader, error) {
	if !s.gave {
		s.gave = true
		return s, nil
	}
	select {
	case <-s.stop:
	case <-ctx.Done():
	}
	return nil, io.EOF
}
func (s *ledgered) Save(ctx context.Context, ps []sdk.Position) error {
	return s.kv.Put(ctx, "next", fmt.Append(nil, ps[len(ps)-1].Next))
}
func (s *ledgered) Partition() *sdk.Partition { return s.part }
func (s *ledgered) Planned() sdk.Position {
	return sdk.Position{Partition: s.part, Next: s.at, Stored: -1}
}
func (s *ledgered) Ready() <-chan struct{}      { return nil }
func (s *ledgered) Stop(context.Context) error  { close(s.stop); return nil }
func (s *ledgered) Close(context.Context) error { return nil }

// Read gives a row each 10 ms.
func (s *ledgered) Read(context.Context, time.Duration) (*sdk.Batch, error) {
	select {
	case <-s.stop:
		return nil, sdk.ErrRevoked
	default:
	}
	time.Sleep(10 * time.Millisecond)
	b := s.env.NewBatch(numbers, 1)
	sdk.Claim[uint64](b, 0, 0, 1)[0] = uint64(s.at)
	b.SetRows(1)
	b.Seal()
	b.Root(sdk.Range{Partition: s.part, First: s.at, Last: s.at})
	s.at++
	s.env.Books.Received.Add(1)
	return b, nil
}

// A state directory that vanishes while a source that commits runs stops nothing: each try to save is a line that says what to do, less
// and less often, and is noted; when the directory is there again the position is saved, and that is said. If it is not there at the
// end, the run fails and says that records will come twice. None is lost: each life begins where the last one saved.
func TestTheStateDirectoryVanishes(t *testing.T) {
	for _, comesBack := range []bool{true, false} {
		t.Run(fmt.Sprint("comes back=", comesBack), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "data")
				store := newStores()
				var said bytes.Buffer
				life := func() *Run {
					r, err := New(planned(t, "drain_timeout: 5s\nsources: {in: {type: ledgered}}\nsinks: {out: {type: mem, batch: {rows: 5, age: 100ms}}}\n",
						append(store.plugins(), ledgeredPlugin)...), Options{Dir: dir, Log: slog.New(slog.NewTextHandler(&said, nil))})
					if err != nil {
						t.Fatal(err)
					}
					r.Start()
					return r
				}
				r := life()
				time.Sleep(5 * time.Second)
				synctest.Wait() // no save is under way
				if err := os.Rename(dir, dir+".gone"); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(dir, nil, 0o600); err != nil {
					t.Fatal(err)
				}
				before := r.Report().Delivered
				time.Sleep(5 * time.Minute)
				if n := r.Report().Delivered - before; n < 20_000 {
					t.Errorf("only %d were delivered meanwhile", n)
				}
				noted := r.Report().Noted["positions_not_saved"]
				if noted < 30 || noted > 50 {
					t.Errorf("%d tries in five minutes", noted)
				}
				if comesBack {
					synctest.Wait()
					if err := os.Remove(dir); err != nil {
						t.Fatal(err)
					}
					time.Sleep(30 * time.Second)
				}
				r.Stop()
				err := r.Wait()
				if comesBack != (err == nil) || err != nil && (!strings.Contains(err.Error(), "is read again at the next start") || !strings.Contains(err.Error(), dir)) {
					t.Error(err)
				}
				balanced(t, r)
				if n := strings.Count(said.String(), "move away what is in the directory's place"); n != int(r.Report().Noted["positions_not_saved"]) ||
					strings.Contains(said.String(), "positions are saved again") != comesBack {
					t.Errorf("said %d times: %.2000s", n, said.String())
				}
				if !comesBack {
					if err := os.Remove(dir); err != nil {
						t.Fatal(err)
					}
					if err := os.Rename(dir+".gone", dir); err != nil {
						t.Fatal(err)
					}
				}
				r = life()
				time.Sleep(time.Second)
				r.Stop()
				if err := r.Wait(); err != nil {
					t.Error(err)
				}
				times := map[uint64]int{}
				for _, n := range store.rows["mem"] {
					times[n]++
				}
				twice := 0
				for n := range uint64(len(times)) {
					if times[n] == 0 {
						t.Fatalf("row %d is lost", n)
					}
					twice += times[n] - 1
				}
				if comesBack && twice > 0 {
					t.Errorf("%d rows came twice", twice)
				}
			})
		})
	}
}
