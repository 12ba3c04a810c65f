package sdktest

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weirflow/weir/sdk"
)

// driver is one run.
type driver struct {
	t     testing.TB
	w     way
	s     *processorSuite
	env   *sdk.Env
	world *world
	leaks goleak.Option
	rec   *recorder
	proc  sdk.Processor
	clock *Clock
	rand  *rand.Rand
	sync  func()

	parts [2]*sdk.Partition
	first [2]int64 // where the open segment begins
	next  [2]int64
	lent  int
	back  freed
}

// call makes one call of the plugin and checks what is true after every one. most is the number of batches it may give out, -1
// for any.
func (d *driver) call(name string, most int, f func() error) {
	d.t.Helper()
	if err := within(d.t, patience, name, f); err != nil {
		d.t.Fatalf("%s: %s: %v", d.w.name, name, err)
	}
	d.sync()
	if zeroSpoilt() {
		d.t.Errorf("%s: %s wrote into the zero column that all batches share: Claim a column to write it", d.w.name, name)
	}
	if n := len(d.rec.fresh); most >= 0 && n > most {
		d.t.Errorf("%s: %s gave out %d batches, at most %d a call", d.w.name, name, n, most)
	}
	d.rec.take(name)
	d.sync()
	d.rec.balance(d.w.name+": "+name, d.env.Books, d.s.p.Spec.Reasons)
	lossesNamed(d.rec.t, d.env.Books, &d.s.p.Spec)
}

// until calls f as long as it says there is more.
func (d *driver) until(name string, f func() (more bool, err error)) {
	d.t.Helper()
	for n, more := 0, true; more; n++ {
		if n == 1000 {
			d.t.Fatalf("%s: %s says more after %d calls", d.w.name, name, n)
		}
		d.call(name, 4, func() (err error) { more, err = f(); return err })
	}
}

// input gives template i, whole or in pieces. Each row is one position; two positions are missing after each template.
func (d *driver) input(i int) {
	d.t.Helper()
	tmpl, part := d.s.templates[i], i%len(d.parts)
	pieces := max(1, d.w.slices)
	for k := range pieces {
		from, to := tmpl.Rows()*k/pieces, tmpl.Rows()*(k+1)/pieces
		if from == to && (k > 0 || tmpl.Rows() > 0) {
			continue
		}
		b, slab := copyRows(d.env.Pool, d.env.In, tmpl, from, to-from), []byte(nil)
		var chosen []uint16
		if d.w.choose {
			b, chosen = among(d.env.Pool, b, uint64(i))
		}
		if d.w.lent {
			whole := b
			b, slab = lend(d.env.Pool, whole, &d.back)
			whole.Done(sdk.Dropped)
			whole.Release()
			d.lent++
		}
		if d.w.choose {
			whole := b
			b = whole.Select(chosen)
			whole.Done(sdk.Dropped)
			whole.Release()
		}
		// Position of row x is next + x: the same however the rows are cut into batches.
		r := sdk.Range{Partition: d.parts[part], First: d.next[part] + int64(from), Last: d.next[part] + int64(max(to, from+1)) - 1}
		d.rec.give(b, r)
		// Another holder, an optional branch say, must see the same as before.
		held, before := !d.w.lent && (i+k)%3 == 0, uint64(0)
		if held {
			b.Retain()
			before = fingerprint(b)
		}
		schema := b.Schema()
		d.call("Process", -1, func() error { return d.proc.Process(b, d.rec) })
		if held {
			if fingerprint(b) != before {
				d.t.Errorf("%s: Process changed its input while another held it: only with Unique may it", d.w.name)
			}
			if err := guard("the last Release of an input", func() error { b.Release(); return nil }); err != nil {
				d.t.Fatalf("%s: %v", d.w.name, err)
			}
		}
		if d.w.lent {
			for i := range slab {
				slab[i] = poison
			}
			spoil(d.env.Pool, schema, 256, 4)
		}
	}
	d.next[part] += int64(max(tmpl.Rows(), 1)) + 2
}

// between is what may come between two inputs. It depends on the seed alone, so that runs can be compared.
func (d *driver) between() {
	d.t.Helper()
	if d.rand.IntN(2) == 0 {
		d.tick()
	}
	switch d.rand.IntN(8) {
	case 0, 1:
		d.flush(d.rand.IntN(len(d.parts)), d.rand.IntN(2) == 0)
	case 2:
		held := 0
		d.until("Flush of all", func() (more bool, err error) { held, more, err = d.proc.Flush(nil, false, d.rec); return more, err })
		if d.s.p.Spec.KeepsRange {
			if h := d.env.Books.Held.Load(); int64(held) != h {
				d.t.Errorf("%s: Flush of all says %d held, the books %d", d.w.name, held, h)
			}
			if o := d.env.Books.Open.Load(); o != 0 {
				d.t.Errorf("%s: %d rows are open after a Flush of all", d.w.name, o)
			}
		}
	}
}

func (d *driver) tick() {
	d.t.Helper()
	d.clock.Advance(100 * time.Millisecond)
	if d.rand.IntN(4) == 0 {
		d.call("Tick while blocked", 0, func() error { _, err := d.proc.Tick(d.clock.Now(), true, d.rec); return err })
		return
	}
	d.until("Tick", func() (bool, error) { return d.proc.Tick(d.clock.Now(), false, d.rec) })
}

// flush asks for a cut of one partition.
func (d *driver) flush(part int, force bool) {
	d.t.Helper()
	p, held := d.parts[part], 0
	d.until("Flush", func() (more bool, err error) { held, more, err = d.proc.Flush(p, force, d.rec); return more, err })
	if held < 0 || force && held != 0 {
		d.t.Errorf("%s: a forced Flush left %d held", d.w.name, held)
	}
	if held > 0 && !d.s.p.Spec.Parks {
		d.t.Errorf("%s: Flush held %d back, and the specification does not say that it parks: behind a queue a mark would lose them", d.w.name, held)
	}
	if !d.s.p.Spec.KeepsRange || held > 0 {
		return
	}
	// The cut is made: all of the partition is out, and settles when its outputs do.
	d.rec.settle(func(o *output) bool { return o.rng.Partition == p })
	d.sync()
	for _, in := range d.rec.inputs {
		if in.rng.Partition == p && in.settled.Load() == 0 {
			d.t.Errorf("%s: input %v is not settled after the cut at %d and all outputs are", d.w.name, in.rng, d.next[part]-1)
		}
	}
	d.ranges(part)
	d.first[part] = d.next[part]
}

// giveBack has all partitions given to another owner.
func (d *driver) giveBack() {
	d.t.Helper()
	x, ok := d.proc.(sdk.Returner)
	if !ok {
		d.t.Fatalf("%s: %v", d.w.name, errNoReturner)
	}
	for _, p := range d.parts {
		held, refused, returned := 0, len(d.rec.refused), d.returned()
		d.until("Flush", func() (more bool, err error) { held, more, err = d.proc.Flush(p, false, d.rec); return more, err })
		all := d.env.Books.Held.Load()
		d.call("Return", 0, func() error { return x.Return(p) })
		if left := d.env.Books.Held.Load(); left != all-int64(held) || len(d.rec.refused) != refused || d.returned()-returned > uint64(held) {
			d.t.Errorf("%s: Return left %d held, want %d; it refused %d, and dropped %d of %d as returned",
				d.w.name, left, all-int64(held), len(d.rec.refused)-refused, d.returned()-returned, held)
		}
	}
	d.rec.settle(func(*output) bool { return true })
	d.sync()
	for _, in := range d.rec.inputs {
		if in.settled.Load() != 1 {
			d.t.Errorf("%s: input %v was settled %d times when its partition was returned", d.w.name, in.rng, in.settled.Load())
		}
	}
}

// returned is how many records the books have as returned.
func (d *driver) returned() (n uint64) {
	d.env.Books.Dropped(func(reason sdk.Reason, k uint64) {
		if reason == sdk.ReasonReturned {
			n = k
		}
	})
	return n
}

// ranges checks that what came of a partition since its last cut lies inside the segment.
func (d *driver) ranges(part int) {
	d.t.Helper()
	for _, o := range d.rec.outs {
		if o.rng.Partition == nil {
			d.t.Errorf("%s: an output has no range, and the specification says ranges are kept: one open batch for each partition", d.w.name)
			return
		}
		if o.rng.Partition != d.parts[part] || o.rng.Last < d.first[part] {
			continue
		}
		if o.rng.First < d.first[part] || o.rng.Last >= d.next[part] {
			d.t.Errorf("%s: output %v leaves its segment %d-%d", d.w.name, o.rng, d.first[part], d.next[part]-1)
		}
	}
}

func (d *driver) drain() {
	d.t.Helper()
	d.until("Drain", func() (bool, error) { return d.proc.Drain(d.w.why, d.w.why != sdk.LaneRetired, d.rec) })
	if held, open := d.env.Books.Held.Load(), d.env.Books.Open.Load(); d.w.why == sdk.InputEnded && (held != 0 || open != 0) {
		d.t.Errorf("%s: Drain left %d held and %d open", d.w.name, held, open)
	}
	if d.s.p.Spec.KeepsRange {
		for part := range d.parts {
			d.ranges(part)
		}
	}
	if d.w.lent {
		for _, o := range d.rec.outs {
			for _, row := range o.rows {
				for col, v := range row {
					if s, ok := v.(string); ok && strings.Contains(s, string(spoilt[:8])) {
						d.t.Fatalf("%s: column %s of an output shows memory that was lent for a call that has returned: Own what is kept",
							d.w.name, d.env.Out[o.port].Field(col).Name)
					}
				}
			}
		}
	}
}

// mayLeave says whether what is held is a sibling's or the next life's, or goes unsettled.
func (d *driver) mayLeave() bool { return d.w.why != sdk.InputEnded }

// close drains the instance, closes it and settles what it has given out.
func (d *driver) close() {
	d.t.Helper()
	d.drain()
	d.call("Close", -1, d.proc.Close)
	d.rec.finish(d.sync, d.mayLeave())
}

// left checks that a closed instance has left nothing behind.
func (d *driver) left() {
	d.t.Helper()
	if n := d.env.Pool.InUse(); n != 0 && !d.mayLeave() {
		d.t.Errorf("%s: %d batches were never released (negative: released too often)", d.w.name, n)
	}
	if remote, ok := d.proc.(*remoteProcessor); ok {
		if n := remote.end(); n != 0 && !d.mayLeave() {
			d.t.Errorf("%s: %d batches were never released in the guest", d.w.name, n)
		}
	}
	if err := d.world.shares.open(); err != nil {
		d.t.Errorf("%s: after Close: %v", d.w.name, err)
	}
	if d.lent != d.back.n && !d.mayLeave() {
		d.t.Errorf("%s: %d slabs were lent, %d given back", d.w.name, d.lent, d.back.n)
	}
}

// quiet checks that no goroutine is left that was not there when the instance was made.
func (d *driver) quiet() {
	d.t.Helper()
	if err := goleak.Find(d.leaks); err != nil {
		d.t.Errorf("%s: after Close: %v", d.w.name, err)
	}
}
