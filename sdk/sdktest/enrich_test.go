package sdktest

import (
	"slices"
	"testing"

	"github.com/weirflow/weir/sdk"
)

// enricher is a processor that adds a column of each way that columns are kept in memory, made of the input's columns. With a fault
// named it does one thing wrong.
func enricher(fault string) sdk.Plugin {
	return sdk.Plugin{
		Spec: sdk.Spec{Kind: sdk.KindProcessor, Type: "enrich", Doc: "adds columns", KeepsRange: true, Deterministic: true, Selections: fault == "",
			Output: func(_ any, in *sdk.Schema) ([]*sdk.Schema, error) {
				return []*sdk.Schema{sdk.NewSchema(append(slices.Clone(in.Fields()), enriched...)...)}, nil
			},
			Needs: func(_ any, in *sdk.Schema, wanted [][]string) []string {
				needs := []string{"n", "payload"}
				for _, name := range wanted[0] {
					if in.Index(name) >= 0 && !slices.Contains(needs, name) {
						needs = append(needs, name)
					}
				}
				return needs
			},
		},
		Processor: func(env *sdk.Env, _ any) (sdk.Processor, error) {
			e := &enrichLane{env: env, fault: fault, names: sdk.NewDict()}
			for i, f := range enriched {
				e.at[i] = env.Out[0].Index(f.Name)
			}
			e.n, e.payload = env.In.Index("n"), env.In.Index("payload")
			return e, nil
		},
	}
}

var enriched = []sdk.Field{
	{Name: "odd", Type: sdk.Uint8}, {Name: "half", Type: sdk.Uint32}, {Name: "twice", Type: sdk.Uint64},
	{Name: "mapped", Type: sdk.Addr}, {Name: "parity", Type: sdk.Name}, {Name: "said", Type: sdk.Text},
}

type enrichLane struct {
	sdk.Stateless
	env        *sdk.Env
	fault      string
	n, payload int
	at         [6]int
	names      *sdk.Dict
	text       []byte
	last       []uint64 // kept by a fault
	calls      int
}

func (e *enrichLane) Process(b *sdk.Batch, out sdk.Out) error {
	e.calls++
	s := b.Share(e.env.Out[0], true)
	e.add(s, sdk.Values[uint64](b, e.n), b.Bytes(e.payload))
	switch e.fault {
	case "input written":
		if n := sdk.Values[uint64](b, e.n); len(n) > 0 && !b.IsZero(e.n) {
			n[0]++
		}
	case "shared column claimed":
		if !b.IsZero(e.n) {
			sdk.Claim[uint64](s, s.Schema().Index("n"), 0, s.Len())
		}
	case "claimed slice kept":
		for i := range e.last {
			e.last[i] = 1
		}
		if e.at[2] >= 0 {
			e.last = sdk.Claim[uint64](s, e.at[2], 0, s.Len())
			for i, v := range sdk.Values[uint64](b, e.n) {
				e.last[i] = 2 * v
			}
		}
	}
	s.Seal()
	e.env.Books.Forwarded.Add(uint64(b.Rows()))
	b.Done(sdk.Delivered)
	b.Release()
	if e.fault == "released while out" && e.calls == 3 {
		out.Emit(0, s)
		s.Release()
		return nil
	}
	out.Emit(0, s)
	return nil
}

// add writes the new columns, those that somebody wants.
func (e *enrichLane) add(s *sdk.Batch, n []uint64, payload [][]byte) {
	rows := s.Len()
	if at := e.at[0]; at >= 0 {
		for i, to := 0, sdk.Claim[uint8](s, at, 0, rows); i < rows; i++ {
			to[i] = uint8(n[i] & 1)
		}
	}
	if at := e.at[1]; at >= 0 {
		for i, to := 0, sdk.Claim[uint32](s, at, 0, rows); i < rows; i++ {
			if e.fault != "row not written" || n[i]&1 == 0 {
				to[i] = uint32(n[i] / 2)
			}
		}
	}
	if at := e.at[2]; at >= 0 {
		for i, to := 0, sdk.Claim[uint64](s, at, 0, rows); i < rows; i++ {
			to[i] = 2 * n[i]
		}
	}
	if at := e.at[3]; at >= 0 {
		for i, to := 0, sdk.Claim[[16]byte](s, at, 0, rows); i < rows; i++ {
			to[i] = [16]byte{10: 0xff, 11: 0xff, 12: 192, 13: 0, 14: 2, 15: byte(n[i])}
		}
	}
	if at := e.at[4]; at >= 0 {
		s.SetDict(at, e.names)
		odd, _ := e.names.Intern("odd")
		for i, to := 0, sdk.Claim[uint16](s, at, 0, rows); i < rows; i++ {
			to[i] = odd * uint16(n[i]&1)
		}
	}
	if at := e.at[5]; at >= 0 {
		for i := range rows {
			e.text = append(append(e.text[:0], "said "...), payload[i]...)
			s.SetBytes(at, i, e.text)
		}
	}
}

// Columns of each kind, directly and through the loop-back, over batches that siblings share.
func TestEnricherPasses(t *testing.T) {
	Processor(t, enricher(""), ProcessorCase{Name: "random", In: relaySchema})
}

// Each way to be wrong about columns that are added fails the suite, with a message that says what is wrong.
func TestBrokenEnrichersFail(t *testing.T) {
	for fault, want := range map[string]string{
		"input written":         "another held it",
		"shared column claimed": "is shared with the batch that this one came of",
		"claimed slice kept":    "changed after it was emitted",
		"row not written":       "siblings: the first: batches that a sibling shares give other output",
		"released while out":    "released",
	} {
		t.Run(fault, func(t *testing.T) {
			wantFailure(t, witnessed(t, func(t testing.TB) {
				processorWays(t, enricher(fault), []ProcessorCase{{In: relaySchema}}, false)
			}), want)
		})
	}
}

// The law itself sees memory that two batches have together, which no plugin reaches by the SDK alone.
func TestMemoryOfTwoBatchesIsFound(t *testing.T) {
	pool := sdk.NewPool(nil)
	out, _ := enricher("").Spec.Output(nil, relaySchema)
	made := func() *output {
		b := pool.Get(out[0], 10)
		b.SetRows(10)
		sdk.Claim[uint64](b, b.Schema().Index("twice"), 0, 10)
		b.Seal()
		return &output{b: b}
	}
	a, b := made(), made()
	twins := func(x, y *output) (d [2]*driver) {
		for i, o := range []*output{x, y} {
			d[i] = &driver{w: way{name: string(rune('a' + i))}, rec: &recorder{outs: []*output{o}}}
		}
		return d
	}
	if said := witnessed(t, func(t testing.TB) { apart(t, relaySchema, twins(a, b)) }); len(said) > 0 {
		t.Errorf("two batches apart: %v", said)
	}
	shared := &output{b: a.b.Share(nil, false)}
	wantFailure(t, witnessed(t, func(t testing.TB) { apart(t, relaySchema, twins(a, shared)) }), "have memory together")
	for _, o := range []*output{shared, a, b} {
		o.b.Done(sdk.Dropped)
		o.b.Release()
	}
}
