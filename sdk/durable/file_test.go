package durable

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// begun is a new file with all of its content.
func begun(t *testing.T, path string) *File {
	t.Helper()
	f, err := CreateNew(path, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Discard() })
	if _, err := f.Write(after); err != nil {
		t.Fatal(err)
	}
	return f
}

// A new file appears whole, takes no other's place, and its name is kept for it while it is written.
func TestCreateNew(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "new")
	f := begun(t, path)
	if _, err := CreateNew(path, 0o644); !errors.Is(err, fs.ErrExist) {
		t.Error("while it is written:", err)
	}
	if d := cmp.Diff([]string{Prefix + "new"}, names(t, dir)); d != "" {
		t.Error("(-want +there):", d)
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := CreateNew(path, 0o644); !errors.Is(err, fs.ErrExist) {
		t.Error("when it is there:", err)
	}
	if d := cmp.Diff([]string{"new"}, names(t, dir)); d != "" || !bytes.Equal(content(t, path), after) {
		t.Error("(-want +there):", d)
	}
	if err := f.Discard(); err != nil || !bytes.Equal(content(t, path), after) {
		t.Error("after Commit nothing is discarded:", err)
	}
}

// While a step of Commit fails the file has no name that a reader would find; then Commit works, and nothing is lost.
func TestCommitMayBeCalledAgain(t *testing.T) {
	for i, op := range []string{"rename", "sync directory"} {
		t.Run(op, func(t *testing.T) {
			dir := t.TempDir()
			f := begun(t, filepath.Join(dir, "new"))
			for range 2 {
				failing(t, 1+i, syscall.ENOSPC) // the first is the sync
				if f.synced {
					failing(t, i, syscall.ENOSPC)
				}
				if err := f.Commit(); !errors.Is(err, syscall.ENOSPC) {
					t.Fatal(err)
				}
				if d := cmp.Diff([]string{Prefix + "new"}, names(t, dir)); d != "" {
					t.Error("(-want +there):", d)
				}
			}
			sound()
			if err := f.Commit(); err != nil || !bytes.Equal(content(t, f.Path()), after) {
				t.Error(err)
			}
		})
	}
}

// What cannot be committed and is given up is gone, wherever it stood.
func TestDiscardAtEachStep(t *testing.T) {
	for i, op := range []string{"sync", "rename", "sync directory"} {
		dir := t.TempDir()
		f := begun(t, filepath.Join(dir, "new"))
		failing(t, i, syscall.EIO)
		if err := f.Commit(); !errors.Is(err, syscall.EIO) {
			t.Fatal(op, err)
		}
		if err := f.Discard(); err != nil || len(names(t, dir)) > 0 {
			t.Errorf("%s: %v, left %v", op, err, names(t, dir))
		}
	}
}

// A file whose directory is removed or moved away while it is written is whole in the one that comes in its place. Until then the
// error says what to do.
func TestTheDirectoryVanishes(t *testing.T) {
	for name, vanish := range map[string]func(dir string) error{
		"removed": os.RemoveAll,
		"moved":   func(dir string) error { return os.Rename(dir, dir+".old") },
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "archive")
			if err := os.Mkdir(dir, 0o750); err != nil {
				t.Fatal(err)
			}
			f := begun(t, filepath.Join(dir, "new"))
			if err := vanish(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := f.Write(before); err != nil {
				t.Error("while nobody knows, writing goes on:", err)
			}
			for range 2 {
				err := f.Commit()
				if e, ok := errors.AsType[*Error](err); !ok || e.Code() != "no_directory" || !strings.HasSuffix(err.Error(), "make the directory again") || !strings.Contains(err.Error(), dir) {
					t.Error(err)
				}
			}
			if err := os.Mkdir(dir, 0o750); err != nil {
				t.Fatal(err)
			}
			failing(t, 1, syscall.ENOSPC) // of the copy
			if err := f.Commit(); !errors.Is(err, syscall.ENOSPC) || len(names(t, dir)) > 0 {
				t.Error(err, names(t, dir))
			}
			sound()
			if err := f.Commit(); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff([]string{"new"}, names(t, dir)); d != "" || !bytes.Equal(content(t, f.Path()), append(bytes.Clone(after), before...)) {
				t.Error("(-want +there):", d)
			}
		})
	}
}

// Another file that has come to stand under the temporary name is not given the name, nor is one there overwritten.
func TestOthersFilesAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	f := begun(t, filepath.Join(dir, "new"))
	if err := os.Remove(f.Temporary()); err != nil {
		t.Fatal(err)
	}
	other := begun(t, f.Path())
	if err := f.Commit(); !errors.Is(err, fs.ErrExist) {
		t.Error("while another writes it:", err)
	}
	if err := other.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := f.Commit(); !errors.Is(err, fs.ErrExist) {
		t.Error("when it is there:", err)
	}
	if err := f.Discard(); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff([]string{"new"}, names(t, dir)); d != "" {
		t.Error("(-want +there):", d)
	}
}
