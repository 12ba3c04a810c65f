//go:build linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sockets is what the kernel says of the UDP sockets bound to a port.
type sockets struct {
	n, queued int    // sockets; bytes waiting in them
	drops     uint64 // datagrams that found their buffer full
}

func socketsOf(port int) (s sockets, err error) {
	for _, file := range []string{"/proc/net/udp", "/proc/net/udp6"} {
		text, err := os.ReadFile(file)
		if err != nil {
			return s, err
		}
		suffix := fmt.Sprintf(":%04X", port)
		for line := range strings.Lines(string(text)) {
			f := strings.Fields(line)
			if len(f) < 13 || !strings.HasSuffix(f[1], suffix) {
				continue
			}
			_, rx, _ := strings.Cut(f[4], ":")
			queued, err := strconv.ParseUint(rx, 16, 64)
			if err != nil {
				return s, fmt.Errorf("%s: %q: %w", file, line, err)
			}
			drops, err := strconv.ParseUint(f[12], 10, 64)
			if err != nil {
				return s, fmt.Errorf("%s: %q: %w", file, line, err)
			}
			s.n++
			s.queued += int(queued)
			s.drops += drops
		}
	}
	return s, nil
}

// family is a process and what it has started.
func family(pid int) ([]int, error) {
	list := []int{pid}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	parent := map[int]int{}
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		_, after, _ := strings.Cut(string(text[strings.LastIndexByte(string(text), ')'):]), " ")
		f := strings.Fields(after)
		child, err1 := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if p, err := strconv.Atoi(f[1]); err == nil && err1 == nil {
			parent[child] = p
		}
	}
	for i := 0; i < len(list); i++ {
		for child, p := range parent {
			if p == list[i] && !slices.Contains(list, child) {
				list = append(list, child)
			}
		}
	}
	return list, nil
}

// cpuOf is the processor time of processes, user and kernel, ended threads too: the clock that getrusage reads, of another process
// (clock_getcpuclockid(3)).
func cpuOf(pids []int) (t time.Duration, err error) {
	const scheduled = 2
	for _, pid := range pids {
		var ts unix.Timespec
		if err := unix.ClockGettime(int32(^pid<<3|scheduled), &ts); err != nil {
			return 0, fmt.Errorf("processor time of process %d: %w", pid, err)
		}
		t += time.Duration(ts.Nano())
	}
	return t, nil
}

// resident is the most memory that processes had at a time (VmHWM), in bytes.
func resident(pids []int) (n int64, err error) {
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return 0, err
		}
		for line := range strings.Lines(string(text)) {
			if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
				k, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
				if err != nil {
					return 0, fmt.Errorf("process %d: %q: %w", pid, line, err)
				}
				n += k << 10
			}
		}
	}
	return n, nil
}

// softirqs are the runs of the receiving softirq on each core so far; nil where the kernel does not tell.
func softirqs() (n []uint64) {
	text, err := os.ReadFile("/proc/softirqs")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		if values, ok := strings.CutPrefix(strings.TrimSpace(line), "NET_RX:"); ok {
			for _, v := range strings.Fields(values) {
				k, err := strconv.ParseUint(v, 10, 64)
				if err != nil {
					return nil
				}
				n = append(n, k)
			}
		}
	}
	return n
}

// busiest is the core with most runs between two readings.
func busiest(before, after []uint64) string {
	best, most, all := 0, uint64(0), uint64(0)
	for i := range min(len(before), len(after)) {
		n := after[i] - before[i]
		all += n
		if n > most {
			best, most = i, n
		}
	}
	if all == 0 {
		return "not told"
	}
	return fmt.Sprintf("core %d (%.0f %%)", best, 100*float64(most)/float64(all))
}

// begin starts a process in a session of its own, bound to cores, so that all it starts is too. With a niceness it is the session
// that gets it: where the kernel groups by session (autogroup), that of a process counts only among its siblings.
func begin(cmd *exec.Cmd, cores []int, nice int) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		var set unix.CPUSet
		for _, c := range cores {
			set.Set(c)
		}
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			result <- fmt.Errorf("bind to cores %v: %w", cores, err)
			return
		}
		if nice != 0 {
			if err := unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), nice); err != nil {
				result <- fmt.Errorf("nice %d: %w", nice, err)
				return
			}
		}
		result <- cmd.Start()
	}()
	if err := <-result; err != nil || nice == 0 {
		return err
	}
	group := fmt.Sprintf("/proc/%d/autogroup", cmd.Process.Pid)
	if err := os.WriteFile(group, []byte(strconv.Itoa(nice)), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("nice %d of the session: %w", nice, err)
	}
	return nil
}

// busy is the time in which cores did something for anybody, the host too, in steps of 10 ms.
func busy(cores []int) (t time.Duration, err error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		core, err := strconv.Atoi(strings.TrimPrefix(f[0], "cpu"))
		if err != nil || len(f) < 9 || !slices.Contains(cores, core) {
			continue
		}
		for i, v := range f[1:9] { // user, nice, system, idle, iowait, irq, softirq, steal
			ticks, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("/proc/stat: %q: %w", line, err)
			}
			if i != 3 && i != 4 {
				t += time.Duration(ticks) * 10 * time.Millisecond
			}
		}
	}
	return t, nil
}

// steal is the time that the machine's host has kept from it.
func steal() time.Duration {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(text))
	if len(f) < 9 {
		return 0
	}
	ticks, err := strconv.ParseInt(f[8], 10, 64)
	if err != nil {
		return 0
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
