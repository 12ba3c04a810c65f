//go:build linux

package lab

import (
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirflow/weir/formats/emulate"
	"github.com/weirflow/weir/sdk"
)

// Flood is what a flood of templates costs those who export flows.
type Flood struct {
	Alone, Beside float64 // CPU ns of the decoding thread for a flow: without a flood, and between its batches
	Template      float64 // the same for a template
	Templates     int     // different ones
}

const (
	// floodDatagrams come between two batches of flows: about 1,000 templates for 12,288 flows.
	floodDatagrams = 14
	flooders       = 128
	floodRounds    = 15
)

// MeasureFlood decodes a ring without a flood of templates and with one, by turns in one process, for n templates or more and
// floodRounds rounds; figures are of the cheapest. That every flow is decoded is checked.
func MeasureFlood(c Case, n int) (f Flood, err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ring, err := c.Ring(Base)
	if err != nil {
		return f, err
	}
	var cs [2]*Contender
	for i := range cs {
		if cs[i], err = NewWeir(ring, "", Columns20); err != nil {
			return f, err
		}
	}
	s, err := newStream(cs[1].weir)
	if err != nil {
		return f, err
	}
	for round := 0; round <= floodRounds || s.templates < n; round++ {
		for i, c := range cs {
			var flows, flood time.Duration
			made, before := 0, s.templates
			for range Datagrams / weirDatagrams {
				t0 := threadTime()
				k, err := c.Next()
				if err != nil {
					return f, err
				}
				made += k
				t1 := threadTime()
				flows += t1 - t0
				if i == 1 {
					if err := s.next(); err != nil {
						return f, err
					}
					flood += threadTime() - t1
				}
			}
			if made != ring.Records {
				return f, fmt.Errorf("%d of %d flows were decoded", made, ring.Records)
			}
			if round == 0 { // warm
				continue
			}
			least := func(v *float64, d time.Duration, n int) {
				if x := float64(d) / float64(n); *v == 0 || x < *v {
					*v = x
				}
			}
			if i == 0 {
				least(&f.Alone, flows, made)
			} else {
				least(&f.Beside, flows, made)
				least(&f.Template, flood, s.templates-before)
			}
		}
	}
	for _, c := range cs {
		if err := c.Close(); err != nil {
			return f, err
		}
	}
	f.Templates = s.templates
	return f, nil
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
