//go:build linux

// Command collector measures flow collectors over loopback UDP, one after another, each a process of its own on one core, the sender
// on another: the highest rate at which nothing is lost, and what a flow costs there. See bench/README.md.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/weirflow/weir/bench/lab"
)

func main() {
	err := func() error {
		if len(os.Args) > 1 && os.Args[1] == "send" {
			return send(os.Args[2:])
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
	bin := flag.String("weir", "bin/weir", "weir")
	peer := flag.String("goflow2", "bin/bench-goflow2", "goflow2 as bench/peers builds it")
	only := flag.String("only", "", "measure only collectors whose line has this text")
	limit := flag.Duration("limit", 320*time.Second, "time for all of it; what does not fit is left out, and said")
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
	fmt.Printf("%s\nthis program's own sender on core %d, collector on core %d; %v a rate, at most %d rates; %d exporters, each with a socket and an address of its own\n\n",
		lab.Machine(), b.sendCore, *core, b.step, b.steps, lab.Exporters)
	t.add(line{s: weir(*bin, "decode, discard", "20", "discard.yaml", 1), traffic: "v5 x 30", first: 400_000, goals: goalsV5})
	t.add(line{s: weir(*bin, "decode, discard", "20", "discard.yaml", 1), traffic: "v9 x 24", first: 300_000, goals: goalsV9})
	t.add(line{s: weir(*bin, "decode, discard", "20", "discard.yaml", 1), traffic: "IPFIX", first: 250_000})
	t.add(line{s: weir(*bin, "decode, discard", "20", "discard.yaml", 1), traffic: "sFlow", first: 150_000})
	t.add(line{s: weir(*bin, "decode, JSON lines to /dev/null", "20", "json.yaml", 1), traffic: "v9 x 24", first: 80_000, goals: goalsJSON})
	t.add(line{s: weir(*bin, "receive, four workers", "-", "receive.yaml", 4), traffic: "v9 x 24", first: 250_000, fixed: true, offload: "mmsg", goals: goalsFour})
	t.add(line{s: nfcapd("nfcapd", "Debian: nfdump"), traffic: "v5 x 30", first: 160_000, steps: 6})
	t.add(line{s: nfcapd("nfcapd", "Debian: nfdump"), traffic: "v9 x 24", first: 80_000, steps: 6})
	t.add(line{s: nfcapd("nfcapd", "Debian: nfdump"), traffic: "IPFIX", first: 80_000, steps: 6})
	t.add(line{s: nfcapd("sfcapd", "Debian: nfdump-sflow"), traffic: "sFlow", first: 60_000, steps: 6})
	t.add(line{s: pmacct("nfacctd"), traffic: "v9 x 24", first: 40_000, steps: 4})
	t.add(line{s: pmacct("sfacctd"), traffic: "sFlow", first: 20_000, steps: 4})
	t.add(line{s: goflow2(*peer, "json"), traffic: "v9 x 24", first: 500, steps: 5})
	t.add(line{s: goflow2(*peer, "bin"), traffic: "v9 x 24", first: 4_000, steps: 5})
	t.add(line{s: goflow2(*peer, "bin"), traffic: "sFlow", first: 5_000, steps: 5})
	if t.err != nil {
		return t.err
	}
	if err := lab.Table(os.Stdout, t.lines); err != nil {
		return err
	}
	if *only == "" || *only == "flood" {
		lines, goals, err := b.floods(weir(*bin, "decode, discard", "20", "discard.yaml", 1))
		if err != nil {
			t.notes = append(t.notes, fmt.Sprintf("flood of templates: not measured: %v", err))
		} else {
			fmt.Println()
			if err := lab.Table(os.Stdout, lines); err != nil {
				return err
			}
			t.goals = append(t.goals, goals...)
		}
	}
	if *only == "" || *only == "lanes" {
		g, err := b.twoLanes(*bin)
		if err != nil {
			return err
		}
		t.goals = append(t.goals, g)
	}
	fmt.Println()
	if len(t.goals) > 0 {
		if err := lab.Goals(os.Stdout, t.goals); err != nil {
			return err
		}
	}
	for _, n := range t.notes {
		fmt.Println(n)
	}
	_, err = fmt.Printf("\nCPU a flow: of all threads of the collector, user and kernel, from before the first datagram until half a second after the last was read. Softirq: the\n"+
		"core that carried datagrams to the collector's socket, by /proc/softirqs; on loopback it is the sender's. %v in all; the host kept %v of processor time from the machine; load now: %s\n",
		time.Since(began).Round(time.Second), (steal() - before).Round(10*time.Millisecond), strings.TrimPrefix(lab.Machine()[strings.LastIndex(lab.Machine(), ", load")+1:], " load "))
	return err
}

// line is one line of the table to come.
type line struct {
	s       *subject
	traffic string
	first   float64 // datagrams a second to begin with
	fixed   bool    // try that rate only
	steps   int     // most rates tried; 0: as all
	offload string
	goals   func(*bench, *found) []lab.Goal
}

type table struct {
	b     *bench
	only  string
	lines [][]string
	goals []lab.Goal
	notes []string
	err   error
}

// add measures a line. The first error ends it all: a collector that does not run has no figures.
func (t *table) add(l line) {
	if t.lines == nil {
		t.lines = [][]string{{"collector", "does", "columns", "traffic", "offload x datagrams a call", "sender", "softirq", "collector", "socket buffer", "datagrams/s", "flows/s", "us/flow", "core used", "next rate: lost"}}
	}
	name := strings.TrimSpace(l.s.name + " " + version(l.s))
	if t.err != nil || !strings.Contains(name+" "+l.s.does+" "+l.traffic, t.only) {
		return
	}
	cells := []string{name, l.s.does, l.s.columns, l.traffic}
	if why := l.s.missing(); why != "" {
		t.lines = append(t.lines, append(cells, "missing"))
		t.notes = append(t.notes, "missing: "+why)
		return
	}
	b := *t.b
	b.countDatagrams = l.s.columns == "-"
	if l.offload != "" {
		b.offload = l.offload
	}
	if l.steps > 0 {
		b.steps = min(b.steps, l.steps)
	}
	if l.fixed {
		b.steps = 1
	}
	f, err := b.search(func(rate float64) (*step, error) { return b.try(l.s, l.traffic, rate) }, l.first, b.step+l.s.ready+l.s.settle+2*time.Second)
	if err != nil {
		t.notes = append(t.notes, fmt.Sprintf("%s, %s, %s: not measured: %v", name, l.s.does, l.traffic, err))
		t.lines = append(t.lines, append(cells, "not measured, see below"))
		return
	}
	if f.best == nil && f.next == nil {
		t.lines = append(t.lines, append(cells, "left out: the time was over"))
		return
	}
	t.lines = append(t.lines, append(cells, b.cells(f, l.s.buffer)...))
	if l.goals != nil {
		t.goals = append(t.goals, l.goals(&b, f)...)
	}
}

// cells of what was found.
func (b *bench) cells(f *found, buffer string) []string {
	st := f.best
	if st == nil {
		st = f.next
	}
	cells := []string{st.sent.Offload, fmt.Sprintf("core %d (had %.0f %%)", b.sendCore, 100*st.sent.core()), st.softirq, fmt.Sprintf("core %d (others %.0f %%)", b.cores[0], 100*st.others.Seconds()/st.took.Seconds()), buffer}
	if f.best == nil {
		return append(cells, "none without loss", "", "", "", next(b, f))
	}
	least := ""
	if f.next == nil {
		least = ">= " // no rate was too much: the sender was at its limit, or disturbed, or there was one rate
	}
	return append(cells, fmt.Sprintf("%s%.0f", least, st.sent.Rate), fmt.Sprintf("%s%.3g M", least, float64(st.sent.Records)/st.sent.Seconds/1e6),
		fmt.Sprintf("%.3f", b.perFlow(st)), fmt.Sprintf("%.2f", st.cpu.Seconds()/st.sent.Seconds), next(b, f))
}

func next(b *bench, f *found) string {
	if f.next == nil {
		return "-"
	}
	return fmt.Sprintf("%.0f/s: %.2g %%", f.next.sent.Rate, 100*b.lost(f.next))
}

// perFlow is the cost in us.
func (b *bench) perFlow(s *step) float64 { return s.cpu.Seconds() * 1e6 / float64(s.sent.Records) }

func goal(f *found, what, unit string, bound float64, least bool, figure func(*step) float64) lab.Goal {
	g := lab.Goal{What: what, Unit: unit, Bound: bound, Least: least}
	if f.best == nil {
		g.Why = "no rate was without loss"
	} else {
		g.Figure = figure(f.best)
	}
	return g
}

func goalsV5(b *bench, f *found) []lab.Goal {
	return []lab.Goal{goal(f, "v5 x 30, decoded, one core", "datagrams/s", 500_000, true, func(s *step) float64 { return s.sent.Rate })}
}

func goalsV9(b *bench, f *found) []lab.Goal {
	return []lab.Goal{
		goal(f, "v9 x 24, decoded, one core", "M flows/s", 5, true, func(s *step) float64 { return float64(s.sent.Records) / s.sent.Seconds / 1e6 }),
		goal(f, "v9 x 24, decoded, receive included", "us/flow", 0.18, false, b.perFlow),
	}
}

func goalsJSON(b *bench, f *found) []lab.Goal {
	return []lab.Goal{goal(f, "JSON lines of 20 columns, receive and decode included", "us/flow", 0.45, false, b.perFlow)}
}

func goalsFour(b *bench, f *found) []lab.Goal {
	return []lab.Goal{goal(f, "four workers receive, per 250,000 datagrams/s", "of a core", 0.45, false, func(s *step) float64 { return s.cpu.Seconds() / float64(s.sent.Datagrams) * 250_000 })}
}

// twoLanes compares two lanes with one, fed from memory: a sender would take a part of a core from them.
func (b *bench) twoLanes(bin string) (lab.Goal, error) {
	var g lab.Goal
	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return g, err
	}
	defer os.RemoveAll(dir)
	var cores []int
	for i := range runtime.NumCPU() {
		cores = append(cores, i)
	}
	var best [2]float64
	var had float64 // cores, of the fastest run of two
	for range 5 {   // short ones: on a shared machine one of them may have both cores
		for i := range best {
			cmd, err := weir(bin, "", "", "json.yaml", 1).command(1, dir)
			if err != nil {
				return g, err
			}
			var out, problems bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &problems
			cmd.Args = []string{bin, "bench", filepath.Join(dir, "json.yaml"), "--input", "generate:v9,exporters=50,records=24", "--lanes", strconv.Itoa(i + 1), "--for", (b.step / 2).String(), "-o", "json"}
			if err := begin(cmd, cores, b.nice); err != nil {
				return g, err
			}
			if err := cmd.Wait(); err != nil {
				return g, fmt.Errorf("weir bench: %w: %s", err, problems.Bytes())
			}
			var m struct {
				Rate float64 `json:"records_per_second"`
				CPU  float64 `json:"cpu_ns_per_record"`
			}
			if err := json.Unmarshal(out.Bytes(), &m); err != nil {
				return g, err
			}
			if m.Rate > best[i] {
				best[i] = m.Rate
				if i == 1 {
					had = m.Rate * m.CPU / 1e9
				}
			}
		}
	}
	what := fmt.Sprintf("JSON lines from memory, two lanes beside one (%.3g M and %.3g M flows/s; two had %.2f cores)", best[1]/1e6, best[0]/1e6, had)
	return lab.Lanes(what, 1.7, best[0], best[1], had), nil
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
