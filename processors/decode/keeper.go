package decode

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/weirflow/weir/formats/netflow"
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/durable"
)

// keeper keeps what a store knows in a file: written a few seconds after a change, so that a crash costs no more than that, and read
// when the node starts, so that data decodes at once though its templates may not come again for half an hour.
type keeper struct {
	store *netflow.Store
	log   *slog.Logger
	books *sdk.Books // of the lane that opened it
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
)

// newKeeper reads what was kept in dir into a store, and keeps it from then on. What is at fault with the file is told in the log and no
// reason not to start; a directory that can never take it is.
func newKeeper(store *netflow.Store, dir string, now int64, log *slog.Logger, books *sdk.Books) (*keeper, error) {
	x := &keeper{store: store, log: log, books: books, file: filepath.Join(dir, stateFile), stop: make(chan struct{}), done: make(chan struct{})}
	if err := x.writable(); err != nil {
		return nil, &sdk.NotReady{What: "what exporters tell cannot be kept in " + dir, Err: err,
			Do: "make the directory writable for the user that weir runs as, choose another with --data-dir, or say `templates: {save: false}`"}
	}
	if _, err := durable.RemoveLeft(dir, func(name string) bool { return strings.HasPrefix(name, stateFile+"-") }); err != nil {
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

// writable makes the directory and tries whether it takes files. A disk that is full today may not be tomorrow, and is no error.
func (x *keeper) writable() error {
	err := durable.MkdirAll(filepath.Dir(x.file), 0o750)
	if err == nil {
		var f *durable.File
		if f, err = durable.Create(x.file, 0o640); err == nil {
			err = f.Discard()
		}
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return nil
	}
	return err
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
		if err != nil {
			x.books.Note(noteNotKept, 1)
		}
		if err != nil && !failed {
			x.log.Error("what exporters have told cannot be kept for the next start; it will be tried again", "error", err)
		} else if err == nil && failed {
			x.log.Info("what exporters have told is kept again", "file", x.file)
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

// save writes the file. Two processes may have the directory while one takes over from the other: the last that is whole stays.
func (x *keeper) save() error { return durable.Write(x.file, x.store.Save(nil)) }

// close writes what is not written yet; x may be nil.
func (x *keeper) close() error {
	if x != nil {
		close(x.stop)
		<-x.done
	}
	return nil
}
