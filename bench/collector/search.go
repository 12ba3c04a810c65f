//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strconv"
	"time"
)

// bench is how steps are run.
type bench struct {
	self           string
	port           int
	sendCore       int
	cores          []int // of the collector
	step           time.Duration
	steps          int
	offload        string
	nice           int
	flood          int // templates beside the traffic
	deadline       time.Time
	verbose        bool
	countDatagrams bool // the collector counts datagrams, not records
	fixed          bool // one rate only
	one            bool // one socket sends it all
}

// step is one rate, tried.
type step struct {
	sent    sent
	told    []byte // what the collector wrote to its standard output
	counted uint64
	slack   uint64
	drops   uint64
	cpu     time.Duration // of the collector, while datagrams came and until they were read
	others  time.Duration // that the collector's cores worked for somebody else
	took    time.Duration
	// resident is the most memory of the collector's that was resident, in bytes; softirq the core that did the kernel's work of
	// receiving, with its share of it.
	resident int64
	softirq  string
}

// disturbed: others had so much of the collector's core that its buffer may have been full for that.
func (s *step) disturbed() bool { return s.others > s.took/50 }

// flows a second.
func (s *step) flows() float64 { return float64(s.sent.Records) / s.sent.Seconds }

// want is what the collector must have counted.
func (b *bench) want(s *step) uint64 {
	if b.countDatagrams {
		return s.sent.Datagrams
	}
	return s.sent.Records
}

// lost is the share that the collector did not count.
func (b *bench) lost(s *step) float64 {
	w := b.want(s)
	if s.counted >= w {
		return 0
	}
	return float64(w-s.counted) / float64(w)
}

// lossless: nothing dropped by the kernel, everything counted, but for what the collector may keep for itself.
func (b *bench) lossless(s *step) bool {
	w := b.want(s)
	return s.drops == 0 && s.counted <= w && s.counted+s.slack >= w
}

// try starts the collector, sends, and counts.
func (b *bench) try(s *subject, traffic string, rate float64) (*step, error) {
	r, err := s.start(b.port, b.cores, b.nice)
	if err != nil {
		return nil, err
	}
	st, err := b.load(r, traffic, rate)
	n, err2 := r.end()
	if err != nil {
		return nil, err
	}
	if err2 != nil {
		return nil, err2
	}
	st.counted, st.slack, st.told = n, s.slack, r.stdout.Bytes()
	if b.verbose && !b.lossless(st) {
		fmt.Fprintf(os.Stderr, "# %s\n", bytes.TrimSpace(r.stderr.Bytes()))
	}
	if b.verbose {
		fmt.Fprintf(os.Stderr, "# %s, %s, %s: asked %.0f/s, sent %.0f/s, %d records in %.2f s, counted %d, %d dropped in the kernel, %v CPU, others %v\n",
			s.name, s.does, traffic, rate, st.sent.Rate, st.sent.Records, st.sent.Seconds, n, st.drops, st.cpu, st.others)
	}
	return st, nil
}

func (b *bench) load(r *running, traffic string, rate float64) (*step, error) {
	members, err := family(r.cmd.Process.Pid)
	if err != nil {
		return nil, err
	}
	before, err := cpuOf(members)
	if err != nil {
		return nil, err
	}
	began, irqs := time.Now(), softirqs()
	core, err := busy(b.cores)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(b.self, "send", "-to", "127.0.0.1:"+strconv.Itoa(b.port), "-traffic", traffic, "-rate", fmt.Sprint(rate), "-for", b.step.String(), "-offload", b.offload, "-flood", strconv.Itoa(b.flood), "-one="+strconv.FormatBool(b.one))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := begin(cmd, []int{b.sendCore}, b.nice); err != nil {
		return nil, fmt.Errorf("sender: %w", err)
	}
	if err := cmd.Wait(); err != nil {
		return nil, fmt.Errorf("sender: %w", err)
	}
	st := new(step)
	if err := json.Unmarshal(out.Bytes(), &st.sent); err != nil {
		return nil, err
	}
	// What waits in the socket is still to be read; what waits in queues of its own, too.
	for until := time.Now().Add(time.Second); ; time.Sleep(10 * time.Millisecond) {
		at, err := socketsOf(b.port)
		if err != nil {
			return nil, err
		}
		if st.drops = at.drops; at.queued == 0 || time.Now().After(until) {
			break
		}
	}
	st.softirq = busiest(irqs, softirqs())
	time.Sleep(max(r.s.settle, 500*time.Millisecond))
	if st.resident, err = resident(members); err != nil {
		return nil, err
	}
	after, err := cpuOf(members)
	if err != nil {
		return nil, err
	}
	ended, err := busy(b.cores)
	st.cpu, st.took = after-before, time.Since(began)
	st.others = max(0, ended-core-st.cpu)
	return st, err
}

// found is the end of a search.
type found struct {
	best, next *step // the highest rate without loss, the lowest with; nil: none
	top        bool  // the sender could not send more, though it had its core
	steps      int
}

// search looks for the highest rate without loss: doubling or halving from first until it lies between two rates, then between
// them, geometrically, until they are 6 % apart or steps or time are over.
func (b *bench) search(try func(rate float64) (*step, error), first float64, each time.Duration) (*found, error) {
	f := new(found)
	disturbed := 0 // steps before this one that were, and are tried again
	for rate := first; f.steps < b.steps && time.Now().Add(each).Before(b.deadline); f.steps++ {
		st, err := try(rate)
		if err != nil {
			return nil, err
		}
		// A loss while others had some of its core is not the collector's: once more, and once again, then it counts.
		if !b.lossless(st) && disturbed < 2 && st.disturbed() {
			disturbed++
			continue
		}
		disturbed = 0
		if b.lossless(st) {
			if f.best == nil || st.sent.Rate > f.best.sent.Rate {
				f.best = st
			}
		} else if f.next == nil || st.sent.Rate < f.next.sent.Rate {
			f.next = st
		}
		if f.best != nil && f.next != nil && f.next.sent.Rate <= f.best.sent.Rate {
			f.next = nil // more than that has gone through since
		}
		switch {
		case b.fixed:
			return f, nil
		case f.best == nil:
			rate = f.next.sent.Rate / 2
		case f.next == nil && st.sent.Rate < 0.95*rate:
			// It spins while it waits: a sender that had its core and fell short is at its limit. Another one is tried again.
			if f.top = st.sent.core() > 0.95; f.top {
				return f, nil
			}
		case f.next == nil:
			rate = f.best.sent.Rate * 2
		case f.next.sent.Rate < 1.06*f.best.sent.Rate:
			return f, nil
		default:
			rate = math.Sqrt(f.best.sent.Rate * f.next.sent.Rate)
		}
	}
	return f, nil
}
