package delivery

import (
	"context"
	"errors"
	"time"
)

// Broker is the world outside a pipeline: a partitioned log of numbered records, a consumer group with committed positions, and
// stores. It is safe for any number of goroutines.
//
// As Kafka does, it accepts the commit of any member of the group for any partition: the last one wins, also when it comes from
// a member that has lost the partition. Whoever consumes has to fence itself.
type Broker interface {
	// Config is what the world was made with.
	Config(ctx context.Context) (Config, error)

	// Fetch returns up to most records from position from on, and no more than up to position upto (none if negative).
	Fetch(ctx context.Context, partition uint32, from, upto int64, most int) (Fetched, error)

	// Join makes a member, whose session lives as long as it beats.
	Join(ctx context.Context) (member string, err error)
	// Beat keeps the session and says what is assigned. [ErrUnknownMember]: the session has ended, all is lost.
	Beat(ctx context.Context, member string) (Assignment, error)
	// Release gives a partition's life up: the next life begins, with the member that shall have it.
	Release(ctx context.Context, member string, partition uint32, life uint64) error
	// Leave ends the session.
	Leave(ctx context.Context, member string) error
	// Commit replaces the committed positions of partitions, in one step.
	Commit(ctx context.Context, member string, positions map[uint32]Committed) error
	// Committed is a partition's; Value is nil if there is none.
	Committed(ctx context.Context, partition uint32) (Committed, error)

	// Write stores a block. [ErrDown] and [ErrLate] may be tried again; bad rows are named and nothing is stored then.
	Write(ctx context.Context, w Write) (Written, error)
	// Dropped tells of records that were dropped and counted.
	Dropped(ctx context.Context, rs []Record) error
	// Tally is what was stored, refused and dropped up to now, writes that are under way included.
	Tally(ctx context.Context) (*Tally, error)
}

// Config of a world. The zero value of a field means what its comment says.
type Config struct {
	Partitions uint32    // 0: 1
	Records    uint64    // in each partition; 0: endless, which needs a Rate
	Rate       float64   // records a second that appear in each partition from the start on; 0: all are there
	Rates      []float64 // instead of Rate, by partition; partitions beyond take turns
	Gaps       bool      // positions have gaps
	Bounded    bool      // a reader ends at the end of its partition, and the source when all is committed

	Session time.Duration // without a beat for so long a member is expelled; 0: 3 s
	Revoke  time.Duration // how long the owner of a revoked partition may settle; 0: 2 s

	Window int     // blocks whose keys a store remembers; 0: all
	Bad    uint64  // stores refuse one record of so many; 0: none
	Late   float64 // share of writes that seem to fail and land LateBy later
	LateBy time.Duration
	// Stores are down for DownFor in each DownEvery; 0: never.
	DownEvery, DownFor time.Duration
	Seed               uint64 // of what is random: which writes are late
}

// rate of a partition.
func (c Config) rate(partition uint32) float64 {
	if len(c.Rates) > 0 {
		return c.Rates[int(partition)%len(c.Rates)]
	}
	return c.Rate
}

// IsBad says whether stores refuse a record.
func (c Config) IsBad(r Record) bool { return c.Bad > 0 && r.Number%c.Bad == 7%c.Bad }

// Position of a record in its partition.
func (c Config) Position(number uint64) int64 {
	if !c.Gaps {
		return int64(number)
	}
	return int64(number + number/7 + number/50*5)
}

// NumberAt is the number of the first record at or after a position.
func (c Config) NumberAt(position int64) uint64 {
	if position <= 0 {
		return 0
	}
	if !c.Gaps {
		return uint64(position)
	}
	lo, hi := uint64(0), uint64(position)
	for lo < hi {
		if mid := (lo + hi) / 2; c.Position(mid) < position {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// Fetched are records in order, their numbers consecutive.
type Fetched struct {
	First uint64
	N     int
	Ended bool // nothing will ever follow the last of them
}

// Assignment is what a member owns.
type Assignment struct {
	Parts []Assigned
	Done  bool // a bounded world, and every partition is committed to its end
}

// Assigned is one partition and the life of it that the member owns.
type Assigned struct {
	Partition uint32
	Life      uint64
	Revoked   bool      // settle and release it
	Until     time.Time // after that it is given away
}

// Committed is a partition's position: Next for the broker, Value for whoever committed it.
type Committed struct {
	Next  int64
	Value []byte
}

// Write is one block for a store.
type Write struct {
	Store   string
	Key     string // empty: written whatever was written before
	Records []Record
	Mixed   bool // its records were stamped by two generations
	Certain bool // never late, down or refused: a local file
	Dead    bool // the records are dead letters
}

// Written answers a Write.
type Written struct {
	Again bool  // the key was known: nothing was stored
	Bad   []int // rows that the store will never take
}

// Errors of a broker.
var (
	ErrUnknownMember = errors.New("unknown member: the session has ended")
	ErrDown          = errors.New("the store is down")
	ErrLate          = errors.New("the store has not answered in time")
	ErrKilled        = errors.New("the process was killed")
)
