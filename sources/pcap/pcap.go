package pcap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/weirflow/weir/formats/pcap"
	"github.com/weirflow/weir/sdk"
)

// source hands out a reader for each file.
type source struct {
	env     *sdk.Env
	cols    columns
	ports   *[65536]bool // nil: all
	slabs   slabs
	stopped atomic.Bool

	mu    sync.Mutex // of the books, which are written by one at a time, and of paths
	paths []string   // not yet accepted
}

// newSource finds the files and looks at how each begins, so that a wrong name is met before anything has been read.
func newSource(env *sdk.Env, cfg *Config) (sdk.Source, error) {
	s := &source{env: env, cols: resolve(env, cfg.Payload)}
	if len(cfg.Port) > 0 {
		s.ports = new([65536]bool)
		for _, p := range cfg.Port {
			s.ports[p] = true
		}
	}
	for _, pattern := range cfg.Path {
		found, err := expand(pattern)
		if err != nil {
			return nil, err
		}
		for _, path := range found {
			if err := probe(path); err != nil {
				return nil, err
			}
			if !slices.Contains(s.paths, path) {
				s.paths = append(s.paths, path)
			}
		}
	}
	return s, nil
}

// expand lists the files that a pattern names, in the order of their names.
func expand(pattern string) ([]string, error) {
	if !strings.ContainsAny(pattern, `*?[\`) {
		return []string{pattern}, nil
	}
	all, err := filepath.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("path %q: %w", pattern, err)
	}
	files := all[:0]
	for _, path := range all {
		if st, err := os.Stat(path); err != nil || !st.IsDir() {
			files = append(files, path)
		}
	}
	if len(files) == 0 {
		return nil, &sdk.NotReady{What: fmt.Sprintf("no file matches %s", pattern), Do: "check the pattern and the directory the process runs in"}
	}
	return files, nil
}

// probe says whether a file can be opened and begins like a capture file.
func probe(path string) error {
	f, err := open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	// Any block that is not needed can follow at once, of any length: only the format is asked for here.
	head := make([]byte, 28)
	n, err := io.ReadFull(f, head)
	var d pcap.Decoder
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		_, _, err = d.Next(head[:n], new(pcap.Packet))
		if err == nil && d.Offset() == 0 {
			err = d.End(n)
		}
	}
	if e, ok := errors.AsType[*pcap.Error](err); ok && e.Why == pcap.Format {
		return &sdk.NotReady{What: fmt.Sprintf("%s: %s", path, e.What), Do: "name capture files only"}
	}
	if err != nil {
		return &sdk.NotReady{What: fmt.Sprintf("%s cannot be read", path), Err: err, Do: "check the file"}
	}
	return nil
}

func (s *source) Accept(context.Context) (sdk.Reader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.paths) == 0 || s.stopped.Load() {
		return nil, io.EOF
	}
	path := s.paths[0]
	f, err := open(path)
	if err != nil {
		return nil, err
	}
	s.paths = s.paths[1:]
	return newReader(s, path, f), nil
}

// Stop ends each file where it is being read. Positions are not kept, so what was not read is not read.
func (s *source) Stop(context.Context) error {
	s.stopped.Store(true)
	return nil
}

func (s *source) Close(context.Context) error { return nil }

// columns are where the schema has what a record gives, -1 for what nobody needs.
type columns struct {
	schema                                 *sdk.Schema
	packets                                bool
	payload, addr, port, time              int
	frame, captured, length, interfaceName int
}

func resolve(env *sdk.Env, payload string) columns {
	c := columns{packets: payload == payloadPackets}
	full := sdk.Datagram
	if c.packets {
		full = sdk.Packet
	}
	c.schema = full
	if len(env.Out) > 0 {
		c.schema = env.Out[0]
	}
	at := func(col int) int { return c.schema.Index(full.Field(col).Name) }
	if c.packets {
		c.frame, c.captured, c.length, c.interfaceName = at(sdk.PacketFrame), at(sdk.PacketCaptured), at(sdk.PacketLength), at(sdk.PacketInterface)
	} else {
		c.payload, c.addr, c.port, c.time = at(sdk.DatagramPayload), at(sdk.DatagramExporterAddr), at(sdk.DatagramExporterPort), at(sdk.DatagramReceived)
	}
	return c
}
