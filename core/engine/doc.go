// Package engine runs a plan: it makes the nodes' instances, drives batches through them and keeps the promise that every
// record is delivered, deliberately dropped and counted, or still in flight.
//
// A reading order: [Run] (one pipeline from start to end; build.go makes it), lane.go (the goroutine that drives a stage), chain.go (the
// instances of a stage and how a batch passes them), source.go and read.go (readers), partition.go, cut.go, mark.go and saver.go (segments of what
// a committing source reads, DESIGN 7), sink.go and block.go (blocks, retries, acknowledgement).
//
// Who owns what: a lane owns its chain and its readers; a sink's lane owns its blocks; a partition's segments are shared and
// have a lock of their own, never held while anything else is called. Everything else is an atomic or immutable.
package engine
