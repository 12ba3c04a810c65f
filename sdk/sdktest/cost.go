package sdktest

import (
	"runtime"
	"testing"
)

// Mallocs is how many allocations the process has made; a benchmark takes it before its loop, for [ReportRecords].
func Mallocs() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.Mallocs
}

// ReportRecords gives the cost of a record, ns/record and allocs/record, of a loop that made records of them after before.
func ReportRecords(b *testing.B, records int, before uint64) {
	after := Mallocs()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(records), "ns/record")
	b.ReportMetric(float64(after-before)/float64(records), "allocs/record")
}
