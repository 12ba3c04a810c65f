//go:build linux

package udp

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirflow/weir/sdk"
)

// childResult is what a child process says of its life.
type childResult struct {
	Got     map[string]int
	Sockets []Socket
}

const childMark = "RESULT "

// TestChild is the process that sockets are passed to. It reads until its standard input ends.
func TestChild(t *testing.T) {
	listen := os.Getenv("WEIR_TEST_LISTEN")
	if listen == "" {
		t.Skip("it is started by TestPassedSockets")
	}
	workers, err := strconv.Atoi(os.Getenv("WEIR_TEST_WORKERS"))
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, testEnv(t), &Config{Listen: strings.Split(listen, ","), Workers: workers, Balance: Balance(os.Getenv("WEIR_TEST_BALANCE")), GRO: true})
	sockets, err := s.Inspect(sdk.TopicSockets)
	if err != nil {
		t.Fatal(err)
	}
	wait := collect(t, s)
	fmt.Println("READY")
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		t.Error(err)
	}
	s.Stop(t.Context())
	all, _, _ := wait()
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	r := childResult{Got: map[string]int{}, Sockets: sockets.(*Sockets).Sockets}
	for _, g := range all {
		r.Got[g.Payload]++
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(childMark + string(text))
}

// child starts a process that is passed files, as a supervisor does: LISTEN_PID is known to the child alone.
func child(t *testing.T, files []*os.File, names string, env ...string) (end func() childResult, kill func()) {
	t.Helper()
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, os.Args[0], "-test.run=^TestChild$", "-test.v")
	cmd.ExtraFiles = files
	cmd.Env = append(append(os.Environ(), env...), fmt.Sprintf("LISTEN_FDS=%d", len(files)), "LISTEN_FDNAMES="+names)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	out := make(chan string)
	ready := make(chan struct{})
	go func() {
		var b strings.Builder
		buf := make([]byte, 4096)
		told := false
		for {
			n, err := pipe.Read(buf)
			b.Write(buf[:n])
			if !told && (err != nil || strings.Contains(b.String(), "READY")) {
				told = true
				close(ready)
			}
			if err != nil {
				out <- b.String()
				return
			}
		}
	}()
	select {
	case <-ready:
	case <-time.After(20 * time.Second):
		t.Error("the child does not start")
	}
	kill = func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		<-out
		_ = cmd.Wait() // it was killed
		in.Close()
	}
	end = func() (r childResult) {
		t.Helper()
		in.Close()
		text := <-out
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		for line := range strings.Lines(text) {
			if rest, ok := strings.CutPrefix(line, childMark); ok {
				if err := json.Unmarshal([]byte(rest), &r); err != nil {
					t.Fatal(err)
				}
				return r
			}
		}
		t.Fatalf("the child says nothing of its life:\n%s", text)
		return r
	}
	return end, kill
}

// passing opens n sockets of one address as a supervisor would.
func passing(t *testing.T, n int, reuse bool) (files []*os.File, at netip.AddrPort) {
	t.Helper()
	at = netip.MustParseAddrPort("127.0.0.1:0")
	for range n {
		fd, err := bind(at, reuse, nil)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), "socket")
		t.Cleanup(func() { f.Close() })
		if at, err = localAddr(fd); err != nil {
			t.Fatal(err)
		}
		setReceiveBuffer(fd, 4<<20)
		files = append(files, f)
	}
	return files, at
}

// Sockets of a supervisor outlive the processes that read them: nothing is lost between two of them, however the sockets are
// balanced, and each datagram is read once.
func TestPassedSockets(t *testing.T) {
	for _, c := range []struct {
		name    string
		sockets int
		reuse   bool
		listen  string
		workers string
		balance Balance
		readers int
		rule    string // in force
	}{
		{"one, by number", 1, false, "fd:0", "1", BalanceDomain, 1, "none"},
		{"one, by name, several workers", 1, false, "fd:netflow", "3", BalancePacket, 3, "worker that is free"},
		{"four, balanced", 4, true, "fd:netflow", "4", BalancePacket, 4, "packet"},
		{"four, fewer workers", 4, true, "fd:netflow", "1", BalanceDomain, 4, "domain"},
		{"two, by the kernel", 2, true, "fd:netflow", "4", BalanceKernel, 4, "kernel"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.rule == "packet" || c.rule == "domain" {
				programs(t)
			}
			files, at := passing(t, c.sockets, c.reuse)
			names := strings.TrimSuffix(strings.Repeat("netflow:", c.sockets), ":")
			sent := 0
			send := func(n int) {
				for i := range n {
					if i%10 == 0 { // several flows
						conn := dial(t, at)
						defer conn.Close()
						for range 10 {
							fmt.Fprintf(conn, "%d", sent)
							sent++
						}
					}
				}
			}
			env := []string{"WEIR_TEST_LISTEN=" + c.listen, "WEIR_TEST_WORKERS=" + c.workers, "WEIR_TEST_BALANCE=" + string(c.balance)}
			seen := map[string]int{}
			for life := range 2 {
				send(200) // before it starts
				end, _ := child(t, files, names, env...)
				send(300)
				r := end()
				for k, n := range r.Got {
					seen[k] += n
				}
				if len(r.Sockets) != c.readers {
					t.Fatalf("%+v", r.Sockets)
				}
				for i, s := range r.Sockets {
					if s.Inherited != c.listen || s.Listen != at.String() || s.Worker != i || s.Balance != c.rule || s.GRO || s.DropsAtLeast || s.DropsWhy != "" || (s.Why != "") != (c.rule == "worker that is free") {
						t.Errorf("life %d: %+v", life, s)
					}
				}
			}
			if len(seen) != sent {
				t.Errorf("%d of %d arrived", len(seen), sent)
			}
			for k, n := range seen {
				if n != 1 {
					t.Fatalf("%s arrived %d times", k, n)
				}
			}
		})
	}
}

// A process that was killed leaves its program at the sockets, and them in its map: the next one balances all the same.
func TestPassedAfterACrash(t *testing.T) {
	programs(t)
	files, at := passing(t, 4, true)
	env := []string{"WEIR_TEST_LISTEN=fd:in", "WEIR_TEST_WORKERS=1", "WEIR_TEST_BALANCE=packet"}
	_, kill := child(t, files, "in:in:in:in", env...)
	kill()
	end, _ := child(t, files, "in:in:in:in", env...)
	conn := dial(t, at)
	for i := range 400 {
		fmt.Fprintf(conn, "%d", i)
	}
	r := end()
	if len(r.Got) != 400 {
		t.Errorf("%d of 400 arrived", len(r.Got))
	}
	for _, s := range r.Sockets {
		if s.Balance != "packet" || s.Why != "" {
			t.Errorf("%+v", s)
		}
	}
}

// What was not passed, or is no UDP socket, is named.
func TestNotPassed(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	f, err := tcp.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	u, err := net.DialUDP("udp4", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	uf, err := u.File()
	if err != nil {
		t.Fatal(err)
	}
	defer uf.Close()
	connected := uf.Fd()
	for _, c := range []struct{ fds, pid, names, listen, want string }{
		{"", "", "", "fd:0", "fd:0: no sockets were passed to this process"},
		{"1", "1", "", "fd:0", `fd:0: the sockets were passed to the process LISTEN_PID="1", and this one is `},
		{"1", "", "", "fd:0", `LISTEN_PID=""`},
		{"x", "self", "", "fd:0", `LISTEN_FDS is "x", which is no number from 1 to 4096`},
		{"1", "self", "", "fd:-1", "the sockets that were passed to this process have no names (LISTEN_FDNAMES): say fd:0"}, // not file 2
		{"1", "self", "", "fd:netflow", "have no names"},
		{"1", "self", "\x1b[31mred", "fd:netflow", `"\x1b[31mred"`},
		{fmt.Sprint(connected - 2), "self", "", fmt.Sprintf("fd:%d", connected-3), "is connected (to 127.0.0.1:9), so that no exporter reaches it"},
		{"-3", "self", "", "fd:0", "no sockets were passed"},
		{"99999", "self", "", "fd:0", "no sockets were passed"},
		{"1", "self", "sflow", "fd:1", "only 1 sockets were passed"},
		{"1", "self", "sflow:more", "fd:netflow", `their names are ["sflow" "more"]`},
		{fmt.Sprint(f.Fd() - 2), "self", "", fmt.Sprintf("fd:%d", f.Fd()-3), "is not one for UDP"},
	} {
		if c.pid == "self" {
			c.pid = strconv.Itoa(os.Getpid())
		}
		t.Setenv("LISTEN_FDS", c.fds)
		t.Setenv("LISTEN_PID", c.pid)
		t.Setenv("LISTEN_FDNAMES", c.names)
		_, err := Plugin.Source(testEnv(t), &Config{Listen: []string{c.listen}, Workers: 1, Balance: BalanceKernel, ReceiveBuffer: 1 << 20})
		if n, ok := errors.AsType[*sdk.NotReady](err); !ok || !strings.Contains(err.Error(), c.want) || n.Do == "" {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// A passed socket is read by one node.
func TestPassedTwice(t *testing.T) {
	files, _ := passing(t, 1, false)
	fd, err := unix.FcntlInt(files[0].Fd(), unix.F_DUPFD_CLOEXEC, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	t.Setenv("LISTEN_FDS", fmt.Sprint(fd-firstPassed+1))
	t.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	cfg := func() *Config {
		return &Config{Listen: []string{fmt.Sprintf("fd:%d", fd-firstPassed)}, Workers: 1}
	}
	env := testEnv(t)
	first := open(t, env, cfg())
	next := open(t, env, cfg()) // the next generation
	other := testEnv(t)
	other.Node, other.Share = "other", env.Share
	c := cfg()
	c.Balance, c.ReceiveBuffer = BalanceKernel, 1<<20
	if _, err := Plugin.Source(other, c); err == nil || !strings.Contains(err.Error(), "is read by test.udp") {
		t.Error(err)
	}
	for _, s := range []*source{first, next} {
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
	}
}
