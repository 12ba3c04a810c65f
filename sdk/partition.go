package sdk

import (
	"errors"
	"fmt"
)

// Partition is one ordered stream of positions and one life of it: a Kafka partition while assigned, a file, a socket since
// boot. A partition that is assigned again is another Partition, so a late acknowledgement of the old life moves nothing.
type Partition struct {
	Source string // node id
	Name   string // "topic-uuid/3", "path#block": part of the idempotency key, so never reused for other data
	Life   uint64
	// Gone is closed when the source's deadline for a revoked partition is over: what is unsettled is then discarded, neither
	// prepared nor committed. Nil where a partition cannot be taken away.
	Gone <-chan struct{}
}

// IsGone says whether Gone is closed.
func (p *Partition) IsGone() bool {
	select {
	case <-p.Gone:
		return true
	default:
		return false
	}
}

// Range is First..Last inclusive in one partition, gaps allowed. No row need have come of it: a filter may have dropped all.
type Range struct {
	Partition   *Partition
	First, Last int64
}

func (r Range) String() string {
	if r.Partition == nil {
		return "no range"
	}
	return fmt.Sprintf("%s/%s %d-%d", r.Partition.Source, r.Partition.Name, r.First, r.Last)
}

// hull widens r to cover o; ranges of two partitions have none.
func (r *Range) hull(o Range) {
	if o.Partition != r.Partition {
		r.Partition = nil // mixed (aggregate): at least once from here on, no key
	}
	r.First, r.Last = min(r.First, o.First), max(r.Last, o.Last)
}

// Position is what is known of a partition when it is saved: where reading goes on, and which segments a sink may already have
// written. It is written as one value so that no crash leaves half of it.
type Position struct {
	Partition *Partition
	// Next is the first position that is not settled: reading starts there in the next life.
	Next int64
	// Stored is the last position up to which all keyed sinks have stored, -1 for none; StoredBy is a hash of their ids: with
	// other sinks Stored means nothing.
	Stored   int64
	StoredBy uint64
	// Ends of the prepared segments above Stored, ascending.
	Ends []End
}

// End of a prepared segment.
type End struct {
	Last  int64
	Sinks uint64            // a bit for each keyed sink, in order of their ids, that closes its block here
	Notes map[string][]byte // by sink id, <= MaxNote bytes each: what its store needs beyond the key to know the block again
}

const (
	// MaxPosition is the largest encoding of a Position, the limit of a Kafka broker for a commit's metadata.
	MaxPosition = 4096
	// MaxNote is the largest note of one sink.
	MaxNote = 256
)

// ErrPositionFull means that no further segment can be prepared until one is stored.
var ErrPositionFull = errors.New("position full: too many prepared segments")
