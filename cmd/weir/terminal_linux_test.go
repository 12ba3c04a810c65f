package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo-terminal of a size: what the process has, and what the person sees.
func terminal(t *testing.T, columns, rows uint16) (process, person *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("there are no pseudo-terminals here:", err)
	}
	t.Cleanup(func() { person.Close() })
	fd := int(person.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Skip("the pseudo-terminal cannot be unlocked:", err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows}); err != nil {
		t.Fatal(err)
	}
	process, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip("the pseudo-terminal cannot be opened:", err)
	}
	t.Cleanup(func() { process.Close() })
	return process, person
}

// Guarantees: on a very small terminal the line at the foot is no wider than the terminal, so that it can be taken away again, and the
// run ends as on any other; the table of records has a column at least; and no sequence but those for the line is written.
func TestSmallTerminal(t *testing.T) {
	const columns, rows = 10, 3
	for _, c := range []struct{ name, sink, want string }{
		{"line", "discard", "balanced: "},
		{"table", "stdout, with: { format: table }", "balanced: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			process, person := terminal(t, columns, rows)
			dir := t.TempDir()
			file := filepath.Join(dir, "a-pipeline-with-a-long-name.yaml")
			text := "sources: { in: { type: generate, with: { protocol: v9, records: 240, rate: 150 } } }\nprocessors: [ { id: decode, type: decode } ]\nsinks: { out: { type: " + c.sink + " } }\n"
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), self, "run", file, "--admin", "off", "--data-dir", dir)
			cmd.Args[0] = "weir"
			cmd.Env = append(os.Environ(), "TERM=xterm", "GORACE=atexit_sleep_ms=0")
			cmd.Stdin, cmd.Stdout, cmd.Stderr = process, process, process
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			process.Close()
			person.SetReadDeadline(time.Now().Add(time.Minute))
			seen, _ := io.ReadAll(person) // ends with EIO when the process has left
			if err := cmd.Wait(); err != nil {
				t.Fatalf("%v\n%s", err, seen)
			}
			if !utf8.Valid(seen) || strings.Contains(string(seen), "panic") || !strings.Contains(string(seen), c.want) {
				t.Errorf("seen:\n%q", seen)
			}
			shown := regexp.MustCompile(`\r\x1b\[2K([^\r\n\x1b]*)(\r?\n)?`).FindAllStringSubmatch(string(seen), -1)
			if c.name == "line" && len(shown) < 2 {
				t.Errorf("no line of progress in\n%q", seen)
			}
			for _, m := range shown {
				if n := utf8.RuneCountInString(m[1]); m[2] == "" && n >= columns { // else it is what was written above the line
					t.Errorf("a line of %d columns at the foot of a terminal of %d: %q", n, columns, m[1])
				}
			}
			if rest := strings.ReplaceAll(string(seen), "\r\x1b[2K", ""); strings.Contains(rest, "\x1b") {
				t.Errorf("other sequences in\n%q", seen)
			}
		})
	}
}
