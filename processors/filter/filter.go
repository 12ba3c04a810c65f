package filter

import (
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/expr"
)

// filter is one lane's. It copies nothing: what it gives out is its input, or a selection of the input's rows.
type filter struct {
	sdk.Stateless
	program *expr.Program
	books   *sdk.Books
	out     *sdk.Schema
	same    bool // the output's schema is the input's

	rows []uint16
}

// New makes a lane's instance.
func New(env *sdk.Env, cfg any) (sdk.Processor, error) {
	program, err := expr.Compile(cfg.(*Config).When, env.In, expr.Bool)
	if err != nil {
		return nil, placed(err)
	}
	return &filter{program: program, books: env.Books, out: env.Out[0], same: env.In == env.Out[0]}, nil
}

func (f *filter) Process(b *sdk.Batch, out sdk.Out) error {
	n := b.Rows()
	f.rows = f.program.Select(b, f.rows[:0])
	f.books.Filtered.Add(uint64(n - len(f.rows)))
	f.books.Forwarded.Add(uint64(len(f.rows)))
	switch {
	case n == 0:
		finish(b, sdk.Delivered)
		return nil
	case len(f.rows) == 0:
		finish(b, sdk.Dropped)
		return nil
	}
	if !f.same {
		b = replace(b, b.Share(f.out, true))
	}
	if len(f.rows) < n {
		b = replace(b, b.Select(f.rows))
	}
	out.Emit(0, b)
	return nil
}

// replace settles b, of which next was derived.
func replace(b, next *sdk.Batch) *sdk.Batch {
	finish(b, sdk.Delivered)
	return next
}

func finish(b *sdk.Batch, o sdk.Outcome) {
	b.Done(o)
	b.Release()
}
