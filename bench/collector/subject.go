//go:build linux

package main

import (
	"bufio"
	"bytes"
	"cmp"
	"debug/buildinfo"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

//go:embed *.yaml
var pipelines embed.FS

// subject is a collector that can be measured.
type subject struct {
	name, does string
	columns    string
	buffer     string // of its socket
	program    string // what must be there
	from       string // where it comes from, if it is not
	command    func(port int, dir string) (*exec.Cmd, error)
	stop       syscall.Signal
	ready      time.Duration // after it listens: what it still has to set up; 0: a tenth of a second
	slack      uint64        // flows that it may keep for itself when it is stopped, not lost but not told
	settle     time.Duration // after the last datagram was read: what it may have in queues of its own; 0: half a second
	// count reads how many flow records (datagrams, where it does not decode) the collector says that it has had.
	count func(dir string, stdout, stderr []byte) (uint64, error)
}

// missing says why the collector cannot be measured here; empty: it can.
func (s *subject) missing() string {
	if _, err := exec.LookPath(s.program); err != nil {
		return fmt.Sprintf("%s is not here: %s", s.program, s.from)
	}
	return ""
}

const ownBuffer = "4 MiB"

// weir with one of the pipelines beside this file.
func weir(bin, does, columns, pipeline string, workers int) *subject {
	return &subject{
		name: "weir", does: does, columns: columns, buffer: ownBuffer, program: bin, from: "make build", stop: syscall.SIGTERM,
		command: func(port int, dir string) (*exec.Cmd, error) {
			text, err := fs.ReadFile(pipelines, pipeline)
			if err != nil {
				return nil, err
			}
			file := filepath.Join(dir, pipeline)
			if err := os.WriteFile(file, text, 0o644); err != nil {
				return nil, err
			}
			cmd := exec.Command(bin, "run", file, "--admin", "off", "--summary", "json", "--log-level", "error", "--data-dir", filepath.Join(dir, "data"))
			cmd.Env = append(os.Environ(), fmt.Sprintf("BENCH_PORT=%d", port), fmt.Sprintf("BENCH_WORKERS=%d", workers))
			return cmd, nil
		},
		count: func(_ string, _, stderr []byte) (uint64, error) {
			lines := bytes.Split(bytes.TrimSpace(stderr), []byte("\n"))
			var out struct {
				Pipelines []struct {
					Delivered uint64
					Balanced  bool
				}
			}
			if err := json.Unmarshal(lines[len(lines)-1], &out); err != nil || len(out.Pipelines) != 1 {
				return 0, fmt.Errorf("no summary: %s", bytes.TrimSpace(stderr))
			}
			if p := out.Pipelines[0]; !p.Balanced {
				return 0, errors.New("the ledger does not balance")
			}
			return out.Pipelines[0].Delivered, nil
		},
	}
}

// receivers is Weir's source alone, in this program: four workers, of which some do not read until the end.
func receivers(self, does string, stalled int) *subject {
	return &subject{
		name: "weir's source", does: does, columns: "-", buffer: ownBuffer, program: self, stop: syscall.SIGTERM,
		command: func(port int, _ string) (*exec.Cmd, error) {
			return exec.Command(self, "receive", "-listen", fmt.Sprintf("127.0.0.1:%d", port), "-workers", "4", "-stall", strconv.Itoa(stalled), "-balance", cmp.Or(os.Getenv("BENCH_BALANCE"), "packet"),
				"-gro="+cmp.Or(os.Getenv("BENCH_GRO"), "true")), nil
		},
		count: func(_ string, stdout, stderr []byte) (n uint64, err error) {
			var out received
			if err := json.Unmarshal(stdout, &out); err != nil {
				return 0, fmt.Errorf("%w: %s", err, stderr)
			}
			for _, k := range out.Workers {
				n += k
			}
			return n, nil
		},
	}
}

// nfcapd writes its own files, into memory, not compressed; sfcapd is the same for sFlow.
func nfcapd(program, from string) *subject {
	flows := regexp.MustCompile(`Flows: (\d+)`)
	return &subject{
		name: program, does: "decode, file in memory", columns: "its file's", buffer: ownBuffer, program: program, from: from, stop: syscall.SIGTERM,
		command: func(port int, dir string) (*exec.Cmd, error) {
			return exec.Command(program, "-w", dir, "-b", "127.0.0.1", "-p", strconv.Itoa(port), "-B", strconv.Itoa(4<<20), "-t", "3600"), nil
		},
		count: func(_ string, stdout, stderr []byte) (n uint64, err error) {
			found := flows.FindAllSubmatch(append(stdout, stderr...), -1)
			if found == nil {
				return 0, fmt.Errorf("it did not say how many flows: %s", stderr)
			}
			for _, f := range found { // a line for each file
				k, err := strconv.ParseUint(string(f[1]), 10, 64)
				if err != nil {
					return 0, err
				}
				n += k
			}
			return n, nil
		},
	}
}

// produces is what goflow2 does.
func produces(form string) string { return "decode, produce, " + form + " to /dev/null" }

// goflow2 is built from bench/peers.
func goflow2(bin, form string) *subject {
	return &subject{
		name: "goflow2", does: produces(form), columns: "its message's", buffer: "default", program: bin,
		from: "make bench-collector builds it", stop: syscall.SIGTERM,
		command: func(port int, _ string) (*exec.Cmd, error) {
			return exec.Command(bin, "-listen", fmt.Sprintf("127.0.0.1:%d", port), "-format", form, "-transport.file", os.DevNull), nil
		},
		count: func(_ string, stdout, _ []byte) (uint64, error) {
			var out struct{ Flows uint64 }
			if err := json.Unmarshal(stdout, &out); err != nil {
				return 0, fmt.Errorf("%w: %s", err, stdout)
			}
			return out.Flows, nil
		},
	}
}

// pmacct's daemon for NetFlow and IPFIX, nfacctd, or for sFlow, sfacctd. It aggregates: every two seconds it writes a line for each group
// of equal keys, with the number of flows in it (of sFlow: the packets, one a sample). What it has not written when it is stopped it
// does not tell: so it is left alone for longer, and a buffer that was not full (64 KiB) is forgiven.
func pmacct(program string) *subject {
	keys, counts := "src_host, dst_host, src_port, dst_port, proto, tos, tcpflags, in_iface, out_iface, src_as, dst_as, peer_src_ip", ", flows"
	if program == "sfacctd" {
		counts = "" // it has packets without being asked, and no flows
	}
	return &subject{
		name: program, does: "decode, aggregate, JSON in memory", columns: "12 keys", ready: 1500 * time.Millisecond, slack: 1000, settle: 4 * time.Second, buffer: ownBuffer, program: program, from: "Debian: pmacct", stop: syscall.SIGINT,
		command: func(port int, dir string) (*exec.Cmd, error) {
			conf := filepath.Join(dir, "pmacct.conf")
			text := fmt.Sprintf(`daemonize: false
%[1]s_ip: 127.0.0.1
%[1]s_port: %[2]d
%[1]s_pipe_size: %[3]d
plugins: print
aggregate: %[4]s
print_output: json
print_output_file: %[5]s/out.json
print_output_file_append: true
print_refresh_time: 2
print_cache_entries: 131071
plugin_pipe_size: 67108864
plugin_buffer_size: 65536
`, program, port, 4<<20, keys+counts, dir)
			if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
				return nil, err
			}
			return exec.Command(program, "-f", conf), nil
		},
		count: func(dir string, _, stderr []byte) (n uint64, err error) {
			f, err := os.Open(filepath.Join(dir, "out.json"))
			if err != nil {
				return 0, fmt.Errorf("it wrote nothing: %s", stderr)
			}
			defer f.Close()
			lines := bufio.NewScanner(f)
			for lines.Scan() {
				var l struct{ Flows, Packets uint64 }
				if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
					return 0, err
				}
				if counts == "" {
					l.Flows = l.Packets
				}
				n += l.Flows
			}
			return n, lines.Err()
		},
	}
}

// version of a peer: of the library that it was built with, or as it says it itself.
func version(s *subject) string {
	switch s.name {
	case "goflow2":
		info, err := buildinfo.ReadFile(s.program)
		if err != nil {
			return "" // missing, which the table says
		}
		for _, m := range info.Deps {
			if m.Path == "github.com/netsampler/goflow2/v2" {
				return strings.TrimPrefix(m.Version, "v")
			}
		}
	case "nfcapd", "sfcapd", "nfacctd", "sfacctd":
		out, err := exec.Command(s.program, "-V").CombinedOutput()
		if err != nil && len(out) == 0 {
			return ""
		}
		return regexp.MustCompile(`\d+\.\d+\.\d+`).FindString(string(out))
	}
	return ""
}

// running is a collector at work.
type running struct {
	s              *subject
	cmd            *exec.Cmd
	dir            string
	port           int
	stdout, stderr bytes.Buffer
	done           chan error
}

// start starts a collector on cores and waits until it listens.
func (s *subject) start(port int, cores []int, nice int) (*running, error) {
	// In memory: a disk would be measured instead.
	dir, err := os.MkdirTemp("/dev/shm", "weir-bench-")
	if err != nil {
		return nil, err
	}
	r := &running{s: s, dir: dir, port: port, done: make(chan error, 1)}
	if r.cmd, err = s.command(port, dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	r.cmd.Stderr = &r.stderr
	if strings.Contains(s.does, "JSON lines") {
		null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
		if err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
		defer null.Close()
		r.cmd.Stdout = null
	} else {
		r.cmd.Stdout = &r.stdout
	}
	if err := begin(r.cmd, cores, nice); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	go func() { r.done <- r.cmd.Wait() }()
	for deadline := time.Now().Add(5 * time.Second); ; {
		if at, err := socketsOf(port); err != nil || at.n > 0 {
			time.Sleep(max(s.ready, 100*time.Millisecond)) // all of its sockets
			return r, err
		}
		select {
		case err := <-r.done:
			r.done <- err
			return nil, errors.Join(fmt.Errorf("%s ended at once: %v: %s%s", s.name, err, r.stdout.Bytes(), r.stderr.Bytes()), os.RemoveAll(dir))
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			_, err := r.end()
			return nil, errors.Join(fmt.Errorf("%s does not listen on port %d after 5 s", s.name, port), err)
		}
	}
}

// end stops it and asks for its count.
func (r *running) end() (n uint64, err error) {
	defer func() { err = errors.Join(err, os.RemoveAll(r.dir)) }()
	if err := r.cmd.Process.Signal(r.s.stop); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return 0, err
	}
	select {
	case <-r.done:
	case <-time.After(10 * time.Second):
		if err := syscall.Kill(-r.cmd.Process.Pid, syscall.SIGKILL); err != nil { // all of its session
			return 0, err
		}
		<-r.done
		return 0, fmt.Errorf("%s had to be killed", r.s.name)
	}
	return r.s.count(r.dir, r.stdout.Bytes(), r.stderr.Bytes())
}
