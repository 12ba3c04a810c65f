package sdktest

import (
	"math/rand/v2"
	"regexp"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/weirflow/weir/sdk"
)

// input is one batch given to a processor, and what its promise has come to.
type input struct {
	rng     sdk.Range
	rows    int
	settled atomic.Int32
	worst   atomic.Uint32
}

func (in *input) Settled(_ sdk.Range, worst sdk.Outcome) {
	in.worst.Store(uint32(worst))
	in.settled.Add(1)
}

// output is one batch that a processor gave out.
type output struct {
	port    int
	b       *sdk.Batch
	rng     sdk.Range
	rows    Rows
	print   uint64
	ends    []*input // the inputs at the ends of its range: it is certainly made of these
	failed  bool     // settled as failed
	settled bool
}

// refusal is one record sent to `errors`.
type refusal struct {
	Code, Format, Payload string
	Part                  bool
}

// recorder takes what a processor gives out, as core does, and looks at it.
type recorder struct {
	t    testing.TB
	env  *sdk.Env
	rand *rand.Rand
	// remote: the processor is behind the loop-back
	remote bool
	// calm: no output fails, so that the outcomes of two runs can be compared
	calm bool

	inputs   []*input
	live     map[*sdk.Batch]*input // own share not known to be settled
	fresh    []*output             // of the call under way
	outs     []*output
	refused  []refusal
	rowsIn   uint64
	rowsOut  uint64
	refusedN uint64 // whole records
}

var constant = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// Emit is [sdk.Out]'s.
func (r *recorder) Emit(port int, b *sdk.Batch) {
	r.t.Helper()
	switch {
	case b == nil:
		r.t.Errorf("emitted nil at port %d", port)
		return
	case port < 0 || port >= len(r.env.Out):
		r.t.Errorf("emitted at port %d, the specification names %d", port, len(r.env.Out))
		b.Done(sdk.Failed)
		b.Release()
		return
	}
	for _, o := range slices.Concat(r.fresh, r.outs) {
		if o.b == b && !o.settled {
			r.t.Error("emitted one batch twice: derive or share another for the second port")
			return
		}
	}
	if b.Schema() != r.env.Out[port] {
		r.t.Errorf("emitted at port %d a batch of schema (%v), want the very schema Env.Out[%d] (%v)", port, b.Schema(), port, r.env.Out[port])
	}
	if sel := b.Selection(); !slices.IsSorted(sel) || len(sel) > 0 && int(sel[len(sel)-1]) >= b.Len() {
		r.t.Errorf("emitted at port %d a selection that is not of the batch's rows: its list was changed", port)
	}
	o := &output{port: port, b: b, rng: b.Range(), print: fingerprint(b)}
	b.Seal()
	if fingerprint(b) != o.print {
		r.t.Errorf("emitted at port %d a batch that was not sealed: rows beyond what was written are not zero", port)
		o.print = fingerprint(b)
	}
	r.rowsOut += uint64(b.Rows())
	r.fresh = append(r.fresh, o)
}

// Error is [sdk.Out]'s.
func (r *recorder) Error(of *sdk.Batch, f sdk.Fault) {
	r.t.Helper()
	in := r.live[of]
	if in == nil && !r.remote && of.Tracked() { // derived of an input, whose promise it holds
		in = &input{}
	}
	// Done takes the promise from the batch. (Behind the loop-back the host has taken it, and the guest looks.)
	if in == nil || in.settled.Load() > 0 || !r.remote && !of.Tracked() {
		r.t.Errorf("refused a record (%s) of a batch that is not an input held here: call Error before Done", f.Code)
	}
	if !constant.MatchString(f.Code) {
		r.t.Errorf("refused a record with code %q: a code is a metric label, a constant in snake_case", f.Code)
	}
	if f.Message == "" {
		r.t.Errorf("refused a record (%s) without a message", f.Code)
	}
	if !f.Part {
		r.refusedN++
	}
	r.refused = append(r.refused, refusal{f.Code, f.Format, string(f.Payload), f.Part})
}

// give makes b an input that the recorder watches.
func (r *recorder) give(b *sdk.Batch, rng sdk.Range) {
	in := &input{rng: rng, rows: b.Rows()}
	b.Root(rng)
	b.Track(in)
	r.inputs = append(r.inputs, in)
	r.live[b] = in
	r.rowsIn += uint64(b.Rows())
}

// take is what core does when a call has returned: what was emitted becomes its own, and may be settled at once or much later.
func (r *recorder) take(call string) {
	r.t.Helper()
	for _, o := range r.fresh {
		o.b.Own() // a queue keeps nothing that is lent for the call
		o.rows = RowsOf(o.b)
		o.print = fingerprint(o.b)
		if o.rng.Partition != nil {
			for _, in := range r.inputs {
				if in.rng.Partition == o.rng.Partition && (in.rng.First == o.rng.First || in.rng.Last == o.rng.Last) {
					o.ends = append(o.ends, in)
					if in.settled.Load() > 0 {
						r.t.Errorf("%s: an output of %v came after its input %v was settled: derive before Done", call, o.rng, in.rng)
					}
				}
			}
		}
		r.outs = append(r.outs, o)
	}
	r.fresh = r.fresh[:0]
	if r.rand.IntN(2) == 0 {
		r.settle(func(*output) bool { return r.rand.IntN(3) > 0 })
	}
	for b, in := range r.live {
		if in.settled.Load() > 0 {
			delete(r.live, b)
		}
	}
}

// settle says Done of those outputs that which chooses, in random order, one in eight as failed.
func (r *recorder) settle(which func(*output) bool) {
	r.t.Helper()
	for _, i := range r.rand.Perm(len(r.outs)) {
		o := r.outs[i]
		if o.settled || !which(o) {
			continue
		}
		if fingerprint(o.b) != o.print {
			r.t.Errorf("a batch was changed after it was emitted (port %d, %v): once sent it is immutable", o.port, o.rng)
		}
		for _, in := range o.ends {
			if in.settled.Load() > 0 {
				r.t.Errorf("input %v was settled before the output %v that came of it: derive it", in.rng, o.rng)
			}
		}
		o.settled = true
		outcome := sdk.Delivered
		if o.failed = !r.calm && r.rand.IntN(8) == 0; o.failed {
			outcome = sdk.Failed
		}
		if err := guard("settling an output", func() error { o.b.Done(outcome); o.b.Release(); return nil }); err != nil {
			r.t.Fatalf("a batch was not the plugin's to give out, or it was settled or released afterwards: %v", err)
		}
		o.b = nil
	}
}

// finish settles everything and checks every promise. Inputs that may be left are not asked for.
func (r *recorder) finish(sync func(), mayLeave bool) {
	r.t.Helper()
	r.settle(func(*output) bool { return true })
	sync()
	blame := map[*input]bool{}
	unknown := false
	for _, o := range r.outs {
		if !o.failed {
			continue
		}
		if len(o.ends) == 0 {
			unknown = true
		}
		for _, in := range o.ends {
			blame[in] = true
			if in.settled.Load() > 0 && sdk.Outcome(in.worst.Load()) != sdk.Failed {
				r.t.Errorf("an output of %v failed and its input %v was settled as %v: derive it", o.rng, in.rng, sdk.Outcome(in.worst.Load()))
			}
		}
	}
	anyFailed := false
	for _, in := range r.inputs {
		switch in.settled.Load() {
		case 1:
		case 0:
			if !mayLeave {
				r.t.Errorf("input %v (%d rows) was never settled: one Done for each batch that Process was given", in.rng, in.rows)
			}
		default:
			r.t.Errorf("input %v was settled %d times", in.rng, in.settled.Load())
		}
		if sdk.Outcome(in.worst.Load()) == sdk.Failed && in.settled.Load() > 0 {
			anyFailed = true
			if !unknown && !blame[in] && !r.covered(in) && !mayLeave {
				r.t.Errorf("input %v was settled as failed, and nothing that came of it failed: its source can never commit", in.rng)
			}
		}
	}
	if unknown && !anyFailed && !mayLeave {
		r.t.Error("an output failed and no input heard of it: derive outputs of their inputs")
	}
}

// covered says whether a failed output may have come of in, being inside its range.
func (r *recorder) covered(in *input) bool {
	for _, o := range r.outs {
		if o.failed && o.rng.Partition == in.rng.Partition && o.rng.First <= in.rng.First && o.rng.Last >= in.rng.Last {
			return true
		}
	}
	return false
}

// byPort is the rows of all outputs at each port, in order.
func (r *recorder) byPort() map[int]Rows {
	m := map[int]Rows{}
	for _, o := range r.outs {
		m[o.port] = append(m[o.port], o.rows...)
	}
	return m
}

// stream is what has an order of its own: what came out at one port of one partition.
type stream struct {
	port      int
	partition string
}

func (r *recorder) streams() map[stream]Rows {
	m := map[stream]Rows{}
	for _, o := range r.outs {
		k := stream{port: o.port}
		if o.rng.Partition != nil {
			k.partition = o.rng.Partition.Name
		}
		if len(o.rows) > 0 {
			m[k] = append(m[k], o.rows...)
		}
	}
	return m
}

// lossesNamed checks that what is lost is counted under reasons that the specification names: each is a metric from the start.
func lossesNamed(t testing.TB, books *sdk.Books, s *sdk.Spec) {
	t.Helper()
	books.Losses(func(reason sdk.Reason, _ uint64) {
		if !slices.Contains(s.Losses, reason) {
			t.Errorf("lost for reason %q, which Spec.Losses does not name", reason)
		}
	})
}

// balance checks the two equations of a node, as they must be after every call.
func (r *recorder) balance(call string, books *sdk.Books, reasons []sdk.Reason) {
	r.t.Helper()
	dropped := uint64(0)
	books.Dropped(func(reason sdk.Reason, n uint64) {
		dropped += n
		if !slices.Contains(reasons, reason) && reason != sdk.ReasonReturned {
			r.t.Errorf("%s: dropped for reason %q, which Spec.Reasons does not name", call, reason)
		}
	})
	held, open := books.Held.Load(), books.Open.Load()
	if held < 0 || open < 0 {
		r.t.Fatalf("%s: held %d, open %d: a level is never negative", call, held, open)
	}
	in := r.rowsIn + books.Restored.Load()
	if sum := books.Forwarded.Load() + books.Filtered.Load() + dropped + r.refusedN + books.Consumed.Load() + uint64(held); in != sum {
		r.t.Fatalf("%s: the books do not balance: in %d + restored %d, but forwarded %d + filtered %d + dropped %d + dead-lettered %d + consumed %d + held %d = %d",
			call, r.rowsIn, books.Restored.Load(), books.Forwarded.Load(), books.Filtered.Load(), dropped, r.refusedN, books.Consumed.Load(), held, sum)
	}
	if out, made := r.rowsOut+uint64(open), books.Forwarded.Load()+books.Produced.Load(); out != made {
		r.t.Fatalf("%s: the books do not balance: out %d + open %d, but forwarded %d + produced %d", call, r.rowsOut, open, books.Forwarded.Load(), books.Produced.Load())
	}
}

// account is what a processor said it did with its input, and how each of its inputs was settled.
type account struct {
	Forwarded, Filtered, Consumed, Produced, Refused uint64
	Dropped                                          map[sdk.Reason]uint64
	Outcomes                                         []string
}

func (r *recorder) account() account {
	b := r.env.Books
	a := account{b.Forwarded.Load(), b.Filtered.Load(), b.Consumed.Load(), b.Produced.Load(), r.refusedN, map[sdk.Reason]uint64{}, nil}
	b.Dropped(func(reason sdk.Reason, n uint64) { a.Dropped[reason] = n })
	for _, in := range r.inputs {
		o := "not settled"
		if in.settled.Load() > 0 {
			o = sdk.Outcome(in.worst.Load()).String()
		}
		a.Outcomes = append(a.Outcomes, o)
	}
	return a
}
