package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// status is one line at the foot of a terminal that is written anew every second. What else is written goes above it.
type status struct {
	mu   sync.Mutex
	w    io.Writer
	fd   int
	line string
}

const eraseLine = "\r\x1b[2K"

// Write writes above the line.
func (s *status) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.line == "" {
		return s.w.Write(p)
	}
	var b bytes.Buffer
	b.WriteString(eraseLine)
	b.Write(p)
	b.WriteString(s.line)
	if _, err := s.w.Write(b.Bytes()); err != nil {
		return 0, err
	}
	return len(p), nil
}

// show puts a text into the line, cut to the terminal's width.
func (s *status) show(text string) {
	width, _, err := term.GetSize(s.fd)
	if err != nil || width < 1 { // a terminal that does not know its size
		width = 80
	}
	if r := []rune(text); len(r) >= width {
		text = string(r[:width-1])
	}
	s.mu.Lock()
	s.line = text
	fmt.Fprint(s.w, eraseLine+text)
	s.mu.Unlock()
}

// clear takes the line away.
func (s *status) clear() {
	s.mu.Lock()
	if s.line != "" {
		fmt.Fprint(s.w, eraseLine)
		s.line = ""
	}
	s.mu.Unlock()
}

// watch keeps the line until stop is closed.
func (s *status) watch(runs []*pipelineRun, stop <-chan struct{}) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	defer s.clear()
	type before struct{ in, out uint64 }
	last := make([]before, len(runs))
	at := time.Now()
	for {
		select {
		case <-stop:
			return
		case now := <-t.C:
			seconds := now.Sub(at).Seconds()
			at = now
			var parts []string
			for i, r := range runs {
				rep := r.Report()
				in, out, dropped, lost := progressOf(&rep)
				part := fmt.Sprintf("%s %s/s in, %s/s out", rep.Name, short(float64(in-last[i].in)/seconds), short(float64(out-last[i].out)/seconds))
				if dropped > 0 {
					part += ", " + short(float64(dropped)) + " dropped"
				}
				if lost > 0 {
					part += ", " + short(float64(lost)) + " lost before"
				}
				last[i] = before{in, out}
				parts = append(parts, part)
			}
			s.show(strings.Join(parts, " | "))
		}
	}
}

// short writes a number in five characters or so: 950, 12.3k, 4.56M.
func short(n float64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if n >= u.size {
			return fmt.Sprintf("%.3g%s", n/u.size, u.name)
		}
	}
	return fmt.Sprintf("%.0f", n)
}
