// Package plan turns a pipeline's names into a typed graph and the graph into a plan: nodes with resolved schemas and the
// columns they need, stages that run fused, lanes and queues. A plan is pure data; package engine runs it, commands print it.
//
// [Resolve] does it in passes, each a file: names become edges (wire.go), schemas run forward from the sources (schema.go),
// filters go into sources that can apply them (push.go), needed columns run backward from the sinks (needs.go), neighbours fuse
// into stages with queues between them (stages.go), and each sink is told what it can count on (promise.go). All that is wrong
// is said at once, with its place in the file.
//
// What is done with a plan: [Plan.Text], [Plan.JSON] and [Plan.Graph] show it, [Diff] says what a reload from one to another
// does.
package plan
