package sdk

import (
	"testing"

	"pgregory.net/rapid"
)

// Whatever is done with batches, the pool's account is the sum of what those that are out hold, and 0 when all are back.
func TestThePoolKnowsWhatIsHeld(t *testing.T) {
	schema := NewSchema(Field{Name: "n", Type: Uint64}, Field{Name: "addr", Type: Addr}, Field{Name: "payload", Type: Bytes}, Field{Name: "text", Type: Text})
	narrow := NewSchema(Field{Name: "payload", Type: Bytes}, Field{Name: "n", Type: Uint64})
	lent := make([]byte, 64<<10)
	rapid.Check(t, func(t *rapid.T) {
		p := NewPool(nil)
		var out []*Batch
		check := func() {
			t.Helper()
			sum := 0
			for _, b := range out {
				sum += b.mem
			}
			// A base that only its sharers hold is out as well.
			seen := map[*Batch]bool{}
			for _, b := range out {
				seen[b] = true
			}
			for _, b := range out {
				for x := b.base; x != nil && !seen[x]; x = x.base {
					seen[x] = true
					sum += x.mem
				}
			}
			if got := p.Held(); got != int64(sum) {
				t.Fatalf("the pool says %d bytes, the batches hold %d", got, sum)
			}
		}
		giveBack := func(i int) {
			b := out[i]
			out = append(out[:i], out[i+1:]...)
			b.Done(Delivered)
			b.Release()
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(*rapid.T) { check() },
			"build": func(t *rapid.T) {
				b := p.Get(schema, rapid.SampledFrom([]int{1, 300, MaxRows}).Draw(t, "rows"))
				for row := range rapid.IntRange(0, 40).Draw(t, "written") {
					Claim[uint64](b, 0, row, 1)[0] = 1
					if rapid.Bool().Draw(t, "view") {
						b.SetView(2, row, lent[:row*50])
					} else {
						b.SetBytes(2, row, lent[:row*rapid.SampledFrom([]int{1, 1000}).Draw(t, "size")])
					}
					b.SetRows(row + 1)
				}
				b.Seal()
				if b.Views() {
					b.Lend(len(lent), nil)
				}
				out = append(out, b)
			},
			"share": func(t *rapid.T) {
				if len(out) > 0 {
					b := out[rapid.IntRange(0, len(out)-1).Draw(t, "of")]
					out = append(out, b.Share(rapid.SampledFrom([]*Schema{nil, narrow}).Draw(t, "schema"), true))
				}
			},
			"own": func(t *rapid.T) {
				if len(out) > 0 {
					if b := out[rapid.IntRange(0, len(out)-1).Draw(t, "which")]; b.refs.Load() == 1 {
						b.Own()
					}
				}
			},
			"give back": func(t *rapid.T) {
				if len(out) > 0 {
					giveBack(rapid.IntRange(0, len(out)-1).Draw(t, "which"))
				}
			},
		})
		for len(out) > 0 {
			giveBack(0)
		}
		if n := p.Held(); n != 0 {
			t.Fatalf("%d bytes are held when all is given back", n)
		}
	})
}
