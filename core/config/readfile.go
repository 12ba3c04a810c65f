package config

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// readFile reads at most limit+1 bytes: whoever asks sees that it is too large.
func readFile(name string, limit int64) ([]byte, error) {
	if info, err := os.Stat(name); err == nil && info.Mode()&fs.ModeNamedPipe != 0 {
		return readPipe(name, limit)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit+1))
}

// pipePatience is how long somebody may take to write to a named pipe, of which nothing but waiting tells whether anybody ever will.
var pipePatience = 5 * time.Second

var errSilentPipe = errors.New("it is a named pipe, and nobody has written to it and closed it for a while")

// readPipe reads a named pipe to its end, as a shell gives it for <(...).
func readPipe(name string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	end := time.Now().Add(pipePatience)
	_ = f.SetReadDeadline(end) // where a pipe has none, its reader waits as long as its writer
	for {
		text, err := io.ReadAll(io.LimitReader(f, limit+1))
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, errSilentPipe
		case err != nil || len(text) > 0:
			return text, err
		case time.Now().After(end):
			return nil, errSilentPipe
		}
		time.Sleep(10 * time.Millisecond) // it has no writer yet
	}
}
