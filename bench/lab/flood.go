//go:build linux

package lab

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirflow/weir/formats/emulate"
	"github.com/weirflow/weir/sdk"
)

// Flood is what a flood of templates costs those who export flows: CPU ns of the decoding thread.
type Flood struct {
	Alone   float64 `json:"alone"`   // for a flow, without a flood
	Beside  float64 `json:"beside"`  // for a flow, between batches of the flood
	Touched float64 `json:"touched"` // for a flow, where 8 MiB of memory are touched between batches and nothing else is done: what any neighbour costs
	// Template is for a template; there were so many different ones in all.
	Template  float64 `json:"template"`
	Templates int     `json:"templates"`
}

const (
	// floodDatagrams come between two batches of flows: about 1,000 templates for 12,288 flows.
	floodDatagrams = 14
	flooders       = 128
	floodRounds    = 15
	floodTouched   = 8 << 20
)

// MeasureFlood decodes a ring without a flood of templates, with one, and with memory touched, by turns in one process, for n templates or more.
// Of each batch the cheapest round counts: a ring takes milliseconds, and on a busy machine hardly one goes through undisturbed. Of the
// sets, each with decoders and datagrams of its own, the cheapest counts: where in memory they come to lie has cost one of two decoders up
// to a tenth more than the other, for as long as they lived. That every flow is decoded is checked.
func MeasureFlood(c Case, n, sets int) (f Flood, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ring, err := c.Ring(Base)
	if err != nil {
		return f, err
	}
	for range sets {
		if err := f.set(ring, (n+sets-1)/sets); err != nil {
			return f, err
		}
	}
	return f, nil
}

// set measures one set.
func (f *Flood) set(ring *emulate.Ring, n int) (err error) {
	var cs []*Contender
	defer func() {
		for _, c := range cs {
			err = errors.Join(err, c.Close())
		}
	}()
	for range 3 {
		c, err := NewWeir(ring, "", Columns20)
		if err != nil {
			return err
		}
		cs = append(cs, c)
	}
	s, err := newStream(cs[1].weir)
	if err != nil {
		return err
	}
	memory := make([]uint64, floodTouched/8)
	between := []func() error{
		func() error { return nil },
		s.next,
		func() error {
			for i := 0; i < len(memory); i += 8 {
				memory[i]++
			}
			return nil
		},
	}
	const batches = Datagrams / weirDatagrams
	var flows [3][batches]time.Duration // the least of each
	for round := 0; round <= floodRounds || s.templates < n; round++ {
		for i, c := range cs {
			made := 0
			for j := range batches {
				before, t0 := s.templates, threadTime()
				k, err := c.Next()
				if err != nil {
					return err
				}
				made += k
				t1 := threadTime()
				if err := between[i](); err != nil {
					return err
				}
				t2 := threadTime()
				if round == 0 { // warm
					continue
				}
				if v := &flows[i][j]; *v == 0 || t1-t0 < *v {
					*v = t1 - t0
				}
				if i == 1 {
					least(&f.Template, t2-t1, s.templates-before)
				}
			}
			if made != ring.Records {
				return fmt.Errorf("%d of %d flows were decoded", made, ring.Records)
			}
		}
	}
	for i, v := range []*float64{&f.Alone, &f.Beside, &f.Touched} {
		var all time.Duration
		for _, d := range flows[i] {
			all += d
		}
		least(v, all, ring.Records)
	}
	f.Templates += s.templates
	return nil
}

// least keeps what one of n costs if that is the least so far.
func least(v *float64, d time.Duration, n int) {
	if x := float64(d) / float64(n); *v == 0 || x < *v {
		*v = x
	}
}

// threadTime is the processor time that this thread has had.
func threadTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// stream is a flood that goes to a decoder.
type stream struct {
	to        *weir
	emulator  *emulate.Emulator
	at        int64 // ns since the epoch
	templates int
	buf       []byte
}

func newStream(to *weir) (*stream, error) {
	e, err := emulate.New(emulate.Options{Mix: emulate.Mix{{Protocol: emulate.NetFlowV9, Weight: 1}}, Exporters: flooders, Flood: emulate.MaxFlood, Base: Base})
	if err != nil {
		return nil, err
	}
	s := &stream{to: to, emulator: e, at: Base.UnixNano()}
	return s, nil
}

// next gives a batch of the flood to the decoder.
func (s *stream) next() error {
	b := s.to.env.Pool.Get(sdk.Datagram, floodDatagrams)
	for n := 0; n < floodDatagrams; {
		s.at += int64(time.Millisecond)
		if !s.emulator.FloodDue(s.at) {
			continue
		}
		var d emulate.Datagram
		s.buf, d = s.emulator.Append(s.buf[:0], s.at, 0)
		d.Exporter[11] ^= 1 // none of the ring's addresses
		s.templates += d.Templates
		addRow(b, s.buf, &d)
		n++
	}
	b.Seal()
	return s.to.processor.Process(b, s.to)
}
