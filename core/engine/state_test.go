package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/durable"
)

// stateful is a run of which only its state is used.
func stateful(dir string) *Run {
	return &Run{opt: Options{Dir: dir}, log: slog.New(slog.DiscardHandler), plan: &plan.Plan{Pipeline: &config.Pipeline{Name: "p"}}}
}

// Each key of each partition has a value of its own, whatever it is called, and the next start finds it; no name leads out of the
// directory.
func TestStateOutlivesTheRun(t *testing.T) {
	ctx, dir := context.Background(), filepath.Join(t.TempDir(), "data")
	names := []string{"", ".", "..", "%", "%2E", "../../x", "a/b", "a%2Fb", ".tmp-a", "ä", "a\x00b", strings.Repeat("x", 300), strings.Repeat("x", 301), strings.Repeat("ä", 200)}
	want, got := map[string]string{}, map[string]string{}
	for i, p := range names {
		for j, key := range names {
			want[p+"|"+key] = fmt.Sprint(i, " ", j)
			if err := stateful(dir).state("in", &sdk.Partition{Name: p}).Put(ctx, key, []byte(want[p+"|"+key])); err != nil {
				t.Fatalf("partition %.10q, key %.10q: %v", p, key, err)
			}
		}
	}
	for _, p := range names {
		for _, key := range names {
			v, err := stateful(dir).state("in", &sdk.Partition{Name: p}).Get(ctx, key)
			if err != nil {
				t.Fatal(err)
			}
			got[p+"|"+key] = string(v)
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error("(-want +got):", d)
	}
	if v, err := stateful(dir).state("in", &sdk.Partition{Name: "none"}).Get(ctx, "none"); v != nil || err != nil {
		t.Errorf("of what was never put: %q, %v", v, err)
	}
	entries, err := os.ReadDir(filepath.Dir(dir))
	if err != nil || len(entries) != 1 {
		t.Errorf("beside the data directory: %v, %v", entries, err)
	}
}

// What a process that was killed has left half written is removed when its partition's state is next asked for.
func TestHalfWrittenStateIsRemoved(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	p := &sdk.Partition{Name: "0"}
	if err := stateful(dir).state("in", p).Put(ctx, "position", []byte("7")); err != nil {
		t.Fatal(err)
	}
	of := filepath.Join(dir, "p", "in", "state", "0")
	if err := os.WriteFile(filepath.Join(of, durable.Prefix+"position-1"), []byte("8 and"), 0o600); err != nil {
		t.Fatal(err)
	}
	v, err := stateful(dir).state("in", p).Get(ctx, "position")
	if err != nil || !bytes.Equal(v, []byte("7")) {
		t.Errorf("%q, %v", v, err)
	}
	if entries, err := os.ReadDir(of); err != nil || len(entries) != 1 {
		t.Errorf("left %v, %v", entries, err)
	}
}

// State that cannot be put says where and what to do; when the directory is back it is put again.
func TestStateCannotBePut(t *testing.T) {
	ctx, dir := context.Background(), filepath.Join(t.TempDir(), "data")
	kv := stateful(dir).state("in", &sdk.Partition{Name: "0"})
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := kv.Put(ctx, "position", []byte("7"))
	if e, ok := errors.AsType[*durable.Error](err); !ok || !strings.Contains(err.Error(), dir) || e.Do == "" {
		t.Error(err)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	if err := kv.Put(ctx, "position", []byte("7")); err != nil {
		t.Error(err)
	}
}
