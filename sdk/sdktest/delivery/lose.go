package delivery

import (
	"maps"
	"slices"
	"time"

	"github.com/weirflow/weir/sdk"
)

// LoseConfig of [Lose].
type LoseConfig struct {
	Bucket uint64        `yaml:"bucket" doc:"numbers in one group"`
	Every  time.Duration `yaml:"every" doc:"how often the groups are given out"`
}

// Counts is the schema that Lose gives out.
var Counts = sdk.NewSchema(
	sdk.Field{Name: "partition", Type: sdk.Uint32, Doc: "the partition of the log"},
	sdk.Field{Name: "bucket", Type: sdk.Uint64, Doc: "the number, divided by the size of a bucket"},
	sdk.Field{Name: "records", Type: sdk.Uint64, Doc: "how many records of the bucket were counted"},
)

// Lose counts records in buckets of their number: a node behind which ranges are lost and marks end, as behind every aggregate.
// Its sinks are at least once.
var Lose = sdk.Plugin{
	Spec: sdk.Spec{
		Kind: sdk.KindProcessor, Type: "lose", Doc: "counts numbered records in groups",
		Config: func() any { return &LoseConfig{Bucket: 100, Every: time.Second} },
		Output: func(any, *sdk.Schema) ([]*sdk.Schema, error) { return []*sdk.Schema{Counts}, nil },
		Needs:  func(any, *sdk.Schema, [][]string) []string { return []string{"partition", "number"} },
		Input:  numbered, Deterministic: true,
	},
	Processor: func(env *sdk.Env, cfg any) (sdk.Processor, error) {
		return &lose{env: env, cfg: *cfg.(*LoseConfig), groups: map[Record]uint64{}}, nil
	},
}

type lose struct {
	env    *sdk.Env
	cfg    LoseConfig
	groups map[Record]uint64
	acc    *sdk.Batch // holds the promises of all that was counted
	since  time.Time
}

func (l *lose) Process(b *sdk.Batch, _ sdk.Out) error {
	for _, r := range recordsOf(b) {
		l.groups[Record{r.Partition, r.Number / l.cfg.Bucket}]++
	}
	if l.acc == nil {
		l.acc = l.env.NewBatch(l.env.Out[0], sdk.MaxRows)
	}
	l.acc.Derive(b)
	l.env.Books.Consumed.Add(uint64(b.Rows()))
	b.Done(sdk.Delivered)
	b.Release()
	return nil
}

func (l *lose) Tick(now time.Time, blocked bool, out sdk.Out) (bool, error) {
	if l.since.IsZero() {
		l.since = now
	}
	if blocked || now.Sub(l.since) < l.cfg.Every {
		return false, nil
	}
	more := l.give(out)
	if !more {
		l.since = now
	}
	return more, nil
}

// give gives out one batch of groups.
func (l *lose) give(out sdk.Out) (more bool) {
	b := l.acc
	if b == nil {
		return false
	}
	keys := slices.SortedFunc(maps.Keys(l.groups), func(a, b Record) int {
		if a.Partition != b.Partition {
			return int(a.Partition) - int(b.Partition)
		}
		if a.Number < b.Number {
			return -1
		}
		return 1
	})
	l.acc = nil
	if len(keys) > sdk.MaxRows {
		keys, more = keys[:sdk.MaxRows], true
		l.acc = l.env.NewBatch(l.env.Out[0], sdk.MaxRows)
		l.acc.Derive(b)
	}
	// The plan leaves out columns that nobody reads.
	write(b, "partition", keys, func(k Record) uint32 { return k.Partition })
	write(b, "bucket", keys, func(k Record) uint64 { return k.Number })
	write(b, "records", keys, func(k Record) uint64 { return l.groups[k] })
	for _, k := range keys {
		delete(l.groups, k)
	}
	b.SetRows(len(keys))
	b.Seal()
	l.env.Books.Produced.Add(uint64(len(keys)))
	out.Emit(0, b)
	return more
}

// write fills a column, if the batch has it.
func write[T uint32 | uint64](b *sdk.Batch, name string, keys []Record, of func(Record) T) {
	if col := b.Schema().Index(name); col >= 0 {
		vals := sdk.Claim[T](b, col, 0, len(keys))
		for i, k := range keys {
			vals[i] = of(k)
		}
	}
}

func (l *lose) Flush(*sdk.Partition, bool, sdk.Out) (int, bool, error) { return 0, false, nil }

func (l *lose) Drain(_ sdk.Why, _ bool, out sdk.Out) (bool, error) { return l.give(out), nil }

func (l *lose) Close() error { return nil }
