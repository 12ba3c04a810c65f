// Command soak keeps the promise of delivery under kill -9, with real processes:
//
//	go run ./tools/soak -kills 200 -seed 1
//
// The world (a log of numbered records, its consumer group and the stores) lives in this process, behind a Unix socket. Workers are
// further processes of the same binary, each of which runs one pipeline on the engine. They are killed, stopped for longer than
// their session and continued, ended gracefully and joined by others at random moments; then those that are left finish. Every
// committed record must be in every required sink, and none twice in a sink that honours keys.
//
// Exit code 0: so it was. 1: not; the lines say what, and with which seed. The same seed gives the same decisions, not the same
// run: when a process is struck is left to the machine.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == workerCommand {
		os.Exit(workerMain(os.Args[2:]))
	}
	s := soak{out: os.Stdout, errs: os.Stderr}
	flag.IntVar(&s.kills, "kills", 200, "processes to kill with SIGKILL")
	flag.Int64Var(&s.seed, "seed", 1, "of what happens to whom")
	flag.IntVar(&s.workers, "workers", 3, "processes that run at a time, at least 2; one more joins at times")
	flag.DurationVar(&s.limit, "duration", 0, "the most that all may take; 0: a minute and 2 s for each kill")
	flag.BoolVar(&s.verbose, "v", false, "write what happens, and what workers log")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	begun := time.Now()
	faults := s.run(ctx)
	for _, f := range faults {
		fmt.Println("fault:", f)
	}
	if len(faults) > 0 {
		fmt.Printf("seed %d: failed after %v\n", s.seed, time.Since(begun).Round(time.Second))
		os.Exit(1)
	}
	fmt.Printf("seed %d: nothing lost, nothing twice, in %v\n", s.seed, time.Since(begun).Round(time.Second))
}
