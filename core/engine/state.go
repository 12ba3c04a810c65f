package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/durable"
)

// dirKV keeps small state as files of a directory: a value is whole, the old one or the new, whatever happens while it is put.
type dirKV struct{ dir string }

// state is where a node keeps what belongs to a partition. What a process that was killed has left half written goes.
func (r *Run) state(node string, p *sdk.Partition) sdk.KV {
	d := dirKV{filepath.Join(r.opt.Dir, r.plan.Pipeline.Name, node, "state", fileName(p.Name))}
	if _, err := durable.RemoveLeft(d.dir, func(string) bool { return true }); err != nil {
		r.log.Warn("what an earlier process left half written cannot be removed", "node", node, "error", err)
	}
	return d
}

func (d dirKV) Get(_ context.Context, key string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(d.dir, fileName(key)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

func (d dirKV) Put(_ context.Context, key string, value []byte) error {
	return durable.Write(filepath.Join(d.dir, fileName(key)), value)
}

// longName is the longest name that stands for itself: file systems take 255 bytes, and a temporary file's is longer.
const longName = 200

// fileName makes any name one of a file, different ones different: it has no slash, does not begin with a dot, is not empty and
// not too long.
func fileName(name string) string {
	s := url.PathEscape(name)
	switch {
	case s == "":
		s = "%"
	case s[0] == '.':
		s = "%2E" + s[1:]
	}
	if len(s) > longName {
		sum := sha256.Sum256([]byte(name))
		s = s[:longName] + "%" + hex.EncodeToString(sum[:16])
	}
	return s
}
