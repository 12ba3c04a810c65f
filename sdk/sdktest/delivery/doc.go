// Package delivery holds the plugins with which the promise of delivery is proved: a source of numbered records with a
// consumer group behind it, sinks that store records by number, processors that hold, lose, route and drop records by number,
// and the check that says of every record whether it was stored once.
//
// Everything outside a pipeline is a [Broker]: the log, the group, the committed positions and the stores. [Memory] keeps it in
// the process and starts no goroutine and no timer, so a test may run it in a bubble of testing/synctest and get the same run for the
// same seed. [Serve] and [Dial] put it behind a Unix socket, where it outlives workers that are killed.
//
// Records are functions of their partition and number ([Config]), so the log has no size:
//
//	broker := delivery.NewMemory(delivery.Config{Partitions: 6, Records: 100_000, Gaps: true})
//	src, sink := delivery.Source(broker), delivery.Store(broker)
//	... run a pipeline of them, kill it, run it again ...
//	report := delivery.Check(delivery.Tally(broker), delivery.Want{Store: "a", Keyed: true})
package delivery
