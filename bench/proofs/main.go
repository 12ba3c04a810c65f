// Command proofs asks for the goals that are no matter of speed, by running the tests that prove them: delivery under kill -9 and in
// simulated lives, the ledger, what trickling partitions hold, hostile payloads. See bench/README.md.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirflow/weir/bench/lab"
)

func main() {
	p := program{form: lab.NewOutput(flag.CommandLine)}
	flag.StringVar(&p.root, "root", ".", "the module's directory")
	flag.IntVar(&p.kills, "kills", 200, "processes to kill with SIGKILL; 0: none")
	flag.IntVar(&p.lives, "lives", 500, "simulated lives")
	flag.IntVar(&p.graphs, "graphs", 1000, "random pipelines whose ledger must balance")
	flag.Parse()
	if err := p.run(); err != nil {
		fmt.Fprintln(os.Stderr, "proofs:", err)
		os.Exit(1)
	}
}

type program struct {
	form                 *lab.Output
	root                 string
	kills, lives, graphs int
}

// figures are all that it measured; with -o json it prints them.
type figures struct {
	Host   lab.Host   `json:"host"`
	Proofs []outcome  `json:"proofs"`
	Goals  []lab.Goal `json:"goals"`
}

// outcome is what the run of a test gave.
type outcome struct {
	What    string  `json:"what"`
	Command string  `json:"command"`
	Cases   int     `json:"cases"`
	Failed  int     `json:"failed"`
	Skipped string  `json:"skipped,omitempty"` // why
	Seconds float64 `json:"seconds"`
}

// proof is a test, and the goals that it decides.
type proof struct {
	what  string
	env   []string
	args  []string
	goals func(outcome, events) []lab.Goal
}

// none of the cases may fail.
func none(what string) func(outcome, events) []lab.Goal {
	return func(o outcome, _ events) []lab.Goal {
		return []lab.Goal{{What: fmt.Sprintf("%s (%d cases)", what, o.Cases), Figure: float64(o.Failed), Unit: "cases", Why: o.Skipped}}
	}
}

func (p *program) proofs() []proof {
	test := func(pkg, run string, more ...string) []string {
		return append([]string{"test", "-count=1", "-timeout=60m", "-json", "-run", "^(" + run + ")$", pkg}, more...)
	}
	return []proof{
		{what: "lives with seeded faults on simulated clocks", env: []string{fmt.Sprintf("WEIR_SOAK=%d", p.lives)}, args: test("./core/engine", "TestNothingIsLostAndNothingIsTwice"),
			goals: none("simulated lives: records lost, or stored twice")},
		{what: "each rule of delivery switched off", args: test("./core/engine", "TestEachRuleIsNeeded"), goals: none("rules of delivery whose absence no test notices")},
		{what: "random pipelines", args: test("./core/engine", "TestLedgerBalancesOverRandomGraphs", fmt.Sprintf("-rapid.checks=%d", p.graphs)),
			goals: func(o outcome, _ events) []lab.Goal {
				return []lab.Goal{{What: fmt.Sprintf("random pipelines whose ledger does not balance (%d drawn)", p.graphs), Figure: float64(o.Failed), Unit: "pipelines", Why: o.Skipped}}
			}},
		{what: "queues of random limits and traffic", args: test("./core/queue", "TestAQueueKeepsOrderAndAccount|TestManyProducersAndLanesAtOnce|TestALargeBatchPassesAnEmptyQueue"),
			goals: none("queues that held more than their limit, or lost count")},
		{what: "100 trickling partitions into a keyed sink", args: test("./core/engine", "TestTricklingPartitionsCostLittle"), goals: trickling},
		{what: "hostile NetFlow and IPFIX", args: test("./formats/netflow", "TestMalformed|TestGoodAfterAnyMalformed|TestMoreCountedThanThere|TestTemplateFloodIsBounded|TestExporterClocksThatAreWrong"),
			goals: none("hostile NetFlow and IPFIX: a panic, a hang, a sound set lost, memory without bound")},
		{what: "hostile sFlow", args: test("./formats/sflow", "TestMalformed|TestFaultsStayWhereTheyAre|TestManySmallThings"), goals: none("hostile sFlow: the same")},
		{what: "hostile payloads before good ones", args: test("./processors/decode", "TestGoodAfterAnyMalformed|TestRefused"), goals: none("good datagrams behind hostile ones: lost")},
	}
}

func (p *program) run() error {
	all := figures{Host: lab.Here()}
	fmt.Fprintf(p.form.Text, "%s\n\n", all.Host)
	lines := [][]string{{"proof", "cases", "failed", "time", "command"}}
	add := func(o outcome) {
		all.Proofs = append(all.Proofs, o)
		line := []string{o.What, strconv.Itoa(o.Cases), strconv.Itoa(o.Failed), fmt.Sprintf("%.1f s", o.Seconds), o.Command}
		if o.Skipped != "" {
			line[1], line[2] = "skipped", o.Skipped
		}
		lines = append(lines, line)
	}
	if p.kills > 0 {
		o, err := p.soak()
		if err != nil {
			return err
		}
		add(o)
		all.Goals = append(all.Goals, lab.Goal{What: fmt.Sprintf("processes killed with SIGKILL, %d times: records lost, or stored twice", p.kills), Figure: float64(o.Failed), Unit: "faults"})
	}
	for _, x := range p.proofs() {
		o, es, err := p.test(x)
		if err != nil {
			return fmt.Errorf("%s: %w", x.what, err)
		}
		add(o)
		all.Goals = append(all.Goals, x.goals(o, es)...)
	}
	if err := lab.Table(p.form.Text, lines); err != nil {
		return err
	}
	fmt.Fprintln(p.form.Text)
	if err := lab.Goals(p.form.Text, all.Goals); err != nil {
		return err
	}
	return p.form.End(os.Stdout, all)
}

// soak kills processes; each fault that it tells is a case that failed.
func (p *program) soak() (outcome, error) {
	args := []string{"run", "./tools/soak", "-kills", strconv.Itoa(p.kills)}
	o := outcome{What: "processes killed with SIGKILL", Command: "go " + strings.Join(args, " "), Cases: p.kills}
	cmd := exec.Command("go", args...)
	cmd.Dir, cmd.Stderr = p.root, os.Stderr
	begun := time.Now()
	out, err := cmd.Output()
	o.Seconds = time.Since(begun).Seconds()
	o.Failed = strings.Count("\n"+string(out), "\nfault:")
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && (!ended || o.Failed == 0) {
		return o, fmt.Errorf("%s: %w: %s", o.Command, err, out)
	}
	return o, nil
}

// test runs a proof.
func (p *program) test(x proof) (o outcome, es events, err error) {
	cmd := exec.Command("go", x.args...)
	cmd.Dir, cmd.Stderr, cmd.Env = p.root, os.Stderr, append(os.Environ(), x.env...)
	shown := slices.DeleteFunc(slices.Clone(x.args), func(a string) bool { return a == "-json" || a == "-timeout=60m" })
	for i, a := range shown {
		if strings.ContainsAny(a, "|()$") {
			shown[i] = "'" + a + "'"
		}
	}
	o = outcome{What: x.what, Command: strings.Join(append(x.env, "go "+strings.Join(shown, " ")), " ")}
	begun := time.Now()
	out, err := cmd.Output()
	o.Seconds = time.Since(begun).Seconds()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		return o, nil, err
	}
	if es, err = read(out); err != nil {
		return o, nil, err
	}
	o.Cases, o.Failed, o.Skipped = es.outcome()
	if o.Cases == 0 && o.Skipped == "" {
		return o, nil, fmt.Errorf("it ran no test: %s", out)
	}
	return o, es, nil
}

var heldAndBlocks = regexp.MustCompile(`pool: (\d+) KiB.* ([\d.]+) blocks a second`)

// trickling are the goals of partitions that trickle, from what their test logs.
func trickling(o outcome, es events) []lab.Goal {
	held, blocks := lab.Goal{What: "100 trickling partitions (10 rows/s each, age: 1s): held", Bound: 64, Unit: "MiB"}, lab.Goal{What: "the same: blocks", Bound: 10, Unit: "blocks/s"}
	found := heldAndBlocks.FindStringSubmatch(es.output())
	if found == nil || o.Failed > 0 {
		held.Why = cmp.Or(o.Skipped, "its test failed, or does not tell")
		blocks.Why = held.Why
		return []lab.Goal{held, blocks}
	}
	kib, err1 := strconv.ParseFloat(found[1], 64)
	rate, err2 := strconv.ParseFloat(found[2], 64)
	if err := errors.Join(err1, err2); err != nil {
		held.Why, blocks.Why = err.Error(), err.Error()
	}
	held.Figure, blocks.Figure = kib/1024, rate
	return []lab.Goal{held, blocks}
}
