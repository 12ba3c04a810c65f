package sdktest

import (
	"bytes"
	"unsafe"

	"github.com/weirflow/weir/sdk"
)

// poison is what memory holds that nobody has written: a row that was claimed and not written, or a batch sent without Seal,
// shows it.
const poison = 0xDB

// dirty allocates memory full of poison, in which each bit of it is turned that is set in turned: of two runs with other poison, what was
// read of memory that nobody has written is not the same.
type dirty struct{ turned byte }

func (d dirty) Allocate(n int) []byte {
	if n == 0 {
		return nil
	}
	m := make([]uint64, (n+7)/8)
	b := unsafe.Slice((*byte)(unsafe.Pointer(&m[0])), n)
	d.Returned(b)
	return b
}

func (d dirty) Reallocate(n int, b []byte) []byte {
	if n <= cap(b) {
		return b[:n]
	}
	m := d.Allocate(n)
	copy(m, b)
	return m
}

func (dirty) Free([]byte) {}

// Returned overwrites a buffer that a batch has given back: who still reads it shows.
func (d dirty) Returned(b []byte) {
	for i := range b {
		b[i] = poison ^ d.turned
	}
}

// spoil overwrites the memory of up to n free batches of a schema: what a plugin still reads of a batch that it has released.
func spoil(p *sdk.Pool, s *sdk.Schema, rows, n int) {
	var got []*sdk.Batch
	for range n {
		b := p.Get(s, rows)
		for col, f := range s.Fields() {
			if w := f.Type.Width(); w > 0 {
				m := unsafe.Slice((*byte)(b.Claim(col, 0, b.Size())), w*b.Size())
				for i := range m {
					m[i] = poison
				}
				continue
			}
			// The arena is one piece: filling it again overwrites what values of its last use look into.
			b.SetBytes(col, 0, spoilt[:])
		}
		got = append(got, b)
	}
	for _, b := range got {
		b.Done(sdk.Dropped)
		b.Release()
	}
}

var spoilt = func() (b [2048]byte) {
	for i := range b {
		b[i] = poison
	}
	return b
}()

// zeroColumn is the column that all batches share which nobody wrote, with its addresses as the widest type.
func zeroColumn() [][16]byte {
	p := sdk.NewPool(nil)
	b := p.Get(sdk.NewSchema(sdk.Field{Name: "zero", Type: sdk.Addr}), sdk.MaxRows)
	b.SetRows(sdk.MaxRows)
	return sdk.Values[[16]byte](b, 0)
}

// zeroSpoilt says whether a plugin wrote into the shared zero column, and mends it.
func zeroSpoilt() bool {
	if bytes.Equal(zeros, clean) {
		return false
	}
	clear(zeros)
	return true
}

var (
	zeros = raw(zeroColumn(), 16)
	clean = make([]byte, len(zeros))
)
