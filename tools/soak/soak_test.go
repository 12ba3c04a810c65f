package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == workerCommand {
		os.Exit(workerMain(os.Args[2:])) // the test's binary is the workers'
	}
	goleak.VerifyTestMain(m)
}

func TestThreeKillsLoseNothing(t *testing.T) {
	var out strings.Builder
	s := soak{kills: 3, seed: 7, workers: 2, limit: time.Minute, out: &out, errs: &out, verbose: testing.Verbose()}
	for _, f := range s.run(t.Context()) {
		t.Error(f)
	}
	t.Log(out.String())
	if s.killed != 3 {
		t.Errorf("%d processes were killed", s.killed)
	}
	if len(s.alive) > 0 {
		t.Errorf("%d processes are left", len(s.alive))
	}
}
