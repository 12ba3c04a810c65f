package sdktest

import (
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"unsafe"

	"pgregory.net/rapid"

	"github.com/weirflow/weir/sdk"
)

// Fill appends rows random rows to b. A quarter of the columns stay zero; values are small as often as large, so that
// conditions and groups meet them more than once.
func Fill(r *rand.Rand, b *sdk.Batch, rows int) {
	at := b.Rows()
	for col, f := range b.Schema().Fields() {
		if r.IntN(4) == 0 {
			continue
		}
		d := b.Dict(col)
		if f.Type == sdk.Name && d == nil {
			d = sdk.NewDict()
			b.SetDict(col, d)
		}
		for i := range rows {
			bits := r.Uint64()
			if r.IntN(2) == 0 {
				bits %= 16
			}
			setCell(b, col, at+i, f.Type, d, bits)
		}
	}
	b.SetRows(at + rows)
	b.Seal()
}

// Batch generates sealed batches of s with at most maxRows rows, taken from p: a generator for rapid's property tests. The
// caller settles and releases them.
func Batch(p *sdk.Pool, s *sdk.Schema, maxRows int) *rapid.Generator[*sdk.Batch] {
	return rapid.Custom(func(t *rapid.T) *sdk.Batch {
		rows := rapid.IntRange(0, maxRows).Draw(t, "rows")
		b := p.Get(s, max(rows, 1))
		for col, f := range s.Fields() {
			if rapid.IntRange(0, 3).Draw(t, f.Name+" zero") == 0 {
				continue
			}
			var d *sdk.Dict
			if f.Type == sdk.Name {
				d = sdk.NewDict()
				b.SetDict(col, d)
			}
			for i := range rows {
				bits := rapid.OneOf(rapid.Uint64Range(0, 15), rapid.Uint64()).Draw(t, f.Name)
				setCell(b, col, i, f.Type, d, bits)
			}
		}
		b.SetRows(rows)
		b.Seal()
		return b
	})
}

// setCell writes the value that bits stand for.
func setCell(b *sdk.Batch, col, row int, typ sdk.Type, d *sdk.Dict, bits uint64) {
	switch typ {
	case sdk.Uint8:
		sdk.Claim[uint8](b, col, row, 1)[0] = uint8(bits)
	case sdk.Uint16:
		sdk.Claim[uint16](b, col, row, 1)[0] = uint16(bits)
	case sdk.Uint32:
		sdk.Claim[uint32](b, col, row, 1)[0] = uint32(bits)
	case sdk.Uint64:
		sdk.Claim[uint64](b, col, row, 1)[0] = bits
	case sdk.MAC:
		sdk.Claim[uint64](b, col, row, 1)[0] = bits & (1<<48 - 1)
	case sdk.Int64:
		sdk.Claim[int64](b, col, row, 1)[0] = int64(bits)
	case sdk.Timestamp:
		// Seconds after 2026-01-01, so that sums and windows stay far from the ends of the type.
		sdk.Claim[int64](b, col, row, 1)[0] = (1767225600 + int64(bits%86400)) * 1e9
	case sdk.Float64:
		sdk.Claim[float64](b, col, row, 1)[0] = float64(int64(bits)) / 4
	case sdk.Addr:
		sdk.Claim[[16]byte](b, col, row, 1)[0] = addr(bits)
	case sdk.Name:
		i, ok := d.Intern(fmt.Sprintf("name-%d", bits%50))
		if !ok {
			i = 0
		}
		sdk.Claim[uint16](b, col, row, 1)[0] = i
	case sdk.Uint32s:
		v := make([]byte, 4*(bits%5))
		for i := 0; i < len(v); i += 4 {
			binary.LittleEndian.PutUint32(v[i:], uint32(bits)+uint32(i))
		}
		b.SetBytes(col, row, v)
	case sdk.Text:
		b.SetBytes(col, row, fmt.Appendf(nil, "text %x", bits))
	default:
		v := make([]byte, bits%41)
		for i := range v {
			v[i] = byte(bits>>(i%8*8)) ^ byte(i)
		}
		b.SetBytes(col, row, v)
	}
}

// addr is an IPv4 address mapped into IPv6 for even bits, else one of 2001:db8::/32.
func addr(bits uint64) (a [16]byte) {
	if bits%2 == 0 {
		a[10], a[11], a[12] = 0xff, 0xff, 10
		binary.BigEndian.PutUint16(a[14:], uint16(bits))
		return a
	}
	a[0], a[1], a[2], a[3] = 0x20, 0x01, 0x0d, 0xb8
	binary.BigEndian.PutUint64(a[8:], bits)
	return a
}

// lend copies b into a batch whose variable-length values are views into one slab, as a receive loop makes them. The slab is
// the caller's to overwrite when the call that was given the batch has returned.
func lend(p *sdk.Pool, b *sdk.Batch, freed sdk.Freer) (*sdk.Batch, []byte) {
	v := copyRows(p, b.Schema(), b, 0, b.Rows())
	size := 0
	for col, f := range b.Schema().Fields() {
		if f.Type.Width() == 0 {
			for _, x := range v.Bytes(col) {
				size += len(x)
			}
		}
	}
	slab := make([]byte, 0, size)
	for col, f := range b.Schema().Fields() {
		if f.Type.Width() > 0 || v.IsZero(col) {
			continue
		}
		for row, x := range v.Bytes(col) {
			at := len(slab)
			slab = append(slab, x...)
			v.SetView(col, row, slab[at:len(slab):len(slab)])
		}
	}
	v.Seal()
	v.Lend(size, freed)
	return v, slab
}

// copyRows copies n rows of b from row at on, those columns that s has, into a batch of p, sealed.
func copyRows(p *sdk.Pool, s *sdk.Schema, b *sdk.Batch, at, n int) *sdk.Batch {
	c := p.Get(s, max(n, 1))
	rows := make([]uint16, n)
	for i := range rows {
		rows[i] = uint16(at + i)
	}
	sdk.NewGather(b.Schema(), s).Append(c, b, rows, 0)
	c.Seal()
	return c
}

// among puts other rows before, between and behind those of b, which it settles. It returns where b's are. What the others hold is
// b's values too, in another order, or the columns' zeros: a reader that takes them for records gives out too many, not nonsense.
func among(p *sdk.Pool, b *sdk.Batch, seed uint64) (c *sdk.Batch, rows []uint16) {
	r := rand.New(rand.NewPCG(seed, 41))
	n := b.Rows()
	c = p.Get(b.Schema(), 2*n+2)
	g := sdk.NewGather(b.Schema(), b.Schema())
	for i := range n + 1 {
		if i == 0 || r.IntN(2) == 0 {
			if n > 0 && r.IntN(4) > 0 {
				g.Append(c, b, []uint16{uint16(r.IntN(n))}, 0)
			} else {
				c.SetRows(c.Rows() + 1)
			}
		}
		if i < n {
			rows = append(rows, uint16(c.Rows()))
			g.Append(c, b, []uint16{uint16(i)}, 0)
		}
	}
	c.Seal()
	b.Done(sdk.Dropped)
	b.Release()
	return c, rows
}

// fingerprint is a hash of the values of a batch, cheaper than Rows: for checks that run after each call.
func fingerprint(b *sdk.Batch) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	mix := func(m []byte) {
		maphash.WriteComparable(&h, len(m))
		h.Write(m)
	}
	for col, f := range b.Schema().Fields() {
		switch f.Type.Width() {
		case 0:
			for _, v := range b.Bytes(col) {
				mix(v)
			}
		case 1:
			mix(raw(sdk.Values[uint8](b, col), 1))
		case 2:
			mix(raw(sdk.Values[uint16](b, col), 2))
		case 4:
			mix(raw(sdk.Values[uint32](b, col), 4))
		case 8:
			mix(raw(sdk.Values[uint64](b, col), 8))
		case 16:
			mix(raw(sdk.Values[[16]byte](b, col), 16))
		}
	}
	return h.Sum64()
}

var seed = maphash.MakeSeed()

func raw[T any](v []T, width int) []byte {
	if len(v) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&v[0])), len(v)*width)
}
