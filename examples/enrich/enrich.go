// Package enrich is an example: a processor that adds columns, whole and in one file. The guide docs/guides/enrich.md shows it.
package enrich

import "github.com/weirflow/weir/sdk"

// Plugin declares the processor: what it adds, and what that is made of.
var Plugin = sdk.Plugin{
	Spec: sdk.Spec{Kind: sdk.KindProcessor, Type: "packet_size", Doc: "adds the mean size of a flow's packets, and its class",
		Output: func(_ any, in *sdk.Schema) ([]*sdk.Schema, error) {
			return sdk.Added(in,
				sdk.Field{Name: "packet_size", Type: sdk.Uint64, Unit: "bytes", Doc: "mean size of the packets"},
				sdk.Field{Name: "size_class", Type: sdk.Name, Doc: "small, up to 256 bytes, or large"})
		},
		Needs: func(_ any, _ *sdk.Schema, wanted [][]string) []string {
			return sdk.AddedNeeds(wanted[0], map[string][]string{"packet_size": {"bytes", "packets"}, "size_class": {"bytes", "packets"}})
		},
		KeepsRange: true, Deterministic: true, Selections: true},
	Processor: func(env *sdk.Env, _ any) (sdk.Processor, error) {
		e := &enricher{env: env, names: sdk.NewDict(), bytes: env.In.Index("bytes"), packets: env.In.Index("packets")}
		e.size, e.class = env.Out[0].Index("packet_size"), env.Out[0].Index("size_class") // -1: nobody wants it
		e.small, _ = e.names.Intern("small")
		e.large, _ = e.names.Intern("large")
		return e, nil
	},
}

type enricher struct {
	sdk.Stateless
	env                         *sdk.Env
	bytes, packets, size, class int
	names                       *sdk.Dict
	small, large                uint16
}

// Process writes the new columns beside those of b, which others may read at the same time.
func (e *enricher) Process(b *sdk.Batch, out sdk.Out) error {
	s, n := b.Share(e.env.Out[0], true), b.Len()
	if e.size >= 0 || e.class >= 0 {
		bytes, packets := sdk.Values[uint64](b, e.bytes), sdk.Values[uint64](b, e.packets)
		if e.size >= 0 {
			for i, to := 0, sdk.Claim[uint64](s, e.size, 0, n); i < n; i++ {
				to[i] = bytes[i] / max(packets[i], 1)
			}
		}
		if e.class >= 0 {
			s.SetDict(e.class, e.names)
			for i, to := 0, sdk.Claim[uint16](s, e.class, 0, n); i < n; i++ {
				if to[i] = e.small; bytes[i] > 256*packets[i] {
					to[i] = e.large
				}
			}
		}
	}
	s.Seal()
	e.env.Books.Forwarded.Add(uint64(b.Rows()))
	b.Done(sdk.Delivered) // after all that comes of b is derived
	b.Release()
	out.Emit(0, s)
	return nil
}
