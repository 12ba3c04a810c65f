package main

import (
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startWeir starts this binary on a pipeline with standard error in a file, and tells what is in that.
func startWeir(t *testing.T, pipeline string, prepare func(*exec.Cmd), more ...string) (cmd *exec.Cmd, log func() string) {
	t.Helper()
	dir := t.TempDir()
	file, errs := filepath.Join(dir, "p.yaml"), filepath.Join(dir, "err")
	if err := os.WriteFile(file, []byte(pipeline), 0o644); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(errs)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	// Where the tests run under nohup the process would inherit that SIGHUP is ignored; a handled signal it does not.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(hangups) })
	cmd = exec.CommandContext(t.Context(), self, append([]string{"run", file, "--admin", "off", "--data-dir", dir, "--summary", "json"}, more...)...)
	cmd.Args[0] = "weir"
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	cmd.Stderr, cmd.SysProcAttr = f, &syscall.SysProcAttr{Setsid: true}
	prepare(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, func() string {
		b, err := os.ReadFile(errs)
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
}

func untilSaid(t *testing.T, log func() string, text string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !strings.Contains(log(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %q in\n%s", text, log())
		}
	}
}

const endless = "sources: { in: { type: generate, with: { rate: 5000 } } }\nsinks: { out: { type: discard } }\n"

// SIGHUP does not end a service: it is said that nothing is read anew, and SIGTERM drains as ever.
func TestHangupOfService(t *testing.T) {
	cmd, log := startWeir(t, endless, func(*exec.Cmd) {})
	untilSaid(t, log, "msg=running")
	for _, s := range []struct {
		signal syscall.Signal
		said   string
	}{{syscall.SIGHUP, "files are not read anew while running"}, {syscall.SIGTERM, "msg=draining signal=terminated"}} {
		if err := cmd.Process.Signal(s.signal); err != nil {
			t.Fatal(err)
		}
		untilSaid(t, log, s.said)
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(log(), `"balanced":true`) {
		t.Errorf("%v\n%s", err, log())
	}
}

// A terminal that is gone drains what it controls, however often that is said.
func TestHangupOfTerminal(t *testing.T) {
	process, person := terminal(t, 80, 24)
	cmd, log := startWeir(t, endless, func(c *exec.Cmd) {
		c.Stdin, c.SysProcAttr.Setctty, c.SysProcAttr.Ctty = process, true, 0
	})
	untilSaid(t, log, "msg=running")
	process.Close()
	person.Close()
	untilSaid(t, log, "draining: the terminal is gone")
	_ = cmd.Process.Signal(syscall.SIGHUP) // the shell's; it may have ended
	if err := cmd.Wait(); err != nil || !strings.Contains(log(), `"balanced":true`) {
		t.Errorf("%v\n%s", err, log())
	}
}

// Who reads the log may end: what Weir has received is delivered all the same, and its end is its own.
func TestNobodyReadsTheLog(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	archive := t.TempDir()
	cmd, _ := startWeir(t, "sources: { in: { type: generate, with: { protocol: v9, records: 500, rate: 1000 } } }\nprocessors: [ { id: decode, type: decode } ]\n"+
		"sinks: { out: { type: parquet, with: { dir: "+archive+" } } }\n", func(c *exec.Cmd) { c.Stderr = w }, "--log-level", "debug")
	w.Close()
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != exitRuntime { // the summary could not be written
		t.Errorf("it ended with %v", err)
	}
	files, err := filepath.Glob(filepath.Join(archive, "*.parquet"))
	if err != nil || len(files) != 1 {
		t.Errorf("%v, %v, want one file that is whole", files, err)
	}
}
