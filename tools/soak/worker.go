package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/weirflow/weir/core/config"
	"github.com/weirflow/weir/core/engine"
	"github.com/weirflow/weir/core/plan"
	"github.com/weirflow/weir/sdk/sdktest/delivery"
	"github.com/weirflow/weir/sinks/discard"
)

const workerCommand = "worker"

// Exit codes of a worker, beside 0.
const (
	exitFailed     = 1 // the run failed
	exitUnbalanced = 3 // its ledger does not balance
	exitUsage      = 2
)

// empties is which records the pipeline filters.
var empties = delivery.EmptiesConfig{Run: 40, Of: 3}

// pipeline has one of each: nodes that hold, filter and lose ranges; keyed sinks behind queues that are nearly always full, one of
// them with late answers; a file that settles late; an optional sink that never answers; dead letters.
const pipeline = `
drain_timeout: 2s
park: 300ms
sources:
  in: {type: numbered, with: {rows: 40, beat: 100ms}}
processors:
  - {id: stamp, type: stamp, with: {generation: GENERATION}}
  - {id: park, type: park, with: {every: 97, offset: 13, ticks: 3}}
  - {id: empties, type: empties}
  - {id: lose, type: lose, from: empties, with: {every: 200ms}}
sinks:
  a: {type: keyed_store, from: empties, queue: {batches: 4}, batch: {rows: 150, age: 200ms}, retry: {initial: 20ms, max: 200ms}, with: {latency: 4ms, async: true}}
  b: {type: keyed_store, from: empties, queue: {batches: 2}, batch: {rows: 90, age: 300ms}, retry: {initial: 20ms, max: 200ms}, with: {latency: 15ms}}
  files: {type: late_files, from: empties, queue: {batches: 8}, with: {rows: 3000, age: 1s}}
  down: {type: keyed_store, from: empties, ack: optional, with: {latency: 1h}}
  sums: {type: discard, from: lose}
  dead: {type: dead_letters, from: errors}
`

// wants is what shall be true at the end.
func wants() []delivery.Want {
	kept := func(r delivery.Record) bool { return empties.Kept(r.Number) }
	return []delivery.Want{
		{Stores: []string{"a"}, Keyed: true, Record: kept},
		{Stores: []string{"b"}, Keyed: true, Record: kept},
		{Stores: []string{"files"}, Record: kept},
	}
}

// workerMain is the life of a worker: it ends by SIGTERM, when its run ends, or when its parent has gone.
func workerMain(args []string) int {
	f := flag.NewFlagSet(workerCommand, flag.ContinueOnError)
	socket := f.String("socket", "", "of the world")
	generation := f.Int("generation", 1, "of this process, written into its records")
	dir := f.String("dir", "", "state directory")
	if err := f.Parse(args); err != nil {
		return exitUsage
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, nil)).With("generation", *generation)
	code, err := work(*socket, *generation, *dir, log)
	if err != nil {
		fmt.Fprintf(os.Stderr, "worker %d: %v\n", *generation, err)
	}
	return code
}

func work(socket string, generation int, dir string, log *slog.Logger) (code int, err error) {
	broker, err := delivery.Dial(socket)
	if err != nil {
		return exitFailed, err
	}
	defer broker.Close()
	text := strings.ReplaceAll(pipeline, "GENERATION", strconv.Itoa(generation))
	p, d := config.Parse("soak.yaml", []byte(text), config.Options{Plugins: config.NewRegistry(delivery.Source(broker), delivery.Stamp,
		delivery.Park(broker), delivery.Empties, delivery.Lose, delivery.Store(broker), delivery.Files(broker), delivery.DeadLetters(broker), discard.Plugin)})
	if d.Failed() {
		return exitUsage, fmt.Errorf("the pipeline is wrong: %v", d.List)
	}
	pl, list := plan.Resolve(p, plan.Options{CPUs: 2})
	if pl == nil {
		return exitUsage, fmt.Errorf("the pipeline is wrong: %v", list)
	}
	run, err := engine.New(pl, engine.Options{Log: log, Dir: dir, CPUs: 2})
	if err != nil {
		return exitFailed, err
	}
	run.Start()
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	orphaned := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin) // its other end is the parent's
		close(orphaned)
	}()
	select {
	case <-term:
		run.Stop()
	case <-orphaned:
		return exitFailed, errors.New("the parent has gone")
	case <-run.Done():
	}
	if err := run.Wait(); err != nil {
		return exitFailed, err
	}
	if rep := run.Report(); !rep.Balanced {
		return exitUnbalanced, fmt.Errorf("the ledger does not balance: %s", strings.Join(rep.Unbalanced, "; "))
	}
	return 0, nil
}
