package decode

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/weirflow/weir/formats/netflow"
	"github.com/weirflow/weir/sdk"
)

// keeper keeps what a store knows in a file: written a few seconds after a change, so that a crash costs no more than that, and read
// when the node starts, so that data decodes at once though its templates may not come again for half an hour.
type keeper struct {
	store *netflow.Store
	log   *slog.Logger
	file  string
	stop  chan struct{}
	done  chan struct{}
}

const (
	stateFile = "exporters"
	// saveEvery is how long a change may wait to be written; ages alone are written as seldom as saveAges.
	saveEvery = 2 * time.Second
	saveAges  = 10 * time.Minute
	// saveShare bounds the time spent on writing, for a flood of templates changes the store all the time: one part in so many.
	saveShare = 20
	// newFiles are those being written, and leftAfter is when one that is still there was left behind by a process that died: another one
	// that lives may be writing.
	newFiles  = stateFile + ".new*"
	leftAfter = time.Minute
)

// newKeeper reads what was kept in dir into a store, and keeps it from then on. What is at fault with the file is told in the log and no
// reason not to start; a directory that can never take it is.
func newKeeper(store *netflow.Store, dir string, now int64, log *slog.Logger) (*keeper, error) {
	if err := writable(dir); err != nil {
		return nil, &sdk.NotReady{What: "what exporters tell cannot be kept in " + dir, Err: err,
			Do: "make the directory writable for the user that weir runs as, choose another with --data-dir, or say `templates: {save: false}`"}
	}
	x := &keeper{store: store, log: log, file: filepath.Join(dir, stateFile), stop: make(chan struct{}), done: make(chan struct{})}
	if err := removeLeft(dir); err != nil {
		log.Warn("what an earlier process left half written cannot be removed", "dir", dir, "error", err)
	}
	switch text, err := readState(x.file); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		log.Warn("what exporters had told before cannot be read; they will tell it again", "file", x.file, "error", err)
	default:
		if err := store.Load(text, now); err != nil {
			log.Warn("what exporters had told before is left out; they will tell it again", "file", x.file, "error", err)
		} else if n, templates, _ := store.Size(); n > 0 {
			log.Info("exporters are known from before", "exporters", n, "templates", templates)
		}
	}
	go x.run(store.Changes())
	return x, nil
}

// writable makes dir and tries whether it takes files. A disk that is full today may not be tomorrow, and is no error.
func writable(dir string) error {
	err := os.MkdirAll(dir, 0o750)
	if err == nil {
		var f *os.File
		if f, err = os.CreateTemp(dir, ".writable-*"); err == nil {
			err = errors.Join(f.Close(), os.Remove(f.Name()))
		}
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return nil
	}
	return err
}

// removeLeft removes the files that processes which died while they wrote have left.
func removeLeft(dir string) (errs error) {
	files, err := os.ReadDir(dir)
	for _, f := range files {
		if ok, _ := filepath.Match(newFiles, f.Name()); !ok {
			continue
		}
		if x, err := f.Info(); err == nil && time.Since(x.ModTime()) > leftAfter {
			errs = errors.Join(errs, os.Remove(filepath.Join(dir, f.Name())))
		}
	}
	return errors.Join(err, errs)
}

func readState(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, netflow.MaxSave+1))
	if err == nil && len(text) > netflow.MaxSave {
		err = fmt.Errorf("it is larger than %d bytes", netflow.MaxSave)
	}
	return text, err
}

// run writes the file whenever the store has changed since at, until it is closed.
func (x *keeper) run(at uint64) {
	defer close(x.done)
	wrote, failed := time.Now(), false
	write := func() {
		began := time.Now()
		at = x.store.Changes()
		err := x.save()
		if err != nil && !failed {
			x.log.Error("what exporters have told cannot be kept for the next start; it will be tried again", "file", x.file, "error", err)
		}
		failed, wrote = err != nil, time.Now()
		select { // after a long write, a long pause
		case <-x.stop:
		case <-time.After(saveShare * time.Since(began)):
		}
	}
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if now := x.store.Changes(); now != at || failed || now > 0 && time.Since(wrote) >= saveAges {
				write()
			}
		case <-x.stop:
			if x.store.Changes() > 0 {
				write()
			}
			return
		}
	}
}

// save writes the file beside the old one and puts it in its place, so that there is a whole one at all times. Two processes may have the
// directory while one takes over from the other: each writes a file of its own, and the last that is whole stays.
func (x *keeper) save() error {
	if err := os.MkdirAll(filepath.Dir(x.file), 0o750); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(x.file), newFiles)
	if err != nil {
		return err
	}
	_, err = f.Write(x.store.Save(nil))
	if err == nil {
		err = errors.Join(f.Chmod(0o640), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), x.file); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(x.file))
}

// syncDir makes a rename durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// close writes what is not written yet; x may be nil.
func (x *keeper) close() error {
	if x != nil {
		close(x.stop)
		<-x.done
	}
	return nil
}
