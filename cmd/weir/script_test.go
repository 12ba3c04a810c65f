package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/weirflow/weir/core/admin"
	"github.com/weirflow/weir/formats/formatstest/tshark"
)

func TestMain(m *testing.M) { testscript.Main(leakChecked{m}, map[string]func(){"weir": main}) }

// leakChecked fails tests that pass and leave goroutines behind.
type leakChecked struct{ m *testing.M }

func (l leakChecked) Run() int {
	code := l.m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, "left behind:", err)
			code = 1
		}
	}
	return code
}

// The scripts run the whole binary: testdata/script/*.txtar, a file a command. Beside testscript's own they have:
//
//	exit CODE weir ARGS...        the command ends with this code; any: with whichever
//	hold udp|tcp PORT             somebody else has the port
//	answers PORT [PIPELINE]       waits until the admin interface there is ready, and the pipeline has delivered something
//	ledger A == B                 compares figures of the JSON summary that is the last line of standard error:
//	                              a number, or PIPELINE.FIELD, or PIPELINE.NODE.FIELD, or of a field that counts by reason
//	                              PIPELINE.NODE.FIELD.REASON; also !=, < and >
//	eventually PORT A == B        waits until a figure of the pipeline that runs there is B
//	keep NAME A                   puts such a figure into $NAME
//	certificates NAME...          writes ca.crt and NAME.crt and NAME.key of each, for 127.0.0.1
//	field NAME A                  the same of a JSON object on standard output: NAME > A
//	capture FILE PAYLOAD...       writes a capture file with a UDP datagram to port 2055 for each payload
//	lint PORT                     /metrics there can be read, and Prometheus' linter finds nothing
//
// Each script has free ports in $PORT1 to $PORT4, and no setting of the caller's environment.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		UpdateScripts:       os.Getenv("WEIR_UPDATE") != "",
		Setup: func(e *testscript.Env) error {
			e.Setenv("GORACE", "atexit_sleep_ms=0") // with the race detector each process would sleep a second at its end
			for i := 1; i <= 4; i++ {
				port, err := freePort()
				if err != nil {
					return err
				}
				e.Setenv(fmt.Sprintf("PORT%d", i), port)
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exit": exitCode, "hold": hold, "answers": answers, "ledger": compareLedger, "field": compareField,
			"keep": keepFigure, "eventually": eventually, "certificates": makeCertificates,
			"capture": writeCapture, "lint": lint,
		},
	})
}

// FreePort is for the tests outside the package.
var FreePort = freePort

var givenPorts sync.Map // those that freePort gave

// freePort is free for UDP and TCP when it is asked for, and for as long as no other program asks for just this one: no test was given it
// before, and it is below those that systems give to connections and to whoever listens on port 0 (from 32768, or 49152).
func freePort() (string, error) {
	for range 1000 {
		port := strconv.Itoa(20000 + rand.IntN(12000))
		if _, taken := givenPorts.LoadOrStore(port, true); taken {
			continue
		}
		u, err := net.ListenPacket("udp4", "127.0.0.1:"+port)
		if err != nil {
			continue
		}
		u.Close()
		t, err := net.Listen("tcp4", "127.0.0.1:"+port)
		if err != nil {
			continue
		}
		t.Close()
		return port, nil
	}
	return "", errors.New("no port is free for both UDP and TCP")
}

func exitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exit CODE command [args...]")
	}
	want, got := -1, 0
	if args[0] != "any" {
		var err error
		want, err = strconv.Atoi(args[0])
		ts.Check(err)
	}
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		e, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = e.ExitCode()
	}
	if got != want && want >= 0 {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

func hold(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: hold udp|tcp PORT")
	}
	addr := "127.0.0.1:" + args[1]
	if args[0] == "udp" {
		c, err := net.ListenPacket("udp4", addr)
		ts.Check(err)
		ts.Defer(func() { c.Close() })
		return
	}
	l, err := net.Listen("tcp4", addr)
	ts.Check(err)
	ts.Defer(func() { l.Close() })
}

func answers(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: answers PORT [PIPELINE]")
	}
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if _, err = fetch(context.Background(), "127.0.0.1:"+args[0], "/-/ready"); err != nil {
			continue
		}
		if len(args) == 1 {
			return
		}
		var text []byte
		if text, err = fetch(context.Background(), "127.0.0.1:"+args[0], "/api/v1/pipelines/"+args[1]); err != nil {
			continue
		}
		var s admin.Status
		ts.Check(json.Unmarshal(text, &s))
		if s.Ledger.Delivered > 0 {
			return
		}
		err = errors.New("nothing has been delivered")
	}
	ts.Fatalf("not ready: %v", err)
}

// writeCapture writes Ethernet frames: IPv4, UDP from 192.0.2.1.
func writeCapture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: capture FILE PAYLOAD...")
	}
	var frames []tshark.Frame
	from, to := netip.MustParseAddrPort("192.0.2.1:2055"), netip.MustParseAddrPort("192.0.2.2:2055")
	for i, payload := range args[1:] {
		frames = append(frames, tshark.Frame{At: time.Unix(1_790_000_000+int64(i), 0), Data: tshark.UDP(from, to, []byte(payload))})
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), tshark.Pcap(frames), 0o644))
}

func lint(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: lint PORT")
	}
	text, err := fetch(context.Background(), "127.0.0.1:"+args[0], "/metrics")
	ts.Check(err)
	if n := strings.Count(string(text), "\nweir_"); n < 25 {
		ts.Fatalf("only %d lines of our own:\n%s", n, text)
	}
	problems, err := promlint.New(bytes.NewReader(text)).Lint()
	ts.Check(err)
	for _, p := range problems {
		ts.Fatalf("%s: %s", p.Metric, p.Text)
	}
}

func compareLedger(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: ledger A ==|!=|<|> B")
	}
	check(ts, figure(ts, args[0]), args[1], figure(ts, args[2]), strings.Join(args, " "))
}

func keepFigure(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: keep NAME A")
	}
	ts.Setenv(args[0], strconv.FormatFloat(figure(ts, args[1]), 'f', -1, 64))
}

func makeCertificates(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: certificates NAME...")
	}
	ts.Check(certificates(ts.MkAbs("."), args...))
}

// figure is a number, or one of the JSON summary that is the last line of standard error.
func figure(ts *testscript.TestScript, path string) float64 {
	if v, err := strconv.ParseFloat(path, 64); err == nil {
		return v
	}
	lines := strings.Split(strings.TrimSpace(ts.ReadFile("stderr")), "\n")
	var sum struct{ Pipelines []map[string]any }
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &sum); err != nil {
		ts.Fatalf("the last line of standard error is no summary: %v", err)
	}
	v, ok := figureOf(sum.Pipelines, path)
	if !ok {
		ts.Fatalf("there is no %s in the summary", path)
	}
	return v
}

// figureOf looks a figure up in ledgers.
func figureOf(pipelines []map[string]any, path string) (n float64, ok bool) {
	steps := strings.Split(path, ".")
	for _, p := range pipelines {
		if p["name"] != steps[0] {
			continue
		}
		if len(steps) >= 3 {
			for _, n := range p["nodes"].([]any) {
				n := n.(map[string]any)
				if n["id"] != steps[1] {
					continue
				}
				if len(steps) == 4 { // by reason
					n, _ = n[steps[2]].(map[string]any)
					steps = steps[1:]
				}
				v, _ := n[steps[2]].(float64) // left out: 0
				return v, true
			}
			break
		}
		if _, ok := p["lost"]; !ok && steps[1] == "lost" {
			return 0, true // left out
		}
		switch v := p[steps[1]].(type) {
		case float64:
			return v, true
		case bool:
			if v {
				return 1, true
			}
			return 0, true
		case map[string]any: // counts by reason
			for _, x := range v {
				n += x.(float64)
			}
			return n, true
		}
	}
	return 0, false
}

// eventually waits until a figure of a running pipeline is what it has to be.
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 || args[2] != "==" {
		ts.Fatalf("usage: eventually PORT A == B")
	}
	want, err := strconv.ParseFloat(args[3], 64)
	ts.Check(err)
	name, _, _ := strings.Cut(args[1], ".")
	got := 0.0
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		text, err := fetch(context.Background(), "127.0.0.1:"+args[0], "/api/v1/pipelines/"+name)
		ts.Check(err)
		var s struct{ Ledger map[string]any }
		ts.Check(json.Unmarshal(text, &s))
		if got, _ = figureOf([]map[string]any{s.Ledger}, args[1]); got == want {
			return
		}
	}
	ts.Fatalf("%s is %v and not %v", args[1], got, want)
}

func compareField(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: field NAME ==|!=|<|> NUMBER")
	}
	var v map[string]any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &v))
	got, ok := v[args[0]].(float64)
	if !ok {
		ts.Fatalf("there is no number %s", args[0])
	}
	want, err := strconv.ParseFloat(args[2], 64)
	ts.Check(err)
	check(ts, got, args[1], want, strings.Join(args, " "))
}

func check(ts *testscript.TestScript, a float64, op string, b float64, what string) {
	ok := map[string]bool{"==": a == b, "!=": a != b, "<": a < b, ">": a > b}
	if hold, known := ok[op]; !known || !hold {
		ts.Fatalf("%s does not hold: %v and %v", what, a, b)
	}
}

// Every ready-made pipeline is without errors and warnings, and says what it is for.
func TestReadyMade(t *testing.T) {
	t.Chdir("../..")
	a := &app{out: t.Output(), err: t.Output(), plugins: builtIn()}
	var all []string
	for _, pattern := range []string{"pipelines/*.yaml", "pipelines/*/*.yaml"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, names...)
	}
	if len(all) < 5 {
		t.Fatalf("found %v", all)
	}
	for _, name := range all {
		plans, d, err := a.load([]string{name}, &pipelineFlags{})
		if err != nil || len(d.List) > 0 || len(plans) != 1 {
			t.Errorf("%s: %v, %v", name, err, d.List)
			continue
		}
		if plans[0].Pipeline.Doc == "" {
			t.Errorf("%s does not say what it is for", name)
		}
	}
}

// The exit codes in the help are those in the code.
func TestHelpNamesExitCodes(t *testing.T) {
	var out strings.Builder
	if code := execute(nil, &out, &out); code != 0 {
		t.Fatal(code, out.String())
	}
	for _, code := range []int{exitRuntime, exitUsage, exitNotReady, exitConfig} {
		if !regexp.MustCompile(fmt.Sprintf(`\b%d\b`, code)).MatchString(out.String()) {
			t.Errorf("the help does not name the exit code %d", code)
		}
	}
}
