package formatstest

import (
	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/flow"
)

// Table collects the rows of a decoder as batches.
type Table struct {
	Out  *sdk.Schema
	Size int  // rows of a batch
	Keep bool // the batches that are full; else they go back to the pool

	pool  *sdk.Pool
	names *flow.Names
	done  []*sdk.Batch
	open  *sdk.Batch
}

// NewTable keeps all rows, in batches as large as they may be.
func NewTable(out *sdk.Schema) *Table {
	return &Table{pool: sdk.NewPool(nil), names: flow.NewNames(out), Out: out, Size: sdk.MaxRows, Keep: true}
}

// Open is the batch that takes rows now.
func (t *Table) Open() *sdk.Batch {
	if t.open == nil {
		t.open = t.pool.Get(t.Out, t.Size)
		t.names.Open(t.open)
	}
	return t.open
}

// Full takes the open batch.
func (t *Table) Full(b *sdk.Batch) {
	b.Seal()
	t.open = nil
	if t.Keep {
		t.done = append(t.done, b)
		return
	}
	b.Done(sdk.Delivered)
	b.Release()
}

// Batches are those kept, and the open one.
func (t *Table) Batches() []*sdk.Batch {
	if t.open != nil {
		t.open.Seal()
		return append(t.done, t.open)
	}
	return t.done
}

// Clear forgets the batches.
func (t *Table) Clear() { t.done, t.open = nil, nil }

// Rows is how many the batches have.
func (t *Table) Rows() (n int) {
	for _, b := range t.Batches() {
		n += b.Rows()
	}
	return n
}

// Column reads a column of all batches.
func Column[T sdk.Fixed](t *Table, name string) (vs []T) {
	for _, b := range t.Batches() {
		vs = append(vs, sdk.Values[T](b, t.Out.Index(name))...)
	}
	return vs
}

// Names reads a column of names of all batches.
func Names(t *Table, name string) (vs []string) {
	for _, b := range t.Batches() {
		idx, d := b.Names(t.Out.Index(name))
		for _, i := range idx {
			vs = append(vs, d.Values()[i])
		}
	}
	return vs
}

// Columns is the schema of the named columns of the table of flow columns.
func Columns(names ...string) *sdk.Schema {
	var fs []sdk.Field
	for _, n := range names {
		fs = append(fs, flow.Columns[flow.Index(n)].Field)
	}
	return sdk.NewSchema(fs...)
}
