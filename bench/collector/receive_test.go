//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/weirflow/weir/bench/lab"
)

// The child process receives what one socket sends for all exporters, a worker that stalls keeps what it got, and all of it is counted.
func TestReceive(t *testing.T) {
	if args, ok := os.LookupEnv("BENCH_TEST_RECEIVE"); ok {
		if err := receive([]string{"-listen", args, "-workers", "2", "-stall", "1", "-balance", "kernel"}); err != nil {
			t.Fatal(err)
		}
		return
	}
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	addr := "127.0.0.1:" + strconv.Itoa(port)
	cmd := exec.Command(os.Args[0], "-test.run=^TestReceive$")
	cmd.Env = append(os.Environ(), "BENCH_TEST_RECEIVE="+addr)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if at, err := socketsOf(port); err != nil || at.n == 2 {
			break
		} else if time.Now().After(deadline) {
			t.Fatal("it does not listen")
		}
	}
	s, err := newSender(lab.Cases[0], netip.MustParseAddrPort(addr), "mmsg", 500, true)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	if err := s.run(500, 300*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err, out.String())
	}
	var got received
	if err := json.NewDecoder(&out).Decode(&got); err != nil { // the test's own PASS comes behind
		t.Fatal(err)
	}
	if len(got.Workers) != 2 || got.Balance != "kernel" {
		t.Fatalf("%+v", got)
	}
	// By the kernel's hash one 5-tuple stays with one worker: with several sockets both would have some.
	if got.Workers[0]+got.Workers[1] != s.out.Datagrams || got.Workers[0] != 0 && got.Workers[1] != 0 {
		t.Errorf("%+v of %d", got, s.out.Datagrams)
	}
}
