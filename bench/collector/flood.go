//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirflow/weir/bench/lab"
	"github.com/weirflow/weir/formats/emulate"
)

const (
	floodTemplates = 1_000_000
	// Addresses that they come from: the limits of each, by default 1,024 templates, are together more than that of all.
	flooders = 128
	// The traffic beside it, in datagrams/s, and how long both last: one core has room for both.
	floodRate = 60_000
	floodStep = 4 * time.Second
	floodSets = 5 // from memory
)

// flood is templates beside the traffic, each of another layout, as broken or hostile exporters send them, each from a socket and an
// address of its own.
type flood struct {
	fds      map[[16]byte]int // by the emulated exporter
	emulator *emulate.Emulator
	base     time.Time
	left     int
	buf      []byte
}

// floodWith prepares n templates to go out evenly in d.
func (s *sender) floodWith(n int, d time.Duration, to netip.AddrPort) error {
	perSecond := int(float64(n) / d.Seconds() * 1.02) // a little faster, so that all have gone when the time is over
	base := time.Now()
	e, err := emulate.New(emulate.Options{Exporters: flooders, Flood: perSecond, Base: base})
	if err != nil {
		return err
	}
	s.flood = &flood{emulator: e, base: base, left: n, fds: map[[16]byte]int{}}
	for at := base.UnixNano(); len(s.flood.fds) < flooders; { // they take turns with templates of their own, too
		_, d := e.Append(nil, at, 0)
		if _, ok := s.flood.fds[d.Exporter]; ok {
			continue
		}
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("socket: %w", err)
		}
		s.flood.fds[d.Exporter] = fd
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 2, 0, byte(len(s.flood.fds))}}); err != nil {
			return fmt.Errorf("bind the flood: %w", err)
		}
		if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}); err != nil {
			return fmt.Errorf("connect %v: %w", to, err)
		}
	}
	return nil
}

// flooded sends what of the flood is due when the traffic has been going for since.
func (s *sender) flooded(since time.Duration) error {
	f := s.flood
	for at := f.base.Add(since).UnixNano(); f.left > 0 && f.emulator.FloodDue(at); {
		var d emulate.Datagram
		f.buf, d = f.emulator.Append(f.buf[:0], at, 0)
		if err := s.one(f.fds[d.Exporter], f.buf); err != nil {
			return err
		}
		s.out.Templates += uint64(d.Templates)
		f.left -= d.Templates
	}
	return nil
}

// floods measures what a flood of templates costs those who export flows. Over UDP: the same traffic without it and with it, what is lost
// and how much memory it takes. From memory, where no sender comes between: the CPU time of decoding the flows.
func (b *bench) floods(s *subject) (*flooding, []lab.Goal, error) {
	type load struct {
		name  string
		flood int
		best  *step
	}
	loads := []*load{{name: "alone"}, {name: "beside the flood", flood: floodTemplates}}
	x := *b
	x.step = floodStep
	tries := 0
	for _, l := range loads {
		// A loss while others had some of its core is tried again.
		for again := true; again; tries++ {
			if !time.Now().Add(x.step + s.settle + 2*time.Second).Before(b.deadline) {
				return nil, nil, errors.New("the time was over")
			}
			x.flood = l.flood
			st, err := x.try(s, "v9 x 24", floodRate)
			if err != nil {
				return nil, nil, err
			}
			if l.best == nil || x.lost(st) < x.lost(l.best) {
				l.best = st
			}
			again = x.lost(l.best) > 0 && st.disturbed() && tries < 4
		}
	}
	f, err := lab.MeasureFlood(lab.Cases[0], floodTemplates, floodSets)
	if err != nil {
		return nil, nil, err
	}
	alone, both := loads[0].best, loads[1].best
	lossless := lab.Goal{What: "a flood of 1 M templates: flows lost of those who export", Unit: "flows", Figure: float64(b.want(both) - min(both.counted, b.want(both)))}
	if lossless.Figure > 0 && both.disturbed() {
		lossless.Why = fmt.Sprintf("%.0f flows were lost while others had %v of its core", lossless.Figure, both.others)
	}
	return &flooding{both.sent.Templates, b.tried(alone), b.tried(both), f}, []lab.Goal{
		lossless,
		{What: fmt.Sprintf("from memory: CPU a flow between its templates (%.1f ns; alone %.1f; where 8 MiB are touched instead %.1f; a template %.0f)", f.Beside, f.Alone, f.Touched, f.Template),
			Bound: 1.1, Unit: "times", Figure: f.Beside / f.Alone},
		{What: "memory that it takes", Bound: 128, Unit: "MiB", Figure: float64(both.resident-alone.resident) / (1 << 20)},
	}, nil
}

// flooding is what floods found.
type flooding struct {
	Templates uint64    `json:"templates"`
	Alone     *tried    `json:"alone"`
	Beside    *tried    `json:"beside"`
	Memory    lab.Flood `json:"cpu_ns_from_memory"`
}

func (f *flooding) lines(b *bench) [][]string {
	lines := [][]string{{"v9 x 24, weir with 20 columns", "flows/s", "templates", "flows lost", "core used", "resident at most", "offload x datagrams a call", "sender", "softirq", "collector"}}
	for i, t := range []*tried{f.Alone, f.Beside} {
		name, templates := "alone", uint64(0)
		if i == 1 {
			name, templates = "beside the flood", f.Templates
		}
		lines = append(lines, []string{name, fmt.Sprintf("%.3g M", t.Flows/1e6), fmt.Sprint(templates), fmt.Sprintf("%.2g %%", 100*t.Lost), fmt.Sprintf("%.2f", t.Cores),
			fmt.Sprintf("%.0f MiB", float64(t.Resident)/(1<<20)), t.Offload, fmt.Sprintf("core %d (had %.0f %%)", b.sendCore, 100*t.Sender), t.Softirq,
			fmt.Sprintf("core %d (others %.0f %%)", b.cores[0], 100*t.Others)})
	}
	return lines
}
