//go:build linux

package udp

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/weirflow/weir/bpf"
	"github.com/weirflow/weir/sdk"
)

// firstPassed is the number of the first file that a supervisor passes (SD_LISTEN_FDS_START of sd_listen_fds(3)).
const firstPassed = 3

// inherited finds the sockets that a supervisor passed to this process and that `fd:name` means: those of that name, or the one of
// that number, counted from 0. The protocol is systemd's: LISTEN_FDS is their number, LISTEN_PID whom they are for, and LISTEN_FDNAMES
// their names with colons between.
//
// The files stay open and as they are, for another generation to find; readers work on duplicates.
func inherited(name string) (fds []int, err error) {
	listen := "fd:" + name
	no := func(what string, args ...any) ([]int, error) {
		return nil, &sdk.NotReady{What: listen + ": " + fmt.Sprintf(what, args...),
			Do: "start Weir by a socket unit of systemd with ListenDatagram=, or listen on an address"}
	}
	text := os.Getenv("LISTEN_FDS")
	if text == "" {
		return no("no sockets were passed to this process")
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxPassed {
		return no("LISTEN_FDS is %.40q, which is no number from 1 to %d, so no sockets were passed to this process", text, maxPassed)
	}
	if pid := os.Getenv("LISTEN_PID"); pid != strconv.Itoa(os.Getpid()) {
		return nil, &sdk.NotReady{What: fmt.Sprintf("%s: the sockets were passed to the process LISTEN_PID=%.20q, and this one is %d", listen, pid, os.Getpid()),
			Do: "let the supervisor start weir itself, or a shell that says `exec weir`"}
	}
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	if i, err := strconv.ParseUint(name, 10, 31); err == nil {
		if i >= uint64(n) {
			return no("only %d sockets were passed to this process, and they count from 0", n)
		}
		fds = append(fds, firstPassed+int(i))
	} else {
		for i, x := range names[:min(n, len(names))] {
			if x == name {
				fds = append(fds, firstPassed+i)
			}
		}
	}
	if len(fds) == 0 && os.Getenv("LISTEN_FDNAMES") == "" {
		return no("the sockets that were passed to this process have no names (LISTEN_FDNAMES): say fd:0 for the first")
	}
	if len(fds) == 0 {
		return no("no socket of this name was passed to this process; their names are %.400q", names)
	}
	if len(fds) > maxWorkers {
		return no("%d sockets have this name, and at most %d can be read", len(fds), maxWorkers)
	}
	var at []string
	for _, fd := range fds {
		if err := datagrams(fd); err != nil {
			return no("the socket passed as file %d %v", fd, err)
		}
		a, err := localAddr(fd)
		if err != nil || a.Port() == 0 {
			return no("the socket passed as file %d is not bound to a port", fd)
		}
		if peer, err := unix.Getpeername(fd); err == nil {
			return no("the socket passed as file %d is connected (to %s), so that no exporter reaches it", fd, addrOf(peer))
		}
		at = append(at, a.String())
		unix.CloseOnExec(fd)
	}
	if at = slices.Compact(at); len(at) > 1 {
		return no("its sockets are bound to different addresses, %s: give each a name of its own", strings.Join(at, " and "))
	}
	return fds, nil
}

const maxPassed = 1 << 12

// datagrams says what is wrong with a file that should be a UDP socket.
func datagrams(fd int) error {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return fmt.Errorf("is no socket: %w", err)
	}
	proto, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil || kind != unix.SOCK_DGRAM || proto != unix.IPPROTO_UDP {
		return fmt.Errorf("is not one for UDP")
	}
	return nil
}

// takeOver makes a socket of a group of one that was passed.
func (g *group) takeOver(i int, cfg *Config) (int, error) {
	fd, err := unix.FcntlInt(uintptr(g.passed[i]), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	setReceiveBuffer(fd, int(cfg.ReceiveBuffer))
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_NEW, 1)
	if g.open == 0 {
		// A predecessor that died left its program, whose map the sockets are in.
		_ = bpf.Detach(fd) // refused for a socket of no group
	}
	return fd, nil
}

// alone says why the kernel cannot spread datagrams over the sockets that were passed; empty if it can. Workers then share a
// socket, and the one that is free takes what comes next.
func (g *group) alone(fd int) string {
	if len(g.passed) == 1 {
		return "one socket was passed"
	}
	if on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT); err != nil || on == 0 {
		return "the sockets were passed without SO_REUSEPORT"
	}
	return ""
}

// giveBack leaves a socket as it came: it outlives this process, and can be in one map only.
func (g *group) giveBack(s *socket) {
	if g.prog != nil {
		_ = g.prog.Remove(s.worker) // it may never have been put in
	}
	if g.open == 0 {
		_ = bpf.Detach(s.fd) // nothing is attached where one socket was passed
	}
}
