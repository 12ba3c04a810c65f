// Package plan turns a pipeline's names into a typed graph and the graph into a plan: nodes with resolved schemas and the
// columns they need, stages that run fused, lanes and queues. A plan is pure data; package engine runs it, commands print it.
package plan
