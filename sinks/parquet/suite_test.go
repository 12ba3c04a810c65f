package parquet

import (
	"path/filepath"
	"testing"

	"github.com/weirflow/weir/sdk/sdktest"
)

func TestSuite(t *testing.T) {
	rolled := func(t testing.TB) any {
		c := config(t.TempDir())
		c.Roll.Rows = 500
		return c
	}
	stored := func(t testing.TB, cfg any) (n int) {
		dir := cfg.(*Config).Dir
		for _, name := range files(t, dir) {
			rows, _, _ := read(t, filepath.Join(dir, name))
			n += len(rows)
		}
		return n
	}
	sdktest.Sink(t, Plugin,
		sdktest.SinkCase{Name: "one file", In: every, Config: func(t testing.TB) any { return config(t.TempDir()) }, Stored: stored},
		sdktest.SinkCase{Name: "rolled", In: every, Config: rolled, Stored: stored})
}
