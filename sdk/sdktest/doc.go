// Package sdktest is the conformance suite of the SDK: what every plugin, built-in or not, must pass.
//
//	func TestConformance(t *testing.T) {
//		sdktest.Processor(t, filter.Plugin, sdktest.ProcessorCase{
//			Name: "dns only", Config: &filter.Config{When: "dst_port == 53"}, In: flow.Default(),
//		})
//	}
//
// [Processor], [Source] and [Sink] drive a plugin as the core does, and as unkindly as the core may: rows split in other places,
// memory overwritten as soon as it is the suite's again, outputs settled late and in any order, ticks while blocked, cuts
// anywhere. Each runs the plugin twice: directly, and through a loop-back over which batches travel as Arrow IPC bytes and all
// else as encoded messages, so that a plugin that passes also works in a process of its own.
//
// Tests of one plugin's own behaviour use the parts: [Env] (a pool full of dirty memory, a [Clock] moved by hand, shared objects
// that must be closed), [Fill] and [Batch] (random rows of any schema), [RowsOf] (a batch as values that go-cmp compares),
// [TestData] (captures and malformed examples, where they are), [Mallocs] and [ReportRecords] (what a record costs in a benchmark).
package sdktest
