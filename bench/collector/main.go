//go:build linux

// Command collector measures flow collectors over loopback UDP, one after another, each a process of its own on one core, the sender
// on another: the highest rate at which nothing is lost, and what a flow costs there. See bench/README.md.
package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/weirflow/weir/bench/lab"
)

func main() {
	err := func() error {
		if len(os.Args) > 1 && os.Args[1] == "send" {
			return send(os.Args[2:])
		}
		if len(os.Args) > 1 && os.Args[1] == "receive" {
			return receive(os.Args[2:])
		}
		return run()
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "collector:", err)
		os.Exit(1)
	}
}

func run() (err error) {
	b := &bench{}
	form := lab.NewOutput(flag.CommandLine)
	bin := flag.String("weir", "bin/weir", "weir")
	peer := flag.String("goflow2", "bin/bench-goflow2", "goflow2 as bench/peers builds it")
	only := flag.String("only", "", "measure only collectors whose line has this text")
	limit := flag.Duration("limit", 420*time.Second, "time for all of it; what does not fit is left out, and said")
	flag.IntVar(&b.sendCore, "send-core", 0, "core of the sender")
	core := flag.Int("core", 1, "core of the collector")
	flag.DurationVar(&b.step, "step", 1500*time.Millisecond, "how long a rate is sent")
	flag.IntVar(&b.steps, "steps", 7, "most rates tried for a collector; fewer for the peers that take long")
	flag.StringVar(&b.offload, "offload", "auto", "gso, mmsg, or auto: gso where the kernel has it")
	flag.IntVar(&b.nice, "nice", 0, "of sender and collector; less than 0 keeps others from disturbing them")
	flag.BoolVar(&b.verbose, "v", false, "say what each step gave")
	flag.Parse()
	if runtime.NumCPU() < 2 {
		return errors.New("sender and collector need a core each, and this machine has one")
	}
	if *bin, err = filepath.Abs(*bin); err != nil {
		return err
	}
	if *peer, err = filepath.Abs(*peer); err != nil {
		return err
	}
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if b.port, err = freePort(); err != nil {
		return err
	}
	b.cores, b.deadline = []int{*core}, time.Now().Add(*limit)
	t := &table{b: b, only: *only}
	before, began := steal(), time.Now()
	all := figures{Host: lab.Here(), SendCore: b.sendCore, Core: *core, Step: b.step.Seconds()}
	w := form.Text
	fmt.Fprintf(w, "%s\nthis program's own sender on core %d, collector on core %d; %v a rate, at most %d rates; %d exporters, each with a socket and an address of its own\n\n",
		all.Host, b.sendCore, *core, b.step, b.steps, lab.Exporters)
	t.measure(*bin, *peer)
	if t.err != nil {
		return t.err
	}
	if err := lab.Table(w, t.lines); err != nil {
		return err
	}
	t.goals = append(t.goals, t.beside()...)
	if *only == "" || *only == "flood" {
		fl, goals, err := b.floods(weir(*bin, decodes, "20", "discard.yaml", 1))
		if err != nil {
			t.notes = append(t.notes, fmt.Sprintf("flood of templates: not measured: %v", err))
		} else {
			fmt.Fprintln(w)
			if err := lab.Table(w, fl.lines(b)); err != nil {
				return err
			}
			all.Flood = fl
			t.goals = append(t.goals, goals...)
		}
	}
	if *only == "" || *only == "lanes" {
		l, err := b.twoLanes(*bin)
		if err != nil {
			return err
		}
		all.Lanes = l
		t.goals = append(t.goals, l.goal())
	}
	fmt.Fprintln(w)
	if len(t.goals) > 0 {
		if err := lab.Goals(w, t.goals); err != nil {
			return err
		}
	}
	for _, n := range t.notes {
		fmt.Fprintln(w, n)
	}
	all.Collectors, all.Goals, all.Notes = t.readings, t.goals, t.notes
	all.Seconds, all.Steal = time.Since(began).Seconds(), (steal() - before).Seconds()
	fmt.Fprintf(w, "\nCPU a flow: of all threads of the collector, user and kernel, from before the first datagram until half a second after the last was read. Softirq: the\n"+
		"core that carried datagrams to the collector's socket, by /proc/softirqs; on loopback it is the sender's. %v in all; the host kept %v of processor time from the machine; load now: %s\n",
		time.Since(began).Round(time.Second), (steal() - before).Round(10*time.Millisecond), lab.Here().Load)
	return form.End(os.Stdout, all)
}

// figures are all that it measured; with -o json it prints them.
type figures struct {
	Host       lab.Host   `json:"host"`
	SendCore   int        `json:"sender_core"`
	Core       int        `json:"collector_core"`
	Step       float64    `json:"seconds_per_rate"`
	Collectors []reading  `json:"collectors"`
	Flood      *flooding  `json:"flood,omitempty"`
	Lanes      *lanes     `json:"lanes,omitempty"`
	Goals      []lab.Goal `json:"goals"`
	Notes      []string   `json:"notes,omitempty"`
	Seconds    float64    `json:"seconds"`       // that all of it took
	Steal      float64    `json:"steal_seconds"` // of processor time that the machine's host kept
}

// freePort is a UDP port that nobody has.
func freePort() (int, error) {
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).Port, nil
}
