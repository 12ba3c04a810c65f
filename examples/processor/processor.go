package processor

import (
	"github.com/weirflow/weir/sdk"
)

// processor is one lane's instance: it is called by one goroutine.
type processor struct {
	sdk.Stateless
	books         *sdk.Books
	out           *sdk.Schema
	src, dst, add int // columns: two of the input, one of the output; add is -1 if nobody wants it
	known         [1 << 16]bool
}

func newProcessor(env *sdk.Env, cfg *Config) *processor {
	p := &processor{books: env.Books, out: env.Out[0], src: env.In.Index("src_port"), dst: env.In.Index("dst_port"), add: env.Out[0].Index(column)}
	for _, port := range cfg.Known {
		p.known[port] = true
	}
	return p
}

// Process shares the input's columns with the output and writes the new one. Nothing is copied.
func (p *processor) Process(b *sdk.Batch, out sdk.Out) error {
	n := b.Rows()
	s := b.Share(p.out, true) // derived of b: before b is done
	if p.add >= 0 {
		p.fill(sdk.Claim[uint16](s, p.add, 0, n), sdk.Values[uint16](b, p.src), sdk.Values[uint16](b, p.dst))
	}
	s.Seal()
	p.books.Forwarded.Add(uint64(n))
	b.Done(sdk.Delivered)
	b.Release()
	out.Emit(0, s)
	return nil
}

// fill is the hot loop: over slices, without a call, a lock or an allocation per record.
func (p *processor) fill(to, src, dst []uint16) {
	for i := range to {
		s, d := src[i], dst[i]
		low, high := min(s, d), max(s, d)
		if !p.known[low] && p.known[high] {
			low = high
		}
		to[i] = low
	}
}
