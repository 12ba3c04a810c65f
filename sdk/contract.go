package sdk

import (
	"context"
	"errors"
	"time"
)

// Source hands out readers, like a listener connections.
//
// Life: made, Accept again and again, Stop, (readers are read to io.EOF and closed), Close. Accept is called by one goroutine at
// a time and blocks until there is a reader; it returns io.EOF when there will be no more. Endless readers (a socket, a ring, a
// Kafka partition) are accepted at once and share the node's lanes; bounded ones (a file, a block of one) are accepted by
// whichever lane is free.
type Source interface {
	Accept(ctx context.Context) (Reader, error)
	// Stop: take nothing new in; readers hand out what is already here, then io.EOF. Accept returns io.EOF.
	Stop(ctx context.Context) error
	// Close is called once, when every reader is closed.
	Close(ctx context.Context) error
}

// Reader reads what has one order: a socket, a file, a partition. It is called by one goroutine, which may serve several.
type Reader interface {
	// Partition is the same for the whole life of the reader. Batches of a source that commits carry it in their Range.
	Partition() *Partition
	// Read returns the next batch within about wait (0: at once), and no batch if nothing came: Tick runs on the same goroutine.
	// io.EOF: it has ended. ErrRevoked: another owner will read on; core then forces nothing out and what is not settled is
	// read again there. After either, core settles the partition and calls Close. A batch never crosses a planned end. Read
	// never returns a batch with an error.
	Read(ctx context.Context, wait time.Duration) (*Batch, error)
	// Ready wakes a lane that serves several readers; nil if the reader has no such signal and must be polled.
	Ready() <-chan struct{}
	// Close is called once, after the last Read, when what was read is settled, or the partition is Gone.
	Close(ctx context.Context) error
}

// ErrRevoked is what Read returns when the partition has been given to another owner, or the source was stopped before its end.
var ErrRevoked = errors.New("partition revoked")

// Planner is implemented by the readers of a source that commits.
type Planner interface {
	// Planned is what an earlier life saved: core cuts exactly at the ends it names, and writes nothing up to what was stored.
	Planned() Position
}

// Committer is implemented by a source whose positions can be kept.
type Committer interface {
	// Save makes positions durable, each whole, and returns when they are. Core calls it for one save at a time; it carries the
	// latest of every partition that has news: a newly prepared segment, a newer Next or Stored. A partition that is Gone is
	// left out by core, and must be refused by Save if it has gone meanwhile.
	Save(ctx context.Context, ps []Position) error
}

// Processor is one lane's instance of a node, called by that lane only.
//
// It must not do I/O. What it reads per record is an immutable snapshot; what lanes write together is written per batch under a
// lock, never per record.
type Processor interface {
	// Process owns b: exactly one Done and one Release, later if it holds a record of it. What it gives out is derived of b
	// before Done. An error stops the pipeline; what is wrong with a record goes to Out.Error instead.
	Process(b *Batch, out Out) error
	// Tick comes every 100 ms or so, also while a full queue blocks the lane: then (blocked) it only ages state and gives out
	// nothing. At most 4 batches a call; more says there are others.
	Tick(now time.Time, blocked bool, out Out) (more bool, err error)
	// Flush gives out what is held of p (nil: of all). With force the cut is made: what cannot be given out is dropped for its
	// reason, and held is 0. held counts records that could not be given out (parked). At most 4 batches a call.
	Flush(p *Partition, force bool, out Out) (held int, more bool, err error)
	// Drain gives out what the lane holds at the end of its life. Lanes drain one after another once all have stopped; last
	// says that no sibling is left, so what the node holds must go out too. At most 4 batches a call.
	Drain(why Why, last bool, out Out) (more bool, err error)
	Close() error
}

// Returner is implemented by processors that hold records back (Spec.Parks). Core calls it when a partition is given to another owner,
// after a Flush without force: what is still held of p is read again there, so it is let go, counted as dropped for ReasonReturned, and
// its promises are kept with Failed. Nothing is given out and nothing refused.
type Returner interface {
	Return(p *Partition) error
}

// Stateless is embedded by processors that hold nothing between calls: at a tick, a flush and the end there is nothing to give out, and
// nothing to close.
type Stateless struct{}

func (Stateless) Tick(time.Time, bool, Out) (more bool, err error)             { return false, nil }
func (Stateless) Flush(*Partition, bool, Out) (held int, more bool, err error) { return 0, false, nil }
func (Stateless) Drain(Why, bool, Out) (more bool, err error)                  { return false, nil }
func (Stateless) Close() error                                                 { return nil }

// Why a lane drains.
type Why int

const (
	InputEnded  Why = iota // nothing will follow: windows are complete
	LaneRetired            // siblings go on: state goes to them
	Replaced               // the next generation goes on: Handover was offered first
	Stopping               // the process ends: keep state in the state directory, or behind a committing source let it go unsettled
)

func (w Why) String() string {
	return [...]string{"input ended", "lane retired", "replaced", "stopping"}[w]
}

// Out takes what a processor gives out. It never blocks: core takes it when the call has returned, and waits for room between
// calls.
type Out interface {
	// Emit gives out b, sealed, at a port. An empty batch is taken and settled.
	Emit(port int, b *Batch)
	// Error sends a refused record to the reserved stream `errors`. of is the input batch it came in, or a batch derived of that and
	// not yet done: what a processor keeps of an input whose data it has given back.
	Error(of *Batch, f Fault)
}

// Fault is one refused record.
type Fault struct {
	Code     string // a constant: the label under which it is counted
	Message  string // one sentence
	Received int64  // ns since the epoch
	Format   string // what Payload holds: "datagram", "frame", "arrow"
	Payload  []byte // the original bytes; copied
	// Part says that this is a part of a record of which something else was used: the record itself is counted as consumed.
	Part bool
}

// Handover is implemented by processors whose state (the node's, not a lane's) can be given to the next generation. Import
// refuses with an error: the old node then drains.
type Handover interface {
	Export() (state any, err error)
	Import(state any) error
}

// Updater is implemented by nodes that can take a new configuration while they run. First every lane is asked, and nothing
// changes; then every apply runs, between batches.
type Updater interface {
	Update(cfg any) (apply func(), err error)
}

// Checker is implemented by sources and sinks that can ask the real server: `weir validate --connect`.
type Checker interface {
	Check(ctx context.Context) error
}

// Sink opens writers: one for each schema it is given, a second one when the schema changes.
type Sink interface {
	Open(ctx context.Context, s *Schema) (Writer, error)
	Close(ctx context.Context) error
}

// Block is the unit of writing, of retry and of idempotency: batches of one schema, stored together.
type Block struct {
	Batches []*Batch
	Rows    int
	Range   Range  // of the segment, not the hull of what arrived; no partition where there are no segments
	Key     string // the same at every retry, also after a crash
	Note    []byte // what Noter said before

	// OnCopied is core's: what Copied calls.
	OnCopied func()
}

// Copied says that the sink has its own copy of the data: the batches are given back now and must not be touched again. The sink
// then retries by itself, counts its copies in Held, and an error it gives to done is final.
func (b *Block) Copied() {
	if b.OnCopied != nil {
		b.OnCopied()
	}
}

// Writer writes blocks. Its methods are called by one goroutine at a time.
type Writer interface {
	// Write returns when the block is taken and its order is fixed. done is called once, by any goroutine, when the block is
	// durable or has failed: a simple sink calls it before it returns, Kafka at the broker's acknowledgement, a file sink when
	// the file is closed. The block's batches are the caller's and stay valid until done. If Write itself returns an error, the
	// block was not taken and done is not called.
	Write(ctx context.Context, b *Block, done func(error)) error
	// Flush makes durable what was taken: every done has been called when it returns without an error. Once ctx is over nothing more
	// becomes durable by it.
	Flush(ctx context.Context) error
	// Held is the memory of its own copies, in bytes: about as much as Spec.Copies says at most. Core asks after each Write, and counts it.
	Held() int64
	// Close ends the writer: every done has been called when it returns, and what had not become durable by then, or before ctx
	// was over, never does. Core says of it that it was not delivered, and the ledger must be right. A Flush that outlived its context
	// may still be under way.
	Close(ctx context.Context) error
}

// Noter is implemented by a Writer whose store needs more than the key to know a block again: asked before the segment is
// prepared, given back after a crash. At most MaxNote bytes.
type Noter interface {
	Note(b *Block) ([]byte, error)
}
