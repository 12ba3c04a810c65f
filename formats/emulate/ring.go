package emulate

import (
	"fmt"
	"time"
)

// MaxRing is the most datagrams of a ring: about 90 MiB at the usual size.
const MaxRing = 1 << 16

// Ring is a stretch of datagrams built once. Replayed, it costs nothing to make; a collector sees each exporter's sequence
// numbers go back where the ring begins anew, as after a restart of the exporter.
type Ring struct {
	Datagrams []Datagram
	Payloads  [][]byte // all in one piece of memory; not to be changed
	Records   int      // flow records of all
	Bytes     int      // of all payloads
}

// Ring builds the next n datagrams, the first sent at at, the others gap later for each flow record before them.
func (e *Emulator) Ring(n int, at int64, gap time.Duration) (*Ring, error) {
	if n < 1 || n > MaxRing {
		return nil, fmt.Errorf("emulate: a ring of %d datagrams; it can have 1 to %d", n, MaxRing)
	}
	r := &Ring{Datagrams: make([]Datagram, n), Payloads: make([][]byte, n)}
	ends := make([]int, n)
	var mem []byte
	for i := range n {
		mem, r.Datagrams[i] = e.Append(mem, at, 0)
		ends[i] = len(mem)
		r.Records += r.Datagrams[i].Records
		at += int64(gap) * int64(r.Datagrams[i].Records)
	}
	start := 0
	for i, end := range ends {
		r.Payloads[i] = mem[start:end:end]
		start = end
	}
	r.Bytes = len(mem)
	return r, nil
}
