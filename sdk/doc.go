// Package sdk is all that an author of a Weir plugin sees: the batch in which records travel, the contracts of
// sources, processors and sinks, and the specification by which a plugin describes itself.
//
// Start reading at [Batch] (what moves), then [Plugin] and [Spec] (how a plugin is declared), then one of [Source],
// [Processor] and [Sink] (what it does). Everything a plugin is given at creation is in [Env]; what it counts, in [Books].
//
// The core of Weir implements nothing of a plugin and a plugin imports nothing of the core. Built-in plugins and plugins of
// strangers satisfy the same interfaces and pass the same suite (package sdktest).
package sdk
