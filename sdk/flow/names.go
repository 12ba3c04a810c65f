package flow

import (
	"bytes"
	"unicode/utf8"

	"github.com/weirflow/weir/sdk"
)

// Names keeps the dictionaries of the Name columns of one schema for a lane that builds batches from strings that strangers
// send: bounded in number and length, and begun anew between batches. It is used by one goroutine.
type Names struct {
	cols []int
	dict []*sdk.Dict // by column of the schema
}

const (
	// MaxName is the longest string kept in a Name column, bytes; longer ones are cut.
	MaxName = 255
	// renewNames is how many strings a dictionary may hold when a batch begins: the rest is room for the rows of the batches
	// that are open with it.
	renewNames = 8192
)

// NewNames makes the dictionaries for s.
func NewNames(s *sdk.Schema) *Names {
	n := &Names{dict: make([]*sdk.Dict, s.Len())}
	for i, f := range s.Fields() {
		if f.Type == sdk.Name {
			n.cols = append(n.cols, i)
			n.dict[i] = sdk.NewDict()
		}
	}
	return n
}

// Open gives the dictionaries to a batch that is about to be built.
func (n *Names) Open(b *sdk.Batch) {
	for _, c := range n.cols {
		if len(n.dict[c].Values()) > renewNames {
			n.dict[c] = sdk.NewDict()
		}
		b.SetDict(c, n.dict[c])
	}
}

// Intern returns the index of v in column col's dictionary of b, which Open was called with; 0 and false when it is full.
// What is not UTF-8 in v becomes U+FFFD.
func Intern(b *sdk.Batch, col int, v []byte) (uint16, bool) {
	if len(v) > MaxName {
		v = v[:MaxName]
	}
	if !utf8.Valid(v) {
		v = bytes.ToValidUTF8(v, []byte("\uFFFD"))
	}
	return b.Dict(col).InternBytes(v)
}

// Continue gives b the dictionaries of the batch from, whose rows have been copied to its beginning.
func (n *Names) Continue(b, from *sdk.Batch) {
	for _, c := range n.cols {
		b.SetDict(c, from.Dict(c))
	}
}
