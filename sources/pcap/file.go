package pcap

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/gzip"

	"github.com/weirflow/weir/sdk"
)

// open opens a capture file, unpacking it if it is compressed with gzip, whatever its name says.
func open(path string) (_ io.ReadCloser, err error) {
	f, err := os.Open(path)
	if err != nil {
		n := &sdk.NotReady{What: fmt.Sprintf("%s cannot be opened", path), Err: err, Do: "check the path"}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			n.What, n.Err, n.Do = fmt.Sprintf("there is no file %s", path), nil, "check the path and the directory the process runs in"
		case errors.Is(err, fs.ErrPermission):
			n.What, n.Err, n.Do = fmt.Sprintf("no permission to read %s", path), nil, "give the process's user the right to read it"
		}
		return nil, n
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	st, err := f.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("opening %s: %w", path, err)
	case st.IsDir():
		return nil, &sdk.NotReady{What: fmt.Sprintf("%s is a directory", path), Do: fmt.Sprintf("name its files: %s", filepath.Join(path, "*.pcap"))}
	case !st.Mode().IsRegular(): // it is opened twice, and could not be read again
		return nil, &sdk.NotReady{What: fmt.Sprintf("%s is not a regular file", path), Do: "store the capture in a file first"}
	}
	head := bufio.NewReaderSize(f, 64<<10)
	if magic, err := head.Peek(2); err != nil || !bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		return f, nil
	}
	z, err := gzip.NewReader(head)
	if err != nil {
		return nil, &sdk.NotReady{What: fmt.Sprintf("%s begins like a file compressed with gzip and is not one", path), Err: err, Do: "check the file"}
	}
	return &file{z, f}, nil
}

// file reads from one place and closes another.
type file struct {
	io.Reader
	io.Closer
}

// ended says whether err, of a compressed file, means that the file stops early or is damaged.
func ended(err error) (sdk.Reason, bool) {
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return ReasonFileTruncated, true
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader):
		return ReasonFileCorrupt, true
	}
	return "", false
}
